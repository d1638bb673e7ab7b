"""The decoder of associative embedding as it is usually written: PyTorch for the peaks, the munkres package
for the assignment, NumPy over whole maps for joints without a peak. Its people are those of
`src.evaluation.grouping`, whose docstring has the rules.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from munkres import Munkres

from src.evaluation.grouping import NEARER, Grouping, People

Person = dict[str, Any]  # tags: those of its joints; joints: {joint: (x, y, score)}

FAR = 1e10  # what it costs to give a peak to nobody


def group(heatmaps: np.ndarray, tags: np.ndarray, settings: Grouping, nearer: float = NEARER) -> People:
    """The people in maps (J, h, w) and (L, J, h, w), in cells.

    nearer: what breaks ties between assignments; 0 leaves them to the order of search.
    """
    found = _peaks(torch.from_numpy(heatmaps), torch.from_numpy(tags), settings)
    people = _match(found, settings, nearer)
    totals = [sum(score for *_, score in person["joints"].values()) for person in people]
    if settings.refine:
        for person in people:
            _refine(person, heatmaps, tags)
    joints = np.full((len(people), len(heatmaps), 2), np.nan, np.float32)
    scores = np.zeros((len(people), len(heatmaps)), np.float32)
    for number, person in enumerate(people):
        for joint, (x, y, score) in person["joints"].items():
            joints[number, joint] = _shifted(heatmaps[joint], x, y)
            scores[number, joint] = score
    return People(joints, scores, (np.array(totals) / len(heatmaps)).astype(np.float32))


def _peaks(heatmaps: torch.Tensor, tags: torch.Tensor, settings: Grouping) -> list[list[np.ndarray]]:
    """For each joint its peaks (x, y, score, *tag), the highest first."""
    joints, _, width = heatmaps.shape
    pooled = F.max_pool2d(heatmaps[None], settings.window, 1, settings.window // 2)[0]
    kept = (heatmaps * (pooled == heatmaps)).view(joints, -1)
    values, cells = kept.topk(settings.max_people)
    tag = tags.view(len(tags), joints, -1).gather(2, cells.expand(len(tags), -1, -1))
    columns = torch.stack([cells % width, cells // width, values, *tag], dim=2).double().numpy()
    return [[row for row in rows if row[2] > settings.threshold] for rows in columns]


def _match(found: list[list[np.ndarray]], settings: Grouping, nearer: float) -> list[Person]:
    people: list[Person] = []
    for joint in settings.joint_order:
        peaks = found[joint]
        if not peaks:
            continue
        takes: dict[int, int] = {}
        if people:
            means = np.stack([np.mean(person["tags"], axis=0) for person in people])
            offset = np.stack([peak[3:] for peak in peaks])[:, None] - means[None]
            distance = np.linalg.norm(offset, axis=2)
            scores = np.array([[peak[2]] for peak in peaks])
            cost = np.round(distance) * 100 - scores
            cost += nearer * np.minimum(distance, settings.tag_threshold)
            if len(peaks) > len(people):
                cost = np.concatenate([cost, np.full((len(peaks), len(peaks) - len(people)), FAR)], axis=1)
            takes = {
                peak: person
                for peak, person in Munkres().compute(cost.tolist())
                if person < len(people) and distance[peak, person] < settings.tag_threshold
            }
        for place, (x, y, score, *tag) in enumerate(peaks):
            if place not in takes:
                if len(people) == settings.max_people:
                    continue
                takes[place] = len(people)
                people.append({"tags": [], "joints": {}})
            person = people[takes[place]]
            person["tags"].append(np.array(tag))
            person["joints"][joint] = (int(x), int(y), score)
    return people


def _refine(person: Person, heatmaps: np.ndarray, tags: np.ndarray) -> None:
    mean = np.mean(person["tags"], axis=0).astype(np.float32)
    for joint, heatmap in enumerate(heatmaps):
        offset = tags[:, joint] - mean[:, None, None]
        distance = np.sqrt((offset**2).sum(axis=0))
        y, x = np.unravel_index(np.argmax(heatmap - np.round(distance)), heatmap.shape)
        if joint not in person["joints"] and heatmap[y, x] > 0:
            person["joints"][joint] = (int(x), int(y), heatmap[y, x])


def _shifted(heatmap: np.ndarray, x: int, y: int) -> tuple[float, float]:
    height, width = heatmap.shape
    if not (0 < x < width - 1 and 0 < y < height - 1):
        return x + 0.5, y + 0.5
    right_left = np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
    down_up = np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
    return x + 0.5 + 0.25 * right_left, y + 0.5 + 0.25 * down_up

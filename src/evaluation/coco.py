"""Average precision of people found in whole pictures, as COCO scores keypoints, and COCO's files of results.

People found are compared with those annotated by object keypoint similarity (OKS), whose constants are the
skeleton's sigmas; pycocotools does the counting. Of the ten figures AP is the mean over thresholds of OKS
from 0.5 to 0.95, AP50 and AP75 are those at one of them, APM and APL those of people between 32² and 96²
pixels large and of larger ones; AR are the same figures of recall.
"""

import contextlib
import io
import json
import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from src.datasets.coco_json import to_coco
from src.datasets.files import load_json
from src.datasets.scene_annotations import SceneAnnotations
from src.errors import UserError
from src.evaluation.bootstrap import intervals
from src.evaluation.grouping import People
from src.utils.files import replacing, write_text

FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")

Results = list[dict[str, Any]]

_KEYS = ("image_id", "category_id", "keypoints", "score")
_THRESHOLDS, _AT_75 = 10, 5  # 0.5, 0.55 … 0.95
_DECIMALS = 3  # of coordinates in results

# Of single people found in boxes (Xiao et al., "Simple baselines for human pose estimation and tracking",
# ECCV 2018): a joint below the first does not count in a person's score, of two people more alike than the
# second the one with the lower score is left out.
SURE_JOINT, SAME_PERSON = 0.2, 0.9


def coco_results(people: Iterable[People], image_ids: Iterable[int], category: int = 1) -> Results:
    """What was found in some pictures, as COCO's results have it: a dict for each person.

    people: those of each picture, joints in its pixels; image_ids: the pictures' ids. A joint that was not
    found is written at the mean of the person's others.
    """
    found = list(people)
    counts = [len(each.joints) for each in found]
    if not sum(counts):
        return []
    joints = np.concatenate([each.joints for each in found if len(each.joints)]).astype(np.float64)
    scores = np.concatenate([each.person_score for each in found])
    missing = np.isnan(joints)
    means = np.where(missing, 0, joints).sum(1, keepdims=True) / (~missing).sum(1, keepdims=True)
    points = np.where(missing, means, joints).round(_DECIMALS)
    seen = np.ones((*points.shape[:2], 1))  # is asked for, and not looked at
    keypoints = np.concatenate([points, seen], axis=2)
    ids = np.repeat(np.fromiter(image_ids, np.int64, len(counts)), counts)
    rows = zip(ids.tolist(), keypoints.reshape(len(ids), -1).tolist(), scores.tolist(), strict=True)
    return [
        {"image_id": image, "category_id": category, "keypoints": flat, "score": score}
        for image, flat, score in rows
    ]


def people_in_boxes(
    coords: np.ndarray, score: np.ndarray, box_score: np.ndarray, area: np.ndarray, sigmas: Sequence[float]
) -> People:
    """The people of one picture, from what a network for single people found in n boxes.

    coords (n, J, 2) in its pixels, score (n, J): heatmaps there, box_score (n,), area (n,) of the boxes. A
    person's score is that of the box times the mean of the joints' scores above SURE_JOINT, 0 if there are
    none. Boxes may show the same person twice: who is left has an OKS of at most SAME_PERSON with all of a
    higher score.
    """
    sure = score > SURE_JOINT
    person_score = box_score * np.where(sure, score, 0).sum(1) / np.maximum(sure.sum(1), 1)
    alike = similarities(coords, area, sigmas) > SAME_PERSON
    kept: list[int] = []
    for row in np.argsort(-person_score, kind="stable").tolist():
        if not alike[row, kept].any():
            kept.append(row)
    return People(coords[kept], score[kept], person_score[kept])


def similarities(coords: np.ndarray, area: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """The OKS (n, n) of people (n, J, 2) with each other, for the mean of their areas (n,)."""
    squares = ((coords[:, None] - coords) ** 2).sum(3)  # (n, n, J)
    areas = (area[:, None] + area)[..., None] / 2
    return np.exp(-squares / (2 * areas * (2 * np.array(sigmas)) ** 2)).mean(2)


def write_results(path: Path, results: Results) -> None:
    """Write results as COCO's JSON: wholly, or not at all. UserError if the folder cannot be written."""
    write_text(path, json.dumps(results, separators=(",", ":")) + "\n")


def write_zip(path: Path, results: Results) -> None:
    """Write results as COCO's server wants them: their JSON, named alike, in a zip. UserError as above."""
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.json", json.dumps(results, separators=(",", ":")))


def is_results(path: Path) -> bool:
    """Whether a file is a JSON list, as results are."""
    try:
        with open(path, "rb") as file:
            return path.suffix == ".json" and file.read(64).lstrip().startswith(b"[")
    except OSError:
        return False


def read_results(path: Path) -> Results:
    """The results in a JSON of COCO's format, ours or others'. UserError if it is damaged or foreign."""
    results = load_json(path)
    if not isinstance(results, list):
        raise UserError(f"{path} is no list of results; is it the right file?")
    for number, row in enumerate(results):
        if not isinstance(row, dict) or any(key not in row for key in _KEYS):
            raise UserError(f"{path}: result {number} is no object with {', '.join(_KEYS)}")
        if not all(isinstance(row[key], int) for key in ("image_id", "category_id")):
            raise UserError(f"{path}: image_id or category_id of result {number} is no whole number")
    return results


def evaluate_ap(truth: SceneAnnotations, results: Results) -> dict[str, float]:
    """The FIGURES, from 0 to 1, of results for the pictures of `truth`.

    NaN where nobody is annotated who counts; where nobody was found, 0. Raises UserError for results that are
    not of these pictures and joints.
    """
    return score(prepare(truth, results))


def prepare(truth: SceneAnnotations, results: Results) -> COCOeval:
    """Truth and results as pycocotools takes them, with the sigmas. Raises UserError as `evaluate_ap`."""
    keypoints, scores = _values(results, truth)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools says what it does
        scored = COCOeval(_annotated(truth), _found(results, keypoints, scores), "keypoints")
    scored.params.kpt_oks_sigmas = np.array(truth.skeleton.sigmas)
    return scored


def score(prepared: COCOeval) -> dict[str, float]:
    """The FIGURES by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        prepared.evaluate()
        prepared.accumulate()
        prepared.summarize()
    values = (float(value) if value >= 0 else math.nan for value in prepared.stats)  # -1: nobody counts
    return dict(zip(FIGURES, values, strict=True))


def figure_intervals(scored: COCOeval, draws: int) -> dict[str, tuple[float, float]]:
    """The intervals of FIGURES where pictures are drawn `draws` times, of what `score` was asked about."""
    pictures = len(scored.params.imgIds)
    if not pictures:
        return {}
    areas = [
        _Ranked.of(scored.evalImgs[start : start + pictures]) for start in range(0, 3 * pictures, pictures)
    ]

    def figures(weights: np.ndarray) -> np.ndarray:
        return np.array([_figures(areas, row, scored.params.recThrs) for row in weights])

    ends = intervals(pictures, figures, draws).T.tolist()
    return {name: (low, high) for name, (low, high) in zip(FIGURES, ends, strict=True) if low == low}


class _Ranked(NamedTuple):
    """The people found in M pictures, the surest first, as pycocotools has matched them at T thresholds.

    picture (D,): of each; right, wrong (T, D) bool: both are False for those who do not count; total (M,):
    how many people there are to be found.
    """

    picture: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, matched: Sequence[dict[str, Any] | None]) -> "_Ranked":
        """matched: pycocotools' verdict about each picture; None where nobody is found or annotated."""
        known = [(place, each) for place, each in enumerate(matched) if each]
        total = np.zeros(len(matched))
        for place, each in known:
            total[place] = np.count_nonzero(np.asarray(each["gtIgnore"]) == 0)
        if not known:
            nobody = np.zeros((_THRESHOLDS, 0), bool)
            return cls(np.zeros(0, np.int64), nobody, nobody, total)
        order = np.argsort(-np.concatenate([each["dtScores"] for _, each in known]), kind="mergesort")
        hits, ignored = (
            np.concatenate([each[key] for _, each in known], axis=1)[:, order].astype(bool)
            for key in ("dtMatches", "dtIgnore")
        )
        picture = np.repeat([place for place, _ in known], [len(each["dtScores"]) for _, each in known])
        return cls(picture[order], hits & ~ignored, ~hits & ~ignored, total)


def _figures(areas: Sequence[_Ranked], weights: np.ndarray, recalls: np.ndarray) -> list[float]:
    """FIGURES of pictures that weigh `weights` (M,), from the people of all, of medium and of large size."""
    curves = [_precision_and_recall(area, weights, recalls) for area in areas]
    return [
        float(figure)
        for everybody, medium, large in zip(*curves, strict=True)  # of precision, then of recall
        for figure in (
            everybody.mean(),
            everybody[0],
            everybody[_AT_75],
            medium.mean(),
            large.mean(),
        )
    ]


def _precision_and_recall(
    area: _Ranked, weights: np.ndarray, recalls: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision over `recalls` (R,) and recall, (T,) both; NaN if there is nobody to be found."""
    total = area.total @ weights
    if not total:
        return np.full(len(area.right), np.nan), np.full(len(area.right), np.nan)
    share = weights[area.picture]
    right, wrong = np.cumsum(area.right * share, axis=1), np.cumsum(area.wrong * share, axis=1)
    recall = np.pad(right, ((0, 0), (1, 0))) / total
    precision = right / np.maximum(right + wrong, np.finfo(np.float64).eps)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.pad(envelope, ((0, 0), (0, 1)))  # 0 beyond the last
    mean = [row[each[1:].searchsorted(recalls)].mean() for row, each in zip(reached, recall, strict=True)]
    return np.array(mean), recall[:, -1]


def _values(results: Results, truth: SceneAnnotations) -> tuple[np.ndarray, np.ndarray]:
    """The keypoints (D, 3 J) and scores (D,) of results, which are numbers and about these pictures."""
    size = 3 * truth.skeleton.num_joints
    wrong = [row["keypoints"] for row in results if not _is_flat(row["keypoints"], size)]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(results)} results do not hold x, y and v of {size // 3} joints, as"
            f" {truth.name} does"
        )
    try:
        keypoints = np.array([row["keypoints"] for row in results], np.float64).reshape(-1, size)
        scores = np.array([row["score"] for row in results], np.float64)
    except (TypeError, ValueError):
        raise UserError("results hold keypoints or scores that are no numbers") from None
    if not (np.isfinite(keypoints).all() and np.isfinite(scores).all()):
        raise UserError("results hold keypoints or scores that are not finite")
    known = set(truth.image_id.tolist())
    unknown = [row["image_id"] for row in results if row["image_id"] not in known]
    if unknown:
        raise UserError(
            f"{len(unknown)} of {len(results)} results are about pictures that {truth.name} does not have,"
            f" such as {unknown[0]}"
        )
    return keypoints, scores


def _is_flat(values: Any, size: int) -> bool:
    return isinstance(values, list) and len(values) == size


def _annotated(record: SceneAnnotations) -> COCO:
    """The ground truth as pycocotools keeps it."""
    content = to_coco(record)
    for number, person in enumerate(content["annotations"], 1):
        person["id"] = number  # whatever it was: to pycocotools 0 is nobody, and equal ones are one
    return _indexed(content)


def _found(results: Results, keypoints: np.ndarray, scores: np.ndarray) -> COCO:
    """The results as pycocotools keeps them, with the area of the box around each person's joints."""
    x, y = keypoints[:, ::3], keypoints[:, 1::3]
    areas = np.ptp(x, axis=1) * np.ptp(y, axis=1)
    rows = zip(results, keypoints, scores.tolist(), areas.tolist(), strict=True)
    annotations = [
        {
            "id": number,
            "image_id": result["image_id"],
            "category_id": result["category_id"],
            "keypoints": flat,
            "score": score,
            "area": area,
        }
        for number, (result, flat, score, area) in enumerate(rows, 1)
    ]
    return _indexed({"annotations": annotations, "categories": []})


def _indexed(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco

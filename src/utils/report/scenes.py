"""What a network finds in pictures with several people: read or searched, scored, sorted by errors, drawn.

n people found in a picture, N annotated in all pictures, J joints.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.datasets.annotations import UNLABELLED
from src.datasets.people import open_scenes
from src.datasets.scene_annotations import Scene, SceneAnnotations, ScenePeople
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.coco import Results, read_results
from src.evaluation.failures import failures, matched, oks_limits
from src.evaluation.grouping import People
from src.utils import options
from src.utils.multi_person import score
from src.utils.pictures import draw_people, draw_truth
from src.utils.report.findings import PIXELS, Findings, Settings, Shown, Table, gallery, jpeg, shares
from src.utils.report.sources import Trained, predictions_of, scoring_options
from src.utils.scene_scoring import search_scenes

FILES = ("results.json", "final_results.json")
SURE = 0.2  # the least score of somebody who is found, but not annotated, to be drawn and counted
_LARGER = 1.5  # than the picture of a single person

Found = list[tuple[int, People]]


class _Compared(NamedTuple):
    """A picture's people: annotated ones, those found, and who is who.

    joints, visible, area: of N annotated; found (N, J, 2): the same as predicted, NaN for those not found;
    similarity (N,): OKS, 0 for those not found; beside (n,) bool: who of those found is surely somebody, and
    nobody of the annotated; shown (n,) bool: all of these, and those who are annotated.
    """

    row: int
    joints: np.ndarray
    visible: np.ndarray
    area: np.ndarray
    found: np.ndarray
    similarity: np.ndarray
    beside: np.ndarray
    shown: np.ndarray

    @property
    def quality(self) -> float:
        """The sum of similarities per person who is annotated or surely found; NaN if there is nobody."""
        either = len(self.joints) + int(self.beside.sum())
        return float(self.similarity.sum() / either) if either else float("nan")

    @property
    def caption(self) -> str:
        """How many are found of those annotated, how well, and how many more."""
        found = np.count_nonzero(self.similarity)
        mean = f", mean OKS {self.similarity.sum() / len(self.joints):.2f}" if len(self.joints) else ""
        others = f"; {self.beside.sum()} not annotated" if self.beside.any() else ""
        return f"{found} of {len(self.joints)} found{mean}{others}"


def build_options(parser: options.Parser) -> None:
    """The options of test.py of any multi-person task."""
    options.add_multi_person_scoring_options(parser)
    options.add_data_options(parser, ["synth", "coco"])
    options.add_coco_options(parser)


def examine_scenes(folder: Path, dataset: str, settings: Settings) -> Findings:
    """What the run in `folder` finds in the pictures of a validation split. Raises UserError."""
    args = scoring_options(folder, build_options, dataset, settings)
    scenes = open_scenes(args, "valid", None, args.input_res, everything=True)
    if not len(scenes):
        raise UserError(f"{scenes.name} has no pictures")
    # Final results are of the test split, if there is one: of drawn pictures, which have the same ids there.
    files = FILES if isinstance(scenes, SceneAnnotations) else FILES[:1]
    read, search = partial(_read, scenes=scenes), partial(_search, scenes=scenes, args=args)
    source, found = predictions_of(folder, files, settings, read, search)
    results, figures = score(scenes, found)
    compared = [_compare(row, scenes.scene(row), people, scenes.skeleton) for row, people in found]
    errors, kinds = _sorted_out(compared, scenes.skeleton)
    per_joint, counted = shares(kinds)
    return Findings(
        title=f"AP of {scenes.name}",
        source=source,
        notes=_notes(compared, len(results)),
        tables={"AP and AR": Table(("%",), {name: (100 * value,) for name, value in figures.items()}, {})},
        thresholds=[],
        curves={},
        errors=errors,
        unit="√area of the person",
        limit=None,
        joints=scenes.skeleton.joints,
        kinds=per_joint,
        counted=counted,
        pictures=_pictures(scenes, dict(found), compared, settings.pictures),
    )


def _read(path: Path, scenes: ScenePeople) -> tuple[str, Found]:
    """What test.py or --final-predictions left. Raises UserError for results that are not of the split."""
    return path.name, _by_picture(read_results(path), scenes)


def _by_picture(results: Results, scenes: ScenePeople) -> Found:
    """Results in COCO's format as people of each picture, in the order of the split."""
    ids = scenes.truth(np.arange(len(scenes))).image_id.tolist()
    unknown = {result["image_id"] for result in results} - set(ids)
    if unknown:
        raise UserError(f"it is not of {scenes.name}, which has no picture {min(unknown)}")
    flat = {len(result["keypoints"]) for result in results} - {3 * scenes.skeleton.num_joints}
    if flat:
        raise UserError(f"it does not have the {scenes.skeleton.num_joints} joints of {scenes.name}")
    people: dict[int, list[dict]] = {image: [] for image in ids}
    for result in results:
        people[result["image_id"]].append(result)
    return [(row, _people(people[image], scenes.skeleton.num_joints)) for row, image in enumerate(ids)]


def _people(results: Sequence[dict], num_joints: int) -> People:
    keypoints = np.array([result["keypoints"] for result in results], np.float32).reshape(-1, num_joints, 3)
    person_score = np.array([result["score"] for result in results], np.float32)
    return People(keypoints[..., :2], np.repeat(person_score[:, None], num_joints, axis=1), person_score)


def _search(trained: Trained, scenes: ScenePeople, args: Namespace) -> tuple[str, Found]:
    """What the network finds in pictures spread over the split."""
    if trained.skeleton.joints != scenes.skeleton.joints:
        raise UserError(
            f"{scenes.name} does not have the {trained.skeleton.num_joints} joints of the network"
        )
    found = search_scenes(trained.loaded, scenes, args, trained.device)
    return f"{trained.name}, run on {len(found)} of {len(scenes)} pictures", found


def _compare(row: int, scene: Scene, people: People, skeleton: Skeleton) -> _Compared:
    """Who of the people found in a picture is who of those annotated."""
    place, similarity = matched(
        people.joints, people.person_score, scene.joints, scene.visible, scene.area, skeleton.sigmas
    )
    found = np.full(scene.joints.shape, np.nan)
    found[place >= 0] = people.joints[place[place >= 0]]
    known = np.isin(np.arange(len(people.joints)), place)
    beside = (people.person_score >= SURE) & ~known
    return _Compared(
        row, scene.joints, scene.visible, scene.area, found, similarity, beside, shown=beside | known
    )


def _sorted_out(compared: Sequence[_Compared], skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """The errors (K,) of the joints of those who were found, and the kinds (N, J) of their joints."""
    joints, visible, area, found, similarity = (
        np.concatenate([getattr(each, name) for each in compared])
        for name in ("joints", "visible", "area", "found", "similarity")
    )
    picture = np.repeat(np.arange(len(compared)), [len(each.joints) for each in compared])
    labelled, size = visible > UNLABELLED, np.sqrt(np.maximum(area, 1e-9))
    limits = oks_limits(area, skeleton.sigmas)
    kinds = failures(found, joints, labelled, limits, 1.0, skeleton.flip_order, picture)
    there = similarity > 0
    errors = (np.linalg.norm(found - joints, axis=2) / size[:, None])[labelled & there[:, None]]
    return errors[np.isfinite(errors)], kinds[there]


def _notes(compared: Sequence[_Compared], results: int) -> tuple[str, ...]:
    people = sum(len(each.joints) for each in compared)
    found = sum(np.count_nonzero(each.similarity) for each in compared)
    share = f" ({100 * found / people:.0f} %)" if people else ""
    return (
        f"{len(compared)} pictures, {people} annotated people with labelled joints",
        f"{found} of them found{share} with an OKS of at least 0.1: errors and kinds are of their joints",
        f"of {results} people found in all {sum(int(each.beside.sum()) for each in compared)} are nobody who"
        f" is annotated, and have a score of {SURE} or more",
    )


def _pictures(
    scenes: ScenePeople, found: dict[int, People], compared: Sequence[_Compared], count: int
) -> dict[str, list[Shown]]:
    """Pictures with everybody found in a colour of their own over the thin white truth."""
    bad = np.array([1 - each.quality for each in compared])
    annotated = np.array([len(each.joints) > 0 for each in compared])
    eligible = annotated if annotated.any() else ~np.isnan(bad)

    def show(place: int) -> Shown:
        return _shown(scenes, found[compared[place].row], compared[place])

    return gallery(bad, eligible, count, show)


def _shown(scenes: ScenePeople, people: People, compared: _Compared) -> Shown:
    """The picture of a split with its people drawn. Raises BadImage."""
    scene = scenes.scene(compared.row)
    scale = _LARGER * PIXELS / max(scene.width, scene.height)
    size = max(1, round(scene.width * scale)), max(1, round(scene.height * scale))
    image = cv2.resize(scene.read(1 / scale).pixels, size, interpolation=cv2.INTER_AREA)
    for joints, visible in zip(scene.joints, scene.visible, strict=True):
        image = draw_truth(image, joints * scale, scenes.skeleton, visible)
    shown = compared.shown
    drawn = People(people.joints[shown] * scale, people.score[shown], people.person_score[shown])
    image = draw_people(image, drawn, scenes.skeleton, thickness=2)
    images = getattr(scenes, "images", None)  # what is drawn has none
    name = "" if images is None else f" ({images[compared.row].decode(errors='replace')})"
    return Shown(jpeg(image), f"picture {compared.row} of {scenes.name}{name}", compared.caption)

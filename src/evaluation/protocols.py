"""The protocols by which data sets are scored: predictions and truth in, a table out.

    result = evaluate("pckh", predictions, Truth.of(annotations))
    print(format_table(result))

pckh     PCKh@0.5 (Andriluka et al., CVPR 2014): errors in heads, 0.6 times the diagonal of the head box.
pck      PCK@0.2: errors in torsos, from the left shoulder to the right hip (FLIC: the other two).
pck-box  PCK@0.1 (Yang and Ramanan, TPAMI 2013): errors in longer sides of the box around the labelled joints.
         It suits people who lack an end of the torso; the fewer joints are labelled, the smaller is the box.

Three means of PCKh are in use, up to a point apart; all are given:

pckh_mean        the correct share of all labelled joints of the skeleton's mean_joints (MPII: all but pelvis
                 and thorax). The official "Total".
pckh_unweighted  the plain mean of these joints' percentages.
pckh_all16       the correct share of all labelled joints, with pelvis and thorax. The evaluation it comes
                 from takes a joint for unlabelled if its x is 0 in the release's coordinates, which count
                 from 1; so does this figure. In MPII's validation set that is one joint of the
                 h5 file, and eight of the exact ground truth, whose coordinates are cut at 0.

N people, J joints.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from src.datasets.annotations import UNLABELLED, VISIBLE, Annotations, People
from src.datasets.release import torso_lengths
from src.datasets.skeletons import MPII, Skeleton, joint_map
from src.errors import UserError, suggest
from src.evaluation.pck import Tally, area_under_curve, box_sides, distances, only, tally
from src.evaluation.predict import Found

_CURVE_STEP = 0.01


@dataclass(frozen=True)
class Truth:
    """What predictions for N people are compared with.

    joints (N, J, 2) picture pixels, 0-based; visible (N, J) int8 (0 unlabelled, 1 hidden, 2 visible); norm
    (N,): the length of the data set's metric, NaN where unknown. name: for titles and messages.
    """

    joints: np.ndarray
    visible: np.ndarray
    norm: np.ndarray
    skeleton: Skeleton
    name: str

    @classmethod
    def of(cls, people: People) -> "Truth":
        """The truth about all people of a split; synthetic ones are drawn for it, which takes a while."""
        if isinstance(people, Annotations):
            return cls(people.joints, people.visible, people.norm, people.skeleton, people.name)
        drawn = [people.person(i) for i in range(len(people))]
        return cls(
            np.stack([person.joints for person in drawn]),
            np.stack([person.visible for person in drawn]),
            np.array([person.norm for person in drawn]),
            people.skeleton,
            people.name,
        )

    @classmethod
    def beside(cls, found: Found, people: People) -> "Truth":
        """The truth about those of `people` whom a network was run on, row by row with its predictions."""
        return cls(found.truth, found.visible, found.norm, people.skeleton, people.name)


class Score(NamedTuple):
    """A percentage, NaN if nothing counts, and how many joints it is of."""

    percent: float
    counted: int


class Row(NamedTuple):
    """A line of a table: a score for each column."""

    label: str
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Result:
    """What a protocol found.

    sections: the table in blocks, rows by key. people: how many were scored. notes: what a reader must know
    beyond the table, such as how many people were left out. curves: percentages over `thresholds`, by key.
    """

    protocol: str
    title: str
    people: int
    left_out: int
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    sections: dict[str, dict[str, Row]]
    thresholds: np.ndarray
    curves: dict[str, np.ndarray]


def evaluate(
    protocol: str, predictions: np.ndarray, truth: Truth, skeleton: Skeleton | None = None
) -> Result:
    """Score predictions (N, J, 2), 0-based picture pixels, by a protocol of PROTOCOLS.

    skeleton: that of the predictions, if it is not the truth's; joints are matched by name, and those that
    were not predicted do not count. Raises UserError for shapes that do not fit, and for a truth with nothing
    to score.
    """
    if protocol not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise UserError(f"there is no protocol {protocol!r}{suggest(protocol, PROTOCOLS)}; known: {known}")
    skeleton = skeleton or truth.skeleton
    expected = (len(truth.joints), skeleton.num_joints, 2)
    if predictions.shape != expected:
        raise UserError(f"{truth.name}: predictions have shape {predictions.shape}, expected {expected}")
    if not (truth.visible > UNLABELLED).any():
        raise UserError(f"{truth.name} has no labelled joint: there is nothing to score predictions with")
    source = joint_map(skeleton, truth.skeleton)
    if (source < 0).all():
        raise UserError(f"{truth.name}: skeleton {skeleton.name} shares no joint with {truth.skeleton.name}")
    return PROTOCOLS[protocol](predictions.take(source, axis=1), truth, source >= 0)


def protocol_of(dataset: str, wanted: str | None = None, skeleton: Skeleton = MPII) -> str:
    """The protocol for a data set: `wanted` if it suits it, by default its customary one.

    skeleton: whose joints synthetic people are given in; only for MPII's do they have head sizes. Raises
    UserError for a protocol that the data set lacks the lengths for.
    """
    suiting = _SUITING.get(dataset, _WITHOUT_HEADS)
    if dataset == "synth" and skeleton != MPII:
        suiting = _WITHOUT_HEADS
    if wanted is None:
        return suiting[0]
    if wanted not in suiting:
        known = ", ".join(suiting)
        raise UserError(f"{dataset} is not scored by {wanted!r}{suggest(wanted, suiting)}; choose of {known}")
    return wanted


_WITHOUT_HEADS = ("pck", "pck-box")
_SUITING = {
    "mpii": ("pckh", *_WITHOUT_HEADS),
    "synth": ("pckh", *_WITHOUT_HEADS),
    "coco": ("pck-box", "pck"),  # many people lack an end of the torso
}


# PCK and its kin.


@dataclass(frozen=True)
class _Measure:
    """A kind of PCK: the length of a person and the share of it, and a second, finer share."""

    protocol: str
    name: str
    threshold: float
    fine: float
    length: Callable[[Truth], np.ndarray]
    length_name: str

    @property
    def key(self) -> str:
        return self.protocol.replace("-", "_")

    @cached_property
    def thresholds(self) -> np.ndarray:
        """Those of the curve, from 0 to the threshold."""
        return np.linspace(0, self.threshold, round(self.threshold / _CURVE_STEP) + 1)


_HEAD = _Measure("pckh", "PCKh", 0.5, 0.1, lambda truth: truth.norm, "a head size")
_TORSO = _Measure(
    "pck", "PCK", 0.2, 0.1,
    lambda truth: torso_lengths(truth.joints, truth.visible, truth.skeleton), "both ends of the torso",
)  # fmt: skip
_BOX = _Measure(
    "pck-box", "PCK-box", 0.1, 0.05,
    lambda truth: box_sides(truth.joints, truth.visible), "two joints to put a box around",
)  # fmt: skip


def _pck(measure: _Measure, predictions: np.ndarray, truth: Truth, predicted: np.ndarray) -> Result:
    """predictions (N, J, 2) in the truth's joints, of which `predicted` (J,) bool have a meaning."""
    length = measure.length(truth)
    visible = np.asfortranarray(truth.visible)  # joint after joint in memory, as the distances will be
    labelled = visible > UNLABELLED
    somebody = labelled.any(1)
    scored = somebody & (length > 0)
    if not scored.any():
        raise UserError(f"{truth.name}: nobody has {measure.length_name}; another --protocol may do")
    distance = distances(predictions, truth.joints, length, labelled & predicted)
    curves = _tally_columns(distance, visible, measure.thresholds)
    tallied = _at(curves, -1)
    skeleton, left_out = truth.skeleton, int((somebody & ~scored).sum())
    own = list(skeleton.groups.values())
    return Result(
        protocol=measure.protocol,
        title=f"{measure.name}@{measure.threshold} of {truth.name}",
        people=int(scored.sum()),
        left_out=left_out,
        notes=_notes(left_out, measure, labelled.any(0) & ~predicted, skeleton),
        columns=("all", "visible", "hidden"),
        sections={
            "groups": _rows(skeleton.groups, tallied.means(own), tallied.totals(own)),
            "joints": _rows(skeleton.joints, tallied.percent(), tallied.counted),
            "means": _means(measure, truth, distance, curves),
        },
        thresholds=measure.thresholds,
        curves=_curves(measure, Tally(curves.correct[0], curves.counted[0]), skeleton),
    )


def _tally_columns(distance: np.ndarray, visible: np.ndarray, thresholds: np.ndarray) -> Tally:
    """The counts of all, of visible and of hidden joints (N, J): correct (3, T, J), counted (3, 1, J)."""
    both, seen = (tally(of, thresholds) for of in (distance, only(distance, visible == VISIBLE)))
    correct = np.stack([both.correct, seen.correct, both.correct - seen.correct])
    counted = np.stack([both.counted, seen.counted, both.counted - seen.counted])
    return Tally(correct, counted[:, None])


def _at(columns: Tally, threshold: int) -> Tally:
    """Of `_tally_columns` what belongs to one threshold: correct and counted (3, J)."""
    return Tally(columns.correct[:, threshold], columns.counted[:, 0])


def _means(measure: _Measure, truth: Truth, distance: np.ndarray, curves: Tally) -> dict[str, Row]:
    """The rows of means, from the `distances` (N, J) and what `_tally_columns` counted of them."""
    skeleton, key, thresholds = truth.skeleton, measure.key, measure.thresholds
    joints, total = skeleton.mean_joints, skeleton.num_joints
    tallied, fine = _at(curves, -1), _at(curves, round(measure.fine / _CURVE_STEP))
    counted = tallied.total(joints)
    rows = {
        f"{key}_mean": _row(f"Mean ({len(joints)} joints, by count)", tallied.pooled(joints), counted),
        f"{key}_unweighted": _row(f"Mean ({len(joints)} joints, unweighted)", tallied.mean(joints), counted),
    }
    if measure is _HEAD:
        at_zero = truth.joints[..., 0] == -1  # x == 0 where coordinates count from 1
        few = distance[at_zero, None], truth.visible[at_zero, None]  # as if all were one joint
        left_out = _at(_tally_columns(*few, thresholds), -1)
        correct = tallied.correct.sum(1) - left_out.correct[:, 0]
        labelled = tallied.counted.sum(1) - left_out.counted[:, 0]
        rows[f"{key}_all{total}"] = _row(
            f"All {total} joints (by count)", Tally(correct, labelled).percent(), labelled
        )
    rows[f"{key}_mean@{measure.fine}"] = _row(
        f"Mean at {measure.fine} (by count)", fine.pooled(joints), counted
    )
    areas = area_under_curve(thresholds, curves.pooled(joints))
    return rows | {f"{key}_auc": _row(f"Area under the curve to {measure.threshold}", areas, counted)}


def _curves(measure: _Measure, curve: Tally, skeleton: Skeleton) -> dict[str, np.ndarray]:
    mean = {f"{measure.key}_mean": curve.pooled(skeleton.mean_joints)}
    return mean | dict(zip(skeleton.joints, curve.percent().T, strict=True))


def _rows(labels: Iterable[str], percent: np.ndarray, counted: np.ndarray) -> dict[str, Row]:
    """Lines of the table, from percentages and counts (3, len(labels))."""
    lines = zip(labels, percent.T, counted.T, strict=True)
    return {label: _row(label, shares, counts) for label, shares, counts in lines}


def _row(label: str, percent: np.ndarray, counted: np.ndarray) -> Row:
    """A line of the table, from a percentage and a count (3,) for each column."""
    return Row(label, tuple(map(Score, percent.tolist(), counted.tolist())))


def _notes(
    left_out: int, measure: _Measure, not_predicted: np.ndarray, skeleton: Skeleton
) -> tuple[str, ...]:
    notes = []
    if left_out:
        notes.append(f"{left_out} people without {measure.length_name} are left out")
    if not_predicted.any():
        names = ", ".join(skeleton.joints[joint] for joint in np.flatnonzero(not_predicted))
        notes.append(f"not predicted, so not counted: {names}")
    return tuple(notes)


Protocol = Callable[[np.ndarray, Truth, np.ndarray], Result]
PROTOCOLS: dict[str, Protocol] = {m.protocol: partial(_pck, m) for m in (_HEAD, _TORSO, _BOX)}


def format_table(result: Result) -> str:
    """The result as lines of text: percentages and, beside each, how many joints it is of."""
    head = ["", *(cell for column in result.columns for cell in (column, "joints"))]
    blocks = [[[row.label, *_cells(row)] for row in rows.values()] for rows in result.sections.values()]
    lines = [head, *(line for block in blocks for line in block)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [f"{result.title}, {result.people} people", *result.notes, _aligned(head, widths)]
    for block in blocks:
        text += ["", *(_aligned(line, widths) for line in block)]
    return "\n".join(text)


def _cells(row: Row) -> list[str]:
    pairs = [("-" if np.isnan(s.percent) else f"{s.percent:.2f}", str(s.counted)) for s in row.scores]
    return [cell for pair in pairs for cell in pair]


def _aligned(cells: list[str], widths: list[int]) -> str:
    label, *numbers = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([cells[0].ljust(len(label)), *numbers]).rstrip()


def to_json(result: Result) -> dict[str, Any]:
    """The result as plain numbers; what nothing counts for is null.

    Keys: protocol, title, people, left_out, notes; groups, joints and means, each as {row: {column: percent,
    column_count: joints}}; curves, as {"threshold": [...], row: [percent, ...]}.
    """
    sections = {
        section: {key: _numbers(row, result.columns) for key, row in rows.items()}
        for section, rows in result.sections.items()
    }
    curves = {"threshold": result.thresholds} | result.curves
    return {
        "protocol": result.protocol,
        "title": result.title,
        "people": result.people,
        "left_out": result.left_out,
        "notes": list(result.notes),
        **sections,
        "curves": {key: [_plain(value) for value in curve] for key, curve in curves.items()},
    }


def _numbers(row: Row, columns: tuple[str, ...]) -> dict[str, float | int | None]:
    numbers: dict[str, float | int | None] = {}
    for column, score in zip(columns, row.scores, strict=True):
        numbers |= {column: _plain(score.percent), f"{column}_count": score.counted}
    return numbers


def _plain(value: float) -> float | None:
    """A number that JSON has a word for."""
    return None if np.isnan(value) else round(float(value), 6)

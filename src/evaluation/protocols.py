"""The protocols by which data sets are scored: predictions and truth in, a table out.

    result = evaluate("pckh", predictions, Truth.of(annotations))
    print(format_table(result))

pckh        PCKh@0.5 (Andriluka et al., CVPR 2014): errors in heads, 0.6 times the diagonal of the head box.
pck         PCK@0.2: errors in torsos, from the left shoulder to the right hip (FLIC: the other two).
pck-box     PCK@0.1 (Yang and Ramanan, TPAMI 2013): errors in longer sides of the box around the labelled
            joints. It suits people who lack an end of the torso; the fewer joints are labelled, the smaller
            is the box.
pcp         PCP@0.5 in three readings, see src/evaluation/limbs.py.
pck-flic    PCK@0.2 of elbows and wrists: errors in torsos from the person's own right shoulder to the left
            hip, whoever's sides the joints have.
pck-person  PCK@0.2 on Penn Action: errors in longer sides of the person's box in the frame.
pck-window  PCK@0.05 on Penn Action: errors in longer sides of the window that a clip is cut to.
pck-crop    PCK@0.05 on Penn Action: errors in sides of the square that a network sees. It is what training
            shows, of exact places instead of cells; published training logs have the mean of frames' means.
failures    what is the matter with joints that are not right, and which limbs are too long to be some, see
            src/evaluation/plausibility.py; by the first of the data set's measures.

Three means of PCKh are in use, up to a point apart; all are given:

pckh_mean        the correct share of all labelled joints of the skeleton's mean_joints (MPII: all but pelvis
                 and thorax). The official "Total".
pckh_unweighted  the plain mean of these joints' percentages.
pckh_all16       the correct share of all labelled joints, with pelvis and thorax. The evaluation it comes
                 from takes a joint for unlabelled if its x is 0 in the release's coordinates, which count
                 from 1; so does this figure. In MPII's validation set that is one joint of the
                 h5 file, and eight of the exact ground truth, whose coordinates are cut at 0.

N people, J joints, C columns of a table, T thresholds of a curve.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from src.datasets.affine import PERSON_PIXELS
from src.datasets.annotations import HIDDEN, UNLABELLED, VISIBLE, Annotations, People
from src.datasets.penn import ENLARGE as PENN_ENLARGE
from src.datasets.release import torso_lengths
from src.datasets.skeletons import MPII, PENN, Skeleton, joint_map
from src.errors import UserError, suggest
from src.evaluation.bootstrap import intervals
from src.evaluation.limbs import READINGS, limb_distances, limbs_of
from src.evaluation.pck import (
    Tally,
    area_under_curve,
    area_weights,
    box_sides,
    distances,
    first_passed,
    only,
    tally,
    within,
)
from src.evaluation.plausibility import PROTOCOL as FAILURES
from src.evaluation.plausibility import describe_failures
from src.evaluation.predict import Found
from src.evaluation.results import Result, Row, Score

_CURVE_STEP = 0.01


@dataclass(frozen=True)
class Truth:
    """What predictions for N people are compared with.

    joints (N, J, 2) picture pixels, 0-based; visible (N, J) int8 (0 unlabelled, 1 hidden, 2 visible); norm
    (N,): the length of the data set's metric, NaN where unknown. name: for titles and messages. crop (N,):
    the side of the square around the person that a network sees, in pixels of the picture; None: unknown.
    shows (N,) int64: whom, by a number from 0, where the same person is there several times; intervals are of
    people, each with all that shows them. None: everybody is another. action (N,) bytes: what they do.
    """

    joints: np.ndarray
    visible: np.ndarray
    norm: np.ndarray
    skeleton: Skeleton
    name: str
    crop: np.ndarray | None = None
    shows: np.ndarray | None = None
    action: np.ndarray | None = None

    @classmethod
    def of(cls, people: People, rows: np.ndarray | None = None) -> "Truth":
        """The truth about all people of a split, or about those at `rows`.

        Synthetic ones are posed for it, which takes a while.
        """
        if isinstance(people, Annotations):
            people = people if rows is None else people.select(rows)
            crop = PERSON_PIXELS * people.scale * people.enlarge
            known = people.joints, people.visible, people.norm, people.skeleton, people.name
            return cls(*known, crop, _clips(people), getattr(people, "action", None))
        wanted = range(len(people)) if rows is None else rows.tolist()
        drawn = [people.person(row) for row in wanted]
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

    def select(self, rows: np.ndarray) -> "Truth":
        """The truth about those at `rows` (indices or a mask)."""
        each = ("joints", "visible", "norm", "crop", "shows", "action")
        known = {name: getattr(self, name) for name in each}
        return replace(self, **{name: of[rows] for name, of in known.items() if of is not None})

    def with_torso(self, side: str) -> "Truth":
        """With the torso of PCK from the left or right shoulder, as `side` says, to the other hip.

        Raises UserError for a skeleton that lacks one of them.
        """
        ends = f"{side} shoulder", f"{'left' if side == 'right' else 'right'} hip"
        first, second = (self.skeleton.index(end) for end in ends)
        skeleton = replace(self.skeleton, torso=(first, second))
        return replace(self, skeleton=skeleton, name=f"{self.name}, torso from {' to '.join(ends)}")


def evaluate(
    protocol: str,
    predictions: np.ndarray,
    truth: Truth,
    skeleton: Skeleton | None = None,
    bootstrap: int = 0,
) -> Result:
    """Score predictions (N, J, 2), 0-based picture pixels, by a protocol of PROTOCOLS.

    skeleton: that of the predictions, if it is not the truth's; joints are matched by name, and those that
    were not predicted do not count. bootstrap: how often people are drawn for the intervals of the means; 0:
    there are none. Raises UserError for shapes that do not fit, and for a truth with nothing to score.
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
    return PROTOCOLS[protocol](predictions.take(source, axis=1), truth, source >= 0, bootstrap)


def protocols_of(
    dataset: str, wanted: Sequence[str] | None = None, skeleton: Skeleton = MPII
) -> tuple[str, ...]:
    """The protocols for a data set: those `wanted` if they suit it, by default its customary ones.

    skeleton: whose joints synthetic people are given in; only for MPII's do they have head sizes. AP is one
    of them for COCO; it is not of PROTOCOLS, but of src/evaluation/coco.py. Raises UserError for a protocol
    that the data set lacks the lengths for.
    """
    headless = dataset == "synth" and skeleton != MPII
    customary, others = (("pck",), ("pck-box", FAILURES)) if headless else _SUITING.get(dataset, _LEEDS)
    suiting = (*customary, *others)
    for name in wanted or ():
        if name not in suiting:
            known = ", ".join(suiting)
            raise UserError(f"{dataset} is not scored by {name!r}{suggest(name, suiting)}; choose of {known}")
    return tuple(dict.fromkeys(wanted)) if wanted else customary


class Yardstick(NamedTuple):
    """What a kind of PCK measures errors by.

    length (N,): of each person in pixels; whoever has no positive one does not count. unit: what such lengths
    are called. threshold: how many of them an error may be.
    """

    length: np.ndarray
    unit: str
    threshold: float


def yardstick(protocol: str, truth: Truth) -> Yardstick:
    """The yardstick of a protocol for some people. Raises KeyError for one that is no kind of PCK."""
    measure = {each.protocol: each for each in _MEASURES}[protocol]
    return Yardstick(measure.length(truth), measure.unit, measure.threshold)


AP = "ap"
_LEEDS = (("pck", "pcp"), ("pck-box", FAILURES))
_SUITING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # customary ones, others
    "mpii": (("pckh",), ("pck", "pck-box", "pcp", FAILURES)),
    "synth": (("pckh",), ("pck", "pck-box", "pcp", FAILURES)),
    "coco": ((AP,), ("pck-box", "pck")),  # many people lack an end of the torso
    "flic": (("pck-flic",), ("pck", "pck-box")),
    "penn": (("pck-crop", "pck-window", "pck-person"), ("pck", "pck-box")),
}


# PCK and its kin.


def _clips(people: Annotations) -> np.ndarray | None:
    """The number (N,) of the clip, and so of the person, that each frame is of; None for single pictures."""
    if people.skeleton != PENN:
        return None
    folders = np.char.rpartition(people.images, b"/")[:, 0]
    return np.unique(folders, return_inverse=True)[1]


@dataclass(frozen=True)
class _Measure:
    """A kind of PCK: the length of a person and the share of it, and a second, finer share.

    length_name: one such length, with its article; unit: several. joints: those in the means. end: where the
    curve ends; 0: at the threshold.
    """

    protocol: str
    name: str
    threshold: float
    fine: float
    length: Callable[[Truth], np.ndarray]
    length_name: str
    unit: str
    joints: Callable[[Skeleton], Sequence[int]] = lambda skeleton: skeleton.mean_joints
    end: float = 0

    @property
    def key(self) -> str:
        return self.protocol.replace("-", "_")

    @cached_property
    def thresholds(self) -> np.ndarray:
        """Those of the curve."""
        end = self.end or self.threshold
        return np.linspace(0, end, round(end / _CURVE_STEP) + 1)

    def place(self, threshold: float) -> int:
        """Which of the curve's thresholds it is."""
        return round(threshold / _CURVE_STEP)


def _elbows_and_wrists(skeleton: Skeleton) -> list[int]:
    return [joint for joint, name in enumerate(skeleton.joints) if name.endswith(("elbow", "wrist"))]


def _crops(truth: Truth) -> np.ndarray:
    return np.full(len(truth.joints), np.nan) if truth.crop is None else truth.crop


_HEAD = _Measure("pckh", "PCKh", 0.5, 0.1, lambda truth: truth.norm, "a head size", "head sizes")
_TORSO = _Measure(
    "pck", "PCK", 0.2, 0.1,
    lambda truth: torso_lengths(truth.joints, truth.visible, truth.skeleton),
    "both ends of the torso", "torsos",
)  # fmt: skip
_BOX = _Measure(
    "pck-box", "PCK-box", 0.1, 0.05,
    lambda truth: box_sides(truth.joints, truth.visible),
    "two joints to put a box around", "box sides",
)  # fmt: skip
_FLIC = _Measure(
    "pck-flic", "PCK-FLIC", 0.2, 0.1, lambda truth: truth.norm, "a torso", "torsos", _elbows_and_wrists
)
_PERSON = _Measure("pck-person", "PCK-person", 0.2, 0.1, lambda truth: truth.norm, "a box", "box sides")
_WINDOW = _Measure(
    "pck-window", "PCK-window", 0.05, 0.02, lambda truth: _crops(truth) / PENN_ENLARGE,
    "a window", "window sides", end=0.1,
)  # fmt: skip
_CROP = _Measure(
    "pck-crop", "PCK-crop", 0.05, 0.02, _crops, "a crop", "crop sides",
    lambda skeleton: skeleton.accuracy_joints, end=0.1,
)  # fmt: skip
_LIMB = _Measure("pcp", "PCP", 0.5, 0.2, lambda truth: truth.norm, "a limb with both ends", "limbs")


@dataclass(frozen=True)
class _Scored:
    """What a measure found, ready to be counted.

    names (J): of the joints, or limbs. means: which of them are in the means. distance() (C, N, J): for each
    of the `columns`, in units of the measure's length, NaN for what does not count; intervals alone need it.
    curves: the tally of distances, correct (C, T, J), counted (C, 1, J).
    """

    measure: _Measure
    names: Sequence[str]
    groups: Mapping[str, Sequence[int]]
    means: Sequence[int]
    columns: tuple[str, ...]
    distance: Callable[[], np.ndarray]
    curves: Tally
    further: "_Further | None" = None


class _Further(NamedTuple):
    """A mean that one measure alone has. correct, counted (N, C): what each person adds to it."""

    key: str
    label: str
    correct: np.ndarray
    counted: np.ndarray


def _pck(
    measure: _Measure, predictions: np.ndarray, truth: Truth, predicted: np.ndarray, bootstrap: int
) -> Result:
    """predictions (N, J, 2) in the truth's joints, of which `predicted` (J,) bool have a meaning."""
    length = measure.length(truth)
    visible = np.asfortranarray(truth.visible)  # joint after joint in memory, as the distances will be
    labelled = visible > UNLABELLED
    somebody = labelled.any(1)
    of_people = somebody & (length > 0)
    if not of_people.any():
        raise UserError(f"{truth.name}: nobody has {measure.length_name}; another --protocol may do")
    distance = distances(predictions, truth.joints, length, labelled & predicted)
    states = labelled, visible == VISIBLE, visible == HIDDEN
    skeleton = truth.skeleton
    scored = _Scored(
        measure,
        skeleton.joints,
        skeleton.groups,
        measure.joints(skeleton),
        ("all", "visible", "hidden"),
        lambda: np.stack([only(distance, state) for state in states]),
        _tally_columns((distance, only(distance, states[1])), measure.thresholds),
        _further(measure, distance, states, truth),
    )
    left_out = int((somebody & ~of_people).sum())
    notes = _notes(left_out, measure, labelled.any(0) & ~predicted, skeleton)
    return _result(scored, truth, int(of_people.sum()), left_out, notes, "joints", bootstrap)


def _pcp(predictions: np.ndarray, truth: Truth, predicted: np.ndarray, bootstrap: int) -> Result:
    """As `_pck`, of limbs; the columns are the readings."""
    limbs = limbs_of(truth.skeleton)
    if not limbs.names:
        raise UserError(f"{truth.name}: skeleton {truth.skeleton.name} has no limb of PCP with both ends")
    labelled = truth.visible > UNLABELLED
    distance = limb_distances(predictions, truth.joints, labelled & predicted, limbs)
    counted = ~np.isnan(distance[0])
    if not counted.any():
        raise UserError(f"{truth.name}: nobody has {_LIMB.length_name}; another --protocol may do")
    tallies = [tally(reading, _LIMB.thresholds) for reading in distance]
    curves = Tally(
        np.stack([each.correct for each in tallies]), np.stack([each.counted for each in tallies])[:, None]
    )
    scored = _Scored(
        _LIMB, limbs.names, limbs.groups, range(len(limbs.names)), READINGS, lambda: distance, curves
    )
    of_people = counted.any(1)
    left_out = int((labelled.any(1) & ~of_people).sum())
    notes = _notes(left_out, _LIMB, labelled.any(0) & ~predicted, truth.skeleton)
    return _result(scored, truth, int(of_people.sum()), left_out, notes, "limbs", bootstrap)


def _failures(predictions: np.ndarray, truth: Truth, predicted: np.ndarray, bootstrap: int) -> Result:
    """By heads where the truth has head sizes, else by torsos."""
    measure = _HEAD if truth.skeleton == MPII and (truth.norm > 0).any() else _TORSO
    title = f"Failures, {measure.name}@{measure.threshold}, of {truth.name}"
    visible = np.where(predicted, truth.visible, UNLABELLED)
    length = measure.length(truth)
    if not ((visible > UNLABELLED).any(1) & (length > 0)).any():
        raise UserError(f"{truth.name}: nobody has {measure.length_name}; another --protocol may do")
    return describe_failures(
        predictions, truth.joints, visible, truth.skeleton, length, measure.threshold, title, bootstrap
    )


def _further(
    measure: _Measure, distance: np.ndarray, states: Sequence[np.ndarray], truth: Truth
) -> _Further | None:
    """The further mean that some measures have, from distances (N, J) and the states (N, J) of C columns."""
    if measure not in (_HEAD, _CROP):
        return None
    right, counted = within(distance, measure.threshold), ~np.isnan(distance)
    if measure is _HEAD:
        counted &= truth.joints[..., 0] != -1  # x == 0 where coordinates count from 1
        key, label = f"all{distance.shape[1]}", f"All {distance.shape[1]} joints (by count)"
    else:
        counted &= np.isin(np.arange(distance.shape[1]), measure.joints(truth.skeleton))
        key, label = "frames", "Mean of the frames' means"
    total, correct = (
        np.stack([(of & state).sum(1) for state in states], axis=1) for of in (counted, right & counted)
    )
    if measure is _CROP:
        total, correct = total > 0, correct / np.maximum(total, 1)
    return _Further(f"{measure.key}_{key}", label, correct, total)


def _tally_columns(columns: Sequence[np.ndarray], thresholds: np.ndarray) -> Tally:
    """The counts of all, of visible and of hidden joints, from the distances (N, J) of the first two."""
    both, seen = (tally(of, thresholds) for of in columns)
    correct = np.stack([both.correct, seen.correct, both.correct - seen.correct])
    counted = np.stack([both.counted, seen.counted, both.counted - seen.counted])
    return Tally(correct, counted[:, None])


def _result(
    scored: _Scored,
    truth: Truth,
    people: int,
    left_out: int,
    notes: tuple[str, ...],
    section: str,
    bootstrap: int,
) -> Result:
    """The table and the curves; `section` is what the single `names` are called."""
    measure, own = scored.measure, list(scored.groups.values())
    at = Tally(scored.curves.correct[:, measure.place(measure.threshold)], scored.curves.counted[:, 0])
    means = _means(scored, _sums(scored))
    ends = _intervals(scored, truth.shows, bootstrap) if bootstrap else {}
    return Result(
        protocol=measure.protocol,
        title=f"{measure.name}@{measure.threshold} of {truth.name}",
        people=people,
        left_out=left_out,
        notes=notes,
        columns=scored.columns,
        sections={
            "groups": _rows(scored.groups, at.means(own), at.totals(own)),
            section: _rows(scored.names, at.percent(), at.counted),
            "means": {key: _row(*mean, ends.get(key)) for key, mean in means.items()},
        },
        thresholds=measure.thresholds,
        curves=_curves(scored),
    )


class _Sums(NamedTuple):
    """What means are made of. The first four are (..., C, J), the others (..., C); people's add up.

    correct and fine: at the measure's thresholds; area: under the curve, whose height is counted; further,
    further_counted: of the measure's further mean.
    """

    correct: np.ndarray
    fine: np.ndarray
    area: np.ndarray
    counted: np.ndarray
    further: np.ndarray
    further_counted: np.ndarray


def _sums(scored: _Scored) -> _Sums:
    """The sums of all people, from their tally."""
    measure, (correct, counted) = scored.measure, scored.curves
    further = scored.further
    return _Sums(
        correct[:, measure.place(measure.threshold)],
        correct[:, measure.place(measure.fine)],
        area_under_curve(measure.thresholds, correct.swapaxes(1, 2)),
        counted[:, 0],
        *((further.correct.sum(0), further.counted.sum(0)) if further else (np.zeros(0), np.zeros(0))),
    )


def _sums_by_person(scored: _Scored) -> _Sums:
    """What each person adds to the sums: (N, C, J) and (N, C) float32."""
    measure = scored.measure
    distance = scored.distance().swapaxes(0, 1)
    passed = first_passed(distance, measure.thresholds)
    areas = np.append(np.cumsum(area_weights(measure.thresholds)[::-1])[::-1], 0)
    further, nothing = scored.further, np.zeros((len(passed), 0))
    sums = _Sums(
        passed <= measure.place(measure.threshold),
        passed <= measure.place(measure.fine),
        areas[passed],
        ~np.isnan(distance),
        *((further.correct, further.counted) if further else (nothing, nothing)),
    )
    return _Sums(*(part.astype(np.float32) for part in sums))


def _means(scored: _Scored, sums: _Sums) -> dict[str, tuple[str, np.ndarray, np.ndarray]]:
    """Each mean: its label, percentages (..., C) and of how many joints they are (..., C)."""
    measure, joints, key = scored.measure, list(scored.means), scored.measure.key
    what = f"{len(joints)} {'limbs' if measure is _LIMB else 'joints'}"
    right, fine, area = (Tally(part, sums.counted) for part in sums[:3])
    counted = right.total(joints)
    means = {
        f"{key}_mean": (f"Mean ({what}, by count)", right.pooled(joints), counted),
        f"{key}_unweighted": (f"Mean ({what}, unweighted)", right.mean(joints), counted),
    }
    if scored.further:
        further = Tally(sums.further, sums.further_counted)
        means[scored.further.key] = (scored.further.label, further.percent(), further.counted)
    fine_label = f"Mean at {measure.fine} (by count)"
    area_label = f"Area under the curve to {measure.thresholds[-1]:g}"
    return means | {
        f"{key}_mean@{measure.fine}": (fine_label, fine.pooled(joints), counted),
        f"{key}_auc": (area_label, area.pooled(joints), counted),
    }


def _intervals(scored: _Scored, shows: np.ndarray | None, draws: int) -> dict[str, np.ndarray]:
    """The intervals (2, C) of the means; shows (N,): as in Truth."""
    sums = _sums_by_person(scored)
    values = np.concatenate([part.reshape(len(part), -1) for part in sums], axis=1)
    cuts = np.cumsum([part[0].size for part in sums])[:-1]
    if shows is not None:
        order = np.argsort(shows, kind="stable")
        starts = np.flatnonzero(np.diff(shows[order], prepend=-1))
        values = np.add.reduceat(values[order], starts)

    def figures(weights: np.ndarray) -> np.ndarray:
        parts = zip(np.split(weights @ values, cuts, axis=1), sums, strict=True)
        again = _Sums(*(part.reshape(len(part), *of.shape[1:]) for part, of in parts))
        return np.stack([percent for _, percent, _ in _means(scored, again).values()], axis=1)

    ends = intervals(len(values), figures, draws)
    return dict(zip(_means(scored, _sums(scored)), ends.swapaxes(0, 1), strict=True))


def _curves(scored: _Scored) -> dict[str, np.ndarray]:
    """Percentages (T,) of the first column: the mean, the groups and the single joints."""
    curve = Tally(scored.curves.correct[0], scored.curves.counted[0])
    mean = {f"{scored.measure.key}_mean": curve.pooled(scored.means)}
    groups = zip(scored.groups, curve.means(list(scored.groups.values())).T, strict=True)
    return mean | dict(groups) | dict(zip(scored.names, curve.percent().T, strict=True))


def _rows(labels: Iterable[str], percent: np.ndarray, counted: np.ndarray) -> dict[str, Row]:
    """Lines of the table, from percentages and counts (C, len(labels))."""
    lines = zip(labels, percent.T, counted.T, strict=True)
    return {label: _row(label, shares, counts) for label, shares, counts in lines}


def _row(label: str, percent: np.ndarray, counted: np.ndarray, ends: np.ndarray | None = None) -> Row:
    """A line of the table, from a percentage, a count (C,) and perhaps an interval (2, C) for each column."""
    known = [None] * len(percent) if ends is None else [(low, high) for low, high in ends.T.tolist()]
    return Row(label, tuple(map(Score, percent.tolist(), counted.tolist(), known)))


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


Protocol = Callable[[np.ndarray, Truth, np.ndarray, int], Result]
_MEASURES = (_HEAD, _TORSO, _BOX, _FLIC, _PERSON, _WINDOW, _CROP)
PROTOCOLS: dict[str, Protocol] = {
    **{m.protocol: partial(_pck, m) for m in _MEASURES},
    _LIMB.protocol: _pcp,
    FAILURES: _failures,
}

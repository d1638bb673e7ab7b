"""Pictures for people: poses drawn on photographs, contact sheets of predictions, heatmaps laid over.

Pictures are (H, W, 3) uint8 RGB; joints are continuous (x, y) in their pixels, pixel k covering [k, k + 1).
Nothing here changes its arguments. N pictures, J joints, h x w heatmap.
"""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.datasets import affine
from src.datasets.annotations import HIDDEN, UNLABELLED
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.grouping import People
from src.utils.files import replacing
from src.utils.tracking import extent

Colour = tuple[int, int, int]
Point = tuple[int, int]  # in fixed point

# Told apart with any colour vision. Left and right as the joints' names have it.
LEFT: Colour = (255, 159, 28)
RIGHT: Colour = (64, 156, 255)
TRUNK: Colour = (235, 235, 235)
TRUTH: Colour = (255, 255, 255)
EDGE: Colour = (20, 20, 20)  # around all of them, so that they show on any ground
PAPER, INK = 255, 40

# Of people in one picture, one after the other; neighbours differ with any colour vision.
PEOPLE: tuple[Colour, ...] = (
    (255, 159, 28), (64, 156, 255), (255, 225, 77), (204, 121, 220), (38, 208, 165), (255, 99, 99),
    (176, 240, 255), (160, 200, 60),
)  # fmt: skip

# Of the maps of joints: hues in degrees, from the first joint of a side to the last, and their saturation.
# Orange is in the middle of those of the left, blue of those of the right.
_SHADES = {LEFT: (-15, 75, 1.0), RIGHT: (185, 285, 0.9), TRUNK: (90, 150, 0.2)}

FAINTEST = 0.2  # opacity of a joint of score 0; one of 0.8 is covered wholly

_SUBPIXEL_BITS = 4  # OpenCV takes fixed-point coordinates
_FAR = 1e6  # pixels; beyond, fixed-point coordinates would overflow
_MOST_OF_JPEG = 65_500  # pixels a side that its encoder takes


def joint_colour(skeleton: Skeleton, joint: int) -> Colour:
    """LEFT, RIGHT or, for a joint of neither side, TRUNK."""
    return {"left": LEFT, "right": RIGHT}.get(skeleton.joints[joint].split()[0], TRUNK)


def limb_colour(skeleton: Skeleton, limb: tuple[int, int]) -> Colour:
    """The side of a limb's joints; TRUNK if it joins both sides, or neither has one."""
    sides = {joint_colour(skeleton, joint) for joint in limb} - {TRUNK}
    return sides.pop() if len(sides) == 1 else TRUNK


def map_colours(skeleton: Skeleton) -> np.ndarray:
    """A colour (J, 3) for the map of each joint: warm ones left, cold ones right, pale ones in the middle."""
    sides = [joint_colour(skeleton, joint) for joint in range(skeleton.num_joints)]
    colours = np.empty((len(sides), 3), np.float32)
    for side, (first, last, saturation) in _SHADES.items():
        joints = [joint for joint, own in enumerate(sides) if own == side]
        for joint, hue in zip(joints, np.linspace(first, last, len(joints)), strict=True):
            colours[joint] = colorsys.hsv_to_rgb(hue / 360 % 1, saturation, 1)
    return 255 * colours


def draw_pose(
    image: np.ndarray,
    joints: np.ndarray,
    skeleton: Skeleton,
    *,
    scores: np.ndarray | None = None,
    threshold: float = 0.0,
    visible: np.ndarray | None = None,
    thickness: int | None = None,
    colour: Colour | None = None,
    fade: bool = False,
) -> np.ndarray:
    """A copy of the picture (H, W, 3) with one person's joints (J, 2) and the limbs between them.

    scores (J,): joints below `threshold` are left out. visible (J,): 0 unlabelled, left out; 1 hidden, a
    ring; 2 visible, a dot. Joints that are not finite are left out. thickness: of limbs in pixels; by
    default it grows with the person. colour: of everything; by default left and right differ. fade: show
    the picture through joints of low score, and through their limbs.
    """
    image = image.copy()
    shown = _shown(joints, scores, threshold, visible)
    hidden = np.zeros(len(joints), bool) if visible is None else visible == HIDDEN
    pen = _Pen(skeleton, thickness or _thickness(extent(joints[shown])), colour)
    if fade and scores is not None:
        _paint_faded(image, joints, shown, scores, pen)
    else:
        _paint(image, _fixed_points(joints), shown, hidden, pen)
    return image


def draw_people(
    image: np.ndarray,
    people: People,
    skeleton: Skeleton,
    *,
    threshold: float = 0.0,
    thickness: int | None = None,
    sizes: Sequence[float] | np.ndarray | None = None,
    colours: Sequence[Colour | None] | None = None,
    fade: bool = False,
) -> np.ndarray:
    """A copy of the picture (H, W, 3) with everybody in a colour of their own, the surest on top.

    people: joints in its pixels. Joints whose score is below `threshold` are left out. sizes: of
    each person in pixels, with which limbs grow; by default those of the joints drawn. colours: of each
    person; None for one whose left and right differ. thickness, fade: as in `draw_pose`.
    """
    image = image.copy()
    for place in np.argsort(people.person_score, kind="stable").tolist():
        colour = PEOPLE[place % len(PEOPLE)] if colours is None else colours[place]
        joints, scores = people.joints[place], people.score[place]
        shown = _shown(joints, scores, threshold, None)
        size = extent(joints[shown]) if sizes is None else sizes[place]
        pen = _Pen(skeleton, thickness or _thickness(size), colour)
        if fade:
            _paint_faded(image, joints, shown, scores, pen)
        else:
            _paint(image, _fixed_points(joints), shown, np.zeros(len(joints), bool), pen)
    return image


def draw_truth(
    image: np.ndarray, joints: np.ndarray, skeleton: Skeleton, visible: np.ndarray | None = None
) -> np.ndarray:
    """A copy of the picture (H, W, 3) with the annotated joints (J, 2) as thin white limbs."""
    shown = _shown(joints, None, 0.0, visible)
    image = image.copy()
    points = _fixed_points(joints)
    limbs = [limb for limb in skeleton.limbs if shown[limb[0]] and shown[limb[1]]]
    for colour, thickness in ((EDGE, 3), (TRUTH, 1)):
        for a, b in limbs:
            _line(image, points[a], points[b], colour, thickness)
    return image


def prediction_grid(
    images: Sequence[np.ndarray],
    predicted: np.ndarray,
    truth: np.ndarray | None,
    skeleton: Skeleton,
    columns: int,
    *,
    visible: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    threshold: float = 0.0,
    tolerance: np.ndarray | None = None,
    cell: int = 256,
) -> np.ndarray:
    """A contact sheet of N pictures of any size, each with its predicted joints over the thin white truth.

    predicted, truth (N, J, 2) in the pixels of their picture; visible (N, J) of the truth, all labelled by
    default; scores (N, J) and threshold as in `draw_pose`. The caption counts the labelled joints that lie
    within `tolerance` (N,) pixels, by default a twentieth of the picture's longer side.
    columns: pictures in a row. cell: side of the square that each is fitted into. Returns (H, W, 3).
    """
    if not len(images):
        raise UserError("a grid needs at least one picture")
    cells = []
    for i, image in enumerate(images):
        small, factor, offset = _fit(image, cell)
        points = predicted[i] * factor + offset
        caption = ""
        if truth is not None:
            labelled = _shown(truth[i], None, 0.0, None if visible is None else visible[i])
            near = max(image.shape[:2]) / 20 if tolerance is None else tolerance[i]
            right = np.linalg.norm(predicted[i] - truth[i], axis=1)[labelled] <= near
            caption = f"{right.sum()} of {right.size} joints right"
            small = draw_truth(small, truth[i] * factor + offset, skeleton, labelled)
        score = None if scores is None else scores[i]
        drawn = draw_pose(small, points, skeleton, scores=score, threshold=threshold)
        cells.append(_framed(drawn, caption) if truth is not None else drawn)
    return _tile(cells, columns, gap=max(2, cell // 40))


def people_grid(
    images: Sequence[np.ndarray],
    found: Sequence[People],
    truth: Sequence[tuple[np.ndarray, np.ndarray]],
    skeleton: Skeleton,
    columns: int,
    *,
    threshold: float = 0.2,
    cell: int = 256,
) -> np.ndarray:
    """A contact sheet of N pictures of any size, with the people found in them over the thin white truth.

    found: of each picture, joints in its pixels; those whose score is below `threshold` are left out. truth:
    joints (n, J, 2) and visible (n, J) of those annotated. columns: pictures in a row. cell: side of the
    square that each is fitted into. Returns (H, W, 3).
    """
    if not len(images):
        raise UserError("a grid needs at least one picture")
    cells = []
    for image, people, (joints, visible) in zip(images, found, truth, strict=True):
        small, factor, offset = _fit(image, cell)
        annotated = np.flatnonzero((visible > UNLABELLED).any(1))
        for person in annotated.tolist():
            small = draw_truth(small, joints[person] * factor + offset, skeleton, visible[person])
        sure = people.person_score >= threshold
        shown = People(people.joints[sure] * factor + offset, people.score[sure], people.person_score[sure])
        small = draw_people(small, shown, skeleton, threshold=threshold / 2, thickness=max(1, cell // 128))
        cells.append(_framed(small, f"{sure.sum()} found, {len(annotated)} annotated"))
    return _tile(cells, columns, gap=max(2, cell // 40))


def contact_sheet(images: Sequence[np.ndarray], captions: Sequence[str], columns: int) -> np.ndarray:
    """Pictures (H, W, 3) of one size in rows of `columns`, each with a line of text under it."""
    if not len(images):
        raise UserError("a contact sheet needs at least one picture")
    cells = [_framed(image, caption) for image, caption in zip(images, captions, strict=True)]
    return _tile(cells, columns, gap=max(2, images[0].shape[1] // 40))


def maps_overlay(
    image: np.ndarray, views: Sequence[tuple[np.ndarray, np.ndarray]], skeleton: Skeleton
) -> np.ndarray:
    """The picture (H, W, 3), darkened, under heatmaps of parts of it, in the colours of `map_colours`.

    views: heatmaps (J, h, w), and the matrix (2, 3) from their cells to the picture. The higher a map, the
    less shows through: from 0 to 1, or to the largest value where that is above 1; negative ones are 0.
    """
    colours = map_colours(skeleton)
    peak, tinted = np.zeros(image.shape[:2], np.float32), np.zeros(image.shape, np.float32)
    for heatmaps, matrix in views:
        heights = np.clip(_finite(heatmaps), 0, None).astype(np.float32)
        weights = heights**2  # where maps meet, the higher one counts more
        own = heights.max(0)
        tint = np.tensordot(weights, colours, (0, 0)) * (own / np.maximum(weights.sum(0), 1e-12))[..., None]
        seen = np.dstack([_spread(own, matrix, image), _spread(tint, matrix, image)])
        higher = seen[..., 0] > peak
        peak[higher], tinted[higher] = seen[higher, 0], seen[higher, 1:]
    coloured = tinted / np.maximum(peak, 1e-6)[..., None]
    return _laid_over(image, coloured, np.sqrt(peak / max(1.0, float(peak.max()))))  # flanks show, too


def tags_overlay(image: np.ndarray, heatmaps: np.ndarray, tags: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3), darkened, under the tags at the peaks of heatmaps: people have a colour each.

    heatmaps (J, h, w), tags (J, h, w) or (J, h, w, L), of which the first of L numbers is shown; matrix
    (2, 3): from their cells to the picture. A cell has the tag of its strongest joint. The colours go from
    the lowest tag to the highest of cells that are half as strong as the strongest.
    """
    heatmaps, tags = _finite(heatmaps), _finite(tags if tags.ndim == 3 else tags[..., 0])
    strongest = heatmaps.argmax(0)[None]
    peak = np.clip(np.take_along_axis(heatmaps, strongest, 0)[0], 0, None).astype(np.float32)
    peak /= max(1.0, float(peak.max()))
    tag = np.take_along_axis(tags, strongest, 0)[0].astype(np.float32)
    sure = tag[peak >= 0.5 * peak.max()]
    share = np.clip((tag - sure.min()) / max(float(np.ptp(sure)), 1e-6), 0, 1)
    level = np.round(30 + 195 * share).astype(np.uint8)  # the ends of the colours are dark
    coloured = cv2.applyColorMap(level, cv2.COLORMAP_TURBO)
    coloured = _spread(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), matrix, image, cv2.INTER_NEAREST)
    return _laid_over(image, coloured, np.sqrt(_spread(peak, matrix, image)))


def _finite(maps: np.ndarray) -> np.ndarray:
    """Maps with 0 for what is no number, as in those of a network that has diverged."""
    return np.nan_to_num(maps, nan=0, posinf=0, neginf=0)


def _spread(
    cells: np.ndarray, matrix: np.ndarray, image: np.ndarray, sampling: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """Values (h, w, …) of cells at the pixels of a picture that a matrix (2, 3) maps the cells to, else 0."""
    height, width = image.shape[:2]
    return cv2.warpAffine(cells, affine.between_centers(matrix), (width, height), flags=sampling)


def _laid_over(image: np.ndarray, colours: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3), darkened, under colours (H, W, 3) of a strength (H, W) from 0 to 1."""
    mixed = 0.6 * (1 - strength[:, :, None]) * image + strength[:, :, None] * colours
    return np.round(mixed).astype(np.uint8)


def save_image(path: Path | str, image: np.ndarray) -> None:
    """Write a picture (H, W, 3) as PNG or JPEG, by the suffix; the file appears whole or not at all.

    UserError for another suffix, a place that cannot be written, or a picture too large for a JPEG.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"{path} must end in .png, .jpg or .jpeg")
    if path.suffix.lower() != ".png" and max(image.shape[:2]) > _MOST_OF_JPEG:
        raise UserError(
            f"{path} cannot be written: a JPEG has at most {_MOST_OF_JPEG:,} pixels a side, and this picture"
            f" has {max(image.shape[:2]):,}; as .png it could be"
        )
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done, "an encoder that OpenCV has does not fail on uint8 pictures"
    with replacing(path) as part:
        part.write_bytes(data.tobytes())


def _shown(
    joints: np.ndarray, scores: np.ndarray | None, threshold: float, visible: np.ndarray | None
) -> np.ndarray:
    """Which joints (J, 2) are to be drawn: (J,) bool."""
    shown = np.isfinite(joints).all(1)
    if scores is not None:
        shown &= scores >= threshold
    if visible is not None:
        shown &= visible > UNLABELLED
    return shown


class _Pen(NamedTuple):
    """How a person is drawn; see `draw_pose`."""

    skeleton: Skeleton
    thickness: int
    colour: Colour | None

    @property
    def outline(self) -> int:
        return self.thickness + max(2, self.thickness // 2)

    @property
    def radius(self) -> float:
        return 0.5 + self.thickness

    def limbs(self, shown: np.ndarray) -> list[tuple[int, int]]:
        return [limb for limb in self.skeleton.limbs if shown[limb[0]] and shown[limb[1]]]


def _paint(image: np.ndarray, points: list[Point], shown: np.ndarray, hidden: np.ndarray, pen: _Pen) -> None:
    """Draw a person into the picture: of the joints those that are to be shown, hidden ones as rings."""
    limbs = pen.limbs(shown)
    for a, b in limbs:
        _line(image, points[a], points[b], EDGE, pen.outline)
    for a, b in limbs:
        colour = pen.colour or limb_colour(pen.skeleton, (a, b))
        _line(image, points[a], points[b], colour, pen.thickness)
    for joint in np.flatnonzero(shown).tolist():
        fill = pen.colour or joint_colour(pen.skeleton, joint)
        _dot(image, points[joint], fill, pen.radius, hollow=hidden[joint])


def _paint_faded(
    image: np.ndarray, joints: np.ndarray, shown: np.ndarray, scores: np.ndarray, pen: _Pen
) -> None:
    """Draw a person into the picture so that it shows through what is not sure."""
    corner, part = _around(image, joints[shown], pen.outline + 2)
    if not part.size:
        return
    points = _fixed_points(joints - corner)
    painted, cover = part.copy(), np.zeros(part.shape[:2], np.uint8)
    _paint(painted, points, shown, np.zeros(len(points), bool), pen)
    opacity = np.round(255 * np.clip(FAINTEST + scores, FAINTEST, 1)).astype(int).tolist()
    of_limbs = [((opacity[a] + opacity[b]) // 2, a, b) for a, b in pen.limbs(shown)]
    for value, a, b in sorted(of_limbs):  # where limbs cross, the surest counts
        _line(cover, points[a], points[b], (value,) * 3, pen.outline)
    for joint in np.flatnonzero(shown).tolist():
        _disc(cover, points[joint], (opacity[joint],) * 3, pen.radius + 1)
    weight = cover.astype(np.float32) / 255
    part[:] = cv2.blendLinear(painted, part, weight, 1 - weight)


def _around(image: np.ndarray, points: np.ndarray, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture, not copied, around points (n, 2), and its corner (2,)."""
    if not len(points):
        return np.zeros(2), image[:0]
    height, width = image.shape[:2]
    low = np.clip(np.floor(points.min(0)) - margin, 0, (width, height)).astype(int)
    high = np.clip(np.ceil(points.max(0)) + margin, 0, (width, height)).astype(int)
    return low, image[low[1] : high[1], low[0] : high[0]]


def _thickness(size: float) -> int:
    """About a hundredth of the person's size."""
    return max(1, min(40, round(size / 100)))


def _fixed_points(points: np.ndarray) -> list[Point]:
    """Continuous coordinates (n, 2) as OpenCV counts them: from the centre of pixel 0, in fixed point.

    What is not finite, and so not drawn, becomes some number.
    """
    near = np.clip(np.nan_to_num(points), -_FAR, _FAR)
    return [(x, y) for x, y in np.rint((near - 0.5) * 2**_SUBPIXEL_BITS).astype(int).tolist()]


def _line(image: np.ndarray, start: Point, end: Point, colour: Colour, thickness: int) -> None:
    cv2.line(image, start, end, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dot(image: np.ndarray, center: Point, colour: Colour, radius: float, hollow: bool) -> None:
    """A disc with a dark edge; a hollow one has a dark middle."""
    _disc(image, center, EDGE, radius + 1)
    _disc(image, center, colour, radius)
    if hollow:
        _disc(image, center, EDGE, radius / 2)


def _disc(image: np.ndarray, center: Point, colour: Colour, radius: float) -> None:
    fixed = round(radius * 2**_SUBPIXEL_BITS)
    cv2.circle(image, center, fixed, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fit(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The picture scaled into the middle of a dark square; the factor and the offset (2,) for its joints."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.full((side, side, 3), EDGE, np.uint8)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    square[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=smaller)
    return square, np.array(size) / (width, height), np.array([left, top])


def _framed(image: np.ndarray, caption: str) -> np.ndarray:
    """The picture with a line of text under it."""
    width = image.shape[1]
    bar = np.full((max(14, width // 11), width, 3), PAPER, np.uint8)
    font, ink = cv2.FONT_HERSHEY_SIMPLEX, (INK, INK, INK)
    scale = min(width / 560, 1.0)
    (length, height), _ = cv2.getTextSize(caption, font, scale, 1)
    at = max(0, (width - length) // 2), (len(bar) + height) // 2
    cv2.putText(bar, caption, at, font, scale, ink, 1, cv2.LINE_AA)
    return np.concatenate([image, bar])


def _tile(cells: list[np.ndarray], columns: int, gap: int) -> np.ndarray:
    """Cells of one size in rows of `columns`, on paper."""
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    height, width = cells[0].shape[:2]
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), PAPER, np.uint8)
    for i, image in enumerate(cells):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet

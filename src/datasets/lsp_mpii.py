"""lsp_mpii.h5: MPII, LSP and LSPET people in one file, as used for adversarial training of pose networks.

Six fields, 1-based but for LSPET's: imgname (N, L) character codes of a path that begins with LSP or mpii;
part (N, 16, 2) in MPII's joints; visible (N, 16); center (N, 2) and scale (N,), as annotated; istrain (N,),
of which copies exist in two codings. The validation people of MPII are among the training people: a network
trained on these must not be scored on MPII's validation split.
"""

import os
import re
from pathlib import Path

import numpy as np

from src.datasets import mpii
from src.datasets.annotations import UNLABELLED, VISIBLE, Annotations
from src.datasets.files import check_codes, check_shape, decode_names, load_h5, save_h5
from src.datasets.lsp import LSP, LSPET, read_lsp, read_lspet
from src.datasets.release import Release, number_pictures, torso_lengths
from src.datasets.skeletons import MPII as SKELETON
from src.errors import UserError

FILE = "lsp_mpii.h5"
ENLARGE = mpii.ENLARGE
TRAIN, LSP_TEST, MPII_TEST = 1, 2, 0  # istrain as written here; other copies have 0 and 2 the other way round

_NAME_LENGTH = 50
_J = SKELETON.num_joints


def read_lsp_mpii(data_dir: Path, split: str, valid_share: float = 0.0) -> Annotations:
    """train: the training people of MPII and LSP, all of LSPET. valid: LSP's test people. test: MPII's.

    All in MPII's joints; LSP has neither pelvis nor thorax. norm is the torso for people of LSP and LSPET,
    NaN for MPII's, whose head boxes the file lacks. `valid_share` is not used.
    """
    path = LSP_MPII.find(data_dir, [FILE, f"annot/{FILE}"])
    found = load_h5(path, ["imgname", "part", "center", "scale", "visible", "istrain"])
    part = found["part"]
    check_shape(part, (None, _J, 2), "part", path)
    count = len(part)
    for key, shape in {"center": (2,), "scale": (), "visible": (_J,), "istrain": ()}.items():
        check_shape(found[key], (count, *shape), key, path)
    images = decode_names(found["imgname"], path)
    if len(images) != count:
        raise UserError(f"{path}: {count} people, but {len(images)} picture names")

    of_lsp = _is_lsp(images, path)
    visible = mpii.mark_joints(part, found["visible"])
    # Unlabelled joints of LSPET keep coordinates of which one is 0 and the other negative.
    visible[of_lsp[:, None] & (part <= 0).all(2)] = UNLABELLED
    rows = _rows_of(split, of_lsp, found["istrain"], ~(visible == UNLABELLED).all(1), path)
    images, of_lsp, visible = images[rows], of_lsp[rows], visible[rows]
    of_leeds = np.where(_is_lspet(images), LSPET.origin, LSP.origin)
    origin = np.where(of_lsp, of_leeds, mpii.MPII.origin)[:, None]
    joints = part[rows] - origin[..., None]
    index, person = number_pictures(images)
    return Annotations(
        name=f"lsp_mpii {split}",
        skeleton=SKELETON,
        root=data_dir,
        images=images,
        joints=joints,
        visible=visible,
        center=found["center"][rows] - origin,
        scale=found["scale"][rows],
        enlarge=np.full(len(rows), ENLARGE),
        shift=np.where(of_lsp, 0.0, mpii.SHIFT),
        norm=np.where(of_lsp, torso_lengths(joints, visible, SKELETON), np.nan),
        index=index,
        person_id=person,
    )


def build_lsp_mpii(data_dir: Path) -> str:
    """Write lsp_mpii.h5 from the releases in data_dir/LSP and data_dir/mpii, which are prepared if need be.

    Beyond the known copies of the file, `visible` is told for people of LSP too (there it is 1 throughout).
    """
    target = data_dir / FILE
    if target.is_file():
        return f"{target} is there already"
    leeds, people = data_dir / "LSP", data_dir / "mpii"
    for release, folder in ((LSP, leeds), (LSPET, leeds), (mpii.MPII, people)):
        release.prepare(folder)
    parts = [
        (read_lsp(leeds, "train"), TRAIN, LSP.origin),
        (read_lspet(leeds, "train", valid_share=0.0), TRAIN, LSPET.origin),
        (read_lsp(leeds, "test"), LSP_TEST, LSP.origin),
        (mpii.read_mpii(people, "train"), TRAIN, mpii.MPII.origin),
        (mpii.read_mpii(people, "valid"), TRAIN, mpii.MPII.origin),
        (mpii.read_mpii(people, "test"), MPII_TEST, mpii.MPII.origin),
    ]
    for annotations, *_ in (parts[0], parts[2]):
        _require_pictures(annotations, leeds)
    columns = [_columns(*part, data_dir) for part in parts]
    save_h5(target, {key: np.concatenate([column[key] for column in columns]) for key in columns[0]})
    return f"{target} written: {sum(len(annotations) for annotations, *_ in parts)} people"


def _require_pictures(people: Annotations, data_dir: Path) -> None:
    """UserError if a picture of LSP is missing: the boxes of its people are those of the pictures."""
    missing = [row for row in range(len(people)) if not people.path(row).is_file()]
    if missing:
        first = people.path(missing[0])
        raise UserError(
            f"{people.name}: picture {first} is missing ({len(missing)} are); {LSP.how_to_get(data_dir)}"
        )


def _is_lsp(images: np.ndarray, path: Path) -> np.ndarray:
    """Which people (N,) are of LSP or LSPET, by the first folder of the picture's path."""
    lower = np.char.lower(images)
    of_lsp, of_mpii = np.char.startswith(lower, b"lsp"), np.char.startswith(lower, b"mpii")
    unknown = ~(of_lsp | of_mpii)
    if unknown.any():
        first = images[unknown][0].decode(errors="replace")
        raise UserError(
            f"{path}: {first!r} begins with neither LSP/ nor mpii/ ({unknown.sum()} such pictures)"
        )
    return of_lsp


def _is_lspet(images: np.ndarray) -> np.ndarray:
    """Which people (N,) of LSP and LSPET are of LSPET: its pictures have numbers of five digits, not four."""
    return np.array([re.search(rb"\d{5}\.\w+$", name) is not None for name in images.tolist()], bool)


def _rows_of(
    split: str, of_lsp: np.ndarray, istrain: np.ndarray, annotated: np.ndarray, path: Path
) -> np.ndarray:
    """The rows of a split. Training is 1 in all copies; of 0 and 2 one means MPII's test, one LSP's.

    Which release a person is of decides, so both codings read alike; -1 are unusable people of MPII.
    """
    check_codes(istrain, mpii.ISTRAIN, "istrain", path)
    training, test = istrain == 1, np.isin(istrain, (0, 2))
    contradicts = (training & ~annotated) | (test & (annotated != of_lsp))
    if contradicts.any():
        row = int(np.argmax(contradicts))
        raise UserError(
            f"{path}: row {row} has istrain {istrain[row]:g}, which does not fit its joints"
            f" ({contradicts.sum()} such rows); is it the right file?"
        )
    chosen = {"train": training, "valid": test & of_lsp, "test": test & ~of_lsp}
    return np.flatnonzero(chosen[split])


def _columns(people: Annotations, istrain: int, origin: float, data_dir: Path) -> dict[str, np.ndarray]:
    """The six fields for the people of one split of one release, whose pictures begin at `origin`."""
    count = len(people)
    people = people.with_skeleton(SKELETON)
    labelled = people.visible > UNLABELLED
    unlabelled = -1.0 if istrain == MPII_TEST else 0.0
    folder = os.path.relpath(people.root, data_dir).encode()
    names = np.char.add(folder + b"/", people.images).astype(f"S{_NAME_LENGTH}")
    return {
        "imgname": names.view(np.uint8).reshape(count, _NAME_LENGTH),
        "part": np.where(labelled[..., None], people.joints + origin, unlabelled),
        "center": people.center + origin,
        "scale": people.scale,
        "visible": (people.visible == VISIBLE).astype(np.float64),
        "istrain": np.full(count, float(istrain)),
    }


LSP_MPII = Release(
    dataset="lsp_mpii",
    source="LSP and LSPET (into LSP/) and MPII (into mpii/), and run `python data/prepare.py lsp_mpii`",
    layout=f"{FILE}, LSP/ and mpii/",
    read=read_lsp_mpii,
    prepare=build_lsp_mpii,
)

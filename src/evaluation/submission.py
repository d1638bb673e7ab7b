"""Files for the server of MPII: the release itself, with the joints of its test people filled in.

Coordinates count from 1, as the release's do. N people, J joints.
"""

from pathlib import Path
from typing import Any

import numpy as np

from src.datasets.annotations import Annotations
from src.datasets.files import load_mat, save_mat
from src.datasets.skeletons import MPII, Skeleton, joint_map
from src.errors import UserError


def write_mpii(
    path: Path, release: Path, coords: np.ndarray, people: Annotations, skeleton: Skeleton
) -> None:
    """Write the official .mat `release` to `path` with predictions in it: wholly, or not at all.

    coords (N, J, 2): 0-based, of N test people, in the joints of `skeleton`, those of MPII in any order.
    Raises UserError for joints that are lacking and for people who are not in the release's test pictures.
    """
    source = joint_map(skeleton, MPII)
    if (source < 0).any():
        names = ", ".join(MPII.joints[joint] for joint in np.flatnonzero(source < 0))
        raise UserError(f"a submission to MPII needs all of its joints; {skeleton.name} lacks {names}")
    content = load_mat(release, ["RELEASE"])
    try:
        annolist, training = (content["RELEASE"][key][0, 0] for key in ("annolist", "img_train"))
        rects, names = annolist["annorect"].reshape(-1), annolist["image"].reshape(-1)
        _check(people, [str(name["name"][0, 0][0]) for name in names], training.reshape(-1))
        order = np.argsort(people.index, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(people.index[order])) + 1):
            index = people.index[rows[0]]
            points = coords[rows][:, source].astype(np.float64) + 1
            rects[index] = _filled(rects[index], people.person_id[rows], points)
        annolist["annorect"] = rects.reshape(annolist.shape)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{release}: RELEASE is not as released ({error}); is it the right file?") from None
    save_mat(path, content)


def _check(people: Annotations, names: list[str], training: np.ndarray) -> None:
    """UserError unless everybody is in a test picture of the release that has the name it should have."""
    for index, image in zip(people.index.tolist(), people.images, strict=True):
        name = image.decode(errors="replace").rsplit("/", 1)[-1]
        if not 0 <= index < len(names) or names[index] != name:
            raise UserError(f"{people.name}: picture {index + 1} of the release is not {name}")
        if training[index]:
            raise UserError(f"{people.name}: {name} is a training picture; --split test is what is submitted")


def _filled(rect: np.ndarray, persons: np.ndarray, points: np.ndarray) -> np.ndarray:
    """annorect (1, M) with the points (n, J, 2) of some of its people."""
    names = list(rect.dtype.names or ())
    filled = np.empty(rect.shape, [(key, object) for key in dict.fromkeys([*names, "annopoints"])])
    for key in names:
        filled[key] = rect[key]
    annopoints = filled["annopoints"].reshape(-1)
    for person in range(rect.size if "annopoints" not in names else 0):
        annopoints[person] = np.zeros((0, 0))
    for person, joints in zip(persons.tolist(), points.tolist(), strict=True):
        rows = [{"x": x, "y": y, "id": float(joint)} for joint, (x, y) in enumerate(joints)]
        annopoints[person] = _structs([{"point": _structs(rows)}])
    filled["annopoints"] = annopoints.reshape(rect.shape)
    return filled


def _structs(records: list[dict[str, Any]]) -> np.ndarray:
    """Dicts with the same keys as a MATLAB struct array (1, M)."""
    structs = np.empty((1, len(records)), [(key, object) for key in records[0]])
    for column, record in enumerate(records):
        for key, value in record.items():
            structs[key][0, column] = value
    return structs

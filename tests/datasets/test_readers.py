"""The table of readers, and what all of them say about files that are missing or damaged."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from src.datasets import readers
from src.datasets.files import decode_names
from src.errors import UserError
from tests.releases import (
    make_coco,
    make_lsp,
    make_lsp_mpii,
    make_lspet,
    make_penn,
    mpii_h5_fields,
    mpii_people,
    write_flic_examples,
    write_flic_h5,
    write_h5,
    write_mpii_flagged_json,
    write_mpii_h5,
    write_mpii_official,
)

MAKERS: dict[str, Callable[[Path], object]] = {
    "lsp": make_lsp,
    "lspet": make_lspet,
    "mpii": lambda folder: write_mpii_h5(folder, baked=True),
    "lsp_mpii": make_lsp_mpii,
    "coco": make_coco,
    "flic": write_flic_h5,
    "penn": make_penn,
}


@pytest.mark.parametrize("dataset", readers.RELEASES)
def test_every_release_reads_all_its_splits(tmp_path: Path, dataset: str) -> None:
    MAKERS[dataset](tmp_path)
    for split in readers.release(dataset).splits:
        people = readers.read(dataset, tmp_path, split)
        assert len(people) and people.name.startswith(f"{dataset} {split}")


def test_the_table_costs_nothing() -> None:
    """Command lines list the data sets in their help: that must not import torch or h5py."""
    code = "import sys, src.datasets.readers; assert not {'torch', 'h5py', 'scipy', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no data set 'lspt' \(did you mean 'lsp(et)?'\?\); known: lsp, lspet"
    ):
        readers.read("lspt", tmp_path, "train")
    with pytest.raises(UserError, match=r"lsp has no split 'val' \(did you mean 'valid'\?\)"):
        readers.read("lsp", tmp_path, "val")
    with pytest.raises(UserError, match="lspet has no split 'test'; it has train, valid"):
        readers.read("lspet", tmp_path, "test")


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    make_lspet(tmp_path)
    with pytest.raises(UserError, match="lspet valid has no people"):
        readers.read("lspet", tmp_path, "valid", valid_share=0)


@pytest.mark.parametrize("dataset", readers.RELEASES)
@pytest.mark.parametrize("folder_exists", [False, True])
def test_missing_data_say_what_to_get(tmp_path: Path, dataset: str, folder_exists: bool) -> None:
    folder = tmp_path if folder_exists else tmp_path / "nowhere"
    with pytest.raises(UserError) as error:
        readers.read(dataset, folder, "train")
    message = str(error.value)
    assert "\n" not in message
    assert ("does not exist" in message) != folder_exists
    assert "get " in message and str(folder) in message
    assert f"python {Path('data/prepare.py')} {dataset} --data-dir {folder} --check" in message


DAMAGED = {
    "lsp": (make_lsp, "lsp", "joints.mat"),
    "lspet": (make_lspet, "lspet", "joints.mat"),
    "h5": (MAKERS["mpii"], "mpii", "annot/train.h5"),
    "official": (write_mpii_official, "mpii", "mpii_human_pose_v1_u12_1.mat"),
    "json": (write_mpii_flagged_json, "mpii", "mpii_annotations.json"),
    "lsp_mpii": (make_lsp_mpii, "lsp_mpii", "lsp_mpii.h5"),
    "coco": (make_coco, "coco", "annotations/person_keypoints_train2017.json"),
    "flic h5": (write_flic_h5, "flic", "annot/train.h5"),
    "flic mat": (write_flic_examples, "flic", "FLIC/examples.mat"),
    "penn": (make_penn, "penn", "Penn_Action/labels/0004.mat"),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("damage", ["cut", "zeros", "empty", "text"])
def test_damaged_files_are_named(tmp_path: Path, case: str, damage: str) -> None:
    make, dataset, file = DAMAGED[case]
    make(tmp_path)
    data = (tmp_path / file).read_bytes()
    half = len(data) // 2
    broken = {
        "cut": data[:half],
        "zeros": bytes(len(data)),
        "empty": b"",
        "text": b"<html>404 not found</html>",
    }
    (tmp_path / file).write_bytes(broken[damage])
    with pytest.raises(UserError) as error:
        readers.read(dataset, tmp_path, "train")
    message = str(error.value)
    assert file in message and "\n" not in message
    assert "damaged or no" in message or "right file" in message


def test_a_mat_file_of_version_7_3_says_so(tmp_path: Path) -> None:
    header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    (tmp_path / "joints.mat").write_bytes(header + bytes(512))
    with pytest.raises(UserError, match=r"MATLAB 7\.3 file; save it from MATLAB with the option -v7"):
        readers.read("lspet", tmp_path, "train")


def test_a_file_cannot_claim_more_than_it_holds(tmp_path: Path) -> None:
    """Else a damaged length would fill the memory with what was never written."""
    write_mpii_h5(tmp_path, baked=True)
    with h5py.File(tmp_path / "annot" / "train.h5", "r+") as file:
        del file["part"]
        file.create_dataset("part", (10**8, 16, 2), np.float64)
    with pytest.raises(UserError, match="part claims to be larger than what is stored of it"):
        readers.read("mpii", tmp_path, "train")


def test_packed_files_are_read(tmp_path: Path) -> None:
    write_mpii_h5(tmp_path, baked=True)
    with h5py.File(tmp_path / "annot" / "train.h5", "r+") as file:
        part = file["part"][()]
        del file["part"]
        file.create_dataset("part", data=part, compression="gzip")
    assert len(readers.read("mpii", tmp_path, "train")) == 3


def test_a_large_file_is_read(tmp_path: Path) -> None:
    """As many people as all of MPII."""
    people = mpii_people()
    repeat = 10_000
    fields = {key: np.repeat(field, repeat, axis=0) for key, field in mpii_h5_fields(people).items()}
    rows = np.flatnonzero(np.repeat(people["split"], repeat) != "test")
    write_h5(tmp_path / "train.h5", {key: field[rows] for key, field in fields.items() if key != "istrain"})
    assert len(readers.read("mpii", tmp_path, "train")) == 40_000


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_names_end_at_the_first_zero(dtype: type) -> None:
    """Rows of character codes may hold anything behind the zero that ends a name."""
    codes: np.ndarray = np.array([list(b"ab.jpg\0\0"), list(b"c.png\0zz")]).astype(dtype)
    assert decode_names(codes, Path("x.h5")).tolist() == [b"ab.jpg", b"c.png"]


def test_names_may_be_text_or_bytes() -> None:
    for names in (np.array(["a", "bc"]), np.array([b"a", b"bc"]), np.array([b"a", b"bc"], object)):
        assert decode_names(names, Path("x.h5")).tolist() == [b"a", b"bc"]
    with pytest.raises(UserError, match=r"x\.h5: imgname is float64 of shape"):
        decode_names(np.zeros(3), Path("x.h5"))

"""data/prepare.py: it prepares once, and --check names whatever is wrong."""

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from src.datasets import readers
from tests.releases import (
    HEIGHT,
    WIDTH,
    make_coco,
    make_lsp,
    make_lspet,
    make_penn,
    mpii_people,
    write_flic_examples,
    write_flic_h5,
    write_mpii_h5,
    write_mpii_official,
    write_mpii_pictures,
    write_picture,
)

SCRIPT = Path(__file__).resolve().parents[1] / "data" / "prepare.py"
Main = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def main() -> Main:
    spec = importlib.util.spec_from_file_location("prepare", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


Check = Callable[[str, Path], tuple[int, str]]


@pytest.fixture
def check(main: Main, capsys: pytest.CaptureFixture[str]) -> Check:
    """Exit status and standard output of `prepare.py DATASET --data-dir DIR --check`."""

    def run(dataset: str, folder: Path) -> tuple[int, str]:
        status = 0
        try:
            main([dataset, "--data-dir", str(folder), "--check"])
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        assert "Traceback" not in output.err and (status == 0) != output.err.startswith("error: ")
        return status, output.out

    return run


def test_a_complete_release_passes(tmp_path: Path, check: Check) -> None:
    make_lspet(tmp_path)
    status, output = check("lspet", tmp_path)
    assert status == 0
    assert "lspet train: 8 people in 8 pictures, 104 joints labelled" in output
    assert "lspet valid: 2 people" in output and "is complete" in output


def test_missing_and_broken_pictures_are_named(tmp_path: Path, check: Check) -> None:
    make_lspet(tmp_path)
    pictures = tmp_path / "images"
    (pictures / "im00002.jpg").unlink()
    data = (pictures / "im00005.jpg").read_bytes()
    (pictures / "im00005.jpg").write_bytes(data[: len(data) // 2])
    (pictures / "im00006.jpg").write_bytes(b"")
    status, output = check("lspet", tmp_path)
    assert status == 2
    assert f"missing pictures: 1 ({pictures / 'im00002.jpg'}); get lspet_dataset.zip" in output
    assert "unreadable pictures: 2" in output
    assert "im00005.jpg is cut short" in output and "im00006.jpg is an empty file" in output


def test_a_long_list_is_cut(tmp_path: Path, check: Check) -> None:
    make_lspet(tmp_path, 10)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    _, output = check("lspet", tmp_path)
    assert "missing pictures: 10" in output and "and 5 more" in output


def test_joints_outside_are_counted(tmp_path: Path, check: Check) -> None:
    joints = make_lspet(tmp_path)
    joints[np.argmax(joints[:, 2, 0]), 0, 0] = WIDTH + 20
    joints[np.argmax(joints[:, 2, 1]), 1, 1] = -5
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    status, output = check("lspet", tmp_path)
    assert status == 0 and "2 outside the picture" in output


def test_a_box_outside_the_picture_is_named(tmp_path: Path, check: Check) -> None:
    joints = make_lspet(tmp_path)
    joints[:, 0, 3] += 5 * WIDTH
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    status, output = check("lspet", tmp_path)
    assert status == 2
    assert "lspet train whose box is outside the picture: 1 (images/im00004.jpg (person 3))" in output


def test_its_crop_is_black(tmp_path: Path) -> None:
    from src.datasets.crops import PersonCrops

    joints = make_lspet(tmp_path)
    joints[:, 0, 3] += 5 * WIDTH
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    sample = PersonCrops(readers.read("lspet", tmp_path, "train"), 64)[0, 3]
    assert isinstance(sample, dict) and not sample["image"].any()


def test_values_that_are_no_numbers_are_named(tmp_path: Path, check: Check) -> None:
    joints = make_lsp(tmp_path)
    joints[0, 4, 5] = np.nan
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    status, output = check("lsp", tmp_path)
    assert (
        status == 2 and "lsp valid: person 2 (images/im0006.jpg) has a joint that is not a finite" in output
    )


def test_pictures_of_two_splits_are_named(tmp_path: Path, check: Check) -> None:
    write_mpii_h5(tmp_path, baked=True)
    write_mpii_pictures(tmp_path)
    assert check("mpii", tmp_path)[0] == 0
    with h5py.File(tmp_path / "annot" / "valid.h5", "r+") as file:
        file["imgname"][0] = mpii_people()["images"][0].encode()
    status, output = check("mpii", tmp_path)
    shared = tmp_path / "images" / "000000001.jpg"
    assert status == 2 and f"pictures in both train and valid: 1 ({shared})" in output


def test_pictures_that_flic_has_in_two_splits_are_counted(tmp_path: Path, check: Check) -> None:
    write_flic_h5(tmp_path)
    name = "funny-girl-dvd-video-00184641.jpg"
    write_picture(tmp_path / "images" / name)
    for file in ("train", "valid"):
        with h5py.File(tmp_path / "annot" / f"{file}.h5", "a") as content:
            names = content["imgname"][()]
            del content["imgname"]
            content["imgname"] = np.array([name.encode(), *names[1:]])
    status, output = check("flic", tmp_path)
    assert status == 0 and "pictures in both train and test, as in the release: 1" in output


def test_people_annotated_twice_are_counted(tmp_path: Path, check: Check) -> None:
    write_mpii_h5(tmp_path, baked=False)
    write_mpii_pictures(tmp_path)
    with h5py.File(tmp_path / "annot" / "train.h5", "r+") as file:
        for field in file.values():
            field[1] = field[0]
    status, output = check("mpii", tmp_path)
    assert status == 0 and "train (annot/train.h5, raw boxes): 3 people in 2 pictures" in output
    assert "annotated twice: 1" in output


def test_a_missing_folder_says_what_to_get(tmp_path: Path, check: Check) -> None:
    status, output = check("mpii", tmp_path / "nowhere")
    assert status == 2 and "does not exist; get the images and annotations of the MPII Human Pose" in output


def test_checking_changes_nothing(tmp_path: Path, check: Check) -> None:
    write_mpii_official(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    check("mpii", tmp_path)
    check("lsp_mpii", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_archive_is_unpacked_once(tmp_path: Path, main: Main, wrapped: bool) -> None:
    make_lsp(tmp_path / "original")
    inside = "lsp/" if wrapped else ""
    with zipfile.ZipFile(tmp_path / "lsp_dataset.zip", "w") as archive:
        for path in (tmp_path / "original").rglob("*.*"):
            archive.write(path, inside + str(path.relative_to(tmp_path / "original")))
    main(["lsp", "--data-dir", str(tmp_path)])
    assert readers.read("lsp", tmp_path, "train").person(0).read(1).pixels.shape == (HEIGHT, WIDTH, 3)
    before = (tmp_path / "lsp_dataset" / "joints.mat").stat().st_mtime_ns
    main(["lsp", "--data-dir", str(tmp_path)])
    assert (tmp_path / "lsp_dataset" / "joints.mat").stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lsp_dataset", "lsp_dataset.zip", "original"]


def test_a_damaged_archive_leaves_nothing(
    tmp_path: Path, main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "lsp_dataset.zip", "w") as archive:
        archive.writestr("joints.mat", bytes(1000))
    data = bytearray((tmp_path / "lsp_dataset.zip").read_bytes())
    data[100] ^= 255
    (tmp_path / "lsp_dataset.zip").write_bytes(data)
    with pytest.raises(SystemExit) as end:
        main(["lsp", "--data-dir", str(tmp_path)])
    assert end.value.code == 2 and "lsp_dataset.zip is damaged" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["lsp_dataset.zip"]


def test_the_official_mat_is_converted_once(
    tmp_path: Path, main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mpii_official(tmp_path)
    direct = {split: readers.read("mpii", tmp_path, split) for split in ("train", "valid", "test")}
    main(["mpii", "--data-dir", str(tmp_path)])
    assert "annot.h5 written: 6 people" in capsys.readouterr().out
    (tmp_path / "mpii_human_pose_v1_u12_1.mat").unlink()
    for split, expected in direct.items():
        found = readers.read("mpii", tmp_path, split)
        assert "annot.h5" in found.name
        for field in ("images", "visible", "center", "scale", "norm", "index", "person_id"):
            np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
        labelled = found.visible > 0
        assert (found.joints[labelled] == expected.joints[labelled]).all()
    main(["mpii", "--data-dir", str(tmp_path)])
    assert "is there already" in capsys.readouterr().out


def test_clips_are_cut_once(tmp_path: Path, main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    make_penn(tmp_path)
    main(["penn", "--data-dir", str(tmp_path)])
    first = capsys.readouterr().out
    assert "42 frames of 14 clips" in first and "penn valid: 3 people" in first
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    main(["penn", "--data-dir", str(tmp_path)])
    assert "is there already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == made


def test_what_a_kill_left_of_clips_is_cleared(tmp_path: Path, main: Main) -> None:
    make_penn(tmp_path)
    cut = tmp_path / "penn_action_cropped"
    (cut / ".labels.0.part").mkdir(parents=True)
    (cut / ".valid_ind.txt.0.part").write_text("1")
    main(["penn", "--data-dir", str(tmp_path)])
    assert (cut / "valid_ind.txt").is_file() and not list(cut.rglob("*.part"))


def test_clips_are_checked(tmp_path: Path, main: Main, check: Check) -> None:
    make_penn(tmp_path)
    status, output = check("penn", tmp_path)
    assert status == 2 and "missing pictures: 38" in output and "prepare.py penn" in output
    main(["penn", "--data-dir", str(tmp_path)])
    status, output = check("penn", tmp_path)
    assert status == 0 and "penn train: 29 people in 29 pictures" in output


def test_an_archive_of_flic_is_unpacked(tmp_path: Path, main: Main, check: Check) -> None:
    write_flic_examples(tmp_path / "original")
    with zipfile.ZipFile(tmp_path / "FLIC.zip", "w") as archive:
        for path in (tmp_path / "original").rglob("*.*"):
            archive.write(path, str(path.relative_to(tmp_path / "original")))
    main(["flic", "--data-dir", str(tmp_path)])
    status, output = check("flic", tmp_path)
    assert status == 0 and "flic train (examples.mat, sides of the observer): 3 people in 2" in output


def test_unknown_data_sets_suggest_the_nearest(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["lspett"])
    assert end.value.code == 2 and "did you mean 'lspet'?" in capsys.readouterr().err


def test_pictures_of_any_format_pass(tmp_path: Path, check: Check) -> None:
    make_lspet(tmp_path)
    write_picture(tmp_path / "grey.png", 50, 40)
    (tmp_path / "grey.png").rename(tmp_path / "images" / "im00001.jpg")  # a PNG by content
    assert check("lspet", tmp_path)[0] == 0


def test_pictures_without_people_are_checked_too(tmp_path: Path, check: Check) -> None:
    make_coco(tmp_path)
    status, output = check("coco", tmp_path)
    assert status == 0
    assert "coco train: 6 people in 4 pictures" in output
    assert "coco train: 8 pictures, 4 of them with labelled people; 8 people, 2 of them without" in output
    assert "crowds: 2" in output
    (tmp_path / "images" / "train2017" / "000000000013.jpg").unlink()  # nobody is in it
    write_picture(tmp_path / "images" / "train2017" / "000000000012.jpg", HEIGHT, WIDTH)
    status, output = check("coco", tmp_path)
    assert status == 2 and "missing pictures: 1" in output and "000000000013.jpg" in output
    assert "pictures of coco train not as large as annotated: 1" in output


def test_real_sample(shared_data: Callable[[str], Path], check: Check) -> None:
    status, output = check("mpii", shared_data("mpii"))
    assert status == 2  # only the validation people are there, and none of their pictures
    assert "2,958 people in 2,729 pictures, 44,240 joints labelled, 10,243 of them hidden" in output
    assert "missing pictures: 2729" in output

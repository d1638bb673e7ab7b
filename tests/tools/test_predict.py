"""The command that finds people: right places, whole files however it ends, clear words."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO as CocoFile
from pycocotools.cocoeval import COCOeval

from src import pose, pretrained
from src.datasets.skeletons import COCO, LSP
from src.utils import growing, prediction, sources, window
from tests.clips import RATE, SpotFinder, model, moving, set_times, spot, turn, write_clip
from tests.task_runner import load_script

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "tools" / "predict.py"

NEAR = 1.5  # pixels: JPEG, video and the network's smaller picture blur the spot


predict = load_script(PATH)


class Outcome:
    """What a command line did: its exit status, what it printed, what it wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str], out: Path, arguments: list[str]) -> None:
        self.status: int | str | None = 0
        capsys.readouterr()
        try:
            predict.main(arguments)
        except SystemExit as error:
            self.status = error.code
        self.out, self.err = capsys.readouterr()
        self.folder = out

    @property
    def results(self) -> list[dict[str, Any]]:
        return json.loads((self.folder / "predictions.json").read_text(encoding="utf-8"))

    @property
    def table(self) -> list[dict[str, str]]:
        with open(self.folder / "predictions.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def places(self) -> np.ndarray:
        """Where joints but the first two, which are beside the others, were found: (people, 2)."""
        return np.array([np.reshape(row["keypoints"], (-1, 3))[2:, :2].mean(0) for row in self.results])


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*arguments, network=…) runs the command in tmp_path, by default with a network of clips.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no_weights"))
    Path("best.pth").write_bytes(b"it is not looked into")

    def go(*arguments: object, network: pose.Model | None = None) -> Outcome:
        monkeypatch.setattr(pose, "load", lambda *_: network or model())
        return Outcome(capsys, tmp_path / "found", ["best.pth", *map(str, arguments), "--out", "found"])

    return go


def save(name: str, image: np.ndarray) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(name, image)
    return name


def frames_of(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, frame = capture.read()
        if not there:
            return frames
        frames.append(frame)


# ---------------------------------------------------------------------------------------------- pictures


def test_pictures_of_a_folder_are_drawn_and_written_down(run: Run) -> None:
    save("in/10.png", spot(200, 50))
    save("in/9.png", spot(100, 150))
    done = run("in")
    assert (done.status, done.out) == (0, f"people: 2, pictures: 2, all in {done.folder}\n")
    np.testing.assert_allclose(done.places, [[100, 150], [200, 50]], atol=NEAR)
    first = done.results[0]
    assert (first["image_id"], first["file_name"], first["joints"]) == (9, "in/9.png", list(COCO.joints))
    assert first["score"] == pytest.approx(0.9, abs=1e-4)
    row = done.table[1]
    assert (row["file"], row["frame"], row["person"]) == ("in/10.png", "", "1")
    assert float(row["left_ankle_x"]) == pytest.approx(done.results[1]["keypoints"][45])
    drawn, before = cv2.imread("found/9.png"), cv2.imread("in/9.png")
    changed = np.argwhere((drawn != before).any(2))
    low, high = changed.min(0), changed.max(0)  # the person, of two joints 50 pixels beside all others
    assert (low < (150, 100)).all() and (high > (150, 100)).all() and (high - low < 90).all()


def test_pycocotools_scores_the_results(run: Run) -> None:
    """Against themselves as the truth."""
    places = {7: (100.0, 150.0), 12: (200.0, 50.0)}
    for number, (x, y) in places.items():
        save(f"in/{number:06}.png", spot(x, y))
    done = run("in")
    truth = CocoFile()
    points = {row["image_id"]: np.reshape(row["keypoints"], (-1, 3))[:, :2] for row in done.results}
    people = [
        {
            "id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "area": 8000.0,
            "bbox": [0, 0, 90, 90], "num_keypoints": 17,
            "keypoints": np.insert(own, 2, 2, axis=1).ravel().tolist(),
        }
        for number, own in points.items()
    ]  # fmt: skip
    truth.dataset = {"images": [{"id": n} for n in places], "annotations": people, "categories": [{"id": 1}]}
    truth.createIndex()
    scored = COCOeval(truth, truth.loadRes("found/predictions.json"), "keypoints")
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    assert scored.stats[0] == pytest.approx(1)


def test_joints_that_were_not_found_have_score_0_and_empty_cells(run: Run) -> None:
    class Half(SpotFinder):
        input_res = 64

        def joints(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray]:
            points = np.full((len(images), LSP.num_joints, 2), np.nan, np.float32)
            points[:, :2] = [[10, 20], [30, 40]]
            return points, np.full(points.shape[:2], 0.5, np.float32)

    save("a.png", spot(10, 10, 64, 64))
    done = run("a.png", network=pose.Model(Half(LSP)))
    keypoints = np.reshape(done.results[0]["keypoints"], (-1, 3))
    np.testing.assert_allclose(keypoints[2:], [[20, 30, 0]] * 12)
    assert done.results[0]["score"] == pytest.approx(0.5 * 2 / 14, abs=1e-4)
    assert done.table[0]["head_top_x"] == done.table[0]["head_top_score"] == ""


def test_a_network_that_has_diverged_finds_nothing(run: Run) -> None:
    class Diverged(SpotFinder):
        input_res = 64

        def joints(self, images: np.ndarray, flip_test: bool) -> tuple[np.ndarray, np.ndarray]:
            points = np.zeros((len(images), LSP.num_joints, 2), np.float32)
            return points, np.full(points.shape[:2], np.nan, np.float32)

    save("a.png", spot(10, 10, 64, 64))
    done = run("a.png", network=pose.Model(Diverged(LSP)))
    assert (done.status, done.results) == (0, [])
    assert (done.table[0]["score"], done.table[0]["head_top_x"]) == ("0.0", "")


def test_a_picture_that_lies_on_its_side_is_turned(run: Run) -> None:
    """Orientation 6 of EXIF: the camera was turned; what is stored is turned clockwise to be looked at."""
    stored = cv2.imencode(".jpg", spot(100, 50))[1].tobytes()
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    app1 = b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag
    Path("a.jpg").write_bytes(stored[:2] + app1 + stored[2:])
    done = run("a.jpg")
    np.testing.assert_allclose(done.places, [[240 - 50, 100]], atol=NEAR)
    assert cv2.imread("found/a.jpg").shape == (320, 240, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_huge_picture_is_shrunk_and_its_joints_are_those_of_the_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(sources, "MOST_PIXELS", 320 * 240 // 4)
    save(f"a{suffix}", spot(201, 99))
    done = run(f"a{suffix}", "--box", 101, 49, 200, 100)
    np.testing.assert_allclose(done.places, [[201, 99]], atol=NEAR)
    assert done.results[0]["bbox"] == [101, 49, 200, 100]
    assert cv2.imread(f"found/a{suffix}").shape == (120, 160, 3)


def test_boxes_say_where_people_are(run: Run) -> None:
    image = np.maximum(spot(60, 60), spot(250, 180))
    save("a.png", image)
    done = run("a.png", "--box", 20, 20, 80, 80, "--box", 210, 140, 80, 80)
    np.testing.assert_allclose(done.places, [[60, 60], [250, 180]], atol=NEAR)
    assert [row["person"] for row in done.results] == [1, 2]
    assert "each picture is taken for one person" not in done.err


def test_a_box_outside_of_one_picture_does_not_stop_the_others(run: Run) -> None:
    """Nor those that are looked at together with it; of a video that is said once."""
    for name in ("in/1.png", "in/4.png"):
        save(name, spot(100, 100))
    save("in/2.png", spot(20, 20, 40, 40))
    write_clip(Path("in/3.avi"), [spot(20, 20, 40, 40)] * 3)
    done = run("in", "--box", 60, 60, 80, 80)
    assert done.status == 2
    assert [row["file_name"] for row in done.results] == ["in/1.png", "in/4.png"]
    lines = [line for line in done.err.splitlines() if line.startswith("skipped: ")]
    wrong = "--box 60 60 80 80 lies outside of a picture of 40 x 40 pixels"
    assert lines == [f"skipped: in/{name}: {wrong}" for name in ("2.png", "3.avi")]
    assert "error: 2 of 4 sources could not be read wholly" in done.err


def test_detections_go_to_the_pictures_with_their_numbers(run: Run) -> None:
    for name in ("000000000007.png", "000000000012.png"):
        save(name, np.maximum(spot(60, 60), spot(250, 180)))
    boxes = [
        {"image_id": 12, "category_id": 1, "bbox": [20, 20, 80, 80], "score": 0.9},
        {"image_id": 7, "category_id": 1, "bbox": [210, 140, 80, 80], "score": 0.8},
        {"image_id": 7, "category_id": 1, "bbox": [20, 20, 80, 80], "score": 0.4},  # not sure
        {"image_id": 7, "category_id": 18, "bbox": [20, 20, 80, 80], "score": 0.9},  # a dog
    ]
    Path("boxes.json").write_text(json.dumps(boxes))
    done = run("0*.png", "--detections", "boxes.json")
    assert [row["image_id"] for row in done.results] == [7, 12]
    np.testing.assert_allclose(done.places, [[250, 180], [60, 60]], atol=NEAR)


@pytest.mark.parametrize("other", [{"image_id": 8}, {"category_id": 0}, {"score": 0.4}], ids=str)
def test_detections_that_go_to_no_picture_are_told(run: Run, other: dict[str, float]) -> None:
    save("7.png", spot(60, 60))
    box = {"image_id": 7, "category_id": 1, "bbox": [20, 20, 80, 80], "score": 0.9}
    Path("boxes.json").write_text(json.dumps([box | other]))
    done = run("7.png", "--detections", "boxes.json")
    assert (done.status, done.results) == (0, [])
    assert "boxes.json has no box for any of these pictures" in done.err
    Path("boxes.json").write_text(json.dumps([box | other, box]))
    assert "no box" not in run("7.png", "--detections", "boxes.json", "--overwrite").err


def test_that_the_whole_picture_is_looked_at_is_said_once(run: Run) -> None:
    for name in "abc":
        save(f"{name}.png", spot(100, 100))
    assert run("a.png", "b.png", "c.png").err.count("each picture is taken for one person as a whole") == 1


def test_that_nothing_is_drawn_of_people_is_said(run: Run) -> None:
    """Of a score of 0.9: they are counted, and written down nevertheless."""
    save("a.png", spot(100, 100))
    assert "not drawn" not in run("a.png").err
    done = run("a.png", "--threshold", 0.95, "--overwrite")
    assert done.err.endswith("not drawn, below --threshold 0.95: 1 of these people\n")
    assert len(done.results) == 1
    np.testing.assert_array_equal(cv2.imread("found/a.png"), cv2.imread("a.png"))


def test_a_network_that_finds_everybody_needs_no_boxes(run: Run) -> None:
    save("a.png", spot(100, 150))
    everybody = model(multi_person=True)
    done = run("a.png", "--tags", "--heatmaps", network=everybody)
    assert done.status == 0 and "whole" not in done.err
    np.testing.assert_allclose(done.places[0], [100, 150], atol=320 / 32)  # a cell
    for view in ("heatmaps", "tags"):
        shown = cv2.imread(f"found/a-{view}.png").astype(int)
        assert shown[145:155, 95:105].sum() > 3 * shown[20:30, 250:260].sum()
    for where in (("--box", 0, 0, 9, 9), ("--detector", "fasterrcnn_resnet50_fpn")):
        refused = run("a.png", *where, "--overwrite", network=everybody)
        assert refused.status == 2 and f"error: {where[0]}: best.pth finds everybody by itself" in refused.err
    assert run("a.png", "--detector", "none", "--overwrite", network=everybody).status == 0


def test_a_list_comes_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save("a b.png", spot(60, 60))
    save("c.png", spot(100, 100))
    monkeypatch.setattr(sys, "stdin", io.StringIO("a b.png\n\nc.png\n"))
    assert [row["file"] for row in run("-").table] == ["a b.png", "c.png"]


def test_a_list_has_names_of_any_bytes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        Path(name).write_bytes(Path(save("a.png", spot(60, 60))).read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system wants UTF-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9.png\n"), encoding="utf-8"))
    assert [row["file_name"] for row in run("-").results] == [name]


def test_without_a_standard_input_there_is_no_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    done = run("-")
    assert (done.status, done.err) == (2, "error: the list on the standard input names nothing\n")


def test_sources_of_the_same_name_keep_apart(run: Run) -> None:
    for place, name in enumerate(("x/a.png", "y/a.png", "y/a-2.png")):
        save(name, spot(60 + 60 * place, 60))
    run("x/a.png", "y/a.png", "y/a-2.png")
    names = sorted(path.name for path in Path("found").glob("*.png"))
    assert names == ["a-2-2.png", "a-2.png", "a.png"]


def test_a_view_does_not_take_the_place_of_another_source(run: Run) -> None:
    for name in ("a.png", "a-heatmaps.png"):
        save(name, spot(60, 60))
    run("a.png", "a-heatmaps.png", "--heatmaps")
    names = sorted(path.name for path in Path("found").glob("*.png"))
    assert names == ["a-heatmaps-2-heatmaps.png", "a-heatmaps-2.png", "a-heatmaps.png", "a.png"]


# ------------------------------------------------------------------------------------------------ videos


def test_a_video_keeps_its_rate_and_its_people_their_times(run: Run) -> None:
    write_clip(Path("walk.mp4"), moving(12))
    done = run("walk.mp4", "--batch-size", 5)
    np.testing.assert_allclose(done.places, [[40 + 10 * n, 100] for n in range(12)], atol=NEAR)
    assert [row["frame"] for row in done.results] == list(range(12))
    np.testing.assert_allclose([row["seconds"] for row in done.results], np.arange(12) / RATE, atol=1e-3)
    assert {row["person"] for row in done.results} == {1}
    capture = cv2.VideoCapture("found/walk.mp4")
    assert capture.get(cv2.CAP_PROP_FPS) == RATE
    frames = frames_of(Path("found/walk.mp4"))
    assert [frame.shape for frame in frames] == [(240, 320, 3)] * 12


def test_frames_that_last_longer_do_so_in_the_overlay(run: Run) -> None:
    """Variable frame rate: the second and the fifth frame last for three and for two."""
    write_clip(Path("walk.mp4"), moving(6))
    set_times(Path("walk.mp4"), [1, 3, 1, 1, 2, 1])
    done = run("walk.mp4")
    seconds = [row["seconds"] for row in done.results]
    np.testing.assert_allclose(seconds, np.array([0, 1, 4, 5, 6, 8]) / RATE, atol=1e-3)
    rate = cv2.VideoCapture("found/walk.mp4").get(cv2.CAP_PROP_FPS)
    shown = frames_of(Path("found/walk.mp4"))
    assert len(shown) == pytest.approx(0.8 * rate + 1, abs=1)
    for row in done.results:  # each at its time: the spot is where it was found
        frame = shown[round(row["seconds"] * rate)]
        bright = np.argwhere(frame.min(2) > 200)[:, 1]
        assert bright.mean() == pytest.approx(40 + 10 * row["frame"], abs=6)


def test_a_turned_video_is_looked_at_upright(run: Run) -> None:
    write_clip(Path("walk.mp4"), [spot(100, 50)] * 3)
    turn(Path("walk.mp4"), 240)
    done = run("walk.mp4")
    np.testing.assert_allclose(done.places, [[240 - 50, 100]] * 3, atol=NEAR)
    assert frames_of(Path("found/walk.mp4"))[0].shape == (320, 240, 3)


def test_smoothing_takes_jitter_out_of_videos(run: Run) -> None:
    write_clip(Path("rest.mp4"), [spot(150, 100)] * 30)
    plain = run("rest.mp4", network=model(jitter=1.0)).places
    smooth = run("rest.mp4", "--smooth", "--overwrite", network=model(jitter=1.0)).places
    assert np.diff(smooth, axis=0).std() < 0.5 * np.diff(plain, axis=0).std()
    np.testing.assert_allclose(smooth[10:].mean(0), [150, 100], atol=2)


def test_a_video_that_breaks_off_is_kept_as_far_as_it_goes(run: Run) -> None:
    clip = write_clip(Path("walk.avi"), moving(20))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    done = run("walk.avi")
    assert done.status == 2
    assert "error: video walk.avi breaks off after" in done.err and "of 20 frames" in done.err
    count = len(done.results)
    assert 5 <= count < 20
    assert len(frames_of(Path("found/walk.mp4"))) == count == len(done.table)


@pytest.mark.parametrize("name, out", [(b"caf\xe9.mp4", "found"), (b"cafe.mp4", os.fsdecode(b"caf\xe9"))])
def test_a_name_of_a_video_that_is_not_utf8_is_one_line(tmp_path: Path, name: bytes, out: str) -> None:
    """In a Python of its own: OpenCV would end it."""
    path = os.path.join(os.fsencode(tmp_path), name)
    try:
        write_clip(tmp_path / "a.mp4", moving(3)).rename(os.fsdecode(path))
    except (OSError, UnicodeError):
        pytest.skip("this file system wants UTF-8")
    words = [sys.executable, str(PATH), "a.png", os.fsdecode(name), "--out", out, "--detector", "none"]
    save(str(tmp_path / "a.png"), spot(60, 60))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (2, 0), done.stderr
    assert b"has a name that is not UTF-8, with which OpenCV opens no video" in done.stderr
    with open(tmp_path / out / "predictions.csv", newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["file"] == "a.png"


def test_a_camera_is_drawn_and_written_down_until_it_is_pulled_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while the network is busy is lost; the rest is shown at its time."""

    class Camera:
        def __init__(self) -> None:
            self.left = iter(moving(12))

        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, np.ndarray | None]:
            time.sleep(0.05)
            image = next(self.left, None)
            return image is not None, image

        def get(self, _: int) -> float:
            return 0.0

        def release(self) -> None:
            pass

    opened = cv2.VideoCapture
    monkeypatch.setattr(
        sources.cv2, "VideoCapture", lambda what: Camera() if isinstance(what, int) else opened(what)
    )
    done = run("3")
    assert done.status == 2 and done.err.endswith("error: camera 3 gives no pictures any more\n")
    numbers = [row["frame"] for row in done.results]
    assert numbers[-1] == 11 and numbers == sorted(set(numbers))
    np.testing.assert_allclose(done.places, [[40 + 10 * n, 100] for n in numbers], atol=NEAR)
    assert {row["file_name"] for row in done.results} == {"camera 3"}
    seconds, shown = done.results[-1]["seconds"], len(frames_of(Path("found/camera-3.mp4")))
    assert shown == pytest.approx(seconds * sources.USUAL_RATE + 1, abs=2)


def test_only_some_frames(run: Run) -> None:
    write_clip(Path("walk.mp4"), moving(12))
    assert len(run("walk.mp4", "--frames", 4, "--no-overlays").results) == 4
    assert not Path("found/walk.mp4").exists()


# -------------------------------------------------------------------------------------- breaks and errors


@pytest.fixture
def heeded() -> Iterator[None]:
    """Signals do what they do by default: a shell has programs in the background ignore some."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    for number in before:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_was_finished_before_a_signal_is_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, status: int
) -> None:
    """Such as that of Ctrl-C, of a scheduler, of a terminal that is closed."""
    if not hasattr(signal, name):
        pytest.skip("this system has no such signal")
    before = signal.getsignal(getattr(signal, name))
    write_clip(Path("walk.mp4"), moving(12))
    write = prediction.Writer.write
    written: list[prediction.Found] = []

    def interrupted(self: prediction.Writer, found: prediction.Found, shown: bool) -> np.ndarray:
        if len(written) == 5:
            signal.raise_signal(getattr(signal, name))
        written.append(found)
        return write(self, found, shown)

    monkeypatch.setattr(prediction.Writer, "write", interrupted)
    done = run("walk.mp4")
    assert (done.status, len(done.results), len(done.table)) == (status, 5, 5)
    assert signal.getsignal(getattr(signal, name)) == before
    assert len(frames_of(Path("found/walk.mp4"))) == 5
    assert "what was finished is in" in done.err
    assert not list(Path("found").glob(".*"))


@pytest.mark.usefixtures("heeded")
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no such signal")
def test_a_second_signal_does_not_stop_what_is_being_finished(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel and the shell both send one when a terminal is closed."""
    write_clip(Path("walk.mp4"), moving(12))
    write, close = prediction.Writer.write, growing.VideoFile.close

    def interrupted(self: prediction.Writer, found: prediction.Found, shown: bool) -> np.ndarray:
        if found.seen.frame.number == 5:
            signal.raise_signal(signal.SIGTERM)
        return write(self, found, shown)

    def again(self: growing.VideoFile) -> None:
        signal.raise_signal(signal.SIGHUP)
        close(self)

    monkeypatch.setattr(prediction.Writer, "write", interrupted)
    monkeypatch.setattr(growing.VideoFile, "close", again)
    assert run("walk.mp4").status == 143
    assert len(frames_of(Path("found/walk.mp4"))) == 5
    assert signal.getsignal(signal.SIGHUP) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_full_disk_ends_a_video_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(Path("walk.mp4"), moving(12))
    room = iter([1 << 30] * 6)
    usage = type("Usage", (), {"free": property(lambda _: next(room, 1 << 20))})
    monkeypatch.setattr(growing.shutil, "disk_usage", lambda _: usage())
    done = run("walk.mp4")
    assert done.status == 2 and "the disk is full" in done.err
    assert len(frames_of(Path("found/walk.mp4"))) == 5  # one look before the first frame


def test_one_bad_picture_does_not_stop_the_others(run: Run) -> None:
    save("in/1.png", spot(60, 60))
    Path("in/2.jpg").write_text("no picture")
    save("in/3.png", spot(100, 100))
    done = run("in")
    assert done.status == 2
    assert [row["image_id"] for row in done.results] == [1, 3]
    lines = done.err.splitlines()
    assert any(line.startswith("skipped: picture in/2.jpg is damaged") for line in lines)
    assert lines[-1].startswith("error: 1 of 3 sources could not be read wholly")


def _text(name: str, content: bytes = b"no picture") -> None:
    Path(name).write_bytes(content)


BAD = {
    "not a picture": (lambda: _text("a.jpg"), ["a.jpg"], "a.jpg is damaged, or of a format"),
    "an empty file": (lambda: _text("a.jpg", b""), ["a.jpg"], "a.jpg is an empty file"),
    "not a video": (lambda: _text("a.mp4"), ["a.mp4"], "a.mp4 is damaged, cut short, or of a format"),
    "an empty video": (lambda: _text("a.mp4", b""), ["a.mp4"], "a.mp4 is an empty file"),
    "nothing": (lambda: None, [], "best.pth comes first, then what to look at"),
    "two checkpoints": (lambda: None, ["a.jpg", "b.pth"], "b.pth: one checkpoint comes first, and no other"),
    "a missing file": (lambda: None, ["a.jpg"], "there is no a.jpg"),
    "a folder without pictures": (lambda: Path("in").mkdir(), ["in"], "folder in has no pictures"),
    "a pattern without files": (lambda: None, ["in/*.jpg"], "no file has a name like in/*.jpg"),
    "a missing camera": (lambda: None, ["97"], "there is no camera 97"),
    "a box without area": (lambda: None, ["a", "--box", "1", "2", "0", "4"], "has no area"),
    "a box elsewhere": (
        lambda: save("a.png", spot(9, 9)), ["a.png", "--box", "320", "2", "9", "9"],
        "--box 320 2 9 9 lies outside of a picture of 320 x 240 pixels",
    ),
    "boxes twice": (lambda: None, ["a", "--box", *"1111", "--detections", "b"], "only one of them"),
    "boxes and a detector": (
        lambda: None, ["a", "--box", *"1111", "--detector", "b"], "--box and --detector say where people are",
    ),
    "a mistyped option": (lambda: None, ["a", "--heatmap"], "did you mean '--heatmaps'?"),
    "tags of one person": (lambda: save("a.png", spot(9, 9)), ["a.png", "--tags"], "gives no tags"),
    "a detector that is not there": (
        lambda: save("a.png", spot(9, 9)), ["a.png", "--detector", "fasterrcnn_resnet50_fpn"], "to download",
    ),
    "an unknown detector": (
        lambda: save("a.png", spot(9, 9)), ["a.png", "--detector", "fasterrcnn_resnet50"], "did you mean",
    ),
    "a file for a folder": (
        lambda: (save("a.png", spot(9, 9)), _text("found")), ["a.png"], "found cannot be made",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line(run: Run, what: str) -> None:
    prepare, arguments, words = BAD[what]
    prepare()
    done = run(*arguments)
    assert done.status == 2
    line = done.err.splitlines()[-1]
    assert line.startswith("error: ") and words in line
    assert "Traceback" not in done.err


def test_without_a_checkpoint_the_one_that_ships_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first of several sources is no file; of several networks that ship, the last by name."""
    monkeypatch.chdir(tmp_path)
    folder, opened = tmp_path / "pretrained", []
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    monkeypatch.setattr(pose, "load", lambda path, *_: opened.append(path) or model())
    save("a.png", spot(60, 60))
    save("b.png", spot(60, 60))
    for words in (["a.png"], ["best.pht", "a.png"], ["0"]):
        alone = Outcome(capsys, tmp_path / "found", [*words, "--out", "found"])
        assert alone.status == 2 and alone.err.startswith("error: no network ships with this copy")
        assert alone.err.count("\n") == 1 and not Path("found").exists()
    for number in (1, 2):
        folder.mkdir(exist_ok=True)
        Path(f"pretrained/drawn-{number}.pth").write_bytes(b"it is not looked into")
    done = Outcome(capsys, tmp_path / "found", ["a.png", "b.png", "--out", "found", "--detector", "none"])
    assert (done.status, [row["file"] for row in done.table]) == (0, ["a.png", "b.png"])
    assert opened == [str(folder / "drawn-2.pth")]
    assert f"the network is {opened[0]}, which ships" in done.err


def test_the_folder_of_a_run_names_its_best_network(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(pose, "load", lambda path, *_: opened.append(path) or model())
    Path("exp/first").mkdir(parents=True)
    Path("best.pth").rename("exp/first/best.pth")
    save("a.png", spot(60, 60))
    done = Outcome(capsys, Path("found"), ["exp/first", "a.png", "--out", "found"])
    assert done.status == 0 and opened == [str(Path("exp/first/best.pth"))]
    assert [row["file"] for row in done.table] == ["a.png"]
    Path("exp/first/best.pth").rename("exp/first/checkpoint.pth")
    Path("exp/first/options.json").write_text("{}")
    done = Outcome(capsys, Path("found"), ["exp/first", "a.png", "--out", "other"])
    assert done.status == 2 and f"error: run {Path('exp/first')} has no best.pth yet;" in done.err


def test_few_joints_above_the_threshold_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that is sure of two."""
    save("a.png", spot(60, 60))
    assert "drawn:" not in run("a.png").err
    unsure = model()
    find = unsure.runner.joints
    monkeypatch.setattr(
        unsure.runner, "joints", lambda *given: (find(*given)[0], np.eye(1, 17) + np.eye(1, 17, 3))
    )
    done = run("a.png", "--overwrite", network=unsure)
    assert "drawn: 2 of 17 joints, those of --threshold 0.2 and more" in done.err


def test_a_missing_checkpoint_is_one_line(run: Run) -> None:
    Path("best.pth").unlink()
    assert "error: there is no checkpoint best.pth" in run("a.png").err


def test_what_exists_is_kept_unless_it_may_be_replaced(run: Run) -> None:
    save("a.png", spot(60, 60))
    Path("found").mkdir()
    Path("found/a.png").write_text("dear")
    done = run("a.png")
    assert done.status == 2 and "a.png exists already; --overwrite replaces it" in done.err
    assert Path("found/a.png").read_text() == "dear"
    assert run("a.png", "--overwrite").status == 0
    assert cv2.imread("found/a.png").shape == (240, 320, 3)


def test_a_source_is_never_replaced(run: Run) -> None:
    save("found/a.png", spot(60, 60))
    done = run("found/a.png", "--overwrite")
    assert done.status == 2 and "is one of the sources" in done.err
    np.testing.assert_array_equal(cv2.imread("found/a.png"), spot(60, 60))


def test_no_display_is_said_before_anything_is_done(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save("a.png", spot(60, 60))
    monkeypatch.setattr(window.cv2, "currentUIFramework", lambda: "QT")
    monkeypatch.setattr(window.sys, "platform", "linux")
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    done = run("a.png", "--show")
    assert done.status == 2 and "there is no display" in done.err
    assert not Path("found").exists()


def test_the_window_ends_a_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """q in the third frame; what was found until then is kept."""
    write_clip(Path("walk.mp4"), moving(8))
    shown: list[np.ndarray] = []
    fakes: dict[str, Callable[..., Any]] = {
        "currentUIFramework": lambda: "QT", "namedWindow": lambda *_: None, "destroyWindow": lambda *_: None,
        "imshow": lambda _, image: shown.append(image), "getWindowProperty": lambda *_: 1.0,
        "resizeWindow": lambda *_: None,
        "waitKey": lambda _: ord("q") if len(shown) == 3 else -1,
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setattr(window.cv2, name, fake, raising=False)
    monkeypatch.setattr(window, "_has_display", lambda: True)
    done = run("walk.mp4", "--show")
    assert (done.status, len(done.results), len(shown)) == (0, 3, 3)


# --------------------------------------------------------------------------------------------- the network


def test_pictures_share_batches_across_sources(run: Run) -> None:
    finder = model()
    for number in range(7):
        save(f"in/{number}.png", spot(60 + 20 * number, 60))
    run("in", "--batch-size", 4, network=finder)
    assert finder.runner.batches == [4, 3]  # type: ignore[attr-defined]


BLOCKED = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"there is no {name}", name=name)

sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocked(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a Python of its own that has no PyTorch."""
    words = [sys.executable, "-c", BLOCKED, str(PATH), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("arch, sizes", [("hg", {"depth": 2}), ("hg-ae", {"depth": 2, "increase": 4})])
def test_an_exported_network_needs_no_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, sizes: dict[str, int]
) -> None:
    """It finds what its checkpoint finds; a video, pictures and heatmaps of both."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from src import models
    from src.inference.exporting import to_onnx
    from src.models.checkpoint import describe, save_checkpoint

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    network = models.build(arch, COCO.num_joints, stacks=1, feats=8, **sizes).eval()
    save_checkpoint(tmp_path / "best.pth", describe(network, COCO.to_dict(), 64))
    loaded = models.load(tmp_path / "best.pth", torch.device("cpu"))
    (tmp_path / "best.onnx").write_bytes(to_onnx(loaded, decode=False, half=False, opset=17))
    save("a.png", spot(200, 50))
    write_clip(Path("walk.mp4"), moving(3))
    sources = ["a.png", "walk.mp4", "--heatmaps"]
    done = blocked("best.onnx", *sources, "--out", "without")
    assert done.returncode == 0, done.stderr
    predict.main(["best.pth", *sources, "--out", "with", "--amp", "none"])
    without, with_torch = (
        json.loads(Path(folder, "predictions.json").read_text()) for folder in ("without", "with")
    )
    assert len(without) == len(with_torch) >= 4 * (arch == "hg")
    for one, other in zip(without, with_torch, strict=True):
        np.testing.assert_allclose(one["keypoints"], other["keypoints"], atol=0.01)
    assert Path("without/walk-heatmaps.mp4").exists()


@pytest.mark.parametrize(
    "missing, said", [("yaml", "read"), ("pycocotools", "--detections needs pycocotools")]
)
def test_detections_need_pycocotools_and_no_yaml(tmp_path: Path, missing: str, said: str) -> None:
    (tmp_path / "boxes.json").write_text("[]")
    program = """
import sys
from pathlib import Path
sys.modules[sys.argv[1]] = sys.modules["torch"] = None
from tests.task_runner import load_script
predict = load_script(Path(sys.argv[2]))
try:
    print("read", predict.read_detections(Path("boxes.json"), 0.5))
except predict.UserError as error:
    print(error)
"""
    words = [sys.executable, "-c", program, missing, str(PATH)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.startswith(said), done.stderr


def test_a_checkpoint_needs_torch_and_says_so_in_one_line(run: Run) -> None:
    save("a.png", spot(60, 60))
    done = blocked("best.pth", "a.png", "--out", "found")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1

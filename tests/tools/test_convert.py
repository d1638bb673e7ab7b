"""Old checkpoints: recognised, converted, answered alike; everything else refused in one line."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from src.models import build, load
from src.models.checkpoint import describe, load_weights, read_checkpoint, save_checkpoint
from tests.task_runner import load_script

Outcome = tuple[int | str | None, str, Path]

convert = load_script(Path(__file__).resolve().parents[2] / "tools" / "convert.py")


@pytest.fixture
def weights(shared_fixtures: Path) -> ModuleType:
    """The module that makes the weights and inputs of the fixtures."""
    return load_script(shared_fixtures / "weights.py")


def status_of(arguments: list[str]) -> int | str | None:
    """The exit status of the command line."""
    try:
        convert.main(arguments)
    except SystemExit as stopped:
        return stopped.code
    return 0


def data_parallel(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


# fixture, what its code wraps the weights in, and what is to be said
SOURCES = [
    (
        "adversarial_pose_hg",
        lambda state: {"netHg": state, "optimHg": {"state": {}}, "epoch": 3},
        "adversarial-pose-pytorch (hourglass): hg, 16 joints (mpii), stacks 8, feats 256, modules 1, depth 4",
    ),
    (
        "adversarial_pose_hg_small",
        lambda state: data_parallel(state, "module."),
        "adversarial-pose-pytorch (hourglass): hg, 16 joints (mpii), stacks 2, feats 32, modules 1, depth 4",
    ),
    (
        "princeton_hourglass_2",
        lambda state: {"state_dict": data_parallel(state, "model.module."), "epoch": 9},
        "pytorch_stacked_hourglass (princeton-vl): hg, 16 joints (mpii), stacks 2, feats 256",
    ),
    (
        "crockwell_topdown_2",
        lambda state: {"state_dict": data_parallel(state, "model.module."), "epoch": 9},
        "pytorch_stacked_hourglass_attention (crockwell): hg-topdown, 16 joints (mpii), stacks 2, feats 256,"
        " modules 1, depth 4, latent 128",
    ),
    (
        "pytorch_pose_hg_2x1",
        lambda state: {"state_dict": data_parallel(state, "module."), "best_acc": np.float64(0.87)},
        "pytorch-pose (hourglass): hg, 16 joints (mpii), stacks 2, feats 256, modules 1, depth 4, stem_",
    ),
]


@pytest.mark.parametrize(("name", "wrap", "said"), SOURCES, ids=[name for name, _, _ in SOURCES])
def test_converted_network_answers_alike(weights, tmp_path, capsys, name, wrap, said):
    fixture, expected = weights.load(name)
    old, new = tmp_path / "old.pth", tmp_path / "new.pth"
    torch.save(wrap(weights.state_dict(fixture)), old, _use_new_zipfile_serialization=False)
    convert.main([str(old), "--out", str(new)])
    assert said in capsys.readouterr().out

    model = load(new)
    with torch.inference_mode():
        outputs = model.network(weights.image(fixture))
    assert (model.input_res, model.skeleton["name"]) == (256, "mpii")
    for output, answer in zip(outputs, expected, strict=True):
        assert (output - answer).abs().max() < 1e-4 * answer.abs().max()  # measured: below 2e-6


@pytest.mark.parametrize("depth", [34, 50])
def test_converted_coordinates_count_from_the_corner(weights, run, depth):
    """The old network counts from the middle of the crop: 0.5 less, in one row of all joints."""
    fixture, (expected,) = weights.load(f"naman_deeppose_resnet{depth}")
    status, said, new = run({"state_dict": data_parallel(weights.state_dict(fixture), "module.")})
    assert status == 0 and f"16 joints (mpii), backbone resnet{depth}" in said
    model = load(new)
    assert sum(weight.numel() for weight in model.network.parameters()) == fixture["parameters"]
    assert (model.arch, model.input_res) == ("deeppose", 256)
    with torch.inference_mode():
        (output,) = model.network(weights.image(fixture))
    answer = expected.unflatten(1, (16, 2))
    assert (output - 0.5 - answer).abs().max() < 1e-4 * answer.abs().max()


def test_resnets_of_unknown_depth_are_refused(weights, run):
    fixture, _ = weights.load("naman_deeppose_resnet34")
    state = weights.state_dict(fixture)
    kept = {name: value for name, value in state.items() if not name.startswith("resnet.layer3.5.")}
    assert "is incomplete: no ResNet has (3, 4, 5, 3) blocks of this kind" in refused(run(kept))
    kept = {name: value for name, value in state.items() if name != "resnet.layer1.0.bn1.weight"}
    assert "but trunk.layer1.0.bn1.weight is missing" in refused(run(kept))


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adversarial_pose_ae", "adversarial-pose-pytorch (associative embedding)"),
        ("princeton_ae", "pose-ae-train (princeton-vl, associative embedding)"),
    ],
)
def test_associative_embedding_with_and_without_unused_maps(weights, tmp_path, capsys, name, said, keep):
    fixture, expected = weights.load(name)
    old, new = tmp_path / "old.pth", tmp_path / "new.pth"
    torch.save(weights.state_dict(fixture), old)
    convert.main([str(old), "--out", str(new), *(["--keep-unused"] if keep else [])])
    printed = capsys.readouterr().out
    assert f"{said}: hg-ae, 17 joints (coco), stacks 4" in printed
    assert ("left out: 34 maps a stack that mean nothing" in printed) is not keep

    model = load(new)
    parameters = sum(weight.numel() for weight in model.network.parameters())
    assert parameters == (138_893_840 if keep else 138_832_776)
    with torch.inference_mode():
        outputs = model.network(weights.image(fixture))
    assert (model.input_res, model.skeleton["name"]) == (512, "coco")
    for output, answer in zip(outputs, expected, strict=True):
        answer = answer[:, :34]  # heatmaps and tags
        assert (output - answer).abs().max() < 1e-4 * answer.abs().max()


@pytest.fixture
def small(weights: ModuleType) -> dict[str, torch.Tensor]:
    """The smallest old checkpoint."""
    return weights.state_dict(weights.load("adversarial_pose_hg_small")[0])


@pytest.fixture
def run(tmp_path, capsys):
    """Converts what it is given; gives the exit status, what was said, and the path of the new file."""

    def run(content: object, *arguments: str) -> Outcome:
        old, new = tmp_path / "old.pth", tmp_path / "new.pth"
        torch.save(content, old)
        status = status_of([str(old), "--out", str(new), *arguments])
        captured = capsys.readouterr()
        return status, captured.out + captured.err, new

    return run


def refused(result: Outcome) -> str:
    """The message of a refusal: one line, exit status 2, nothing written."""
    status, said, new = result
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1 and not new.exists()
    return said


def test_mistyped_options_are_one_line(run) -> None:
    assert "--mean" in refused(run({}, "--mean", "1", "2"))
    assert "--ckeck" in refused(run({}, "--ckeck"))


@pytest.mark.parametrize(
    ("name", "live"), [("princeton_hourglass_2", 6_570_400), ("crockwell_topdown_2", 9_791_168)]
)
def test_dead_convolutions_are_counted(weights, run, name, live):
    fixture, _ = weights.load(name)
    status, said, new = run(weights.state_dict(fixture))
    assert status == 0 and "left out: skip convolutions that the source never uses (58 tensors)" in said
    parameters = sum(p.numel() for p in load(new).network.parameters())
    assert parameters == live == fixture["parameters"] - 28 * (256 * 256 + 256) - (128 * 128 + 128)


def test_what_else_the_file_held_is_said(small, run):
    status, said, _ = run({"netHg": small, "netD": {}, "optimHg": {}, "kt": 0.5})
    assert status == 0 and "left out: netD, optimHg, kt" in said


def test_counters_of_batches_may_be_absent(small, run):
    status, _, new = run({name: value for name, value in small.items() if "num_batches" not in name})
    assert status == 0 and load(new).network.get_buffer("stem.entry.norm.num_batches_tracked") == 0


def test_mean_colour_moves_into_the_network(weights, small, run):
    _, _, new = run(small)
    plain = load(new).network
    new.unlink()
    _, _, new = run(small, "--mean", "0.4404", "0.4440", "0.4327")
    images = torch.rand(1, 3, 64, 64)
    mean = torch.tensor([0.4404, 0.4440, 0.4327]).view(3, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(load(new).network(images)[-1], plain(images - mean)[-1])


def test_two_modules_and_both_orders_of_levels(weights):
    names = [f"hg.0.hg.{level}.{place}.0.x" for level in (0, 1) for place in range(3)]
    for innermost, other in ((0, 1), (1, 0)):
        old = {name: torch.zeros(1) for name in [*names, f"hg.0.hg.{innermost}.3.1.x"]}
        renamed = convert.rename(old, convert.level_rules(old))
        order = dict(zip(old, renamed, strict=True))
        assert order[f"hg.0.hg.{other}.2.0.x"] == "stacks.0.hourglass.up.0.x"
        assert order[f"hg.0.hg.{innermost}.1.0.x"] == "stacks.0.hourglass.inner.down.0.x"
        assert order[f"hg.0.hg.{innermost}.3.1.x"] == "stacks.0.hourglass.inner.inner.1.x"


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True)])
@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_numbers_are_read(small, run, tmp_path, number, module):
    old, new = tmp_path / "numpy.pth", tmp_path / "new.pth"
    torch.save({"state_dict": small, "best_acc": number}, old, _use_new_zipfile_serialization=False)
    for spelling in (b"numpy._core.multiarray", b"numpy.core.multiarray"):  # NumPy 2 and 1
        old.write_bytes(old.read_bytes().replace(spelling + b"\nscalar", module + b"\nscalar"))
    assert module + b"\nscalar" in old.read_bytes()
    assert status_of([str(old), "--out", str(new)]) == 0


def test_other_objects_are_refused_by_name(small, run, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'touched'}",)

    assert "holds argparse.Namespace" in refused(run({"state_dict": small, "args": argparse.Namespace(lr=1)}))
    assert "_reconstruct" in refused(run({"state_dict": small, "losses": np.zeros(3)}))
    assert f"holds {os.system.__module__}.system" in refused(run({"state_dict": small, "x": Bomb()}))
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("name", "further"),
    [
        ("adversarial_pose_hg_small", ()),
        ("adversarial_pose_discriminator_small", ()),
        pytest.param("naman_deeppose_resnet34", (), marks=pytest.mark.slow),
        pytest.param("princeton_ae", (), marks=pytest.mark.slow),
        pytest.param("pytorch_pose_hg_2x1", ("--mean", "0.4", "0.5", "0.6"), marks=pytest.mark.slow),
    ],
)
def test_answers_of_the_old_code_are_compared(
    weights: ModuleType,
    shared_fixtures: Path,
    run: Callable[..., Outcome],
    name: str,
    further: tuple[str, ...],
) -> None:
    fixture, expected = weights.load(name)
    answers = str(shared_fixtures / f"{name}.npz")
    status, said, _ = run(weights.state_dict(fixture), "--check", answers, *further)
    assert status == 0 and re.search(  # none at all on processors such as that which gave the answers
        rf"check passed: {name}.npz, {len(expected)} stages: largest difference (0|\S+e-0[678]) of", said
    )


@pytest.mark.slow
def test_a_check_that_fails_writes_nothing(
    weights: ModuleType, small: dict[str, torch.Tensor], run: Callable[..., Outcome], tmp_path: Path
) -> None:
    fixture, expected = weights.load("adversarial_pose_hg_small")
    answers = tmp_path / "old.npz"  # beside old.pth
    stages = {f"stage{i:02}": stage.numpy() for i, stage in enumerate(expected)}
    stages["input"] = weights.image(fixture).numpy()
    np.savez(answers, **stages)
    assert run(small, "--check")[0] == 0
    (tmp_path / "new.pth").unlink()
    for wrong in (stages["stage01"] * 1.001, np.full_like(stages["stage01"], np.nan)):
        np.savez(answers, **{**stages, "stage01": wrong})
        said = refused(run(small, "--check", str(tmp_path)))
        assert "check failed: old.npz, stage 1: largest difference" in said
    np.savez(answers, **{**stages, "stage02": stages["stage01"]})
    assert "has the answers of 3 stages, the network 2" in refused(run(small, "--check"))
    np.savez(answers, **{**stages, "stage01": stages["stage01"][:, :, 1:]})
    assert "has answers of shape (2, 16, 15, 16), the network (2, 16, 16, 16)" in refused(
        run(small, "--check")
    )
    np.savez(answers, **{**stages, "input": np.zeros((1, 3, 50, 50), np.float32)})
    assert "the network takes no input of (1, 3, 50, 50)" in refused(run(small, "--check"))


def test_answers_that_are_none_are_refused(
    small: dict[str, torch.Tensor], run: Callable[..., Outcome], tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'touched'}",)

    answers = tmp_path / "answers.npz"
    assert "there are no answers" in refused(run(small, "--check", str(answers)))
    assert "there are no answers" in refused(run(small, "--check"))
    np.savez(answers, stage00=np.zeros((1, 1)))
    assert "has no array 'input', and there is no answers.json" in refused(
        run(small, "--check", str(answers))
    )
    for text in ('{"input": [99999, 99999, 3, 3]}', '{"input": "x"}', "[]", "{", '{"input": [1, 3, 0, 4]}'):
        (tmp_path / "answers.json").write_text(text)
        assert "holds no answers that can be read" in refused(run(small, "--check", str(answers)))
    np.savez(answers, input=np.array([Bomb()], dtype=object), stage00=np.zeros((1, 1)))
    assert "holds no answers that can be read" in refused(run(small, "--check", str(answers)))
    answers.write_bytes(b"PK")
    assert "holds no answers that can be read" in refused(run(small, "--check", str(answers)))
    assert not (tmp_path / "touched").exists()


def test_files_of_no_known_source_are_refused(weights, small, run):
    assert "of no known source: its first weight is 'x'" in refused(run({"x": torch.zeros(1)}))
    assert "has no weights under any known name" in refused(run({"epoch": 3}))
    assert "has no weights" in refused(run([1, 2]))
    small.pop("res3.conv1.weight")
    said = refused(run(small))
    assert "looks like adversarial-pose" in said and "but stem.residual3.conv1.weight is missing" in said
    small.pop("score.0.weight")
    assert "is incomplete: 'heads.0.weight'" in refused(run(small))


def test_discriminators_are_told_from_pose_networks(weights, small, run):
    """By what they see, for the names of their weights are the same."""
    fixture, expected = weights.load("adversarial_pose_discriminator_small")
    partner = weights.state_dict(fixture)
    both = {"netHg": small, "netD": partner, "kt": 0.5}
    status, said, new = run(both, "--entry", "netD")
    assert status == 0 and "left out: netHg, kt" in said and "note: a discriminator finds no pose" in said
    assert "(discriminator): discriminator, 16 joints (mpii), stacks 1, feats 32, modules 1, depth 4" in said
    answers_alike(new, weights.image(fixture), expected)
    new.unlink()
    assert run({"netD": partner})[0] == 0
    new.unlink()
    status, said, new = run(both)
    assert status == 0 and "(hourglass): hg, 16 joints" in said and load(new).arch == "hg"
    new.unlink()
    assert "has no entry 'netX'" in refused(run(both, "--entry", "netX"))


def answers_alike(path: Path, inputs: torch.Tensor, expected: list[torch.Tensor]) -> None:
    """The discriminator in a checkpoint answers as that of the fixture: in its last stage."""
    checkpoint = read_checkpoint(path)
    network = build(checkpoint["arch"], **checkpoint["config"]).eval()
    load_weights(network, checkpoint, strict=True)
    with torch.inference_mode():
        output = network(inputs[:, :3], inputs[:, 3:])
    answer = expected[-1]
    assert (output - answer).abs().max() < 1e-4 * answer.abs().max()


@pytest.mark.slow
def test_the_published_discriminator_answers_alike(weights, run):
    fixture, expected = weights.load("adversarial_pose_discriminator")
    status, said, new = run({"module." + name: value for name, value in weights.state_dict(fixture).items()})
    assert status == 0 and "stacks 4, feats 256, modules 2, depth 4" in said
    assert fixture["parameters"] == 24_873_408
    answers_alike(new, weights.image(fixture), expected)


def test_options_that_do_not_suit_are_refused(small, run):
    assert "predicts 16 joints, but coco has 17" in refused(run(small, "--skeleton", "coco"))
    assert "multiple of 64" in refused(run(small, "--input-res", "250"))


def test_files_are_not_overwritten_nor_converted_twice(small, run, tmp_path, capsys):
    _, _, new = run(small)
    before, old = new.read_bytes(), tmp_path / "old.pth"
    assert status_of([str(old), "--out", str(new)]) == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err
    assert new.read_bytes() == before
    assert status_of([str(old), "--out", str(old), "--overwrite"]) == 2
    assert "old.pth is the old checkpoint itself; choose another --out" in capsys.readouterr().err
    status, _, _ = run(small, "--overwrite", "--input-res", "128")
    assert status == 0 and load(new).input_res == 128
    assert status_of([str(new), "--out", str(tmp_path / "newer.pth")]) == 2
    assert "of this project already" in capsys.readouterr().err
    model = load(new)
    save_checkpoint(tmp_path / "copy.pth", describe(model.network, model.skeleton, model.input_res))
    assert load(tmp_path / "copy.pth").config == model.config


def test_missing_file_and_folder(tmp_path, capsys):
    for old, said in ((tmp_path / "none.pth", "there is no checkpoint"), (tmp_path, "is a folder")):
        assert status_of([str(old), "--out", str(tmp_path / "new.pth")]) == 2
        assert said in capsys.readouterr().err


def test_help_names_the_sources(capsys):
    assert status_of(["--help"]) == 0 and "princeton-vl" in capsys.readouterr().out

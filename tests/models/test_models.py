"""The table of networks, building by name, and opening a checkpoint."""

import subprocess
import sys

import pytest
import torch

from src.errors import UserError
from src.models import ARCHITECTURES, build, check_input, load
from src.models.checkpoint import describe, save_checkpoint

SKELETON = {"name": "five", "joints": ["a", "b", "c", "d", "e"]}
SMALL = {"stacks": 1, "feats": 8, "depth": 1}


def test_the_table_is_read_without_torch():
    code = "import sys, src.models, src.losses; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_config_builds_the_network_again(arch):
    with torch.device("meta"):
        network = build(arch, 16)
        again = build(network.arch, **network.config)
    assert again.state_dict().keys() == network.state_dict().keys()
    assert network.config["num_joints"] == 16


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UserError, match=r"no architecture 'hgg' \(did you mean 'hg'\?\)"):
        build("hgg", 16)
    with pytest.raises(UserError, match=r"hg: stacks is a whole number, not 'two'"):
        build("hg", 16, stacks="two")
    with pytest.raises(UserError, match=r"hg-256: skip is true or false, not 1"):
        build("hg-256", 16, skip=1)
    with pytest.raises(UserError, match=r"no argument 'stack' \(did you mean 'stacks'\?\)"):
        build("hg", 16, stack=2)


@pytest.mark.parametrize("side, depth, nearest", [(250, 4, 256), (100, 4, 128), (36, 3, 32), (8, 4, 64)])
def test_input_that_does_not_halve_is_refused(side, depth, nearest):
    with pytest.raises(UserError, match=f"multiple of {4 * 2**depth}, the nearest is {nearest}"):
        check_input("hg", side, depth=depth)


def test_input_that_halves_passes_and_runs():
    check_input("hg", 24, **SMALL)
    assert build("hg", 5, **SMALL)(torch.rand(2, 3, 24, 24))[0].shape == (2, 5, 6, 6)


def test_load_gives_the_network_and_what_it_is(tmp_path):
    network = build("hg", 5, **SMALL)
    network(torch.rand(4, 3, 16, 16))  # moves the running statistics, which must come back too
    save_checkpoint(tmp_path / "best.pth", describe(network, SKELETON, 16) | {"epoch": 3})
    loaded = load(tmp_path / "best.pth")
    assert (loaded.arch, loaded.config, loaded.skeleton) == ("hg", network.config, SKELETON)
    assert (loaded.input_res, loaded.weights, loaded.network.training) == (16, "model", False)
    images = torch.rand(1, 3, 16, 16)
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    # sums in another order: the weights lie in memory with channels last
    torch.testing.assert_close(loaded.network(images)[0], network.eval()(images)[0], rtol=1e-5, atol=1e-6)


def test_load_prefers_the_averaged_weights(tmp_path):
    network, average = build("hg", 5, **SMALL), build("hg", 5, **SMALL)
    save_checkpoint(tmp_path / "best.pth", describe(network, SKELETON, 16) | {"ema": average.state_dict()})
    loaded = load(tmp_path / "best.pth")
    assert loaded.weights == "ema"
    assert torch.equal(loaded.network.state_dict()["heads.0.weight"], average.state_dict()["heads.0.weight"])


def test_load_names_weights_that_do_not_fit(tmp_path):
    state = describe(build("hg", 5, **SMALL), SKELETON, 16)
    state["config"] = state["config"] | {"feats": 16}
    save_checkpoint(tmp_path / "bad.pth", state)
    with pytest.raises(UserError, match=r"bad\.pth: its weights do not fit hg"):
        load(tmp_path / "bad.pth")

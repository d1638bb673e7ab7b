"""Both formulations of a multi-person sample give the same."""

from pathlib import Path

import torch

from bench import scenes


def test_a_sample_is_the_same_in_both_formulations(tmp_path: Path) -> None:
    people = scenes.pictures(tmp_path / "nowhere", tmp_path, drawn=scenes.BATCH)
    ours, plain = scenes.prepare(people)(), scenes.prepare_plainly(people)()
    images, heatmaps, mask = zip(ours, plain, strict=True)
    # bytes are rounded where floats are not, twice: by the warp and by colours of up to 1.4
    assert (images[0] - images[1]).abs().max() < 3 / 255
    torch.testing.assert_close(*heatmaps, rtol=1e-6, atol=1e-6)
    assert (mask[0] != mask[1]).float().mean() < 1e-3  # cells at an edge, by rounding
    assert heatmaps[0].amax((2, 3)).mean() > 0.5 and 0.3 < mask[0].mean() < 1

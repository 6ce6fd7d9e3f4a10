"""Crops that heads learn from: geometry against torchvision's draws, order, shares of ranks, places in an epoch."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import coloured, need
from sassl.data import Arrays
from sassl.evaluation.crops import Crops

SIDE, N = 128, 40
NORMALIZE = {"mean": [0.5, 0.25, 0.125], "std": [0.25, 0.5, 1.0]}


@pytest.fixture(scope="module")
def ramps():
    """Images whose red is the row and whose green is the column; blue is the image's number."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return Arrays(np.stack([np.stack([y, x, np.full_like(x, i)], -1).astype(np.uint8) for i in range(N)]), range(N))


def epoch(crops, number, batch=0):
    crops.set_epoch(number, batch)
    return list(crops)


def joined(batches):
    images, targets = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(targets)


def test_areas_ratios_and_flips_are_torchvisions(ramps):
    need("torchvision")
    import torch
    from torchvision.transforms import RandomResizedCrop

    crops = Crops(ramps, 32, None, batch_size=N, threads=2)
    values = 255 * np.concatenate([epoch(crops, number)[0][0] for number in range(30)])
    # Between the second and the last but one pixel antialiasing sees the ramp alone.
    heights = (values[:, -2, 5, 0] - values[:, 1, 5, 0]) * 32 / 29
    widths = (values[:, 5, -2, 1] - values[:, 5, 1, 1]) * 32 / 29
    torch.manual_seed(0)
    image = torch.zeros(3, SIDE, SIDE)
    drawn = np.array([RandomResizedCrop.get_params(image, (0.08, 1), (3 / 4, 4 / 3))[2:] for _ in range(len(values))])
    for here, there in (
        (np.abs(heights * widths), drawn.prod(1)),
        (np.log(np.abs(widths) / heights), np.log(drawn[:, 1] / drawn[:, 0])),
    ):
        levels = np.linspace(0.02, 0.98, 9)
        spread = np.quantile(there, 0.98) - np.quantile(there, 0.02)
        assert np.abs(np.quantile(here, levels) - np.quantile(there, levels)).max() < 0.1 * spread
    assert 0.45 < (widths < 0).mean() < 0.55


def test_values_are_normalized_in_either_layout(ramps):
    settings = {"batch_size": N, "seed": 3, "threads": 1}
    ((plain, targets),) = epoch(Crops(ramps, 24, None, **settings), 2)
    ((images, same),) = epoch(Crops(ramps, (24, 24), NORMALIZE, channels_last=False, **settings), 2)
    assert (plain.shape, images.shape, plain.dtype, images.dtype) == ((N, 24, 24, 3), (N, 3, 24, 24), "f4", "f4")
    assert targets.dtype == np.int64
    assert np.array_equal(targets, same)
    # Each crop is of the image whose class comes with it.
    assert np.allclose(plain[..., 2] * 255, targets[:, None, None], atol=1e-4)
    expected = (plain - np.float32(NORMALIZE["mean"])) / np.float32(NORMALIZE["std"])
    assert np.allclose(images.transpose(0, 2, 3, 1), expected, atol=1e-5)
    ((cubic, _),) = epoch(Crops(ramps, 24, None, interpolation="bicubic", **settings), 2)
    assert 0 < np.abs(cubic - plain).max() < 0.1


def test_draws_are_of_seed_epoch_and_image_alone(ramps):
    crops = Crops(ramps, 16, None, batch_size=16, seed=7, threads=1)
    batches = epoch(crops, 5)
    assert [len(targets) for _, targets in batches] == [16, 16, 8] == [crops.rows(i) for i in range(len(crops))]
    images, targets = joined(batches)
    assert sorted(targets) == list(range(N))
    for settings in ({"threads": 3}, {"batch_size": 10}):
        again = joined(epoch(Crops(ramps, 16, None, **{"batch_size": 16, "seed": 7, **settings}), 5))
        assert np.array_equal(again[0], images)
        assert np.array_equal(again[1], targets)
    rest = joined(epoch(crops, 5, 1))
    assert np.array_equal(rest[0], images[16:])
    assert np.array_equal(joined(crops)[1], joined(epoch(crops, 6))[1])
    for other in (epoch(crops, 6), epoch(Crops(ramps, 16, None, batch_size=16, seed=8), 5)):
        order = joined(other)[1]
        assert not np.array_equal(order, targets)
        assert not np.array_equal(joined(other)[0][order.argsort()], images[targets.argsort()])
    assert len(epoch(Crops(ramps, 16, None, batch_size=16, drop_last=True), 0)) == 2


def test_ranks_share_each_batch(ramps):
    one = epoch(Crops(ramps, 16, None, batch_size=18, seed=1), 0)
    shares = [epoch(Crops(ramps, 16, None, batch_size=18, seed=1, rank=r, world_size=3), 0) for r in range(3)]
    for (images, targets), *parts in zip(one, *shares, strict=True):
        together = joined(parts)
        # The last batch of 4 images has 2 on each rank, of which 2 repeat others.
        assert np.array_equal(together[0][: len(images)], images)
        assert np.array_equal(together[1][: len(images)], targets)
    assert [len(targets) for _, targets in shares[2]] == [6, 6, 2]
    with pytest.raises(ValueError, match=r"multiple of the number of ranks \(3\), got 16"):
        Crops(ramps, 16, None, batch_size=16, rank=0, world_size=3)


def test_an_image_that_cannot_be_read_is_an_error_or_is_replaced(tmp_path):
    folder = coloured(tmp_path, {"train": 4}) / "train"
    (folder / "red" / "9.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"9\.png"):
        list(Crops(folder, 8, None, batch_size=4))
    crops = Crops(folder, 8, None, batch_size=4, on_error="report")
    assert sum(len(targets) for _, targets in crops) == 9
    assert list(crops.report) == ["red/9.png"]


def test_settings_that_cannot_be_are_errors(ramps):
    for settings, told in (
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": 4, "min_scale": 0}, "min_scale must be a fraction of the image's area, > 0 and <= 1, got 0"),
        ({"batch_size": 4, "interpolation": "nearest"}, "interpolation"),
        ({"batch_size": 41, "drop_last": True}, "batch_size"),
    ):
        with pytest.raises(ValueError, match=told):
            Crops(ramps, 16, None, **settings)

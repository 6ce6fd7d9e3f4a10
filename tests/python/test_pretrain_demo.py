"""`sassl pretrain --demo`: both arms learn, the files that it promises are there, and it claims no more than it shows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sassl import image_files
from sassl.pretraining import History, demo
from sassl.pretraining.patterns import SHAPES, patterns


def test_both_arms_end_above_the_untrained_backbone(tmp_path, capsys):
    found = demo.run(tmp_path / "demo")
    untrained = found.pop("untrained")
    assert list(found) == list(demo.ARMS) == ["without-style", "with-sassl"]
    for arm, accuracies in found.items():
        for measure, value in accuracies.items():
            assert value > untrained[measure] + 5, (arm, measure, accuracies, untrained)
        assert len(History.load(tmp_path / "demo" / arm / "log.csv")) == demo.EPOCHS
        assert (tmp_path / "demo" / arm / "backbone.safetensors").is_file()
    told = capsys.readouterr().out
    assert "cannot show which of the two is better" in told
    assert "untrained" in told
    for name, most in (("curves.png", 300_000), ("views.jpg", 600_000)):
        path = tmp_path / "demo" / name
        assert path.stat().st_size <= most
        with image_files.pillow().Image.open(path) as image:
            image.load()
    with pytest.raises(FileExistsError, match=r"without-style: has a run; choose another --out"):
        demo.run(tmp_path / "demo")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("curves.png", "curves.png exists already; choose another --out"),
        ("views.jpg", "views.jpg exists already; choose another --out"),
        ("with-sassl/backbone.safetensors", "backbone.safetensors exists already; choose another --out"),
        ("log.csv", "has a run; choose another --out"),
    ],
)
def test_results_are_never_overwritten(tmp_path, name, error):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("epoch,loss,lr,images_per_second\n")
    command = [sys.executable, "-m", "sassl", "pretrain", "--demo", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert error in done.stderr
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]


def test_patterns_are_balanced_and_repeatable():
    one, again, other = ([patterns(48, seed)[i] for i in range(48)] for seed in (3, 3, 4))
    images, targets = (np.stack(some) for some in zip(*one, strict=True))
    assert images.shape == (48, 32, 32, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images, np.stack([image for image, _ in again]))
    assert not np.array_equal(images, np.stack([image for image, _ in other]))
    assert np.bincount(targets).tolist() == [48 // len(SHAPES)] * len(SHAPES)

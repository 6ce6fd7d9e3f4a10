"""The examples as users run them, on a few small pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sassl
from conftest import ROOT, need
from PIL import Image


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Red ones and blue ones in train, val and test."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, n in (("train", 16), ("val", 4), ("test", 4)):
        for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                image = np.clip(rng.integers(-20, 20, (32, 32, 3)) + np.array(colour), 0, 255).astype(np.uint8)
                Image.fromarray(image).save(root / split / name / f"{i}.png")
    return root


def run(name, *arguments):
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_pretrain_cifar10(pictures, tmp_path):
    done = run("pretrain_cifar10.py", pictures, "--out", tmp_path, "--epochs", 1, "--batch-size", 8)
    assert done.returncode == 0, done.stderr
    assert "nearest neighbours: " in done.stdout
    assert "linear probe: " in done.stdout
    assert {"backbone.safetensors", "history.png", "log.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_finetune_torchvision(pictures, tmp_path):
    need("torchvision")
    need("safetensors")
    sassl.SimCLR("resnet18", hidden_dim=32, dim=16).export_backbone(tmp_path / "net.safetensors")
    options = ["--arch", "resnet18", "--input-size", 32, "--epochs", 3, "--batch-size", 8]
    done = run("finetune_torchvision.py", tmp_path / "net.safetensors", pictures, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("epoch 3: loss ")

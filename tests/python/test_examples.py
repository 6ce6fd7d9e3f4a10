"""The examples as users run them, on a few small images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sassl
from conftest import ROOT, coloured, need


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return coloured(tmp_path_factory.mktemp("images"), {"train": 16, "val": 4, "test": 4}, (32, 32))


def run(name, *arguments):
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_pretrain_cifar10(images, tmp_path):
    done = run("pretrain_cifar10.py", images, "--out", tmp_path, "--epochs", 1, "--batch-size", 8)
    assert done.returncode == 0, done.stderr
    assert "nearest neighbours: " in done.stdout
    assert "linear probe: " in done.stdout
    assert {"backbone.safetensors", "history.png", "log.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_finetune_torchvision(images, tmp_path):
    need("torchvision")
    need("safetensors")
    sassl.SimCLR("resnet18", hidden_dim=32, dim=16).export_backbone(tmp_path / "net.safetensors")
    options = ["--arch", "resnet18", "--input-size", 32, "--epochs", 3, "--batch-size", 8]
    done = run("finetune_torchvision.py", tmp_path / "net.safetensors", images, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("epoch 3: loss ")

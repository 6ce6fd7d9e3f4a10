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


@pytest.mark.parametrize(
    "settings",
    [
        {"small_stem": True, "input_size": 32},
        {"input_size": 32, "views": {"normalize": {"mean": [0.5] * 3, "std": [0.2] * 3}}},
    ],
    ids=["small stem", "normalized"],
)
def test_finetune_torchvision(settings, images, tmp_path):
    need("torchvision")
    need("safetensors")
    sassl.SimCLR("resnet18", hidden_dim=32, dim=16, **settings).export_backbone(tmp_path / "net.safetensors")
    done = run("finetune_torchvision.py", tmp_path / "net.safetensors", images, "--epochs", 3, "--batch-size", 8)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("epoch 3: loss ")


def test_finetune_torchvision_asks_how_images_are_normalized(images, tmp_path):
    need("torchvision")
    need("safetensors")
    model = sassl.SimCLR("resnet18", hidden_dim=32, dim=16, input_size=32, views={"normalize": "not known"})
    model.export_backbone(tmp_path / "net.safetensors")
    done = run("finetune_torchvision.py", tmp_path / "net.safetensors", images)
    assert done.returncode == 2
    assert "normalizing is not known" in done.stderr

"""The examples as users run them, on a few small images."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sassl
from conftest import ROOT, coloured, need
from sassl import cli


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


def test_barlow_twins(images, tmp_path):
    need("torch")
    text = (ROOT / "examples" / "barlow_twins.py").read_text()
    assert len(text.splitlines()) < 80
    sizes = ("--epochs", 2, "--batch-size", 8, "--input-size", 32)
    done = run("barlow_twins.py", images / "train", "--out", tmp_path, *sizes)
    assert done.returncode == 0, done.stderr
    assert {"backbone.safetensors", "log.csv", "config.json"} <= {path.name for path in tmp_path.iterdir()}
    assert "on_diagonal" in (tmp_path / "log.csv").read_text().splitlines()[0]


def test_finetune_torchvision_asks_how_images_are_normalized(images, tmp_path):
    need("torchvision")
    need("safetensors")
    model = sassl.SimCLR("resnet18", hidden_dim=32, dim=16, input_size=32, views={"normalize": "not known"})
    model.export_backbone(tmp_path / "net.safetensors")
    done = run("finetune_torchvision.py", tmp_path / "net.safetensors", images)
    assert done.returncode == 2
    assert "normalizing is not known" in done.stderr


@pytest.mark.parametrize("code", [0, 1, 75, 130])
def test_slurm_queues_a_run_again_that_is_not_over(code, tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("DID NOT RUN: there is no bash")
    for name, end in (("srun", code), ("scontrol", 0)):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\nexit {end}\n')
        (tmp_path / name).chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "4711"}
    done = subprocess.run(["bash", ROOT / "examples" / "slurm.sh"], capture_output=True, text=True, env=environ)
    assert (done.returncode, done.stderr) == (code, "")
    started, *again = done.stdout.splitlines()
    assert again == (["scontrol requeue 4711"] if code == 75 else [])
    srun, sassl, *words = shlex.split(started)
    assert (srun, sassl) == ("srun", "sassl")
    given = cli.parser("pretrain").parse_args(words)
    assert (given.engine, given.resume, given.time_limit) == ("torch", True, "3:50:00")

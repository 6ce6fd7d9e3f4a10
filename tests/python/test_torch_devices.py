"""`sassl pretrain --devices N`: one command, several processes, one run."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl.cli import main
from sassl.pretraining import History

need("torch")

import torch  # noqa: E402
from sassl.pretraining.torch import devices  # noqa: E402

WORDS = "--arch resnet18 --batch-size 8 --input-size 16 --style off --engine torch --devices 2"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(16):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def command(photos, out, *more):
    return begin(["pretrain", "simclr", "--data", str(photos), "--out", str(out), *WORDS.split(), *more])


def begin(words):
    environ = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environ["SASSL_THREADS"] = "1"
    return subprocess.Popen(
        [sys.executable, "-m", "sassl", *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_run_on_two_devices_goes_on_after_the_signal_of_a_scheduler(photos, tmp_path):
    out = tmp_path / "run"
    first = command(photos, out, "--epochs", "12")
    until = time.monotonic() + 120
    while not list(out.glob("checkpoint*")) and first.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    first.send_signal(signal.SIGUSR1)
    _, told = first.communicate(timeout=120)
    assert first.returncode == 75, told
    assert "2 ranks" in told
    assert 0 < len(History.load(out)) < 12
    words = shlex.split(told.rpartition("to resume: sassl ")[2])
    assert words[-2:] == ["--devices", "2"]
    again = begin(words)
    said, told = again.communicate(timeout=120)
    assert again.returncode == 0, told
    assert "12 epochs" in said
    assert (out / "backbone.safetensors").exists()


def test_an_error_is_told_once_and_ends_all(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "7.png").write_bytes((photos / "7.png").read_bytes()[:200])
    run = command(tmp_path / "photos", tmp_path / "run", "--epochs", "1")
    _, told = run.communicate(timeout=120)
    assert run.returncode == 1
    # By the rank that has it alone.
    assert told.count("sassl pretrain: ") == 1
    assert "7.png" in told.splitlines()[-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--devices", "0", "--engine", "torch"], '--devices must be "auto" or an integer >= 1, got 0'),
        (["--devices", "two", "--engine", "torch"], '--devices must be "auto" or an integer >= 1, got two'),
        (["--devices", "2"], "--devices must be 1 for the native engine, which is one process, got 2"),
    ],
)
def test_devices_that_cannot_be(given, message, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    words = ["pretrain", "simclr", "--data", str(photos), "--out", str(tmp_path / "run"), *given]
    assert main(words) == 1
    told = capsys.readouterr().err
    assert message in told
    assert not (tmp_path / "run").exists()


def test_processes_are_as_many_as_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert (devices.count("auto"), devices.count("3")) == (4, 3)
    with pytest.raises(ValueError, match=r"devices must be at most the number of GPUs \(4\), .*, got 5"):
        devices.count("5")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert (devices.count("auto"), devices.count("3")) == (1, 3)
    with pytest.raises(ValueError, match="devices must be 1 without a GPU, got 3"):
        devices.count("3", "auto")


def test_a_process_of_a_launcher_starts_none(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert devices.are_begun("2")
    assert devices.are_begun("auto")
    with pytest.raises(
        ValueError, match="devices must be 2, the number of processes that a launcher has started, got 4"
    ):
        devices.are_begun("4")

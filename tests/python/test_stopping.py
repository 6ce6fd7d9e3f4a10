"""What ends a run before its end: a time limit and signals, with which exit code; and that it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import numpy as np
import pytest
from sassl.cli import main
from sassl.data.ranks import Alone
from sassl.pretraining import Requeue
from sassl.pretraining.stopping import Stopping, seconds_of
from test_loggers import Null, data, model


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("30", 1800),
        ("1:30", 90),
        ("3:50:00", 13_800),
        ("0:00:05", 5),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-00:00:01", 86_401),
        (timedelta(hours=2), 7200),
        (None, None),
    ],
)
def test_limits_are_read_as_slurm_writes_them(limit, seconds):
    assert seconds_of(limit) == seconds


@pytest.mark.parametrize(
    "limit", ["abc", "", "1:2:3:4", "-5", "0:00", "1-", "3h", 30, timedelta(0), timedelta(days=-1)]
)
def test_wrong_limits(limit, tmp_path):
    with pytest.raises(ValueError, match=r"time_limit must be a time as \"30\" \(minutes\), .*, got"):
        model().fit(data(2), 1, out=tmp_path / "run", time_limit=limit)
    assert not (tmp_path / "run").exists()


def test_a_limit_needs_a_folder():
    with pytest.raises(ValueError, match="time_limit='3:50:00' requires a folder; give out"):
        model().fit(data(2), 1, time_limit="3:50:00")


class Slow(Null):
    """Steps and checkpoints that take their time."""

    step_takes, save_takes = 0.1, 0.3

    def step(self, left, right, rates):
        time.sleep(self.step_takes)
        return super().step(left, right, rates)

    def save(self, path, metadata):
        time.sleep(self.save_takes)
        super().save(path, metadata)


def test_a_run_ends_after_the_last_step_that_fits_and_goes_on(tmp_path):
    def fit(**options):
        return made.fit(data(5), 4, out=tmp_path, quiet=True, **options)

    made, began = model(Slow), time.monotonic()
    with pytest.raises(Requeue, match="interrupted by its time limit"):
        # An epoch is of half a second, and its checkpoint of 0.3 s.
        fit(time_limit=timedelta(seconds=2))
    assert 1.4 < time.monotonic() - began < 2.1
    steps = int(max(tmp_path.glob("checkpoint-*")).name.split("-")[1]) * 5
    assert 5 <= steps < 20
    made = model(Slow)
    assert len(fit(resume=True, time_limit="10:00").history) == 4
    straight = model().fit(data(5), 4, quiet=True)
    assert [row["loss"] for row in made.history] == [row["loss"] for row in straight.history]


def test_a_run_that_is_over_does_not_ask_to_be_run_again(tmp_path):
    # The last step and what ends the epoch were never timed; there is nothing to go on with.
    class Late(Slow):
        step_takes, save_takes = 0.01, 0.5

    assert len(model(Late).fit(data(2), 1, out=tmp_path, time_limit=timedelta(seconds=0.3), quiet=True).history) == 1


def test_a_first_step_that_compiles_is_forgotten():
    stopping = Stopping(1.0)
    stopping._took["step"].append(60.0)
    assert stopping.is_due(Alone(), "step")
    for _ in range(50):
        stopping.after_step()
    assert not stopping.is_due(Alone(), "step", "checkpoint")
    with stopping.timing("checkpoint"):
        time.sleep(0.01)
    stopping._took["checkpoint"].append(60.0)
    assert stopping.is_due(Alone(), "step", "checkpoint")
    assert not stopping.is_due(Alone())


@pytest.mark.parametrize(
    ("number", "kind", "told"),
    [
        ("SIGUSR1", Requeue, "interrupted by SIGUSR1"),
        ("SIGTERM", KeyboardInterrupt, "interrupted by SIGTERM"),
        ("SIGINT", KeyboardInterrupt, "interrupted"),
    ],
)
def test_signals_that_ask_for_a_run_to_go_on(number, kind, told, tmp_path):
    number = getattr(signal, number, None)
    if number is None:
        pytest.skip("DID NOT RUN: this system has no such signal")
    with pytest.raises(KeyboardInterrupt) as raised:
        model().fit(data(5), 1, out=tmp_path, on_step=lambda *_: os.kill(os.getpid(), number), quiet=True)
    assert (type(raised.value), str(raised.value)) == (kind, told)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-00000-0000001.safetensors"]


def test_one_rank_that_is_to_go_on_is_all_of_them():
    class Two(Alone):
        world_size = 2

        def gather(self, value):
            return [["SIGTERM"], value]

    stopping = Stopping()
    stopping._signals.append(signal.SIGUSR1)
    assert type(stopping.stop(Two())) is Requeue
    assert type(Stopping().stop(Two())) is KeyboardInterrupt


def images(folder):
    from PIL import Image

    for i in range(8):
        Image.fromarray(np.full((24, 24, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")
    return folder


RUN = ["--batch-size", "2", "--input-size", "16", "--arch", "resnet18", "--style", "off", "--threads", "1"]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="DID NOT RUN: this system has no SIGUSR1")
def test_a_job_is_told_to_go_on_by_its_exit_code(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    photos, out = str(images(tmp_path / "photos")), str(tmp_path / "run")
    call = ["pretrain", "simclr-cifar10", "--data", photos, "--out", out, *RUN]
    process = subprocess.Popen(
        [sys.executable, "-m", "sassl", *call, "--epochs", "1000", "--set", "dim=8", "--set", "hidden_dim=8"],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "run").glob("checkpoint-*")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "sassl pretrain: interrupted by SIGUSR1; to resume: sassl pretrain --data" in err.splitlines()[-1]
    assert (
        main(["pretrain", "--data", photos, "--out", out, "--resume", "--time-limit", "0:00:01", "--threads", "1"])
        == 75
    )
    assert "interrupted by its time limit; to resume: " in capsys.readouterr().err
    assert main(["pretrain", "--data", photos, "--out", out, "--resume", "--time-limit", "abc"]) == 1
    assert "sassl pretrain: --time-limit must be a time as" in capsys.readouterr().err

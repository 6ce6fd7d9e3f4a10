"""A run that is only tried: what it tells, and that nothing is written."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl.cli import main
from sassl.data import Files
from sassl.pretraining import dry_run
from test_loggers import Null, data, model

NORMAL = ["--batch-size", "2", "--input-size", "16", "--arch", "resnet18", "--style", "off", "--threads", "1"]
SMALL = [*NORMAL, "--set", "dim=8", "--set", "hidden_dim=8"]


class Timed(Null):
    """Steps of a known time, the first of which compiles."""

    def __init__(self, config, threads=None):
        super().__init__(config)
        self.steps = 0

    def step(self, left, right, rates):
        time.sleep(0.02 if self.steps else 0.5)
        self.steps += 1
        return super().step(left, right, rates)


class Late:
    """Batches that are waited for."""

    batch_size = 4

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        for batch in data(self.batches):
            time.sleep(0.02)
            yield batch


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(8):
        Image.fromarray(np.full((24, 24, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")
    return folder


# Within an epoch, and over several.
@pytest.mark.parametrize("batches", [100, 10])
def test_steps_are_measured_without_the_first_ones(batches):
    tried = model(Timed)
    before = tried.history
    found = dry_run(tried, Late(batches), 50)
    assert tried.engine.steps == 25
    assert (found.steps, found.batches, found.engine) == (20, batches, "null")
    assert 40 < found.images_per_second < 100
    assert 0.35 < found.data_wait < 0.65
    assert found.hours == pytest.approx(50 * batches * 4 / found.images_per_second / 3600)
    assert tried.history is before
    assert found.config.schedule.epochs == 50
    assert 2**20 < found.memory["this process"] < 2**40


def test_short_and_slow_runs_are_measured_by_what_there_is(monkeypatch):
    tried = model(Timed)
    found = dry_run(tried, data(3), 1)
    assert (tried.engine.steps, found.steps) == (3, 2)
    assert 100 < found.images_per_second < 200
    assert dry_run(model(Timed), data(1), 1).steps == 1
    monkeypatch.setattr("sassl.pretraining.timing._SECONDS", 0.0)
    tried = model(Timed)
    assert (dry_run(tried, data(50), 1).steps, tried.engine.steps) == (2, 3)


def test_the_loader_alone_is_measured(photos):
    class Sleepy(Null):
        def step(self, left, right, rates):
            time.sleep(0.1)
            return super().step(left, right, rates)

    images = Files(sorted(photos.iterdir()) * 10)
    tried = model(Sleepy)
    found = dry_run(tried, images, 1, batch_size=4)
    assert found.images_per_second < 40
    assert found.views_per_second > 2 * found.images_per_second
    assert f"\ndata loading only: {found.views_per_second:.4g} images/s\n" in str(found)
    # Too few batches to tell, and batches of others.
    assert dry_run(tried, images, 1, batch_size=40).views_per_second is None
    assert dry_run(tried, data(10), 1).views_per_second is None


def test_errors_and_signals_are_those_of_a_run():
    class Bad(Null):
        def step(self, left, right, rates):
            raise KeyboardInterrupt("interrupted")

    with pytest.raises(KeyboardInterrupt, match="interrupted"):
        dry_run(model(Bad), data(3), 1)
    with pytest.raises(ValueError, match="epochs must be an integer >= 1, got 0"):
        dry_run(model(), data(3), 0)
    with pytest.raises(ValueError, match=r"views must have the size of input_size=8, got 4x4"):
        dry_run(model(), [[[np.zeros((4, 4, 4, 3), np.float32)] * 2]], 1)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_the_command_writes_nothing(engine, photos, tmp_path, capsys):
    if engine == "torch":
        need("torch")
    out = tmp_path / "run"
    call = ["pretrain", "simclr-cifar10", "--data", str(photos), *SMALL, "--engine", engine, "--dry-run"]
    for where in ([], ["--out", str(out)]):
        assert main([*call, *where]) == 0
        said = capsys.readouterr().out
        assert "\ndata:      batch_size=2; input_size=" in said
        assert re.search(rf"^engine: {engine}", said, re.MULTILINE)
        assert re.search(r"^memory, estimated: [0-9.]+ [GM]B: .*weights [0-9.]+ MB", said, re.MULTILINE)
        assert re.search(r"^peak memory: [0-9.]+ GiB of this process$", said, re.MULTILINE)
        assert re.search(
            r"^speed: [0-9.e+]+ images/s over 20 steps of 2 images, [0-9.]+% of the time waiting for data$",
            said,
            re.MULTILINE,
        )
        assert re.search(r"^run: 200 epochs of 4 batches, [0-9.e-]+ hours without monitors", said, re.MULTILINE)
    assert not out.exists()


def test_a_run_that_goes_on_is_tried_too(photos, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    call = ["pretrain", "--data", str(photos), "--threads", "1"]
    assert main([*call, "simclr-cifar10", *SMALL, "--out", str(out), "--epochs", "1"]) == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main([*call, "--out", str(out), "--resume", "--dry-run"]) == 0
    assert "run: 1 epochs of 4 batches" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for words, told in (
        ([*call, "--resume", "--dry-run"], "--out is missing"),
        (["pretrain", "simclr", "--dry-run"], "--data is missing"),
        ([*call, "--out", str(tmp_path / "no"), "--resume", "--dry-run"], "has no run to resume"),
        (
            [*call, "simclr", *NORMAL, "--dry-run", "--log", "csv", "--time-limit", "abc"],
            "--time-limit must be a time as ",
        ),
        ([*call, "simclr", *NORMAL, "--dry-run", "--log", "wandb"], '--log="wandb" requires the package wandb'),
    ):
        assert main(words) == 1
        assert told in capsys.readouterr().err

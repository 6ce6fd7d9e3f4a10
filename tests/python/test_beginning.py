"""What is said of a run at its beginning, against what its steps do."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sassl
from sassl.pretraining import PRESETS, Config, Rates, beginning
from sassl.pretraining.beginning import chance, duration, notes, prolonged, unused_gpu, warmup_warning, words
from sassl.pretraining.loop import rates
from sassl.pretraining.timing import Pace

TINY = {"arch": "resnet18", "small_stem": True, "input_size": 16, "batch_size": 4, "dim": 8}


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("SimCLR", {"hidden_dim": 8}),
        ("MoCoV2", {"queue_size": 8, "splits": 2}),
        ("MoCoV2", {"queue_size": 8, "splits": 2, "symmetric": True}),
    ],
)
def test_the_loss_at_chance_is_that_of_equal_views(kind, own):
    # By a softmax this warm all views are alike.
    model = getattr(sassl, kind)(threads=1, temperature=1e6, **TINY, **own)
    left, right = np.random.default_rng(0).normal(size=(2, 4, 16, 16, 3)).astype(np.float32)
    loss = model.engine.step(left, right, Rates(0.01, 0.01, 0.9 if kind == "MoCoV2" else None))[0]
    value, _ = model.config.method.chance(4)
    assert float(loss) == pytest.approx(value, rel=1e-4)
    assert f"loss at chance: {value:.4g} = " in chance(model.config)


def test_other_losses_have_no_chance():
    assert chance(PRESETS["byol"]) is None
    assert chance(PRESETS["simsiam"]) is None
    assert chance(PRESETS["simclr"]).startswith("loss at chance: 6.236 = ln(2 batch_size - 1), ")
    assert chance(PRESETS["moco-v2"]).startswith("loss at chance: 11.09 = ln(queue_size + 1), ")


@pytest.mark.parametrize(("epochs", "rising"), [(1, 0), (2, 1), (10, 9), (11, None), (200, None)])
def test_a_warm_up_that_the_run_cuts_short_is_told(epochs, rising):
    config = PRESETS["simclr"].changed(epochs=epochs, warmup_epochs=10)
    told = warmup_warning(config)
    assert (told is None) == (rising is None)
    if rising is not None:
        assert told == f"warmup_epochs = 10: the run has {epochs} epochs, and the warm-up is shortened to {rising}"
        assert told in notes(config)
        lrs = [rates(config, step, 4)[0] for step in range(4 * epochs)]
        assert int(np.argmax(lrs)) == 4 * rising


def test_each_word_of_a_log_is_explained_once(tmp_path, capsys):
    images = list(np.random.default_rng(0).integers(0, 256, (8, 20, 20, 3), np.uint8))
    model = sassl.SimCLR(threads=1, hidden_dim=8, **TINY)
    model.fit(images, 2)
    said = capsys.readouterr().err.splitlines()
    lines = [line for line in said if line.startswith("loss: ")]
    assert len(lines) == 1
    row = set(model.history[0]) - {"epoch"}
    assert {text.split(": ")[0] for text in lines[0].split("; ")} == row
    assert said.index(lines[0]) + 1 == next(i for i, line in enumerate(said) if line.startswith("epoch 1/2: "))
    assert sum(line.startswith("loss at chance: 1.946 = ln(2 batch_size - 1)") for line in said) == 1


def test_words_that_nobody_explains_are_left_out():
    assert words(["lr", "another"]) == "lr: learning rate"


def test_a_run_is_prolonged_and_that_is_told_and_recorded(tmp_path, capsys):
    images = list(np.random.default_rng(0).integers(0, 256, (8, 20, 20, 3), np.uint8))

    def tiny():
        return sassl.SimCLR(threads=1, hidden_dim=8, warmup_epochs=0, **TINY)

    tiny().fit(images, 1, out=tmp_path, quiet=True)
    assert not (tmp_path / "run.json").exists()
    model = tiny().fit(images, 3, out=tmp_path, resume=True, quiet=True)
    told = [line for line in capsys.readouterr().err.splitlines() if "prolong" in line or "the run began with" in line]
    assert told == [prolonged(model.run, 1)]
    assert "epochs = 3: the run began with 1;" in told[0]
    # The steps after it have the rates of the longer run.
    assert [row["lr"] for row in model.history[1:]] == pytest.approx(
        [np.mean([rates(model.run, 2 * epoch + i, 2)[0] for i in range(2)]) for epoch in (1, 2)]
    )
    recorded = {"after": "checkpoint-00001-0000000.safetensors", "epochs": 1, "to": 3}
    assert json.loads((tmp_path / "run.json").read_text()) == {"prolonged": [recorded]}
    assert Config.load(tmp_path / "config.json").schedule.epochs == 3
    # Once more, as it is.
    tiny().fit(images, 3, out=tmp_path, resume=True, quiet=True)
    assert capsys.readouterr().err == ""
    assert json.loads((tmp_path / "run.json").read_text()) == {"prolonged": [recorded]}
    with pytest.raises(
        ValueError, match=r"epochs must be 3 as in the run in .*, got 2; a run may be prolonged, but not shortened"
    ):
        tiny().fit(images, 2, out=tmp_path, resume=True, quiet=True)


def test_a_run_says_where_it_trains_and_how_long_it_takes(capsys):
    images = list(np.random.default_rng(0).integers(0, 256, (40, 20, 20, 3), np.uint8))
    model = sassl.SimCLR(threads=1, hidden_dim=8, warmup_epochs=0, **TINY)
    model.fit(images, 3)
    said = capsys.readouterr().err.splitlines()
    where = [line for line in said if line.startswith("engine: native on ")]
    assert len(where) == 1
    assert ", 1 threads, float32; memory, estimated: " in where[0]
    # After 25 of 30 steps.
    lines = [line for line in said if line.startswith("an epoch of 10 batches takes about 0:0")]
    assert len(lines) == 1
    assert "the rest of the 3 epochs about 0:0" in lines[0]
    first, third = (next(i for i, line in enumerate(said) if line.startswith(f"epoch {n}/3: ")) for n in (1, 3))
    assert first < said.index(lines[0]) < third


def test_a_duration_follows_from_the_speed():
    config = PRESETS["simclr"].changed(batch_size=100, epochs=20)
    told = duration(config, batches=360, images_per_second=10, done=360)
    assert told.startswith("an epoch of 360 batches takes about 1:00:00, the rest of the 20 epochs about 19:00:00, ")


def test_a_gpu_that_is_not_used_is_named(monkeypatch):
    monkeypatch.setattr(beginning, "glob", lambda pattern: [])
    assert unused_gpu("native") is None
    monkeypatch.setattr(beginning, "glob", lambda pattern: ["/dev/nvidia0"])
    assert "computes on the CPU only" in unused_gpu("native")
    assert unused_gpu("torch") is None


def test_the_pace_leaves_out_the_first_steps_and_counts_waiting_over_epochs(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    pace, waited, known = Pace(), 0.0, []
    for step in range(30):
        now[0] += 100 if step < 2 else 2
        # Epochs of 4 steps, which count from 0 again.
        waited = 0.5 if step % 4 == 0 else waited + 0.5
        known.append(pace.after_step(waited))
    # Three steps suffice after two minutes.
    assert [at for at, one in enumerate(known) if one] == [2]
    assert pace.found() == (2, 102.0, 1.0)
    now[0] = 0.0
    pace, waited = Pace(), 0.0
    for step in range(30):
        now[0] += 9 if step < 5 else 2
        waited = 0.5 if step % 4 == 0 else waited + 0.5
        if pace.after_step(waited):
            assert step == 24
    assert pace.found() == (20, 40.0, 10.0)

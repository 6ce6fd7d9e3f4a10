"""What is said of a run at its beginning, against what its steps do."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sassl
from sassl.pretraining import PRESETS, Config, Rates
from sassl.pretraining.beginning import chance, notes, prolonged, warmup_warning, words
from sassl.pretraining.loop import rates

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
    with pytest.raises(ValueError, match=r"epochs = 2: the run in .* has 3; a run may be prolonged, and not shortened"):
        tiny().fit(images, 2, out=tmp_path, resume=True, quiet=True)

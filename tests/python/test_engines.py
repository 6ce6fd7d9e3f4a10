"""Engines as parts: one in numpy runs, is stopped, goes on and is measured; the checkpoints that all of them write."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sassl
from sassl import evaluation
from sassl._sassl import (
    Trainer,
    checkpoint_metadata,
    describe_state,
    initial_state,
    key_order,
    load_checkpoint,
    save_checkpoint,
)
from sassl.data import Arrays
from sassl.data.ranks import Alone
from sassl.pretraining import PRESETS, Pretraining
from sassl.pretraining.engines import ENGINES, Engine, Native, Rates, Report


class Numpy(Engine):
    """One linear map of pixels, learnt so that views of an image lie near each other."""

    name, threads, features = "numpy", 1, 16

    def __init__(self, config, threads=None):
        n = 3 * config.data.input_size**2
        self.momentum = np.float32(config.optimizer.momentum)
        self.weight = np.random.default_rng(config.seed).normal(0, n**-0.5, (self.features, n)).astype(np.float32)
        self.velocity = np.zeros_like(self.weight)

    def check_batch(self, batch):
        if batch < 2:
            raise ValueError(f"batch_size must be an integer >= 2, got {batch}")

    def step(self, left, right, rates):
        apart = (left - right).reshape(len(left), -1)
        z = apart @ self.weight.T
        self.velocity = self.momentum * self.velocity + z.T @ apart / np.float32(len(apart))
        features = self.encode(left)
        self.weight = self.weight - np.float32(1e-3 * rates.lr) * self.velocity
        return Report(float((z**2).mean()), {"apart": float(np.abs(apart).mean())}, features)

    def encode(self, images):
        return images.reshape(len(images), -1) @ self.weight.T

    def backbone(self):
        return {"fc.weight": self.weight}

    def load_backbone(self, state):
        self.weight = state["fc.weight"]

    def state(self):
        return {"backbone.fc.weight": self.weight, "optimizer.backbone.fc.weight.momentum_buffer": self.velocity}

    def load_state(self, state):
        if state.keys() != self.state().keys():
            raise ValueError("state is of another engine")
        self.weight, self.velocity = state.values()


def labelled(n):
    rng = np.random.default_rng(n)
    colour = np.where((np.arange(n) % 2)[:, None], [200, 40, 40], [40, 40, 200])[:, None, None]
    images = np.clip(rng.integers(-30, 30, (n, 16, 16, 3)) + colour, 0, 255).astype(np.uint8)
    return Arrays(images, (np.arange(n) % 2).tolist())


def model(**options):
    views = {"cj_hue": 0.0, "random_gray_scale": 0.0}
    return sassl.SimCLR("resnet18", small_stem=True, input_size=16, views=views, engine=Numpy, **options)


def same(one, other):
    first, second = one.engine.state(), other.engine.state()
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_an_engine_in_numpy_runs_is_stopped_goes_on_and_is_measured(tmp_path):
    def stop(_, row):
        if row["epoch"] == 2:
            raise RuntimeError("as asked")

    options = {"epochs": 3, "batch_size": 8, "quiet": True}
    straight = model().fit(labelled(32), **options)
    with pytest.raises(RuntimeError, match="as asked"):
        model().fit(labelled(32), out=tmp_path, on_epoch=stop, **options)
    resumed = model().fit(labelled(32), out=tmp_path, resume=True, monitor=labelled(12), **options)
    assert same(straight, resumed)
    assert [row["loss"] for row in straight.history] == [row["loss"] for row in resumed.history]
    assert {"apart", "knn_top1", "linear_top1"} <= resumed.history[-1].keys()
    assert "encoder_momentum" not in resumed.history[-1]
    assert not np.array_equal(straight.engine.weight, model().engine.weight)
    train, test = (evaluation.extract(resumed, labelled(n)) for n in (40, 20))
    assert evaluation.knn(train, test, k=5)["top1"] > 90
    last = max(tmp_path.glob("checkpoint-*"))
    assert (checkpoint_metadata(last)["engine"], checkpoint_metadata(last)["world_size"]) == ("numpy", "1")
    assert same(Pretraining.load(last, engine=Numpy), resumed)
    # Of another engine's tensors the native one takes none.
    with pytest.raises(ValueError, match=r"checkpoint-.*the state lacks"):
        Pretraining.load(last)
    resumed.export_backbone(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="batch_size must be an integer >= 2, got 1"):
        model().fit(labelled(8), 1, batch_size=1)
    with pytest.raises(ValueError, match=r"engine must be .*'native'.*, got 'jax'"):
        sassl.SimCLR("resnet18", engine="jax")


def test_a_loss_that_is_not_finite_ends_the_run_of_any_engine():
    class Lost(Numpy):
        def step(self, left, right, rates):
            return super().step(left, right, rates)._replace(loss=float("nan"))

    views = {"cj_hue": 0.0}
    lost = sassl.SimCLR("resnet18", small_stem=True, input_size=16, views=views, engine=Lost)
    with pytest.raises(ValueError, match="epoch 1, batch 1: loss must be finite, got nan"):
        lost.fit(labelled(8), 1, batch_size=8, quiet=True)


def test_native_is_an_engine_like_others(tmp_path):
    config = PRESETS["moco-v2"].changed(arch="resnet18", small_stem=True, input_size=16, queue_size=16, splits=2, dim=8)
    engine = ENGINES["native"](config, 2)
    assert isinstance(engine, Native)
    assert isinstance(engine.ranks, Alone)
    assert (engine.ranks.rank, engine.ranks.world_size, engine.ranks.agree(True), engine.ranks.broadcast(3)) == (
        0,
        1,
        True,
        3,
    )
    with pytest.raises(OSError, match="mine"):
        engine.ranks.fail(OSError("mine"))
    assert engine.ranks.fail(None) is None
    begun = initial_state(config.core())
    state = engine.state()
    assert begun.keys() == state.keys()
    assert all(np.array_equal(begun[name], state[name]) for name in begun)
    assert {name: list(tensor.shape) for name, tensor in begun.items()} == describe_state(config.core())
    left, right = np.random.default_rng(0).random((2, 8, 16, 16, 3), np.float32)
    engine.step(left, right, Rates(0.1, 0.1, 0.99))
    engine.save(tmp_path / "a.safetensors", {"config": config.core()})
    # What any engine's `save` writes is the same file's content.
    Engine.save(engine, tmp_path / "b.safetensors", {"config": config.core()})
    one, other = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in "ab")
    assert one[1] == other[1]
    assert all(np.array_equal(one[0][name], other[0][name]) for name in one[0])
    again = Native(config, 1)
    assert Engine.load(again, tmp_path / "a.safetensors")["engine"] == "native"
    loaded = again.state()
    assert all(np.array_equal(loaded[name], one[0][name]) for name in one[0])


@pytest.mark.parametrize("optimizer", ["sgd", "lars", "adamw"])
def test_optimizers_entries_stand_in_the_order_of_their_parameters(optimizer):
    config = PRESETS["simclr"].changed(arch="resnet18", small_stem=True, input_size=16, hidden_dim=8, dim=8)
    config = config.changed(optimizer=optimizer, weight_decay=0.0, zero_init_residual=False)
    trainer = Trainer(config.core(), threads=2)
    left, right = np.random.default_rng(0).random((2, 8, 16, 16, 3), np.float32)
    before = trainer.state()
    trainer.step(left, right, 0.5, 0.0)
    after = trainer.state()
    slot = {"sgd": "momentum_buffer", "lars": "mu", "adamw": "exp_avg"}[optimizer]
    name = "backbone.layer1.0.conv1.weight"
    moved, kept = before[name] - after[name], after[f"optimizer.{name}.{slot}"]
    assert kept.shape == moved.shape == (64, 64, 3, 3)
    assert np.abs(kept).max() > 0
    if optimizer == "adamw":
        # The first step is as long for every value, and has the gradient's sign.
        clear = np.abs(kept) > 1e-4 * np.abs(kept).max()
        assert (np.sign(moved) == np.sign(kept))[clear].mean() > 0.999
    else:
        assert np.allclose(moved, 0.5 * kept, rtol=1e-3, atol=1e-6)
    other = Trainer(config.core(), threads=2)
    other.load_state(after)
    loaded = other.state()
    assert all(np.array_equal(tensor, loaded[key]) for key, tensor in after.items())


def test_checkpoints_of_other_versions_are_refused_by_name(tmp_path):
    path = tmp_path / "a.safetensors"
    state = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.float32(3)}
    save_checkpoint(path, state, {"mine": json.dumps([1])})
    read, metadata = load_checkpoint(path)
    assert metadata["mine"] == "[1]"
    assert metadata["format"] == "sassl checkpoint 3"
    assert all(np.array_equal(read[name], state[name]) and read[name].shape == np.shape(state[name]) for name in state)
    path.write_bytes(path.read_bytes().replace(b"sassl checkpoint 3", b"sassl checkpoint 2"))
    with pytest.raises(ValueError, match=r"a\.safetensors: a checkpoint of version 2, and this sassl reads version 3"):
        load_checkpoint(path)


def test_mocos_keys_are_put_in_an_order_that_others_can_make():
    orders = [key_order(3, step, view, 16) for step in range(2) for view in range(2)]
    assert all(sorted(order) == list(range(16)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert np.array_equal(key_order(3, 1, 0, 16), orders[2])

"""How the torch engine computes, and what others add: precision, memory format, working ahead; methods, backbones."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TIMES, need
from sassl.data import Arrays
from sassl.pretraining import METHODS, PRESETS, Pretraining, Rates, Torch
from sassl.pretraining.settings import BACKBONES

need("torch")

import torch  # noqa: E402
from sassl.pretraining.torch import backbones, methods  # noqa: E402
from torch import nn  # noqa: E402
from torch_ranks import Tiny, barlow_twins  # noqa: E402

torch.set_num_threads(1)
RATES = Rates(0.05, 0.1, 0.9)


@pytest.fixture(autouse=True)
def added(monkeypatch):
    """The backbone `tiny` and the method `barlow-twins`, for the time of a test."""
    told = {"features": 512, "stem_stride": 1, "least_side": 1, "settings": {}}
    monkeypatch.setitem(BACKBONES, "tiny", lambda settings: told)
    monkeypatch.setitem(backbones.BACKBONES, "tiny", lambda settings: Tiny())
    for table in (METHODS, PRESETS, methods.METHODS):
        monkeypatch.setitem(table, "barlow-twins", None)
    barlow_twins()


def config(method="moco-v2", **settings):
    own = {"arch": "tiny", "input_size": 8, "dim": 8, "hidden_dim": 12, "queue_size": 64, "epochs": 2}
    own |= {
        "optimizer": "sgd",
        "batch_size": 16,
        "weight_decay": 1e-3,
        **({"splits": 2} if method == "moco-v2" else {}),
    }
    base = PRESETS[method].changed(arch="tiny", optimizer="sgd")
    return base.changed(**{**{name: x for name, x in own.items() if name in base.flat()}, **settings})


def views(seed=0, n=16):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, 8, 8, 3))
    return [(base + 0.3 * rng.normal(size=base.shape)).astype(np.float32) for _ in range(2)]


def images(n=36):
    return Arrays(np.random.default_rng(0).integers(0, 256, (n, 12, 12, 3), np.uint8), [0, 1] * (n // 2))


def moved(engine, seeds):
    """What steps told, and how far all weights are from where they were."""
    before = engine.state()
    told = [engine.step(*views(seed), RATES) for seed in seeds]
    after = engine.state()
    return [float(one.loss) for one in told], {name: after[name] - before[name] for name in after}


def apart(one, other, part):
    names = [name for name in other if part in name]
    difference = sum(np.square(one[name] - other[name].astype(np.float64)).sum() for name in names)
    return (difference / sum(np.square(other[name].astype(np.float64)).sum() for name in names)) ** 0.5


@pytest.mark.parametrize("method", ["simclr", "byol", "moco-v2", "simsiam", "barlow-twins"])
def test_bfloat16_is_for_networks_alone(method):
    full, half = (Torch(precision=precision)(config(method), 1) for precision in ("float32", "bf16"))
    (loss, *_), gradient = moved(full, [0])
    (other, *_), own = moved(half, [0])
    assert other != loss
    assert other == pytest.approx(loss, rel=0.02, abs=0.01)
    assert 1e-5 < apart(own, gradient, "momentum_buffer") < 0.3
    assert {x.dtype for name, x in half.tensors().items() if "num_batches" not in name} == {torch.float32}


def test_channels_last_is_the_same_run():
    plain, last = (Torch(precision="float64", channels_last=flag)(config(), 1) for flag in (False, True))
    assert last.tensors()["backbone.conv2.weight"].is_contiguous(memory_format=torch.channels_last)
    (losses, gradient), (others, own) = moved(plain, range(3)), moved(last, range(3))
    assert others == pytest.approx(losses, rel=1e-12)
    assert max(np.abs(own[name] - x).max() for name, x in gradient.items()) < 1e-6
    assert all(x.flags.c_contiguous for x in last.state().values())


def test_graphs_are_those_of_compiled_networks(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda _, **how: asked.append(how))
    engine = Torch(device="cpu", compile=True, graphs=True)(config("simclr"), 1)
    assert [how["mode"] for how in asked] == ["reduce-overhead"] * 2
    # What a step gave is kept where the next one would write over it.
    told = [engine.step(*views(seed=step), RATES) for step in range(2)]
    assert not np.array_equal(*(np.asarray(one.features) for one in told))
    with pytest.raises(ValueError, match="graphs=True requires compile=True"):
        Torch(graphs=True)


def test_what_works_ahead_tells_the_same_one_step_late():
    def fitted(ahead):
        model = Pretraining.from_config(config(), engine=Torch(ahead=ahead), threads=1)
        model.fit(images(), quiet=True, monitor=images())
        rows = [{name: x for name, x in row.items() if name not in TIMES} for row in model.history]
        return rows, model.engine.state()

    (rows, state), (others, other) = fitted(False), fitted(True)
    assert rows == others
    assert all(np.array_equal(x, other[name]) for name, x in state.items())
    steps = []
    model = Pretraining.from_config(config(), engine=Torch(ahead=True), threads=1)
    model.fit(images(), quiet=True, on_step=lambda _, values: steps.append(values["loss"]))
    assert [np.mean(steps[:2]), np.mean(steps[2:])] == [row["loss"] for row in rows]


def test_what_works_ahead_ends_one_step_late_and_saves_nothing_of_it(tmp_path):
    # Beyond float32: the second step begins with weights that are none.
    wild = config().changed(lr=1e30, scaling="none", epochs=1)
    model = Pretraining.from_config(wild, engine=Torch(ahead=True), threads=1)
    with pytest.raises(
        ValueError, match=r"epoch 1, batch \d: loss must be finite, got nan; .*lower the learning rate"
    ) as raised:
        model.fit(images(64), out=tmp_path, quiet=True, checkpoint_every=1)
    assert list(tmp_path.glob("checkpoint-*")) or "last checkpoint is" not in str(raised.value)
    for call in (model.engine.state, lambda: model.engine.step(*views(), RATES)):
        with pytest.raises(ValueError, match=r"loss must be finite, got nan|engine is half changed"):
            call()
    begun = Torch()(config(), 1)
    model.engine.load_state(begun.state())
    assert float(model.engine.step(*views(), RATES).loss) == float(begun.step(*views(), RATES).loss)


def test_an_own_method_and_an_own_backbone_have_loop_checkpoints_and_monitor(tmp_path):
    kind = METHODS["barlow-twins"].kind
    own = {
        "arch": "tiny",
        "input_size": 8,
        "batch_size": 16,
        "dim": 16,
        "hidden_dim": 32,
        "optimizer": "sgd",
        "lr": 0.1,
    }

    def model(engine="torch"):
        return kind(engine=engine, threads=1, epochs=3, warmup_epochs=0, **own)

    def stop(_, row):
        if row["epoch"] == 2:
            raise RuntimeError("as asked")

    straight = model().fit(images(), quiet=True)
    with pytest.raises(RuntimeError, match="as asked"):
        model().fit(images(), quiet=True, out=tmp_path, on_epoch=stop)
    resumed = model().fit(images(), quiet=True, out=tmp_path, resume=True, monitor=images())
    state, other = straight.engine.state(), resumed.engine.state()
    assert all(np.array_equal(x, other[name]) for name, x in state.items())
    assert {"loss", "on_diagonal", "feature_std", "knn_top1"} <= resumed.history[-1].keys()
    losses, _ = moved(model().engine, [0] * 8)
    assert losses[-1] < 0.8 * losses[0]
    loaded = Pretraining.load(max(tmp_path.glob("checkpoint-*")), engine="torch")
    assert isinstance(loaded, kind)
    zeros = np.zeros((2, 12, 12, 3), np.uint8)
    assert np.array_equal(loaded.encode(zeros), resumed.encode(zeros))
    assert list(resumed.state_dict())[:2] == ["bn1.bias", "bn1.num_batches_tracked"]
    with pytest.raises(ValueError, match=r'backbone must be one of "resnet18", .*, got "tiny"'):
        model("native")


def test_what_this_engine_has_not_is_named(monkeypatch):
    monkeypatch.delitem(methods.METHODS, "barlow-twins")
    with pytest.raises(
        ValueError, match=r'method must be one of byol, moco-v2, simclr, simsiam for engine="torch", got .barlow-twins.'
    ):
        Torch()(config("barlow-twins"))
    monkeypatch.delitem(backbones.BACKBONES, "tiny")
    with pytest.raises(ValueError, match=r'arch must be one of resnet18.* for engine="torch", got .tiny.'):
        Torch()(config())


def test_a_norm_without_running_statistics_is_refused(monkeypatch):
    monkeypatch.setitem(
        backbones.BACKBONES, "tiny", lambda _: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False))
    )
    with pytest.raises(ValueError, match=r"BatchNorm2d.* must have running statistics and a momentum"):
        Torch()(config())

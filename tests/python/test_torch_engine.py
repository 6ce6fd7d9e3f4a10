"""The torch engine in one process against the native one: losses, gradients, optimizers, and checkpoints that both read."""

from __future__ import annotations

import numpy as np
import pytest
import sassl
from conftest import coloured, need
from sassl import cli
from sassl._sassl import checkpoint_metadata
from sassl.data import Arrays
from sassl.pretraining import PRESETS, Native, Pretraining, Rates, Torch
from sassl.pretraining.engines import ENGINES

need("torch")

import torch  # noqa: E402

torch.set_num_threads(1)

SETTINGS = {
    "arch": "resnet18",
    "optimizer": "sgd",
    "small_stem": True,
    "zero_init_residual": False,
    "input_size": 16,
    "dim": 16,
    "hidden_dim": 32,
    "layers": 2,
    "predictor_dim": 8,
    "queue_size": 40,
    "splits": 1,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "exclude_bias_and_norm": False,
}
METHODS = {
    "simclr": {"layers": 3},
    "simclr-split": {"splits": 4},
    "byol-split": {"splits": 4},
    "byol": {"last_bias": True, "loss_scale": 0.5},
    "moco-v2": {},
    "moco-v2-split": {"splits": 4, "mlp": False},
    "moco-v2-symmetric": {"splits": 2, "symmetric": True},
    "simsiam": {},
}
RATES = Rates(0.05, 0.2, 0.9)


def config(name="simclr", **settings):
    base = PRESETS[next(method for method in ("simclr", "byol", "moco-v2", "simsiam") if name.startswith(method))]
    given = {**SETTINGS, **METHODS[name], **settings}
    parts = {part: given.pop(part) for part in ("arch", "optimizer")}
    base = base.changed(**parts)
    return base.changed(**{key: value for key, value in given.items() if key in base.flat() or key in settings})


def views(n=16, size=16, seed=5):
    """Two views that have something in common, (2, N, size, size, 3)."""
    rng = np.random.default_rng(seed)
    rough = rng.random((n, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    return (rough + 0.2 * rng.random((2, n, size, size, 3))).astype(np.float32)


def smooth(state):
    """Every norm's output above 0, so that no ReLU's input falls on its other side by rounding."""
    shifted = {name: np.full_like(x, 6) for name, x in state.items() if name.endswith("bias") and ".bn" in name}
    return {**state, **{name: x for name, x in shifted.items() if "optimizer" not in name}}


def apart(one, other, part):
    """The length of the difference of all tensors with this in their names, to that of the second ones."""
    names = [name for name in other if part in name]
    assert names
    difference = sum(np.square(one[name] - other[name].astype(np.float64)).sum() for name in names)
    return (difference / sum(np.square(other[name].astype(np.float64)).sum() for name in names)) ** 0.5


def equal(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and one[name].shape == other[name].shape for name in one
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_the_native_engines(method):
    settings = config(method, weight_decay=0.0)
    native, engine = Native(settings, 2), ENGINES["torch"](settings, 1)
    begun = native.state()
    assert list(begun) == list(engine.state())
    assert equal(begun, engine.state())
    # Then one where optimizers and queues have a memory, and momentum encoders are behind.
    native.load_state(smooth(begun))
    native.step(*views(seed=1), RATES)
    behind = {
        name: x * np.float32(0.9 if name.startswith(("key_", "target_")) and x.ndim > 1 else 1)
        for name, x in native.state().items()
    }
    for state, bound in ((begun, 2e-2), (behind, 1e-3)):
        native.load_state(state)
        engine.load_state(state)
        expected, got = native.step(*views(), RATES), engine.step(*views(), RATES)
        assert got.loss == pytest.approx(expected.loss, rel=1e-5, abs=3e-6)
        assert list(got.watched) == list(expected.watched)
        assert all(got.watched[name] == pytest.approx(x, abs=1e-5) for name, x in expected.watched.items())
        assert np.abs(got.features - expected.features).max() <= 1e-4 * np.abs(expected.features).max()
        after, wanted = engine.state(), native.state()
        # Without decay. A ReLU whose input rounding takes to the other side of 0 makes the first one's 1e-3 to 8e-3, as it does
        # between torch's own float32 and float64.
        gradient, native_gradient = (
            {name: x - np.float32(0.9) * state[name] for name, x in one.items() if name.startswith("optimizer.")}
            for one in (after, wanted)
        )
        assert apart(gradient, native_gradient, "momentum_buffer") < bound
        for part in ("running", *(["method.queue"] if "moco" in method else [])):
            assert apart(after, wanted, part) < 1e-5, part
        for part in {name.split(".")[0] for name in state} - {"method", "optimizer"}:
            if state is not begun or not part.startswith(("key", "target")):
                moved, expected = (
                    {name: x[name] - state[name] for name in weights(part, state)} for x in (after, wanted)
                )
                assert apart(moved, expected, part) < bound, part
        counts = {name: x for name, x in after.items() if "num_batches" in name or "steps" in name or "pointer" in name}
        assert equal(counts, {name: wanted[name] for name in counts})


def weights(part, state):
    """The weights of a network."""
    return [name for name in state if name.startswith(f"{part}.") and not name.endswith(("mean", "var", "tracked"))]


@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer": "sgd", "nesterov": True},
        {"optimizer": "sgd", "momentum": 0.0, "exclude_bias_and_norm": True, "fix_predictor_lr": False},
        {"optimizer": "lars", "eta": 0.02},
        {"optimizer": "lars", "eta": 0.02, "exclude_bias_and_norm": True},
        {"optimizer": "adamw", "exclude_bias_and_norm": True},
    ],
    ids=str,
)
def test_optimizers_are_the_native_engines(optimizer):
    given = {**optimizer, "weight_decay": 0.1}
    if optimizer["optimizer"] == "adamw":
        given["momentum"] = None
    base = config("simsiam").changed(optimizer=optimizer["optimizer"])
    settings = base.changed(**{name: x for name, x in given.items() if x is not None})
    native, engine = Native(settings, 2), ENGINES["torch"](settings, 1)
    native.load_state(smooth(native.state()))
    # Its second step has a memory, which the other engine takes over.
    native.step(*views(seed=1), RATES)
    state = native.state()
    engine.load_state(state)
    assert equal(engine.state(), state)
    native.step(*views(), RATES)
    engine.step(*views(), RATES)
    after, wanted = engine.state(), native.state()
    for part in ("backbone", "projector", "predictor"):
        moved, expected = ({name: x[name] - state[name] for name in weights(part, state)} for x in (after, wanted))
        # A step of AdamW is as long where the gradient is nothing but rounding.
        assert apart(moved, expected, part) < (1e-2 if optimizer["optimizer"] == "adamw" else 2e-3), part
    if any("optimizer" in name for name in after):
        assert apart(after, wanted, "optimizer") < 1e-3
    assert [x.shape for x in after.values()] == [x.shape for x in wanted.values()]


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50", "resnet101", "vgg11_bn"])
def test_backbones_are_the_native_engines(arch):
    rng = np.random.default_rng(0)
    own = [{"small_stem": True}, {"small_stem": False}, {"width": 0.25}] if arch == "resnet18" else [{}]
    for given in own:
        settings = PRESETS["simclr"].changed(arch=arch, dim=8, hidden_dim=8, **given)
        native, engine = Native(settings, 2), ENGINES["torch"](settings, 1)
        state = {
            name: x if "running" not in name else rng.uniform(0.5, 2, x.shape).astype(np.float32)
            for name, x in native.backbone().items()
        }
        for one in (native, engine):
            one.load_backbone({**state, "fc.weight": np.zeros((3, 8), np.float32)})
        assert list(engine.backbone()) == list(native.backbone())
        assert equal(engine.backbone(), native.backbone())
        images = views(3, 48)[0]
        expected, got = native.encode(images), engine.encode(images.transpose(0, 3, 1, 2))
        assert got.shape == (3, engine.features) == expected.shape
        assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
        counts = {name: x for name, x in state.items() if "num_batches" not in name}
        engine.load_backbone(counts)
        with pytest.raises(ValueError, match=r"conv1.weight|features.0.weight"):
            engine.load_backbone(
                {name: x for name, x in state.items() if name not in ("conv1.weight", "features.0.weight")}
            )
        with pytest.raises(ValueError, match=r'the state has "other", unlike this backbone'):
            engine.load_backbone({**state, "other": np.zeros(1, np.float32)})


@pytest.mark.parametrize("method", ["moco-v2-symmetric", "byol", "simclr"])
def test_a_checkpoint_goes_from_engine_to_engine(method, tmp_path):
    settings = config(method, optimizer="adamw" if method == "byol" else "lars" if method == "simclr" else "sgd")
    native, engine = Native(settings, 2), ENGINES["torch"](settings, 1)
    for step in range(2):
        native.step(*views(seed=step), RATES)
    native.save(tmp_path / "a.safetensors", {"config": settings.core()})
    assert engine.load(tmp_path / "a.safetensors")["engine"] == "native"
    assert equal(engine.state(), native.state())
    expected, got = native.step(*views(seed=2), RATES), engine.step(*views(seed=2), RATES)
    assert got.loss == pytest.approx(expected.loss, rel=1e-5)
    engine.save(tmp_path / "b.safetensors", {"config": settings.core()})
    again = Native(settings, 2)
    told = again.load(tmp_path / "b.safetensors")
    assert (told["engine"], told["world_size"], told["precision"]) == ("torch", "1", "float32")
    assert equal(again.state(), engine.state())
    # Of weights that have drifted apart by rounding alone.
    expected, got = native.step(*views(seed=3), RATES), again.step(*views(seed=3), RATES)
    assert got.loss == pytest.approx(expected.loss, rel=2e-2)


def test_runs_are_stopped_and_go_on_in_either_engine(tmp_path):
    rng = np.random.default_rng(0)
    images = Arrays(rng.integers(0, 256, (16, 20, 20, 3), np.uint8), [0, 1] * 8)
    options = {"epochs": 2, "batch_size": 8, "quiet": True}

    def stop(_, row):
        raise RuntimeError("as asked")

    def model(engine):
        return Pretraining.from_config(config("moco-v2-split"), engine=engine, threads=1)

    straight = model("torch").fit(images, **options)
    losses = [row["loss"] for row in straight.history]
    for first in ("torch", "native"):
        with pytest.raises(RuntimeError, match="as asked"):
            model(first).fit(images, out=tmp_path / first, on_epoch=stop, **options)
        resumed = model("torch").fit(images, out=tmp_path / first, resume=True, monitor=images, **options)
        if first == "torch":
            assert equal(resumed.engine.state(), straight.engine.state())
            assert [row["loss"] for row in resumed.history] == losses
        assert [row["loss"] for row in resumed.history] == pytest.approx(losses, rel=0.05)
        assert "knn_top1" in resumed.history[-1]
        last = max((tmp_path / first).glob("checkpoint-*"))
        assert checkpoint_metadata(last)["engine"] == "torch"
        loaded, zeros = Pretraining.load(last), np.zeros((2, 20, 20, 3), np.uint8)
        assert np.allclose(loaded.encode(zeros), resumed.encode(zeros), atol=1e-4)


def test_the_command_takes_an_engine(tmp_path, capsys):
    data = coloured(tmp_path, {"train": 4}) / "train"
    out = tmp_path / "run"
    words = ["pretrain", "--data", str(data), "--out", str(out), "--engine", "torch", "--threads", "1"]
    sizes = ["--arch", "resnet18", "--epochs", "1", "--batch-size", "4", "--input-size", "16", "--style", "off"]
    assert cli.main([*words, "simclr", *sizes, "--set", "small_stem=true"]) == 0
    last = max(out.glob("checkpoint-*"))
    assert checkpoint_metadata(last)["engine"] == "torch"
    # The other engine goes on with it, and says so.
    words[words.index("torch")] = "native"
    assert cli.main([*words, "--resume", "--epochs", "1"]) == 0
    assert 'the checkpoint is from engine="torch"; the run resumes with "native"' in capsys.readouterr().err


def test_auto_is_the_native_engine_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(ENGINES["auto"](config(), 1), Native)
    assert sassl.SimCLR("resnet18", small_stem=True, input_size=16, engine="torch").engine.name == "torch"


def test_what_cannot_be_is_an_error_and_changes_nothing():
    engine = ENGINES["torch"](config("moco-v2-split"), 1)
    state = engine.state()
    left, right = views()
    for images, told in (
        ((left, right[:8]), r"right views must have shape \(16, 16, 16, 3\), as the left ones"),
        ((left[..., :2], right[..., :2]), r"left views must have shape \(N, H, W, 3\) or \(N, 3, H, W\)"),
        ((left, np.where(right > 1, np.nan, right)), "right views must have finite values"),
        ((left[:6], right[:6]), "splits must divide the batch of 6 into equal parts of at least 2 images, got 4"),
        ((left[:4], right[:4]), "splits must divide the batch of 4 into equal parts of at least 2 images, got 4"),
    ):
        with pytest.raises(ValueError, match=told):
            engine.step(*images, RATES)
    assert equal(engine.state(), state)
    for changed, told in (
        ({"method.queue": np.zeros((3, 3), np.float32)}, r"method.queue must have shape \(40, 16\), got \(3, 3\)"),
        (
            {"method.queue_pointer": np.array([40], np.float32)},
            r"queue_pointer must be an integer in \[0, 39\], got 40.0",
        ),
        (
            {"backbone.bn1.running_var": -state["backbone.bn1.running_var"]},
            "running_var must be >= 0, as a variance, got -1.0",
        ),
        ({"backbone.bn1.weight": np.full(64, np.inf, np.float32)}, r"bn1.weight must be finite, got inf"),
        ({"backbone.bn1.num_batches_tracked": np.float32(0.5)}, "num_batches_tracked must be an integer .*, got 0.5"),
        ({"more": np.zeros(1, np.float32)}, 'the state has "more", unlike this run'),
    ):
        with pytest.raises(ValueError, match=told):
            engine.load_state({**state, **changed})
    with pytest.raises(ValueError, match=r'the state lacks "backbone.bn1.bias"'):
        engine.load_state({name: x for name, x in state.items() if name != "backbone.bn1.bias"})
    assert equal(engine.state(), state)
    # A loss that is not finite: no weight has changed.
    state["projector.0.weight"] = np.full_like(state["projector.0.weight"], 3e38)
    engine.load_state(state)
    with pytest.raises(ValueError, match=r"loss must be finite, got .*lower the learning rate"):
        engine.step(left, right, RATES)
    after = engine.state()
    assert all(
        np.array_equal(after[name], x) for name, x in state.items() if name.startswith(("backbone.conv", "projector"))
    )
    with pytest.raises(ValueError, match=r"precision must be one of .bf16., .*, got .half."):
        Torch(precision="half")


def test_a_step_that_was_ended_in_its_middle_leaves_nothing_that_is_saved(monkeypatch):
    engine = ENGINES["torch"](config("byol"), 1)
    state = engine.state()

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine._method, "after_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.step(*views(), RATES)
    for call in (engine.state, lambda: engine.step(*views(), RATES), lambda: engine.encode(views()[0])):
        with pytest.raises(ValueError, match=r"the engine is half changed: .* load the last checkpoint"):
            call()
    engine.load_state(state)
    assert equal(engine.state(), state)

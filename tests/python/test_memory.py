"""Memory: pieces of a step that are the whole step, and estimates against what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import sassl
from conftest import need
from sassl._sassl import describe_state
from sassl.data import Arrays
from sassl.pretraining import PRESETS, Config, Native, Pretraining, Rates, memory
from sassl.pretraining.memory import BAND, estimate, largest_batch

RATES = Rates(0.05, 0.05, 0.9)
SMALL = {"small_stem": True, "input_size": 16, "dim": 16, "hidden_dim": 32, "predictor_dim": 8, "queue_size": 64}


def config(name, **settings):
    base = PRESETS[name].changed(arch=settings.pop("arch", "resnet18"), optimizer=settings.pop("optimizer", "sgd"))
    return base.changed(**{key: x for key, x in {**SMALL, **settings}.items() if key in base.flat()})


def views(n=16, size=16):
    rng = np.random.default_rng(3)
    rough = rng.random((n, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    return (rough + 0.2 * rng.random((2, n, size, size, 3))).astype(np.float32)


def smooth(state):
    """Every norm's output above 0, so that no ReLU's input falls on its other side by rounding."""
    shifted = {name: np.full_like(x, 6) for name, x in state.items() if name.endswith("bias") and ".bn" in name}
    return {**state, **{name: x for name, x in shifted.items() if "optimizer" not in name}}


def apart(one, other, part):
    names = [name for name in other if part in name]
    difference = sum(np.square(one[name] - other[name].astype(np.float64)).sum() for name in names)
    return (difference / sum(np.square(other[name].astype(np.float64)).sum() for name in names)) ** 0.5


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("moco-v2", {}),
        ("moco-v2", {"symmetric": True}),
        ("byol", {"optimizer": "lars"}),
        ("simsiam", {}),
        ("simclr", {}),
    ],
)
def test_a_native_step_in_pieces_is_the_whole_step(name, own):
    settings = config(name, splits=4, **own)
    whole, pieces = Native(settings, 2), Native(settings, 2, accumulate=2)
    state = smooth(whole.state())
    for one in (whole, pieces):
        one.load_state(state)
    expected, got = whole.step(*views(), RATES), pieces.step(*views(), RATES)
    assert got.loss == pytest.approx(expected.loss, rel=1e-6, abs=1e-6)
    assert got.watched == pytest.approx(expected.watched, abs=1e-6)
    wanted, after = whole.state(), pieces.state()
    if name != "simclr":
        # Parts of the batch are computed as they were: what follows from them alone is the same to the bit.
        assert np.array_equal(got.features, expected.features)
        same = [part for part in wanted if "running" in part or "num_batches" in part or part.startswith("method.")]
        assert all(np.array_equal(after[part], wanted[part]) for part in same)
    assert all(np.array_equal(after[part], wanted[part]) for part in wanted if "num_batches" in part)
    assert apart(after, wanted, "running") < 1e-6
    moved, expected_move = ({part: x - state[part] for part, x in one.items()} for one in (after, wanted))
    for network in ("backbone.", "projector.", "predictor."):
        if any(part.startswith(network) for part in moved):
            names = [part for part in moved if part.startswith(network)]
            assert (
                apart({part: moved[part] for part in names}, {part: expected_move[part] for part in names}, "") < 1e-3
            )


def test_pieces_that_would_be_another_run_are_refused():
    for name, splits, pieces, told in (
        (
            "simclr",
            1,
            4,
            r"accumulate must be 1 for norms over the whole batch \(splits=1\).*, got 4; .* give splits=4 too",
        ),
        (
            "moco-v2",
            8,
            3,
            r"accumulate must divide splits \(8\), as a piece consists of whole parts for the norms, got 3",
        ),
        ("byol", 1, 0, "accumulate must be an integer >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=told):
            Native(config(name, splits=splits), 1, accumulate=pieces)
    engine = Native(config("simclr", splits=4), 1)
    for n in (6, 4):
        with pytest.raises(
            ValueError, match=rf"splits must divide the batch of {n} into equal parts of at least 2 images, got 4"
        ):
            engine.step(*views(n), RATES)


def test_settings_of_older_runs_have_one_part():
    for name in ("simclr", "byol", "simsiam"):
        nested = config(name).nested()
        assert nested["method"].pop("splits") == 1
        assert Config.of(nested) == config(name)


#: A step in a process of its own: what its memory grew by at most, beside the interpreter's.
MEASURED = """
import json, re, sys
from pathlib import Path
import numpy as np
from sassl.pretraining import Config, Native, Rates
config, rows, pieces = Config.of(json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
side = config.data.input_size
views = np.random.default_rng(0).random((2, rows, side, side, 3), np.float32)
Native(config, 2, accumulate=pieces).step(*views, Rates(0.05, 0.05, 0.9))
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="DID NOT RUN: peaks of memory are read as Linux tells them")
@pytest.mark.parametrize(
    ("name", "rows", "pieces", "own"),
    [
        ("simclr", 16, 1, {}),
        ("byol", 32, 1, {"arch": "resnet50", "small_stem": False}),
        ("moco-v2", 32, 1, {"splits": 4}),
        ("moco-v2", 32, 4, {"splits": 4}),
        ("moco-v2", 64, 1, {"arch": "vgg11_bn", "splits": 1, "queue_size": 65_536}),
    ],
)
def test_the_native_estimate_is_near_what_was_measured(name, rows, pieces, own):
    settings = config(name, input_size=64, batch_size=rows, **own)
    words = [json.dumps(settings.nested()), str(rows), str(pieces)]
    # Memory goes back to the system as soon as it is free, as that of larger maps does by itself.
    environ = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    made = subprocess.run([sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, env=environ)
    assert made.returncode == 0, made.stderr
    wanted, peak = estimate(settings, accumulate=pieces), int(made.stdout)
    # No loader makes batches ahead here.
    waiting = 2 * (memory._BATCHES - 1) * rows * 64 * 64 * 3 * 4
    assert peak == pytest.approx(wanted.total - waiting, rel=BAND), (peak, wanted)


@pytest.mark.parametrize(
    "backbone", [{"arch": "resnet18"}, {"arch": "resnet50"}, {"arch": "resnet50", "width": 0.5}, {"arch": "vgg11_bn"}]
)
def test_the_native_estimates_state_is_the_runs(backbone):
    for name, own in (("simclr", {"optimizer": "lars"}), ("moco-v2", {}), ("byol", {"optimizer": "adamw"})):
        settings = config(name, input_size=32, **backbone, **own)
        wanted = estimate(settings)
        shapes = describe_state(settings.core())
        values = {part: 4 * sum(int(np.prod(shapes[n])) for n in shapes if n.startswith(part)) for part in shapes}

        def of(*networks, shapes=shapes):
            return 4 * sum(int(np.prod(shape)) for n, shape in shapes.items() if n.split(".")[0] in networks)

        assert wanted.weights == pytest.approx(of("backbone", "projector", "predictor"), rel=0.01)
        assert wanted.optimizer == pytest.approx(of("optimizer"), rel=0.01)
        following = of("key_backbone", "key_projector", "target_backbone", "target_projector", "method")
        assert wanted.momentum == pytest.approx(following, rel=0.01)
        assert values


def test_presets_on_a_laptop():
    moco, pieces = (estimate(PRESETS["moco-v2"], accumulate=n).total for n in (1, 8))
    assert pieces < 6e9 < 16e9 < moco
    for name in ("byol", "simclr"):
        assert estimate(PRESETS[name]).total > 40e9
        split = PRESETS[name].changed(splits=16)
        assert estimate(split, accumulate=16).total < 8e9


def test_the_largest_batch_fits_and_the_next_one_does_not():
    for name, unit in (("moco-v2", 8), ("byol", 1)):
        settings = PRESETS[name]
        found = largest_batch(settings, 16 * 10**9)
        assert found % unit == 0
        assert estimate(settings.changed(batch_size=found)).total <= 16e9
        assert estimate(settings.changed(batch_size=int(found * 1.05) // unit * unit + unit)).total > 16e9
    assert largest_batch(PRESETS["simclr"], 10**8) == 0
    with pytest.raises(ValueError, match=r'engine must be "native" or "torch", got .other.'):
        estimate(PRESETS["simclr"], engine="other")
    for engine in ("native", "torch"):
        with pytest.raises(ValueError, match="accumulate must be an integer >= 1, got 0"):
            estimate(PRESETS["simclr"], engine=engine, accumulate=0)
    told = str(estimate(PRESETS["simclr"]))
    assert told.startswith("44.")
    assert "activations 4" in told


def test_a_run_that_does_not_fit_ends_before_its_first_step(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    images = Arrays(rng.integers(0, 256, (64, 36, 36, 3), np.uint8), [0, 1] * 32)
    steps = []

    def fit(name, free, total, engine="native", **own):
        monkeypatch.setattr(memory, "machine", lambda: (free, total))
        settings = config(name, **{"input_size": 32, "batch_size": 32, "epochs": 1, "lr": 1e-4, **own})
        model = Pretraining.from_config(settings, engine=engine, threads=2)
        model.fit(images, on_step=lambda *_: steps.append(1))
        return capsys.readouterr().err

    room = 300 * 10**6
    split = r"give accumulate=\d with splits=\d, a setting of the run \(norms over parts of the batch\), or batch_size="
    for name in ("simclr", "byol"):
        with pytest.raises(ValueError, match=rf"batch_size=32 requires about 0.\d GB: .*; there are 0.3 GB; {split}"):
            fit(name, room, room)
    with pytest.raises(ValueError, match="; give accumulate=4, or batch_size="):
        fit("moco-v2", room, 350 * 10**6, splits=4, symmetric=True)
    with pytest.raises(ValueError, match="give a smaller backbone or smaller views: no batch fits"):
        fit("moco-v2", 10**8, 10**8, splits=4)
    assert not steps
    small = {"input_size": 16, "batch_size": 32}
    assert "free are 20.0 MB; if it fails: give a smaller backbone" in fit("simclr", 2 * 10**7, 10**10, **small)
    assert "requires about" not in fit("simclr", 10**10, 10**10, **small)
    assert len(steps) == 4
    fit("simclr", 10**10, 10**10, engine=partial(Native, accumulate=2), splits=2, **small)
    assert len(steps) == 6


torch_only = pytest.mark.usefixtures("torch_is_there")


@pytest.fixture
def torch_is_there():
    need("torch")


@torch_only
@pytest.mark.parametrize(
    ("name", "how", "own"),
    [
        ("simclr", {}, {}),
        ("simclr", {"precision": "bf16"}, {"arch": "resnet50", "small_stem": False}),
        ("simclr", {"precision": "float64"}, {"splits": 2}),
        ("byol", {}, {"arch": "vgg11_bn"}),
        ("moco-v2", {}, {"splits": 4, "queue_size": 4096}),
        ("moco-v2", {"accumulate": 4}, {"splits": 4}),
        ("simclr", {"accumulate": 4}, {"splits": 4}),
        ("simclr", {"checkpointing": True}, {"arch": "resnet50"}),
    ],
)
def test_the_torch_estimate_is_near_what_gradients_keep(name, how, own):
    import torch

    settings = config(name, input_size=32, batch_size=16, **own)
    engine = sassl.pretraining.Torch(**{"precision": "float32", **how})(settings, 1)
    kept, held, most = {}, [], 0

    def keep(tensor):
        nonlocal most
        storage = tensor.untyped_storage()
        if tensor.grad_fn is not None or not isinstance(tensor, torch.nn.Parameter):
            kept.setdefault(storage._cdata, storage.nbytes())
            held.append(storage)
        most = max(most, sum(kept.values()))
        return tensor

    def backward(*args, _made=engine._backward):
        _made(*args)
        kept.clear()
        held.clear()

    engine._backward = backward
    weights = {p.untyped_storage()._cdata for p in engine._method.parameters()}
    kept.update(dict.fromkeys(weights, 0))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        engine.step(*views(16, 32), RATES)
    wanted = estimate(settings, engine="torch", **how)
    # What is made on the way comes to what is kept: of blocks that are made again that is a block; and gradients of weights.
    above = (2.5 if "checkpointing" in how else 1.35) * most + 2 * 4 * max(
        p.numel() for p in engine._method.parameters()
    )
    assert 0.95 * most <= wanted.activations <= above, (most, wanted)


@torch_only
def test_blocks_of_real_backbones_are_made_again():
    from sassl.pretraining import Torch

    for arch, name in (("resnet18", "byol"), ("resnet50", "moco-v2")):
        settings = config(name, arch=arch, splits=2)
        plain, remade = (Torch(precision="float64", checkpointing=flag)(settings, 1) for flag in (False, True))
        for _ in range(2):
            expected, got = (one.step(*views(8), RATES) for one in (plain, remade))
            assert got.loss == pytest.approx(expected.loss, rel=1e-12)
        wanted, after = plain.tensors(), remade.tensors()
        assert wanted.keys() == after.keys()
        assert max((x - after[part]).abs().max().item() for part, x in wanted.items()) < 1e-9
        less = [estimate(settings, engine="torch", checkpointing=flag).activations for flag in (True, False)]
        assert less[0] < 0.7 * less[1]
    with pytest.raises(
        ValueError, match="checkpointing=True requires blocks that can be recomputed, which vgg11_bn does not have"
    ):
        Torch(checkpointing=True)(config("simclr", arch="vgg11_bn", input_size=32), 1)


@torch_only
def test_the_second_pass_draws_what_the_first_one_drew(monkeypatch):
    import torch
    from sassl.pretraining import Torch
    from sassl.pretraining.torch.methods.simclr import SimCLR

    plain, made = SimCLR.represent, []

    def represent(self, left, right):
        features, z, other = plain(self, left, right)
        z = torch.nn.functional.dropout(z, 0.5)
        made.append(z.detach().clone())
        return features, z, other

    monkeypatch.setattr(SimCLR, "represent", represent)
    Torch(accumulate=2)(config("simclr", splits=4), 1).step(*views(), RATES)
    assert len(made) == 4
    assert torch.equal(made[0], made[2])
    assert torch.equal(made[1], made[3])
    assert not torch.equal(made[0] == 0, made[1] == 0)


@torch_only
def test_what_torch_cannot_take_in_pieces_is_refused(monkeypatch):
    from sassl.pretraining import Torch
    from sassl.pretraining.torch.methods.byol import BYOL

    for name, splits, pieces, told in (
        (
            "byol",
            1,
            4,
            r"accumulate must be 1 for norms over the whole batch.*, got 4; .*splits=4 too, .*, or checkpointing, or a smaller",
        ),
        ("simclr", 8, 3, "accumulate must divide 8, as a piece consists of whole parts for norms .*splits=8.*, got 3"),
    ):
        with pytest.raises(ValueError, match=told):
            Torch(accumulate=pieces)(config(name, splits=splits), 1)
    with pytest.raises(ValueError, match="accumulate must be an integer >= 1, got 0"):
        Torch(accumulate=0)
    monkeypatch.setattr(BYOL, "by_rows", False)
    with pytest.raises(
        ValueError, match=r"accumulate must be 1 for byol, whose loss is of all rows at once, got 2; .* by_rows=True"
    ):
        Torch(accumulate=2)(config("byol", splits=4), 1)

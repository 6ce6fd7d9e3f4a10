"""The torch engine on a GPU: `pytest -m cuda`. What runs elsewhere stands in `test_torch_engine.py` and its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import need

need("torch")

import torch  # noqa: E402
from sassl.pretraining import Torch  # noqa: E402
from test_torch_engine import METHODS, RATES, apart, config, views  # noqa: E402

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="DID NOT RUN: torch finds no CUDA device"),
]


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_the_cpus(method):
    settings = config(method, weight_decay=0.0)
    cpu, gpu = Torch(device="cpu")(settings, 4), Torch(precision="float32")(settings, 4)
    for step in range(2):
        gpu.load_state(cpu.state())
        expected, got = cpu.step(*views(seed=step), RATES), gpu.step(*views(seed=step), RATES)
        assert float(got.loss) == pytest.approx(float(expected.loss), rel=1e-3, abs=1e-4)
        assert apart(gpu.state(), cpu.state(), "momentum_buffer") < 5e-2
        assert np.abs(np.asarray(got.features) - expected.features).max() <= 1e-2 * np.abs(expected.features).max()


@pytest.mark.parametrize("method", ["simclr", "moco-v2-split", "byol"])
def test_a_curve_in_bfloat16_is_that_in_float32(method):
    def curve(precision):
        engine = Torch(precision=precision)(config(method), 4)
        return [engine.step(*views(64, 32, seed=step % 5), RATES).loss for step in range(50)]

    losses = [np.array([float(loss) for loss in curve(precision)]) for precision in ("float32", "bf16")]
    assert np.abs(losses[1][-10:].mean() / losses[0][-10:].mean() - 1) < 0.01


@pytest.mark.parametrize("method", ["simclr", "moco-v2-symmetric", "byol", "simsiam"])
def test_no_step_waits_for_the_gpu(method):
    engine = Torch()(config(method), 4)
    told = [engine.step(*views(seed=step), RATES) for step in range(2)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        told += [engine.step(*views(seed=step), RATES) for step in range(2, 5)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite([float(one.loss) for one in told]).all()


def test_a_transformer_of_timm_draws_again_what_it_drew():
    need("timm")
    own = {"img_size": 16, "patch_size": 4, "embed_dim": 48, "depth": 2, "num_heads": 2, "drop_rate": 0.2}
    settings = config("byol", optimizer="adamw").changed(arch="timm:vit_tiny_patch16_224", arch_settings=own)
    engine = Torch()(settings, 4)
    begun, generator = engine.state(), torch.cuda.get_rng_state()
    told = [float(engine.step(*views(), RATES._replace(lr=0.0)).loss) for _ in range(2)]
    assert torch.equal(torch.cuda.get_rng_state(), generator)
    engine.load_state(begun)
    again = float(engine.step(*views(), RATES._replace(lr=0.0)).loss)
    assert again == pytest.approx(told[0], rel=1e-4)
    assert again != pytest.approx(told[1], rel=1e-3)


@pytest.mark.parametrize("method", ["simclr", "moco-v2-split"])
def test_compiled_networks_are_the_same(method):
    eager, compiled = (Torch(precision="float32", compile=flag)(config(method), 4) for flag in (False, True))
    told = [engine.step(*views(), RATES) for engine in (eager, compiled)]
    assert float(told[1].loss) == pytest.approx(float(told[0].loss), rel=1e-3)
    assert apart(compiled.state(), eager.state(), "momentum_buffer") < 5e-2

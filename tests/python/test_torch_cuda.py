"""The torch engine on a GPU: `pytest -m cuda`. What runs elsewhere stands in `test_torch_engine.py` and its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import GOLDEN, need

need("torch")

import sassl  # noqa: E402
import torch  # noqa: E402
from sassl import cuda  # noqa: E402
from sassl.data import Arrays, TwoViewLoader  # noqa: E402
from sassl.pretraining import Torch  # noqa: E402
from sassl.transforms import SASSL, MoCoV2Transform  # noqa: E402
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


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("method", ["simclr", "moco-v2-split", "byol"])
def test_compiled_networks_are_the_same(method, graphs):
    eager = Torch(precision="float32")(config(method), 4)
    compiled = Torch(precision="float32", compile=True, graphs=graphs)(config(method), 4)
    # The third step replays what the first two have recorded.
    told = [[engine.step(*views(seed=step), RATES) for step in range(3)] for engine in (eager, compiled)]
    for one, other in zip(*told, strict=True):
        assert float(other.loss) == pytest.approx(float(one.loss), rel=1e-3)
    assert apart(compiled.state(), eager.state(), "momentum_buffer") < 5e-2


def halves(output, style=None, **options):
    """A loader of half made views, page-locked, and the same loader of whole ones."""
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (64, 12, 15, 3)).repeat(20, 1).repeat(20, 2)
    images = Arrays((rough * 0.7 + rng.integers(0, 70, rough.shape)).astype(np.uint8))
    transform = MoCoV2Transform(96, rr_prob=0.2, style=style, **options)
    given = {"batch_size": 16, "seed": 3}
    begun = TwoViewLoader(images, transform, output=output, pin_memory=True, **given)
    return begun, TwoViewLoader(images, transform, output="torch", **given)


@pytest.mark.parametrize("output", ["crops", "images"])
@pytest.mark.parametrize(
    "options", [{}, {"dtype": "float16", "channels_last": True}, {"normalize": None, "dtype": "uint8"}]
)
def test_half_made_views_are_the_cpus_to_the_bit(output, options):
    for (half, targets, names), (whole, same, same_names) in zip(*halves(output, **options), strict=True):
        made = half.finish("cuda")
        assert names == same_names
        assert torch.equal(targets, same)
        assert all(torch.equal(one.cpu(), other) for one, other in zip(made, whole, strict=True))


@pytest.mark.parametrize("output", ["crops", "images"])
def test_half_made_views_in_style_are_the_cpus(output):
    style = SASSL(p=0.8, model=str(GOLDEN / "small_dense.safetensors"), styles="batch", precision="exact")
    for (half, _, _), (whole, _, _) in zip(*halves(output, style, cj_prob=0.0, normalize=None), strict=True):
        for one, other in zip(half.finish("cuda"), whole, strict=True):
            assert (one.cpu() - other).abs().max() * 255 <= 2.01


@pytest.mark.parametrize("output", ["crops", "images"])
def test_page_locked_memory_is_not_written_while_it_is_copied(output):
    """The copies wait behind a GPU that is kept busy, while the loader goes on into memory that was let go."""
    begun, whole = halves(output)
    expected = [given for _ in range(3) for given, _, _ in whole]
    made, busy, copies = [], torch.rand(4096, 4096, device="cuda"), torch.cuda.Stream()
    cuda._copies[torch.device("cuda", 0)] = copies
    for _ in range(3):
        for half, _, _ in begun:
            with torch.cuda.stream(copies):
                for _ in range(10):
                    busy = busy @ busy / 4096
            made.append(half.finish("cuda"))
            del half
    for ours, others in zip(made, expected, strict=True):
        assert all(torch.equal(one.cpu(), other) for one, other in zip(ours, others, strict=True))


@pytest.mark.parametrize("where", ["split", "gpu"])
def test_a_run_on_half_made_views_is_that_on_whole_ones(where):
    losses = []
    for one in ("cpu", where):
        _, loader = halves("crops")
        model = sassl.SimCLR(
            "resnet18", engine=Torch(precision="float32", views=one), input_size=32, small_stem=True, threads=4
        )
        model.fit(loader.source, epochs=2, batch_size=16, quiet=True)
        losses.append([row["loss"] for row in model.history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize("output", ["crops", "images"])
def test_no_half_made_view_waits_for_the_gpu(output):
    begun, _ = halves(output, SASSL(p=0.8))
    batches = [half for half, _, _ in begun]
    batches[0].finish("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = [half.finish("cuda") for half in batches[1:]]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.isfinite(view).all() for ours in made for view in ours)

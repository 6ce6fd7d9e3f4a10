"""The compiled core: F, T and Algorithm 1 against PyTorch's numbers, the numpy oracle, and LiteRT."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import GOLDEN, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from sassl import StyleParams, Stylizer
from sassl._sassl import Bank, Block, convert, info
from sassl.reference import Reference

NETWORKS = ["dense", "separable", "skip", "shuffle"]


def golden(name):
    numbers = np.load(GOLDEN / f"small_{name}.npz")
    sizes = sorted({key.split()[0] for key in numbers})
    return [tuple(numbers[f"{size} {part}"] for part in ("image", "z", "out")) for size in sizes]


@pytest.mark.parametrize("name", NETWORKS)
def test_core_agrees_with_pytorch(name):
    stylizer = Stylizer(GOLDEN / f"small_{name}.safetensors", precision="exact")
    for image, z, out in golden(name):
        np.testing.assert_allclose(stylizer.encode(image[None])[0], z, atol=1e-5)
        np.testing.assert_allclose(stylizer.transfer(image[None], z)[0], out, atol=5e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_oracle_agrees_with_pytorch(name):
    reference = Reference(GOLDEN / f"small_{name}.safetensors")
    for image, z, out in golden(name):
        np.testing.assert_allclose(reference.encode(image), z, atol=1e-5)
        np.testing.assert_allclose(reference.transfer(image, z), out, atol=5e-5)


@pytest.mark.parametrize("isa", info()["supported"])
def test_every_instruction_set_agrees_with_pytorch(isa):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "core_agrees", __file__]
    environment = {**os.environ, "SASSL_ISA": isa}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["dense", "skip"])
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    alpha=st.floats(0, 1),
    beta=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_algorithm_1_agrees_with_the_oracle(name, height, width, alpha, beta, seed):
    rng = np.random.default_rng(seed)
    path = GOLDEN / f"small_{name}.safetensors"
    stylizer, reference = Stylizer(path, threads=1, precision="exact"), Reference(path)
    image, z = rng.random((height, width, 3), np.float32), rng.normal(size=stylizer.dim).astype(np.float32)
    expected = reference.stylize(image.astype(float), z, alpha, beta)
    np.testing.assert_allclose(stylizer.stylize(image[None], z, alpha, beta)[0], expected, atol=2e-4)
    bytes_ = np.round(image * 255).astype(np.uint8)
    out = stylizer.stylize(bytes_[None], z, alpha, beta)[0]
    expected = np.floor(255 * reference.stylize(bytes_ / 255, z, alpha, beta) + 0.5)
    assert out.dtype == np.uint8
    # Where the oracle lies within rounding of a half, the byte may be the next one.
    assert abs(out - expected).max() <= 1


def test_fast_differs_less_than_rounding_does(batch):
    fast, exact = (Stylizer(precision=precision) for precision in ("fast", "exact"))
    z_fast, z = fast.encode(batch), exact.encode(batch)
    assert np.abs(z_fast - z).mean() < 0.02 * np.abs(z).mean()
    z_style = Bank.default().vectors[: len(batch)]
    error = fast.transfer(batch, z_style) - exact.transfer(batch, z_style)
    assert -10 * np.log10((error**2).mean()) > 38
    views = [model.stylize(batch, z_style, 0.2, 0.2).astype(int) for model in (fast, exact)]
    assert np.abs(views[0] - views[1]).mean() < 0.25
    assert np.abs(views[0] - views[1]).max() <= 3


def test_fast_views_at_the_papers_strongest(batch):
    fast, exact = (Stylizer(precision=precision) for precision in ("fast", "exact"))
    images, z_style = (batch / 255).astype(np.float32), Bank.default().vectors[100 : 100 + len(batch)]
    error = fast.stylize(images, z_style, 0.3, 0.3) - exact.stylize(images, z_style, 0.3, 0.3)
    decibels = -10 * np.log10((error**2).mean((1, 2, 3)))
    assert decibels.min() > 50
    assert decibels.mean() > 56


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 90)])
def test_an_image_of_one_colour_becomes_one_colour(colour):
    image = np.tile(np.uint8(colour), (21, 18, 1))
    for name in NETWORKS:
        path = GOLDEN / f"small_{name}.safetensors"
        z = np.linspace(-1, 1, Stylizer(path).dim, dtype=np.float32)
        # The last norm takes a map's mean from it, and what is left of a constant one is beta. The whole oracle does not tell:
        # each norm makes its last bit some 300 times larger.
        beta = Reference(path)._linear("transformer.head.beta", z)
        expected = np.broadcast_to(1 / (1 + np.exp(-beta)), image.shape)
        for precision in ("fast", "exact"):
            out = Stylizer(path, precision=precision).transfer(image[None], z)[0]
            np.testing.assert_allclose(out, expected, atol=1e-6)
    views = [
        Stylizer(precision=precision).stylize(image[None], Bank.default().vectors[7], 0.3, 0.3)
        for precision in ("fast", "exact")
    ]
    assert abs(views[0].astype(int) - views[1]).max() <= 1


@pytest.mark.parametrize("precision", ["fast", "exact"])
def test_batches_threads_and_layouts_change_nothing(batch, precision):
    one, two = (Stylizer(threads=threads, precision=precision) for threads in (1, 2))
    z = np.linspace(-1, 1, one.dim, dtype=np.float32)
    together = one.stylize(batch, z, 0.2, 0.3)
    assert np.array_equal(together, two.stylize(batch, z, 0.2, 0.3))
    assert np.array_equal(together, np.concatenate([one.stylize(image[None], z, 0.2, 0.3) for image in batch]))
    strided = np.repeat(batch, 2, 2)[:, :, ::2]
    assert not strided.flags.c_contiguous
    assert np.array_equal(together, one.stylize(strided, z, 0.2, 0.3))
    each = one.stylize(batch, np.stack([z, z, -z, z]), [0.2, 0.2, 0.2, 0.5], np.float64([0.3, 0.0, 0.3, 0.3]))
    assert np.array_equal(each[0], together[0])
    assert np.array_equal(each[1], batch[1])
    assert not np.array_equal(each[2], together[2])
    default = one.stylize(batch, z)
    assert np.array_equal(default, one.stylize(batch, z, 0.2, 0.2))


def test_one_image_and_none(batch):
    stylizer, z = Stylizer(), Bank.default().vectors[:1]
    for images in (batch, (batch / 255).astype(np.float32)):
        assert np.array_equal(stylizer.encode(images[0]), stylizer.encode(images[:1])[0])
        assert np.array_equal(stylizer.transfer(images[0], z[0]), stylizer.transfer(images[:1], z)[0])
        assert np.array_equal(stylizer.stylize(images[0], z, 0.3, [0.2]), stylizer.stylize(images[:1], z, 0.3, 0.2)[0])
        for none in (images[:0], images[:0, :1, :0]):
            assert stylizer.encode(none).shape == (0, stylizer.dim)
            assert stylizer.transfer(none, z).shape == none.shape
            assert stylizer.stylize(none, z[:0]).dtype == none.dtype
            assert stylizer.stylize(none, z).shape == none.shape
    params = Block(stylizer).sample(7, 0)
    assert (len(params), len(params.style)) == (0, 0)
    assert pickle.loads(pickle.dumps(params)) == params


def test_threads_in_a_forked_child(batch):
    """The parent's threads are not in the child, which starts its own."""
    stylizer, z = Stylizer(threads=2), Bank.default().vectors[:1]
    images = np.concatenate([batch] * 4)
    expected = stylizer.stylize(images, z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            children = [pool.apply_async(stylizer.stylize, (images, z)) for _ in range(4)]
            assert all(np.array_equal(child.get(timeout=60), expected) for child in children)
    assert np.array_equal(stylizer.stylize(images, z), expected)


def test_threads_from_the_environment(batch, monkeypatch):
    z = np.zeros(Stylizer().dim)
    expected = Stylizer(threads=1).stylize(batch, z)
    monkeypatch.setenv("SASSL_THREADS", "2")
    assert np.array_equal(Stylizer().stylize(batch, z), expected)
    for wrong in ("x", "0", "-1", "1025"):
        monkeypatch.setenv("SASSL_THREADS", wrong)
        with pytest.raises(
            ValueError, match=rf"SASSL_THREADS must be an integer in \[1, 1024\], or unset, got {wrong}"
        ):
            Stylizer().stylize(batch, z)
        assert np.array_equal(Stylizer(threads=1).stylize(batch, z), expected)
    monkeypatch.setenv("SASSL_THREADS", "")
    assert np.array_equal(Stylizer().stylize(batch, z), expected)


def test_blocks_draw_and_apply(batch):
    stylizer = Stylizer()
    reference = np.float32(stylizer.encode(batch))
    for styles in (Bank.default(), Bank.default().gaussian(5), None):
        block = Block(stylizer, styles, p=0.5)
        params = block.sample(7, len(batch))
        assert params == block.sample(7, len(batch))
        assert params != block.sample(8, len(batch))
        assert block.sample(7, 2, index=2).alpha.tolist() == params.alpha[2:].tolist()
        z = block.vectors(params, reference)
        expected = stylizer.stylize(batch, z, params.alpha, params.beta)
        expected[~params.apply] = batch[~params.apply]
        assert np.array_equal(block.apply(batch, params), expected)
        again = pickle.loads(pickle.dumps(params))
        assert again == params
        assert np.array_equal(block.apply(batch, again), expected)
    assert (Block(stylizer, None).sample(0, 4).style != np.arange(4)).all()


def test_values_pickle():
    stylizer = pickle.loads(pickle.dumps(Stylizer(threads=1, precision="exact")))
    assert (stylizer.source, stylizer.threads, stylizer.precision) == ("lite", 1, "exact")
    bank = pickle.loads(pickle.dumps(Bank(np.eye(3), "space", ["a", "b", "c"])))
    assert (len(bank), bank.names) == (3, ["a", "b", "c"])
    gaussian = pickle.loads(pickle.dumps(Bank.default().gaussian(4)))
    assert (gaussian.rank, gaussian.dim) == (4, stylizer.dim)


LITE = Stylizer()
Z = np.zeros(LITE.dim, np.float32)
GREY = np.full((1, 16, 16, 3), 0.5, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: Stylizer("full"), ValueError, 'model must be "lite" or the path of a .safetensors file, '),
        (lambda: Stylizer("absent.safetensors"), FileNotFoundError, "absent.safetensors"),
        (lambda: Stylizer(precision="half"), ValueError, 'precision must be "fast" or "exact", got "half"'),
        (
            lambda: Stylizer(threads=0),
            ValueError,
            "threads must be an integer in [1, 1024], or None for all cores, got 0",
        ),
        (
            lambda: Stylizer(threads=-2),
            ValueError,
            "threads must be an integer in [1, 1024], or None for all cores, got -2",
        ),
        (lambda: Stylizer(space="0"), ValueError, "style space"),
        (lambda: LITE.encode(GREY[0, 0]), ValueError, "(n, height, width, 3)"),
        (lambda: LITE.encode(GREY[..., :2]), ValueError, "(n, height, width, 3)"),
        (lambda: LITE.encode(GREY[:, :7]), ValueError, "8x8"),
        (lambda: LITE.encode(GREY[:, :1, :1]), ValueError, "8x8"),
        (lambda: LITE.encode(GREY + 0.6), ValueError, "before Normalize"),
        (lambda: LITE.encode(GREY * np.float32("nan")), ValueError, "images[0, 0, 0, 0] must be in [0, 1], got NaN"),
        (lambda: LITE.encode(GREY.astype(np.float64)), TypeError, "float64"),
        (lambda: LITE.encode([1, 2]), TypeError, "got list"),
        (lambda: LITE.transfer(GREY, Z[1:]), ValueError, f"(n, {LITE.dim})"),
        (lambda: LITE.transfer(GREY, np.stack([Z, Z])), ValueError, f"(1, {LITE.dim})"),
        (lambda: LITE.transfer(GREY, Z * np.nan), ValueError, "finite"),
        (lambda: LITE.transfer(GREY, "red"), TypeError, "z must be values"),
        (
            lambda: LITE.stylize(GREY, Z, alpha=1.5),
            ValueError,
            "alpha must be in [0, 1], from the content to the style, got 1.5",
        ),
        (
            lambda: LITE.stylize(GREY, Z, beta=[-1]),
            ValueError,
            "beta[0] must be in [0, 1], from the content to the style, got -1",
        ),
        (lambda: LITE.stylize(GREY, Z, beta=[0.1, 0.1]), ValueError, "beta"),
        (lambda: Block(LITE, None, p=2), ValueError, "p must be in [0, 1], got 2"),
        (
            lambda: Block(LITE, None, alpha=(0.4, 0.2)),
            ValueError,
            "alpha must be a range (low, high) with 0 <= low <= high <= 1, got (0.4, 0.2)",
        ),
        (lambda: Block(LITE, Bank(np.ones((2, LITE.dim)), "other")), ValueError, "style space"),
        (lambda: Block(LITE, 3), TypeError, "got int"),
        (lambda: Bank(np.ones(3), "x"), ValueError, "(n, dim)"),
        (lambda: Bank(np.ones((0, 3)), "x"), ValueError, "style vectors"),
        (
            lambda: Bank.default().gaussian(999),
            ValueError,
            "rank must be in [1, 64] for 1200 style vectors of length 64, got 999",
        ),
        (lambda: StyleParams([True], [0.1], [0.1], [-1]), ValueError, "style must hold indices >= 0"),
        (lambda: StyleParams([True], [0.1, 0.2], [0.1], [1]), ValueError, "alpha"),
        (lambda: convert(["absent"], "out", "x"), FileNotFoundError, "absent"),
        (lambda: convert([__file__], "out", "x"), ValueError, "not a supported network file"),
    ],
)
def test_what_is_wrong_is_named(call, error, phrase):
    with pytest.raises(error) as caught:
        call()
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "lines"), [(["-c", "import sassl; sassl.Stylizer()"], None), (["-m", "sassl", "info"], 1)]
)
def test_an_unknown_instruction_set_is_refused(call, lines):
    environment = {**os.environ, "SASSL_ISA": "mmx"}
    done = subprocess.run([sys.executable, *call], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "SASSL_ISA must be one of scalar" in done.stderr
    assert lines is None or done.stderr.count("\n") == lines


def test_import_is_light():
    code = "import sys, sassl; print(*{m.split('.')[0] for m in sys.modules} & {'torch', 'torchvision', 'PIL', 'tqdm'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_magentas_pair_agrees_with_litert(tmp_path, photo):
    pytest.importorskip("ai_edge_litert", reason="DID NOT RUN: ai-edge-litert is not installed")
    from ai_edge_litert.interpreter import Interpreter

    files = [shared(f"weights/magenta_mobile_{n}.tflite") for n in ("predictor_int8", "transformer_f16")]
    convert(files, tmp_path / "mobile.safetensors", "mobile")
    stylizer = Stylizer(tmp_path / "mobile.safetensors", precision="exact")
    runners = [Interpreter(str(path)) for path in files]

    def run(runner, *inputs):
        runner.allocate_tensors()
        by_size = {x.size: x for x in inputs}
        for detail in runner.get_input_details():
            runner.set_tensor(detail["index"], by_size[int(np.prod(detail["shape"]))].reshape(detail["shape"]))
        runner.invoke()
        return runner.get_tensor(runner.get_output_details()[0]["index"])

    def square(side):
        from PIL import Image

        return np.asarray(Image.fromarray(photo).resize((side, side)), np.float32)[None] / 255

    image = square(256)
    z, theirs = stylizer.encode(image)[0], run(runners[0], image).ravel()
    assert z @ theirs / np.linalg.norm(z) / np.linalg.norm(theirs) >= 0.999
    image = square(384)
    assert abs(stylizer.transfer(image, z) - run(runners[1], image, z)).max() <= 1e-3


@pytest.mark.skipif(sys.platform != "linux", reason="DID NOT RUN: names of any bytes are Linux's")
def test_a_model_lies_under_any_name(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    file = folder / "model.safetensors"
    file.write_bytes((GOLDEN / "small_dense.safetensors").read_bytes())
    stylizer = Stylizer(file)
    assert stylizer.source == str(file)
    assert pickle.loads(pickle.dumps(stylizer)).space == stylizer.space

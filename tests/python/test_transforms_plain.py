"""SASSL without torchvision: PIL, numpy and lists; what is drawn, what comes back, what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sassl
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sassl import StyleBank, StyleParams
from sassl.transforms.plain import SASSL


def seeded(seed=0, **options):
    return SASSL(generator=np.random.default_rng(seed), **options)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(8, 20), st.integers(8, 20)),
    leading=st.sampled_from([(), (1,), (3,), (2, 2)]),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from(["uint8", "float16", "float32", "float64"]),
)
def test_arrays_keep_shape_and_dtype(shape, leading, channels, dtype):
    rng = np.random.default_rng(0)
    array = rng.random((*leading, *shape, channels)).astype(dtype) if dtype != "uint8" else None
    if array is None:
        array = rng.integers(0, 256, (*leading, *shape, channels), np.uint8)
    transform = seeded(p=1.0)
    out = transform(array)
    assert (out.shape, out.dtype) == (array.shape, array.dtype)
    assert len(transform.params) == np.prod(leading, dtype=int)
    assert not np.array_equal(out, array)
    assert np.array_equal(seeded(p=0.0)(array), array)


@pytest.mark.parametrize(
    ("mode", "back"),
    [("L", "L"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("LA", "LA"), ("P", "RGB"), ("CMYK", "CMYK"), ("1", "L")],
)
def test_pil_modes(photo, mode, back):
    image = Image.fromarray(photo).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    out = seeded(p=1.0)(image)
    assert (out.mode, out.size) == (back, image.size)
    if "A" in mode:
        assert np.array_equal(np.array(out.getchannel("A")), np.array(image.getchannel("A")))
    assert seeded(p=0.0)(image) is image


def test_pil_and_array_agree(photo):
    out = seeded(3, p=1.0)(Image.fromarray(photo))
    assert np.array_equal(np.array(out), seeded(3, p=1.0)(photo))


def test_images_of_a_batch_have_draws_of_their_own(batch):
    transform = seeded(p=0.5)
    out = transform(np.repeat(batch, 8, 0))
    params = transform.params
    assert 0 < params.apply.sum() < 32
    assert len(set(params.alpha.tolist())) == len(set(params.beta.tolist())) == 32
    same = (out == np.repeat(batch, 8, 0)).all((1, 2, 3))
    assert np.array_equal(same, ~params.apply)
    assert np.array_equal(transform.apply_params(np.repeat(batch, 8, 0), params), out)


@pytest.mark.parametrize("styles", ["default", "batch"])
def test_nothing_comes_back_as_nothing(batch, styles):
    transform = seeded(p=1.0, styles=styles)
    for none in (batch[:0], batch[None, :0], batch[:0, ..., :1], batch[:0, :1, :0], batch[:0] / 255):
        out = transform(none)
        assert (out.shape, out.dtype, len(transform.params)) == (none.shape, none.dtype, 0)
        assert transform.apply_params(none, transform.params).shape == none.shape
    assert transform([]) == transform(()) == []


def test_bfloat16_of_other_packages(batch):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="DID NOT RUN: ml_dtypes is not installed")
    images = (batch / 255).astype(ml_dtypes.bfloat16)
    out = seeded(2, p=0.5)(images)
    assert out.dtype == images.dtype
    wide = seeded(2, p=0.5)(images.astype(np.float32))
    assert np.array_equal(out, wide.astype(ml_dtypes.bfloat16))


def test_draws_replay_and_can_be_edited(photo):
    one, two = seeded(5), seeded(5)
    for _ in range(3):
        assert np.array_equal(one(photo), two(photo))
        assert one.params == two.params
    drawn = one.params
    edited = StyleParams([True], drawn.alpha, [0.0], drawn.style)
    assert np.array_equal(one.apply_params(photo, edited), photo)


def test_the_global_generator_of_numpy_replays(photo, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    np.random.seed(3)
    first = [SASSL(p=1.0)(photo) for _ in range(2)]
    np.random.seed(3)
    second = [SASSL(p=1.0)(photo) for _ in range(2)]
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_lists_of_different_sizes(photo):
    images = [Image.fromarray(photo), photo[:33, :20], Image.fromarray(photo[:9, :70]).convert("L")]
    for styles in ("default", "batch"):
        transform = seeded(1, p=1.0, styles=styles)
        out = transform(images)
        assert [np.shape(x) for x in out] == [np.shape(x) for x in images]
        assert [type(x) for x in out] == [type(x) for x in images]
        assert len(transform.params) == 3
    same_size = [photo[:40, :44], photo[20:60, 30:74]]
    together = seeded(2, p=1.0, styles="batch")(np.stack(same_size))
    assert np.array_equal(together, seeded(2, p=1.0, styles="batch")(same_size))
    # The drawn parameters replay a list too.
    transform = seeded(3, styles="batch")
    out = transform(images)
    again = transform.apply_params(images, transform.params)
    assert all(np.array_equal(a, b) for a, b in zip(out, again, strict=True))


def test_sources_of_styles(photo, batch, tmp_path):
    model = sassl.Stylizer()
    bank = StyleBank.from_images(list(batch))
    assert np.allclose(bank.vectors, model.encode(batch))
    bank.save(tmp_path / "bank.safetensors")
    folder = tmp_path / "styles"
    folder.mkdir()
    for i, image in enumerate(batch):
        Image.fromarray(image).save(folder / f"{i}.png")
    expected = seeded(4, p=1.0, styles=bank)(photo)
    images = [Image.fromarray(x) for x in batch]
    for styles in (
        folder,
        str(folder),
        sorted(folder.iterdir()),
        list(batch),
        images,
        bank.vectors,
        bank.vectors.tolist(),
    ):
        assert np.array_equal(seeded(4, p=1.0, styles=styles)(photo), expected)
    # A bank file holds float16. (In float32, as no byte of an activation may tip over.)
    from_file, of_bank = (
        seeded(4, p=1.0, styles=styles, precision="exact")(photo) for styles in (tmp_path / "bank.safetensors", bank)
    )
    assert abs(from_file.astype(int) - of_bank).max() <= 1
    assert seeded(p=1.0, styles=bank.vectors[0])(photo).shape == photo.shape
    gaussian = seeded(p=1.0, styles=bank.gaussian(2))
    gaussian(photo)
    assert gaussian.params.style.shape == (1, model.dim)


def test_what_rounding_carries_out_of_range_is_let_in(photo):
    floats = photo.astype(np.float32) / 255
    floats[0, :2] = [[0], [1]]
    over = floats.copy()
    over[0, :2] = [[-6e-7], [1 + 6e-7]]
    assert np.abs(seeded(p=1.0)(over) - seeded(p=1.0)(floats)).max() < 1e-4
    assert seeded(p=1.0)(over).max() <= 1


def test_transparent_palettes(photo):
    image = Image.fromarray(photo).convert("P")
    image.info["transparency"] = 3
    assert seeded(p=1.0)(image).mode == "RGBA"


def test_use_does_not_change_how_it_pickles(photo):
    # Hugging Face's cache takes the pickle for the transform's fingerprint.
    transform = SASSL()
    before = pickle.dumps(transform)
    transform(photo)
    assert pickle.dumps(transform) == before


def test_pickling_keeps_everything(photo):
    for styles in ("default", "batch", StyleBank.default().gaussian(3)):
        transform = seeded(1, p=1.0, styles=styles)
        again = pickle.loads(pickle.dumps(transform))
        assert repr(again) == repr(transform)
        assert np.array_equal(again(photo), transform(photo))


def test_repr_tells_the_configuration():
    text = repr(SASSL(p=0.5, beta=(0.0, 0.2), styles="batch"))
    assert text == "SASSL(p=0.5, alpha=(0.1, 0.3), beta=(0.0, 0.2), styles='batch', model='lite')"
    text = repr(SASSL(styles=np.zeros((3, 64)), generator=np.random.default_rng(), threads=2, precision="exact"))
    assert text.endswith("3 vectors, model='lite', generator=numpy.random.Generator, threads=2, precision='exact')")


GREY = np.full((16, 16, 3), 0.5)


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: SASSL(p=1.5), ValueError, "p must be in [0, 1], got 1.5"),
        (
            lambda: SASSL(alpha=(0.5, 0.1)),
            ValueError,
            "alpha must be a range (low, high) with 0 <= low <= high <= 1, got (0.5, 0.1)",
        ),
        (lambda: SASSL(beta=None), ValueError, "beta must be a value or a range (low, high), got None"),
        (
            lambda: SASSL(beta=(0, 2)),
            ValueError,
            "beta must be a range (low, high) with 0 <= low <= high <= 1, got (0, 2)",
        ),
        (lambda: SASSL(model="mobile"), ValueError, '"mobile"'),
        (lambda: SASSL(styles="nowhere"), FileNotFoundError, "nowhere"),
        (lambda: SASSL(styles=np.ones((2, 3))), ValueError, "(n, 64)"),
        (lambda: SASSL(styles=StyleBank(np.ones((2, 64)), "other")), ValueError, "style space"),
        (lambda: SASSL(styles=object()), TypeError, "styles"),
        (
            lambda: SASSL(generator=3),
            TypeError,
            "generator must be a torch.Generator or a numpy.random.Generator, got int",
        ),
        (lambda: SASSL()("photo.jpg"), TypeError, "got str"),
        (lambda: SASSL()([GREY, "x"]), TypeError, "images[1]"),
        (lambda: SASSL()(GREY[:7]), ValueError, "8x8"),
        (lambda: SASSL()(GREY[:1, :1]), ValueError, "8x8"),
        (lambda: SASSL()(GREY * np.nan), ValueError, "NaN"),
        (lambda: SASSL()(GREY * 3), ValueError, "before Normalize"),
        (lambda: SASSL()(GREY[..., :2]), ValueError, "1 or 3 channels"),
        (lambda: SASSL()(GREY[0]), ValueError, "1 or 3 channels"),
        (lambda: SASSL()(GREY.astype(np.int32)), ValueError, "int32"),
        (lambda: SASSL()(Image.new("F", (16, 16), 3)), ValueError, "'F'"),
        (
            lambda: SASSL().apply_params(GREY, SASSL().sample(2)),
            ValueError,
            "params must have length 1, one for each image, got 2",
        ),
        (
            lambda: SASSL().apply_params([GREY, GREY], SASSL().sample(3)),
            ValueError,
            "params must have length 2, one for each image, got 3",
        ),
        (
            lambda: SASSL()([GREY, np.stack([GREY, GREY])]),
            ValueError,
            "images[1] must be one image, got a batch of 2",
        ),
        (lambda: SASSL()(GREY + 0.6), ValueError, "values from 1.1 to 1.1"),
        (lambda: SASSL()(Image.new("LAB", (16, 16))), ValueError, "'LAB'"),
        (lambda: SASSL(p="often"), ValueError, "p must be a probability in [0, 1], got 'often'"),
        (lambda: SASSL(model=sassl.Stylizer(), threads=2), ValueError, "threads=2 must be passed to the Stylizer"),
        (
            lambda: SASSL(model=sassl.Stylizer(), precision="fast"),
            ValueError,
            "precision='fast' must be passed to the Stylizer",
        ),
        (lambda: SASSL(precision="half"), ValueError, 'precision must be "fast" or "exact", got "half"'),
        (lambda: SASSL(styles=["nowhere.png"]), FileNotFoundError, "nowhere.png"),
    ],
)
def test_what_is_wrong_is_named(call, error, phrase):
    with pytest.raises(error) as caught:
        call()
    assert phrase in str(caught.value)


def test_one_value_is_a_fixed_strength():
    fixed = SASSL(alpha=0.9, beta=np.float32(0.5))
    assert (fixed.alpha, fixed.beta) == ((0.9, 0.9), (0.5, 0.5))
    assert fixed.describe()["alpha"] == [0.9, 0.9]
    assert SASSL.from_description({**fixed.describe(), "alpha": 0.9}).alpha == (0.9, 0.9)
    with pytest.raises(ValueError, match="alpha"):
        SASSL(alpha=1.5)
    with pytest.raises(ValueError, match=r"alpha must be a value or a range \(low, high\), got '0.5'"):
        SASSL(alpha="0.5")

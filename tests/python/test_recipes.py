"""The recipes of MoCo v2, SimCLR and BYOL: each view is what torchvision and Pillow make of the same draws."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl._sassl import ViewParams
from sassl.transforms import BYOLTransform, MoCoV2Transform, SimCLRTransform
from sassl.transforms.plain import SASSL

RECIPES = (MoCoV2Transform, SimCLRTransform, BYOLTransform)


def crop_of(params):
    return params["random_resized_crop"].values()


def seeded(recipe, seed=0, **options):
    return recipe(generator=np.random.default_rng(seed), **{"output": "numpy", **options})


@pytest.fixture(scope="module")
def flower():
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("flower.jpg")[:300:2, :400:2])


@pytest.mark.parametrize("blur", [None, 23])
def test_views_are_torchvisions_of_the_same_draws(flower, blur):
    need("torchvision")
    import torch
    import torchvision.transforms.functional as tv
    from PIL import ImageFilter

    transform = seeded(MoCoV2Transform, kernel_size=blur, solarization_prob=0.3, vf_prob=0.3)
    image = Image.fromarray(flower)
    adjust = {name: getattr(tv, f"adjust_{name}") for name in ("brightness", "contrast", "saturation", "hue")}
    kinds = set()
    for _ in range(40):
        views = transform(flower)
        for view, params in zip(views, transform.params, strict=True):
            expected = tv.resized_crop(image, *crop_of(params), [224, 224])
            drawn = {name: params[name] for name in params}
            for name, factor in (drawn["color_jitter"] or {}).items():
                expected = adjust[name](expected, factor)
            sigma, solarize = (drawn["gaussian_blur"] or {}).get("sigma"), drawn["solarize"] is not None
            if drawn["grayscale"] is not None:
                expected = tv.to_grayscale(expected, 3)
            if sigma is not None:
                if blur is None:
                    expected = expected.filter(ImageFilter.GaussianBlur(sigma))
                else:
                    tensor = torch.from_numpy(np.array(expected)).permute(2, 0, 1)
                    expected = Image.fromarray(tv.gaussian_blur(tensor, blur, sigma).permute(1, 2, 0).numpy())
            expected = tv.solarize(expected, 128) if solarize else expected
            expected = tv.hflip(expected) if drawn["horizontal_flip"] is not None else expected
            expected = tv.vflip(expected) if drawn["vertical_flip"] is not None else expected
            expected = tv.normalize(tv.to_tensor(expected), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).numpy()
            off = np.abs(view - expected)
            # A blur by taps may differ by one grey level, which solarizing turns into its negative.
            limit = 0 if blur is None or sigma is None else 1 / 255 / 0.224 + 1e-6
            assert off.max() <= limit or (solarize and (off > limit).mean() < 1e-4), params
            kinds.add(tuple(value is None for value in drawn.values()))
    assert len(kinds) > 12


@pytest.mark.parametrize("position", ["after_crop", "before_crop"])
def test_style_is_that_of_sassl_and_changes_nothing_else(flower, position):
    style = SASSL(p=1.0)
    with_style = seeded(MoCoV2Transform, 3, style=style, style_position=position, cj_prob=0, gaussian_blur=0, hf_prob=0)
    without = seeded(MoCoV2Transform, 3, cj_prob=0, gaussian_blur=0, hf_prob=0)
    left, right = with_style(flower)
    plain_left, plain_right = without(flower)
    assert np.array_equal(right, plain_right)
    assert not np.array_equal(left, plain_left)
    params, plain = with_style.params, without.params
    assert {name: params[0][name] for name in plain[0]} == dict(plain[0])
    assert params[1] == plain[1]
    assert params[0]["sassl"].apply.all()
    assert "sassl" not in params[1]
    if position == "after_crop" and params[0]["grayscale"] is None:
        bare = seeded(MoCoV2Transform, 3, cj_prob=0, gaussian_blur=0, hf_prob=0, normalize=None, dtype="uint8")
        view = bare.apply_params(flower, plain)[0].transpose(1, 2, 0)
        styled = style.apply_params(view, params[0]["sassl"]).transpose(2, 0, 1) / np.float32(255)
        mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
        assert np.array_equal((styled - mean[:, None, None]) / std[:, None, None], left)


def test_styled_view_and_p(flower):
    for which, expected in (("left", (True, False)), ("right", (False, True)), ("both", (True, True))):
        transform = seeded(SimCLRTransform, style=SASSL(p=0.8), styled_view=which)
        drawn = [transform.sample(100, 100) for _ in range(200)]
        assert tuple("sassl" in p for p in drawn[0]) == expected
    applied = np.mean([p[0]["sassl"].apply[0] for p in drawn])
    assert 0.7 < applied < 0.9
    assert {p[0]["sassl"] == p[1]["sassl"] for p in drawn} == {False}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_kind_of_image_gives_the_same_views(recipe, flower, tmp_path):
    file = tmp_path / "flower.png"
    Image.fromarray(flower).save(file)
    kinds = [flower, Image.fromarray(flower), file, str(file), file.read_bytes(), flower[:, ::1].copy("F")]
    if pytest.importorskip("torch", reason="DID NOT RUN: torch is not installed"):
        import torch

        kinds.append(torch.from_numpy(flower).permute(2, 0, 1))
    first = seeded(recipe)(flower)
    assert [view.shape for view in first] == [(3, 224, 224)] * 2
    for image in kinds[1:]:
        assert all(map(np.array_equal, seeded(recipe)(image), first))
    gray = Image.fromarray(flower).convert("L")
    assert all(map(np.array_equal, seeded(recipe)(gray), seeded(recipe)(np.asarray(gray)[..., None])))


def test_outputs(flower):
    plain = seeded(SimCLRTransform)(flower)
    bytes_ = seeded(SimCLRTransform, dtype="uint8")(flower)
    halves = seeded(SimCLRTransform, dtype="float16", channels_last=True)(flower)
    last = seeded(SimCLRTransform, dtype="uint8", channels_last=True)(flower)
    for view, byte, half, other in zip(plain, bytes_, halves, last, strict=True):
        assert (view.dtype, byte.dtype, half.dtype) == (np.float32, np.uint8, np.float16)
        assert np.array_equal(view, byte / np.float32(255))
        assert np.array_equal(half, view.transpose(1, 2, 0).astype(np.float16))
        assert np.array_equal(other, byte.transpose(1, 2, 0))


def test_torch_tensors_where_torch_is(flower):
    need("torch")
    import torch

    left, right = BYOLTransform(input_size=(32, 48), style=SASSL())(flower)
    assert isinstance(left, torch.Tensor)
    assert left.shape == right.shape == (3, 32, 48)
    assert left.dtype == torch.float32
    torch.manual_seed(5)
    first = BYOLTransform(32)(flower)
    torch.manual_seed(5)
    assert all(map(torch.equal, BYOLTransform(32)(flower), first))


def test_dtypes_and_interpolations_of_other_packages(flower):
    need("torchvision")
    import torch
    from torchvision.transforms import InterpolationMode

    expected = seeded(SimCLRTransform, dtype="float16")
    views = expected(flower)
    for dtype in (torch.float16, np.float16, np.dtype("float16")):
        for mode in (InterpolationMode.BICUBIC, Image.Resampling.BICUBIC, 3):
            transform = seeded(SimCLRTransform, dtype=dtype, interpolation=mode)
            assert all(map(np.array_equal, transform(flower), views))
            assert (transform.dtype, transform.interpolation) == ("float16", "bicubic")
    bilinear = seeded(SimCLRTransform, interpolation=InterpolationMode.BILINEAR)
    assert all(map(np.array_equal, bilinear(flower), seeded(SimCLRTransform, interpolation="bilinear")(flower)))


def test_torchs_generator_pickles_and_goes_on(flower):
    need("torch")
    import torch

    transform = MoCoV2Transform(32, style=SASSL(), generator=torch.Generator().manual_seed(3))
    transform(flower)
    again = pickle.loads(pickle.dumps(transform))
    assert all(map(torch.equal, again(flower), transform(flower)))


def test_torch_compile_calls_it_as_it_is(flower):
    need("torch")
    import torch

    graphs = []
    transform = MoCoV2Transform(32, style=SASSL(p=1.0))

    def backend(graph, _):
        graphs.append([node.target.__name__ for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    image = torch.from_numpy(flower).permute(2, 0, 1)
    torch.compile(lambda x: transform(x + 0)[0] * 2, backend=backend)(image)
    assert graphs == [["add"], ["mul"]]


def test_defaults_are_the_methods_own():
    def drawn(recipe, n=400):
        transform = seeded(recipe)
        return [transform.sample(375, 500) for _ in range(n)]

    moco, simclr, byol = map(drawn, RECIPES)
    for views, least in ((moco, 0.2), (simclr, 0.08), (byol, 0.08)):
        crops = [p["random_resized_crop"] for pair in views for p in pair]
        areas = [crop["height"] * crop["width"] / (375 * 500) for crop in crops]
        assert least * 0.95 < min(areas) < least * 1.3
    rate = lambda views, which, of: np.mean([pair[which][of] is not None for pair in views])  # noqa: E731
    blurred, solarized = "gaussian_blur", "solarize"
    assert (rate(byol, 0, blurred), rate(byol, 0, solarized)) == (1, 0)
    assert 0.05 < rate(byol, 1, blurred) < 0.16
    assert 0.14 < rate(byol, 1, solarized) < 0.27
    assert 0.43 < rate(moco, 0, blurred) < 0.57
    assert 0.74 < rate(simclr, 1, "color_jitter") < 0.86
    assert max(p["color_jitter"]["brightness"] for pair in simclr for p in pair if p["color_jitter"]) > 1.7
    assert {name for pair in byol for p in pair for name in p["color_jitter"] or ()} == {
        "shift",
        "color_contrast",
        "hsv_saturation",
        "hue",
    }
    assert "kernel_size" not in repr(MoCoV2Transform())


def test_pickles_and_replays(flower):
    transform = seeded(BYOLTransform, style=SASSL(p=1.0))
    copy = pickle.loads(pickle.dumps(transform))
    left, right = transform(flower)
    params = transform.params
    assert all(map(np.array_equal, copy(flower), (left, right)))
    assert all(map(np.array_equal, copy.apply_params(flower, params), (left, right)))
    assert "random_resized_crop(top=" in repr(params[0])
    again = pickle.loads(pickle.dumps(params))
    assert again == params
    assert all(map(np.array_equal, copy.apply_params(flower, again), (left, right)))


def test_params_are_made_by_hand(flower):
    transform = BYOLTransform(output="numpy", style=SASSL())
    crop = {"top": 0, "left": 0, "height": 100, "width": 100}
    plain = ViewParams({"random_resized_crop": crop})
    assert plain == ViewParams({"random_resized_crop": crop})
    assert dict(plain) == {"random_resized_crop": crop}
    flipped = ViewParams({"random_resized_crop": crop, "horizontal_flip": {}, "grayscale": None})
    left, right = transform.apply_params(flower, [flipped, plain])
    assert np.array_equal(left, right[..., ::-1])
    for drawn, message in (
        ({"color_jitter": {"gamma": 0.1}}, 'color_jitter must be one of .*, got "gamma"'),
        ({"gaussian_blur": {}}, "params must be .*, got"),
        ({"gaussian_blur": {"sigma": -1.0}}, "sigma must be > 0 and <= 1e4, got -1"),
        ({"blur": {}}, 'params must be those of .*, got "blur"'),
        ({"sassl": {}}, 'params must be those of .*, got "sassl"'),
        ({"random_resized_crop": {**crop, "width": 9000}}, "crop must be within the image of .*, got"),
        ({"random_resized_crop": None}, 'params must be those of .*, got "random_resized_crop"'),
    ):
        with pytest.raises(ValueError, match=message):
            transform.apply_params(flower, [ViewParams({"random_resized_crop": crop, **drawn}), plain])
    with pytest.raises(ValueError, match=r"params must have .*, got no crop"):
        transform.apply_params(flower, [ViewParams({}), plain])
    with pytest.raises(ValueError, match="params must have length 2, one for each view"):
        transform.apply_params(flower, [plain])
    with pytest.raises(ValueError, match="style must be that of one image"):
        ViewParams({"sassl": transform.style.sample(2)})
    styled = ViewParams({"random_resized_crop": crop, "sassl": SASSL(p=1.0).sample()})
    with pytest.raises(ValueError, match=r'params must be those of .*, got "sassl"'):
        BYOLTransform(output="numpy").apply_params(flower, [styled, plain])


def test_a_recipe_is_a_value(flower):
    transform = MoCoV2Transform(64, output="numpy", cj_strength=0.5)
    other = transform.replace(min_scale=0.5)
    assert (other.cj_strength, other.min_scale, other.shape) == (0.5, 0.5, (3, 64, 64))
    assert transform.keywords() == {"input_size": 64, "output": "numpy", "cj_strength": 0.5}
    assert repr(MoCoV2Transform(64, output="numpy")) == "MoCoV2Transform(input_size=64, output='numpy')"
    with pytest.raises(AttributeError):
        transform.cj_strength = 0.2
    with pytest.raises(TypeError, match="cj_strenght"):
        transform.replace(cj_strenght=0.2)
    assert SimCLRTransform(64, output="numpy").keywords(MoCoV2Transform)["kernel_size"] == 7


@pytest.mark.parametrize("degrees", [None, 30, (10, 20)])
def test_rotations_are_lightlys(flower, degrees):
    need("torchvision")
    import torchvision.transforms.functional as tv

    others = {"cj_prob": 0, "random_gray_scale": 0, "gaussian_blur": 0, "normalize": None, "dtype": "uint8"}
    transform = seeded(SimCLRTransform, rr_prob=0.5, rr_degrees=degrees, input_size=64, **others)
    drawn = []
    for _ in range(30):
        for view, params in zip(transform(flower), transform.params, strict=True):
            expected = tv.resized_crop(
                Image.fromarray(flower), *crop_of(params), [64, 64], tv.InterpolationMode.BICUBIC
            )
            if params["rotation"] is not None:
                drawn.append(params["rotation"]["degrees"])
                expected = tv.rotate(expected, drawn[-1])
            expected = tv.hflip(expected) if params["horizontal_flip"] is not None else expected
            assert np.array_equal(view.transpose(1, 2, 0), expected), params
    assert 15 < len(drawn) < 45
    low, high = {None: (90, 90), 30: (-30, 30), (10, 20): (10, 20)}[degrees]
    assert low <= min(drawn) <= max(drawn) <= high
    assert (len(set(drawn)) == 1) == (degrees is None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_scale": 1.5}, r"min_scale must be .* in \[0, 1\], got 1.5"),
        ({"gaussian_blur": (0.5, 1.5)}, "gaussian_blur must be .*, got 1.5"),
        ({"kernel_size": 22}, "kernel_size must be odd, got 22"),
        ({"kernel_size": "box"}, "kernel_size must be 'pillow', got 'box'"),
        ({"input_size": 8, "kernel_size": 23}, "kernel_size must be at most 15 for an image of 8x8, got 23"),
        ({"input_size": 0}, "input_size"),
        ({"input_size": "224"}, "input_size must be an integer >= 1, got '224'"),
        ({"input_size": (1, 2, 3)}, r"input_size must be a side in pixels, or \(height, width\), got \(1, 2, 3\)"),
        ({"normalize": [0.5, 0.5]}, r"normalize must be a dict of .*, got \[0.5, 0.5\]"),
        ({"sigmas": 1.0}, "sigmas must be .*, got 1.0"),
        ({"gaussian_blur": (1, 0, 1)}, r"gaussian_blur must be .*, got \(1, 0, 1\)"),
        ({"cj_strength": -1}, "cj_strength must be a number >= 0, got -1"),
        ({"input_size": 7, "style": SASSL()}, "input_size"),
        ({"sigmas": (2.0, 0.1)}, "sigmas"),
        ({"min_scale": "x"}, "min_scale must be a number, got 'x'"),
        ({"hf_prob": "x"}, "hf_prob must be .*, got 'x'"),
        ({"cj_bright": "x"}, "cj_bright must be a number, got 'x'"),
        ({"sigmas": ("a", "b")}, r"sigmas must be .*, got \('a', 'b'\)"),
        ({"cj_strength": 100}, "cj_strength must be at most 5 .*, got 100.0"),
        ({"input_size": -1}, "input_size must be an integer >= 1, got -1"),
        ({"input_size": 32, "kernel_size": 65}, "kernel_size must be at most 63 .*, got 65"),
        ({"kernel_size": -3}, "kernel_size must be an integer >= 1, got -3"),
        ({"kernel_size": 3.5}, "kernel_size must be an integer >= 1, got 3.5"),
        ({"channels_last": "x"}, "channels_last must be True or False, got 'x'"),
        ({"min_decode_size": 0}, r"min_decode_size must be an integer in \[1, 65535\], got 0"),
        ({"rr_prob": 2}, "rr_prob must be .*, got 2"),
        ({"rr_degrees": 500}, r"rr_degrees must be a range .*, got \(-500, 500\)"),
        ({"rr_degrees": (1, 2, 3)}, r"rr_degrees must be .*, got \(1, 2, 3\)"),
        ({"cj_hue": 0.7}, "cj_hue"),
        ({"cj_form": "tf"}, "cj_form must be 'torchvision' or 'byol', got 'tf'"),
        ({"styled_view": "first"}, "styled_view must be one of 'left', 'right' or 'both', got 'first'"),
        ({"style_position": "last"}, "style_position must be 'after_crop' or 'before_crop', got 'last'"),
        ({"dtype": "uint8"}, "give normalize=None"),
        ({"dtype": "int8"}, "dtype must be one of 'float32', 'float16' or 'uint8', got 'int8'"),
        ({"dtype": np.float64}, "dtype must be .*, got 'float64'"),
        ({"dtype": 3}, "dtype must be .*, got 3"),
        ({"output": "jax"}, "output must be .*, got 'jax'"),
        ({"interpolation": "nearest"}, 'interpolation must be "bilinear" or "bicubic", got "nearest"'),
        ({"interpolation": 0}, 'interpolation must be "bilinear" or "bicubic", got 0'),
        ({"normalize": {"mean": [0, 0, 0], "std": [0, 1, 1]}}, "std"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        MoCoV2Transform(**options)


def test_images_that_cannot_be(flower, tmp_path):
    transform = seeded(MoCoV2Transform, style=SASSL(p=1.0))
    with pytest.raises(TypeError, match="styles must be"):
        MoCoV2Transform(style=3)
    with pytest.raises(ValueError, match="requires a batch of images"):
        seeded(MoCoV2Transform, style=SASSL(styles="batch"))(flower)
    with pytest.raises(TypeError, match="got int"):
        transform(3)
    with pytest.raises(ValueError, match="uint8 array"):
        transform(flower.astype(np.float32))
    with pytest.raises(ValueError, match="image must be at least 1x1, got 0x9"):
        transform(np.zeros((0, 9, 3), np.uint8))
    with pytest.raises(FileNotFoundError):
        transform(tmp_path / "no.jpg")
    with pytest.raises(ValueError, match="empty"):
        transform(b"")
    one = transform(np.zeros((1, 1, 3), np.uint8))
    assert one[0].shape == (3, 224, 224)
    with pytest.raises(ValueError, match="at least 8x8"):
        seeded(MoCoV2Transform, style=SASSL(p=1.0), style_position="before_crop")(np.zeros((1, 1, 3), np.uint8))
    buffer = io.BytesIO()
    Image.new("RGB", (30_000, 3), (9, 8, 7)).save(buffer, "PNG")
    assert transform(buffer.getvalue())[1].shape == (3, 224, 224)

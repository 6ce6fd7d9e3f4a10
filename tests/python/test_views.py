"""Views of any lists of operations: their draws, and that each operation is torchvision's."""

from __future__ import annotations

import json
import pickle
from functools import partial

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl.data import TwoViewLoader
from sassl.transforms import SASSL, MoCoV2Transform, Views
from sassl.transforms.operations import (
    Affine,
    ColorJitter,
    Erasing,
    Function,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    Posterize,
    RandomResizedCrop,
    Rotation,
    Solarize,
    VerticalFlip,
)

ALL = [
    RandomResizedCrop(48),
    Rotation(30, p=0.5),
    HorizontalFlip(),
    VerticalFlip(),
    ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
    Grayscale(),
    Posterize(3),
    Affine(20, (0.1, 0.2), (0.8, 1.2), 10, p=0.5),
    GaussianBlur(),
    Solarize(),
    Normalize(),
    Erasing(),
]


@pytest.fixture(scope="module")
def flower():
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("flower.jpg")[:300:2, :400:2])


def made(*views, seed=0, **options):
    return Views(*views, output="numpy", generator=np.random.default_rng(seed), **options)


def draws(views, n=64, **place):
    return [views.core.sample(7, 300, 400, index=i, **place) for i in range(n)]


def test_one_operation_more_or_less_leaves_the_draws_of_all_others():
    whole = draws(made(ALL, ALL))
    for gone in range(1, len(ALL) - 1):
        if isinstance(ALL[gone], Normalize):
            continue
        rest = [ALL[0], *reversed([one for i, one in enumerate(ALL[1:-2], 1) if i != gone]), *ALL[-2:]]
        for some, every in zip(draws(made(rest, ALL[:3])), whole, strict=True):
            assert all(every[0][name] == some[0][name] for name in some[0])
            assert all(every[1][name] == some[1][name] for name in some[1])
    named = draws(made([*ALL[:3], HorizontalFlip(name="again")]))
    assert [one[0]["horizontal_flip"] for one in named] == [one[0]["horizontal_flip"] for one in whole]
    assert [one[0]["again"] for one in named] != [one[0]["horizontal_flip"] for one in named]


def test_views_indices_epochs_and_operations_draw_apart():
    """Rank correlations of what each draws with what all others do, below 4 / sqrt(n)."""
    n, views = 4096, made(ALL, ALL)
    by_place = {}
    for epoch, first in ((0, 0), (1, 0), (0, 1)):
        for which in (0, 1):
            rows = [views.core.sample(3, 300, 400, epoch=epoch, index=i + first)[which] for i in range(n)]
            columns = {
                "crop": [row["random_resized_crop"]["height"] for row in rows],
                "flip": [row["horizontal_flip"] is None for row in rows],
                "other flip": [row["vertical_flip"] is None for row in rows],
                "jitter": [0 if row["color_jitter"] is None else row["color_jitter"]["hue"] for row in rows],
                "blur": [0 if row["gaussian_blur"] is None else row["gaussian_blur"]["sigma"] for row in rows],
                "solarize": [row["solarize"] is None for row in rows],
            }
            by_place |= {(epoch, first, which, name): column for name, column in columns.items()}
    ranks = np.array([np.argsort(np.argsort(column, kind="stable")) for column in by_place.values()], float)
    # Ties in an order of their own, which must not be the index.
    keys = np.array(list(by_place.values()), float) + np.random.default_rng(0).random(ranks.shape) * 1e-9
    ranks = np.argsort(np.argsort(keys, axis=1), axis=1).astype(float)
    correlations = np.corrcoef(ranks) - np.eye(len(ranks))
    assert np.abs(correlations).max() < 4 / np.sqrt(n)


def test_draws_are_distributed_as_torchvisions():
    need("torchvision")
    import torch
    import torchvision.transforms as tv
    from scipy import stats

    n, image = 20_000, Image.new("RGB", (400, 300))
    torch.manual_seed(0)
    rows = [view[0] for view in draws(made(ALL), n)]
    crops = np.array([list(row["random_resized_crop"].values()) for row in rows])
    theirs = np.array([tv.RandomResizedCrop.get_params(image, [0.08, 1], [3 / 4, 4 / 3]) for _ in range(n)])
    jitter = tv.ColorJitter(0.4, 0.4, 0.4, 0.1)
    names = ("brightness", "contrast", "saturation", "hue")
    factors = [jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) for _ in range(n)]
    ours = [row["color_jitter"] for row in rows if row["color_jitter"] is not None]
    erased = np.array([list(row["erasing"].values()) for row in rows if row["erasing"] is not None])
    tensor = torch.zeros(3, 48, 48)
    boxes = np.array([tv.RandomErasing.get_params(tensor, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(n)])
    affine = [row["affine"] for row in rows if row["affine"] is not None]
    turned = [tv.RandomAffine.get_params([-20, 20], [0.1, 0.2], [0.8, 1.2], [-10, 10], [48, 48]) for _ in range(n)]
    pairs = {
        "area": (crops[:, 2] * crops[:, 3], theirs[:, 2] * theirs[:, 3]),
        "ratio": (crops[:, 3] / crops[:, 2], theirs[:, 3] / theirs[:, 2]),
        "top": (crops[:, 0], theirs[:, 0]),
        "left": (crops[:, 1], theirs[:, 1]),
        "erased area": (erased[:, 2] * erased[:, 3], boxes[:, 2] * boxes[:, 3]),
        "erased top": (erased[:, 0], boxes[:, 0]),
        "angle": ([one["angle"] for one in affine], [one[0] for one in turned]),
        "shift": ([one["translate_x"] for one in affine], [one[1][0] for one in turned]),
        "scale": ([one["scale"] for one in affine], [one[2] for one in turned]),
        "shear": ([one["shear_x"] for one in affine], [one[3][0] for one in turned]),
        **{name: ([one[name] for one in ours], [one[i + 1] for one in factors]) for i, name in enumerate(names)},
    }
    for name, (one, other) in pairs.items():
        # Bonferroni, over these tests.
        assert stats.ks_2samp(one, other).pvalue > 0.01 / len(pairs), name
    orders = np.unique([[list(one).index(name) for name in names] for one in ours], axis=0, return_counts=True)[1]
    assert len(orders) == 24
    assert stats.chisquare(orders).pvalue > 1e-3
    for name, p in (("horizontal_flip", 0.5), ("color_jitter", 0.8), ("grayscale", 0.2)):
        assert abs(np.mean([row[name] is not None for row in rows]) - p) < 0.02, name


def test_new_operations_are_torchvisions(flower):
    need("torchvision")
    import torch
    import torchvision.transforms.functional as tv

    views = made(
        [RandomResizedCrop(48), Posterize(3), Affine(20, (0.1, 0.2), (0.8, 1.2), (-9, 9, -5, 5), p=0.7)], dtype="uint8"
    )
    views = views.replace(channels_last=True)
    for _ in range(40):
        (view,) = views(flower)
        params = views.params[0]
        image = tv.resized_crop(Image.fromarray(flower), *params["random_resized_crop"].values(), [48, 48])
        image = image if params["posterize"] is None else tv.posterize(image, 3)
        if params["affine"] is not None:
            angle, x, y, scale, *shear = params["affine"].values()
            image = tv.affine(image, angle, [int(x), int(y)], scale, shear)
        assert np.array_equal(view, np.asarray(image)), params
    for last in (False, True):
        erasing = Erasing(value=(0.5, -1.0, 2.0), p=1.0)
        views = made([RandomResizedCrop(48), Normalize(), erasing], channels_last=last)
        plain = made([RandomResizedCrop(48), Normalize()], channels_last=last)
        (view,), (before,) = views(flower), plain(flower)
        top, left, height, width = views.params[0]["erasing"].values()
        chw = torch.from_numpy(np.ascontiguousarray(before.transpose(2, 0, 1) if last else before))
        value = torch.tensor([0.5, -1.0, 2.0])[:, None, None]
        expected = tv.erase(chw, top, left, height, width, value).numpy()
        assert np.array_equal(view.transpose(2, 0, 1) if last else view, expected)


def test_order_is_as_it_is_given(flower):
    crop = RandomResizedCrop(48, scale=(1.0, 1.0))
    one = made([crop, Posterize(2, p=1), Solarize(100, p=1)], dtype="uint8")(flower)[0]
    other = made([crop, Solarize(100, p=1), Posterize(2, p=1)], dtype="uint8")(flower)[0]
    assert not np.array_equal(one, other)
    whole = made([SASSL(p=1.0), crop], dtype="uint8")(flower)[0]
    after = made([crop, SASSL(p=1.0)], dtype="uint8")(flower)[0]
    last = made([crop, Grayscale(p=1), SASSL(p=1.0)], dtype="uint8")(flower)[0]
    assert len({view.tobytes() for view in (whole, after, last)}) == 3
    gray = made([crop, Grayscale(p=1)], dtype="uint8", channels_last=True)(flower)[0]
    views = made([crop, Grayscale(p=1), SASSL(p=1.0)], dtype="uint8", channels_last=True)
    (styled,) = views(flower)
    assert np.array_equal(styled, SASSL(p=1.0).apply_params(gray, views.params[0]["sassl"]))


def test_multi_crop_through_the_loader(flower, tmp_path):
    for i in range(6):
        Image.fromarray(np.roll(flower, 20 * i, 1)).save(tmp_path / f"{i}.png")
    large = [RandomResizedCrop(48, (0.4, 1.0)), HorizontalFlip(), SASSL(p=0.8), Normalize()]
    small = [RandomResizedCrop(24, (0.05, 0.4)), HorizontalFlip(), Normalize()]
    views = made(*[large] * 2, *[small] * 6)
    assert views.shapes == [(3, 48, 48)] * 2 + [(3, 24, 24)] * 6
    batch, _, names = next(iter(TwoViewLoader(tmp_path, views, 3, shuffle=False, seed=4)))
    assert [view.shape for view in batch] == [(3, 3, 48, 48)] * 2 + [(3, 3, 24, 24)] * 6
    for i, name in enumerate(names):
        image = np.asarray(Image.open(tmp_path / name))
        params = views.core.sample(4, *image.shape[:2], epoch=0, index=i)
        assert all(map(np.array_equal, views.apply_params(image, params), [view[i] for view in batch]))


def test_styles_of_a_batch_are_what_the_step_is_given(flower, tmp_path):
    for i in range(3):
        Image.fromarray(np.roll(flower, 20 * i, 1)).save(tmp_path / f"{i}.png")
    style = SASSL(p=1.0, styles="batch")
    before = [RandomResizedCrop(48), ColorJitter(0.4, 0.4, 0.4, 0.1)]
    views = made([*before, style, HorizontalFlip()], dtype="uint8", channels_last=True)
    (batch,), _, names = next(iter(TwoViewLoader(tmp_path, views, 3, shuffle=False, seed=4)))
    content = made([*before], dtype="uint8", channels_last=True)
    images = [np.asarray(Image.open(tmp_path / name)) for name in names]
    crops = [content.core.sample(4, *image.shape[:2], index=i) for i, image in enumerate(images)]
    z = style.stylizer.encode(
        np.stack([content.apply_params(image, p)[0] for image, p in zip(images, crops, strict=True)])
    )
    bare = made([*before, SASSL(p=1.0, styles=z), HorizontalFlip()], dtype="uint8", channels_last=True)
    for i, (params,) in enumerate(views.core.sample_batch(4, len(images), *images[0].shape[:2])):
        assert params["sassl"].style[0] != i
        image = images[i]
        assert np.abs(bare.apply_params(image, [params])[0].astype(int) - batch[i]).max() <= 1


def test_functions_of_python(flower, tmp_path):
    def invert(image):
        return 255 - image

    def noise(image, seed):
        return image ^ np.random.default_rng(seed).integers(0, 8, image.shape, np.uint8)

    crop = RandomResizedCrop(48)
    views = made([crop, invert, Function(noise, seeded=True, p=0.5), HorizontalFlip()], dtype="uint8")
    (view,) = views(flower)
    again = pickle.loads(pickle.dumps(views.params))
    assert np.array_equal(view, views.apply_params(flower, again)[0])
    plain = made([crop, HorizontalFlip()], dtype="uint8").apply_params(
        flower, [type(again[0])({name: again[0][name] for name in ("random_resized_crop", "horizontal_flip")})]
    )[0]
    assert (np.bitwise_xor(255 - plain, view) < 8).all()
    Image.fromarray(flower).save(tmp_path / "0.png")
    (batch,), _, _ = next(iter(TwoViewLoader(tmp_path, views, 1, threads=2)))
    assert batch.shape == (1, 3, 48, 48)
    for wrong, message in (
        (lambda image: image[:8], "must return an image of 48x48"),
        (lambda image: 1 / 0, "division by zero"),
    ):
        with pytest.raises((ValueError, RuntimeError, ZeroDivisionError), match=message):
            made([crop, wrong], dtype="uint8")(flower)
        with pytest.raises((ValueError, RuntimeError, ZeroDivisionError), match=message):
            next(iter(TwoViewLoader(tmp_path, made([crop, wrong], dtype="uint8"), 1)))


def test_numbers_are_the_same_of_whatever_type():
    images, right = np.zeros((4, 8, 8, 3), np.uint8), [RandomResizedCrop(8)]
    views = made([RandomResizedCrop(8, (0.5, 1.0)), Solarize(3), Posterize(2)], right)
    others = made([RandomResizedCrop(np.int64(8), (0.5, 1)), Solarize(np.uint8(3)), Posterize(np.int64(2))], right)
    assert others.describe() == views.describe()
    TwoViewLoader(images, others, 2).load_state_dict(TwoViewLoader(images, views, 2).state_dict())


class Turned:
    def __call__(self, image):
        return image[:, ::-1]


def test_a_state_goes_on_with_functions_that_lie_elsewhere():
    images, crop = np.zeros((4, 8, 8, 3), np.uint8), RandomResizedCrop(8)
    here = [partial(np.roll, shift=1), Turned()]
    there = [partial(np.roll, shift=1), Turned()]
    for one, same in zip(here, there, strict=True):
        state = TwoViewLoader(images, made([crop, one], [crop]), 2).state_dict()
        TwoViewLoader(images, made([crop, same], [crop]), 2).load_state_dict(state)
        assert "0x" not in json.dumps(state)
    with pytest.raises(ValueError, match=r"state is of other views: .*shift=2"):
        TwoViewLoader(images, made([crop, partial(np.roll, shift=2)], [crop]), 2).load_state_dict(
            TwoViewLoader(images, made([crop, here[0]], [crop]), 2).state_dict()
        )


def test_probabilities_follow_their_schedule():
    views = made([RandomResizedCrop(32), HorizontalFlip(p=[(2, 0.0), (6, 1.0)])])
    rate = [
        np.mean([one[0]["horizontal_flip"] is not None for one in draws(views, 400, epoch=e)]) for e in (0, 2, 4, 6, 9)
    ]
    assert rate[0] == rate[1] == 0
    assert 0.4 < rate[2] < 0.6
    assert rate[3] == rate[4] == 1


def test_views_are_described_and_rebuilt(flower):
    views = made(ALL, ALL[:4], min_decode_size=100)
    described = json.loads(json.dumps(views.describe()))
    again = Views.from_description(described, output="numpy")
    assert json.loads(json.dumps(again.describe())) == described
    assert again.core.sample(3, 90, 90) == views.core.sample(3, 90, 90)
    params = views.sample(*flower.shape[:2])
    assert all(map(np.array_equal, again.apply_params(flower, params), views.apply_params(flower, params)))
    assert all(map(np.array_equal, pickle.loads(pickle.dumps(views))(flower), views(flower)))
    style = SASSL(0.6)
    styled = made([RandomResizedCrop(32), style], [RandomResizedCrop(32), style])
    again = Views.from_description(json.loads(json.dumps(styled.describe())))
    # One style in two views stays one.
    assert [one.p for one in again.styles] == [0.6]
    assert again.core.sample(3, 90, 90) == styled.core.sample(3, 90, 90)
    images = SASSL(styles=[flower])
    with pytest.raises(ValueError, match="required, because the styles with checksum"):
        Views.from_description(made([RandomResizedCrop(32), images]).describe())
    assert "ColorJitter(" in repr(views)
    assert MoCoV2Transform(32).describe()["views"][0][0]["kind"] == "random_resized_crop"


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ([], "views must start with one RandomResizedCrop"),
        ([HorizontalFlip()], "views must start with one RandomResizedCrop"),
        ([HorizontalFlip(), RandomResizedCrop(32)], "views must start with one RandomResizedCrop"),
        ([RandomResizedCrop(32), RandomResizedCrop(32, name="b")], "views must start with one RandomResizedCrop"),
        (
            [RandomResizedCrop(32), HorizontalFlip(), HorizontalFlip()],
            "name must be unique within a view, .*; give a repeated operation a name of its own",
        ),
        ([RandomResizedCrop(32), Normalize(), HorizontalFlip()], "must be before Normalize"),
        ([RandomResizedCrop(32), Normalize(), Normalize()], "at most one Normalize"),
        ([RandomResizedCrop(32), Erasing(), HorizontalFlip()], "changes bytes and must precede"),
        ([RandomResizedCrop(4), SASSL()], r"size must have sides in \[8, .*\] pixels, got \(4, 4\)"),
        ([RandomResizedCrop(8), GaussianBlur(23)], "kernel_size must be at most 15 for an image of 8x8, got 23"),
        ([RandomResizedCrop(32), HorizontalFlip(p=2)], r"p must be in \[0, 1\], got 2"),
        ([RandomResizedCrop(32), HorizontalFlip(p=[(3, 0.1), (1, 0.2)])], "increasing epochs"),
        ([RandomResizedCrop(32), Posterize(9)], r"bits must be an integer in \[1, 8\], got 9"),
        ([RandomResizedCrop(32), Solarize(300)], "settings of solarize are invalid: "),
        ([RandomResizedCrop(32), Affine(10, shear=100)], "shear must be ranges "),
        ([RandomResizedCrop(32), ColorJitter(hue=0.7)], r"hue must be in \[0, 0.5\], got 0.7"),
        ([RandomResizedCrop(32, scale=(0.5, 1.5))], "scale must be a range "),
        (
            [RandomResizedCrop(32, interpolation="nearest")],
            'interpolation must be "bilinear" or "bicubic", got "nearest"',
        ),
    ],
)
def test_lists_that_cannot_be(view, message):
    with pytest.raises(ValueError, match=message):
        Views(view)


def test_what_is_no_operation():
    with pytest.raises(TypeError, match="views must be operations"):
        Views([RandomResizedCrop(32), 3])
    with pytest.raises(ValueError, match="views must have a list of operations for each view, got none"):
        Views()

"""Models of others are measured: torch modules and other functions, with the rule by which their images are made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sassl
from conftest import coloured, need
from PIL import Image
from sassl import evaluation
from sassl.evaluation import Preprocessing
from sassl.transforms.recipes import IMAGENET_NORMALIZE

PLAIN = Preprocessing(16, normalize=None)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 20, 24, 3), np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(240, 320), (333, 211), (97, 96), (64, 400)])
def test_the_rule_is_torchvisions(interpolation, shape):
    need("torchvision")
    from sklearn.datasets import load_sample_image
    from torchvision import transforms as T

    photo = Image.fromarray(load_sample_image("flower.jpg")[: shape[0], : shape[1]])
    for resize, size in ((64, 56), (75, 64), (96, 96), (96, (80, 61))):
        kind = getattr(T.InterpolationMode, interpolation.upper())
        steps = [T.Resize(resize, kind), T.CenterCrop(size), T.ToTensor()]
        expected = T.Compose(steps)(photo).numpy()
        assert np.array_equal(
            Preprocessing(size, resize=resize, interpolation=interpolation, normalize=None)(photo), expected
        )
        rule = Preprocessing(
            size, resize=resize, interpolation=interpolation, normalize=IMAGENET_NORMALIZE, channels_last=True
        )
        normalized = T.Normalize(**IMAGENET_NORMALIZE)(T.Compose(steps)(photo)).numpy().transpose(1, 2, 0)
        assert np.allclose(rule(photo), normalized, atol=1e-6)
        assert rule(photo).shape == rule.shape


def test_a_rule_without_resize_takes_the_middle_square():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 255
    assert (Preprocessing(10, normalize=None)(image) == 1).all()
    assert Preprocessing((8, 6), normalize=None)(image).shape == (3, 8, 6)
    # A thin image is not enlarged as a whole.
    assert Preprocessing(224, resize=256, normalize=None)(np.zeros((1, 20_000, 3), np.uint8)).shape == (3, 224, 224)


def test_models_of_sassl_are_measured_as_their_run_made_images():
    small = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=32)
    assert Preprocessing.of(small) == Preprocessing(32, interpolation="bicubic", normalize=None, channels_last=True)
    assert Preprocessing.of(sassl.BYOL("resnet18", hidden_dim=16, dim=8)) == Preprocessing(
        224, resize=256, interpolation="bicubic", normalize=IMAGENET_NORMALIZE, channels_last=True
    )


def test_an_exported_backbone_has_the_features_of_its_model(tmp_path):
    need("torchvision")
    import torch
    import torchvision
    from safetensors.torch import load_file

    data = coloured(tmp_path / "images", {"val": 3}, (90, 120))
    model = sassl.MoCoV2("resnet18", input_size=80, queue_size=16, splits=1, threads=2)
    model.export_backbone(tmp_path / "net.safetensors")
    net = torchvision.models.resnet18()
    net.load_state_dict(load_file(tmp_path / "net.safetensors"), strict=False)
    net.fc = torch.nn.Identity()
    rule = dataclasses.replace(Preprocessing.of(model), channels_last=False)
    ours, theirs = evaluation.extract(model, data / "val"), evaluation.extract(net, data / "val", preprocessing=rule)
    assert np.abs(ours.features - theirs.features).max() < 1e-4 * np.abs(ours.features).max()
    assert (theirs.targets.tolist(), theirs.classes) == (ours.targets.tolist(), ["blue", "red"])
    assert evaluation.knn(theirs, ours, k=1)["top1"] == 100.0
    assert evaluation.linear_probe(ours, theirs, epochs=3)["top5"] == 100.0


def test_torch_modules_are_left_as_they_were(images):
    need("torch")
    import torch
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.train()
    net[1].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append((net.training, net[2].training, torch.is_grad_enabled())))
    found = evaluation.extract(net, images, preprocessing=PLAIN, batch_size=3)
    assert seen == [(False, False, False)] * 3
    assert [part.training for part in net.modules()] == [True, True, False, True, True, True]
    assert torch.is_grad_enabled()
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    batch = torch.from_numpy(np.stack([PLAIN(image) for image in images]))
    with torch.no_grad():
        assert np.allclose(found.features, net.eval()(batch).numpy(), atol=1e-6)
    assert found.features.dtype == np.float32
    net.train()
    with pytest.raises(ValueError, match=r"images\[1\]"):
        evaluation.encode(net, [images[0], images[1, ..., :2]], preprocessing=PLAIN)
    assert net[2].training
    # In the module's own type, and by a method of it.
    double = nn.Conv2d(3, 4, 16).double()
    flat = evaluation.encode(nn.Sequential(double, nn.Flatten()), images, preprocessing=PLAIN)
    assert flat.shape == (7, 4)
    assert np.allclose(evaluation.encode(net.forward, images, preprocessing=PLAIN), found.features, atol=1e-6)
    assert net[2].training


def test_models_of_timm(images):
    need("timm")
    import timm

    net = timm.create_model("resnet18", num_classes=0)
    assert evaluation.encode(net, images, preprocessing=PLAIN).shape == (7, 512)
    with pytest.raises(
        ValueError, match=r"model must return numbers of shape \(7, dim\) .* got float32 of shape \(7, 512"
    ):
        evaluation.encode(net.forward_features, images, preprocessing=PLAIN)


@pytest.mark.cuda
def test_modules_on_a_gpu_give_numpy(images):
    need("torch")
    import torch
    from torch import nn

    if not torch.cuda.is_available():
        pytest.skip("DID NOT RUN: there is no GPU")

    net = nn.Sequential(nn.Conv2d(3, 4, 16), nn.Flatten())
    expected = evaluation.extract(net, images, preprocessing=PLAIN).features
    found = evaluation.extract(net.cuda(), images, preprocessing=PLAIN).features
    assert isinstance(found, np.ndarray)
    assert np.allclose(found, expected, atol=1e-3)
    assert evaluation.extract(net.half(), images, preprocessing=PLAIN).features.dtype == np.float32


def test_any_function_of_arrays(images):
    means = evaluation.encode(lambda batch: batch.mean((2, 3)), images, preprocessing=PLAIN, batch_size=2)
    last = dataclasses.replace(PLAIN, channels_last=True)
    assert means.shape == (7, 3)
    assert np.allclose(
        means, evaluation.encode(lambda batch: batch.mean((1, 2)), images, preprocessing=last), atol=1e-6
    )
    assert np.allclose(evaluation.encode(lambda batch: batch.mean((1, 2)), images[2], preprocessing=last), means[2:3])
    assert evaluation.extract(lambda batch: batch.mean((2, 3)), images, preprocessing=PLAIN).features.shape == (7, 3)


def test_what_cannot_be(images):
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16)
    with pytest.raises(TypeError, match="preprocessing is required for function; give"):
        evaluation.extract(lambda batch: batch, images)
    with pytest.raises(
        TypeError, match="model must be one of sassl's, a torch module or a function of images, got int"
    ):
        evaluation.extract(3, images, preprocessing=PLAIN)
    with pytest.raises(TypeError, match=r"preprocessing must be a sassl.evaluation.Preprocessing, got dict"):
        evaluation.extract(model, images, preprocessing={})
    with pytest.raises(ValueError, match=r"preprocessing must have normalize=None, .*, got {'mean':"):
        evaluation.extract(model, images, preprocessing=Preprocessing(16, normalize=IMAGENET_NORMALIZE))
    for function, error, message in (
        (lambda batch: batch.tolist(), TypeError, "array .N, dim., got list"),
        (lambda batch: batch, ValueError, r"shape \(7, dim\) for 7 images, got float32 of shape \(7, 3, 16, 16\)"),
        (lambda batch: batch[0, 0], ValueError, "pool or flatten"),
    ):
        with pytest.raises(error, match=message):
            evaluation.encode(function, images, preprocessing=PLAIN)
    for settings, message in (
        ({"size": 0}, "size must be .*, got 0"),
        ({"resize": 15}, "resize must be an integer >= 16, got 15"),
        ({"interpolation": "nearest"}, "interpolation must be 'bilinear' or 'bicubic', got 'nearest'"),
        ({"normalize": {"mean": [0, 0, 0]}}, "normalize must be a dict of .*, got"),
        ({"normalize": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, "the latter > 0, or None, got"),
        ({"channels_last": 1}, "channels_last must be True or False, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Preprocessing(**{"size": 16, "normalize": None, **settings})
    with pytest.raises(TypeError, match="normalize"):
        Preprocessing(16)


def test_a_model_of_sassl_takes_images_and_makes_them_as_its_run_did(tmp_path):
    need("torchvision")
    import torch
    from sklearn.datasets import load_sample_image
    from torchvision import transforms as T

    photo = load_sample_image("china.jpg").copy()
    model = sassl.BYOL("resnet18", hidden_dim=16, dim=8, input_size=80, threads=2)
    steps = [
        T.Resize(91, T.InterpolationMode.BICUBIC),
        T.CenterCrop(80),
        T.ToTensor(),
        T.Normalize(**IMAGENET_NORMALIZE),
    ]
    expected = model.encode_normalized(T.Compose(steps)(Image.fromarray(photo))[None])
    Image.fromarray(photo).save(tmp_path / "photo.png")
    planes = torch.from_numpy(photo).permute(2, 0, 1)
    for images in (
        photo,
        photo[None],
        [photo],
        planes,
        planes[None],
        [planes],
        Image.fromarray(photo),
        tmp_path / "photo.png",
        [str(tmp_path / "photo.png")],
        (tmp_path / "photo.png").read_bytes(),
    ):
        assert np.allclose(model.encode(images), expected, atol=1e-4 * np.abs(expected).max())
    many = model.encode([photo, planes, Image.fromarray(photo[::2])], batch_size=2)
    assert np.allclose(many[:2], expected, atol=1e-4 * np.abs(expected).max())
    assert np.array_equal(many, evaluation.extract(model, [photo, photo, photo[::2].copy()], batch_size=2).features)
    assert model.encode([]).shape == model.encode_normalized(np.empty((0, 80, 80, 3), np.float32)).shape == (0, 512)


def test_floats_are_refused_where_images_are_meant_and_images_where_floats_are(tmp_path):
    need("torch")
    import torch

    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
    unit = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    for images in (
        unit,
        unit * 255,
        unit[0],
        [unit[0]],
        torch.from_numpy(unit).permute(0, 3, 1, 2),
        unit.astype(np.float16),
    ):
        with pytest.raises(
            ValueError,
            match=r"images must be uint8, as the normalization of floats is not known, got float\d\d; .*encode_normalized",
        ):
            model.encode(images)
    assert model.encode_normalized(unit).shape == (2, 512)
    with pytest.raises(ValueError, match="images must be normalized floats, got uint8; pass images to encode"):
        model.encode_normalized((unit * 255).astype(np.uint8))
    with pytest.raises(ValueError, match=r"images\[0\]: .*not one of JPEG"):
        model.encode([b"no image"])
    with pytest.raises(TypeError, match=r"images\[0\] must be a PIL image, .* got tuple; pass a data set to extract"):
        model.encode([(unit, 0)])
    for images in (3, None, {"image": unit}):
        with pytest.raises(TypeError, match=f"images must be an image, .* got {type(images).__name__}"):
            model.encode(images)
    with pytest.raises(
        IsADirectoryError, match=r"images must not be a folder, got .*; pass it to extract, or give a list of files"
    ):
        model.encode(tmp_path)
    unknown = sassl.SimCLR(
        "resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, views={"normalize": "not known"}
    )
    with pytest.raises(ValueError, match=r"normalize is 'not known', .* .*encode_normalized"):
        unknown.encode((unit * 255).astype(np.uint8))

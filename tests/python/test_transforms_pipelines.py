"""SASSL and the recipes within lightly, timm, torchvision and Hugging Face datasets."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl.transforms import MoCoV2Transform, with_style
from sassl.transforms.huggingface import Columns
from sassl.transforms.plain import SASSL


@pytest.fixture
def pictures(photo):
    return [Image.fromarray(photo[: 40 + i, : 60 - i]) for i in range(6)]


@pytest.fixture
def folder(pictures, tmp_path):
    for i, picture in enumerate(pictures):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        picture.save(tmp_path / f"class{i % 2}" / f"{i}.png")
    return tmp_path


def styles_of(pipeline):
    steps = getattr(pipeline, "transform", pipeline).transforms
    return [type(step).__name__ for step in steps].count("SASSL")


@pytest.mark.filterwarnings("ignore")
def test_lightly(folder):
    need("lightly")
    import torch
    from lightly import transforms as theirs
    from lightly.data import LightlyDataset
    from torch.utils.data import DataLoader

    for transform in (theirs.MoCoV2Transform(32), theirs.SimCLRTransform(32), theirs.BYOLTransform()):
        styled = with_style(transform, SASSL(p=1.0))
        assert [styles_of(view) for view in styled.transforms] == [1, 0]
        assert [styles_of(view) for view in transform.transforms] == [0, 0]
        assert type(styled.transforms[0].transform.transforms[0]).__name__ == "RandomResizedCrop"
        assert type(styled.transforms[0].transform.transforms[1]).__name__ == "SASSL"
        dataset = LightlyDataset(str(folder), transform=styled)
        views, targets, names = next(iter(DataLoader(dataset, 3)))
        assert len(views) == 2
        assert len(names) == len(targets) == 3
        assert not torch.equal(*views)
    ours = LightlyDataset(str(folder), transform=MoCoV2Transform(input_size=32, style=SASSL()))
    views, targets, names = next(iter(DataLoader(ours, 4, num_workers=2)))
    assert [view.shape for view in views] == [(4, 3, 32, 32)] * 2
    assert targets.dtype == torch.int64


@pytest.mark.filterwarnings("ignore")
def test_timm(pictures):
    need("timm")
    from timm.data import create_transform

    style = SASSL(p=1.0)
    made = with_style(create_transform(32, is_training=True), style)
    assert [type(step).__name__ for step in made.transforms[:2]] == ["RandomResizedCropAndInterpolation", "SASSL"]
    assert made(pictures[0]).shape == (3, 32, 32)
    assert style.params is None or made.transforms[1].params is not None
    parts = with_style(create_transform(32, is_training=True, separate=True, auto_augment="rand-m9"), style)
    assert [styles_of(part) for part in parts] == [1, 0, 0]
    with pytest.raises(ValueError, match="expected a RandomResizedCrop or RandomCrop among its steps"):
        with_style(create_transform(32), style)


def test_torchvision(pictures):
    need("torchvision")
    from torchvision.transforms import v2

    made = with_style(v2.Compose([v2.RandomResizedCrop(32), v2.ToImage()]), SASSL(p=1.0))
    assert made(pictures[0]).shape == (3, 32, 32)
    for_cifar = with_style(v2.Compose([v2.RandomCrop(32, padding=4), v2.ToImage()]), SASSL(p=1.0))
    assert [type(step).__name__ for step in for_cifar.transforms] == ["RandomCrop", "SASSL", "ToImage"]
    with pytest.raises(ValueError, match="got RandomCrop"):
        with_style(v2.RandomCrop(3), SASSL())
    either = v2.RandomChoice([v2.RandomResizedCrop(32), v2.RandomCrop(32)])
    with pytest.raises(ValueError, match="which are RandomChoice, ToImage"):
        with_style(v2.Compose([either, v2.ToImage()]), SASSL())
    for style in (None, "x", SASSL):
        with pytest.raises(TypeError, match="style: expected"):
            with_style(v2.Compose([v2.RandomResizedCrop(32)]), style)


def test_hugging_face(pictures):
    need("datasets")
    import datasets

    dataset = datasets.Dataset.from_dict({"image": pictures, "label": list(range(6))}).cast_column(
        "image", datasets.Image()
    )
    dataset.set_transform(Columns(SASSL(p=1.0, generator=np.random.default_rng(0))))
    rows = dataset[:4]
    assert [image.size for image in rows["image"]] == [picture.size for picture in pictures[:4]]
    assert rows["label"] == [0, 1, 2, 3]
    assert not np.array_equal(np.asarray(rows["image"][0]), np.asarray(pictures[0]))
    dataset.set_transform(Columns(SASSL(p=1.0, styles="batch"), output="styled"))
    assert set(dataset[:3]) == {"image", "label", "styled"}
    dataset.set_transform(Columns(MoCoV2Transform(32, output="numpy"), output="views"))
    assert [view.shape for view in dataset[1]["views"]] == [(3, 32, 32)] * 2
    with pytest.raises(KeyError, match="column = 'img'"):
        Columns(SASSL(), "img")({"image": pictures})
    with pytest.raises(TypeError, match="transform: expected"):
        Columns(None)
    for column in ([pictures[0], None], ["photo.jpg"], [{"bytes": None, "path": "photo.jpg"}]):
        with pytest.raises(TypeError, match=r"image\[\d\]: expected an image, got .*cast_column"):
            Columns(SASSL())({"image": column})
    dataset.reset_format()
    with pytest.raises(TypeError, match="batched=True"):
        dataset.map(Columns(SASSL()))


def test_columns_of_tensors_are_all_stylized(pictures):
    need("torchvision")
    import torch
    from sassl.transforms import torchvision as ours
    from torchvision.transforms.v2.functional import pil_to_tensor

    tensors = [pil_to_tensor(picture) for picture in pictures]
    made = Columns(ours.SASSL(p=1.0))({"image": tensors})["image"]
    assert [x.shape for x in made] == [x.shape for x in tensors]
    assert not any(map(torch.equal, made, tensors))


HASH = """
from datasets.fingerprint import Hasher
from sassl.transforms import MoCoV2Transform
from sassl.transforms.huggingface import Columns
from sassl.transforms.plain import SASSL
import numpy as np
def both():
    return [Columns(SASSL(beta=(0.1, 0.2))), Columns(MoCoV2Transform(style=SASSL()))]
first = [Hasher.hash(columns) for columns in both()]
used = both()
for columns in used:
    columns({"image": [np.zeros((9, 9, 3), np.uint8)]})
assert [Hasher.hash(columns) for columns in used] == first, "calls change the fingerprint"
print(first, Hasher.hash(Columns(SASSL())))
"""


def test_fingerprints_are_those_of_the_settings():
    need("datasets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = [subprocess.run([sys.executable, "-c", HASH], capture_output=True, text=True) for _ in range(2)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert len(set(runs[0].stdout.replace("[", "").replace("]", "").replace(",", "").split())) == 3

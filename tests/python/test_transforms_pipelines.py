"""SASSL and the recipes within lightly, timm, torchvision and Hugging Face datasets."""

from __future__ import annotations

import pickle
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
def images(photo):
    return [Image.fromarray(photo[: 40 + i, : 60 - i]) for i in range(6)]


@pytest.fixture
def folder(images, tmp_path):
    for i, image in enumerate(images):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        image.save(tmp_path / f"class{i % 2}" / f"{i}.png")
    return tmp_path


def styles_of(pipeline):
    transforms = getattr(pipeline, "transform", pipeline).transforms
    return [type(transform).__name__ for transform in transforms].count("SASSL")


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
def test_timm(images):
    need("timm")
    from timm.data import create_transform

    style = SASSL(p=1.0)
    made = with_style(create_transform(32, is_training=True), style)
    assert [type(step).__name__ for step in made.transforms[:2]] == ["RandomResizedCropAndInterpolation", "SASSL"]
    assert made(images[0]).shape == (3, 32, 32)
    assert style.params is None or made.transforms[1].params is not None
    parts = with_style(create_transform(32, is_training=True, separate=True, auto_augment="rand-m9"), style)
    assert [styles_of(part) for part in parts] == [1, 0, 0]
    with pytest.raises(ValueError, match="pipeline must have a RandomResizedCrop or RandomCrop among its transforms"):
        with_style(create_transform(32), style)


def test_torchvision(images):
    need("torchvision")
    from torchvision.transforms import v2

    made = with_style(v2.Compose([v2.RandomResizedCrop(32), v2.ToImage()]), SASSL(p=1.0))
    assert made(images[0]).shape == (3, 32, 32)
    for_cifar = with_style(v2.Compose([v2.RandomCrop(32, padding=4), v2.ToImage()]), SASSL(p=1.0))
    assert [type(step).__name__ for step in for_cifar.transforms] == ["RandomCrop", "SASSL", "ToImage"]
    with pytest.raises(ValueError, match="got RandomCrop"):
        with_style(v2.RandomCrop(3), SASSL())
    either = v2.RandomChoice([v2.RandomResizedCrop(32), v2.RandomCrop(32)])
    with pytest.raises(ValueError, match="got RandomChoice, ToImage"):
        with_style(v2.Compose([either, v2.ToImage()]), SASSL())
    for style in (None, "x", SASSL):
        with pytest.raises(TypeError, match="style must be"):
            with_style(v2.Compose([v2.RandomResizedCrop(32)]), style)


class TwoCrops:
    """As MoCo's `TwoCropsTransform`, SimCLR's `ContrastiveLearningViewGenerator` and solo-learn's `NCropAugmentation` do it."""

    def __init__(self, name, pipeline, n=2):
        self.name, self.n = name, n
        setattr(self, name, pipeline)

    def __call__(self, image):
        return [getattr(self, self.name)(image) for _ in range(self.n)]


class OneCrop:
    """As lightly's views and solo-learn's older transforms have their Compose."""

    def __init__(self, transform):
        self.transform = transform

    def __call__(self, image):
        return self.transform(image)


class FullTransformPipeline:
    """As solo-learn has it: makers of views, one after the other."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        return [view for transform in self.transforms for view in transform(image)]


class TwoPipelines:
    """As MoCo v3's `TwoCropsTransform` and DINO's `DataAugmentationDINO`: named in another order than they are called."""

    def __init__(self, local, right, left):
        self.local, self.right, self.left = local, right, left

    def __call__(self, image):
        return [self.left(image), self.right(image), *(self.local(image) for _ in range(3))]


class Stacked(TwoCrops):
    """Views that go on as one tensor."""

    def __call__(self, image):
        import torch

        return torch.stack(super().__call__(image))


class Prepared:
    """What all views have in common comes first."""

    def __init__(self, first, view):
        self.first, self.view = first, view

    def __call__(self, image):
        image = self.first(image)
        return [self.view(image), self.view(image)]


class MultiCropDataset:
    """As SwAV's: the pipelines are called by the dataset."""

    def __init__(self, trans):
        self.trans = trans


class Counted:
    """A style that only counts, and turns the view white."""

    def __init__(self):
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        return Image.new("RGB", image.size, "white")


def test_makers_of_views_have_style_in_the_first(images):
    need("torchvision")
    from torchvision import transforms as v1

    def crop():
        return v1.Compose([v1.RandomResizedCrop(16), v1.ToTensor()])

    small = v1.Compose([v1.RandomResizedCrop(16, scale=(0.05, 0.14)), v1.ToTensor()])
    shared = crop()
    many = [
        (TwoCrops("base_transform", crop()), 2),
        (TwoCrops("base_transform", crop(), 5), 5),
        (TwoCrops("transform", crop()), 2),
        (TwoCrops("transform", OneCrop(crop())), 2),
        (Stacked("transform", crop()), 2),
        (FullTransformPipeline([TwoCrops("transform", crop(), 2), TwoCrops("transform", small, 6)]), 8),
        (FullTransformPipeline([TwoCrops("transform", crop(), 1), TwoCrops("transform", crop(), 1)]), 2),
        (TwoPipelines(small, crop(), crop()), 5),
        (TwoPipelines(shared, shared, shared), 5),
        (Prepared(v1.Compose([v1.Resize(30)]), crop()), 2),
        (v1.Compose([v1.Resize(30), TwoCrops("base_transform", crop())]), 2),
    ]
    for pipeline, n in many:
        style = Counted()
        styled = with_style(pipeline, style)
        assert style.calls == 0
        for i in range(1, 3):
            views = styled(images[0])
            assert (len(views), style.calls) == (n, i), styled
            assert [float(view.min()) == 1 for view in views] == [True] + [False] * (n - 1), styled
        pipeline(images[0])
        assert style.calls == 2, "the pipeline that was given is as it was"
        assert len(pickle.loads(pickle.dumps(styled))(images[0])) == n

    style = Counted()
    dataset = MultiCropDataset([crop()] * 2 + [small] * 3)
    with pytest.raises(ValueError, match="got MultiCropDataset; give its trans"):
        with_style(dataset, style)
    views = [transform(images[0]) for transform in with_style(dataset.trans, style)]
    assert [float(view.min()) == 1 for view in views] == [True] + [False] * 4
    assert style.calls == 1


def test_an_error_in_a_view_leaves_the_next_image_alone(images):
    need("torchvision")
    from torchvision import transforms as v1

    style = Counted()
    styled = with_style(TwoCrops("base_transform", v1.Compose([v1.RandomResizedCrop(16), v1.ToTensor()])), style)
    for i in range(1, 4):
        with pytest.raises(TypeError):
            styled("no image")
        styled(images[0])
        assert style.calls == i


def test_pipelines_that_are_not_understood_say_what_to_do():
    need("torchvision")
    from torchvision import transforms as v1
    from torchvision.transforms import v2

    crop = v1.Compose([v1.RandomResizedCrop(16), v1.ToTensor()])
    for pipeline in (
        v2.RandomChoice([crop, crop]),
        Prepared(crop, v1.Compose([v1.ToTensor()])),
        TwoCrops("base_transform", v1.ToTensor()),
        lambda image: [crop(image), crop(image)],
        [],
        3,
    ):
        with pytest.raises(ValueError, match=r"insert SASSL by hand, after the left view's random crop"):
            with_style(pipeline, Counted())


def test_hugging_face(images):
    need("datasets")
    import datasets

    dataset = datasets.Dataset.from_dict({"image": images, "label": list(range(6))}).cast_column(
        "image", datasets.Image()
    )
    dataset.set_transform(Columns(SASSL(p=1.0, generator=np.random.default_rng(0))))
    rows = dataset[:4]
    assert [image.size for image in rows["image"]] == [image.size for image in images[:4]]
    assert rows["label"] == [0, 1, 2, 3]
    assert not np.array_equal(np.asarray(rows["image"][0]), np.asarray(images[0]))
    dataset.set_transform(Columns(SASSL(p=1.0, styles="batch"), output="styled"))
    assert set(dataset[:3]) == {"image", "label", "styled"}
    dataset.set_transform(Columns(MoCoV2Transform(32, output="numpy"), output="views"))
    assert [view.shape for view in dataset[1]["views"]] == [(3, 32, 32)] * 2
    with pytest.raises(KeyError, match=r"column must be one of .*, got 'img'"):
        Columns(SASSL(), "img")({"image": images})
    with pytest.raises(TypeError, match="transform must be"):
        Columns(None)
    for column in ([images[0], None], ["photo.jpg"], [{"bytes": None, "path": "photo.jpg"}]):
        with pytest.raises(TypeError, match=r"image\[\d\] must be an image, got .*cast_column"):
            Columns(SASSL())({"image": column})
    dataset.reset_format()
    with pytest.raises(TypeError, match="batched=True"):
        dataset.map(Columns(SASSL()))


def test_columns_of_tensors_are_all_stylized(images):
    need("torchvision")
    import torch
    from sassl.transforms import torchvision as ours
    from torchvision.transforms.v2.functional import pil_to_tensor

    tensors = [pil_to_tensor(image) for image in images]
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

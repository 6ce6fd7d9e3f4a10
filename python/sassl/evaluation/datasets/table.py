"""The table of data sets. A school is one of the ways to split a set.

For sets in table 10 of BYOL (arXiv 2006.07733), the first school has the splits and counts printed in that table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .annotations import cars, flowers
from .cifar import cifar
from .folders import caltech, imagenet, imagenet_part, imagenet_shots, inaturalist
from .lists import dtd, food, sun
from .retinopathy import retinopathy
from .rows import Dataset, School

_HELD = ("train", "val")
_IMAGENET = (
    "Images: https://image-net.org/download.php, unpacked to train/<wnid>/ and val/<wnid>/; the devkit is not needed."
)
_IMAGENET_FOLDERS = ("imagenet", "ImageNet", "imagenet2012", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")


def _kornblith(train: int, val: int, test: int) -> School:
    """A school with the split sizes of Kornblith et al. 2019, as printed by BYOL; the held-out images are not published."""
    return School(
        text=f"Kornblith et al. 2019, as in BYOL: val is {val} images of train, drawn here",
        images={"train": train, "val": val, "test": test},
        drawn=_HELD,
    )


def _fifth(train: int, val: int, test: int) -> School:
    return School(
        text="ssl-transfer (Ericsson et al. 2021): val is a random fifth of train, drawn here",
        images={"train": train, "val": val, "test": test},
        drawn=_HELD,
    )


def _folds(text: str, images: Mapping[str, int], drawn: tuple[str, ...] = ()) -> dict[str, School]:
    return {f"fold{n}": School(text=f"official fold {n} of 10{text}", images=images, drawn=drawn) for n in range(1, 11)}


def _imagenet(name: str, title: str, schools: Mapping[str, School], reader: Any, lists: str = "") -> Dataset:
    held = (lists, f"imagenet_subsets/{lists}")
    return Dataset(
        name=name,
        title=title,
        classes=1000,
        resize="margin",
        schools=schools,
        folders=_IMAGENET_FOLDERS,
        holds=("train", "val", held) if lists else ("train", "val"),
        source=_IMAGENET + (f" List: imagenet_subsets/{lists} of google-research/simclr on GitHub." if lists else ""),
        reader=reader,
    )


def _part(name: str, title: str, lists: str, train: int) -> Dataset:
    val = round(train / 5)
    text = "SimCLR's list (also in tensorflow-datasets); val is a fifth of it, drawn here"
    images = {"train": train - val, "val": val, "test": 50_000}
    return _imagenet(
        name, title, {"simclr": School(text=text, images=images, drawn=_HELD)}, imagenet_part(lists), lists
    )


def _shots(count: int) -> Dataset:
    schools = {
        "tfds": School(
            text="imagenet2012_fewshot of tensorflow-datasets, its lists next to train and val; tune is val",
            images={"train": 1000 * count, "val": 1000, "test": 50_000},
            needs=f"{count}shot.txt",
        ),
        "drawn": School(
            text="drawn here with the seed; no validation split",
            images={"train": 1000 * count, "test": 50_000},
            splits=("train", "test"),
            drawn=("train",),
        ),
    }
    return _imagenet(f"imagenet_{count}shot", f"ImageNet, {count}-shot", schools, imagenet_shots(count))


def _inaturalist(name: str, title: str, folder: str, train: int) -> Dataset:
    val = round(train / 10)
    text = "the published val is the test; val is a tenth of train, drawn here"
    return Dataset(
        name=name,
        title=title,
        classes=10_000,
        schools={"val": School(text=text, images={"train": train - val, "val": val, "test": 100_000}, drawn=_HELD)},
        folders=("inat2021", "inaturalist2021", "iNaturalist2021", "inaturalist", "iNaturalist"),
        holds=((folder, f"2021_{folder}"), ("val", "2021_valid")),
        source="Archives: https://github.com/visipedia/inat_comp/tree/master/2021.",
        reader=inaturalist(folder),
    )


def _cifar(count: int, folders: tuple[str, ...], files: tuple[str, ...]) -> Dataset:
    return Dataset(
        name=f"cifar{count}",
        title=f"CIFAR-{count}",
        classes=count,
        schools={"kornblith": _kornblith(45_000, 5_000, 10_000), "ssl-transfer": _fifth(40_000, 10_000, 10_000)},
        folders=folders,
        holds=(files,),
        source="Archives, Python's or the binary version: https://www.cs.toronto.edu/~kriz/cifar.html.",
        reader=cifar(count),
    )


_ROWS = (
    _imagenet(
        "imagenet",
        "ImageNet",
        {
            "ilsvrc2012": School(
                text="the published val is the test; val is 10,000 images of train, as many as in BYOL, drawn here",
                images={"train": 1_271_167, "val": 10_000, "test": 50_000},
                drawn=_HELD,
            )
        },
        imagenet,
    ),
    _part("imagenet_1pct", "ImageNet, 1 %", "1percent.txt", 12_811),
    _part("imagenet_10pct", "ImageNet, 10 %", "10percent.txt", 128_116),
    _shots(1),
    _shots(10),
    _inaturalist("inat2021", "iNaturalist 2021", "train", 2_686_843),
    _inaturalist("inat2021_mini", "iNaturalist 2021 mini", "train_mini", 500_000),
    Dataset(
        name="retinopathy",
        title="Diabetic Retinopathy",
        classes=5,
        metric="kappa",
        schools={
            "tfds": School(
                text="tensorflow-datasets: Public is val, Private is the test",
                images={"train": 35_126, "val": 10_906, "test": 42_670},
            ),
            "kaggle": School(
                text="Public and Private are the test; val is a tenth of the training patients, drawn here",
                images={"test": 53_576},
                drawn=_HELD,
            ),
        },
        folders=("diabetic-retinopathy-detection", "diabetic_retinopathy", "retinopathy"),
        holds=("train", "test", "trainLabels.csv", "retinopathy_solution.csv"),
        source="Files: https://www.kaggle.com/c/diabetic-retinopathy-detection/data; the solution was published after it.",
        reader=retinopathy,
    ),
    Dataset(
        name="dtd",
        title="DTD",
        classes=47,
        schools=_folds("", {"train": 1880, "val": 1880, "test": 1880}),
        folders=("dtd/dtd", "dtd"),
        holds=("images", "labels"),
        source="Archive dtd-r1.0.1: https://www.robots.ox.ac.uk/~vgg/data/dtd/.",
        reader=dtd,
    ),
    Dataset(
        name="food101",
        title="Food-101",
        classes=101,
        schools={"kornblith": _kornblith(68_175, 7_575, 25_250), "ssl-transfer": _fifth(60_600, 15_150, 25_250)},
        folders=("food-101", "food101"),
        holds=("images", "meta"),
        source="Archive food-101: https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/.",
        reader=food,
    ),
    _cifar(
        10,
        ("cifar-10-batches-py", "cifar-10-batches-bin", "cifar10"),
        ("data_batch_1", "data_batch_1.bin"),
    ),
    _cifar(100, ("cifar-100-python", "cifar-100-binary", "cifar100"), ("train", "train.bin")),
    Dataset(
        name="sun397",
        title="SUN397",
        classes=397,
        schools=_folds("; val is a fifth of train, drawn here", {"train": 15_880, "val": 3_970, "test": 19_850}, _HELD),
        folders=("SUN397", "sun397"),
        holds=("ClassName.txt",),
        source="Archives SUN397 and Partitions: https://vision.princeton.edu/projects/2010/SUN/.",
        reader=sun,
    ),
    Dataset(
        name="cars",
        title="Stanford Cars",
        classes=196,
        schools={"kornblith": _kornblith(6_494, 1_650, 8_041), "ssl-transfer": _fifth(6_515, 1_629, 8_041)},
        folders=("stanford_cars", "cars"),
        holds=("devkit", "cars_train", "cars_test"),
        source="The authors' host is gone; mirrors must have the devkit and cars_test_annos_withlabels.mat.",
        reader=cars,
    ),
    Dataset(
        name="caltech101",
        title="Caltech-101",
        classes=102,
        school_classes={"torchvision": 101},
        metric="mean_per_class",
        schools={
            "kornblith": School(
                text="102 classes with the background, 25 + 5 images each, as in BYOL; test: the rest; drawn here",
                images={"train": 2550, "val": 510, "test": 6084},
                drawn=("train", "val", "test"),
            ),
            "torchvision": School(
                text="101 classes without the background, 25 + 5 images each; test: the rest; drawn here",
                images={"train": 2525, "val": 505, "test": 5647},
                drawn=("train", "val", "test"),
            ),
        },
        folders=("caltech101", "caltech-101", "Caltech101"),
        holds=("101_ObjectCategories",),
        source="Archive: https://data.caltech.edu/records/mzrjq-6wc02; unpack 101_ObjectCategories.tar.gz within it.",
        reader=caltech,
    ),
    Dataset(
        name="flowers102",
        title="Flowers-102",
        classes=102,
        metric="mean_per_class",
        schools={"official": School(text="official", images={"train": 1020, "val": 1020, "test": 6149})},
        folders=("flowers-102", "flowers102"),
        holds=("jpg",),
        source="102flowers.tgz, imagelabels.mat, setid.mat: https://www.robots.ox.ac.uk/~vgg/data/flowers/102/.",
        reader=flowers,
    ),
)

#: All sets by name; your own may be added.
DATASETS: dict[str, Dataset] = {row.name: row for row in _ROWS}

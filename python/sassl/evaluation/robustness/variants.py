"""Other images of ImageNet's classes: renditions (ImageNet-R), sketches, newly collected (V2) and stylized images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...data import ImageFolder
from ...data.base import File
from .. import metrics
from ..imagenet import IMAGENET_R, WNIDS
from .heads import Answers, Judge
from .sets import Part, class_of, counted, lost

#: ImageNet-V2's three variants, as they occur in the names of their folders.
V2_VARIANTS = ("matched-frequency", "threshold0.7", "top-images")


class ClassFolder(ImageFolder):
    """Images in a folder for each of ImageNet's classes, n01440764 and so on; their EXIF orientation is ignored.

    Raises:
        OSError: the folder cannot be read.
        ValueError: folders with other names.
    """

    def __init__(self, root: File) -> None:
        super().__init__(root, exif=False)
        known = set(WNIDS)
        if others := [name for name in self.classes if name not in known]:
            hint = (
                "; class indices as folder names are ImageNet-V2's, which imagenet_v2 reads"
                if others[0].isdecimal()
                else ""
            )
            raise ValueError(
                f"{self.root}: the folder {others[0]!r} is not one of ImageNet's, such as {WNIDS[0]}{hint}"
            )


class ImageNetV2(ImageFolder):
    """ImageNet-V2. Its folders are named by class index, 0 to 999; `classes` has the names of ImageNet's folders instead.

    An `ImageFolder` would number the folders in alphabetical order, so that folder 10 would be class 2.

    Raises:
        OSError: the folder cannot be read.
        ValueError: folders with other names.
    """

    def __init__(self, root: File) -> None:
        super().__init__(root, exif=False)
        for name in self.classes:
            if not (name.isascii() and name.isdecimal() and int(name) < len(WNIDS)):
                raise ValueError(
                    f"{self.root}: the folder {name!r} is not one of ImageNet-V2's, which are class indices from 0 to 999"
                )
        numbers = [int(name) for name in self.classes]
        if len(set(numbers)) != len(numbers):
            raise ValueError(
                f"{self.root}: has two folders of one number, such as 1 and 01; each folder must be a class"
            )
        self.classes = [WNIDS[number] for number in numbers]


def accuracy(answers: Answers) -> dict[str, Any]:
    """Return the accuracy in per cent, over all images and as the mean over classes, with counts for each class.

    Args:
        answers: answers of a `Judge`.

    Returns:
        A dict:

        - "n": the number of images.
        - "ways": the number of possible answers.
        - "top1", "interval": the top-1 accuracy, and its 95 % bootstrap interval over images.
        - "top5": the top-5 accuracy; None with fewer than five possible answers.
        - "mean_per_class": the mean accuracy over the classes that have images.
        - "classes": for each class a dict with "n", the number of its images, and "right", the number of correct answers.
    """
    right = answers.given == answers.targets
    each = {}
    for target in np.unique(answers.targets).tolist():
        own = answers.targets == target
        name = str(target) if answers.classes is None else answers.classes[target]
        each[name] = {"n": int(own.sum()), "right": int(right[own].sum())}
    shares = [one["right"] / one["n"] for one in each.values()]
    low, high = metrics.interval("top1", answers.targets, answers.given)
    return {
        "n": len(right),
        "ways": answers.ways,
        "top1": 100 * float(right.mean()),
        "interval": (100 * low, 100 * high),
        "top5": 100 * metrics.top5(answers.targets, answers.ranked) if answers.ways >= 5 else None,
        "mean_per_class": 100 * sum(shares) / len(shares),
        "classes": each,
    }


def imagenet_r(judge: Judge, root: File, *, imagenet: File | None = None) -> dict[str, Any]:
    """Measure the accuracy on ImageNet-R, among its 200 classes.

    Args:
        judge: a `Classifier` or a `Probe`; scores of other classes are ignored.
        root: the folder `imagenet-r`.
        imagenet: the folder of ImageNet's validation images. Images of the classes that `root` has are evaluated as well. None:
            only ImageNet-R is evaluated.

    Returns:
        The result of `accuracy`, a description of the head, and images that could not be read; with `imagenet`, also:

        - "imagenet_top1": the top-1 accuracy on ImageNet's images.
        - "gap": "imagenet_top1" minus "top1".

    Raises:
        OSError, ValueError: a folder in another layout; an image that cannot be read; a class unknown to the head.
    """
    images = ClassFolder(root)
    if others := [name for name in images.classes if name not in IMAGENET_R]:
        raise ValueError(f"{images.root}: the folder {others[0]!r} is not one of ImageNet-R's 200 classes")
    sets: list[ImageFolder | Part] = [images]
    if imagenet is not None:
        clean = ClassFolder(imagenet)
        kept = [i for i in range(len(clean)) if class_of(clean.name(i)) in images.classes]
        if not kept:
            raise ValueError(f"{clean.root}: has no image of the classes of {images.root}")
        sets.append(Part(clean, kept))
    found = judge.answers(sets, among=IMAGENET_R)
    told = {
        "set": "ImageNet-R",
        "split": "all",
        **counted(images.root, len(images), 30_000),
        **accuracy(found[0]),
        **judge.describe(),
        **lost({name: why for answers in found for name, why in answers.left_out.items()}),
        "reference": "none: an accuracy among the set's 200 classes",
    }
    if len(found) > 1:
        told["imagenet_top1"] = accuracy(found[1])["top1"]
        told["gap"] = told["imagenet_top1"] - told["top1"]
    return told


def imagenet_sketch(judge: Judge, root: File) -> dict[str, Any]:
    """Measure the accuracy on ImageNet-Sketch, among all classes of the head. The set contains near-duplicates.

    Args:
        judge: a `Classifier` or a `Probe`.
        root: the folder, with `n01440764/*.JPEG` and so on.

    Returns:
        The result of `accuracy`, a description of the head, and images that could not be read.

    Raises:
        OSError, ValueError: a folder in another layout; an image that cannot be read; a class unknown to the head.
    """
    return _measured(judge, "ImageNet-Sketch", ClassFolder(root), 50_889, "all")


def imagenet_v2(judge: Judge, root: File) -> dict[str, Any]:
    """Measure the accuracy on one of ImageNet-V2's three variants, among all classes of the head.

    Args:
        judge: a `Classifier` or a `Probe`.
        root: the folder of the variant, with a folder for each class index, 0 to 999.

    Returns:
        The result of `accuracy`, a description of the head, and images that could not be read; and "variant": one of
        `V2_VARIANTS`, found in the folder's name, or None.

    Raises:
        OSError, ValueError: as raised by `imagenet_sketch`.
    """
    images = ImageNetV2(root)
    name = Path(images.root).resolve().name
    variant = next((variant for variant in V2_VARIANTS if variant in name), None)
    return {**_measured(judge, "ImageNet-V2", images, 10_000, "all"), "variant": variant}


def stylized_imagenet(judge: Judge, root: File) -> dict[str, Any]:
    """Measure the accuracy on the validation images of Stylized-ImageNet.

    Users generate this set themselves, with randomly drawn styles, so no two copies have the same images. For Args, Returns and
    Raises, see `imagenet_sketch`.
    """
    return _measured(judge, "Stylized-ImageNet", ClassFolder(root), 50_000, "val")


def _measured(judge: Judge, title: str, images: ImageFolder, published: int, split: str) -> dict[str, Any]:
    (answers,) = judge.answers([images])
    return {
        "set": title,
        "split": split,
        **counted(images.root, len(images), published),
        **accuracy(answers),
        **judge.describe(),
        **lost(answers.left_out),
        "reference": "none: an accuracy",
    }

"""Class names: matching them between datasets, and reading them from third-party datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Images

#: Keys that may hold the class in a dataset of dicts.
TARGETS = ("label", "fine_label", "labels", "cls")


def numbered(images: Images, classes: Sequence[str] | None) -> NDArray[np.int64] | None:
    """Map each class of the images to the index of its name in `classes`; return None if `classes` is None.

    Raises:
        ValueError: images whose classes have no names; a class that is not in `classes`; a repeated name in `classes`.
    """
    if classes is None:
        return None
    own = images.classes
    if own is None:
        raise ValueError(f"classes must be left out for {images!r}, whose classes have no names, only indices")
    numbers = {name: number for number, name in enumerate(classes)}
    if len(numbers) != len(classes):
        raise ValueError(f"classes must be unique names, got {list(classes[:10])}")
    unknown = [name for name in own if name not in numbers]
    if unknown:
        raise ValueError(f"class {unknown[0]!r} is not among the training classes {', '.join(classes[:10])}")
    return np.array([numbers[name] for name in own], np.int64)


def class_names(dataset: Any, target: str | None = None) -> list[str] | None:
    """The class names of a third-party dataset, indexed by class; None if the names are unknown.

    The names are read from the `ClassLabel` of a Hugging Face dataset, torchvision's `classes` or timm's `class_to_idx`. The
    dataset may be wrapped in a `Subset`, `ConcatDataset` or `LightlyDataset`. With a `target_transform`, the names are unknown,
    because it changes the classes.

    Args:
        dataset: the dataset.
        target: key of the class in a Hugging Face dataset.
    """
    if getattr(dataset, "target_transform", None) is not None:
        return None
    kinds = {kind.__name__ for kind in type(dataset).__mro__}
    if kinds & {"Subset", "LightlyDataset"}:
        return class_names(dataset.dataset, target)
    if "ConcatDataset" in kinds:
        first, *others = (class_names(part, target) for part in dataset.datasets)
        return first if all(names == first for names in others) else None
    columns, numbers = (
        getattr(dataset, "features", None),
        getattr(getattr(dataset, "reader", dataset), "class_to_idx", None),
    )
    if isinstance(columns, dict):
        key = next((key for key in (target, *TARGETS) if key in columns), None)
        found = getattr(columns.get(key), "names", None)
    else:
        found = getattr(dataset, "classes", None)
        if found is None and isinstance(numbers, dict) and sorted(numbers.values()) == list(range(len(numbers))):
            found = sorted(numbers, key=numbers.__getitem__)
    if not isinstance(found, (list, tuple)) or not all(isinstance(name, (str, tuple)) for name in found):
        return None
    # torchvision's ImageNet has several names for each class.
    names = [name if isinstance(name, str) else ", ".join(map(str, name)) for name in found]
    return names if names and len(set(names)) == len(names) else None

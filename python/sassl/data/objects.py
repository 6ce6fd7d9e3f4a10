"""Third-party datasets: Hugging Face's, torch's, and any object with a length and integer indexing."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .._sassl import Source
from ..arguments import flag, whole
from ..images import pixels
from .base import Images
from .classes import TARGETS, class_names


class Objects(Images):
    """Images of any dataset with `len` and `[index]`, such as a Hugging Face or torch dataset.

    Args:
        dataset: a dataset whose items are dicts, tuples (image, class, ...), or images. Images are PIL images, paths, bytes,
            uint8 arrays (H, W, 3) or (H, W), uint8 tensors (3, H, W), or dicts of "bytes" and "path" as from Hugging Face's
            `Image(decode=False)`. Paths, bytes and these dicts are fastest, because the core decodes them.
        image, target: keys of the image and of the class, if items are dicts. None: the first of "image", "img", "jpg", "png"
            that exists, and the first of "label", "fine_label", "labels", "cls" that exists. If there is no key
            for the class, all classes are 0.
        exif: rotate image files upright by their EXIF orientation.

    Names are those of lightly's `LightlyDataset` if the dataset knows its files. Such datasets are `LightlyDataset`,
    torchvision's `DatasetFolder` and `ImageFolder`, and a `Subset` or `ConcatDataset` of these. `classes` are the dataset's own
    `classes` (torchvision), or the names of a Hugging Face `ClassLabel`.

    If the dataset raises an exception, an error that names the image is raised, with the exception as `__cause__`.
    KeyboardInterrupt and MemoryError are raised unchanged.

    Raises:
        TypeError: a dataset without `len` or `[index]`.
        KeyError: the items do not have the key `image` or `target`.
    """

    def __init__(self, dataset: Any, image: str | None = None, target: str | None = None, exif: bool = True) -> None:
        if isinstance(dataset, dict):
            names = ", ".join(map(repr, dataset))
            raise TypeError(
                f"source must be a sequence of images, got {type(dataset).__name__} of {names}; pass one of them"
            )
        count = _length(dataset)
        first = dataset[0] if count else ()
        if isinstance(first, dict):
            image = _key(first, image, ("image", "img", "jpg", "png"), "image")
            target = _key(first, target, (*TARGETS, None), "target")

        def get(index: int) -> tuple[Any, int]:
            item = dataset[index]
            if isinstance(item, dict):
                raw, label = item[image], item[target] if target is not None else 0
            else:
                raw, label = item[:2] if isinstance(item, (tuple, list)) else (item, 0)
            if isinstance(raw, dict):
                raw = raw["path"] if raw.get("bytes") is None else raw["bytes"]
            if isinstance(raw, np.ndarray) and raw.ndim == 2:
                raw = raw[..., None]
            if isinstance(raw, os.PathLike):
                raw = os.fsdecode(raw)
            if not isinstance(raw, (bytes, str)):
                raw = pixels(raw, f"source[{index}]")
            return raw, whole(f"source[{index}]: class", label, -(2**63))

        self.classes = class_names(dataset, target)
        self.core = Source.python(get, count, "source", flag("exif", exif), _file_names(dataset))


def _file_names(dataset: Any) -> list[str] | None:
    """The names of a dataset's images: paths relative to its root, with forward slashes; None if the files are unknown."""
    kinds = {kind.__name__ for kind in type(dataset).__mro__}
    if "Subset" in kinds:
        known = _file_names(dataset.dataset)
        return None if known is None else [known[i] for i in dataset.indices]
    if "ConcatDataset" in kinds:
        parts = [_file_names(part) for part in dataset.datasets]
        return None if None in parts else [name for part in parts for name in part or ()]
    if "LightlyDataset" in kinds:
        known = _file_names(dataset.dataset) if dataset.index_to_filename.__module__.startswith("lightly.") else None
        if known is None:
            known = [str(dataset.index_to_filename(dataset.dataset, i)) for i in range(len(dataset))]
        return [name.replace(os.sep, "/") for name in known]
    if "DatasetFolder" not in kinds:
        return None
    root = os.path.join(os.fspath(dataset.root), "")
    # `os.path.relpath` takes microseconds per path, which add up for a million.
    within = (p[len(root) :] if p.startswith(root) else os.path.relpath(p, root) for p, *_ in dataset.samples)
    return [path.replace(os.sep, "/") for path in within]


def _key(item: dict[str, Any], given: str | None, usual: tuple[str | None, ...], what: str) -> str | None:
    for key in usual if given is None else (given,):
        if key is None or key in item:
            return key
    raise KeyError(f"{what} must be one of the dataset's {', '.join(map(repr, item))}, got {given!r}")


def _length(dataset: Any) -> int:
    """The length of a dataset that can be indexed."""
    expected = f"source must have len() and [index], got {type(dataset).__name__}"
    if not hasattr(dataset, "__getitem__"):
        raise TypeError(f"{expected}; convert it to a list")
    try:
        return len(dataset)
    # Streaming datasets may have a `len` that raises.
    except (TypeError, NotImplementedError, AttributeError) as error:
        raise TypeError(f"{expected}; convert it to a list") from error

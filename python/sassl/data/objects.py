"""Data sets of others: Hugging Face's, torch's, and whatever has a length and gives items by number."""

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
    """Anything with `len` and `[index]`: a Hugging Face dataset, or one of torch.

    Args:
        dataset: gives for a number a dict, or a tuple (image, class, ...), or an image. Images are PIL images, paths, bytes,
            arrays (H, W, 3) or (H, W) or tensors (3, H, W) of uint8, or dicts of "bytes" and "path" as Hugging Face's
            `Image(decode=False)` has them, which are the fastest: decoding then is native.
        image, target: keys of dicts; None: the first of "image", "img", "jpg", "png", and of "label", "fine_label", "labels",
            "cls"; without a class it is 0.
        exif: whether images that come as files are turned upright, as their EXIF orientation says.

    Images are called as lightly's `LightlyDataset` calls them, where the dataset knows their files: it is one, or torchvision's
    `DatasetFolder` or `ImageFolder`, or a `Subset` or `ConcatDataset` of these. `classes` are the dataset's own `classes`
    (torchvision), or names of a Hugging Face `ClassLabel`. What the dataset raises is the `__cause__` of an error that names
    the image; KeyboardInterrupt and MemoryError are raised as they are.

    Raises:
        TypeError: no `len` or no `[index]`.
        KeyError: no such key.
    """

    def __init__(self, dataset: Any, image: str | None = None, target: str | None = None, exif: bool = True) -> None:
        if isinstance(dataset, dict):
            names = ", ".join(map(repr, dataset))
            raise TypeError(
                f"source: expected images by number, got {type(dataset).__name__} of {names}; take one of them"
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
    """The names of a dataset's images: paths from its root on, with forward slashes; None where it does not know them."""
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
    # `os.path.relpath` takes microseconds, of each of a million.
    within = (p[len(root) :] if p.startswith(root) else os.path.relpath(p, root) for p, *_ in dataset.samples)
    return [path.replace(os.sep, "/") for path in within]


def _key(item: dict[str, Any], given: str | None, usual: tuple[str | None, ...], what: str) -> str | None:
    for key in usual if given is None else (given,):
        if key is None or key in item:
            return key
    raise KeyError(f"{what} = {given!r}: the dataset has {', '.join(map(repr, item))}; name one of them")


def _length(dataset: Any) -> int:
    """How many items it has, if it gives them by number."""
    expected = f"source: expected something with len() and [index], got {type(dataset).__name__}"
    if not hasattr(dataset, "__getitem__"):
        raise TypeError(f"{expected}; make a list of it")
    try:
        return len(dataset)
    # Data sets of streams have a len that says no.
    except (TypeError, NotImplementedError, AttributeError) as error:
        raise TypeError(f"{expected}; make a list of it") from error

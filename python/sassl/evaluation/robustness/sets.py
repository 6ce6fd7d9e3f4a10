"""Subsets of image folders, and the entries of a result that describe a set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ...data import Files, ImageFolder


class Part(Files):
    """A subset of the images of a folder, with their names and classes.

    Args:
        folder: the folder.
        kept: indices of the selected images.
    """

    def __init__(self, folder: ImageFolder, kept: Sequence[int]) -> None:
        self._names = [folder.name(i) for i in kept]
        classes = sorted({class_of(name) for name in self._names})
        targets = [classes.index(class_of(name)) for name in self._names]
        super().__init__([os.path.join(folder.root, name) for name in self._names], targets, folder.core.exif)
        self.classes = classes

    def name(self, index: int) -> str:
        """Return the name of an image, as in the whole folder."""
        return self._names[index]


def class_of(name: str) -> str:
    """Return the class of an image: the first folder in the image's name."""
    return name.partition("/")[0]


def counted(root: str, n: int, published: int) -> dict[str, Any]:
    """Return the entries of a result for the numbers of images, here and published; warn if they differ."""
    if n != published:
        warnings.warn(
            f"{root}: {n:,} images, where {published:,} are published; results on a subset are not comparable",
            stacklevel=4,
        )
    return {"n": n, "published_n": published}


def lost(left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries of a result for images that could not be read."""
    return {"n_left_out": len(left_out), "left_out": dict(left_out)}


def percent(part: float, whole: float) -> float | None:
    """Return a share in per cent; None if `whole` is 0."""
    return 100 * float(part) / float(whole) if whole else None

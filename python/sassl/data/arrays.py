"""Images in an array, or in a memory-mapped file."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._sassl import Source
from .base import Images, checked_targets
from .identity import of_arrays


class Arrays(Images):
    """Images of one size in an array. The array is not copied, and a `numpy.memmap` is pickled as its path.

    Args:
        images: (N, H, W, 3) uint8.
        targets: class of each image; None: 0 for all.

    Raises:
        TypeError: `images` is not an array.
        ValueError: `images` has another shape or dtype; `targets` and `images` differ in length; a class is not an integer.
    """

    def __init__(self, images: NDArray[np.uint8], targets: Sequence[int] | None = None) -> None:
        if not isinstance(images, np.ndarray):
            raise TypeError(f"images must be an array (N, H, W, 3) of uint8, got {type(images).__name__}")
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(f"images must have shape (N, H, W, 3) and dtype uint8, got {images.shape} {images.dtype}")
        classes = checked_targets(targets, len(images))
        self._images, self._place, self._targets = images, _place(images), classes
        self.core = Source.python(lambda i: (images[i], classes[i]), len(images), "arrays")

    def identity(self) -> dict[str, Any]:
        """The shape and a checksum of the pixels; of an array above 256 MiB, only evenly spaced images are read."""
        return of_arrays(self._images)

    def __reduce__(self) -> tuple[Any, ...]:
        return super().__reduce__() if self._place is None else (_mapped, (type(self), self._place, self._targets))


#: An array in a file: path, offset, shape, strides.
Place = tuple[str, int, tuple[int, ...], tuple[int, ...]]


def _place(images: NDArray[np.uint8]) -> Place | None:
    """Locate the data of a `numpy.memmap`, or of a view of one, in its file; None for other arrays."""
    mapped = getattr(images, "_mmap", None)
    if not isinstance(images, np.memmap) or mapped is None or images.filename is None or images.mode == "c":
        return None
    # The mapping starts at a page boundary. A view of a memmap keeps the offset of the whole, but has its own address.
    begin = images.offset - images.offset % mmap.ALLOCATIONGRANULARITY
    address = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    offset = begin + images.__array_interface__["data"][0] - address
    return os.path.abspath(os.fsdecode(images.filename)), offset, images.shape, images.strides


def _mapped(kind: type[Arrays], place: Place, targets: list[int]) -> Arrays:
    path, offset, shape, strides = place
    images = kind(np.ndarray(shape, np.uint8, np.memmap(path, np.uint8, "r"), offset, strides), targets)
    images._place = place
    return images

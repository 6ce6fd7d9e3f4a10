"""Random resized crops of training images, drawn anew in every epoch, for training heads and whole networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import number, whole, wrong
from ..data import TwoViewLoader
from ..data.ranks import share
from ..transforms.operations import HorizontalFlip, Normalize, RandomResizedCrop
from ..transforms.views import Views

#: Images (B, H, W, 3) or (B, 3, H, W) float32, and their classes (B,) int64.
Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


class Crops:
    """Batches of random resized crops, flipped with probability 1/2 and normalized, computed by native threads.

    The operations are torchvision's on PIL images: `RandomResizedCrop(size, (min_scale, 1))` with aspect ratios from 3/4 to
    4/3, `RandomHorizontalFlip`, `ToTensor` and `Normalize`. All draws and the order of images are functions of (seed, epoch,
    image). They do not depend on the number of threads or ranks.

        crops = Crops("imagenet/train", 224, {"mean": ..., "std": ...}, batch_size=256)
        for epoch in range(100):
            for images, targets in crops:  # each loop runs the next epoch
                ...

    Args:
        images: labelled images, in any form that a `TwoViewLoader` takes.
        size: side of the crops, or (height, width).
        normalize: a dict of "mean" and "std" of values in [0, 1], three each; None: values stay in [0, 1].
        batch_size: number of images in a batch over all ranks; the last batch of an epoch has the remaining images.
        seed: seed of the order of images and of all draws.
        threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
        interpolation: "bilinear" or "bicubic", antialiased like Pillow's.
        min_scale: smallest area of a crop, as a fraction of the image's.
        drop_last: leave out a smaller last batch.
        channels_last: True: (B, H, W, 3), as sassl's own models take images; False: (B, 3, H, W), as torch modules do.
        rank, world_size: this process's rank, and the number of ranks. Each rank has contiguous rows of every batch, as in a
            `TwoViewLoader`. If the last batch does not divide evenly among the ranks, its rows beyond `rows(batch)` repeat
            images of the epoch.
        on_error: "raise": an unreadable image is an error; "report": an unreadable image is replaced by the next readable one,
            and listed in `report`.

    Raises:
        OSError, TypeError: as raised by the source.
        ValueError: a setting outside its range; a batch size that is not a multiple of the number of ranks.
    """

    def __init__(
        self,
        images: Any,
        size: int | tuple[int, int],
        normalize: dict[str, Any] | None,
        *,
        batch_size: int,
        seed: int = 0,
        threads: int | None = None,
        interpolation: str = "bilinear",
        min_scale: float = 0.08,
        drop_last: bool = False,
        channels_last: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        on_error: str = "raise",
    ) -> None:
        if not 0 < number("min_scale", min_scale) <= 1:
            raise wrong("min_scale", min_scale, "a fraction of the image's area, > 0 and <= 1")
        self.batch_size = whole("batch_size", batch_size, 1)
        rank, world_size = share(rank, world_size)
        if batch_size % world_size:
            raise ValueError(f"batch_size must be a multiple of the number of ranks ({world_size}), got {batch_size}")
        operations: list[Any] = [RandomResizedCrop(size, (min_scale, 1.0), interpolation=interpolation)]
        operations.append(HorizontalFlip())
        if normalize is not None:
            operations.append(Normalize(**normalize))
        self._loader = TwoViewLoader(
            images,
            Views(operations, channels_last=channels_last, output="numpy"),
            batch_size // world_size,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
            threads=threads,
            on_error=on_error,
        )

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._loader)

    @property
    def images(self) -> int:
        """Number of images in the source."""
        return len(self._loader.source)

    @property
    def epoch(self) -> int:
        """The epoch of the last `iter`, or the epoch set by `set_epoch`; -1 before the first `iter`."""
        return self._loader.epoch

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Set the epoch and the first batch of the next `iter`."""
        self._loader.set_epoch(epoch, batch)

    def rows(self, batch: int) -> int:
        """Return the number of images in the batch with this index, over all ranks, without repeated images."""
        return min(self.batch_size, self.images - batch * self.batch_size)

    @property
    def report(self) -> dict[str, str]:
        """Images that could not be read and were replaced by others: name to reason."""
        damaged = set(self._loader.damaged)
        return {name: why for name, (why, _) in self._loader.report.items() if name not in damaged}

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader)
        return ((views[0], targets) for views, targets, _ in batches)

    def __repr__(self) -> str:
        return f"Crops({self._loader.source!r}, {self._loader.transform!r}, batch_size={self.batch_size})"

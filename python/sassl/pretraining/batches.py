"""Batches that the caller provides: access to their views and classes, and checks before the first step.

`sassl.evaluation` preprocesses images by a run's recorded settings. These settings therefore have to match the batches.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import HalfViews, TwoViewLoader
from ..transforms.views import UNKNOWN, Views

#: The tolerance for values outside the expected range, as a fraction of the range's width. Bicubic resampling overshoots.
_SLACK = 0.25


def is_batches(data: Any) -> bool:
    """Return whether the data are batches rather than images.

    Batches are one of: a `TwoViewLoader`; an iterable with an attribute `batch_size`, such as torch's `DataLoader`; an iterable
    without `__getitem__` that is not a path; a list or tuple of batches in a layout that `pair` takes.
    """
    if isinstance(data, TwoViewLoader) or (hasattr(data, "__iter__") and hasattr(data, "batch_size")):
        return True
    if hasattr(data, "__iter__") and not hasattr(data, "__getitem__") and not isinstance(data, os.PathLike):
        return True
    if not isinstance(data, (list, tuple)) or not data or not isinstance(data[0], (list, tuple)):
        return False
    return any(_are_views(part) for part in data[0][:2])


def check_length(batches: Any, epochs: int) -> None:
    """Check that batches have a length and can be iterated in each epoch. The learning rate's schedule needs the length.

    Raises:
        TypeError: the batches have no `len`.
        ValueError: the length is 0; or the batches are an iterator, which lasts for one epoch, and `epochs` is above 1.
    """
    name = type(batches).__name__
    try:
        n = len(batches)
    except TypeError:
        raise TypeError(
            f"data must have len(), by which the learning rate's schedule goes, got {name}; give a list of batches, a "
            "DataLoader of a dataset with a length, or an object with __iter__ and __len__"
        ) from None
    if n == 0:
        raise ValueError(f"data must have at least one batch, got {name}")
    if hasattr(batches, "__next__") and epochs > 1:
        raise ValueError(f"data must be iterable anew in each of {epochs} epochs, got {name}, an iterator")


def batch_size(batches: Any) -> int:
    """The number of images in the largest batch. The learning rate is scaled by this number.

    Raises:
        ValueError: neither the loader nor its `batch_sampler` has an integer attribute `batch_size`.
    """
    if isinstance(batches, TwoViewLoader):
        return batches.batch_size
    if isinstance(batches, (list, tuple)):
        return max(len(pair(batch)[0]) for batch in batches)
    for one in (batches, getattr(batches, "batch_sampler", None)):
        if isinstance(size := getattr(one, "batch_size", None), int):
            return size
    raise ValueError(
        f"batch_size is required, as the learning rate is scaled by it and {type(batches).__name__} does not have it"
    )


def check_sizes(batches: Any, size: int, check: Callable[[int], None], ranks: int = 1) -> None:
    """Check, before the first step, that all batch sizes known in advance are supported.

    Args:
        batches: the caller's batches on this rank; None: all batches have the same size.
        size: images per batch, over all ranks.
        check: a function that raises a ValueError for an unsupported size, such as an engine's `check_batch`.
        ranks: the number of ranks.
    """
    check(size)
    for last in () if batches is None else sorted(ranks * rows for rows in smaller(batches, size // ranks)):
        try:
            check(last)
        except ValueError as error:
            raise ValueError(
                f"{error}; the last batch has {last} images, the others {size}: leave it out by drop_last=True"
            ) from None


def skip(batches: Iterable[Any], n: int) -> Iterator[Any]:
    """Return an iterator that skips the first n batches."""
    return islice(iter(batches), n, None)


def smaller(batches: Any, size: int) -> set[int]:
    """The known batch sizes that differ from `size`, such as the size of a smaller last batch."""
    if isinstance(batches, (list, tuple)):
        return {len(pair(batch)[0]) for batch in batches} - {size}
    if isinstance(batches, TwoViewLoader):
        drop_last, ranks = batches.drop_last, batches.world_size
        share = -(-(len(batches.source) % (size * ranks)) // ranks)
    elif hasattr(batches, "sampler") and isinstance(getattr(batches, "batch_size", None), int):
        drop_last = getattr(batches, "drop_last", False)
        try:
            share = len(batches.sampler)
        except TypeError:
            return set()
    else:
        return set()
    return set() if drop_last else {share % size} - {0}


def check_first(batch: Any, transform: Views, normalize: Any, size: int) -> None:
    """Check that the caller's first batch matches the settings.

    Evaluation resizes and normalizes images by these settings.

    Args:
        batch: the first batch.
        transform: the transform of the settings.
        normalize: the normalization in the settings: a dict, None or "not known".
        size: the settings' batch size.

    Raises:
        ValueError: the batch has more images than `size`. Or its views have a channel count other than 3, have a height or
            width other than that of `transform`, or have values far outside the range that `normalize` gives.
    """
    for view in views(batch):
        if len(view) > size:
            raise ValueError(
                f"a batch must have at most batch_size={size} images, by which the learning rate is scaled, got {len(view)}; "
                f"give batch_size={len(view)}"
            )
        if 3 not in (view.shape[1], view.shape[-1]):
            raise ValueError(
                f"views must have shape (N, H, W, 3) or (N, 3, H, W), got {view.shape}; repeat gray ones three times"
            )
        height, width = view.shape[1:3] if view.shape[-1] == 3 else view.shape[2:]
        rows, columns = transform.size
        known = rows if rows == columns else (rows, columns)
        if (height, width) != transform.size:
            raise ValueError(
                f"views must have the size of input_size={known}, got {height}x{width}, or features would be computed from "
                f"images of another size than in training; give input_size={_side(height, width)}"
            )
        if normalize != UNKNOWN and view.size:
            _check_range(float(view.min()), float(view.max()), normalize)


def _check_range(least: float, most: float, normalize: Any) -> None:
    mean, std = (np.asarray((normalize or {"mean": 0, "std": 1})[name], np.float64) for name in ("mean", "std"))
    low, high = float(((0 - mean) / std).min()), float(((1 - mean) / std).max())
    slack = _SLACK * (high - low)
    if least < low - slack or most > high + slack:
        raise ValueError(
            f"views must be in [{low:.3g}, {high:.3g}], as normalize={normalize} gives, got values from {least:.3g} to "
            f"{most:.3g}, or features would be computed from images normalized otherwise than in training; give what yours are "
            "normalized by, "
            'views={"normalize": {"mean": [...], "std": [...]}}, None where they lie in [0, 1], or '
            f'views={{"normalize": "{UNKNOWN}"}}'
        )
    if low < 0 <= least:
        warnings.warn(
            f"views with values from {least:.3g} to {most:.3g}: they look unnormalized, while features will be computed from "
            f'images normalized by {normalize}; if the views are not normalized, give views={{"normalize": None}}',
            stacklevel=2,
        )


def _side(height: int, width: int) -> int | tuple[int, int]:
    return height if height == width else (height, width)


def half(batch: Any) -> HalfViews | None:
    """The half-finished views of a batch; None if the views are complete."""
    parts = batch[:2] if isinstance(batch, (list, tuple)) else ()
    return next((part for part in parts if isinstance(part, HalfViews)), None)


def pair(batch: Any, threads: int | None = None) -> Any:
    """The left and right views of a batch; half-finished views are completed.

    The batch has the layout of lightly, ([left, right], classes, ...), or of solo-learn, (indices, [left, right], classes).

    Raises:
        ValueError: the batch has another layout.
    """
    if (begun := half(batch)) is not None:
        return begun.finish(threads=threads)
    for part in batch[:2] if isinstance(batch, (list, tuple)) else ():
        if _are_views(part):
            return part
    raise ValueError("batch must be ([left, right], classes, ...) or (indices, [left, right], classes)")


def views(batch: Any, threads: int | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The left and right views of a batch as float32."""
    left, right = (floats(view) for view in pair(batch, threads))
    return left, right


def targets(batch: Any) -> Any:
    """The classes of a batch; None if the batch has no classes."""
    at = 1 if isinstance(batch[0], HalfViews) or _are_views(batch[0]) else 2
    return batch[at] if len(batch) > at else None


def floats(images: Any) -> NDArray[np.float32]:
    """Convert float images, an array or a tensor, to a float32 array.

    Raises:
        ValueError: the images are not floats.
    """
    array = np.asarray(images)
    if array.dtype.kind != "f":
        raise ValueError(f"views must be floats, got {array.dtype}; the recipe's dtype is float32")
    return array.astype(np.float32, copy=False)


def _are_views(views: Any) -> bool:
    return isinstance(views, (list, tuple)) and len(views) == 2 and all(np.ndim(view) == 4 for view in views)

"""Features of images with their classes, computed once, for use by the probes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import choice, whole
from ..data import Images, as_images
from ..data.classes import numbered
from ..data.ranks import ALONE, Ranks
from ..images import is_image, pixels
from ..progress import Shown
from .cache import Cache
from .encoders import Model, features_of, rule_of, threads_of
from .preprocessing import Preprocessing
from .reading import Part, Read, Reading, filled

if TYPE_CHECKING:
    from typing_extensions import Self


class _Rows(NamedTuple):
    features: NDArray[np.float32]
    targets: NDArray[np.int64]


class Features(_Rows):
    """Features (N, dim) float32 and class indices (N,) int64, as a tuple, with class names if known.

    Class indices are any non-negative integers, such as 1440764 for ImageNet's n01440764. The probes reject images without a
    class (index -1): leave such images out first.

    Args:
        features, targets: the two arrays.
        classes: names of the classes, by index; None: unknown. Classes of two sets are matched by name if both sets have names,
            otherwise by index.
        left_out: images that could not be read and are therefore missing here: name to reason.
    """

    classes: list[str] | None = None
    left_out: Mapping[str, str] = MappingProxyType({})

    def __new__(
        cls,
        features: Any,
        targets: Any,
        classes: Sequence[str] | None = None,
        left_out: Mapping[str, str] | None = None,
    ) -> Self:
        self = super().__new__(cls, features, targets)
        self.classes = None if classes is None else list(classes)
        self.left_out = dict(left_out or {})
        return self

    def _replace(self, **fields: Any) -> Self:
        """Return a copy with some fields replaced; `classes` and `left_out` stay the same unless given."""
        known = {"classes": self.classes, "left_out": self.left_out}
        return type(self)(**{**self._asdict(), **known, **fields})


def extract(
    model: Model,
    data: Any,
    *,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 256,
    classes: Sequence[str] | None = None,
    on_error: str = "raise",
    cache: Cache | None = None,
    ranks: Ranks = ALONE,
    progress: Shown = False,
) -> Features:
    """Compute the features of all images, preprocessed like the model's views: resized, cropped to the centre, normalized.

    Args:
        model: one of three kinds:
            - an `Encoder`, such as sassl's own models, for example `sassl.SimCLR`;
            - a torch module, or a method of a module: called in eval mode and without gradients, with tensors on the module's
              device and of its dtype;
            - any other function: called with float32 arrays.
            Modules and functions take (N, 3, H, W), or (N, H, W, 3) if the preprocessing is channels-last.
            The output is (N, dim).
        data: images, in any form that a `TwoViewLoader` takes. Class names are those of class folders, of the attribute
            `classes` of a torch or torchvision dataset, or of the `ClassLabel` of a Hugging Face dataset.
        preprocessing: how to preprocess images; None: the model's own, `Preprocessing.of(model)`. Required for a model without
            its own preprocessing, and for a model whose normalization is "not known".
        batch_size: images in a batch.
        classes: class names in the order of the wanted class indices, such as `ImageFolder.classes` of the training images;
            None: class indices are those of `data`. `knn` and the probes match names in either case.
        on_error: "raise", or "report": leave out images that cannot be read, list them in `Features.left_out`, and warn of
            their number.
        cache: where features are stored and looked up: a `Cache`, created with a folder and an identifier of the model's
            weights.
        ranks: the processes that share the images, from `sassl.pretraining.ranks()`. Every process calls this function with the
            same arguments.
        progress: True: show a bar on a terminal, and lines elsewhere; False: show nothing; or a function that is called with a
            description, the amount done, and the total.

    Returns:
        Features in float32 in host memory, whatever the model's device. With several ranks, rank 0 returns the features; other
        ranks return empty features (N, 0) with the same classes.

    Raises:
        OSError, ValueError: there is no image; an image cannot be read; a class is not among `classes`; `classes` is given for
            data without class names; the model returns a shape other than (N, dim).
        TypeError: not a model; no `preprocessing` for a model that requires it.
    """
    how = choice("on_error", on_error, ("raise", "report"))
    found = read(
        model, as_images(data), batch_size, classes, how, preprocessing, cache=cache, ranks=ranks, progress=progress
    )
    if found.left_out and ranks.rank == 0:
        warnings.warn(left_out(found), stacklevel=2)
    return found


def encode(
    model: Model, images: Any, *, preprocessing: Preprocessing | None = None, batch_size: int = 256
) -> NDArray[np.float32]:
    """Compute the features of images without classes, preprocessed as in `extract`.

    Args:
        model, preprocessing: see `extract`.
        images: one of:
            - a batch: a uint8 array (N, H, W, 3) or tensor (N, 3, H, W);
            - an image: a PIL image, a path, the bytes of a file, a uint8 array (H, W, 3) or tensor (3, H, W);
            - a list of images.
        batch_size: images in a batch.

    Returns:
        (N, dim) float32; (1, dim) for a single image.

    Raises:
        OSError, TypeError, ValueError: as raised by `extract`; floating-point images.
    """
    rule, batch_size = rule_of(model, preprocessing), whole("batch_size", batch_size, 1)
    listed = _listed(images)

    def made(i: int) -> NDArray[np.float32]:
        name = f"images[{i}]"
        try:
            return rule(pixels(listed[i], name))
        except TypeError as error:
            raise TypeError(f"{error}; pass a data set to extract") from error
        except ValueError as error:
            # Not every file reader knows the index of the image.
            raise ValueError(str(error) if str(error).startswith(name) else f"{name}: {error}") from error

    parts: list[NDArray[np.float32]] = []
    with features_of(model) as features, ThreadPoolExecutor(threads_of(model)) as threads:
        for first in range(0, max(1, len(listed)), batch_size):
            rows = list(threads.map(made, range(first, min(first + batch_size, len(listed)))))
            parts.append(features(np.stack(rows) if rows else np.empty((0, *rule.shape), np.float32)))
    return np.concatenate(parts)


def _listed(images: Any) -> Any:
    """Return the images as an indexable sequence.

    Raises:
        TypeError: not images.
        IsADirectoryError: a folder.
        ValueError: floating-point images.
    """
    if isinstance(images, (str, os.PathLike)) and os.path.isdir(images):
        raise IsADirectoryError(
            f"images must not be a folder, got {os.fspath(images)!r}; pass it to extract, or give a list of files"
        )
    single = isinstance(images, (str, bytes, os.PathLike)) or (is_image(images) and getattr(images, "ndim", 3) != 4)
    if not single and (not hasattr(images, "__iter__") or isinstance(images, dict)):
        raise TypeError(f"images must be an image, an array (N, H, W, 3) or a list, got {type(images).__name__}")
    listed = [images] if single else images if is_image(images) else list(images)
    for one in (listed,) if is_image(listed) else listed:
        dtype = str(getattr(one, "dtype", "uint8")).removeprefix("torch.")
        if "float" in dtype:
            raise ValueError(
                f"images must be uint8, as the normalization of floats is not known, got {dtype}; give floats that are "
                "normalized like the model's views to encode_normalized"
            )
    return listed


def left_out(found: Features) -> str:
    """Return the text of the warning about images that could not be read."""
    name, why = next(iter(found.left_out.items()))
    first = why if name in why else f"{name}: {why}"
    n = len(found.left_out)
    return f"{n} of {n + len(found.targets)} images could not be read and are left out; {first}"


def read(
    model: Model,
    images: Images,
    batch_size: int = 256,
    classes: Sequence[str] | None = None,
    on_error: str = "raise",
    preprocessing: Preprocessing | None = None,
    *,
    cache: Cache | None = None,
    ranks: Ranks = ALONE,
    progress: Shown = False,
) -> Features:
    """Compute features like `extract`, but do not warn of images that are left out."""
    # Invalid classes are reported before any image is read.
    numbered(images, classes)
    if not len(images):
        raise ValueError("data must have at least one image, got none")
    reading = Reading(
        model, images, whole("batch_size", batch_size, 1), on_error, rule_of(model, preprocessing), ranks, progress
    )
    return _named(reading.fresh() if cache is None else reading.kept(cache), images, classes)


def joined(parts: Sequence[Part], images: Images, classes: Sequence[str] | None = None) -> Features:
    """Concatenate parts, as returned by `read_part`, that together cover all images; for `classes`, see `extract`."""
    return _named(Read(*filled(parts, len(images))), images, classes)


def _named(found: Read, images: Images, classes: Sequence[str] | None) -> Features:
    """Return the features with the indices and names of their classes."""
    numbers, names, targets = numbered(images, classes), images.classes, found.targets
    if not len(targets):
        raise ValueError(
            f"data must have at least one readable image, got none of {len(images)}; {next(iter(found.lost.values()), '')}"
        )
    if names is not None and targets.max() >= len(names):
        raise ValueError(
            f"class {targets.max()} must be less than the number of class names ({len(names)}): {', '.join(names[:10])}"
        )
    if numbers is not None:
        targets = np.where(targets < 0, targets, numbers[targets])
    return Features(found.features, targets, names if classes is None else classes, found.lost)

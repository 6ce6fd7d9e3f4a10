"""Preprocessing of images into a backbone's input: resizing, centre crop, normalization."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import choice, flag, whole, wrong
from ..images import pixels
from ..transforms import functional as F
from ..transforms.operations import size
from ..transforms.views import UNKNOWN

#: Ratio of ImageNet's usual sizes, 256 and 224.
_MARGIN = 256 / 224
#: For views with sides of at most this many pixels, such as CIFAR's, the usual rule has no `resize`.
_SMALL = 64
#: Largest aspect ratio of an image. A longer image is cropped to this ratio first, as resizing it could need much memory.
_LONGEST = 32


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """A preprocessing rule: a function from an image to a float32 array, (3, H, W) or (H, W, 3).

    An image is a PIL image, a path, the bytes of a file, or a uint8 array.

    With `resize`, the output is bit-identical to that of torchvision's `Resize(resize)` and `CenterCrop(size)` on PIL images,
    followed by `ToTensor` and `Normalize`. `Preprocessing.of(model)` is the rule of one of sassl's models, as defined by its
    training run.

    Args:
        size: side of the output in pixels, or (height, width).
        resize: length of the shorter side after resizing, such as 256 for a `size` of 224. The aspect ratio is kept, and the
            centre is then cropped to `size`. None: the image's largest centre square is resized to `size`.
        interpolation: "bilinear" or "bicubic", antialiased like Pillow's.
        normalize: a dict of "mean" and "std" of values in [0, 1], three each; None: values stay in [0, 1].
        channels_last: True: (H, W, 3); False: (3, H, W), as torch modules expect it.

    Raises:
        ValueError: a size below 1, `resize` smaller than `size`, an unknown interpolation, `normalize` of another form.
    """

    size: int | tuple[int, int] = field(kw_only=False)
    resize: int | None = None
    interpolation: str = "bilinear"
    normalize: dict[str, Any] | None
    channels_last: bool = False

    def __post_init__(self) -> None:
        height, width = size(self.size)
        object.__setattr__(self, "size", height if height == width else (height, width))
        if self.resize is not None:
            whole("resize", self.resize, max(height, width))
        choice("interpolation", self.interpolation, ("bilinear", "bicubic"))
        object.__setattr__(self, "normalize", _mean_and_std(self.normalize))
        flag("channels_last", self.channels_last)

    @classmethod
    def of(cls, model: Any) -> Preprocessing:
        """Return the preprocessing of one of sassl's models, or of a model from `sassl.open_model`.

        Raises:
            ValueError: the model was trained on batches whose normalization is not known.
        """
        rule: Preprocessing = model.preprocessing
        return rule

    @classmethod
    def of_views(
        cls,
        sides: int | tuple[int, int],
        *,
        interpolation: str = "bilinear",
        normalize: Any,
        channels_last: bool = False,
    ) -> Preprocessing:
        """Return the usual rule for a network trained on views of this size: `resize` is 8/7 of the side (256 for 224).

        For views of 64 pixels or less, and for views that are not square, `resize` is None.

        Args:
            sides: side of the views, or (height, width).
            interpolation, normalize, channels_last: see the class.

        Raises:
            ValueError: as raised by the class; `normalize` is "not known".
        """
        if isinstance(normalize, str):
            raise ValueError(
                f"normalize is {UNKNOWN!r}, as the model was trained on batches from another loader; give "
                "preprocessing=Preprocessing(...) with what they were normalized by, or None, or give normalized floats to "
                "encode_normalized"
            )
        height, width = size(sides)
        resize = round(height * _MARGIN) if height == width > _SMALL else None
        return cls(
            (height, width),
            resize=resize,
            interpolation=interpolation,
            normalize=normalize,
            channels_last=channels_last,
        )

    def describe(self) -> dict[str, Any]:
        """Return the rule as JSON values, for results; "mean" and "std" are None without normalization."""
        sides = self.size if isinstance(self.size, int) else list(self.size)
        told = {name: None if self.normalize is None else list(self.normalize[name]) for name in ("mean", "std")}
        return {"size": sides, "resize": self.resize, "interpolation": self.interpolation, **told}

    def __str__(self) -> str:
        """The rule in words: `256 to 224, bilinear, mean 0.485 0.456 0.406, std 0.229 0.224 0.225`."""
        height, width = size(self.size)
        sides = str(height) if height == width else f"{height}x{width}"
        cut = f"middle square to {sides}" if self.resize is None else f"{self.resize} to {sides}"
        if self.normalize is None:
            return f"{cut}, {self.interpolation}, not normalized"
        values = (f"{name} {' '.join(f'{x:g}' for x in self.normalize[name])}" for name in ("mean", "std"))
        return f"{cut}, {self.interpolation}, {', '.join(values)}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the output."""
        height, width = size(self.size)
        return (height, width, 3) if self.channels_last else (3, height, width)

    def __call__(self, image: Any) -> NDArray[np.float32]:
        part = self._middle(pixels(image))
        mean, std = (self.normalize or {"mean": (0.0,) * 3, "std": (1.0,) * 3}).values()
        made = F.normalize(part, mean, std)
        return made.transpose(1, 2, 0) if self.channels_last else made

    def _middle(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of an image that is used, resized to the output size."""
        height, width = size(self.size)
        if self.resize is None:
            side = min(image.shape[:2])
            top, left = ((sides - side) // 2 for sides in image.shape[:2])
            return F.resized_crop(image, top, left, side, side, (height, width), self.interpolation)
        rows, columns = (min(sides, _LONGEST * min(image.shape[:2])) for sides in image.shape[:2])
        top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
        # torchvision's `Resize` rounds the longer side down, and its `CenterCrop` rounds a half to the even number.
        shorter = min(rows, columns)
        resized = self.resize * rows // shorter, self.resize * columns // shorter
        whole_image = F.resized_crop(image, top, left, rows, columns, resized, self.interpolation)
        top, left = round((resized[0] - height) / 2), round((resized[1] - width) / 2)
        return np.ascontiguousarray(whole_image[top : top + height, left : left + width])

    def is_normalized_as(self, normalize: Any) -> bool:
        """Return whether the output is normalized by this dict; for None, whether the output is not normalized."""
        return self.normalize == _mean_and_std(normalize)


def _mean_and_std(normalize: Any) -> dict[str, tuple[float, ...]] | None:
    """Return `normalize` with its values as tuples of floats; None stays None."""
    if normalize is None:
        return None
    try:
        found = {name: tuple(float(x) for x in normalize[name]) for name in ("mean", "std")}
        numbers = [*found["mean"], *found["std"]]
        fits = all(len(x) == 3 for x in found.values()) and all(map(isfinite, numbers)) and min(found["std"]) > 0
    except (TypeError, ValueError, KeyError, IndexError):
        fits = False
    if not fits:
        raise wrong("normalize", normalize, 'a dict of "mean" and "std", three values each, the latter > 0, or None')
    return found

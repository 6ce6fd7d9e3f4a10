"""Operations of a view, for the lists that `sassl.transforms.Views` takes.

    [RandomResizedCrop(224), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), SASSL(), GaussianBlur(), Normalize()]

Each operation has its own random stream, keyed by (seed, epoch, index, view, name). Adding or removing an operation therefore
leaves the draws of all others unchanged. The arithmetic is Pillow's, as in torchvision on PIL images.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from .._sassl import Step
from ..arguments import choice, number, pair, plain, whole, wrong

#: A probability; or a schedule: pairs (epoch, probability) with increasing epochs, linearly interpolated between them.
Probability = float | Sequence[tuple[float, float]]

#: A pattern for the address in the `repr` of an object.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

#: ImageNet's mean and standard deviation.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Operation:
    """The base class of operations.

    Args:
        p: probability of applying the operation to an image; or a schedule of pairs (epoch, probability), see `Probability`.
        name: unique name in the view, required if the view has the same operation twice; None: the operation's `kind`.

    Raises:
        ValueError: an invalid setting; raised when the operation is passed to `Views`.
    """

    kind: ClassVar[str] = ""
    #: True if the operation changes normalized values, after `Normalize`; False if it changes uint8 images, before `Normalize`.
    changes_numbers: ClassVar[bool] = False

    p: Probability = field(default=1.0, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def settings(self) -> dict[str, Any]:
        """The settings other than `p` and `name`, as JSON values."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("p", "name")}

    def step(self) -> Step:
        """The compiled operation."""
        return Step.operation(
            self.kind, self.name or self.kind, probability(self.p), json.dumps(plain(self.settings()))
        )

    def describe(self) -> dict[str, Any]:
        """The kind and all settings, as JSON values, for a configuration."""
        named = {} if self.name is None else {"name": self.name}
        return {"kind": self.kind, **self.settings(), "p": probability(self.p), **named}


def probability(p: Any, expected: str = "a probability, or pairs (epoch, probability)") -> Any:
    """Parse a probability, or a list of pairs (epoch, probability)."""
    if np.ndim(p) == 0:
        return number("p", p, expected)
    return [pair("p", point, "pairs (epoch, probability)") for point in p]


def size(value: Any, name: str = "size") -> tuple[int, int]:
    """Parse a size, given as one side or as (height, width); return (height, width)."""
    sides = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(sides) != 2:
        raise wrong(name, value, "a side in pixels, or (height, width)")
    return whole(name, sides[0], 1), whole(name, sides[1], 1)


@dataclass(frozen=True)
class RandomResizedCrop:
    """Crop a random region and resize it with antialiasing, like torchvision's `RandomResizedCrop`. A view has exactly one.

    Args:
        size: side of the view in pixels, or (height, width).
        scale: range of the region's area, as a fraction of the image's.
        ratio: range of the region's aspect ratio, width / height.
        interpolation: "bilinear" or "bicubic", or the corresponding constant of Pillow or torchvision.
        name: unique name in the view.
    """

    kind: ClassVar[str] = "random_resized_crop"

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Any = "bilinear"
    name: str = field(default="random_resized_crop", kw_only=True)

    def step(self) -> Step:
        """The compiled operation."""
        return Step.crop(self.name, pair("scale", self.scale), pair("ratio", self.ratio), self.interpolation)

    @property
    def mode(self) -> str:
        """The name of the interpolation."""
        mode = self.step().interpolation
        assert mode is not None
        return mode

    def describe(self) -> dict[str, Any]:
        """The kind and all settings, as JSON values."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        ranges = {"scale": pair("scale", self.scale), "ratio": pair("ratio", self.ratio)}
        return {"kind": self.kind, **own, **ranges, "interpolation": self.mode}


@dataclass(frozen=True)
class HorizontalFlip(Operation):
    """Flip horizontally, like torchvision's `RandomHorizontalFlip`."""

    kind: ClassVar[str] = "horizontal_flip"
    p: Probability = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class VerticalFlip(Operation):
    """Flip vertically, like torchvision's `RandomVerticalFlip`."""

    kind: ClassVar[str] = "vertical_flip"
    p: Probability = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class Rotation(Operation):
    """Rotate about the centre, like torchvision's `RandomRotation`: nearest neighbour, same size, black outside the image.

    Args:
        degrees: range of the counter-clockwise angle; d means (-d, d).
    """

    kind: ClassVar[str] = "rotation"
    degrees: float | tuple[float, float]

    def settings(self) -> dict[str, Any]:
        """The settings other than `p` and `name`, as JSON values."""
        return {"degrees": _around(self.degrees, "degrees")}


def _around(value: Any, name: str) -> tuple[float, float]:
    """Parse a range, or d for (-d, d)."""
    if np.ndim(value) == 0:
        return -number(name, value), number(name, value)
    return pair(name, value)


@dataclass(frozen=True)
class Affine(Operation):
    """Rotate, translate, scale and shear about the centre, like torchvision's `RandomAffine`: nearest neighbour, black outside.

    Args:
        degrees: range of the clockwise angle; d means (-d, d).
        translate: maximum shifts, as fractions of the width and of the height.
        scale: range of the scale factor.
        shear: range of the shear along x in degrees; d means (-d, d). Four values (x_low, x_high, y_low, y_high) are the ranges
            along x and y.
    """

    kind: ClassVar[str] = "affine"
    degrees: float | tuple[float, float]
    translate: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float | tuple[float, ...] = 0.0

    def settings(self) -> dict[str, Any]:
        """The settings other than `p` and `name`, as JSON values."""
        shear: Any = self.shear
        both = np.ndim(shear) == 1 and len(shear) == 4
        x, y = (pair("shear", shear[:2]), pair("shear", shear[2:])) if both else (_around(shear, "shear"), (0.0, 0.0))
        return {
            "degrees": _around(self.degrees, "degrees"),
            "translate": pair("translate", self.translate),
            "scale": pair("scale", self.scale),
            "shear": [*x, *y],
        }


@dataclass(frozen=True)
class ColorJitter(Operation):
    """Change brightness, contrast, saturation and hue by random factors in random order, like torchvision's `ColorJitter`.

    Args:
        brightness, contrast, saturation: strengths; for a strength x, factors are drawn from [max(0, 1 - x), 1 + x].
        hue: strength x, at most 0.5; shifts are drawn from [-x, x], as a fraction of the hue circle.
        form: "torchvision"; or "byol", as in deepmind-research `byol/`: brightness is additive, contrast is per channel, and
            saturation is changed in HSV.
    """

    kind: ClassVar[str] = "color_jitter"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    form: str = "torchvision"

    def settings(self) -> dict[str, Any]:
        """The settings other than `p` and `name`, as JSON values."""
        strengths = {
            name: number(name, getattr(self, name)) for name in ("brightness", "contrast", "saturation", "hue")
        }
        return {**strengths, "form": choice("form", self.form, ("torchvision", "byol"))}


@dataclass(frozen=True)
class Grayscale(Operation):
    """Convert to grayscale with three equal channels, like torchvision's `RandomGrayscale`."""

    kind: ClassVar[str] = "grayscale"
    p: Probability = field(default=0.2, kw_only=True)


@dataclass(frozen=True)
class GaussianBlur(Operation):
    """Blur with a Gaussian of random standard deviation.

    Args:
        kernel_size: number of taps, an odd integer, as in torchvision's `gaussian_blur`. None: Pillow's `GaussianBlur`, a
            repeated box blur, as in MoCo v2's code.
        sigma: range of the standard deviation in pixels.
    """

    kind: ClassVar[str] = "gaussian_blur"
    kernel_size: int | None = None
    sigma: tuple[float, float] = (0.1, 2.0)
    p: Probability = field(default=0.5, kw_only=True)

    def settings(self) -> dict[str, Any]:
        """The settings other than `p` and `name`, as JSON values."""
        taps = None if self.kernel_size is None else whole("kernel_size", self.kernel_size, 1)
        return {"kernel_size": taps, "sigma": pair("sigma", self.sigma)}


@dataclass(frozen=True)
class Solarize(Operation):
    """Invert values >= `threshold`, an integer in [0, 255], like torchvision's `RandomSolarize`."""

    kind: ClassVar[str] = "solarize"
    threshold: int = 128
    p: Probability = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class Posterize(Operation):
    """Keep the highest `bits` bits of each value, like torchvision's `RandomPosterize`."""

    kind: ClassVar[str] = "posterize"
    bits: int = 4
    p: Probability = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class Erasing(Operation):
    """Fill a random rectangle of the normalized view with one colour, like torchvision's `RandomErasing`.

    Args:
        scale: range of the rectangle's area, as a fraction of the view's.
        ratio: range of the rectangle's aspect ratio, height / width.
        value: the colour, as normalized values: one value for all channels, or three.
    """

    kind: ClassVar[str] = "erasing"
    changes_numbers: ClassVar[bool] = True
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | tuple[float, float, float] = 0.0
    p: Probability = field(default=0.5, kw_only=True)

    def settings(self) -> dict[str, Any]:
        """The settings other than `p` and `name`, as JSON values."""
        value: Any = self.value
        three = [value] * 3 if np.ndim(value) == 0 else list(value)
        if len(three) != 3 or not all(math.isfinite(number("value", x)) for x in three):
            raise wrong("value", value, "a finite number, or three")
        return {
            "scale": pair("scale", self.scale),
            "ratio": pair("ratio", self.ratio),
            "value": [float(x) for x in three],
        }


@dataclass(frozen=True)
class Normalize:
    """Compute (x / 255 - mean) / std for each channel, like torchvision's `ToTensor` and `Normalize`."""

    kind: ClassVar[str] = "normalize"
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def numbers(self) -> Any:
        """The mean and the standard deviation, three values each."""
        return mean_and_std({"mean": self.mean, "std": self.std})

    def describe(self) -> dict[str, Any]:
        """The kind and all settings, as JSON values."""
        mean, std = self.numbers()
        return {"kind": self.kind, "mean": mean, "std": std}


def mean_and_std(normalize: Any) -> Any:
    """Parse a dict of "mean" and "std" as two lists of three floats; None stays None."""
    if normalize is None:
        return None
    try:
        mean, std = ([float(x) for x in normalize[name]] for name in ("mean", "std"))
        assert len(mean) == len(std) == 3
    except (TypeError, ValueError, KeyError, AssertionError):
        raise wrong("normalize", normalize, 'a dict of "mean" and "std", three values each, or None') from None
    return mean, std


@dataclass(frozen=True)
class PythonOperation(Operation):
    """The base class of operations written in Python; subclasses define `kind`, dataclass fields for settings, and `__call__`.

    The operation runs under the GIL on the thread that computes the view, so a slow operation makes other threads wait. It has
    no CUDA kernels. Register a subclass with `OPERATIONS[Own.kind] = Own`, so that it can be rebuilt from a configuration.
    """

    def __call__(self, image: Any, seed: int) -> Any:
        """Transform an image.

        Args:
            image: (H, W, 3) uint8.
            seed: an integer below 2^53, drawn from the operation's random stream; all randomness must derive from it.

        Returns:
            (H, W, 3) uint8, of the same size.
        """
        raise NotImplementedError(f"{type(self).__name__}: has no __call__(image, seed)")

    def step(self) -> Step:
        """The compiled operation."""
        return Step.function(self.name or self.kind, probability(self.p), self, True)


@dataclass(frozen=True)
class Function(Operation):
    """A Python function as an operation; `Views` converts any callable in a list to one.

    The function runs like a `PythonOperation`. It cannot be rebuilt from a configuration.

    Args:
        function: maps an image (H, W, 3) uint8 to an image of the same shape and dtype.
        seeded: pass a seed as the second argument: an integer below 2^53, drawn from the operation's random stream. A random
            function without a seed cannot be replayed.
    """

    kind: ClassVar[str] = "function"
    function: Callable[..., Any]
    seeded: bool = False

    def step(self) -> Step:
        """The compiled operation."""
        name = self.name or str(getattr(self.function, "__name__", self.kind))
        return Step.function(name, probability(self.p), self.function, self.seeded)

    def describe(self) -> dict[str, Any]:
        """The kind, `p`, and the function's name; a configuration cannot store the function itself."""
        name = getattr(self.function, "__qualname__", None) or _ADDRESS.sub("", repr(self.function))
        return {"kind": self.kind, "function": name, "p": probability(self.p)}


_KINDS: tuple[type[Any], ...] = (
    Affine,
    ColorJitter,
    Erasing,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    Posterize,
    RandomResizedCrop,
    Rotation,
    Solarize,
    VerticalFlip,
)

#: The class of each kind, for rebuilding operations from configurations. Applications may add classes of their own.
OPERATIONS: dict[str, type[Any]] = {kind.kind: kind for kind in _KINDS}

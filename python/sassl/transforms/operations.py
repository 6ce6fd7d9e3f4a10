"""What a view is made of: operations as values, for the lists that `sassl.transforms.Views` takes.

    [RandomResizedCrop(224), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), SASSL(), GaussianBlur(), Normalize()]

Each draws from a random stream of its own, named by (seed, epoch, index, view, name): one more or one less leaves what all
others draw as it is. The arithmetic is Pillow's, as torchvision calls it on PIL images.
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

#: A probability; or pairs (epoch, probability) with rising epochs, between which it is interpolated.
Probability = float | Sequence[tuple[float, float]]

#: The address of an object in this process, as its `repr` has it.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

#: ImageNet's mean and standard deviation.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Operation:
    """What all operations of this module share.

    Args:
        p: probability for each image; or pairs (epoch, probability) with rising epochs, between which it is interpolated.
        name: its own in the view, for one that is there twice; None: the kind's.

    Raises:
        ValueError: a setting that cannot be, when it becomes a part of `Views`.
    """

    kind: ClassVar[str] = ""
    #: Whether it changes the numbers of a finished view, and so stands after `Normalize`; others change bytes.
    changes_numbers: ClassVar[bool] = False

    p: Probability = field(default=1.0, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def settings(self) -> dict[str, Any]:
        """Its own settings, as JSON has them."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("p", "name")}

    def step(self) -> Step:
        """What the core runs."""
        return Step.operation(
            self.kind, self.name or self.kind, probability(self.p), json.dumps(plain(self.settings()))
        )

    def describe(self) -> dict[str, Any]:
        """All settings with its kind, as JSON has them: what a configuration keeps."""
        named = {} if self.name is None else {"name": self.name}
        return {"kind": self.kind, **self.settings(), "p": probability(self.p), **named}


def probability(p: Any, expected: str = "a probability, or pairs (epoch, probability)") -> Any:
    """A number, or a list of pairs of an epoch and a number."""
    if np.ndim(p) == 0:
        return number("p", p, expected)
    return [pair("p", point, "pairs (epoch, probability)") for point in p]


def size(value: Any, name: str = "size") -> tuple[int, int]:
    """Height and width, of a side or of both."""
    sides = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(sides) != 2:
        raise wrong(name, value, "a side in pixels, or (height, width)")
    return whole(name, sides[0], 1), whole(name, sides[1], 1)


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of the image, resized with antialiasing: torchvision's `RandomResizedCrop`. Each view begins with one.

    Args:
        size: side of the view, or (height, width).
        scale: range of the part's area, in parts of the image's.
        ratio: range of its width over its height.
        interpolation: "bilinear" or "bicubic"; or Pillow's or torchvision's constant.
        name: its own in the view.
    """

    kind: ClassVar[str] = "random_resized_crop"

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Any = "bilinear"
    name: str = field(default="random_resized_crop", kw_only=True)

    def step(self) -> Step:
        """What the core runs."""
        return Step.crop(self.name, pair("scale", self.scale), pair("ratio", self.ratio), self.interpolation)

    @property
    def mode(self) -> str:
        """The interpolation's name."""
        mode = self.step().interpolation
        assert mode is not None
        return mode

    def describe(self) -> dict[str, Any]:
        """All settings with its kind, as JSON has them."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        ranges = {"scale": pair("scale", self.scale), "ratio": pair("ratio", self.ratio)}
        return {"kind": self.kind, **own, **ranges, "interpolation": self.mode}


@dataclass(frozen=True)
class HorizontalFlip(Operation):
    """Left becomes right."""

    kind: ClassVar[str] = "horizontal_flip"
    p: Probability = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class VerticalFlip(Operation):
    """Top becomes bottom."""

    kind: ClassVar[str] = "vertical_flip"
    p: Probability = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class Rotation(Operation):
    """A turn about the middle, counter-clockwise, in the same frame, black outside, nearest pixels: torchvision's
    `RandomRotation`.

    Args:
        degrees: range; or one number d for (-d, d).
    """

    kind: ClassVar[str] = "rotation"
    degrees: float | tuple[float, float]

    def settings(self) -> dict[str, Any]:
        """Its own settings, as JSON has them."""
        return {"degrees": _around(self.degrees, "degrees")}


def _around(value: Any, name: str) -> tuple[float, float]:
    """A range; or one number d for (-d, d)."""
    if np.ndim(value) == 0:
        return -number(name, value), number(name, value)
    return pair(name, value)


@dataclass(frozen=True)
class Affine(Operation):
    """A turn, a shift, a scale and a shear about the middle, black outside, nearest pixels: torchvision's `RandomAffine`.

    Args:
        degrees: range of the turn, clockwise; or one number d for (-d, d).
        translate: largest shifts, in parts of the width and of the height.
        scale: range of the scale.
        shear: range of the shear along x in degrees, or d for (-d, d); or of both axes (x_low, x_high, y_low, y_high).
    """

    kind: ClassVar[str] = "affine"
    degrees: float | tuple[float, float]
    translate: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float | tuple[float, ...] = 0.0

    def settings(self) -> dict[str, Any]:
        """Its own settings, as JSON has them."""
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
    """Brightness, contrast, saturation and hue by random factors in random order: torchvision's `ColorJitter`.

    Args:
        brightness, contrast, saturation: factors from max(0, 1 - x) to 1 + x.
        hue: a part of the circle, at most 0.5: from -x to x.
        form: "torchvision"; or "byol", that of deepmind-research `byol/`: brightness is added, contrast is that of each
            colour, saturation is HSV's.
    """

    kind: ClassVar[str] = "color_jitter"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    form: str = "torchvision"

    def settings(self) -> dict[str, Any]:
        """Its own settings, as JSON has them."""
        strengths = {
            name: number(name, getattr(self, name)) for name in ("brightness", "contrast", "saturation", "hue")
        }
        return {**strengths, "form": choice("form", self.form, ("torchvision", "byol"))}


@dataclass(frozen=True)
class Grayscale(Operation):
    """Three equal colours of the luma: torchvision's `RandomGrayscale`."""

    kind: ClassVar[str] = "grayscale"
    p: Probability = field(default=0.2, kw_only=True)


@dataclass(frozen=True)
class GaussianBlur(Operation):
    """A Gaussian blur.

    Args:
        kernel_size: taps, an odd number, as torchvision's `gaussian_blur` has them; None: the boxes of Pillow's `GaussianBlur`,
            as in MoCo v2's code.
        sigma: range of the deviation in pixels.
    """

    kind: ClassVar[str] = "gaussian_blur"
    kernel_size: int | None = None
    sigma: tuple[float, float] = (0.1, 2.0)
    p: Probability = field(default=0.5, kw_only=True)

    def settings(self) -> dict[str, Any]:
        """Its own settings, as JSON has them."""
        taps = None if self.kernel_size is None else whole("kernel_size", self.kernel_size, 1)
        return {"kernel_size": taps, "sigma": pair("sigma", self.sigma)}


@dataclass(frozen=True)
class Solarize(Operation):
    """Bytes from a threshold on are inverted: torchvision's `RandomSolarize`."""

    kind: ClassVar[str] = "solarize"
    threshold: int = 128
    p: Probability = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class Posterize(Operation):
    """The lowest bits of each byte are cut off, `bits` stay: torchvision's `RandomPosterize`."""

    kind: ClassVar[str] = "posterize"
    bits: int = 4
    p: Probability = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class Erasing(Operation):
    """A rectangle of the finished view is filled with one colour, after `Normalize`: torchvision's `RandomErasing`.

    Args:
        scale: range of its area, in parts of the view's.
        ratio: range of its height over its width.
        value: a number, or one for each colour, as the view's are then.
    """

    kind: ClassVar[str] = "erasing"
    changes_numbers: ClassVar[bool] = True
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | tuple[float, float, float] = 0.0
    p: Probability = field(default=0.5, kw_only=True)

    def settings(self) -> dict[str, Any]:
        """Its own settings, as JSON has them."""
        value: Any = self.value
        three = [value] * 3 if np.ndim(value) == 0 else list(value)
        if len(three) != 3 or not all(math.isfinite(number("value", x)) for x in three):
            raise wrong("value", value, "a number, or three")
        return {
            "scale": pair("scale", self.scale),
            "ratio": pair("ratio", self.ratio),
            "value": [float(x) for x in three],
        }


@dataclass(frozen=True)
class Normalize:
    """(x / 255 - mean) / std of each colour, as torchvision's `ToTensor` and `Normalize`; after it, numbers are changed."""

    kind: ClassVar[str] = "normalize"
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def numbers(self) -> Any:
        """Mean and standard deviation, three numbers each."""
        return mean_and_std({"mean": self.mean, "std": self.std})

    def describe(self) -> dict[str, Any]:
        """All settings with its kind, as JSON has them."""
        mean, std = self.numbers()
        return {"kind": self.kind, "mean": mean, "std": std}


def mean_and_std(normalize: Any) -> Any:
    """Three numbers each of a dict; or None."""
    if normalize is None:
        return None
    try:
        mean, std = ([float(x) for x in normalize[name]] for name in ("mean", "std"))
        assert len(mean) == len(std) == 3
    except (TypeError, ValueError, KeyError, AssertionError):
        raise wrong("normalize", normalize, 'a dict of "mean" and "std", three numbers each, or None') from None
    return mean, std


@dataclass(frozen=True)
class PythonOperation(Operation):
    """The base of operations written in Python, which have a `kind` of their own, fields for settings, and `__call__`.

    It runs under the GIL, on the thread that makes the view: where it takes long, other threads wait for it. It has no kernels
    for a GPU. `OPERATIONS[Own.kind] = Own` makes it a part of what a configuration rebuilds.
    """

    def __call__(self, image: Any, seed: int) -> Any:
        """The image changed.

        Args:
            image: (H, W, 3) uint8.
            seed: a whole number below 2^53, drawn as other operations draw; from it comes all that is random.

        Returns:
            (H, W, 3) uint8 of the same size.
        """
        raise NotImplementedError(f"{type(self).__name__}: has no __call__(image, seed)")

    def step(self) -> Step:
        """What the core runs."""
        return Step.function(self.name or self.kind, probability(self.p), self, True)


@dataclass(frozen=True)
class Function(Operation):
    """A function of Python among the operations, as any callable in a list becomes one.

    It runs as a `PythonOperation` does, and is no part of what a configuration can rebuild.

    Args:
        function: from (H, W, 3) uint8 to the same size; with `seeded`, of the image and a seed (a whole number below 2^53).
        seeded: whether it takes a seed, which is drawn as other operations draw: without, a random function cannot be replayed.
    """

    kind: ClassVar[str] = "function"
    function: Callable[..., Any]
    seeded: bool = False

    def step(self) -> Step:
        """What the core runs."""
        name = self.name or str(getattr(self.function, "__name__", self.kind))
        return Step.function(name, probability(self.p), self.function, self.seeded)

    def describe(self) -> dict[str, Any]:
        """Its name alone, the same in every process: no file can hold a function."""
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

#: The operations by their kind: what a configuration is rebuilt with. Others may add their own.
OPERATIONS: dict[str, type[Any]] = {kind.kind: kind for kind in _KINDS}

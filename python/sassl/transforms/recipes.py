"""Recipes of two views as in MoCo v2, SimCLR and BYOL, with style on the left view and lightly's keyword names.

    from sassl.transforms import SASSL, MoCoV2Transform

    transform = MoCoV2Transform(style=SASSL(p=0.8))
    left, right = transform("photo.jpg")  # PIL, path, bytes, uint8 array (H, W, 3) or tensor (3, H, W)
    milder = transform.replace(cj_strength=0.5)

The keywords of a recipe define two lists of operations, as in `sassl.transforms.Views`; a recipe is immutable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..arguments import choice, number, pair, whole, wrong
from .operations import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
    Rotation,
    Solarize,
    VerticalFlip,
    mean_and_std,
    size,
)
from .plain import as_style
from .views import Views

#: ImageNet's mean and standard deviation, under lightly's name.
IMAGENET_NORMALIZE = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}

#: A value for both views, or one for the left and one for the right.
Pair = float | tuple[float, float]

#: The recipe's keyword for each setting of an operation.
_KEYWORDS = {
    "scale": "min_scale",
    "brightness": "cj_bright",
    "contrast": "cj_contrast",
    "saturation": "cj_sat",
    "hue": "cj_hue",
    "degrees": "rr_degrees",
    "sigma": "sigmas",
    "size": "input_size",
}


def _by_keyword(error: ValueError) -> ValueError:
    """Rename the setting in an operation's error to the recipe's keyword."""
    name, told, rest = str(error).partition(" ")
    return ValueError(f"{_KEYWORDS.get(name, name)}{told}{rest}")


def _plain(value: Any) -> Any:
    """Convert arrays, tensors and tuples in a setting to lists, so that settings can be compared."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return list(value) if isinstance(value, tuple) else value.tolist() if hasattr(value, "tolist") else value


@dataclass(frozen=True, repr=False, eq=False)
class TwoViewTransform(Views):
    """A recipe of two views; `MoCoV2Transform`, `SimCLRTransform` and `BYOLTransform` differ in the defaults.

    A call with an image returns `[left, right]`. The image is a PIL image, a path, the bytes of a JPEG, PNG or WebP file, a
    uint8 array (H, W, 3) or (H, W, 1), or a uint8 tensor (3, H, W) or (1, H, W).

    A call with a uint8 tensor (N, 3, H, W) on an NVIDIA GPU returns two batches on the same GPU; each image has its own draws.
    With the same draws, the CPU computes the same pixels, except that stylized pixels may differ by one 8-bit level.

    Args:
        input_size: side of the views in pixels, or (height, width).
        cj_prob: probability of the colour jitter.
        cj_strength: factor by which the four strengths of the jitter are multiplied.
        cj_bright, cj_contrast, cj_sat, cj_hue: strengths of the jitter, as in torchvision's `ColorJitter`.
        cj_form: "torchvision", or "byol": brightness is additive, contrast is per channel, saturation is changed in HSV.
        min_scale: smallest area of the random crop, as a fraction of the image's area.
        random_gray_scale: probability of a grayscale view.
        vf_prob, hf_prob: probabilities of a vertical and of a horizontal flip.
        rr_prob: probability of a rotation.
        rr_degrees: range of the rotation's angle, counter-clockwise; d means (-d, d); None: always 90.
        gaussian_blur, solarization_prob: probabilities; a pair is one for the left view and one for the right.
        kernel_size: taps of the blur, an odd integer; "pillow": the box blur of Pillow's `GaussianBlur`; None: the blur of the
            recipe's method (MoCo v2, SimCLR or BYOL).
        sigmas: range of the blur's sigma in pixels.
        interpolation: "bilinear" or "bicubic", antialiased; or the corresponding constant of Pillow or torchvision.
        normalize: a dict of "mean" and "std"; None: values stay in [0, 1] or, with dtype="uint8", in [0, 255].
        style: a `SASSL`; or the argument `styles` of a new `SASSL`, such as "default" or a folder; None: no style. The
            generator of the `SASSL` is not used. All other draws are the same with and without style.
        styled_view: "left", "right" or "both". The left view is the first of the two that are returned. The paper stylizes the
            left view, as the view of the query or online network. MoCo's own code (`main_moco.py`) also uses the left view,
            `images[0]`, as the query. lightly's examples for MoCo use `views[1]` as the query and `views[0]` as the key: swap
            the two views there.
        style_position: "after_crop"; or "before_crop", which stylizes the whole image and is slower.
        dtype: "float32", "float16", or "uint8" if `normalize` is None; or the corresponding numpy or torch dtype.
        channels_last: (H, W, 3) instead of (3, H, W).
        output: "torch" or "numpy"; None: torch if it is installed.
        min_decode_size: shortest acceptable side in pixels. To save time on large images, a JPEG is decoded at the smallest of
            1/2, 1/4 and 1/8 of its size that leaves no side shorter than this; if there is none, at full size. None: full size.
        generator: as in `SASSL`.

    Raises:
        ValueError: a value outside its range; the message names it.
    """

    input_size: int | tuple[int, int] = 224
    cj_prob: float = 0.8
    cj_strength: float = 1.0
    cj_bright: float = 0.4
    cj_contrast: float = 0.4
    cj_sat: float = 0.4
    cj_hue: float = 0.1
    cj_form: str = "torchvision"
    min_scale: float = 0.2
    random_gray_scale: float = 0.2
    gaussian_blur: Pair = 0.5
    solarization_prob: Pair = 0.0
    kernel_size: int | str | None = None
    sigmas: tuple[float, float] = (0.1, 2.0)
    vf_prob: float = 0.0
    hf_prob: float = 0.5
    rr_prob: float = 0.0
    rr_degrees: float | tuple[float, float] | None = None
    interpolation: Any = "bilinear"
    normalize: Any = dataclasses.field(default_factory=lambda: IMAGENET_NORMALIZE)
    _: dataclasses.KW_ONLY
    style: Any = None
    styled_view: str = "left"
    style_position: str = "after_crop"
    dtype: Any = "float32"
    channels_last: bool = False
    output: str | None = None
    min_decode_size: int | None = None
    generator: Any = None

    #: The meaning of `kernel_size=None`: "pillow"; or "tenth", a kernel of about a tenth of the view's side.
    own_kernel: ClassVar[str] = "pillow"

    def __post_init__(self) -> None:
        object.__setattr__(self, "style", as_style(self.style))
        choice("styled_view", self.styled_view, ("left", "right", "both"))
        choice("style_position", self.style_position, ("after_crop", "before_crop"))
        given = ("dtype", "channels_last", "output", "min_decode_size", "generator")
        try:
            Views.__init__(self, self._view(0), self._view(1), **{name: getattr(self, name) for name in given})
        except ValueError as error:
            raise _by_keyword(error) from None

    def _view(self, which: int) -> list[Any]:
        """The operations of the left (0) or right (1) view."""
        styled = self.style is not None and self.styled_view in (("left", "both"), ("right", "both"))[which]
        style = [self.style] if styled else []
        before, after = (style, []) if self.style_position == "before_crop" else ([], style)
        if not 0 <= number("min_scale", self.min_scale) <= 1:
            raise wrong("min_scale", self.min_scale, "a fraction of the image's area in [0, 1]")
        crop = RandomResizedCrop(
            size(self.input_size, "input_size"), (self.min_scale, 1.0), interpolation=self.interpolation
        )
        degrees: Any = (90.0, 90.0) if self.rr_degrees is None else self.rr_degrees
        return [
            *before,
            crop,
            *after,
            self._named("rr_prob", Rotation, degrees),
            self._named("hf_prob", HorizontalFlip),
            self._named("vf_prob", VerticalFlip),
            self._named("cj_prob", ColorJitter, *self._strengths(), self.cj_form),
            self._named("random_gray_scale", Grayscale),
            self._named("gaussian_blur", GaussianBlur, self._taps(), pair("sigmas", self.sigmas), which=which),
            self._named("solarization_prob", Solarize, which=which),
            *([] if self.normalize is None else [Normalize(*mean_and_std(self.normalize))]),
        ]

    def _named(self, probability: str, make: Callable[..., Any], *settings: Any, which: int = 0) -> Any:
        """Build an operation with the probability that a keyword sets for the left (0) or right (1) view."""
        p, either = getattr(self, probability), "a probability, or one for the left view and one for the right"
        if probability in ("gaussian_blur", "solarization_prob"):
            p = pair(probability, p, either)[which] if np.ndim(p) == 1 else number(probability, p, either)
        if not 0 <= number(probability, p) <= 1:
            raise wrong(probability, p, "a probability in [0, 1]")
        return make(*settings, p=p)

    def _strengths(self) -> list[float]:
        strength = number("cj_strength", self.cj_strength)
        if not strength >= 0:
            raise wrong("cj_strength", strength, "a number >= 0")
        names = ("cj_bright", "cj_contrast", "cj_sat", "cj_hue")
        choice("cj_form", self.cj_form, ("torchvision", "byol"))
        strengths = [number(name, getattr(self, name)) * strength for name in names]
        if strengths[-1] > 0.5 >= self.cj_hue:
            raise wrong("cj_strength", strength, f"at most {0.5 / self.cj_hue:g} with cj_hue={self.cj_hue}")
        return strengths

    def _taps(self) -> int | None:
        """The number of taps of the blur, or None for Pillow's box blur."""
        kernel = self.own_kernel if self.kernel_size is None else self.kernel_size
        if kernel == "tenth":
            return 2 * (min(size(self.input_size, "input_size")) // 20) + 1
        if isinstance(kernel, str):
            choice("kernel_size", kernel, ("pillow",))
            return None
        return whole("kernel_size", kernel, 1)

    def keywords(self, recipe: type[TwoViewTransform] | None = None) -> dict[str, Any]:
        """The keywords with values other than the defaults of the class `recipe`; None: the class of this recipe."""
        others = recipe is not None and not isinstance(self, recipe)
        found: dict[str, Any] = {}
        for one in dataclasses.fields(recipe or self):
            own = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
            if _plain(getattr(self, one.name)) != _plain(own):
                found[one.name] = getattr(self, one.name)
        if others and self.kernel_size is None:
            # None means another blur in another recipe, so name it explicitly.
            found["kernel_size"] = self._taps() or "pillow"
        return found

    def replace(self, **changes: Any) -> TwoViewTransform:
        """Return a copy of the recipe with changed keywords."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.keywords().items())
        return f"{type(self).__name__}({told})"


@dataclass(frozen=True, repr=False, eq=False)
class MoCoV2Transform(TwoViewTransform):
    """Two views as in MoCo v2 (Chen et al. 2020, arXiv 2003.04297; facebookresearch/moco `main_moco.py`).

    The blur is Pillow's box blur, as in MoCo's code. The keywords are those of `TwoViewTransform`.
    """


@dataclass(frozen=True, repr=False, eq=False)
class SimCLRTransform(TwoViewTransform):
    """Two views as in SimCLR (Chen et al. 2020, arXiv 2002.05709; google-research/simclr `data_util.py`).

    As in SimCLR's code, values stay in [0, 1] and are not normalized by mean and standard deviation. The blur has a kernel of
    about a tenth of the view's side. For CIFAR, the SimCLR paper uses cj_strength=0.5 and gaussian_blur=0.0 (appendix B.9). The
    keywords are those of `TwoViewTransform`.
    """

    own_kernel: ClassVar[str] = "tenth"
    cj_bright: float = 0.8
    cj_contrast: float = 0.8
    cj_sat: float = 0.8
    cj_hue: float = 0.2
    min_scale: float = 0.08
    interpolation: Any = "bicubic"
    normalize: Any = None


@dataclass(frozen=True, repr=False, eq=False)
class BYOLTransform(TwoViewTransform):
    """Two views as in BYOL (Grill et al. 2020, arXiv 2006.07733, table 6; deepmind-research `byol/`).

    The two views differ in the probabilities of blur and solarization. The blur has a kernel of about a tenth of the view's
    side. The colour jitter is that of DeepMind's code; PyTorch reimplementations use cj_form="torchvision". The keywords are
    those of `TwoViewTransform`.
    """

    own_kernel: ClassVar[str] = "tenth"
    cj_sat: float = 0.2
    cj_form: str = "byol"
    min_scale: float = 0.08
    gaussian_blur: Pair = (1.0, 0.1)
    solarization_prob: Pair = (0.0, 0.2)
    interpolation: Any = "bicubic"

"""Two views of an image as MoCo v2, SimCLR and BYOL make them, with style on the left one: lightly's keyword names.

    from sassl.transforms import SASSL, MoCoV2Transform

    transform = MoCoV2Transform(style=SASSL(p=0.8))
    left, right = transform("photo.jpg")  # PIL, path, bytes, uint8 array (H, W, 3) or tensor (3, H, W)

Everything from decoding to normalizing is one call of the core, in Pillow's arithmetic.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from .._sassl import TwoViews, View, ViewParams
from ..arguments import choice, flag, number, pair, whole, wrong
from ..images import Array, is_cuda, pixels, pixels_cuda, uncompiled
from .plain import SASSL, check_generator, draw_seed, packed_generator, unpacked_generator

#: ImageNet's mean and standard deviation, under lightly's name.
IMAGENET_NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

#: A number for both views, or one for the left and one for the right.
Pair = float | tuple[float, float]

_ARGUMENTS = """
    Args:
        input_size: side of the views, or (height, width).
        cj_prob, cj_strength, cj_bright, cj_contrast, cj_sat, cj_hue: colour jitter: its probability, what multiplies the
            other four, and their strengths as torchvision's `ColorJitter` takes them.
        cj_form: "torchvision", or "byol": brightness is added, contrast is that of each colour, saturation is HSV's.
        min_scale: least part of the image's area in a view.
        random_gray_scale, vf_prob, hf_prob, rr_prob: probabilities of gray, of top for bottom, left for right, a rotation.
        rr_degrees: of the rotation, counter-clockwise: a range; or one number d for (-d, d); None: always 90.
        gaussian_blur, solarization_prob: probabilities; a pair is for the left view and the right one.
        kernel_size: the blur's taps, an odd number; "pillow": the boxes of Pillow's `GaussianBlur`; None: the method's own.
        sigmas: range of the blur's sigma in pixels.
        interpolation: "bilinear" or "bicubic", antialiased; or Pillow's or torchvision's constant.
        normalize: a dict of "mean" and "std"; None: numbers in [0, 1], or bytes.
        style: a `SASSL`, whose generator then is not used; None: no style. The other draws are the same with it and without.
        styled_view: "left", "right" or "both". The paper styles the left one, which is the query or online view: the first
            of the two that come back. MoCo's own code (`main_moco.py`) takes `images[0]` as the query, and so the left
            view; lightly's examples for MoCo take `views[1]` as the query and `views[0]` as the key: swap them there.
        style_position: "after_crop", or "before_crop": the whole image is stylized, which costs more.
        dtype: "float32", "float16", or "uint8" where `normalize` is None; or that type of numpy or torch.
        channels_last: (H, W, 3) instead of (3, H, W).
        output: "torch" or "numpy"; None: torch where it is installed.
        min_decode_size: for photographs of many megapixels: JPEGs are decoded at 1/2, 1/4 or 1/8 of their size, as long as no
            side is shorter than this. None: whole.
        generator: as that of `SASSL`.

    Raises:
        ValueError: a number outside its range, with its name.

    Call it with an image to get `[left, right]`: a PIL image, a path, the bytes of a JPEG, PNG or WebP file, an array (H, W, 3)
    or (H, W, 1) of uint8, a tensor (3, H, W) or (1, H, W) of uint8. A uint8 tensor (N, 3, H, W) on an NVIDIA GPU gives two
    batches there, each image with its own draws, which are those of the CPU and give the same pixels.
    """


class TwoViewTransform:
    """What the recipes share; they differ in their defaults."""

    def __init__(self, kernel_size: Any, settings: dict[str, Any]) -> None:
        self._settings = {name: value for name, value in settings.items() if name not in ("self", "__class__")}
        self._settings["dtype"] = _dtype_name(self._settings["dtype"])
        check_generator(self._settings["generator"])
        self._kernel_size = kernel_size
        self._params: Any = None
        self._views: dict[Any, Any] = {}
        self._make_core()

    def _make_core(self) -> None:
        settings = self._settings
        style = settings["style"]
        if style is not None and not isinstance(style, SASSL):
            raise TypeError(f"style: expected a sassl.transforms.SASSL or None, got {type(style).__name__}")
        choice("output", settings["output"], (None, "torch", "numpy"))
        if settings["min_decode_size"] is not None:
            whole("min_decode_size", settings["min_decode_size"], 1, 65_535)
        left, right = self._view(0), self._view(1)
        settings["interpolation"] = left.interpolation
        self._core = TwoViews(
            left,
            right,
            _size(settings["input_size"]),
            None if style is None else style._block,
            styled_view=settings["styled_view"],
            style_position=settings["style_position"],
            dtype=settings["dtype"],
            normalize=_mean_and_std(settings["normalize"]),
            channels_last=flag("channels_last", settings["channels_last"]),
        )

    def _view(self, which: int) -> View:
        settings = self._settings
        numbers = ("min_scale", "hf_prob", "vf_prob", "rr_prob", "cj_prob", "random_gray_scale")
        own: dict[str, Any] = {name: number(name, settings[name]) for name in numbers}
        strength = number("cj_strength", settings["cj_strength"])
        if not strength >= 0:
            raise wrong("cj_strength", strength, "a number from 0 up")
        for name in ("cj_bright", "cj_contrast", "cj_sat", "cj_hue"):
            own[name] = number(name, settings[name]) * strength
        if own["cj_hue"] > 0.5 >= settings["cj_hue"]:
            raise wrong(
                "cj_strength", strength, f"at most {0.5 / settings['cj_hue']:g}, where cj_hue = {settings['cj_hue']}"
            )
        for name in ("gaussian_blur", "solarization_prob"):
            value = settings[name]
            either = "a probability, or one for the left view and one for the right"
            own[name] = pair(name, value, either)[which] if np.ndim(value) == 1 else number(name, value, either)
        degrees = settings["rr_degrees"]
        if degrees is None:
            own["rr_degrees"] = (90.0, 90.0)
        elif np.ndim(degrees) == 0:
            own["rr_degrees"] = (-number("rr_degrees", degrees), number("rr_degrees", degrees))
        else:
            own["rr_degrees"] = pair("rr_degrees", degrees)
        return View(
            **own,
            interpolation=settings["interpolation"],
            sigmas=pair("sigmas", settings["sigmas"]),
            byol_jitter=choice("cj_form", settings["cj_form"], ("torchvision", "byol")) == "byol",
            kernel_size=self._kernel_size,
            ratio=(3 / 4, 4 / 3),
            threshold=128,
        )

    @property
    def style(self) -> SASSL | None:
        """As given."""
        return self._settings["style"]

    @property
    def output(self) -> str:
        """What views are: "torch" or "numpy"."""
        return self._settings["output"] or ("torch" if find_spec("torch") else "numpy")

    @property
    def dtype(self) -> str:
        """Of the views' numbers."""
        return self._settings["dtype"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a view."""
        return self._core.shape

    @property
    def params(self) -> Any:
        """What was drawn last, for the left view and the right one, of a batch for each image; None before the first call."""
        return self._params

    def sample(self, height: int, width: int) -> tuple[ViewParams, ViewParams]:
        """Draws for an image of this size, from a seed that the generator gives."""
        if self._core.needs_batch:
            raise ValueError(
                'style: SASSL(styles="batch") needs the other images; give the transform to sassl.data.TwoViewLoader, or '
                "take other styles"
            )
        drawn = self._core.sample(draw_seed(self._settings["generator"]), height, width)
        self._params = drawn
        return drawn

    def apply_params(self, image: Any, params: Any) -> list[Any]:
        """Both views of an image with these parameters, or of a batch on the GPU with a pair for each: a pure function."""
        return uncompiled(self._apply_params, image, params)

    def _apply_params(self, image: Any, params: Any) -> list[Any]:
        if is_cuda(image):
            return self._apply_cuda(image, params)
        return self._finish(self._core.apply(self._pixels(image), params))

    def _apply_cuda(self, image: Any, params: Any = None) -> list[Any]:
        batch = pixels_cuda(image)
        if params is None:
            n, _, height, width = batch.shape
            drawn = self._core.sample_batch(draw_seed(self._settings["generator"]), n, height, width)
            self._params = params = drawn if image.ndim == 4 else drawn[0]
        views = self._on(image.device).apply(batch, params if image.ndim == 4 else [params])
        return views if image.ndim == 4 else [view[0] for view in views]

    def _on(self, device: Any) -> Any:
        if device not in self._views:
            from ..cuda import Views

            self._views[device] = Views(self, device)
        return self._views[device]

    def __call__(self, image: Any) -> list[Any]:
        return uncompiled(self._views_of, image)

    def _views_of(self, image: Any) -> list[Any]:
        if is_cuda(image):
            return self._apply_cuda(image)
        array = self._pixels(image)
        return self._finish(self._core.apply(array, self.sample(*array.shape[:2])))

    def _pixels(self, image: Any) -> Array:
        return pixels(image, min_decode_size=self._settings["min_decode_size"])

    def picture(self, view: Any) -> Array:
        """A view as it looks, (H, W, 3) uint8: normalizing is undone."""
        array = np.asarray(view)
        array = array if self._settings["channels_last"] else array.transpose(1, 2, 0)
        if array.dtype == np.uint8:
            return np.ascontiguousarray(array)
        normalize = self._settings["normalize"] or {"mean": 0, "std": 1}
        array = array.astype(np.float32) * np.float32(normalize["std"]) + np.float32(normalize["mean"])
        return np.clip(array * 255 + 0.5, 0, 255).astype(np.uint8)

    def _finish(self, views: tuple[Array, Array]) -> list[Any]:
        if self.output == "numpy":
            return list(views)
        import torch

        return [torch.from_numpy(view) for view in views]

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings.items() if value is not None)
        return f"{type(self).__name__}({settings})"

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in ("_core", "_params", "_views")}
        generator = packed_generator(self._settings["generator"])
        return {**state, "_settings": {**self._settings, "generator": generator}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _params=None, _views={})
        self._settings["generator"] = unpacked_generator(self._settings["generator"])
        self._make_core()


class MoCoV2Transform(TwoViewTransform):
    __doc__ = (
        """Two views as MoCo v2 makes them (Chen et al. 2020, arXiv 2003.04297; facebookresearch/moco `main_moco.py`).

    Its blur is Pillow's, as in that code.
    """
        + _ARGUMENTS
    )

    def __init__(
        self,
        input_size: int | tuple[int, int] = 224,
        cj_prob: float = 0.8,
        cj_strength: float = 1.0,
        cj_bright: float = 0.4,
        cj_contrast: float = 0.4,
        cj_sat: float = 0.4,
        cj_hue: float = 0.1,
        cj_form: str = "torchvision",
        min_scale: float = 0.2,
        random_gray_scale: float = 0.2,
        gaussian_blur: Pair = 0.5,
        solarization_prob: Pair = 0.0,
        kernel_size: int | str | None = None,
        sigmas: tuple[float, float] = (0.1, 2.0),
        vf_prob: float = 0.0,
        hf_prob: float = 0.5,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        interpolation: str = "bilinear",
        normalize: dict[str, Any] | None = IMAGENET_NORMALIZE,
        *,
        style: SASSL | None = None,
        styled_view: str = "left",
        style_position: str = "after_crop",
        dtype: str = "float32",
        channels_last: bool = False,
        output: str | None = None,
        min_decode_size: int | None = None,
        generator: Any = None,
    ) -> None:
        super().__init__(_kernel_size(kernel_size, None), locals())


class SimCLRTransform(TwoViewTransform):
    __doc__ = (
        """Two views as SimCLR makes them (Chen et al. 2020, arXiv 2002.05709; google-research/simclr `data_util.py`).

    Numbers stay in [0, 1], without mean and deviation, as in that code; the blur's taps are a tenth of the side. For CIFAR,
    the paper takes cj_strength=0.5 and gaussian_blur=0.0 (appendix B.9).
    """
        + _ARGUMENTS
    )

    def __init__(
        self,
        input_size: int | tuple[int, int] = 224,
        cj_prob: float = 0.8,
        cj_strength: float = 1.0,
        cj_bright: float = 0.8,
        cj_contrast: float = 0.8,
        cj_sat: float = 0.8,
        cj_hue: float = 0.2,
        cj_form: str = "torchvision",
        min_scale: float = 0.08,
        random_gray_scale: float = 0.2,
        gaussian_blur: Pair = 0.5,
        solarization_prob: Pair = 0.0,
        kernel_size: int | str | None = None,
        sigmas: tuple[float, float] = (0.1, 2.0),
        vf_prob: float = 0.0,
        hf_prob: float = 0.5,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        interpolation: str = "bicubic",
        normalize: dict[str, Any] | None = None,
        *,
        style: SASSL | None = None,
        styled_view: str = "left",
        style_position: str = "after_crop",
        dtype: str = "float32",
        channels_last: bool = False,
        output: str | None = None,
        min_decode_size: int | None = None,
        generator: Any = None,
    ) -> None:
        super().__init__(_kernel_size(kernel_size, input_size), locals())


class BYOLTransform(TwoViewTransform):
    __doc__ = (
        """Two views as BYOL makes them (Grill et al. 2020, arXiv 2006.07733, table 6; deepmind-research `byol/`).

    The views differ in blur and solarization; the blur's taps are a tenth of the side. The colour jitter is that code's own:
    reimplementations in PyTorch take cj_form="torchvision".
    """
        + _ARGUMENTS
    )

    def __init__(
        self,
        input_size: int | tuple[int, int] = 224,
        cj_prob: float = 0.8,
        cj_strength: float = 1.0,
        cj_bright: float = 0.4,
        cj_contrast: float = 0.4,
        cj_sat: float = 0.2,
        cj_hue: float = 0.1,
        cj_form: str = "byol",
        min_scale: float = 0.08,
        random_gray_scale: float = 0.2,
        gaussian_blur: Pair = (1.0, 0.1),
        solarization_prob: Pair = (0.0, 0.2),
        kernel_size: int | str | None = None,
        sigmas: tuple[float, float] = (0.1, 2.0),
        vf_prob: float = 0.0,
        hf_prob: float = 0.5,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        interpolation: str = "bicubic",
        normalize: dict[str, Any] | None = IMAGENET_NORMALIZE,
        *,
        style: SASSL | None = None,
        styled_view: str = "left",
        style_position: str = "after_crop",
        dtype: str = "float32",
        channels_last: bool = False,
        output: str | None = None,
        min_decode_size: int | None = None,
        generator: Any = None,
    ) -> None:
        super().__init__(_kernel_size(kernel_size, input_size), locals())


def _kernel_size(given: int | str | None, input_size: Any) -> int | None:
    """Taps; None: Pillow's boxes. The method's own, where nothing is given: a tenth of the side, or boxes."""
    if isinstance(given, str) and given == "pillow":
        return None
    if given is None:
        return None if input_size is None else 2 * (min(_size(input_size)) // 20) + 1
    if isinstance(given, str):
        raise wrong("kernel_size", given, 'an odd number, "pillow" or None')
    return whole("kernel_size", given, 1)


def _dtype_name(value: Any) -> Any:
    """The word for a dtype of torch or numpy."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.dtype):
        value = str(value).removeprefix("torch.")
    name = np.dtype(value).name if isinstance(value, (type, np.dtype)) else value
    return choice("dtype", name, ("float32", "float16", "uint8"))


def _size(value: Any) -> tuple[int, int]:
    sides = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(sides) != 2:
        raise wrong("input_size", value, "a side in pixels, or (height, width)")
    return whole("input_size", sides[0], 1), whole("input_size", sides[1], 1)


def _mean_and_std(normalize: Any) -> Any:
    """Three numbers each, or None."""
    if normalize is None:
        return None
    try:
        mean, std = ([float(x) for x in normalize[name]] for name in ("mean", "std"))
        assert len(mean) == len(std) == 3
    except (TypeError, ValueError, KeyError, AssertionError):
        raise wrong("normalize", normalize, 'a dict of "mean" and "std", three numbers each, or None') from None
    return mean, std

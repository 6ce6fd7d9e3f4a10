"""Two views of an image as a transform: settings are checked once, draws are values, and the core makes the views."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from .._sassl import TwoViews, View, ViewParams
from ..arguments import choice, flag, number, pair, whole, wrong
from ..images import Array, is_cuda, pixels, pixels_cuda, uncompiled
from .plain import SASSL, check_generator, draw_seed, packed_generator, unpacked_generator

#: In the place of a dict of "mean" and "std", for views that others made in a way that these do not tell.
UNKNOWN = "not known"


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
            size(settings["input_size"]),
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

    def to_image(self, view: Any) -> Array:
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


def _dtype_name(value: Any) -> Any:
    """The word for a dtype of torch or numpy."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.dtype):
        value = str(value).removeprefix("torch.")
    name = np.dtype(value).name if isinstance(value, (type, np.dtype)) else value
    return choice("dtype", name, ("float32", "float16", "uint8"))


def size(value: Any) -> tuple[int, int]:
    """Height and width, of a side or of both."""
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

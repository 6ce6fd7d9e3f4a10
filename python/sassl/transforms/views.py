"""Views of an image as a transform: lists of operations, checked once and computed by the compiled core.

from sassl.transforms import SASSL, Views
from sassl.transforms.operations import ColorJitter, HorizontalFlip, Normalize, RandomResizedCrop

left = [RandomResizedCrop(224), SASSL(p=0.8), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), Normalize()]
right = [RandomResizedCrop(224), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), Normalize()]
transform = Views(left, right)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from .. import _sassl
from .._sassl import ViewParams
from ..arguments import choice, flag, plain, whole
from ..images import Array, is_cuda, pixels, pixels_cuda, uncompiled
from .generators import check_generator, draw_seed, packed_generator, unpacked_generator
from .operations import OPERATIONS, Function, Normalize, Operation, RandomResizedCrop, size
from .plain import SASSL

#: The value of `normalize` for third-party views, whose mean and std are unknown.
UNKNOWN = "not known"

#: The name of a `SASSL`'s draws in a view's parameters.
STYLE = "sassl"


class Views:
    """Any number of views, each a list of operations.

    Args:
        views: a list of operations for each view, the left view first. A list consists of: optionally a `SASSL`; exactly one
            `RandomResizedCrop`; any operations of `sassl.transforms.operations`, `SASSL` and functions of (H, W, 3) uint8
            images; optionally a `Normalize`; and after it, operations on normalized values, such as `Erasing`. A list has at
            most one `SASSL`; any other operation that appears twice needs a name.
        dtype: "float32", "float16", or "uint8" for views without `Normalize`; or the corresponding numpy or torch dtype.
        channels_last: (H, W, 3) instead of (3, H, W).
        output: "torch" or "numpy"; None: torch if it is installed.
        min_decode_size: shortest acceptable side in pixels. To save time on large images, a JPEG is decoded at the smallest of
            1/2, 1/4 and 1/8 of its size that leaves no side shorter than this; if there is none, at full size. None: full size.
        generator: as in `SASSL`.

    Raises:
        ValueError: a list that does not form a view; a value outside its range (the message names it).
        TypeError: a list item that is not an operation.

    A call with an image returns a list of views. The image is a PIL image, a path, the bytes of a JPEG, PNG or WebP file, a
    uint8 array (H, W, 3) or (H, W, 1), or a uint8 tensor (3, H, W) or (1, H, W).

    A call with a uint8 tensor (N, 3, H, W) on an NVIDIA GPU returns a batch for each view on the same GPU; each image has its
    own draws. With the same draws, the CPU computes the same pixels, except that stylized pixels may differ by one 8-bit
    level.

    A multi-crop as in SwAV, of two large and six small crops, is `Views(*[large] * 2, *[small] * 6)`, where `large` and `small`
    are lists of operations.
    """

    def __init__(
        self,
        *views: Sequence[Any],
        dtype: Any = "float32",
        channels_last: bool = False,
        output: str | None = None,
        min_decode_size: int | None = None,
        generator: Any = None,
    ) -> None:
        check_generator(generator)
        choice("output", output, (None, "torch", "numpy"))
        if min_decode_size is not None:
            whole("min_decode_size", min_decode_size, 1, 65_535)
        # Subclasses may be frozen.
        vars(self).update(
            views=tuple(tuple(_operation(one) for one in view) for view in views),
            dtype=_dtype_name(dtype),
            channels_last=flag("channels_last", channels_last),
            output=output or ("torch" if find_spec("torch") else "numpy"),
            min_decode_size=min_decode_size,
            generator=generator,
        )
        self._make_core()
        crop, normalize = self._first(RandomResizedCrop), self._first(Normalize)
        mean_and_std = None if normalize is None else {"mean": list(normalize.mean), "std": list(normalize.std)}
        vars(self).update(interpolation=crop.mode, normalize=mean_and_std)

    #: The operations of each view.
    views: tuple[tuple[Any, ...], ...]
    #: The dtype of the views.
    dtype: str
    channels_last: bool
    #: The type of the views: "torch" or "numpy".
    output: Any
    min_decode_size: int | None
    generator: Any
    #: The interpolation of the left view: "bilinear" or "bicubic".
    interpolation: Any
    #: The normalization of the left view: a dict of "mean" and "std"; None: not normalized.
    normalize: Any

    def _make_core(self) -> None:
        core = _sassl.Views([_lowered(view) for view in self.views], dtype=self.dtype, channels_last=self.channels_last)
        vars(self).update(_core=core, _params=None, _on={})

    @property
    def core(self) -> _sassl.Views:
        """The compiled views, which the loader and the CUDA kernels run."""
        return vars(self)["_core"]

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The shape of each view, without a batch dimension."""
        return self.core.shapes

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the left view."""
        return self.shapes[0]

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the left view."""
        return size(self._first(RandomResizedCrop).size)

    @property
    def styles(self) -> list[SASSL]:
        """The distinct `SASSL` objects in the views."""
        return _once(self.views)

    @property
    def styles_of_crops(self) -> list[SASSL]:
        """The distinct `SASSL` objects that are applied after the crop."""
        crops = ([isinstance(one, RandomResizedCrop) for one in view].index(True) for view in self.views)
        return _once(view[at:] for view, at in zip(self.views, crops, strict=True))

    def _first(self, kind: type[Any]) -> Any:
        return next((one for one in self.views[0] if isinstance(one, kind)), None)

    @property
    def params(self) -> Any:
        """The last draw, or None before the first call.

        For one image, the draw is a list with the parameters of each view; for a batch, a list of such lists, one per image.
        """
        return vars(self)["_params"]

    def sample(self, height: int, width: int) -> list[ViewParams]:
        """Draw the parameters of each view for an image of this size in pixels, seeded by the generator.

        Raises:
            ValueError: a `SASSL(styles="batch")` in the views, which takes its styles from other images.
        """
        if self.core.needs_batch:
            raise ValueError(
                'SASSL(styles="batch") requires a batch of images; pass the transform to sassl.data.TwoViewLoader, or '
                "use other styles"
            )
        drawn = self.core.sample(draw_seed(self.generator), height, width)
        vars(self)["_params"] = drawn
        return drawn

    def apply_params(self, image: Any, params: Any) -> list[Any]:
        """Compute the views of an image with given parameters, as a pure function.

        Args:
            image: as in a call of the transform.
            params: a list with the parameters of each view; for a batch on a GPU, a list of such lists, one per image.
        """
        return uncompiled(self._apply_params, image, params)

    def _apply_params(self, image: Any, params: Any) -> list[Any]:
        if is_cuda(image):
            return self._apply_cuda(image, params)
        return self._finish(self.core.apply(self._pixels(image), list(params)))

    def _apply_cuda(self, image: Any, params: Any = None) -> list[Any]:
        batch = pixels_cuda(image)
        if params is None:
            n, _, height, width = batch.shape
            drawn = self.core.sample_batch(draw_seed(self.generator), n, height, width)
            vars(self)["_params"] = params = drawn if image.ndim == 4 else drawn[0]
        views = self._views_on(image.device).apply(batch, params if image.ndim == 4 else [params])
        return views if image.ndim == 4 else [view[0] for view in views]

    def _views_on(self, device: Any) -> Any:
        known = vars(self)["_on"]
        if device not in known:
            from ..cuda import DeviceViews

            known[device] = DeviceViews(self, device)
        return known[device]

    def finish_on(self, device: Any, images: bool = False) -> Any:
        """Return the kernels that compute views on a CUDA device from crops or, if `images` is True, from decoded images.

        Raises:
            ValueError: an operation without CUDA kernels; the message names it.
            RuntimeError: no driver, no NVRTC, or an unsupported GPU.
        """
        known = vars(self)["_on"]
        if (device, images) not in known:
            from ..cuda import DeviceFinish

            known[device, images] = DeviceFinish(self, device, images)
        return known[device, images]

    def finish(self, pixels: Array, draws: _sassl.Draws, device: Any = None, threads: int | None = None) -> list[Any]:
        """Compute the views of a batch from its crops or decoded images; see `sassl.data.HalfViews`."""
        if device is not None:
            import torch

            device = torch.device(device)
        if device is None or device.type == "cpu":
            return self._finish(self.core.finish(pixels, draws, threads))
        if device.index is None:
            device = torch.device(device.type, torch.cuda.current_device())
        return self.finish_on(device, draws.of_images).apply(pixels, draws)

    def __call__(self, image: Any) -> list[Any]:
        return uncompiled(self._views_of, image)

    def _views_of(self, image: Any) -> list[Any]:
        if is_cuda(image):
            return self._apply_cuda(image)
        array = self._pixels(image)
        return self._finish(self.core.apply(array, self.sample(*array.shape[:2])))

    def _pixels(self, image: Any) -> Array:
        return pixels(image, min_decode_size=self.min_decode_size)

    def to_image(self, view: Any) -> Array:
        """Convert a view to an (H, W, 3) uint8 image for display; any view is assumed to be normalized like the left view."""
        array = np.asarray(view)
        array = array if self.channels_last else array.transpose(1, 2, 0)
        if array.dtype == np.uint8:
            return np.ascontiguousarray(array)
        normalize = self.normalize or {"mean": 0, "std": 1}
        array = array.astype(np.float32) * np.float32(normalize["std"]) + np.float32(normalize["mean"])
        return np.clip(array * 255 + 0.5, 0, 255).astype(np.uint8)

    def _finish(self, views: list[Array]) -> list[Any]:
        if self.output == "numpy":
            return views
        import torch

        return [torch.from_numpy(view) for view in views]

    def describe(self) -> dict[str, Any]:
        """The settings as JSON values, without `output` and `generator`."""
        described = {
            "views": [[_described(one) for one in view] for view in self.views],
            "dtype": self.dtype,
            "channels_last": self.channels_last,
            "min_decode_size": self.min_decode_size,
        }
        return dict(plain(described))

    @classmethod
    def from_description(cls, described: dict[str, Any], *, styles: Any = None, **settings: Any) -> Views:
        """Create views from their description.

        Args:
            described: a dict returned by `describe`.
            styles: the styles of a `SASSL`, as in `SASSL.from_description`.
            settings: arguments of `Views` that are not in the description, such as `output` and `generator`.

        Raises:
            ValueError: an unknown operation; a Python function, which a description does not contain.
            OSError, TypeError, ValueError: as raised by `SASSL.from_description`.
        """
        known: dict[str, SASSL] = {}
        views = [[_rebuilt(one, styles, known) for one in view] for view in described["views"]]
        return Views(*views, **{name: value for name, value in described.items() if name != "views"}, **settings)

    def replace(self, **changes: Any) -> Views:
        """Return a copy with changed settings: `views`, a tuple of lists, or arguments of the constructor."""
        names = ("dtype", "channels_last", "output", "min_decode_size", "generator")
        settings = {**{name: getattr(self, name) for name in names}, **changes}
        return Views(*settings.pop("views", self.views), **settings)

    def __repr__(self) -> str:
        views = ",\n    ".join("[" + ", ".join(map(repr, view)) + "]" for view in self.views)
        return f"{type(self).__name__}(\n    {views},\n    dtype={self.dtype!r}, channels_last={self.channels_last})"

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in ("_core", "_params", "_on")}
        return {**state, "generator": packed_generator(self.generator)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, generator=unpacked_generator(state["generator"]))
        self._make_core()


def _once(views: Iterable[Sequence[Any]]) -> list[SASSL]:
    """The distinct `SASSL` objects in these views, in order."""
    found: list[SASSL] = []
    for view in views:
        found += [one for one in view if isinstance(one, SASSL) and not any(one is other for other in found)]
    return found


def _operation(one: Any) -> Any:
    """Check an operation of a view; a function is converted to a `Function`."""
    if isinstance(one, (Operation, RandomResizedCrop, Normalize, SASSL)):
        return one
    if callable(one) and not isinstance(one, type):
        return Function(one)
    raise TypeError(f"views must be operations of sassl.transforms.operations, SASSL or functions, got {one!r}")


def _lowered(view: Sequence[Any]) -> Any:
    """Return a view's compiled steps, its size, and its mean and standard deviation (None without `Normalize`)."""
    sizes = [size(one.size) for one in view if isinstance(one, RandomResizedCrop)]
    normalize = [i for i, one in enumerate(view) if isinstance(one, Normalize)]
    if len(normalize) > 1:
        raise ValueError(f"a view must have at most one Normalize, got {len(normalize)}")
    for one in view[normalize[0] + 1 :] if normalize else ():
        if not getattr(one, "changes_numbers", False):
            raise ValueError(f"{one!r} must be before Normalize, because it changes uint8 images")
    numbers = [view[i].numbers() for i in normalize]
    steps = [_step(one) for one in view if not isinstance(one, Normalize)]
    return steps, sizes[0] if sizes else (1, 1), numbers[0] if numbers else None


def _step(one: Any) -> _sassl.Step:
    return _sassl.Step.style(STYLE, one.block, one.p) if isinstance(one, SASSL) else one.step()


def _described(one: Any) -> dict[str, Any]:
    return {"kind": STYLE, **one.describe()} if isinstance(one, SASSL) else one.describe()


def _rebuilt(described: dict[str, Any], styles: Any, known: dict[str, SASSL]) -> Any:
    """Rebuild an operation from its description. Equal descriptions of a `SASSL` give the same object."""
    kind = described["kind"]
    if kind == STYLE:
        own = {name: value for name, value in described.items() if name != "kind"}
        key = json.dumps(own)
        if key not in known:
            known[key] = SASSL.from_description(own, styles=styles)
        return known[key]
    if kind not in OPERATIONS:
        raise ValueError(f"kind must be one of the operations {', '.join(OPERATIONS)}, got {kind!r}")
    return OPERATIONS[kind](**{name: value for name, value in described.items() if name != "kind"})


def _dtype_name(value: Any) -> Any:
    """The name of a torch or numpy dtype."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.dtype):
        value = str(value).removeprefix("torch.")
    name = np.dtype(value).name if isinstance(value, (type, np.dtype)) else value
    return choice("dtype", name, ("float32", "float16", "uint8"))

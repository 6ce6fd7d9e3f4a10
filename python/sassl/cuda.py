"""Algorithm 1 and views on an NVIDIA GPU: `sassl.transforms` uses this module for torch's CUDA tensors.

Memory is allocated by torch's caching allocator, kernels run on torch's current stream, and no call synchronizes. Calls can
therefore be captured in CUDA graphs; a replay repeats the captured draws. Streams and devices work as for torch's own
operations.
"""

from __future__ import annotations

import glob
import math
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ._sassl import (
    CudaDevice,
    CudaPlan,
    CudaStylizer,
    Draws,
    StyleParams,
    Stylizer,
    ViewParams,
    cuda_finish,
    cuda_info,
    cuda_views,
)

__all__ = ["DeviceFinish", "DeviceViews", "Kernels", "info"]

#: Layout of a tensor of images: dtype, height, width, and the strides (image, row, column, channel) in elements.
Layout = tuple[str, int, int, tuple[int, int, int, int]]

#: An example of a uint8 layout, with which the kernels for uint8 are loaded in advance.
_BYTES: Layout = ("uint8", 64, 64, (3 * 64 * 64, 64, 1, 64 * 64))

_devices: dict[int, CudaDevice] = {}
#: Id of the process that opened the devices.
_process = 0


class Kernels:
    """The style predictor F and the transformer T of a stylizer, on one device.

    Args:
        stylizer: the model and its precision.
        device: a `torch.device` of type "cuda".
        styles: a bank's vectors (n, dim) float32; None: the styles are other images of the batch, or vectors in the draws.

    Raises:
        RuntimeError: no driver, no NVRTC, or an unsupported GPU; this process was forked from a process that uses the GPU.
    """

    def __init__(self, stylizer: Stylizer, device: Any, styles: Any = None) -> None:
        import torch

        self._device, self._stylizer, self._core = device, stylizer, CudaStylizer(stylizer)
        self._weights = torch.from_numpy(self._core.weights()).to(device)
        self._styles = None if styles is None else torch.from_numpy(styles).to(device)
        # Load every kernel for uint8; kernels for floats are loaded when first needed.
        bank = None if styles is None else len(styles)
        params = StyleParams([True, False], [0.2, 0.2], [0.2, 0.2], [0, 0])
        _load(self._core.plan(_BYTES, params, _BYTES, bank), device)

    def apply(self, images: Any, params: StyleParams, dtype: Any = None) -> Any:
        """Apply Algorithm 1, as a pure function of images and parameters.

        Args:
            images: (N, 3, H, W) on the device: uint8, float16, bfloat16 or float32, with any strides; H and W at least 8.
                Floats must be in [0, 1]. This is not checked, because a check would wait for the GPU.
            params: one draw for each image.
            dtype: dtype of the result; None: the dtype of the images.

        Returns:
            (N, 3, H, W), with strides as in `torch.empty_like`. Images whose draw has apply = False are copied without style.

        Raises:
            ValueError: a number of draws that differs from the number of images; an unsupported dtype or size.
            torch.OutOfMemoryError: the GPU's memory is exhausted. The call has released its memory, so a smaller batch can be
                tried.
        """
        import torch

        _check(images, self._device)
        if len(params) != len(images):
            raise ValueError(f"params must have length {len(images)}, one for each image, got {len(params)}")
        out = torch.empty_like(images, dtype=dtype)
        bank = None if self._styles is None else len(self._styles)
        plan = self._core.plan(_layout(images), params, _layout(out), bank)
        _run(plan, images, out, self._weights, self._styles)
        return out

    def parts(self) -> tuple[CudaStylizer, Any, Any, int | None]:
        """Return (kernels, weights, bank vectors, number of bank vectors); the last two are None without a bank."""
        return self._core, self._weights, self._styles, None if self._styles is None else len(self._styles)

    def encode(self, images: Any) -> Any:
        """Apply F to images of the form that `apply` takes; return style vectors (N, dim) float32 on the device."""
        import torch

        _check(images, self._device)
        out = torch.empty((len(images), self._stylizer.dim), dtype=torch.float32, device=self._device)
        if len(images):
            _run(self._core.encode(_layout(images), len(images)), images, out, self._weights, None)
        return out


class _ViewsOn:
    """Kernels that compute views on one device: `DeviceViews` from images, `DeviceFinish` from a loader's crops or images.

    Args:
        transform: the recipe or other `Views`, with its style.
        device: a `torch.device` of type "cuda".

    Raises:
        RuntimeError: as in `Kernels`.
        ValueError: different `SASSL` objects in the views; an operation without CUDA kernels (the message names it).
    """

    def __init__(self, transform: Any, device: Any) -> None:
        self._transform, self._device = transform, device
        styles = self._styles()
        if len(styles) > 1:
            raise ValueError(f"views must share one SASSL on a GPU, got {len(styles)} different ones")
        self._kernels = styles[0].on(device) if styles else None
        # Load every kernel that a draw may need.
        _, height, width, _ = _BYTES
        places = []
        for first, second, third in transform.shapes:
            h, w = (first, second) if transform.channels_last else (second, third)
            places.append((0, (transform.dtype, h, w, (3 * h * w, w, 1, h * w))))
        _load(self._every([transform.core.sample_every(height, width)], places), device)

    def _styles(self) -> list[Any]:
        """The `SASSL` transforms that are applied on the device."""
        raise NotImplementedError

    def _every(self, params: list[list[ViewParams]], places: list[tuple[int, Layout]]) -> CudaPlan:
        """Plan a computation that uses every kernel, so that all of them can be loaded in advance."""
        raise NotImplementedError

    def _parts(self) -> tuple[Any, Any, Any, Any]:
        """`Kernels.parts` of the style; all None without a style."""
        return (None,) * 4 if self._kernels is None else self._kernels.parts()

    def _room(self, n: int) -> tuple[Any, list[Any], list[tuple[int, Layout]]]:
        """Allocate the views of n images in one block of memory.

        Returns:
            The block, the views as tensors within the block, and the byte offset and layout of each view.
        """
        import torch

        transform, dtype = self._transform, getattr(torch, self._transform.dtype)
        sizes = [n * math.prod(shape) for shape in transform.shapes]
        out = torch.empty(sum(sizes), dtype=dtype, device=self._device)
        ends = np.cumsum(sizes)
        parts = zip(ends - sizes, ends, transform.shapes, strict=True)
        views = [out[begin:end].view(n, *shape) for begin, end, shape in parts]
        planar = [view.permute(0, 3, 1, 2) if transform.channels_last else view for view in views]
        return out, views, [(view.data_ptr() - out.data_ptr(), _layout(view)) for view in planar]


class DeviceViews(_ViewsOn):
    __doc__ = _ViewsOn.__doc__

    def _styles(self) -> list[Any]:
        return list(self._transform.styles)

    def _every(self, params: list[list[ViewParams]], places: list[tuple[int, Layout]]) -> CudaPlan:
        return self._plan(_BYTES, params, places)

    def _plan(self, images: Layout, params: list[list[ViewParams]], places: list[tuple[int, Layout]]) -> CudaPlan:
        core, _, _, bank = self._parts()
        return cuda_views(self._transform.core, images, params, places, core, bank)

    def apply(self, images: Any, params: list[list[ViewParams]]) -> list[Any]:
        """Compute all views, as a pure function of images and parameters.

        Pixels equal the CPU's, except that stylized pixels may differ by one 8-bit level.

        Args:
            images: (N, 3, H, W) uint8 on the device, with any strides.
            params: for each image, the parameters of each view.

        Returns:
            A tensor for each view, in the recipe's dtype: (N, 3, h, w), or (N, h, w, 3) with channels_last. All tensors share
            one block of memory.

        Raises:
            ValueError: a number of parameters that differs from the number of images; another dtype; an invalid size or
                invalid parameters.
        """
        _check(images, self._device)
        if len(params) != len(images):
            raise ValueError(f"params must have length {len(images)}, one list for each image, got {len(params)}")
        out, views, places = self._room(len(images))
        if len(images):
            _, weights, styles, _ = self._parts()
            _run(self._plan(_layout(images), params, places), images, out, weights, styles)
        return views


class DeviceFinish(_ViewsOn):
    """Kernels for the second half of computing views: from crops or decoded images to views (see `sassl.data.HalfViews`).

    Args:
        transform, device: as in `DeviceViews`, which raises the same errors.
        images: start from decoded images instead of crops.
    """

    def __init__(self, transform: Any, device: Any, images: bool) -> None:
        self._images = images
        super().__init__(transform, device)

    def _styles(self) -> list[Any]:
        return list(self._transform.styles_of_crops)

    def _every(self, params: list[list[ViewParams]], places: list[tuple[int, Layout]]) -> CudaPlan:
        _, height, width, _ = _BYTES
        if self._images:
            return self._plan(Draws(params, [(0, (0, 0, height, width))]), 3 * height * width, places)
        return self._plan(Draws(params), None, places)

    def _plan(self, draws: Draws, pixels: int | None, places: list[tuple[int, Layout]]) -> CudaPlan:
        core, _, _, bank = self._parts()
        return cuda_finish(self._transform.core, draws, places, core, bank, pixels=pixels)

    def apply(self, pixels: Any, draws: Draws) -> list[Any]:
        """Compute all views on the device's current stream. The stream waits only for the copy of the pixels.

        Args:
            pixels: flat uint8 array, as in `sassl.data.HalfViews`. An array in torch's page-locked memory may be released
                right after the call: torch reuses the memory only after the copy has finished.
            draws: the draws of the same batch.

        Returns:
            As in `DeviceViews.apply`.

        Raises:
            ValueError: pixels that do not match the draws, such as pixels of another batch.
        """
        out, views, places = self._room(len(draws))
        plan = self._plan(draws, pixels.nbytes, places)
        _, weights, styles, _ = self._parts()
        _run(plan, _copied(pixels, self._device), out, weights, styles)
        return views


def _check(images: Any, device: Any) -> None:
    _check_process()
    if images.device != device or images.ndim != 4 or images.shape[1] != 3:
        got = f"{tuple(images.shape)} on {images.device}"
        raise ValueError(f"images must have shape (N, 3, H, W) on {device}, where the kernels are, got {got}")


#: For each device, the stream for copies from the host.
_copies: dict[Any, Any] = {}


def _copied(pixels: Any, device: Any) -> Any:
    """Copy bytes from the host to a device on a separate stream; the current stream waits for the copy."""
    import torch

    _check_process()
    if device not in _copies:
        _copies[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(_copies[device]):
        copied = torch.from_numpy(pixels).to(device, non_blocking=True)
    here = torch.cuda.current_stream(device)
    here.wait_stream(_copies[device])
    # The memory belongs to the copy stream; it must not be reused for another batch before this one is read.
    copied.record_stream(here)
    return copied


def _load(plan: CudaPlan, device: Any) -> None:
    _tell(plan.load(_device(device.index)))


def _run(plan: CudaPlan, images: Any, out: Any, weights: Any, styles: Any) -> None:
    import torch

    device, stream = _device(out.device.index), torch.cuda.current_stream(out.device)
    workspace = torch.empty(plan.workspace, dtype=torch.uint8, device=out.device)
    for tensor in (weights, styles):
        # They may be released while a stream other than the one they were allocated on still reads them.
        if tensor is not None and stream != torch.cuda.default_stream(out.device):
            tensor.record_stream(stream)
    addresses = [0 if tensor is None else tensor.data_ptr() for tensor in (weights, workspace, images, out, styles)]
    _tell(plan.run(device, (addresses[0], addresses[1], addresses[2], addresses[3], addresses[4]), stream.cuda_stream))
    # Not earlier: memory released after the launch is reused only by later work on the same stream.
    del workspace


def _tell(unkept: str | None) -> None:
    if unkept is not None:
        warnings.warn(
            f"{unkept}: kernels are compiled again in each process; set SASSL_CACHE to a folder", stacklevel=4
        )


def _layout(images: Any) -> Layout:
    image, colour, row, column = images.stride()
    height, width = images.shape[-2:]
    return str(images.dtype).removeprefix("torch."), height, width, (image, row, column, colour)


def _check_process() -> None:
    if os.getpid() != _process and _devices:
        raise RuntimeError(
            "CUDA: this process was forked from one that uses the GPU; apply SASSL to the collated batch in the main process, "
            'apply it to CPU tensors in workers, or start workers with multiprocessing_context="spawn"'
        )


def _device(index: int) -> CudaDevice:
    global _process
    _check_process()
    if index not in _devices:
        _preload()
        _devices[index], _process = CudaDevice(index), os.getpid()
    return _devices[index]


def info() -> dict[str, Any]:
    """Describe the driver, NVRTC, the GPUs and the folder of compiled kernels; if one is missing, the reason is given."""
    _preload()
    return cuda_info()


def _preload() -> None:
    """Load NVRTC from NVIDIA's Python packages, which the dynamic linker does not search.

    The major version of torch's CUDA is tried first, then the other versions from newest to oldest.
    """
    spec = find_spec("nvidia")
    if sys.platform != "linux" or spec is None:
        return
    torch = sys.modules.get("torch")
    wanted = (getattr(torch.version, "cuda", None) or "").split(".")[0] if torch is not None else ""
    found: list[tuple[bool, int, str]] = []
    for folder in spec.submodule_search_locations or []:
        for path in glob.glob(f"{folder}/*/lib/libnvrtc.so.*"):
            major = path.rsplit(".so.", 1)[1].split(".")[0]
            if major.isdigit():
                found.append((major == wanted, int(major), path))
    import ctypes

    for _, _, path in sorted(found, reverse=True):
        try:
            for builtins in glob.glob(f"{Path(path).parent}/libnvrtc-builtins.so.*"):
                ctypes.CDLL(builtins)
            ctypes.CDLL(path)
        except OSError:
            continue
        return

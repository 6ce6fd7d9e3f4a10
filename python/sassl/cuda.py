"""Algorithm 1 and two views on the GPU, for torch's CUDA tensors: what `sassl.transforms` call when they are given one.

Everything is torch's: memory comes from its caching allocator, kernels run on its current stream, nothing waits. So CUDA graphs
can capture a call (with the draws that it was captured with), and other streams and devices work as for torch's own operations.
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
    StyleParams,
    Stylizer,
    ViewParams,
    cuda_info,
    cuda_views,
)

__all__ = ["DeviceViews", "Kernels", "info"]

#: A tensor's dtype, height, width, and strides of image, row, column and colour in numbers.
Layout = tuple[str, int, int, tuple[int, int, int, int]]

#: Some images of bytes.
_BYTES: Layout = ("uint8", 64, 64, (3 * 64 * 64, 64, 1, 64 * 64))

_devices: dict[int, CudaDevice] = {}
#: The process that made them.
_process = 0


class Kernels:
    """F and T of a stylizer on one device.

    Args:
        stylizer: whose model and precision.
        device: a `torch.device` of type "cuda".
        styles: a bank's vectors (n, dim) float32, or None for styles of the batch.

    Raises:
        RuntimeError: no driver, no NVRTC, an old GPU; or a process that was forked from one that uses the GPU.
    """

    def __init__(self, stylizer: Stylizer, device: Any, styles: Any = None) -> None:
        import torch

        self._device, self._stylizer, self._core = device, stylizer, CudaStylizer(stylizer)
        self._weights = torch.from_numpy(self._core.weights()).to(device)
        self._styles = None if styles is None else torch.from_numpy(styles).to(device)
        # Every kernel of bytes; those that read and write floats come when they are met.
        bank = None if styles is None else len(styles)
        params = StyleParams([True, False], [0.2, 0.2], [0.2, 0.2], [0, 0])
        _load(self._core.plan(_BYTES, params, _BYTES, bank), device)

    def apply(self, images: Any, params: StyleParams, dtype: Any = None) -> Any:
        """Algorithm 1, a pure function of images and parameters.

        Args:
            images: (N, 3, H, W) on the device, of any strides, uint8, float16, bfloat16 or float32; H and W from 8 up. Floats
                are in [0, 1], which is not checked, because that would wait for the GPU.
            params: one draw for each image.
            dtype: of the result; None: the images'.

        Returns:
            (N, 3, H, W) in the images' layout; those with apply = False are as they were.

        Raises:
            ValueError: not one draw for each image, or a dtype or size that cannot be.
            torch.OutOfMemoryError: nothing is kept, and the next call may be smaller.
        """
        import torch

        _check(images, self._device)
        if len(params) != len(images):
            raise ValueError(f"params: expected one for each of {len(images)} images, got {len(params)}")
        out = torch.empty_like(images, dtype=dtype)
        bank = None if self._styles is None else len(self._styles)
        plan = self._core.plan(_layout(images), params, _layout(out), bank)
        _run(plan, images, out, self._weights, self._styles)
        return out

    def parts(self) -> tuple[CudaStylizer, Any, Any, int | None]:
        """The kernels, their weights, the bank's vectors or None, and how many they are."""
        return self._core, self._weights, self._styles, None if self._styles is None else len(self._styles)

    def encode(self, images: Any) -> Any:
        """F: (N, 3, H, W) as of `apply` to style vectors (N, dim) float32 on the device."""
        import torch

        _check(images, self._device)
        out = torch.empty((len(images), self._stylizer.dim), dtype=torch.float32, device=self._device)
        if len(images):
            _run(self._core.encode(_layout(images), len(images)), images, out, self._weights, None)
        return out


class DeviceViews:
    """The views of batches on one device.

    Args:
        transform: the recipe or other `Views`, with its style.
        device: a `torch.device` of type "cuda".

    Raises:
        RuntimeError: as of `Kernels`.
        ValueError: more than one `SASSL` in the views.
    """

    def __init__(self, transform: Any, device: Any) -> None:
        self._transform, self._device = transform, device
        styles = transform.styles
        if len(styles) > 1:
            raise ValueError(f"views: {len(styles)} different SASSL in them; on a GPU all views share one")
        self._kernels = styles[0].on(device) if styles else None
        # Every kernel that the views may draw.
        _, height, width, _ = _BYTES
        places = []
        for first, second, third in transform.shapes:
            h, w = (first, second) if transform.channels_last else (second, third)
            places.append((0, (transform.dtype, h, w, (3 * h * w, w, 1, h * w))))
        _load(self._plan(_BYTES, [transform.core.sample_every(height, width)], places)[0], device)

    def _plan(self, images: Layout, params: list[list[ViewParams]], out: list[tuple[int, Layout]]) -> Any:
        """The launches, with the weights and the styles that they read."""
        core, weights, styles, bank = (None,) * 4 if self._kernels is None else self._kernels.parts()
        return cuda_views(self._transform.core, images, params, out, core, bank), weights, styles

    def apply(self, images: Any, params: list[list[ViewParams]]) -> list[Any]:
        """All views, a pure function of images and parameters; the same pixels as on the CPU, of styles within a level.

        Args:
            images: (N, 3, H, W) uint8 on the device, of any strides.
            params: of each view, for each image.

        Returns:
            A tensor for each view, (N, 3, h, w) or (N, h, w, 3) of the recipe's dtype, in one piece of memory.

        Raises:
            ValueError: not a list for each image, another dtype, a size or parameters that cannot be.
        """
        import torch

        _check(images, self._device)
        if len(params) != len(images):
            raise ValueError(f"params: expected those of each of {len(images)} images, got {len(params)}")
        transform, dtype = self._transform, getattr(torch, self._transform.dtype)
        sizes = [len(images) * math.prod(shape) for shape in transform.shapes]
        out = torch.empty(sum(sizes), dtype=dtype, device=self._device)
        ends = np.cumsum(sizes)
        parts = zip(ends - sizes, ends, transform.shapes, strict=True)
        views = [out[begin:end].view(len(images), *shape) for begin, end, shape in parts]
        if len(images):
            planar = [view.permute(0, 3, 1, 2) if transform.channels_last else view for view in views]
            places = [(view.data_ptr() - out.data_ptr(), _layout(view)) for view in planar]
            plan, weights, styles = self._plan(_layout(images), params, places)
            _run(plan, images, out, weights, styles)
        return views


def _check(images: Any, device: Any) -> None:
    _check_process()
    if images.device != device or images.ndim != 4 or images.shape[1] != 3:
        got = f"{tuple(images.shape)} on {images.device}"
        raise ValueError(f"images: expected (N, 3, H, W) on {device}, where the kernels are, got {got}")


def _load(plan: CudaPlan, device: Any) -> None:
    _tell(plan.load(_device(device.index)))


def _run(plan: CudaPlan, images: Any, out: Any, weights: Any, styles: Any) -> None:
    import torch

    device, stream = _device(out.device.index), torch.cuda.current_stream(out.device)
    workspace = torch.empty(plan.workspace, dtype=torch.uint8, device=out.device)
    for tensor in (weights, styles):
        # They may be let go while another stream than the one they were made on still reads them.
        if tensor is not None and stream != torch.cuda.default_stream(out.device):
            tensor.record_stream(stream)
    addresses = [0 if tensor is None else tensor.data_ptr() for tensor in (weights, workspace, images, out, styles)]
    _tell(plan.run(device, (addresses[0], addresses[1], addresses[2], addresses[3], addresses[4]), stream.cuda_stream))
    # Not before: whoever takes the memory comes after on the same stream.
    del workspace


def _tell(unkept: str | None) -> None:
    if unkept is not None:
        warnings.warn(f"{unkept}: kernels are compiled anew in each process; set SASSL_CACHE to a folder", stacklevel=4)


def _layout(images: Any) -> Layout:
    image, colour, row, column = images.stride()
    height, width = images.shape[-2:]
    return str(images.dtype).removeprefix("torch."), height, width, (image, row, column, colour)


def _check_process() -> None:
    if os.getpid() != _process and _devices:
        raise RuntimeError(
            "CUDA: this process was forked from one that uses the GPU; give SASSL the collated batch in the main process, CPU "
            'tensors in workers, or start them with multiprocessing_context="spawn"'
        )


def _device(index: int) -> CudaDevice:
    global _process
    _check_process()
    if index not in _devices:
        _preload()
        _devices[index], _process = CudaDevice(index), os.getpid()
    return _devices[index]


def info() -> dict[str, Any]:
    """The driver, NVRTC, the GPUs, the folder of compiled kernels; in the place of each that is not there, why."""
    _preload()
    return cuda_info()


def _preload() -> None:
    """NVRTC of NVIDIA's packages, which no loader finds by itself: the one of torch's CUDA, or the newest."""
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

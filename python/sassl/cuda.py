"""Algorithm 1 on the GPU, for torch's CUDA tensors: what `sassl.transforms.SASSL` calls when it is given one.

Everything is torch's: memory comes from its caching allocator, kernels run on its current stream, nothing waits. So CUDA graphs
can capture a call (with the draws that it was captured with), and other streams and devices work as for torch's own operations.
"""

from __future__ import annotations

import ctypes
import glob
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ._sassl import CudaDevice, CudaPlan, CudaStylizer, StyleParams, Stylizer, cuda_info

__all__ = ["Kernels", "info"]

_devices: dict[int, CudaDevice] = {}
_process = os.getpid()


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
        _device(device.index)
        self._weights = torch.from_numpy(self._core.weights()).to(device)
        self._styles = None if styles is None else torch.from_numpy(styles).to(device)

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

        if len(params) != len(images):
            raise ValueError(f"params: expected one for each of {len(images)} images, got {len(params)}")
        out = torch.empty_like(images, dtype=dtype)
        bank = None if self._styles is None else len(self._styles)
        self._run(self._core.plan(_layout(images), params, _layout(out), bank), images, out)
        return out

    def encode(self, images: Any) -> Any:
        """F: (N, 3, H, W) as of `apply` to style vectors (N, dim) float32 on the device."""
        import torch

        out = torch.empty((len(images), self._stylizer.dim), dtype=torch.float32, device=self._device)
        if len(images):
            self._run(self._core.encode(_layout(images), len(images)), images, out)
        return out

    def _run(self, plan: CudaPlan, images: Any, out: Any) -> None:
        import torch

        device, stream = _device(self._device.index), torch.cuda.current_stream(self._device).cuda_stream
        # Freed on return, for those who come after on the same stream.
        workspace = torch.empty(plan.workspace, dtype=torch.uint8, device=self._device)
        styles = self._weights if self._styles is None else self._styles
        weights, space, source, to, bank = (
            tensor.data_ptr() for tensor in (self._weights, workspace, images, out, styles)
        )
        unkept = plan.run(device, (weights, space, source, to, bank), stream)
        if unkept is not None:
            warnings.warn(
                f"{unkept}: kernels are compiled anew in each process; set SASSL_CACHE to a folder", stacklevel=2
            )


def _layout(images: Any) -> tuple[str, int, int, tuple[int, int, int, int]]:
    image, colour, row, column = images.stride()
    height, width = images.shape[-2:]
    return str(images.dtype).removeprefix("torch."), height, width, (image, row, column, colour)


def _device(index: int) -> CudaDevice:
    if os.getpid() != _process and _devices:
        raise RuntimeError(
            "CUDA: this process was forked from one that uses the GPU; give SASSL the collated batch in the main process, CPU "
            'tensors in workers, or start them with multiprocessing_context="spawn"'
        )
    if index not in _devices:
        _preload()
        _devices[index] = CudaDevice(index)
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
    for _, _, path in sorted(found, reverse=True):
        try:
            for builtins in glob.glob(f"{Path(path).parent}/libnvrtc-builtins.so.*"):
                ctypes.CDLL(builtins)
            ctypes.CDLL(path)
        except OSError:
            continue
        return

"""Convert images of any type to the arrays of the compiled core, and results back to the original type.

The core receives a one-channel image as three equal channels. The result is converted back to one channel by luminance:
0.299 R + 0.587 G + 0.114 B.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._sassl import decode

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
#: A function (result, applied) that converts the core's result to the original type; `applied` is a mask of stylized images.
Restore = Callable[[Array, NDArray[np.bool_]], Any]

#: PIL modes with 8 bits per channel.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
#: One-channel PIL modes with more than 8 bits, and the value of white in each. Pillow's own `convert` clips values at 255.
WHITE = {"I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;16N": 65535, "I": 65535, "F": 1}

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
#: Largest distance of a float from [0, 1] that is attributed to rounding: antialiased resizing can return 1 + 6e-7.
_ROUNDING = 1e-5


def unpack(image: Any, name: str = "image") -> tuple[Array, Restore]:
    """Convert an image, or a batch of images of one size, to the core's layout.

    Args:
        image: a PIL image (L, LA, RGB, RGBA, P, CMYK, I;16, ...), a numpy array (..., H, W, C), or a torch tensor
            (..., C, H, W). Arrays and tensors are uint8 or floats in [0, 1], and C is 1 or 3. A batch may be empty. Floats
            outside [0, 1] by at most a rounding error (1e-5, or the eps of float16 or bfloat16) are clipped. The EXIF
            orientation of a PIL image is ignored. PIL images in modes I;16 and I are scaled from 16 to 8 bits and rounded; in
            mode F, white is 1.
        name: name of the argument in error messages.

    Returns:
        The batch, (N, H, W, 3) uint8 or float32, and a function that converts the result to the original type.

    Raises:
        TypeError: not an image; a tensor that is not dense or has no storage.
        ValueError: another shape, dtype or PIL mode; floats outside [0, 1], or NaN; PIL values below black or above white.

    A tensor that requires a gradient causes a warning, because the result has no gradient.
    """
    kind = _kind(image)
    if kind is None:
        raise TypeError(f"{name} must be a PIL image, a numpy array or a torch tensor, got {type(image).__name__}")
    if kind == "tensor":
        return _unpack_torch(image, name)
    return _unpack_numpy(image, name) if kind == "array" else _unpack_pil(image, name)


def pixels(
    image: Any, name: str = "image", *, min_decode_size: int | None = None, exif: bool = True
) -> NDArray[np.uint8]:
    """Convert one uint8 image, or decode a file, to (H, W, 3) uint8; transparency is dropped.

    Args:
        image: a path or the bytes of a file, as for `sassl.transforms.functional.decode`; or a single uint8 image, as for
            `unpack`.
        name: name of the argument in error messages.
        min_decode_size: a JPEG may be decoded at a reduced size, with no side shorter than this; None: full size.
        exif: rotate files upright by their EXIF orientation. PIL images are not rotated, as in torchvision; use
            `ImageOps.exif_transpose` after opening.

    Raises:
        TypeError: not an image.
        ValueError: another shape, dtype or PIL mode; a damaged file.
        OSError: a file that cannot be read.
    """
    if isinstance(image, (str, bytes, os.PathLike)):
        return decode(image, min_decode_size, exif=exif)
    kind = _kind(image)
    if kind is None:
        got = type(image).__name__
        raise TypeError(f"{name} must be a PIL image, a path, bytes, a uint8 array or tensor, got {got}")
    if kind != "PIL":
        _check_one_of_bytes(image, kind, name)
    return unpack(image, name)[0][0]


def is_image(value: Any) -> bool:
    """Return whether a value is an image that `unpack` can convert."""
    return _kind(value) is not None


def _kind(value: Any) -> str | None:
    """Return "PIL", "array" for numpy, "tensor" for torch, or None for any other value."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, np.ndarray):
        return "array"
    return "PIL" if hasattr(value, "mode") and hasattr(value, "convert") else None


def _check_one_of_bytes(image: Any, kind: str, name: str) -> None:
    channels_axis, shapes = {"tensor": (0, "(3, H, W) or (1, H, W)"), "array": (2, "(H, W, 3) or (H, W, 1)")}[kind]
    dtype, shape = str(image.dtype).removeprefix("torch."), tuple(image.shape)
    if dtype != "uint8" or len(shape) != 3 or shape[channels_axis] not in (1, 3):
        raise ValueError(f"{name} must be a uint8 {kind} {shapes}, got {dtype} of shape {shape}")


#: DLPack's code for CUDA devices.
_CUDA = 2


def is_cuda(value: Any) -> bool:
    """Return whether a torch tensor, or a CuPy or JAX array, is on an NVIDIA GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.is_cuda and torch.version.hip is None
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack_device__"):
        return False
    return int(value.__dlpack_device__()[0]) == _CUDA


def uncompiled(function: Callable[..., Any], *args: Any) -> Any:
    """Call `function(*args)` outside torch.compile: the graph breaks once here, and the function is not traced."""
    # Skip the import if nothing has been compiled. (Testing whether this frame is compiled says nothing about the next one.)
    torch = sys.modules.get("torch")
    if torch is None or "torch._dynamo" not in sys.modules:
        return function(*args)
    return torch.compiler.disable(function)(*args)


def unpack_cuda(image: Any, name: str = "image") -> tuple[Any, Callable[[Any, Any], Any]]:
    """Convert images on a GPU like `unpack`; the images stay on the GPU.

    CuPy and JAX arrays (..., H, W, C) are exchanged via DLPack, without copying the input. DLPack synchronizes the streams of
    the two libraries.

    Returns:
        The batch, (N, 3, H, W) with the strides of the input, and a function that converts the result to the original type.

    Raises:
        TypeError, ValueError: as in `unpack`, except that the values of floats are not checked.
        ImportError: torch is not installed; CuPy and JAX arrays need it too.
    """
    try:
        import torch.utils.dlpack
    except ImportError:
        raise ImportError(f"{name}: arrays on a GPU need torch, which allocates the result; install torch") from None
    if not isinstance(image, torch.Tensor):
        batch, back = unpack_cuda(torch.utils.dlpack.from_dlpack(image).movedim(-1, -3), name)
        return batch, lambda out, applied: _given_back(image, back(out, applied).movedim(-3, -1).contiguous())

    tensor = _own_numbers(torch, image, name)
    shape = tuple(tensor.shape)
    images = tensor.reshape(int(np.prod(shape[:-3])), *shape[-3:])
    batch = images.float() if images.dtype == torch.float64 else images

    def restore(out: Any, applied: NDArray[np.bool_]) -> Any:
        if shape[-3] == 1:
            red, green, blue = (out[:, c : c + 1].float() * float(_LUMINANCE[c]) for c in range(3))
            gray = red + green + blue
            out = (gray + 0.5).floor() if out.dtype == torch.uint8 else gray.clamp(max=1)
        if out.dtype != images.dtype or shape[-3] == 1:
            out = out.to(images.dtype)
            # Images that are not stylized must be returned unchanged, but `out` holds converted copies of them.
            for i in np.flatnonzero(~applied).tolist():
                out[i] = images[i]
        return out.reshape(shape)

    return batch.expand(-1, 3, -1, -1), restore


def pixels_cuda(image: Any, name: str = "image") -> Any:
    """Convert a uint8 tensor on a GPU like `pixels`; the tensor stays on the GPU.

    Args:
        image: (N, C, H, W) or (C, H, W), with C = 1 or 3.
        name: name of the argument in error messages.

    Returns:
        The batch, (N, 3, H, W) with the strides of the input.

    Raises:
        ValueError: another shape or dtype.
    """
    torch = sys.modules.get("torch")
    if torch is None or image.ndim not in (3, 4) or image.shape[-3] not in (1, 3) or image.dtype != torch.uint8:
        got = f"{str(image.dtype).removeprefix('torch.')} of shape {tuple(image.shape)}"
        raise ValueError(f"{name} must be a uint8 tensor (N, 3, H, W) or (3, H, W), of 3 or 1 channels, got {got}")
    batch = image.detach().as_subclass(torch.Tensor)
    return (batch if batch.ndim == 4 else batch[None]).expand(-1, 3, -1, -1)


def _given_back(like: Any, tensor: Any) -> Any:
    """Convert the tensor to an array of the library that `like` belongs to."""
    library = type(like).__module__.split(".")[0]
    if library in ("jax", "jaxlib"):
        return import_module("jax.dlpack").from_dlpack(tensor)
    return sys.modules[library].from_dlpack(tensor)


def _own_numbers(torch: Any, image: Any, name: str) -> Any:
    """Check a tensor of images; return it detached and as a plain `torch.Tensor`, without its subclass."""
    kind = _without_numbers(torch, image)
    if kind is not None:
        raise TypeError(f"{name} must be a dense tensor with storage of its own, got {kind}")
    shape = tuple(image.shape)
    if image.ndim < 3 or shape[-3] not in (1, 3):
        raise ValueError(f"{name} must be a tensor (..., C, H, W) with 1 or 3 channels, got the shape {shape}")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ValueError(f"{name} must be uint8, or floats in [0, 1], got {image.dtype}; divide larger integers first")
    if image.requires_grad and torch.is_grad_enabled():
        warnings.warn(
            f"{name}: requires a gradient, but the result has none, because stylization is not differentiable here; pass "
            "image.detach() if that is intended",
            stacklevel=2,
        )
    return image.detach().as_subclass(torch.Tensor)


def _without_numbers(torch: Any, image: Any) -> str | None:
    """Return a description of a tensor that is nested, sparse, quantized or without storage; None for any other tensor."""
    if image.is_nested or image.layout != torch.strided:
        return (
            "a nested one" if image.is_nested else f"{str(image.layout).removeprefix('torch.')}; pass image.to_dense()"
        )
    if image.is_quantized:
        return f"{str(image.dtype).removeprefix('torch.')}; pass image.dequantize()"
    try:
        # A FakeTensor warns when asked for its address.
        nowhere = type(image).__name__ == "FakeTensor" or (image.numel() > 0 and image.data_ptr() == 0)
    except RuntimeError:
        nowhere = True
    elsewhere = (
        "one of the device meta, torch.vmap, torch.func, torch.export or FakeTensorMode; call SASSL outside of them"
    )
    return elsewhere if nowhere else None


def _unpack_numpy(image: Array, name: str) -> tuple[Array, Restore]:
    if image.ndim < 3 or image.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name} must be a numpy array (..., H, W, C) with 1 or 3 channels, got the shape {image.shape}"
        )
    spacing = _spacing(image.dtype)
    if spacing is None:
        raise ValueError(f"{name} must be uint8, or floats in [0, 1], got {image.dtype}; divide larger integers first")
    channels = image.shape[-1]
    # The length is explicit, because -1 is ambiguous if another axis is 0.
    batch = image.reshape(int(np.prod(image.shape[:-3])), *image.shape[-3:])
    batch = _three_channels(batch, spacing, name)

    def restore(out: Array, applied: NDArray[np.bool_]) -> Array:
        result = _channels(out, channels).astype(image.dtype, copy=False)
        if not applied.all():
            result = np.where(applied[:, None, None, None], result, image.reshape(result.shape))
        return result.reshape(image.shape)

    return batch, restore


def _unpack_torch(image: Any, name: str) -> tuple[Array, Restore]:
    import torch

    tensor = _own_numbers(torch, image, name)
    shape = tuple(tensor.shape)
    host = tensor.cpu() if tensor.dtype == torch.uint8 else tensor.to("cpu", torch.float32)
    host = host.reshape(int(np.prod(shape[:-3])), *shape[-3:])
    spacing = torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0
    batch = _three_channels(host.permute(0, 2, 3, 1).numpy(), spacing, name)
    last = tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)

    def restore(out: Array, applied: NDArray[np.bool_]) -> Any:
        result = torch.from_numpy(_channels(out, shape[-3])).permute(0, 3, 1, 2)
        result = result.to(tensor.device, tensor.dtype).reshape(shape)
        layout = torch.channels_last if last else torch.contiguous_format
        result = result.contiguous(memory_format=layout)
        if not applied.all():
            kept = torch.from_numpy(~applied).to(tensor.device).reshape(*shape[:-3], 1, 1, 1)
            result = torch.where(kept, tensor, result).contiguous(memory_format=layout)
        return result

    return batch, restore


def _unpack_pil(image: Image, name: str) -> tuple[Array, Restore]:
    mode = image.mode
    batch = _rgb(image, name)[None]
    # The transparent colour of L and RGB files is ignored: no stylized pixel has exactly that colour.
    has_alpha = mode in ("LA", "RGBA", "PA") or (mode == "P" and "transparency" in image.info)

    def restore(out: Array, applied: NDArray[np.bool_]) -> Any:
        if not applied[0]:
            return image
        from PIL.Image import fromarray

        result = fromarray(out[0])
        if mode in WHITE:
            gray = _channels(out, 1)[0, :, :, 0].astype(np.float32) * (WHITE[mode] / 255)
            return fromarray(gray if mode == "F" else gray.astype(np.int32 if mode == "I" else np.uint16))
        # A palette or two levels cannot hold the result: P becomes RGB, and 1 becomes L.
        back = {"P": "RGB", "PA": "RGB", "1": "L", "LA": "L", "RGBA": "RGB"}.get(mode, mode)
        result = result.convert(back) if back != "RGB" else result
        if has_alpha:
            result.putalpha(image.convert("RGBA").getchannel("A"))
        return result

    return batch, restore


def _rgb(image: Image, name: str) -> NDArray[np.uint8]:
    """Convert a PIL image to (H, W, 3) uint8."""
    if image.mode in WHITE:
        return _eight_bits(image, name)
    if image.mode not in MODES:
        modes = ", ".join((*MODES, *WHITE))
        raise ValueError(f"{name} must have one of the PIL modes {modes}, got {image.mode!r}; convert it")
    if image.mode == "P" and "transparency" in image.info:
        # Converting straight to RGB, Pillow would warn of lost transparency.
        image = image.convert("RGBA")
    # Loaded first, so that an image that is already RGB is copied only once.
    image.load()
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _eight_bits(image: Image, name: str) -> NDArray[np.uint8]:
    white = WHITE[image.mode]
    gray = np.asarray(image, np.float64)
    if not ((gray >= 0) & (gray <= white)).all():
        raise ValueError(
            f"{name} must have values in [0, {white}] in PIL mode {image.mode!r}, from black to white, got values from "
            f"{gray.min():.7g} to {gray.max():.7g}; scale them to that range"
        )
    eight = np.floor(gray * (255 / white) + 0.5).astype(np.uint8)
    return np.repeat(eight[:, :, None], 3, axis=2)


def _spacing(dtype: np.dtype[Any]) -> float | None:
    """Return the eps of a floating-point dtype, 0 for uint8, or None for a dtype that is not supported for images."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).eps)
    # bfloat16 of TensorFlow and JAX is not a dtype of numpy itself.
    return {"uint8": 0.0, "bfloat16": 2.0**-7}.get(dtype.name)


def _three_channels(batch: Array, spacing: float, name: str) -> Array:
    """Return a contiguous batch with three channels; floats become float32 in [0, 1]. `_spacing` computes `spacing`."""
    if batch.dtype != np.uint8:
        batch = _in_range(batch.astype(np.float32, copy=False), max(_ROUNDING, spacing), name)
    if batch.shape[-1] == 1:
        batch = np.broadcast_to(batch, (*batch.shape[:-1], 3))
    return np.ascontiguousarray(batch)


def _in_range(batch: Array, rounding: float, name: str) -> Array:
    low, high = (batch.min(), batch.max()) if batch.size else (0, 1)
    if low >= 0 and high <= 1:
        return batch
    if -rounding <= low and high <= 1 + rounding:
        return np.clip(batch, 0, 1)
    got = "NaN" if np.isnan(low) else f"values from {low:.7g} to {high:.7g}"
    raise ValueError(
        f"{name} must have floats in [0, 1], got {got}; place SASSL before Normalize, and clamp first if bicubic resizing "
        "overshoots; or pass uint8"
    )


def _channels(out: Array, channels: int) -> Array:
    if channels == 3:
        return out
    grey = (out @ _LUMINANCE)[..., None]
    return np.floor(grey + 0.5).astype(np.uint8) if out.dtype == np.uint8 else np.minimum(grey, 1, dtype=np.float32)

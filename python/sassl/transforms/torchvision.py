"""SASSL as a torchvision transform, v1 and v2."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import PIL.Image
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from .._sassl import StyleParams
from ..images import uncompiled
from . import plain


def _is_pure_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, tv_tensors.TVTensor)


def _are_images(values: list[Any]) -> bool:
    """Return whether all values are PIL images, arrays or plain tensors, and the tensors all have 1 channel or all have 3.

    If the numbers of channels differ, some of the tensors may be masks.
    """
    tensors = [value for value in values if _is_pure_tensor(value)]
    channels = {value.shape[-3] if value.ndim >= 3 else None for value in tensors}
    others = all(isinstance(value, (PIL.Image.Image, np.ndarray)) or _is_pure_tensor(value) for value in values)
    return others and channels in (set(), {1}, {3})


class SASSL(plain.SASSL, v2.Transform):
    """Style augmentation as a torchvision transform (SASSL, arXiv 2312.01187, Algorithm 1), with the paper's defaults.

    With probability p: z = (1 - alpha) F(image) + alpha z_style; view = (1 - beta) image + beta T(image, z). The paper
    applies it to the left view only, after the crop. `sassl.transforms.plain.SASSL` describes images, devices and processes.

    Like every `v2` transform, it also takes nested structures. The following values are treated as images:

    - PIL images, and `Image` and `Video` tv_tensors.
    - A plain tensor, if it is the first in the sample and the sample has no PIL image, `Image` or `Video`.
    - numpy arrays, if they are the only argument, alone or in a list. In other samples, apply `v2.ToImage` first.

    Masks, boxes, keypoints and labels pass through unchanged.

    One call is one sample, and the images of a sample share a draw. There are two exceptions:

    - The images of a batch (..., C, H, W) have one draw each. The frames of a video share a draw.
    - The images of a list have one draw each, if the list is the only argument and contains only PIL images, arrays and
      tensors, and the tensors all have 1 channel or all have 3.

    In `v1.Compose` and `nn.Sequential`, it behaves like any other module.
    """

    _transformed_types = (_is_pure_tensor, tv_tensors.Image, tv_tensors.Video, PIL.Image.Image)

    # The module's `__call__`, with its hooks; `forward` calls the plain transform for inputs that v2 does not handle.
    __call__: Any = v2.Transform.__call__

    def forward(self, *inputs: Any) -> Any:
        return uncompiled(self._augment_sample, *inputs)

    def _augment_sample(self, *inputs: Any) -> Any:
        # A single image has no structure to traverse; v2 would pass arrays, and lists of images of different sizes, through
        # unchanged.
        if len(inputs) == 1:
            (only,) = inputs
            if _is_pure_tensor(only) or _are_images(only if isinstance(only, list) else [only]):
                return self._augment(only)
            if isinstance(only, (str, bytes, os.PathLike)):
                raise TypeError(f"image must be an image, got {type(only).__name__}; open files with PIL.Image.open")
        return super().forward(*inputs)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raise a TypeError if the only images of a sample are numpy arrays: v2 would silently leave them unchanged."""
        arrays = [value for value in flat_inputs if isinstance(value, np.ndarray) and value.ndim >= 3]
        if arrays and not any(self._needs_transform_list(flat_inputs)):
            raise TypeError("sample must not contain numpy arrays, which torchvision ignores; apply v2.ToImage() first")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw parameters for the images of a sample.

        Single images share one draw. Batches share one draw for each index: the first images of all batches have the same draw.

        Raises:
            ValueError: batches of different lengths.
        """
        flags = self._needs_transform_list(flat_inputs)
        counts = {_count(value) for value, wanted in zip(flat_inputs, flags, strict=True) if wanted}
        if len(counts) > 1:
            raise ValueError(
                f"images of a sample must be batches of one size, as they share their draws, got {sorted(counts)}; "
                "pass them separately"
            )
        return {"params": self.sample(counts.pop()) if counts else None}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Apply the draws in `params["params"]` to an input."""
        return self.apply_params(inpt, params["params"])

    def _apply_params(self, image: Any, params: StyleParams) -> Any:
        if isinstance(image, tv_tensors.Video):
            params = self._for_frames(params, image.shape[-4])
        out = super()._apply_params(image, params)
        return tv_tensors.wrap(out, like=image) if isinstance(image, tv_tensors.TVTensor) else out

    def _for_frames(self, params: StyleParams, frames: int) -> StyleParams:
        """Repeat the draw of each video for all of its frames."""
        # Styles of the batch are indexed by frame: a video that is drawn as a style is represented by its first frame.
        style = params.style * frames if self.styles is None and params.style.ndim == 1 else params.style
        parts = (params.apply, params.alpha, params.beta, style)
        return StyleParams(*(np.repeat(part, frames, axis=0) for part in parts))

    # Names of these methods in torchvision up to 0.20.
    def _check_inputs(self, flat_inputs: list[Any]) -> None:
        self.check_inputs(flat_inputs)

    def _get_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return self.make_params(flat_inputs)

    def _transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self.transform(inpt, params)


def _count(image: Any) -> int:
    """The number of draws that an image needs."""
    if isinstance(image, PIL.Image.Image):
        return 1
    leading = image.shape[:-4] if isinstance(image, tv_tensors.Video) else image.shape[:-3]
    return int(np.prod(leading))

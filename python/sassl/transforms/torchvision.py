"""SASSL as a torchvision transform, v1 and v2."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from .._sassl import StyleParams
from . import plain


def _is_pure_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, tv_tensors.TVTensor)


class SASSL(v2.Transform):
    __doc__ = (
        (plain.SASSL.__doc__ or "")
        + """
    As a torchvision transform it takes whatever `v2` takes: images in nested structures; `Image` and `Video`
    tv_tensors; masks, boxes, keypoints and labels pass through. One call is one sample: all its images share a draw,
    but those of a batch (..., C, H, W) have one each, and so have those of a list that is the only argument. The frames
    of a video share one. In `v1.Compose` and `nn.Sequential` it is a module as any other.
    """
    )

    _transformed_types = (_is_pure_tensor, tv_tensors.Image, tv_tensors.Video, PIL.Image.Image)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._sassl = plain.SASSL(*args, **kwargs)

    @property
    def params(self) -> StyleParams | None:
        """What was drawn last; None before the first call."""
        return self._sassl.params

    @property
    def styles(self) -> Any:
        """The `StyleBank` or `Gaussian`; None where styles come from the batch."""
        return self._sassl.styles

    def sample(self, n: int = 1) -> StyleParams:
        """Draws for n images."""
        return self._sassl.sample(n)

    def apply_params(self, image: Any, params: StyleParams) -> Any:
        """The image, or batch of images, with these parameters: a pure function."""
        return self._sassl.apply(image, params)

    def forward(self, *inputs: Any) -> Any:
        # What v2 would pass through untouched: arrays, and lists of images as a batch of different sizes.
        if len(inputs) == 1:
            (only,) = inputs
            items = only if isinstance(only, list) else []
            are_images = bool(items) and all(isinstance(item, (PIL.Image.Image, np.ndarray)) for item in items)
            if are_images or isinstance(only, np.ndarray):
                return self._sassl(only)
        return super().forward(*inputs)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """One draw for each image of the batch that the sample's first image is."""
        flags = self._needs_transform_list(flat_inputs)
        counts = [_count(value) for value, wanted in zip(flat_inputs, flags, strict=True) if wanted]
        return {"params": self._sassl.sample(counts[0]) if counts else None}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The input with `params["params"]`."""
        drawn = params["params"]
        if isinstance(inpt, tv_tensors.Video):
            drawn = _repeat(drawn, inpt.shape[-4])
        out = self._sassl.apply(inpt, drawn)
        return tv_tensors.wrap(out, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else out

    # torchvision up to 0.20 calls them by these names.
    def _get_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return self.make_params(flat_inputs)

    def _transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self.transform(inpt, params)

    def extra_repr(self) -> str:
        return self._sassl.describe()


def _count(image: Any) -> int:
    """How many draws an image asks for."""
    if isinstance(image, PIL.Image.Image):
        return 1
    leading = image.shape[:-4] if isinstance(image, tv_tensors.Video) else image.shape[:-3]
    return max(int(np.prod(leading)), 1)


def _repeat(params: StyleParams, frames: int) -> StyleParams:
    """The draw of each clip for all its frames."""
    parts = (params.apply, params.alpha, params.beta, params.style)
    return StyleParams(*(np.repeat(part, frames, axis=0) for part in parts))

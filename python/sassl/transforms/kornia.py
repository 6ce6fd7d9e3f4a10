"""SASSL as a kornia augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from kornia.augmentation import IntensityAugmentationBase2D

from .._sassl import StyleParams
from ..images import uncompiled
from .generators import draw_seed
from .plain import SASSL, Strength


class RandomSASSL(IntensityAugmentationBase2D):
    """Style augmentation (SASSL, arXiv 2312.01187, Algorithm 1) of a batch, with the paper's defaults.

    Args:
        p, alpha, beta, styles, model: as in `sassl.transforms.SASSL`; styles="batch" is supported.
        same_on_batch: use one draw for all images.
        keepdim: return (C, H, W) for an input of (C, H, W); False: (1, C, H, W).

    Input: (C, H, W) or (B, C, H, W), floats in [0, 1], C = 1 or 3. Each image has its own draw, from torch's generator. Only
    the images that a draw selects are stylized, on the device of the batch. `aug(x, params=aug._params)` replays a call.
    `RandomSASSL` is not differentiable, unlike kornia's own augmentations: a batch that requires a gradient causes a warning.

    Raises:
        ValueError: a value outside its range; floats outside [0, 1].
    """

    def __init__(
        self,
        p: float = 0.8,
        alpha: Strength = (0.1, 0.3),
        beta: Strength = (0.1, 0.3),
        styles: Any = "default",
        model: Any = "lite",
        same_on_batch: bool = False,
        keepdim: bool = False,
    ) -> None:
        # p=1.0, so that kornia passes on every image: our own draw decides whether an image is stylized.
        super().__init__(p=1.0, same_on_batch=same_on_batch, keepdim=keepdim)
        self._sassl = SASSL(p, alpha, beta, styles, model)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """Draw `apply`, `alpha`, `beta` and `style` for each image, as tensors."""
        return uncompiled(self._drawn, batch_shape[0])

    def _drawn(self, n: int) -> dict[str, torch.Tensor]:
        drawn = self._sassl.block.sample(draw_seed(None), 1 if self.same_on_batch else n)
        parts = {"apply": drawn.apply, "alpha": drawn.alpha, "beta": drawn.beta, "style": drawn.style}
        times = n if self.same_on_batch else 1
        return {name: torch.from_numpy(np.repeat(part, times, axis=0)) for name, part in parts.items()}

    def apply_transform(
        self,
        input: torch.Tensor,  # noqa: A002
        params: dict[str, torch.Tensor],
        flags: dict[str, Any],
        transform: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Stylize the batch, (B, C, H, W), with these parameters."""
        return uncompiled(self._stylized, input, params)

    def _stylized(self, images: torch.Tensor, params: dict[str, torch.Tensor]) -> torch.Tensor:
        parts = (params[name].cpu().numpy() for name in ("apply", "alpha", "beta", "style"))
        return self._sassl.apply_params(images, StyleParams(*parts))

    def __repr__(self) -> str:
        return f"RandomSASSL({self._sassl.extra_repr()}, same_on_batch={self.same_on_batch}, keepdim={self.keepdim})"

"""SASSL as an albumentations transform."""

from __future__ import annotations

import random
from typing import Any

import albumentations as A
import numpy as np

from ..images import Array
from . import plain
from .generators import worker_seed
from .plain import Strength


class SASSL(A.ImageOnlyTransform):
    """Style augmentation (SASSL, arXiv 2312.01187, Algorithm 1) with the paper's defaults.

    Args:
        alpha, beta, styles, model: as in `sassl.transforms.SASSL`; styles="batch" is not supported.
        p: probability of stylizing the images of a call; albumentations makes this draw.

    Targets: image, images, volume, volumes. Image types: uint8, float32 in [0, 1]. Channels: 1 or 3.

    Draws use albumentations' generator, so `Compose(seed=...)` seeds them and `ReplayCompose` replays them. The images of one
    call share a draw, as in every albumentations transform. Without a seed, the draws of this transform differ between
    DataLoader workers and between epochs; those of albumentations' own transforms do not. With a seed, all workers and epochs
    have the same draws.

    Raises:
        ValueError: a value outside its range; styles="batch".
    """

    def __init__(
        self,
        alpha: Strength = (0.1, 0.3),
        beta: Strength = (0.1, 0.3),
        styles: Any = "default",
        model: Any = "lite",
        p: float = 0.8,
    ) -> None:
        super().__init__(p=p)
        self.alpha, self.beta, self.styles, self.model = alpha, beta, styles, model
        self._worker: int | None = None
        self._plain = plain.SASSL(1.0, alpha, beta, styles, model)
        if self._plain.styles is None:
            raise ValueError(
                'styles must not be "batch", as albumentations calls a transform with one image at a time; use other styles'
            )

    def should_apply(self, force_apply: bool = False) -> bool:
        """Decide, as albumentations does, whether to apply the transform.

        Without a seed, each DataLoader worker uses a separate generator.
        """
        worker = worker_seed()
        if self.seed is None and worker != self._worker:
            seed = [worker or 0, int(self.random_generator.integers(2**63 - 1))]
            self.set_random_state(np.random.default_rng(seed), random.Random(str(seed)))
            self._worker = worker
        return super().should_apply(force_apply)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw a seed for all images of the call."""
        return {"seed": int(self.random_generator.integers(2**63 - 1))}

    def apply(self, img: Array, seed: int, **params: Any) -> Array:
        """Stylize one image, (H, W), (H, W, 1) or (H, W, 3)."""
        return self.apply_to_images(img[None], seed)[0]

    def apply_to_images(self, images: Array, seed: int, **params: Any) -> Array:
        """Stylize images of one size, (N, H, W) or (N, H, W, C), in one batch."""
        gray = images.ndim == 3
        batch = images[..., None] if gray else images
        drawn = self._plain.block.sample(seed, 1)
        parts = (drawn.apply, drawn.alpha, drawn.beta, drawn.style)
        out = self._plain.apply_params(batch, type(drawn)(*(np.repeat(part, len(batch), axis=0) for part in parts)))
        return out[..., 0] if gray else out

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """The names of the arguments that serialization stores."""
        return "alpha", "beta", "styles", "model"

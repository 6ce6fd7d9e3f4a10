"""What `sassl.evaluation` asks of a model that knows how its images are made."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .preprocessing import Preprocessing


class Encoder(Protocol):
    """A protocol for backbones that know how their images are made, such as the objects of `sassl.pretraining`."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How its images are made; raises a ValueError where their normalizing is not known."""

    @property
    def normalize(self) -> Any:
        """How its images are normalized: a dict of "mean" and "std"; None: not at all; "not known"."""

    @property
    def threads(self) -> int:
        """How many images are made at a time."""

    def encode_normalized(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Features (N, dim) of images (N, H, W, 3) or (N, 3, H, W) of floats, normalized as its views are."""

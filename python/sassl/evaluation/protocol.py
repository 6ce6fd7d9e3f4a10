"""The protocol of models that know how their images are preprocessed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .preprocessing import Preprocessing


class Encoder(Protocol):
    """Protocol of backbones that know their own preprocessing, such as `sassl.SimCLR`."""

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the model's images; raises a ValueError if their normalization is not known."""

    @property
    def normalize(self) -> Any:
        """The normalization of the model's images: a dict of "mean" and "std"; None: not normalized; or "not known"."""

    @property
    def threads(self) -> int:
        """Number of images that are preprocessed in parallel."""

    def encode_normalized(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Return features (N, dim) of float images (N, H, W, 3) or (N, 3, H, W), normalized like the model's views."""

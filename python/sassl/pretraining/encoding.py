"""What a model makes of images: features, by whatever engine it has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import evaluation
from ..arguments import whole
from ..transforms.views import UNKNOWN, Views
from .config import Config
from .engines import Engine


class Encoding:
    """The features of a model."""

    run: Config
    transform: Views
    engine: Engine

    @property
    def threads(self) -> int:
        """How many threads a step and `encode` take."""
        return self.engine.threads

    @property
    def normalize(self) -> Any:
        """How views are normalized: a dict of "mean" and "std"; None: not at all; "not known", of batches that others made."""
        given = self.run.data.views.get("normalize")
        return UNKNOWN if given == UNKNOWN else self.transform.normalize

    @property
    def preprocessing(self) -> evaluation.Preprocessing:
        """How images are made as the run made its views: their size, interpolation and normalizing, nothing drawn.

        Raises:
            ValueError: the model learnt from batches that others normalized in a way that is not known.
        """
        sides, interpolation = self.transform.size, self.transform.interpolation
        return evaluation.Preprocessing.of_views(
            sides, interpolation=interpolation, normalize=self.normalize, channels_last=True
        )

    def encode(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Features by the backbone of images, resized and normalized as the run's views were; no draw is made.

        Args:
            images: (N, H, W, 3) uint8, or a tensor (N, 3, H, W) of uint8, of any size; or a list of PIL images, paths, bytes of
                files, arrays (H, W, 3) and tensors (3, H, W) of uint8; or one of these.
            batch_size: images at a time.

        Returns:
            (N, features) float32.

        Raises:
            ValueError: floats, which go to `encode_normalized`; an image that is damaged; a run on batches whose normalizing is
                not known.
            OSError, TypeError: a file that cannot be read; no image.
        """
        return evaluation.encode(self, images, batch_size=batch_size)

    def encode_normalized(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Features by the backbone, whose norms take their running statistics, of floats that are normalized as the views are.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W) of floats; numpy or torch.
            batch_size: images at a time.

        Returns:
            (N, features) float32.

        Raises:
            ValueError: no floats, another shape, numbers that are not finite.
        """
        array, batch_size = np.asarray(images), whole("batch_size", batch_size, 1)
        if array.dtype.kind != "f":
            raise ValueError(f"images: expected floats that are normalized, got {array.dtype}; images go to encode")
        array = array.astype(np.float32, copy=False)
        parts = [self.engine.encode(array[i : i + batch_size]) for i in range(0, len(array), batch_size)]
        return np.concatenate(parts) if parts else np.empty((0, self.engine.features), np.float32)

"""The features of images, computed by a model's engine."""

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
    """A mixin that lets models encode images."""

    run: Config
    transform: Views
    engine: Engine

    @property
    def threads(self) -> int:
        """The number of images to preprocess in parallel; with the native engine, also the number of threads of a step."""
        return self.engine.threads

    @property
    def normalize(self) -> Any:
        """The views' normalization: a dict of "mean" and "std", None (not normalized), or the setting "not known"."""
        given = self.run.data.views.get("normalize")
        return UNKNOWN if given == UNKNOWN else self.transform.normalize

    @property
    def preprocessing(self) -> evaluation.Preprocessing:
        """The preprocessing that matches the run's views: same size, interpolation and normalization, no augmentation.

        Raises:
            ValueError: the normalization is not known, since the caller provided the batches of the run.
        """
        sides, interpolation = self.transform.size, self.transform.interpolation
        return evaluation.Preprocessing.of_views(
            sides, interpolation=interpolation, normalize=self.normalize, channels_last=True
        )

    def encode(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Backbone features of images, which are resized and normalized like the run's views, without augmentation.

        Args:
            images: a uint8 array (N, H, W, 3) or a uint8 tensor (N, 3, H, W), of any height and width; a list of PIL images,
                paths, bytes of files, uint8 arrays (H, W, 3) and uint8 tensors (3, H, W); or a single such element.
            batch_size: the number of images encoded at a time.

        Returns:
            (N, features) float32.

        Raises:
            ValueError: the images are floats (use `encode_normalized`); an image is damaged; the run's normalization is not
                known.
            OSError: a file cannot be read.
            TypeError: an element is not an image.
        """
        return evaluation.encode(self, images, batch_size=batch_size)

    def encode_normalized(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Backbone features of float images that are already normalized like the views.

        Args:
            images: an array or tensor of floats, (N, H, W, 3) or (N, 3, H, W).
            batch_size: the number of images encoded at a time.

        Returns:
            (N, features) float32.

        Raises:
            ValueError: the images are not floats, have another shape, or have values that are not finite.
        """
        array, batch_size = np.asarray(images), whole("batch_size", batch_size, 1)
        if array.dtype.kind != "f":
            raise ValueError(f"images must be normalized floats, got {array.dtype}; pass images to encode")
        array = array.astype(np.float32, copy=False)
        parts = [self.engine.encode(array[i : i + batch_size]) for i in range(0, len(array), batch_size)]
        return np.concatenate(parts) if parts else np.empty((0, self.engine.features), np.float32)

"""An open model: a backbone, its preprocessing, and its name in results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole
from ..evaluation import Preprocessing
from ..evaluation.encoders import Model, features_of, is_own


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A backbone with its preprocessing, in the form that `sassl.evaluation` takes.

    Attributes:
        name: the model's name in results and tables, such as "timm:resnet50.a1_in1k" or a path.
        arch: the name of the network, such as "resnet50".
        encoder: one of sassl's models, or a torch module that maps images (N, 3, H, W) to features (N, dim).
        preprocessing: how images are resized, cropped and normalized for the model.
        weights: a checksum of the weights, 32 hexadecimal digits; it identifies the model in caches and results.
        threads: the number of images preprocessed in parallel.
        pretraining_seed: the seed of the run that wrote the checkpoint; None: unknown. `sassl compare` pairs results by seed.
    """

    name: str
    arch: str
    encoder: Model = field(repr=False)
    preprocessing: Preprocessing
    weights: str
    threads: int
    pretraining_seed: int | None = None

    @property
    def normalize(self) -> Any:
        """The normalization of the model's images: a dict of "mean" and "std"; None: images are not normalized."""
        return self.preprocessing.normalize

    def encode_normalized(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Compute the features, (N, dim) float32, of float images (N, 3, H, W) that are already normalized.

        If the encoder is one of sassl's models, the images may also be (N, H, W, 3).
        """
        batch_size = whole("batch_size", batch_size, 1)
        if is_own(self.encoder):
            return self.encoder.encode_normalized(images, batch_size)
        array = np.asarray(images, np.float32)
        with features_of(self.encoder) as features:
            if not len(array):
                # The feature dimension is taken from one image; not every network accepts an empty batch.
                return features(np.zeros((1, *array.shape[1:]), np.float32))[:0]
            return np.concatenate([features(array[i : i + batch_size]) for i in range(0, len(array), batch_size)])

    def describe(self) -> dict[str, Any]:
        """The first entries of the model's results: "model", "arch", "weights", "pretraining_seed" and "preprocessing"."""
        own = {
            "model": self.name,
            "arch": self.arch,
            "weights": self.weights,
            "pretraining_seed": self.pretraining_seed,
        }
        return {**own, "preprocessing": self.preprocessing.describe()}

    def __str__(self) -> str:
        return f"{self.name}: {self.arch}; images: {self.preprocessing}"

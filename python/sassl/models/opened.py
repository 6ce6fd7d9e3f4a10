"""A model that is open: a backbone, the rule by which its images are made, and what results call it."""

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
    """A backbone that knows how its images are made: `sassl.evaluation` takes it without a rule.

    Attributes:
        name: what results and tables call it, as "timm:resnet50.a1_in1k" or a path.
        arch: its network, as "resnet50".
        encoder: one of sassl's models; or a torch module without its classifier, from images (N, 3, H, W) to (N, dim).
        preprocessing: how its images are made.
        weights: a checksum, 32 hexadecimal digits, that tells its weights from others: cached features and results are found
            by it.
        threads: how many images are made at a time.
        pretraining_seed: the seed of the run that a checkpoint is of, by which results of two arms are paired; None: not known.
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
        """How its images are normalized: a dict of "mean" and "std", or None: not at all."""
        return self.preprocessing.normalize

    def encode_normalized(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Features (N, dim) float32 of images (N, 3, H, W) of floats, normalized as the rule says.

        One of sassl's models takes (N, H, W, 3) too.
        """
        batch_size = whole("batch_size", batch_size, 1)
        if is_own(self.encoder):
            return self.encoder.encode_normalized(images, batch_size)
        array = np.asarray(images, np.float32)
        with features_of(self.encoder) as features:
            if not len(array):
                # How many values a feature has is seen on an image; not every network takes none.
                return features(np.zeros((1, *array.shape[1:]), np.float32))[:0]
            return np.concatenate([features(array[i : i + batch_size]) for i in range(0, len(array), batch_size)])

    def describe(self) -> dict[str, Any]:
        """Plain values that results begin with: "model", "arch", "weights", "pretraining_seed", and "preprocessing"."""
        own = {
            "model": self.name,
            "arch": self.arch,
            "weights": self.weights,
            "pretraining_seed": self.pretraining_seed,
        }
        return {**own, "preprocessing": self.preprocessing.describe()}

    def __str__(self) -> str:
        return f"{self.name}: {self.arch}; images: {self.preprocessing}"

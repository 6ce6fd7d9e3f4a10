"""How good a backbone's features are: nearest neighbours and a linear probe, on features that are computed once.

from sassl import evaluation

train, test = (evaluation.extract(model, folder) for folder in ("photos/train", "photos/val"))
print(evaluation.knn(train, test))  # {"top1": ..., "top5": ...}, in per cent
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _sassl
from .arguments import whole
from .data.sources import as_images
from .pretraining import Pretraining
from .transforms import functional as F

#: What is left of the shorter side, as of 224 pixels in 256.
_CENTRE = 224 / 256


class Features(NamedTuple):
    """Features (N, dim) float32 and their classes (N,) int64."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]


def extract(model: Pretraining, data: Any, *, batch_size: int = 256) -> Features:
    """Features of all images, each the middle square, resized as the views are and normalized alike.

    Args:
        model: whose backbone.
        data: whatever a `TwoViewLoader` takes as its source.
        batch_size: images at a time.

    Raises:
        OSError, ValueError: an image that cannot be read.
    """
    images, settings = as_images(data), model.transform._settings
    size = model.transform._core.size
    normalize = settings["normalize"] or {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    mean, std = normalize["mean"], normalize["std"]
    # Of small pictures, as CIFAR's, nothing is cut off.
    part = _CENTRE if min(size) > 64 else 1.0
    batch_size = whole("batch_size", batch_size, 1)
    features, targets = [], []
    for first in range(0, len(images), batch_size):
        batch = []
        for i in range(first, min(first + batch_size, len(images))):
            image, target = images[i]
            side = max(1, round(min(image.shape[:2]) * part))
            top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
            view = F.resized_crop(image, top, left, side, side, size, settings["interpolation"])
            batch.append(F.normalize(view, mean, std))
            targets.append(target)
        features.append(model.encode(np.stack(batch), batch_size))
    return Features(np.concatenate(features), np.asarray(targets, np.int64))


def knn(train: Features, test: Features, *, k: int = 200, temperature: float = 0.1) -> dict[str, float]:
    """Accuracy by weighted nearest neighbours (Wu et al. 2018, section 3.4; MoCo's CIFAR notebook), in per cent.

    Args:
        train: the neighbours.
        test: what is to be told.
        k: neighbours, at most as many as there are.
        temperature: of their weights.

    Raises:
        ValueError: features that do not fit, one class only, more neighbours than there are.
    """
    ranked = _sassl.knn(train.features, train.targets, test.features, k=k, temperature=temperature, top=5)
    return _accuracy(ranked, test.targets)


def linear_probe(train: Features, test: Features, **settings: Any) -> dict[str, float]:
    """Accuracy of softmax regression on frozen features, in per cent; SimCLR's recipe (appendix B.6), without augmentation.

    Args:
        train: what is learnt from.
        test: what is to be told.
        settings: lr, epochs, batch_size, momentum, nesterov, seed. MoCo's recipe: lr=30, epochs=100, nesterov=False.

    Raises:
        ValueError: features that do not fit, one class only, a setting that cannot be.
    """
    ranked = _sassl.linear_probe(train.features, train.targets, test.features, top=5, **settings)
    return _accuracy(ranked, test.targets)


def _accuracy(ranked: NDArray[np.int64], targets: NDArray[np.int64]) -> dict[str, float]:
    right = ranked == targets[:, None]
    return {"top1": 100 * float(right[:, 0].mean()), "top5": 100 * float(right.any(1).mean())}

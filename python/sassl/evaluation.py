"""How good a backbone's features are: nearest neighbours and linear probes, on features that are computed once.

from sassl import evaluation

train, test = (evaluation.extract(model, folder) for folder in ("photos/train", "photos/val"))
print(evaluation.knn(train, test))  # {"top1": ..., "top5": ...}, in per cent
print(evaluation.linear_probe(train, test), evaluation.logistic_probe(train, test))
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _sassl
from .arguments import whole, wrong
from .data.sources import as_images, numbered
from .pretraining import Pretraining
from .transforms import functional as F

#: What is left of the shorter side, as of 224 pixels in 256.
_CENTRE = 224 / 256


class Features(NamedTuple):
    """Features (N, dim) float32 and their classes (N,) int64."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]


def extract(model: Pretraining, data: Any, *, batch_size: int = 256, classes: Sequence[str] | None = None) -> Features:
    """Features of all images, each the middle square, resized as the views are and normalized alike.

    Args:
        model: whose backbone.
        data: whatever a `TwoViewLoader` takes as its source.
        batch_size: images at a time.
        classes: names in the order of their numbers, as `ImageFolder.classes` of the training images, where `data` has fewer
            of them and would count by itself.

    Raises:
        OSError, ValueError: no image, one that cannot be read, or one of a class that is not among those.
    """
    images, settings = as_images(data), model.transform._settings
    size = model.transform._core.size
    normalize = settings["normalize"] or {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    mean, std = normalize["mean"], normalize["std"]
    # Of small pictures, as CIFAR's, nothing is cut off.
    part = _CENTRE if min(size) > 64 else 1.0
    batch_size = whole("batch_size", batch_size, 1)

    def view(i: int) -> tuple[NDArray[np.float32], int]:
        image, target = images[i]
        side = max(1, round(min(image.shape[:2]) * part))
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        made = F.resized_crop(image, top, left, side, side, size, settings["interpolation"])
        return F.normalize(made, mean, std), target

    numbers = numbered(images, classes)
    if not len(images):
        raise ValueError("data: there is no image")
    features: list[NDArray[np.float32]] = []
    targets: list[int] = []
    with ThreadPoolExecutor(model._trainer.threads) as threads:
        for first in range(0, len(images), batch_size):
            made = threads.map(view, range(first, min(first + batch_size, len(images))))
            batch, classes = zip(*made, strict=True)
            features.append(model.encode(np.stack(batch), batch_size))
            targets.extend(classes)
    found = np.asarray(targets, np.int64)
    return Features(np.concatenate(features), found if numbers is None else numbers[found])


def knn(train: Features, test: Features, *, k: int = 200, temperature: float = 0.1) -> dict[str, float]:
    """Accuracy by weighted nearest neighbours (Wu et al. 2018, section 3.4; MoCo's CIFAR notebook), in per cent.

    Args:
        train: the neighbours.
        test: what is to be told.
        k: neighbours; all, where they are fewer.
        temperature: of their weights.

    Raises:
        ValueError: features that do not fit, one class only.
    """
    k = min(whole("k", k, 1), max(1, len(train.targets)))
    ranked = _sassl.knn(train.features, train.targets, test.features, k=k, temperature=temperature, top=5)
    return _accuracy(ranked, test.targets)


def linear_probe(train: Features, test: Features, **settings: Any) -> dict[str, float]:
    """Accuracy of softmax regression by SGD on frozen features, in per cent: SimCLR's recipe (appendix B.6), not augmented.

    Args:
        train: what is learnt from.
        test: what is to be told.
        settings: lr, epochs, batch_size, momentum, nesterov, seed. MoCo's recipe: lr=30, epochs=100, nesterov=False.

    Raises:
        ValueError: features that do not fit, one class only, a setting that cannot be.
    """
    for name in ("epochs", "batch_size"):
        if name in settings:
            whole(name, settings[name], 1)
    ranked = _sassl.linear_probe(train.features, train.targets, test.features, top=5, **settings)
    return _accuracy(ranked, test.targets)


#: Kornblith et al. 2019: 45 values in equal steps of their logarithm.
GRID = tuple(float(c) for c in np.logspace(-6, 5, 45))


def logistic_probe(
    train: Features,
    test: Features,
    *,
    c: float | Sequence[float] = GRID,
    val: Features | None = None,
    seed: int = 0,
    max_iter: int = 1000,
) -> dict[str, float]:
    """Accuracy of logistic regression on frozen features by L-BFGS, in per cent: the protocol for transfer.

    Kornblith et al. 2019, as SimCLR (appendix B.8.1) and BYOL (appendix D.2) follow it: of 45 strengths of the penalty the one
    that is best on held-out images is taken, and the probe is learnt again from all images but the test's.

    Args:
        train: what is learnt from.
        test: what is to be told.
        c: the inverse of the penalty, as scikit-learn's C; one number needs no held-out images.
        val: what chooses among several; None: a fifth of `train`, drawn with `seed`.
        seed: of that draw.
        max_iter: steps of L-BFGS for each c, at most.

    Returns:
        "top1", "top5" and the chosen "c".

    Raises:
        ValueError: features that do not fit, one class only, a setting that cannot be.
    """
    strengths = [float(one) for one in np.atleast_1d(np.asarray(c, np.float64))]
    if not strengths:
        raise wrong("c", c, "a number, or several")
    whole("max_iter", max_iter, 1)
    chosen, everything = strengths[0], train
    if len(strengths) > 1:
        part = train
        if val is None:
            if len(train.targets) < 5:
                raise wrong(
                    "train", f"{len(train.targets)} images", "at least 5, of which one is held out; or give val"
                )
            order = np.random.default_rng(whole("seed", seed)).permutation(len(train.targets))
            held, kept = np.split(order, [len(order) // 5])
            part, val = (Features(train.features[rows], train.targets[rows]) for rows in (kept, held))
        else:
            everything = Features(
                np.concatenate([train.features, val.features]), np.concatenate([train.targets, val.targets])
            )
        ranked = _sassl.logistic_probe(part.features, part.targets, val.features, c=strengths, max_iter=max_iter)
        # Of equals the strongest penalty.
        right = (ranked[:, :, 0] == val.targets).mean(1)
        chosen = min(strengths, key=lambda one: (-right[strengths.index(one)], one))
    ranked = _sassl.logistic_probe(
        everything.features, everything.targets, test.features, c=[chosen], max_iter=max_iter, top=5
    )
    return {**_accuracy(ranked[0], test.targets), "c": chosen}


def _accuracy(ranked: NDArray[np.int64], targets: NDArray[np.int64]) -> dict[str, float]:
    if len(targets) != len(ranked):
        raise ValueError(f"test: {len(targets)} classes for {len(ranked)} features")
    right = ranked == targets[:, None]
    return {"top1": 100 * float(right[:, 0].mean()), "top5": 100 * float(right.any(1).mean())}

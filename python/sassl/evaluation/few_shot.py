"""Few-shot classification, by nearest centroids or any other classifier of features, over several draws of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole, wrong
from ..progress import Shown, shown
from . import metrics
from .features import Features
from .logistic import finite
from .probes import GRID, Result, joined_classes, logistic_probe, of_answers, result

#: Maximum number of scores in memory at a time.
_BLOCK = 1 << 24


def nearest_centroid(train: Features, test: Features, *, metric: str = "top1") -> Result:
    """Return the accuracy, in per cent, of classification by the nearest class centroid in cosine similarity.

    Args:
        train: features to average: a centroid is the normalized mean of a class's normalized features.
        test: images to classify.
        metric: the metric to report along with top-1 and top-5: one of `metrics.NAMES` except "auc", which needs probabilities.

    Returns:
        See `knn`.

    Raises:
        ValueError: features of different lengths or not finite, images without a class, only one class.
    """
    of_answers(metric)
    train, test = joined_classes(train, test)
    labels, places = np.unique(train.targets, return_inverse=True)
    if len(labels) == 1:
        raise ValueError(f"targets must have at least two classes, got only {labels[0]}")
    known, asked = finite("features", train.features), finite("queries", test.features)
    if known.shape[1] != asked.shape[1]:
        raise ValueError(
            f"features must have {known.shape[1]} columns, like the training features, got {asked.shape[1]}"
        )
    own = np.split(np.argsort(places, kind="stable"), np.bincount(places).cumsum()[:-1])
    centroids = _normalized(np.stack([_normalized(known[rows]).mean(0) for rows in own]))
    step = max(1, _BLOCK // max(centroids.shape))
    parts = [metrics.ranked(_normalized(asked[i : i + step]) @ centroids.T) for i in range(0, len(asked), step)]
    return result(metric, train, test, labels[np.concatenate(parts)])


def few_shot(
    train: Features,
    test: Features,
    *,
    shots: Sequence[int] = (1, 10),
    draws: int = 5,
    seed: int = 0,
    judge: Callable[..., Result] = nearest_centroid,
    progress: Shown = False,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Return the accuracies of a classifier fitted on a few images per class, over several draws of these images.

    Args:
        train: images to draw from, without replacement and for each class separately.
        test: images to classify; every draw is evaluated on all of them.
        shots: one or more numbers of images per class; there is a result for each.
        draws: number of draws for each of `shots`.
        seed: seed of the draws. A draw depends only on the seed, the number of shots, the index of the draw, and the order of
            `train`.
        judge: the classifier: `nearest_centroid`, `logistic_probe` with a fixed `c`, or any function of training and test
            features with a result like that of `knn`.
        progress: see `extract`.
        settings: keywords passed to `judge`.

    Returns:
        A dict for each of `shots`:

        - "shots", "draws" (their number), "seed": the settings.
        - "values": the metric of each draw.
        - "mean", "sd": mean and sample standard deviation of the values (divided by draws - 1; 0 for a single draw).
        - "metric", "n", "classes": as in `knn`.

    Raises:
        ValueError: as raised by the judge; a class with fewer images than shots; several `c` for `logistic_probe` without
            `val`.
    """
    draws, seed = whole("draws", draws, 1), whole("seed", seed)
    if judge is logistic_probe and np.ndim(settings.get("c", GRID)) and settings.get("val") is None:
        raise ValueError(
            "c must be one value without val, as the few images are not held out to choose it; 1.0 is usual"
        )
    if not shots:
        raise wrong("shots", shots, "one or more numbers of images per class")
    classes, counts = np.unique(train.targets, return_counts=True)
    for n in shots:
        if whole("shots", n, 1) > counts.min():
            least = int(classes[counts.argmin()])
            name = least if train.classes is None else train.classes[least]
            raise wrong("shots", n, f"at most {counts.min()}, the number of train's images of class {name}")
    found = []
    for n in shots:
        results = []
        with shown(progress, f"{n} shots", draws, "draws") as told:
            for draw in range(draws):
                some = _drawn(train, n, np.random.default_rng([seed, n, draw]))
                results.append(judge(some, test, **settings))
                told(draw + 1)
        metric = results[0]["metric"]
        values = [one[metric] for one in results]
        found.append(
            {
                "shots": n,
                "draws": draws,
                "seed": seed,
                "values": values,
                "mean": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)) if draws > 1 else 0.0,
                **{key: results[0][key] for key in ("metric", "n", "classes")},
            }
        )
    return found


def _drawn(train: Features, shots: int, rng: np.random.Generator) -> Features:
    order = np.argsort(train.targets, kind="stable")
    _, firsts = np.unique(train.targets[order], return_index=True)
    rows = np.concatenate([rng.choice(rows, shots, replace=False) for rows in np.split(order, firsts[1:])])
    return Features(train.features[rows], train.targets[rows], train.classes)


def _normalized(features: NDArray[Any]) -> NDArray[np.float64]:
    rows = features.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

"""Accuracies by nearest neighbours and linear probes, of classes that two sets of features share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _sassl
from ..arguments import whole, wrong
from .features import Features


def knn(train: Features, test: Features, *, k: int = 200, temperature: float = 0.1) -> dict[str, float]:
    """Accuracy by weighted nearest neighbours (Wu et al. 2018, section 3.4; MoCo's CIFAR notebook), in per cent.

    Args:
        train: the neighbours.
        test: the images whose classes are predicted.
        k: neighbours; all, where they are fewer.
        temperature: of their weights.

    Returns:
        "top1" and "top5", of the classes that a neighbour is of: there may be fewer than five.

    Raises:
        ValueError: features that do not fit or are not finite, images without a class, one class only.
    """
    train, test = _joined(train, test)
    k = min(whole("k", k, 1), max(1, len(train.targets)))
    ranked = _sassl.knn(train.features, train.targets, test.features, k=k, temperature=temperature, top=5)
    return _accuracy(ranked, test.targets)


def linear_probe(train: Features, test: Features, **settings: Any) -> dict[str, float]:
    """Accuracy of softmax regression by SGD on frozen features, in per cent: SimCLR's recipe (appendix B.6), not augmented.

    Args:
        train: what is learnt from.
        test: the images whose classes are predicted.
        settings: lr, epochs, batch_size, momentum, nesterov, seed. MoCo's recipe: lr=30, epochs=100, nesterov=False.

    Raises:
        ValueError: features that do not fit or are not finite, images without a class, one class only, a setting that cannot
            be or with which the weights grow beyond all bounds.
    """
    train, test = _joined(train, test)
    for name in ("epochs", "batch_size"):
        if name in settings:
            whole(name, settings[name], 1)
    ranked = _sassl.linear_probe(train.features, train.targets, test.features, top=5, **settings)
    return _accuracy(ranked, test.targets)


#: Kornblith et al. 2019: 45 values whose logarithms are equally far apart.
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
        test: the images whose classes are predicted.
        c: the inverse of the penalty, as scikit-learn's C; one number needs no held-out images.
        val: what chooses among several; None: a fifth of `train`, drawn with `seed`.
        seed: of that draw.
        max_iter: iterations of L-BFGS for each c, at most.

    Returns:
        "top1", "top5" and the chosen "c".

    Raises:
        ValueError: features that do not fit or are not finite, images without a class, one class only, a setting that cannot
            be.
    """
    train, test = _joined(train, test)
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
            _, val = _joined(train, val)
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


def _joined(train: Features, test: Features) -> tuple[Features, Features]:
    """Both with the numbers of `train`, by names where both have some.

    Raises:
        ValueError: not one class a row; a class below 0, or one beyond the names.
    """
    train, test = (
        Features(rows.features, _labels(name, rows), getattr(rows, "classes", None))
        for name, rows in (("train", train), ("test", test))
    )
    names, others = train.classes, test.classes
    if names is not None and others is not None and names != others:
        # Those that `train` does not know come after all of its own.
        known = {name: number for number, name in enumerate(dict.fromkeys((*names, *others)))}
        train, test = (
            Features(rows.features, np.array([known[name] for name in own], np.int64)[rows.targets], list(known))
            for rows, own in ((train, names), (test, others))
        )
    unknown = test.targets[~np.isin(test.targets, train.targets)]
    if len(unknown):
        labels = sorted(set(unknown.tolist()))
        told = [str(label) if test.classes is None else test.classes[label] for label in labels[:10]]
        warnings.warn(
            f"test: {len(unknown)} of {len(test.targets)} images are of {len(labels)} classes that no image of train is of, "
            f"and count as wrong: {', '.join(told)}",
            stacklevel=3,
        )
    return train, test


def _labels(name: str, rows: Features) -> NDArray[np.int64]:
    targets, features, classes = np.asarray(rows.targets), np.asarray(rows.features), getattr(rows, "classes", None)
    if targets.shape != features.shape[:1] or targets.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected a class, a whole number, for each of {features.shape[:1]} features, got {targets.shape} "
            f"{targets.dtype}"
        )
    if not targets.size:
        raise ValueError(f"{name}: there are no features")
    least, most = targets.min(), targets.max()
    if least < 0:
        n = int((targets < 0).sum())
        raise ValueError(f"{name}: {n} images of class {least}, which is none; leave out those that have no class")
    if most >= (2**63 if classes is None else len(classes)):
        raise ValueError(
            f"{name}: class {most} is beyond its {'int64' if classes is None else f'{len(classes)} names'}"
        )
    return targets.astype(np.int64)


def _accuracy(ranked: NDArray[np.int64], targets: NDArray[np.int64]) -> dict[str, float]:
    right = ranked == targets[:, None]
    return {"top1": 100 * float(right[:, 0].mean()), "top5": 100 * float(right.any(1).mean())}

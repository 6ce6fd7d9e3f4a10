"""Nearest neighbours and linear probes, fitted on one set of features and evaluated on another with common classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _sassl
from ..arguments import choice, whole, wrong
from ..progress import Shown, shown
from . import logistic, metrics
from .features import Features

#: Number of kNN queries between progress reports.
_QUERIES = 4096
#: The result of a probe, as returned by `knn`: accuracies in per cent, the requested metric and its 95 % bootstrap interval
#: over test images, and the numbers of test images and of training classes.
Result = dict[str, Any]


def knn(
    train: Features,
    test: Features,
    *,
    k: int = 200,
    temperature: float = 0.1,
    metric: str = "top1",
    progress: Shown = False,
) -> Result:
    """Return the accuracy of weighted nearest neighbours (Wu et al. 2018, section 3.4; MoCo's CIFAR notebook), in per cent.

    Args:
        train: the neighbours.
        test: images to classify.
        k: number of neighbours; all training images, if there are fewer.
        temperature: T in the weight of each neighbour, exp(cosine / T).
        metric: the metric to report along with top-1 and top-5: one of `metrics.NAMES` except "auc", which needs probabilities.
        progress: see `extract`.

    Returns:
        A dict:

        - "top1", "top5": accuracies. Predictions are ranked over the classes of the neighbours;
          there may be fewer than five such classes.
        - the metric's name: the value of the metric.
        - "metric": the metric's name.
        - "interval": the 95 % bootstrap interval of the value.
        - "n": the number of test images.
        - "classes": the number of training classes.
        - "k", "temperature": the settings.

    Raises:
        ValueError: features of different lengths or not finite, images without a class, only one class.
    """
    of_answers(metric)
    train, test = joined_classes(train, test)
    k = min(whole("k", k, 1), max(1, len(train.targets)))
    asked, parts = test.features, []
    with shown(progress, "kNN", len(asked), "queries") as told:
        for first in range(0, len(asked), _QUERIES):
            queries = asked[first : first + _QUERIES]
            parts.append(_sassl.knn(train.features, train.targets, queries, k=k, temperature=temperature, top=5))
            told(first + len(queries))
    ranked = np.concatenate(parts)
    return {**result(metric, train, test, ranked), "k": k, "temperature": temperature}


def linear_probe(
    train: Features, test: Features, *, metric: str = "top1", progress: Shown = False, **settings: Any
) -> Result:
    """Return the accuracy of softmax regression, trained by SGD on frozen features, in per cent.

    The recipe is SimCLR's (appendix B.6), without augmentation.

    Args:
        train: features to train on.
        test: images to classify.
        metric: the metric to report along with top-1 and top-5: one of `metrics.NAMES` except "auc", which needs probabilities.
        progress: see `extract`.
        settings: lr (for a batch of 256, scaled to batch_size), epochs, batch_size, momentum, nesterov, seed. MoCo's recipe:
            lr=30, epochs=100, nesterov=False.

    Returns:
        "top1", "top5", the metric, "metric", "interval", "n" and "classes", as in `knn`.

    Raises:
        ValueError: features of different lengths or not finite, images without a class, only one class, a setting out of range,
            weights that diverge.
    """
    of_answers(metric)
    train, test = joined_classes(train, test)
    for name in ("epochs", "batch_size"):
        if name in settings:
            whole(name, settings[name], 1)
    with shown(progress, "linear probe"):
        ranked = _sassl.linear_probe(train.features, train.targets, test.features, top=5, **settings)
    return result(metric, train, test, ranked)


#: The penalties of Kornblith et al. 2019, as printed by SimCLR (appendix B.8.1) and BYOL (appendix D.2): 45 values, evenly
#: spaced on a logarithmic scale, from the weakest to the strongest.
PENALTIES = tuple(float(penalty) for penalty in np.logspace(-6, 5, 45))
#: C = 1 / penalty for each of these penalties, where C multiplies the sum of the losses. This is how ssl-transfer (Ericsson et
#: al. 2021) interprets the penalties.
GRID = tuple(1 / penalty for penalty in PENALTIES)


def logistic_probe(
    train: Features,
    test: Features,
    *,
    c: float | Sequence[float] = GRID,
    val: Features | None = None,
    metric: str = "top1",
    seed: int = 0,
    max_iter: int = logistic.MOST_PASSES,
    progress: Shown = False,
) -> Result:
    """Return the accuracy of logistic regression on frozen features, in per cent, by the transfer protocol.

    The protocol is that of Kornblith et al. 2019, as followed by SimCLR (appendix B.8.1) and BYOL (appendix D.2). Of 45
    penalties, the one with the best metric on held-out images is chosen. The probe is then fitted again on all images except
    those of `test`. The solver, `sassl.evaluation.logistic`, reaches the optimum for each penalty.

    Args:
        train: features to fit on.
        test: images to classify.
        c: inverse of the penalty, like scikit-learn's C: one value, or several to choose from.
        val: features of validation images, for choosing among several `c`; ties go to the strongest penalty. None: a fifth of
            `train`, drawn with `seed`. Not used with a single `c`.
        metric: one of `metrics.NAMES`. This metric chooses `c`, and is reported along with top-1 and top-5.
        seed: seed of the draw of validation images.
        max_iter: maximum number of passes over all features for each `c`.
        progress: see `extract`.

    Returns:
        A dict:

        - "top1", "top5", the metric, "metric", "interval", "n", "classes": as in `knn`.
        - "c": the chosen value.
        - "gradient": the norm of the final probe's gradient.
        - "reached": whether this gradient is within the solver's tolerance.

        A warning reports probes that have not reached their optimum.

    Raises:
        ValueError: features of different lengths or not finite, images without a class, only one class, a setting out of range;
            for "auc", a class without training images.
    """
    choice("metric", metric, metrics.NAMES)
    train, test = joined_classes(train, test)
    strengths = [float(one) for one in np.atleast_1d(np.asarray(c, np.float64))]
    if not strengths:
        raise wrong("c", c, "a number, or several of them")
    whole("max_iter", max_iter, 1)
    chosen, everything, short = strengths[0], train, list[logistic.Logistic]()
    several = len(strengths) if len(strengths) > 1 else 0
    with shown(progress, "logistic regression", several + 1, "penalties") as tell:
        if several:
            part, val, everything = _held_out(train, val, seed)
            found: dict[float, float] = {}
            for done, probe in enumerate(logistic.path(part.features, part.targets, strengths, max_iter=max_iter), 1):
                truth, answers = judged(metric, probe.labels, probe.scores(val.features), val)
                found[probe.c] = metrics.value(metric, truth, answers, grades_of(metric, part, val))
                short.extend([probe] * (not probe.reached))
                tell(done)
            chosen = max(found, key=lambda one: (found[one], -one))
        probe = logistic.fit(everything.features, everything.targets, chosen, max_iter=max_iter)
        tell(several + 1)
    short.extend([probe] * (not probe.reached))
    if short:
        worst = max(short, key=lambda one: one.gradient * one.c)
        warnings.warn(
            f"logistic_probe: {len(short)} probes have not reached their optimum in max_iter = {max_iter}, among them that of "
            f"C = {worst.c:.3g}, whose gradient is {worst.gradient:.1e} long; raise it",
            stacklevel=2,
        )
    scores = probe.scores(test.features)
    ranked = probe.labels[metrics.ranked(scores)]
    by = judged(metric, probe.labels, scores, test)
    told = {"c": chosen, "gradient": probe.gradient, "reached": probe.reached}
    return {**result(metric, everything, test, ranked, by), **told}


def _held_out(train: Features, val: Features | None, seed: int) -> tuple[Features, Features, Features]:
    """Return three sets: the features to fit on, the features for validation, and both together."""
    if val is not None:
        _, val = joined_classes(train, val)
        both = np.concatenate([train.features, val.features]), np.concatenate([train.targets, val.targets])
        return train, val, Features(*both, train.classes)
    if len(train.targets) < 5:
        n = len(train.targets)
        raise ValueError(f"train must have at least 5 images, a fifth of which is held out, got {n}; or give val")
    order = np.random.default_rng(whole("seed", seed)).permutation(len(train.targets))
    held, kept = np.split(order, [len(order) // 5])
    part, val = (Features(train.features[rows], train.targets[rows], train.classes) for rows in (kept, held))
    return part, val, train


def judged(
    metric: str, labels: NDArray[np.int64], scores: NDArray[Any], rows: Features
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the targets and the answers that this metric compares: ranked classes or, for "auc", probabilities.

    Args:
        metric: one of `metrics.NAMES`.
        labels: (K,) class of each column of `scores`, ascending.
        scores: (n, K).
        rows: the images as `Features`; only the classes are used.

    Raises:
        ValueError: the metric is "auc", and a class of `rows` is not in `labels`.
    """
    if metric != "auc":
        return rows.targets, labels[metrics.ranked(scores)]
    if not np.isin(rows.targets, labels).all():
        other = int(rows.targets[~np.isin(rows.targets, labels)][0])
        raise ValueError(f"auc requires a probability of each class, but class {other} is not in train")
    return np.searchsorted(labels, rows.targets), logistic.softmax(scores.astype(np.float64))


def of_answers(metric: str) -> None:
    """Raise a ValueError for an unknown metric, or for "auc", which needs class probabilities."""
    names = [name for name in metrics.NAMES if name != "auc"]
    if metric == "auc":
        raise wrong("metric", metric, f"one of {', '.join(names)}; auc needs probabilities, which logistic_probe has")
    choice("metric", metric, names)


def percent(metric: str) -> int:
    """Return the factor by which results scale a metric: 100 for accuracies, which are in per cent; 1 for kappa and AUC."""
    return 1 if metric in ("kappa", "auc") else 100


def grades_of(metric: str, *sets: Features) -> int | None:
    """Return the number of grades if the metric is kappa; None for other metrics."""
    return 1 + max(int(rows.targets.max()) for rows in sets) if metric == "kappa" else None


def result(
    metric: str,
    train: Features,
    test: Features,
    ranked: NDArray[np.int64],
    answers: tuple[NDArray[np.int64], NDArray[Any]] | None = None,
) -> Result:
    """Return the entries of a result that all probes share.

    Args:
        metric: one of `metrics.NAMES`.
        train, test: the two sets, with matched classes.
        ranked: (n, up to 5) predicted classes of each test image, best first.
        answers: targets and answers for the metric, from `judged`; None: the targets of `test`, and `ranked`.
    """
    by, grades = percent(metric), grades_of(metric, train, test)
    truth, found = (test.targets, ranked) if answers is None else answers
    low, high = metrics.interval(metric, truth, found, classes=grades)
    return {
        "top1": 100 * metrics.top1(test.targets, ranked),
        "top5": 100 * metrics.top5(test.targets, ranked),
        metric: by * metrics.value(metric, truth, found, grades),
        "metric": metric,
        "interval": (by * low, by * high),
        "n": len(test.targets),
        "classes": len(np.unique(train.targets)),
    }


def joined_classes(train: Features, test: Features) -> tuple[Features, Features]:
    """Return both sets with common class indices. Classes are matched by name if both sets have names, otherwise by index.

    A warning reports test images whose class has no image in `train`.

    Raises:
        ValueError: an empty set; targets that are not one integer for each feature; a class index below 0 or without a name; no
            class in common.
    """
    train, test = (
        Features(rows.features, _labels(name, rows), getattr(rows, "classes", None))
        for name, rows in (("train", train), ("test", test))
    )
    names, others = train.classes, test.classes
    if names is not None and others is not None and names != others:
        # Classes unknown to `train` follow its own.
        known = {name: number for number, name in enumerate(dict.fromkeys((*names, *others)))}
        train, test = (
            Features(rows.features, np.array([known[name] for name in own], np.int64)[rows.targets], list(known))
            for rows, own in ((train, names), (test, others))
        )
    unknown = test.targets[~np.isin(test.targets, train.targets)]
    if len(unknown):
        labels = sorted(set(unknown.tolist()))
        told = [str(label) if test.classes is None else test.classes[label] for label in labels[:10]]
        if len(unknown) == len(test.targets):
            own = [str(n) if train.classes is None else train.classes[n] for n in np.unique(train.targets)[:10]]
            raise ValueError(
                f"test must have images of train's classes, {', '.join(own)}, got {', '.join(told)}; give both the same class "
                "names, or none"
            )
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
            f"targets of {name} must be integers of shape {features.shape[:1]}, a class for each feature, got {targets.shape} "
            f"{targets.dtype}"
        )
    if not targets.size:
        raise ValueError(f"{name} must have at least one feature, got none")
    least, most = targets.min(), targets.max()
    if least < 0:
        n = int((targets < 0).sum())
        raise ValueError(
            f"targets of {name} must be class indices >= 0, got {least} for {n} images; leave out images without a class"
        )
    if most >= (2**63 if classes is None else len(classes)):
        raise ValueError(
            f"targets of {name} must be less than {'2**63' if classes is None else f'its {len(classes)} names'}, got {most}"
        )
    return targets.astype(np.int64)

"""Metrics of predictions and their bootstrap intervals: accuracies, quadratic kappa, area under the ROC curve.

Values agree with scikit-learn's and are between 0 and 1 (kappa: between -1 and 1):

| here | scikit-learn |
|---|---|
| `top1` | `accuracy_score` |
| `top5` | `top_k_accuracy_score(k=5)` if no scores are equal: ties go to the lower class here, to the higher class there |
| `mean_per_class`, `balanced_accuracy` | `balanced_accuracy_score`: mean recall of the classes that occur in `targets` |
| `kappa` | `cohen_kappa_score(weights="quadratic", labels=range(K))` |
| `auc` | `roc_auc_score`; for three classes or more with `multi_class="ovr", average="macro"` |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import choice, whole, wrong

#: Names accepted by `value` and `interval`.
NAMES = ("top1", "top5", "mean_per_class", "balanced_accuracy", "kappa", "auc")
#: Maximum number of grades for kappa, which needs a table of all pairs of grades.
MOST_GRADES = 4096

_Floats = NDArray[np.float64]
_Labels = NDArray[np.int64]


class _Measure(NamedTuple):
    """A metric of `n` images as a function of each image's weight; NaN if the metric is undefined."""

    n: int
    of: Callable[[_Floats], float]

    def value(self) -> float:
        return self.of(np.ones(self.n))


def top1(targets: Any, answers: Any) -> float:
    """Return the fraction of correct answers.

    Args:
        targets: (n,) classes.
        answers: (n,) predicted classes; or (n, k) predicted classes, best first, where only the first column counts.
    """
    return _top(targets, answers, 1).value()


def top5(targets: Any, ranked: Any) -> float:
    """Return the fraction of images whose class is among the first five answers.

    Args:
        targets: (n,) classes.
        ranked: (n, k) predicted classes, best first, with k >= 1.
    """
    return _top(targets, ranked, 5).value()


def mean_per_class(targets: Any, answers: Any) -> float:
    """Return the mean recall of the classes that occur in `targets`."""
    return _recalls(targets, answers).value()


def balanced_accuracy(targets: Any, answers: Any) -> float:
    """Alias of `mean_per_class`."""
    return mean_per_class(targets, answers)


def kappa(targets: Any, answers: Any, classes: int) -> float:
    """Return the quadratically weighted kappa (Cohen 1968): the agreement, beyond chance, of grades 0 to classes - 1.

    Raises:
        ValueError: a grade out of range; all targets and answers are the same grade, so that kappa is undefined.
    """
    return value("kappa", targets, answers, classes)


def auc(targets: Any, scores: Any) -> float:
    """Return the area under the ROC curve.

    Args:
        targets: (n,) classes: 0 or 1; or 0 to K - 1. For K > 2, the area is the mean over the classes, each against all others.
        scores: (n,) scores of class 1; or (n, 2), where only the second column is used; or (n, K) probabilities.

    Raises:
        ValueError: a class without images; labels out of range; for K > 2, rows of scores that do not sum to 1.
    """
    return _auc(targets, scores).value()


def interval(
    metric: str,
    targets: Any,
    answers: Any,
    *,
    classes: int | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval (Efron 1979) of a metric over images.

    The interval does not cover the variation between training seeds.

    Args:
        metric: name of the metric.
        targets, answers, classes: arguments of the metric.
        level: confidence level.
        draws: number of resamples, each of n images drawn with replacement. Resamples with an undefined metric are left out,
            such as those that lack a class for "auc".
        seed: seed of the resampling.

    Raises:
        ValueError: as raised by the metric; an unknown name; kappa without `classes`; a level outside (0, 1); the metric is
            undefined in all resamples.
    """
    if not 0 < level < 1:
        raise wrong("level", level, "in (0, 1); 0.95 is usual")
    draws, rng = whole("draws", draws, 1), np.random.default_rng(whole("seed", seed))
    measure = _measure(metric, targets, answers, classes)
    n = measure.n
    if metric in ("top1", "top5"):
        # The mean of resampled values 0 and 1 is binomial.
        values = rng.binomial(n, measure.value(), draws) / n
    else:
        counts = (np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64) for _ in range(draws))
        values = np.array([measure.of(count) for count in counts])
    known = values[np.isfinite(values)]
    if not known.size:
        raise ValueError(f"{metric} is not defined in any of {draws} draws of {n} images; there are too few images")
    tail = (1 - level) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return float(low), float(high)


def ranked(scores: NDArray[Any], top: int = 5) -> _Labels:
    """Return the column indices of the largest scores in each row, best first: (n, min(top, K)) for scores (n, K).

    Ties go to the lower column.
    """
    left, best = scores.copy(), []
    for _ in range(min(top, scores.shape[1])):
        best.append(left.argmax(1))
        np.put_along_axis(left, best[-1][:, None], -np.inf, 1)
    return np.stack(best, 1)


def value(metric: str, targets: Any, answers: Any, classes: int | None = None) -> float:
    """Return a metric by name; the arguments are those of the metric.

    Raises:
        ValueError: as raised by the metric; an unknown name; kappa without `classes`.
    """
    found = _measure(metric, targets, answers, classes).value()
    if not np.isfinite(found):
        raise ValueError(
            f"{metric} requires images of two classes: targets and answers are all of class {np.asarray(targets)[0]}, so that "
            "none of their agreement is beyond chance"
        )
    return found


def _measure(metric: str, targets: Any, answers: Any, classes: int | None) -> _Measure:
    if choice("metric", metric, NAMES) == "kappa":
        if classes is None:
            raise ValueError("classes is required for kappa: the number of grades")
        return _kappa(targets, answers, classes)
    if metric == "auc":
        return _auc(targets, answers)
    return _top(targets, answers, int(metric[3:])) if metric.startswith("top") else _recalls(targets, answers)


def _top(targets: Any, answers: Any, k: int) -> _Measure:
    known, found = _labels("targets", targets), np.asarray(answers)
    ranked = _labels("answers", found if found.ndim == 2 else found[:, None], len(known))[:, :k]
    right = (ranked == known[:, None]).any(1).astype(np.float64)
    return _Measure(len(known), lambda counts: float(right @ counts / counts.sum()))


def _recalls(targets: Any, answers: Any) -> _Measure:
    known = _labels("targets", targets)
    right = (_first(answers, len(known)) == known).astype(np.float64)
    classes, places = np.unique(known, return_inverse=True)

    def of(counts: _Floats) -> float:
        images = np.bincount(places, counts, len(classes))
        here = images > 0
        return float((np.bincount(places, counts * right, len(classes))[here] / images[here]).mean())

    return _Measure(len(known), of)


def _kappa(targets: Any, answers: Any, classes: int) -> _Measure:
    classes = whole("classes", classes, 2)
    if classes > MOST_GRADES:
        raise wrong("classes", classes, f"at most {MOST_GRADES}, as kappa is of grades")
    known = _labels("targets", targets)
    found = _first(answers, len(known))
    for name, labels in (("targets", known), ("answers", found)):
        _within(name, labels, classes)
    pairs, grades = known * classes + found, np.arange(classes)
    apart = np.square(grades[:, None] - grades).astype(np.float64)

    def of(counts: _Floats) -> float:
        table = np.bincount(pairs, counts, classes * classes).reshape(classes, classes)
        expected = np.outer(table.sum(1), table.sum(0)) / counts.sum()
        chance = float((apart * expected).sum())
        return 1 - float((apart * table).sum()) / chance if chance else float("nan")

    return _Measure(len(known), of)


def _auc(targets: Any, scores: Any) -> _Measure:
    known, found = _labels("targets", targets), np.asarray(scores, np.float64)
    if found.shape[:1] != known.shape or found.ndim not in (1, 2) or not np.isfinite(found).all():
        raise ValueError(f"scores must be finite, with a row for each of {len(known)} images, got {found.shape}")
    columns = 2 if found.ndim == 1 else found.shape[1]
    if columns < 2:
        raise ValueError(f"scores must have shape (n,), or a column for each of two or more classes, got {found.shape}")
    _within("targets", known, columns)
    missing = np.flatnonzero(np.bincount(known, minlength=columns) == 0)
    if missing.size:
        raise ValueError(
            f"auc requires images of each class: none of the {len(known)} is of class {', '.join(map(str, missing[:10]))}, so "
            f"that the curve of {'this class' if missing.size == 1 else 'these classes'} is not defined"
        )
    if columns > 2 and not np.allclose(found.sum(1), 1, atol=1e-5):
        worst = found.sum(1)[np.abs(found.sum(1) - 1).argmax()]
        raise ValueError(
            f"scores must be probabilities that sum to 1 in each row, as of a softmax, got a sum of {worst:g}"
        )
    asked = [(found if found.ndim == 1 else found[:, 1], known == 1)]
    if columns > 2:
        asked = [(found[:, k], known == k) for k in range(columns)]
    ranked = [(np.unique(score, return_inverse=True)[1], own.astype(np.float64)) for score, own in asked]

    def of(counts: _Floats) -> float:
        return float(np.mean([_area(places, counts * own, counts * (1 - own)) for places, own in ranked]))

    return _Measure(len(known), of)


def _area(places: _Labels, own: _Floats, others: _Floats) -> float:
    """Return the fraction of pairs in which the image of `own` scores higher than the image of `others`; ties count half."""
    right, wrong_ones = np.bincount(places, own), np.bincount(places, others)
    pairs = right.sum() * wrong_ones.sum()
    return float(right @ (wrong_ones.cumsum() - wrong_ones / 2) / pairs) if pairs else float("nan")


def _first(answers: Any, n: int) -> _Labels:
    found = np.asarray(answers)
    return _labels("answers", found[:, 0] if found.ndim == 2 and found.shape[1] else found, n)


def _labels(name: str, labels: Any, n: int | None = None) -> _Labels:
    found = np.asarray(labels)
    if found.dtype.kind not in "iu" or found.ndim not in (1, 2) or (n is None and found.ndim != 1):
        raise ValueError(f"{name} must be class indices, an integer for each image, got {found.shape} {found.dtype}")
    if not found.size:
        raise ValueError(f"{name} must have at least one image, got none")
    if n is not None and len(found) != n:
        raise ValueError(f"{name} must have length {n}, one for each image, got {len(found)}")
    if n is None and found.min() < 0:
        at = int(found.argmin())
        raise wrong(f"{name}[{at}]", int(found[at]), "a class index >= 0; leave out images without a class")
    return found.astype(np.int64)


def _within(name: str, labels: _Labels, classes: int) -> None:
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if outside.size:
        at = int(outside[0])
        raise wrong(f"{name}[{at}]", int(labels[at]), f"a class index in [0, {classes - 1}]")

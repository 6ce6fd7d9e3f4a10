"""Multinomial logistic regression, solved to its optimum for each of many penalties.

    minimize   loss(W, b) + |W|^2 / (2 C n)

The loss is averaged over the n rows. C is the inverse of the penalty, as in scikit-learn.

The transfer protocol of Kornblith et al. 2019 names L-BFGS as the solver, but its results are meant to be at the optimum. With
the usual settings and a weak penalty, L-BFGS stops far from the optimum. This module reaches the optimum by Newton's method.
Each step is computed by conjugate gradients (Nocedal and Wright, algorithm 7.1). The preconditioner is an approximation of the
Hessian, in the eigenbasis of the features' covariance:

    H ~ c covariance + 1 / (C n)                   c = mean of p (1 - p), with predicted probabilities p

The gradient is computed in float64, from residuals that keep all digits where p is almost 1. A step needs about ten products
with the Hessian. The products are computed in float32, or in float64 once float32 makes no more progress. The search for each
penalty starts from the solution for the next stronger penalty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import wrong

#: Maximum number of passes over all features for each penalty; a tenth of that is typical.
MOST_PASSES = 5000

_Floats = NDArray[np.float64]
#: Maximum number of feature values converted to float64 at a time, and maximum number of scores in memory at a time.
_BLOCK = 1 << 24
#: Feature matrices of at most this many values are also stored in float64. Larger matrices are converted in every pass.
_KEPT = 1 << 27
#: Relative residual at which conjugate gradients stop solving Newton's equation.
_FORCING = 0.3
#: Maximum number of products with the Hessian in a step.
_PRODUCTS = 500
#: Number of steps without progress after which the precision is raised or, at full precision, the search stops.
_STALLED = 5
#: Relative differences of objectives below this value are attributed to rounding.
_ROUNDING = 1e-13


class Logistic(NamedTuple):
    """A fitted probe: weight W (classes, dim) and bias b (classes,) in float64, and how close W and b are to the optimum."""

    weight: _Floats
    bias: _Floats
    #: Class of each row of W, ascending.
    labels: NDArray[np.int64]
    c: float
    #: Loss plus penalty.
    objective: float
    #: Norm of the gradient; the components of b are scaled by the largest absolute feature. The distance of W from the optimum
    #: is at most `gradient` C n.
    gradient: float
    #: True if the gradient is within the tolerance, or indistinguishable from zero in float64.
    reached: bool
    #: Number of passes over all features; each consists of a forward and a backward product.
    passes: int

    def scores(self, features: NDArray[np.float32]) -> _Floats:
        """Return W f + b for each row: (rows, classes).

        Raises:
            ValueError: features with another number of columns, or not finite.
        """
        features, dim = finite("queries", features), self.weight.shape[1]
        if features.shape[1] != dim:
            raise ValueError(f"features must have {dim} columns, like the training features, got {features.shape[1]}")
        block = max(1, _BLOCK // max(features.shape[1], len(self.labels)))
        parts = [
            features[i : i + block].astype(np.float64) @ self.weight.T + self.bias
            for i in range(0, len(features), block)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)))


def fit(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    c: float,
    *,
    max_iter: int = MOST_PASSES,
    tolerance: float = 1e-6,
) -> Logistic:
    """Fit a probe with a single C; for the arguments and errors, see `path`."""
    return next(path(features, targets, [c], max_iter=max_iter, tolerance=tolerance))


def path(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    c: Sequence[float],
    *,
    max_iter: int = MOST_PASSES,
    tolerance: float = 1e-6,
) -> Iterator[Logistic]:
    """Fit a probe for each C, in ascending order: the strongest penalty first.

    Args:
        features: (n, dim), finite.
        targets: (n,), with at least two classes.
        c: inverse penalties, > 0, in any order.
        max_iter: maximum number of passes over all features for each C.
        tolerance: stop once |gradient| <= tolerance |W| / (C n); the relative error of W is then at most about `tolerance`.

    Raises:
        ValueError: features that are not finite; features and targets of different lengths; only one class; a C that is not
            positive.
    """
    for one in c:
        if not (one > 0 and np.isfinite(one)):
            raise wrong("c", one, "a number > 0")
    features, targets = finite("features", features), np.asarray(targets)
    if len(targets) != len(features) or not len(targets):
        raise ValueError(
            f"targets must have length {len(features)}, a class for each of at least one feature, got {len(targets)}"
        )
    if (targets == targets[0]).all():
        raise ValueError(f"targets must have at least two classes, got only {targets[0]}")
    problem = _Problem(features, targets)
    at = np.zeros((problem.dim + 1, len(problem.labels)))
    for strength in sorted(c):
        penalty = 1 / (strength * len(targets))
        place, passes, reached = _minimize(problem, at, penalty, max_iter, tolerance)
        at = place.at
        weight, bias = at[:-1].T, at[-1] - problem.mean @ at[:-1]
        yield Logistic(weight.copy(), bias, problem.labels, strength, place.value, place.norm, reached, passes)


def softmax(scores: _Floats) -> _Floats:
    """Return the softmax of scores (rows, classes)."""
    parts: _Floats = np.exp(scores - scores.max(1, keepdims=True))
    return parts / parts.sum(1, keepdims=True)


def finite(name: str, features: Any) -> NDArray[np.float32]:
    """Return features as a contiguous float32 matrix, after checking that all values are finite.

    Raises:
        ValueError: not a matrix (rows, features) with at least one column; a value that is not finite.
    """
    rows = np.ascontiguousarray(features, np.float32)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name} must have shape (rows, features), got {rows.shape}")
    if not np.isfinite(rows).all():
        at = tuple(np.argwhere(~np.isfinite(rows))[0].tolist())
        raise ValueError(f"{name}[{at[0]}, {at[1]}] must be finite, got {rows[at]}; has the run diverged?")
    return rows


class _Place(NamedTuple):
    """A point (W, b), with the value and the gradient of the objective there."""

    #: W and b, (dim + 1, classes).
    at: _Floats
    value: float
    gradient: _Floats
    #: Norm of the gradient; the components of b are scaled by the largest absolute feature.
    norm: float
    #: Probabilities p (n, classes).
    probabilities: NDArray[np.float32]
    #: Gradient norms up to this value are indistinguishable from 0 in float64.
    rounding: float


class _Problem:
    """The objective on centred features.

    W f + b becomes W (f - mean) + b'. Centring changes the bias, but neither W nor the penalty.
    """

    def __init__(self, features: NDArray[np.float32], targets: NDArray[np.int64]) -> None:
        self.features = features
        self.n, self.dim = self.features.shape
        self.labels, self.places = np.unique(targets, return_inverse=True)
        self.exact: NDArray[Any] = self.features.astype(np.float64) if self.features.size <= _KEPT else self.features
        self.mean = self.features.mean(0, dtype=np.float64)
        rows = max(1, _BLOCK // max(self.dim, len(self.labels)))
        self.blocks = [slice(i, min(i + rows, self.n)) for i in range(0, self.n, rows)]
        norms = [np.square(self.exact[block], dtype=np.float64).sum(1) for block in self.blocks]
        self.norms = np.sqrt(np.concatenate(norms))
        self.scale = float(max(self.features.max(), -self.features.min())) or 1.0
        self.variances, self.directions = self._directions()

    def _directions(self) -> tuple[_Floats, NDArray[Any]]:
        """Return the eigenvalues (rank,) and eigenvectors (dim, rank) of the features' covariance."""
        if self.n < self.dim:
            _, lengths, rows = np.linalg.svd(self.exact.astype(np.float64) - self.mean, full_matrices=False)
            return lengths**2 / self.n, rows.T
        covariance, scale = np.zeros((self.dim, self.dim), np.float32), np.float32(self.scale)
        for block in self.blocks:
            centred = self.features[block] / scale - (self.mean / self.scale).astype(np.float32)
            covariance += centred.T @ centred
        variances, directions = np.linalg.eigh(covariance / np.float32(self.n))
        return np.maximum(variances.astype(np.float64), 0) * self.scale**2, directions

    def place(self, at: _Floats, penalty: float) -> _Place:
        gradient, loss, rounding = np.zeros_like(at), 0.0, 0.0
        probabilities = np.empty((self.n, len(self.labels)), np.float32)
        bias = at[-1] - self.mean @ at[:-1]
        for block in self.blocks:
            rows = self.exact[block].astype(np.float64, copy=False)
            # In float64, BLAS is a third faster with the narrow matrix on the left.
            scores = np.ascontiguousarray((at[:-1].T @ rows.T).T)
            losses, residuals = _residuals(scores + bias, self.places[block], probabilities[block])
            loss += losses
            rounding += float(self.norms[block] @ np.sqrt(np.einsum("nk,nk->n", residuals, residuals)))
            gradient[:-1] += (residuals.T @ rows).T
            gradient[-1] += residuals.sum(0)
        gradient[:-1] -= np.outer(self.mean, gradient[-1])
        gradient /= self.n
        gradient[:-1] += penalty * at[:-1]
        value = loss / self.n + penalty / 2 * float(np.square(at[:-1]).sum())
        norm = float(np.hypot(np.linalg.norm(gradient[:-1]), self.scale * np.linalg.norm(gradient[-1])))
        return _Place(at, value, gradient, norm, probabilities, 4 * np.finfo(np.float64).eps * rounding / self.n)

    def curvature(self, place: _Place, move: _Floats, penalty: float, dtype: Any) -> _Floats:
        """Return the Hessian times `move`, computed in `dtype`."""
        size = float(np.abs(move).max())
        source = self.features if dtype is np.float32 else self.exact
        weight, bias = (move[:-1] / size).astype(dtype), ((move[-1] - self.mean @ move[:-1]) / size).astype(dtype)
        out = np.zeros_like(move)
        for block in self.blocks:
            rows, p = source[block].astype(dtype, copy=False), place.probabilities[block]
            scores = rows @ weight + bias
            # Relative to the class's own score, so that the remainder where p is almost 1 is not rounded away.
            scores -= np.take_along_axis(scores, self.places[block][:, None], 1)
            scores -= np.einsum("nk,nk->n", p, scores)[:, None]
            scores *= p
            out[:-1] += (scores.T @ rows).T
            out[-1] += scores.sum(0, dtype=np.float64)
        out[:-1] -= np.outer(self.mean, out[-1])
        out *= size / self.n
        out[:-1] += penalty * move[:-1]
        return out


def _residuals(scores: _Floats, places: NDArray[np.intp], probabilities: NDArray[np.float32]) -> tuple[float, _Floats]:
    """Return the sum of the losses, and the residuals p - onehot.

    The residuals overwrite `scores`; p is written to `probabilities`.
    """
    own = places[:, None]
    scores -= np.take_along_axis(scores, own, 1)
    largest = scores.max(1)
    np.exp(scores - largest[:, None], out=scores)
    mine = np.take_along_axis(scores, own, 1)[:, 0]
    np.put_along_axis(scores, own, 0.0, 1)
    others = scores.sum(1)
    total = others + mine
    losses = np.where(largest == 0, np.log1p(others), largest + np.log(total))
    scores /= total[:, None]
    probabilities[...] = scores
    np.put_along_axis(probabilities, own, (mine / total)[:, None].astype(np.float32), 1)
    np.put_along_axis(scores, own, (-others / total)[:, None], 1)
    return float(losses.sum()), scores


def _minimize(
    problem: _Problem, at: _Floats, penalty: float, max_iter: int, tolerance: float
) -> tuple[_Place, int, bool]:
    """Run Newton's method; return the solution, the number of passes, and whether the gradient is within tolerance."""
    place, passes, stalled = problem.place(at, penalty), 1, 0
    least = place.norm
    # The squares of larger or smaller values are out of range for float32.
    dtype: Any = np.float32 if 1e-12 < problem.scale < 1e12 else np.float64
    while True:
        wanted = max(tolerance * penalty * float(np.linalg.norm(place.at[:-1])), place.rounding)
        if place.norm <= wanted or passes >= max_iter:
            return place, passes, place.norm <= wanted
        move, products = _newton(problem, place, penalty, max_iter - passes, dtype)
        slope = float((move * place.gradient).sum())
        passes, rate = passes + products, 1.0
        while True:
            after = problem.place(place.at + rate * move, penalty)
            passes += 1
            if after.value <= place.value + 1e-4 * rate * slope + _ROUNDING * abs(place.value):
                break
            rate /= 2
            if rate < 1e-6 or passes >= max_iter:
                after = place
                break
        moves = after.value < place.value * (1 - 1e-9) or after.norm < 0.9 * least
        stalled = 0 if moves else _STALLED if after is place else stalled + 1
        if stalled == _STALLED:
            # Products in float32 make no more progress, or not even those in float64 do.
            if dtype is np.float64:
                return after, passes, False
            dtype, stalled = np.float64, 0
        least = min(least, after.norm)
        place = after


def _newton(problem: _Problem, place: _Place, penalty: float, most: int, dtype: Any) -> tuple[_Floats, int]:
    """Return -H^-1 gradient, approximated by conjugate gradients, and the number of products with the Hessian."""
    p = place.probabilities
    mean = float(1 - np.einsum("nk,nk->", p, p, dtype=np.float64) / p.shape[0]) / p.shape[1]
    mean = max(mean, 1e-12)
    scales = 1 / (mean * problem.variances + penalty)[:, None]

    def conditioned(gradient: _Floats) -> _Floats:
        out = np.empty_like(gradient)
        inside = (gradient[:-1].T.astype(problem.directions.dtype) @ problem.directions).T
        out[:-1] = problem.directions @ (scales * inside).astype(problem.directions.dtype)
        out[-1] = gradient[-1] / mean
        return out

    move, rest = np.zeros_like(place.at), -place.gradient
    toward = conditioned(rest)
    step, product = toward.copy(), float((rest * toward).sum())
    first, products = product, 0
    while products < max(1, min(most, _PRODUCTS)):
        curved = problem.curvature(place, step, penalty, dtype)
        products += 1
        bend = float((step * curved).sum())
        if bend <= 0:
            break
        move += product / bend * step
        rest -= product / bend * curved
        toward = conditioned(rest)
        product, before = float((rest * toward).sum()), product
        if product <= _FORCING**2 * first:
            break
        step = toward + product / before * step
    return (move if move.any() else conditioned(-place.gradient)), products

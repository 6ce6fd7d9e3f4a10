"""Multinomial logistic regression at its optimum, for each of many penalties.

    minimize   loss(W, b) + |W|^2 / (2 C n)        loss on average over the n rows; C and its penalty 1 / C as scikit-learn's

Transfer's protocol names L-BFGS (Kornblith et al. 2019); what it asks for is the optimum, which L-BFGS at usual settings is far
from where the penalty is weak. Here it is reached by Newton's method, each step by conjugate gradients (Nocedal and Wright,
algorithm 7.1) in the eigenvectors of the features' covariance, where directions of all scales are alike:

    H ~ c covariance + 1 / (C n)                   c = p (1 - p) on average

The gradient is computed in float64, as residuals that lose no digit where p is almost 1; products with the Hessian, of which a
step needs about ten, in float32. One penalty begins where the one before it, a stronger one, has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import wrong

#: Products with all features for each penalty, at most; a tenth is usual.
MOST_PASSES = 5000

_Floats = NDArray[np.float64]
#: Numbers of features that are converted, or of scores that are held, at a time.
_BLOCK = 1 << 24
#: As many numbers are kept in float64 beside the features; more are converted at every pass.
_KEPT = 1 << 27
#: How well a step solves Newton's equation.
_FORCING = 0.3
#: And how many products with the Hessian it takes, at most.
_PRODUCTS = 500
#: Steps without a gain, after which there is none.
_STALLED = 5
#: Differences of objectives below this part of them are rounding.
_ROUNDING = 1e-13


class Logistic(NamedTuple):
    """A probe: W (classes, dim) and b (classes,) in float64, and how near the optimum they are."""

    weight: _Floats
    bias: _Floats
    #: Of each row of W its class, ascending.
    labels: NDArray[np.int64]
    c: float
    #: Loss and penalty.
    objective: float
    #: The gradient's length, that of b counted in the unit of the features. The optimum's W is not farther than `gradient` C n.
    gradient: float
    #: Whether it is as small as asked for, or as float64 can tell.
    reached: bool
    #: Products with all features, forth and back.
    passes: int

    def scores(self, features: NDArray[np.float32]) -> _Floats:
        """W f + b of each row: (rows, classes).

        Raises:
            ValueError: features of another length, or that are not finite.
        """
        features, dim = finite("queries", features), self.weight.shape[1]
        if features.shape[1] != dim:
            raise ValueError(f"features: expected rows of {dim}, as those learnt from, got {features.shape[1]}")
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
    """As `path`, of one C."""
    return next(path(features, targets, [c], max_iter=max_iter, tolerance=tolerance))


def path(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    c: Sequence[float],
    *,
    max_iter: int = MOST_PASSES,
    tolerance: float = 1e-6,
) -> Iterator[Logistic]:
    """A probe for each C, ascending: the strongest penalty first.

    Args:
        features: (n, dim), finite.
        targets: (n,), of two classes or more.
        c: numbers above 0.
        max_iter: products with all features for each C, at most.
        tolerance: it ends where |gradient| is below this part of |W| / (C n): then W is that near the optimum's.

    Raises:
        ValueError: features that are not finite; one class only; a C that is not above 0.
    """
    for one in c:
        if not (one > 0 and np.isfinite(one)):
            raise wrong("c", one, "a number above 0")
    features, targets = finite("features", features), np.asarray(targets)
    if len(targets) != len(features) or not len(targets):
        raise ValueError(
            f"targets: expected a class for each of {len(features)} features, of at least one, got {len(targets)}"
        )
    if (targets == targets[0]).all():
        raise ValueError(f"targets = {targets[0]}: is the only class; features are judged by telling classes apart")
    problem = _Problem(features, targets)
    at = np.zeros((problem.dim + 1, len(problem.labels)))
    for strength in sorted(c):
        penalty = 1 / (strength * len(targets))
        place, passes, reached = _minimize(problem, at, penalty, max_iter, tolerance)
        at = place.at
        weight, bias = at[:-1].T, at[-1] - problem.mean @ at[:-1]
        yield Logistic(weight.copy(), bias, problem.labels, strength, place.value, place.norm, reached, passes)


def softmax(scores: _Floats) -> _Floats:
    """Probabilities of scores (rows, classes)."""
    parts: _Floats = np.exp(scores - scores.max(1, keepdims=True))
    return parts / parts.sum(1, keepdims=True)


def finite(name: str, features: Any) -> NDArray[np.float32]:
    """Features as rows of float32.

    Raises:
        ValueError: other arrays; a number that is not finite.
    """
    rows = np.ascontiguousarray(features, np.float32)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name}: expected (rows, numbers), got {rows.shape}")
    if not np.isfinite(rows).all():
        at = tuple(np.argwhere(~np.isfinite(rows))[0].tolist())
        raise ValueError(f"{name}[{at[0]}, {at[1]}] = {rows[at]}: features are finite; did the run diverge?")
    return rows


class _Place(NamedTuple):
    """W and b (dim + 1, classes), and what the objective is like there."""

    at: _Floats
    value: float
    gradient: _Floats
    #: The gradient's length, that of b counted in the unit of the features as that of W is.
    norm: float
    #: p (n, classes).
    probabilities: NDArray[np.float32]
    #: What float64 cannot tell from a gradient of 0.
    rounding: float


class _Problem:
    """Features as the solver sees them: W f + b becomes W (f - mean) + b, which leaves W and its penalty as they are."""

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
        """The covariance's eigenvalues and eigenvectors (dim, rank)."""
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
            # BLAS is a third faster in float64 where the narrow matrix stands on the left.
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
        """The Hessian times `move`, by products of this type."""
        size = float(np.abs(move).max())
        source = self.features if dtype is np.float32 else self.exact
        weight, bias = (move[:-1] / size).astype(dtype), ((move[-1] - self.mean @ move[:-1]) / size).astype(dtype)
        out = np.zeros_like(move)
        for block in self.blocks:
            rows, p = source[block].astype(dtype, copy=False), place.probabilities[block]
            scores = rows @ weight + bias
            # Beside the class's own score, so that what is left of it where p is almost 1 is not rounded away.
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
    """The sum of the losses, and p - onehot, in the place of the scores; p goes into `probabilities`."""
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
    """Newton's method; the place, the passes over the features, and whether the gradient is small enough."""
    place, passes, stalled = problem.place(at, penalty), 1, 0
    least = place.norm
    # Squares of larger ones, and of smaller ones, are no numbers of float32.
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
            # No more to be had by products in float32, or none at all.
            if dtype is np.float64:
                return after, passes, False
            dtype, stalled = np.float64, 0
        least = min(least, after.norm)
        place = after


def _newton(problem: _Problem, place: _Place, penalty: float, most: int, dtype: Any) -> tuple[_Floats, int]:
    """About -H^-1 gradient, by conjugate gradients; and how many products with the Hessian it took."""
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

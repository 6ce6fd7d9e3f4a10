"""Differences between two arms, with 95 % intervals: Student's for pairs, Welch's for unpaired arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np

#: Confidence level of an interval.
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A difference between two arms.

    Attributes:
        value: the mean difference, in the unit of the metric.
        half: half the width of the 95 % interval; None if there are too few pairs or checkpoints for an interval.
        n: (number of pairs,); or, if unpaired, the number of checkpoints of each of the two arms.
    """

    value: float
    half: float | None
    n: tuple[int, ...]

    @property
    def is_paired(self) -> bool:
        """True if the difference is over pairs."""
        return len(self.n) == 1

    @property
    def basis(self) -> str:
        """The basis of the difference in words.

        For example, `3 pairs` or `Welch, 3 and 4`; without an interval,
        `one pair: no interval` or `unpaired, 1 and 4: no interval`.
        """
        missing = "" if self.half is not None else ": no interval"
        if self.is_paired:
            return f"{'one pair' if self.n[0] == 1 else f'{self.n[0]} pairs'}{missing}"
        return f"{'unpaired' if self.half is None else 'Welch'}, {self.n[0]} and {self.n[1]}{missing}"


def paired(differences: Sequence[float]) -> Difference:
    """Return the mean of the differences of pairs, with Student's interval if there are at least two pairs."""
    n = len(differences)
    half = None if n < 2 else t_quantile(n - 1) * math.sqrt(variance(differences) / n)
    return Difference(fmean(differences), half, (n,))


def unpaired(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Return the mean of `ours` minus the mean of `theirs`.

    Welch's interval (Welch 1947) requires at least two values of each.
    """
    n = len(ours), len(theirs)
    half = None
    if min(n) >= 2:
        parts = [variance(values) / len(values) for values in (ours, theirs)]
        if both := sum(parts):
            freedom = both**2 / sum(part**2 / (k - 1) for part, k in zip(parts, n, strict=True))
            half = t_quantile(freedom) * math.sqrt(both)
        else:
            half = 0.0
    return Difference(fmean(ours) - fmean(theirs), half, n)


def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """Return the t for which |T| < t with probability `level`, where T has Student's distribution.

    For t = sqrt(freedom) tan(A), the probability is a ratio of two integrals of cos(a)^(freedom - 1), from 0 to A and from 0 to
    pi/2. The first integral is computed by Gauss-Legendre quadrature, and A is found by bisection.

    Args:
        freedom: degrees of freedom, at least 1, not necessarily an integer.
        level: a probability between 0 and 1.
    """
    area = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    nodes, weights = np.polynomial.legendre.leggauss(64)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        below = middle / 2 * float(weights @ np.cos(middle / 2 * (nodes + 1)) ** (freedom - 1))
        low, high = (middle, high) if below < level * area else (low, middle)
    return math.sqrt(freedom) * math.tan(low)

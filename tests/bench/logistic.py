"""The probe by logistic regression against scikit-learn's, both run to the same objective.

    OMP_NUM_THREADS=2 python tests/bench/logistic.py [--rows 10000] [--dim 2048] [--classes 10] [--float32]

Features are synthetic, and resemble those after a network's last ReLU and pooling: not negative, with scales that fall as a
power, in classes that overlap. Five of the 45 penalties are used. The optimum is found first, and not timed. sassl runs with a
tolerance of 3e-3, which brings its objective within 1e-6 of the optimum's, as the output reports, and starts each penalty from
the previous solution. scikit-learn's L-BFGS starts each from zero, its default, or also from the previous solution (--warm); it
is stopped at the first iteration that is as close, and kept from stopping earlier for lack of progress. It gets float64, or
(--float32) float32.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from sassl.evaluation import GRID, logistic


def made_up(rows: int, dim: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Generate features, (rows, dim) float32, and targets."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, classes, rows)
    hidden = min(dim, 512)
    centres = rng.standard_normal((classes, hidden))
    causes = rng.standard_normal((rows, hidden)) + 0.5 * centres[targets]
    causes *= np.arange(1, hidden + 1) ** -0.5
    mixed = causes @ rng.standard_normal((hidden, dim)) / 2 + 0.1 * rng.standard_normal((rows, dim))
    return np.maximum(mixed + 0.5, 0).astype(np.float32), targets


def objective(features: np.ndarray, targets: np.ndarray, weight: np.ndarray, bias: np.ndarray, c: float) -> float:
    """Return the loss with the penalty, in float64."""
    scores = features.astype(np.float64) @ weight.T.astype(np.float64) + bias
    scores -= scores[np.arange(len(targets)), targets][:, None]
    largest = scores.max(1)
    rest = np.exp(scores - largest[:, None])
    rest[np.arange(len(targets)), targets] -= largest == 0
    losses = np.where(largest == 0, np.log1p(rest.sum(1)), largest + np.log(np.maximum(rest.sum(1), 1e-300)))
    return float(losses.mean() + np.square(weight, dtype=np.float64).sum() / (2 * c * len(targets)))


def clocks() -> np.ndarray:
    """Return the wall clock, and the CPU time of all threads."""
    return np.array([time.perf_counter(), time.process_time()])


@contextmanager
def stopped_at(least: float) -> Iterator[None]:
    """Make scikit-learn's L-BFGS stop as soon as its objective is at most `least`."""
    from sklearn.linear_model import _logistic

    original = _logistic.optimize.minimize

    def callback(intermediate_result: Any) -> None:
        if intermediate_result.fun <= least:
            raise StopIteration

    def minimize(*args: Any, **settings: Any) -> Any:
        options = {**settings["options"], "ftol": 0.0, "maxfun": 10**6}
        return original(*args, **{**settings, "options": options, "callback": callback})

    with mock.patch.object(_logistic.optimize, "minimize", minimize):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 10_000), ("dim", 2048), ("classes", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--most", type=int, default=20_000, help="iterations of scikit-learn (default: %(default)s)")
    parser.add_argument("--float32", action="store_true", help="scikit-learn gets float32")
    parser.add_argument("--warm", action="store_true", help="scikit-learn begins where the penalty before has ended")
    args = parser.parse_args()
    from sklearn.linear_model import LogisticRegression

    features, targets = made_up(args.rows, args.dim, args.classes)
    grid = sorted(GRID)[::11]
    found = list(logistic.path(features, targets, grid))
    begun = clocks()
    probes = list(logistic.path(features, targets, grid, tolerance=3e-3))
    ours = clocks() - begun
    for probe, best in zip(probes, found, strict=True):
        above = probe.objective / best.objective - 1
        print(
            f"ours C {probe.c:9.3g}: {probe.passes} passes, objective {best.objective:.6g}, {above:.1e} above",
            flush=True,
        )
    print("ours: {:.1f} s, {:.1f} s of processors".format(*ours), flush=True)
    rows = features if args.float32 else features.astype(np.float64)
    theirs, start = np.zeros(2), None
    for probe in found:
        model = LogisticRegression(C=probe.c, tol=0, max_iter=args.most, warm_start=True)
        if start is not None and args.warm:
            model.coef_, model.intercept_ = start
        begun = clocks()
        with stopped_at(probe.objective * (1 + 1e-6)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(rows, targets)
        took = clocks() - begun
        theirs += took
        start = model.coef_, model.intercept_
        above = objective(features, targets, *start, probe.c) / probe.objective - 1
        print(
            f"scikit-learn C {probe.c:9.3g}: {model.n_iter_[0]} iterations, {took[0]:.1f} s, {took[1]:.1f} s of processors, "
            f"{above:.1e} above",
            flush=True,
        )
    print("scikit-learn: {:.1f} s, {:.1f} s of processors".format(*theirs))
    print("times as fast: {:.1f}, by the time of processors {:.1f}".format(*(theirs / ours)))


if __name__ == "__main__":
    main()

"""Logistic regression at its optimum: against Newton's method in float64, written out, for all penalties."""

from __future__ import annotations

import numpy as np
import pytest
from sassl import evaluation
from sassl.evaluation import GRID, PENALTIES, Features, logistic


def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.data[:400, ::2] / 16).astype(np.float32), data.target[:400]


def rectified(n=2000, dim=256, classes=10):
    """Features as behind a ReLU, of scales that fall to a hundredth, in classes that touch."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, classes, n)
    causes = rng.standard_normal((n, 64)) + 1.2 * rng.standard_normal((classes, 64))[targets]
    mixed = causes @ (rng.standard_normal((64, dim)) * np.geomspace(1, 0.01, dim))
    return np.maximum(mixed + 0.3 * rng.standard_normal((n, dim)), 0).astype(np.float32), targets


def overlapping(n=300, dim=40, classes=7):
    """Classes that cannot be told apart."""
    rng = np.random.default_rng(1)
    targets = rng.integers(0, classes, n)
    return (rng.standard_normal((n, dim)) + 0.3 * rng.standard_normal((classes, dim))[targets]).astype(
        np.float32
    ), targets


def few():
    """Fewer features than they have numbers, of two classes."""
    features, targets = rectified(60, 150, 2)
    return features, targets


def newton(features, targets, c, weight, bias):
    """W and b of the optimum, begun at these, by the whole Hessian in float64."""
    rows = np.concatenate([features.astype(np.float64), np.ones((len(features), 1))], 1)
    n, dim = rows.shape
    classes = len(bias)
    penalty = np.full(dim, 1 / (c * n))
    penalty[-1] = 0
    at = np.concatenate([weight, bias[:, None]], 1)

    def objective(at):
        scores = rows @ at.T
        scores -= scores[np.arange(n), targets][:, None]
        largest = scores.max(1)
        parts = np.exp(scores - largest[:, None])
        own = parts[np.arange(n), targets]
        parts[np.arange(n), targets] = 0
        others = parts.sum(1)
        losses = np.where(largest == 0, np.log1p(others), largest + np.log(others + own))
        residuals = parts / (others + own)[:, None]
        p = residuals.copy()
        p[np.arange(n), targets] = own / (others + own)
        residuals[np.arange(n), targets] = -others / (others + own)
        return losses.mean() + (penalty * at**2).sum() / 2, residuals.T @ rows / n + penalty * at, p

    for _ in range(100):
        value, gradient, p = objective(at)
        hessian = np.empty((classes, dim, classes, dim))
        for k in range(classes):
            for j in range(k + 1):
                part = (rows * (p[:, k] * ((k == j) - p[:, j]))[:, None]).T @ rows / n
                hessian[k, :, j] = hessian[j, :, k] = part
        for k in range(classes):
            hessian[k, np.arange(dim), k, np.arange(dim)] += penalty
        # All b may move together: that way is closed.
        hessian[:, -1, :, -1] += 1
        move = np.linalg.solve(hessian.reshape(classes * dim, -1), -gradient.ravel()).reshape(classes, dim)
        rate = 1.0
        while objective(at + rate * move)[0] > value * (1 + 1e-13) and rate > 1e-6:
            rate /= 2
        at = at + rate * move
        if np.linalg.norm(move) < 1e-9 * np.linalg.norm(at):
            return at[:, :-1], at[:, -1]
    raise AssertionError(f"C = {c}: Newton's method did not end")


def compare(features, targets, probe, weight, bias):
    """How far W is from the optimum's, and how many predictions differ where two scores are not equal."""
    exact = features.astype(np.float64) @ weight.T + bias
    best = np.sort(exact, 1)
    decided = best[:, -1] - best[:, -2] > 1e-5 * np.abs(exact - exact.mean(1, keepdims=True)).max()
    same = probe.scores(features).argmax(1) == exact.argmax(1)
    return np.linalg.norm(probe.weight - weight) / np.linalg.norm(weight), int((decided & ~same).sum())


@pytest.mark.parametrize(
    ("made", "grid"),
    [(digits, GRID), (overlapping, GRID), (few, GRID), (rectified, (1e-3, 1.0, 1e6))],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_penalty_reaches_the_optimum(made, grid):
    features, targets = made()
    asked = np.concatenate([features, features[:200] + np.float32(0.1)])
    weight, bias = np.zeros((targets.max() + 1, features.shape[1])), np.zeros(targets.max() + 1)
    for probe in logistic.path(features, targets, grid):
        if made is rectified:
            # Newton's steps are slow here, and two from the optimum's neighbourhood end at it as well.
            weight, bias = probe.weight, probe.bias
        weight, bias = newton(features, targets, probe.c, weight, bias)
        away, differing = compare(asked, targets, probe, weight, bias)
        assert probe.reached, probe.c
        assert away < 2e-6, (probe.c, away)
        assert differing == 0, probe.c
        assert probe.gradient * probe.c * len(targets) < 1.1e-6 * np.linalg.norm(weight)


def test_the_grid_is_of_penalties():
    assert len(GRID) == len(PENALTIES) == 45
    assert (PENALTIES[0], PENALTIES[-1]) == pytest.approx((1e-6, 1e5))
    assert (max(GRID), min(GRID)) == pytest.approx((1e6, 1e-5))
    assert np.diff(np.log(PENALTIES)) == pytest.approx(0.25 * np.log(10))


@pytest.mark.parametrize("scale", [1e-20, 1e-4, 1e4, 1e18])
def test_scales_and_offsets_are_no_obstacle(scale):
    features, targets = overlapping()
    expected = logistic.fit(features, targets, 10.0)
    scaled = logistic.fit(features * np.float32(scale), targets, 10.0 / scale**2)
    assert scaled.reached
    assert scaled.passes <= 2 * expected.passes
    assert np.allclose(scaled.weight * scale, expected.weight, rtol=1e-4, atol=1e-5)
    # Binary fractions, so that the offset is exact.
    features = np.round(features * 64) / 64
    there, here = (logistic.fit(features + np.float32(offset), targets, 10.0) for offset in (1024, 0))
    assert there.reached
    assert np.allclose(there.weight, here.weight, rtol=1e-4, atol=1e-5)


def test_a_class_that_is_told_by_nothing_needs_no_weights():
    probe = logistic.fit(np.ones((6, 3), np.float32), np.array([0, 0, 0, 0, 5, 5]), 1.0)
    assert probe.reached
    assert np.abs(probe.weight).max() < 1e-6
    assert logistic.softmax(probe.scores(np.ones((1, 3), np.float32)))[0] == pytest.approx([2 / 3, 1 / 3], abs=1e-6)


def test_what_is_not_reached_is_told():
    features, targets = overlapping()
    rows = Features(features, targets)
    with pytest.warns(
        UserWarning, match=r"1 probes have not reached .* max_iter = 5.* C = 1e\+06, whose gradient is .* long"
    ):
        found = evaluation.logistic_probe(rows, rows, c=1e6, max_iter=5)
    assert not found["reached"]
    assert found["gradient"] > 1e-9
    found = evaluation.logistic_probe(rows, rows, c=1e6)
    assert found["reached"]


def test_the_set_s_own_metric_chooses():
    rng = np.random.default_rng(0)
    # Almost all are of class 0: a strong penalty is right for most, and never for the others.
    targets = (rng.random(3000) < 0.04).astype(np.int64)
    features = (rng.standard_normal((3000, 12)) + 0.9 * targets[:, None]).astype(np.float32)
    sets = [Features(features[rows], targets[rows]) for rows in (slice(1000), slice(1000, 2000), slice(2000, None))]
    train, val, test = sets
    grid = (1e-5, 1e-3, 1e-1, 10.0)
    for metric in ("top1", "mean_per_class", "kappa", "auc"):
        found = evaluation.logistic_probe(train, test, val=val, c=grid, metric=metric)
        worth = {}
        for probe in logistic.path(*train, grid):
            scores = probe.scores(val.features)
            answers = logistic.softmax(scores) if metric == "auc" else scores.argmax(1)
            worth[probe.c] = evaluation.metrics.value(metric, val.targets, answers, 2)
        assert found["c"] == max(worth, key=lambda c: (worth[c], -c)), metric
        assert found["metric"] == metric
        assert (found["n"], found["classes"]) == (1000, 2)
        low, high = found["interval"]
        assert low <= found[metric] <= high
        again = logistic.fit(np.concatenate([features[:1000], features[1000:2000]]), targets[:2000], found["c"])
        assert found["top1"] == pytest.approx(100 * (again.scores(test.features).argmax(1) == test.targets).mean())
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'auc'; auc needs probabilities"):
        evaluation.knn(train, test, metric="auc")
    with (
        pytest.raises(ValueError, match="auc requires a probability of each class, but class 7 is not in train"),
        pytest.warns(UserWarning, match="count as wrong"),
    ):
        evaluation.logistic_probe(
            train, Features(test.features, np.where(test.targets == 1, 7, 0)), c=1.0, metric="auc"
        )

"""The nearest centroid against scikit-learn's, and draws of a few images a class."""

from __future__ import annotations

import numpy as np
import pytest
from sassl import evaluation
from sassl.evaluation import Features


@pytest.fixture(scope="module")
def sets():
    """600 and 300 features of 6 classes, whose labels are no row of numbers."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 6, 900)
    features = (rng.standard_normal((900, 20)) + 0.5 * rng.standard_normal((6, 20))[targets]).astype(np.float32)
    features *= rng.uniform(0.1, 10, (900, 1)).astype(np.float32)
    labels = np.array([3, 5, 8, 1440764, 2**40, 2**40 + 1])[targets]
    return Features(features[:600], labels[:600]), Features(features[600:], labels[600:])


def test_the_nearest_centroid_is_scikit_learns(sets):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.preprocessing import normalize

    train, test = sets
    means = NearestCentroid().fit(normalize(train.features.astype(float)), train.targets)
    nearest = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(means.centroids_, means.classes_)
    answers = nearest.predict(test.features.astype(float))
    found = evaluation.nearest_centroid(train, test, metric="mean_per_class")
    assert found["top1"] == pytest.approx(100 * accuracy_score(test.targets, answers))
    assert found["mean_per_class"] == pytest.approx(100 * balanced_accuracy_score(test.targets, answers))
    assert (found["n"], found["classes"]) == (300, 6)
    assert found["top5"] > found["top1"] > 50


def test_draws_are_of_each_class_and_by_the_seed(sets):
    train, test = sets
    seen = []

    def judge(drawn, asked, **settings):
        seen.append(drawn)
        assert asked is test
        return evaluation.nearest_centroid(drawn, asked, **settings)

    found = evaluation.few_shot(train, test, shots=(1, 10), draws=4, seed=3, judge=judge)
    assert [(one["shots"], one["draws"], len(one["values"]), one["n"], one["classes"]) for one in found] == [
        (1, 4, 4, 300, 6),
        (10, 4, 4, 300, 6),
    ]
    for number, drawn in enumerate(seen):
        labels, counts = np.unique(drawn.targets, return_counts=True)
        assert labels.tolist() == np.unique(train.targets).tolist()
        assert set(counts.tolist()) == {1 if number < 4 else 10}
        rows = {(row.tobytes(), int(label)) for row, label in zip(*drawn, strict=True)}
        assert len(rows) == len(drawn.targets), "without replacement"
        assert rows <= {(row.tobytes(), int(label)) for row, label in zip(*train, strict=True)}
    assert len({drawn.features.tobytes() for drawn in seen}) == 8
    for one in found:
        assert one["mean"] == pytest.approx(np.mean(one["values"]))
        assert one["sd"] == pytest.approx(np.std(one["values"], ddof=1))
    assert found[0]["mean"] < found[1]["mean"]
    assert found == evaluation.few_shot(train, test, draws=4, seed=3)
    assert found != evaluation.few_shot(train, test, draws=4, seed=4)
    # A draw is the same whatever else is asked for.
    assert evaluation.few_shot(train, test, shots=[10], draws=2, seed=3)[0]["values"] == found[1]["values"][:2]


def test_any_judge_takes_the_draws(sets):
    found = evaluation.few_shot(*sets, shots=[1, 5], draws=2, judge=evaluation.logistic_probe, c=1.0)
    assert 20 < found[0]["mean"] < found[1]["mean"] <= 100
    assert evaluation.few_shot(*sets, shots=[1], draws=1, judge=evaluation.knn, k=1)[0]["sd"] == 0


def test_what_cannot_be(sets):
    train, test = sets
    least = np.unique(train.targets, return_counts=True)[1].min()
    with pytest.raises(
        ValueError, match=rf"shots must be at most {least}, the number of train's images of class .*, got {least + 1}"
    ):
        evaluation.few_shot(train, test, shots=(1, int(least) + 1))
    named = Features(train.features[:3], [0, 1, 1], ["cat", "dog"])
    with pytest.raises(ValueError, match="shots must be at most 1, the number of train's images of class cat"):
        evaluation.few_shot(named, named, shots=(2,))
    for settings, message in (
        ({"shots": ()}, "shots must be .*, got"),
        ({"shots": (0,)}, "shots must be .*, got 0"),
        ({"draws": 0}, "draws must be .*, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluation.few_shot(train, test, **settings)
    with pytest.raises(ValueError, match="c must be one value without val"):
        evaluation.few_shot(train, test, judge=evaluation.logistic_probe)
    one = Features(train.features, np.zeros_like(train.targets))
    with pytest.raises(ValueError, match="targets must have at least two classes"):
        evaluation.nearest_centroid(one, one)
    with pytest.raises(ValueError, match="features must have 20 columns"):
        evaluation.nearest_centroid(train, Features(test.features[:, :9], test.targets))
    bad = train.features.copy()
    bad[3, 5] = np.inf
    with pytest.raises(ValueError, match=r"features\[3, 5\] must be finite, got inf"):
        evaluation.nearest_centroid(Features(bad, train.targets), test)

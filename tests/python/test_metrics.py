"""Metrics of the evaluation against scikit-learn's, and what they refuse."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sassl.evaluation import metrics


def softmax(scores):
    parts = np.exp(scores - scores.max(1, keepdims=True))
    return parts / parts.sum(1, keepdims=True)


@pytest.fixture(params=[(2, 60), (5, 400), (23, 3000)], ids=lambda case: f"{case[0]} classes")
def case(request):
    """Truth, and probabilities that know something of it."""
    classes, n = request.param
    rng = np.random.default_rng(classes)
    # Unbalanced, as retinopathy is.
    truth = np.concatenate([np.arange(classes), rng.choice(classes, n, p=softmax(-np.arange(classes)[None] / 3)[0])])
    scores = rng.standard_normal((len(truth), classes))
    scores[np.arange(len(truth)), truth] += 1
    return truth, softmax(scores)


def test_each_is_scikit_learns(case):
    from sklearn import metrics as theirs

    truth, probabilities = case
    classes = probabilities.shape[1]
    ranked = np.argsort(-probabilities, 1)
    answers = ranked[:, 0]
    k = min(5, classes)
    pairs = {
        "top1": theirs.accuracy_score(truth, answers),
        "mean_per_class": theirs.balanced_accuracy_score(truth, answers),
        "balanced_accuracy": theirs.balanced_accuracy_score(truth, answers),
        "kappa": theirs.cohen_kappa_score(truth, answers, weights="quadratic", labels=range(classes)),
    }
    for name, expected in pairs.items():
        assert metrics.value(name, truth, answers, classes) == pytest.approx(expected, abs=1e-6), name
        assert metrics.value(name, truth, ranked, classes) == pytest.approx(expected, abs=1e-6), name
    if classes > 5:
        expected = theirs.top_k_accuracy_score(truth, probabilities, k=k, labels=range(classes))
        assert metrics.top5(truth, ranked) == pytest.approx(expected, abs=1e-6)
    else:
        assert metrics.top5(truth, ranked) == 1
    if classes == 2:
        expected = theirs.roc_auc_score(truth, probabilities[:, 1])
        assert metrics.auc(truth, probabilities[:, 1]) == pytest.approx(expected, abs=1e-6)
    else:
        expected = theirs.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert metrics.auc(truth, probabilities) == pytest.approx(expected, abs=1e-6)


def test_equal_scores_are_half_right_for_the_curve():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, 500), rng.integers(0, 4, 500) / 4
    assert metrics.auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    assert metrics.auc([0, 1, 0], [1.0, 1.0, 1.0]) == 0.5


def test_grades_that_do_not_occur_count_for_kappa():
    from sklearn.metrics import cohen_kappa_score

    truth, answers = [0, 1, 3, 3], [0, 1, 3, 1]
    expected = cohen_kappa_score(truth, answers, weights="quadratic", labels=range(4))
    assert metrics.kappa(truth, answers, 4) == pytest.approx(expected, abs=1e-6)
    # Their numbers, and not their order among those that occur.
    assert metrics.kappa(truth, answers, 4) != pytest.approx(cohen_kappa_score(truth, answers, weights="quadratic"))
    assert metrics.kappa([2, 2, 2], [0, 1, 2], 4) == 0


def test_classes_that_truth_does_not_have_are_not_counted():
    from sklearn.metrics import balanced_accuracy_score

    truth, answers = [1440764, 7, 7, 7], [1440764, 7, 3, 9]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = balanced_accuracy_score(truth, answers)
    assert metrics.mean_per_class(truth, answers) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", metrics.NAMES)
def test_an_interval_holds_what_resampling_by_hand_gives(name, case):
    truth, probabilities = case
    classes = probabilities.shape[1]
    answers = probabilities if name == "auc" else np.argsort(-probabilities, 1)
    low, high = metrics.interval(name, truth, answers, classes=classes, draws=400)
    rng, values = np.random.default_rng(1), []
    while len(values) < 400:
        rows = rng.integers(len(truth), size=len(truth))
        if name != "auc" or len(np.unique(truth[rows])) == classes:
            values.append(metrics.value(name, truth[rows], answers[rows], classes))
    expected = np.quantile(values, (0.025, 0.975))
    assert np.abs(np.array([low, high]) - expected).max() <= 0.2 * (expected[1] - expected[0]) + 1e-12
    assert low <= metrics.value(name, truth, answers, classes) <= high
    assert (low, high) == metrics.interval(name, truth, answers, classes=classes, draws=400)
    wider = metrics.interval(name, truth, answers, classes=classes, draws=400, level=0.999)
    assert wider[0] <= low
    assert high <= wider[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.auc([0, 0, 1], np.full((3, 3), 1 / 3)),
            "auc requires images of each class: none of the 3 is of class 2",
        ),
        (lambda: metrics.auc([1, 1], [0.1, 0.2]), "auc requires images of each class: none of the 2 is of class 0"),
        (
            lambda: metrics.auc([0, 1, 3], np.full((3, 3), 1 / 3)),
            r"targets\[2\] must be a class index in \[0, 2\], got 3",
        ),
        (
            lambda: metrics.auc([0, 1, 2], np.eye(3) * 2),
            "scores must be probabilities that sum to 1 in each row, .*, got a sum of 2",
        ),
        (lambda: metrics.auc([0, 1], [0.5, np.nan]), "scores must be finite"),
        (lambda: metrics.auc([0, 1], [0.5]), "scores must be finite, with a row for each of 2"),
        (lambda: metrics.kappa([0, 5], [0, 1], 5), r"targets\[1\] must be a class index in \[0, 4\], got 5"),
        (lambda: metrics.kappa([0, 1], [0, -1], 5), r"answers\[1\] must be .*, got -1"),
        (lambda: metrics.kappa([3, 3], [3, 3], 5), "all of class 3"),
        (lambda: metrics.kappa([0, 1], [0, 1], 10**6), "classes must be at most 4096, .*, got 1000000"),
        (lambda: metrics.value("kappa", [0, 1], [0, 1]), "classes is required for kappa"),
        (lambda: metrics.top1([0, -1], [0, 1]), r"targets\[1\] must be a class index >= 0, got -1"),
        (lambda: metrics.top1([0, 1], [0]), "answers must have length 2, one for each image, got 1"),
        (lambda: metrics.top1([0.0, 1.0], [0, 1]), "targets must be class indices"),
        (lambda: metrics.top5([], []), "targets must be class indices|targets must have at least one image"),
        (lambda: metrics.value("f1", [0, 1], [0, 1]), "metric must be .*, got 'f1'"),
        (lambda: metrics.interval("top1", [0, 1], [0, 1], level=95), r"level must be in \(0, 1\), got 95"),
        (lambda: metrics.interval("top1", [0, 1], [0, 1], draws=0), "draws must be an integer >= 1, got 0"),
    ],
)
def test_what_cannot_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Nearest neighbours and the linear probe against lightly's and scikit-learn's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import sassl
from conftest import coloured, need
from sassl import _sassl, evaluation
from sassl.evaluation import Features


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels, targets = data.data.astype(np.float32), data.target.astype(np.int64)
    return Features(pixels[:1200], targets[:1200]), Features(pixels[1200:], targets[1200:])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("k", [1, 20, 200])
def test_neighbours_are_lightlys(digits, k):
    need("lightly")
    import torch
    from lightly.utils.benchmarking.knn import knn_predict

    train, test = digits
    bank, queries = (torch.nn.functional.normalize(torch.from_numpy(x.features), dim=1) for x in digits)
    expected = knn_predict(queries, bank.T, torch.from_numpy(train.targets), 10, knn_k=k, knn_t=0.1)[:, 0].numpy()
    got = _sassl.knn(train.features, train.targets, test.features, k=k, temperature=0.1)[:, 0]
    assert (got == expected).mean() > 0.995
    for threads in (1, 3):
        again = _sassl.knn(train.features, train.targets, test.features, k=k, temperature=0.1, threads=threads)
        assert np.array_equal(again[:, 0], got)


def test_a_feature_of_the_bank_is_its_own_neighbour(digits):
    train, _ = digits
    assert evaluation.knn(train, train, k=1) == {"top1": 100.0, "top5": 100.0}


def test_the_probe_is_as_good_as_logistic_regression(digits):
    from sklearn.linear_model import LogisticRegression

    train, test = (Features(x.features / 16, x.targets) for x in digits)
    expected = 100 * LogisticRegression(max_iter=2000).fit(*train).score(*test)
    got = evaluation.linear_probe(train, test, lr=1.0)
    assert abs(got["top1"] - expected) < 2
    assert got["top5"] > 98
    assert got == evaluation.linear_probe(train, test, lr=1.0)


@pytest.mark.parametrize("c", [1e-3, 0.1, 1.0])
def test_the_probe_by_lbfgs_is_scikit_learns(digits, c):
    from sklearn.linear_model import LogisticRegression

    train, test = (Features(x.features / 16, x.targets) for x in digits)
    expected = LogisticRegression(C=c, max_iter=5000, tol=1e-6).fit(*train).predict(test.features)
    got = _sassl.logistic_probe(train.features, train.targets, test.features, c=[c])[0, :, 0]
    assert (got == expected).mean() > 0.99
    for threads in (1, 3):
        again = _sassl.logistic_probe(train.features, train.targets, test.features, c=[c], threads=threads)
        assert np.array_equal(again[0, :, 0], got)


def test_a_grid_is_chosen_from_on_held_out_features(digits):
    train, test = (Features(x.features / 16, x.targets) for x in digits)
    accuracies = {c: evaluation.logistic_probe(train, test, c=c)["top1"] for c in (1e-6, 1.0)}
    found = evaluation.logistic_probe(train, test, c=[1e-6, 1.0])
    assert found["c"] == 1.0
    assert found["top1"] == accuracies[1.0] > accuracies[1e-6]
    half = len(train.targets) // 2
    first, second = (Features(train.features[rows], train.targets[rows]) for rows in (slice(half), slice(half, None)))
    assert evaluation.logistic_probe(first, test, c=[1e-6, 1.0], val=second) == pytest.approx(found, abs=0.2)
    assert len(evaluation.GRID) == 45
    assert (evaluation.GRID[0], evaluation.GRID[-1]) == pytest.approx((1e-6, 1e5))
    for settings, message in (({"c": 0.0}, "c = 0"), ({"c": []}, "c = "), ({"max_iter": 0}, "max_iter = 0")):
        with pytest.raises(ValueError, match=message):
            evaluation.logistic_probe(train, test, **{"c": 1.0, **settings})


def test_what_cannot_be(digits):
    train, test = digits
    assert evaluation.knn(train, test, k=1201) == evaluation.knn(train, test, k=1200)
    with pytest.raises(ValueError, match="k = -1: expected a whole number from 1"):
        evaluation.knn(train, test, k=-1)
    with pytest.raises(ValueError, match="epochs = -1: expected a whole number from 1"):
        evaluation.linear_probe(train, test, epochs=-1)
    with pytest.raises(ValueError, match=r"test: 3 classes for .* features"):
        evaluation.knn(train, Features(test.features, test.targets[:3]))
    with pytest.raises(ValueError, match=r"3 images.*at least 5"):
        evaluation.logistic_probe(Features(train.features[:3], train.targets[:3]), test)
    with pytest.raises(ValueError, match="temperature = 0"):
        evaluation.knn(train, test, temperature=0)
    one = Features(train.features, np.zeros_like(train.targets))
    for judge in (evaluation.knn, evaluation.linear_probe, evaluation.logistic_probe):
        with pytest.raises(ValueError, match="targets = 0: is the only class"):
            judge(one, test)
        with pytest.raises(ValueError, match="expected rows of 64"):
            judge(train, Features(test.features[:, :9], test.targets))
    bad = train.features.copy()
    bad[3, 5] = np.nan
    with pytest.raises(ValueError, match=r"features\[3, 5\] = NaN"):
        evaluation.knn(Features(bad, train.targets), test)
    with pytest.raises(ValueError, match=r"expected .*, one row for each"):
        evaluation.knn(Features(train.features, train.targets[:5]), test)
    with pytest.raises(ValueError, match="epochs = 0"):
        evaluation.linear_probe(train, test, epochs=0)


def test_features_of_folders_and_the_command(tmp_path):
    coloured(tmp_path, {"train": 6, "val": 6})
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=2)
    train, test = (evaluation.extract(model, tmp_path / split, batch_size=5) for split in ("train", "val"))
    assert train.features.shape == (12, 512)
    assert train.targets.tolist() == [0] * 6 + [1] * 6
    assert evaluation.knn(train, test, k=3) == {"top1": 100.0, "top5": 100.0}
    model.save(tmp_path / "model.safetensors")
    for how in ("knn", "linear", "logistic"):
        run = [sys.executable, "-m", "sassl", "eval", how, str(tmp_path / "model.safetensors"), "--data", str(tmp_path)]
        done = subprocess.run([*run, "--k", "3"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "top-1 100.0 %" in done.stdout
    done = subprocess.run([*run, "--data", str(tmp_path / "train")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "train and val" in done.stderr

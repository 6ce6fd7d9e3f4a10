"""Nearest neighbours and the linear probe against lightly's and scikit-learn's."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys

import numpy as np
import pytest
import sassl
from conftest import coloured, need
from sassl import _sassl, evaluation
from sassl.data import Objects
from sassl.evaluation import Features, logistic


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
    found = evaluation.knn(train, train, k=1)
    assert (found["top1"], found["top5"], found["interval"]) == (100.0, 100.0, (100.0, 100.0))
    assert (found["n"], found["classes"], found["metric"], found["k"]) == (1200, 10, "top1", 1)


def test_the_probe_is_as_good_as_logistic_regression(digits):
    from sklearn.linear_model import LogisticRegression

    train, test = (Features(x.features / 16, x.targets) for x in digits)
    expected = 100 * LogisticRegression(max_iter=2000).fit(*train).score(*test)
    got = evaluation.linear_probe(train, test, lr=1.0)
    assert abs(got["top1"] - expected) < 2
    assert got["top5"] > 98
    assert got == evaluation.linear_probe(train, test, lr=1.0)


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_probe_is_torchs_sgd(digits, nesterov):
    """All rows in each step, so that their order is of no account; and of more rows than are scored at once."""
    import torch

    train, test = (Features(x.features / 16, x.targets) for x in digits)
    features, targets = torch.from_numpy(train.features), torch.from_numpy(train.targets)
    layer = torch.nn.Linear(64, 10)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    # The rate is of a batch of 256.
    optimizer = torch.optim.SGD(layer.parameters(), 0.05 * 1200 / 256, momentum=0.9, nesterov=nesterov)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(features), targets).backward()
        optimizer.step()
        schedule.step()
    expected = layer(torch.from_numpy(test.features)).argmax(1).numpy()
    settings = {"lr": 0.05, "epochs": 300, "batch_size": 1200, "nesterov": nesterov}
    got = [_sassl.linear_probe(*train, test.features, **settings, top=10, threads=threads) for threads in (1, 2, 3, 4)]
    assert (got[0][:, 0] == expected).mean() > 0.99
    assert all(np.array_equal(got[0], again) for again in got[1:])


@pytest.mark.parametrize("c", [1e-3, 0.1, 1.0])
def test_the_probe_at_its_optimum_is_scikit_learns(digits, c):
    from sklearn.linear_model import LogisticRegression

    train, test = (Features(x.features / 16, x.targets) for x in digits)
    expected = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(train.features.astype(float), train.targets)
    got = logistic.fit(*train, c).scores(test.features).argmax(1)
    assert np.array_equal(got, expected.predict(test.features.astype(float)))


def test_a_grid_is_chosen_from_on_held_out_features(digits):
    train, test = (Features(x.features / 16, x.targets) for x in digits)
    accuracies = {c: evaluation.logistic_probe(train, test, c=c)["top1"] for c in (1e-6, 1.0)}
    found = evaluation.logistic_probe(train, test, c=[1e-6, 1.0])
    assert found["c"] == 1.0
    assert found["top1"] == accuracies[1.0] > accuracies[1e-6]
    half = len(train.targets) // 2
    first, second = (Features(train.features[rows], train.targets[rows]) for rows in (slice(half), slice(half, None)))
    given = evaluation.logistic_probe(first, test, c=[1e-6, 1.0], val=second)
    assert [given[key] for key in ("top1", "top5", "c")] == [found[key] for key in ("top1", "top5", "c")]
    for settings, message in (
        ({"c": 0.0}, "c must be .*, got 0"),
        ({"c": []}, "c must be .*, got "),
        ({"max_iter": 0}, "max_iter must be .*, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluation.logistic_probe(train, test, **{"c": 1.0, **settings})


JUDGES = [
    (evaluation.knn, {"k": 20}),
    (evaluation.linear_probe, {"lr": 1.0, "epochs": 10}),
    (evaluation.logistic_probe, {"c": [0.1, 1.0]}),
]


@pytest.mark.parametrize(("judge", "settings"), JUDGES)
def test_class_numbers_are_labels(digits, judge, settings):
    train, test = (Features(x.features / 16, x.targets) for x in digits)
    expected = judge(train, test, **settings)
    wnids = np.array([1440764 + 97 * 3**n for n in range(9)] + [2**62])
    assert judge(*(Features(x.features, wnids[x.targets]) for x in (train, test)), **settings) == expected
    ranked = _sassl.knn(train.features, wnids[train.targets], test.features[:9], k=1)
    assert set(ranked.ravel()) <= set(wnids)


@pytest.mark.parametrize(("judge", "settings"), JUDGES)
def test_names_decide_which_classes_are_the_same(digits, judge, settings):
    train, test = (Features(x.features / 16, x.targets) for x in digits)
    expected, names = judge(train, test, **settings), [f"digit {n}" for n in range(10)]
    train = Features(*train, names)
    # As a set that counts its classes by itself: in another order, with one that has no image.
    turned = Features(test.features, 10 - test.targets, ["a letter", *names[::-1]])
    assert judge(train, turned, **settings) == expected
    assert judge(train, Features(*test), **settings) == expected
    # A class that was not learnt from counts as wrong, and a warning tells.
    few = Features(test.features[:200], np.where(test.targets[:200] == 3, 10, test.targets[:200]), [*names, "a letter"])
    with pytest.warns(UserWarning, match=r"test: \d+ of 200 images are of 1 classes .* count as wrong: a letter"):
        found = judge(train, few, **settings)
    right = judge(train, Features(*(x[few.targets != 10] for x in few)), **settings)
    assert found["top1"] == pytest.approx(right["top1"] * (few.targets != 10).mean())
    with pytest.raises(ValueError, match="targets of test must be less than its 10 names, got 10"):
        judge(train, Features(*few, names), **settings)
    for features, other, which in ((train, Features(test.features, test.targets - 1), "test"), (few, train, "train")):
        unlabeled = Features(features.features, np.where(features.targets == 1, -1, features.targets))
        with pytest.raises(ValueError, match=rf"targets of {which} must be class indices >= 0, got -1 for \d+ images"):
            judge(unlabeled if which == "train" else features, other, **settings)


def test_neighbours_vote_at_any_temperature():
    bank = np.array([[1, 0], [0.9, 0.1], [0.8, 0.6], [0.7, 0.7], [0, 1]], np.float32)
    targets, query = [7, 7, 5, 5, 3], np.array([[1, 0.05]], np.float32)
    ranked = [
        _sassl.knn(bank, targets, query, k=5, temperature=t, top=5)[0].tolist() for t in (1e-300, 1e-30, 0.1, 1e30)
    ]
    # There are three classes; as the temperature grows, only votes are counted.
    assert ranked == [[7, 5, 3], [7, 5, 3], [7, 5, 3], [5, 7, 3]]
    # What no neighbour is of has no place among the first five.
    assert _sassl.knn(bank, targets, query, k=2, top=5).tolist() == [[7, -1, -1]]
    far = Features(query, [3])
    for k, top5 in ((2, 0.0), (5, 100.0)):
        found = evaluation.knn(Features(bank, targets), far, k=k)
        assert (found["top1"], found["top5"]) == (0.0, top5)


@pytest.mark.parametrize(("rows", "k"), [(1300, 1), (1300, 7), (1300, 700), (1024, 1024), (512, 200)])
def test_neighbours_across_parts_of_a_bank(rows, k):
    """Against all cosines at once; a bank of more rows than are compared at a time, and a number that fills no part."""
    rng = np.random.default_rng(k)
    targets = rng.integers(0, 30, rows)
    bank = (rng.standard_normal((rows, 24)) + rng.standard_normal((30, 24))[targets]).astype(np.float32)
    queries = rng.standard_normal((401, 24)).astype(np.float32)
    cosines = np.float64(queries) @ np.float64(bank).T
    cosines /= np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(bank, axis=1)
    nearest = np.argsort(-cosines, 1)[:, :k]
    votes = np.zeros((401, 30))
    for query, near in enumerate(nearest):
        np.add.at(votes[query], targets[near], np.exp(cosines[query, near] / 0.1))
    expected = votes.argmax(1)
    best = np.sort(votes, 1)
    decided = best[:, -1] > (1 + 1e-3) * best[:, -2]
    assert decided.mean() > 0.95
    for threads in (1, 2):
        got = _sassl.knn(bank, targets, queries, k=k, threads=threads)[:, 0]
        assert np.array_equal(got[decided], expected[decided])


def test_of_equal_neighbours_the_first_are_taken():
    bank = np.ones((2000, 3), np.float32)
    bank[1500:] = [1, 1, 1.5]
    query = np.ones((1, 3), np.float32)
    ranked = _sassl.knn(bank, np.arange(2000)[::-1].copy(), query, k=7, top=5)
    assert ranked.tolist() == [[1993, 1994, 1995, 1996, 1997]]


@pytest.mark.skipif(sys.platform != "linux", reason="DID NOT RUN: memory is told in KB by Linux")
def test_neighbours_take_no_memory_of_queries_times_rows():
    """In a process of its own: what it holds at most is never given back."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import resource
import numpy as np
from sassl._sassl import knn
rng = np.random.default_rng(0)
bank, targets = rng.standard_normal((300_000, 32), np.float32), rng.integers(0, 10_000, 300_000)
queries = rng.standard_normal((500, 32), np.float32)
knn(bank[:20_000], targets[:20_000], queries, k=50, top=5, threads=2)
targets.tolist()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
knn(bank, targets, queries, k=50, top=5, threads=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
""",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # The cosines of 256 queries alone are 300 MB, and a copy of the bank 38.
    assert int(done.stdout) < 25_000, "KB"


def test_features_unpack_and_pickle(digits):
    train = Features(*digits[0], ["a"] * 10, {"x.jpg": "damaged"})
    features, targets = train
    assert features is train.features
    again = pickle.loads(pickle.dumps(train))
    assert np.array_equal(again.targets, targets)
    assert (again.classes, again.left_out) == (train.classes, train.left_out)


def test_what_cannot_be(digits):
    train, test = digits
    assert evaluation.knn(train, test, k=1201) == evaluation.knn(train, test, k=1200)
    with pytest.raises(ValueError, match="k must be an integer >= 1, got -1"):
        evaluation.knn(train, test, k=-1)
    with pytest.raises(ValueError, match="epochs must be an integer >= 1, got -1"):
        evaluation.linear_probe(train, test, epochs=-1)
    with pytest.raises(
        ValueError, match=r"targets of test must be integers of shape \(597,\), a class for each feature, got \(3,\)"
    ):
        evaluation.knn(train, Features(test.features, test.targets[:3]))
    with pytest.raises(ValueError, match=r"train must have at least 5 images, .*, got 3"):
        evaluation.logistic_probe(*[Features(train.features[:3], train.targets[:3])] * 2)
    with pytest.raises(ValueError, match=r"temperature must be .*, got 0"):
        evaluation.knn(train, test, temperature=0)
    one = Features(train.features, np.zeros_like(train.targets))
    for judge in (evaluation.knn, evaluation.linear_probe, evaluation.logistic_probe):
        with pytest.raises(ValueError, match="targets must have at least two classes, got only 0"):
            judge(one, Features(test.features, np.zeros_like(test.targets)))
        with pytest.raises(ValueError, match="features must have 64 columns"):
            judge(train, Features(test.features[:, :9], test.targets))
    bad = train.features.copy()
    bad[3, 5] = np.nan
    with pytest.raises(ValueError, match=r"features\[3, 5\] must be finite, got NaN"):
        evaluation.knn(Features(bad, train.targets), test)
    worse = test.features.copy()
    worse[3, 5] = np.inf
    for judge in (evaluation.knn, evaluation.linear_probe, evaluation.logistic_probe):
        with pytest.raises(ValueError, match=r"queries\[3, 5\] must be finite, got inf"):
            judge(train, Features(worse, test.targets))
    with pytest.raises(ValueError, match=r"targets of train must be integers of shape .*, got \(5,\) int64"):
        evaluation.knn(Features(train.features, train.targets[:5]), test)
    with pytest.raises(ValueError, match=r"targets of train must be integers of shape .*, got .* float64"):
        evaluation.knn(Features(train.features, train.targets.astype(float)), test)
    with pytest.raises(ValueError, match=r"the probe has diverged with lr="):
        evaluation.linear_probe(Features(train.features * 1e18, train.targets), test, lr=1e18, epochs=2)
    with pytest.raises(ValueError, match="epochs must be an integer >= 1, got 0"):
        evaluation.linear_probe(train, test, epochs=0)


def test_features_of_folders_and_the_command(tmp_path):
    coloured(tmp_path, {"train": 6, "val": 6})
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=2)
    train, test = (evaluation.extract(model, tmp_path / split, batch_size=5) for split in ("train", "val"))
    assert train.features.shape == (12, 512)
    assert train.targets.tolist() == [0] * 6 + [1] * 6
    assert evaluation.knn(train, test, k=3)["top1"] == 100.0
    model.save(tmp_path / "model.safetensors")
    for how, options in (("knn", "--k 3"), ("linear", "--epochs 20 --lr 0.2"), ("logistic", "--c 0.1 1")):
        run = [sys.executable, "-m", "sassl", "eval", how, str(tmp_path / "model.safetensors"), "--data", str(tmp_path)]
        done = subprocess.run([*run, *options.split()], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "top-1 100.0 %" in done.stdout
        assert "top-1: 100 to 100 at 95 %, 12 images, 2 classes" in done.stdout
    done = subprocess.run([*run, "--data", str(tmp_path / "train")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "train and val" in done.stderr


def test_what_cannot_be_read_is_left_out_and_counted(tmp_path):
    coloured(tmp_path, {"train": 4, "val": 4})
    (tmp_path / "val" / "red" / "1.png").write_bytes(b"no image")
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=2)
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"1\.png"):
        evaluation.extract(model, tmp_path / "val")
    with pytest.warns(UserWarning, match=r"1 of 8 images could not be read and are left out; .*1\.png"):
        found = evaluation.extract(model, tmp_path / "val", on_error="report", batch_size=3)
    assert found.targets.tolist() == [0] * 4 + [1] * 3
    assert [name.endswith("1.png") for name in found.left_out] == [True]
    with pytest.raises(ValueError, match="data must have at least one readable image, got none of 2"):
        evaluation.extract(model, [b"x", b"y"], on_error="report")
    run = [sys.executable, "-m", "sassl", "eval", "knn", str(tmp_path / "model.safetensors"), "--data", str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 1
    assert "1.png" in done.stderr
    done = subprocess.run([*run, "--on-error=report"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 of 8 images could not be read" in done.stderr


class Named:
    """A dataset as torchvision's: numbers of classes, and their names."""

    def __init__(self, targets, **attributes):
        self.targets = targets
        vars(self).update(attributes)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return np.full((16, 16, 3), 30 * i, np.uint8), self.targets[i]


def test_datasets_of_others_name_their_classes():
    need("torch")
    need("datasets")
    import datasets
    from torch.utils.data import ConcatDataset, Subset

    abc = ["a", "b", "c"]
    pair = Named([0, 1], classes=abc)
    for dataset, names in (
        (pair, abc),
        (Named([0], classes=[("a", "x"), ("b",)]), ["a, x", "b"]),
        (Named([0], class_to_idx={"b": 1, "a": 0}), ["a", "b"]),
        (Named([0], reader=Named([0], class_to_idx={"a": 0, "b": 1})), ["a", "b"]),
        (Named([0], classes=abc, target_transform=None), abc),
        (Named([0], classes=abc, target_transform=lambda n: n % 2), None),
        (Named([0], classes=["a", "a"]), None),
        (Named([0], classes=3), None),
        (Named([0]), None),
        (Subset(pair, [1]), abc),
        (ConcatDataset([pair, pair]), abc),
        (ConcatDataset([pair, Named([0], classes=["b"])]), None),
    ):
        assert Objects(dataset).classes == names, vars(dataset)
    columns = datasets.Features({"img": datasets.Value("string"), "fine_label": datasets.ClassLabel(names=abc)})
    rows = datasets.Dataset.from_dict({"img": ["x.png"], "fine_label": [2]}, features=columns)
    assert Objects(rows).classes == abc


def test_a_set_of_others_without_one_class_is_told_by_names():
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=2)
    known, asked = Named([0, 1, 2, 2], classes=["a", "b", "c"]), Named([0, 1, 1, -1], classes=["b", "c"])
    assert evaluation.extract(model, asked).targets.tolist() == [0, 1, 1, -1]
    assert evaluation.extract(model, asked, classes=known.classes).targets.tolist() == [1, 2, 2, -1]
    with pytest.raises(ValueError, match=r"classes must be left out for Arrays.*, whose classes have no names"):
        evaluation.extract(model, np.zeros((2, 16, 16, 3), np.uint8), classes=["a", "b"])
    with pytest.raises(ValueError, match=r"classes must be unique names, got \['b', 'c', 'c'\]"):
        evaluation.extract(model, asked, classes=["b", "c", "c"])
    with pytest.raises(ValueError, match=r"class 2 must be less than the number of class names \(2\): b, c"):
        evaluation.extract(model, Named([0, 2], classes=["b", "c"]))


def test_sets_meet_by_the_names_of_their_classes(tmp_path):
    need("torchvision")
    from PIL import Image
    from sassl.data.ranks import Alone
    from sassl.evaluation import robustness
    from sassl.evaluation.transfer import _nearest
    from sassl.pretraining import Monitor
    from torchvision.datasets import ImageFolder

    # A validation set without the first class, whose classes torchvision counts anew.
    colours, rng = {"ant": (250, 20, 20), "bee": (20, 250, 20), "cat": (20, 20, 250)}, np.random.default_rng(0)
    for split, names in (("train", ("ant", "bee", "cat")), ("val", ("bee", "cat")), ("other", ("dog", "eel"))):
        for i, name in enumerate(names):
            (tmp_path / split / name).mkdir(parents=True)
            for n in range(6):
                pixels = np.array(colours.get(name, (50 * i,) * 3)) + rng.integers(-20, 21, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / split / name / f"{n}.png")
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
    known, asked, other = (ImageFolder(str(tmp_path / split)) for split in ("train", "val", "other"))
    train = evaluation.extract(model, known)
    for test in (evaluation.extract(model, asked), evaluation.extract(model, asked, classes=known.classes)):
        judges = {
            "knn": lambda test: evaluation.knn(train, test, k=3)["top1"],
            "linear": lambda test: evaluation.linear_probe(train, test, epochs=30, batch_size=8, lr=3.0)["top1"],
            "logistic": lambda test: evaluation.logistic_probe(train, test, c=1.0)["top1"],
            "chosen": lambda test: evaluation.logistic_probe(train, test, c=(0.1, 1.0), val=test)["top1"],
            "centroid": lambda test: evaluation.nearest_centroid(train, test)["top1"],
            "few shots": lambda test: evaluation.few_shot(train, test, shots=(3,), draws=1)[0]["mean"],
            "transfer": lambda test: _nearest({"train": train, "val": test, "test": test}, "top1", False)["top1"],
        }
        assert {name: judge(test) for name, judge in judges.items()} == dict.fromkeys(judges, 100.0)
    (answers,) = robustness.Probe(model, train).answers([sassl.data.as_images(asked)])
    assert robustness.accuracy(answers)["top1"] == 100.0
    monitor = Monitor(asked, k=3, probe_epochs=0)
    monitor.begin(known.classes, "raise")
    monitor.keep(train.features, train.targets)
    assert monitor.measure_on(model, Alone()) == ({"knn_top1": 100.0}, [])
    # Nothing in common is no result of 0 %.
    strange = evaluation.extract(model, other)
    for name, judge in judges.items():
        if name not in ("chosen", "transfer"):
            with pytest.raises(
                ValueError, match="test must have images of train's classes, ant, bee, cat, got dog, eel"
            ):
                judge(strange)


def test_other_features_keep_their_names():
    known = Features(np.zeros((2, 3), np.float32), [0, 1], ["cat", "dog"], {"a.png": "damaged"})
    other = known._replace(features=np.ones((2, 3), np.float32))
    assert (other.classes, other.left_out) == (["cat", "dog"], {"a.png": "damaged"})
    assert other.features.sum() == 6


def test_a_system_without_descriptors_is_no_fault_of_an_image():
    class Full:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            if index == 2:
                raise OSError(errno.EMFILE, "Too many open files")
            return np.zeros((16, 16, 3), np.uint8), index % 2

    model = sassl.SimCLR("resnet18", small_stem=True, input_size=16, hidden_dim=32, dim=16, threads=1)
    with pytest.raises(OSError, match="Too many open files"):
        evaluation.extract(model, Full(), on_error="report")

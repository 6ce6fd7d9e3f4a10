"""Shape bias against published answers, and on small images in the published layout."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import need, shared
from PIL import Image
from sassl import Stylizer
from sassl.evaluation import Features, Preprocessing, extract, robustness
from sassl.evaluation.imagenet import IMAGENET_R, WNIDS

NAMES = list(robustness.CATEGORIES)
#: rgeirhos/texture-vs-shape@ccd0c01, raw-data/style-transfer-512-nomask-experiment*: how many of the 75 images of each category
#: whose cues differ were called by their shape and by their texture, and the bias of all.
PUBLISHED = {
    "ResNet-50": (
        [0, 2, 6, 1, 5, 36, 21, 2, 4, 37, 10, 2, 6, 0, 6, 24],
        [40, 38, 25, 44, 34, 28, 30, 38, 41, 15, 39, 37, 44, 43, 39, 37],
        (162, 572, 22.07, 19.51),
    ),
    "ResNet-50 on SIN": (
        [10, 23, 49, 49, 13, 53, 27, 28, 44, 63, 50, 48, 14, 10, 46, 59],
        [15, 6, 7, 5, 15, 7, 13, 6, 6, 2, 5, 8, 17, 18, 4, 7],
        (586, 141, 80.61, 75.37),
    ),
    "subject-01": (
        [30, 37, 68, 59, 46, 58, 59, 50, 56, 68, 54, 57, 54, 27, 46, 60],
        [4, 4, 0, 0, 4, 3, 2, 4, 1, 0, 1, 0, 1, 4, 2, 3],
        (829, 33, 96.17, 95.48),
    ),
}
#: The same folders: shape, texture and bias of further networks, of ten people, and of these pooled.
TOTALS = [
    (283, 376, 42.94), (182, 537, 25.31), (130, 625, 17.22), (84, 828, 9.21), (228, 503, 31.19), (180, 509, 26.12),
    (196, 569, 25.62), (163, 597, 21.45), (133, 597, 18.22), (907, 54, 94.38), (1006, 34, 96.73), (727, 64, 91.91),
    (1017, 38, 96.40), (976, 24, 97.60), (906, 57, 94.08), (928, 41, 95.77), (1031, 14, 98.66), (909, 39, 95.89),
]  # fmt: skip
#: Whose network's input is.
RULE = Preprocessing(24, normalize=None)


def stimuli() -> list[tuple[str, str, str]]:
    """Shape, texture and source of 1,280 images as published: 5 of each pair of categories."""
    return [(shape, texture, f"{shape}{1 + i}") for shape in NAMES for texture in NAMES for i in range(5)]


def answered(by_shape: list[int], by_texture: list[int]) -> list[str | None]:
    """Answers with these counts for each category, and others for what is left."""
    left = {name: [s, t] for name, s, t in zip(NAMES, by_shape, by_texture, strict=True)}
    answers: list[str | None] = []
    for shape, texture, _ in stimuli():
        counts = left[shape]
        which = next((i for i in (0, 1) if counts[i]), 2) if shape != texture else 0
        if shape != texture and which < 2:
            counts[which] -= 1
        other = next(name for name in NAMES if name not in (shape, texture))
        answers.append((shape, texture, None if len(answers) % 2 else other)[which])
    return answers


@pytest.mark.parametrize("who", PUBLISHED)
def test_shape_bias_is_that_of_published_answers(who):
    by_shape, by_texture, (n_shape, n_texture, bias, mean) = PUBLISHED[who]
    found = robustness.shape_bias(answered(by_shape, by_texture), *zip(*stimuli(), strict=True))
    assert (found["n"], found["n_without_conflict"], found["accuracy_without_conflict"]) == (1200, 80, 100)
    assert (found["shape"], found["texture"], found["other"]) == (n_shape, n_texture, 1200 - n_shape - n_texture)
    assert round(found["shape_bias"], 2) == bias
    assert round(found["mean_category_bias"], 2) == mean
    assert found["shape_accuracy"] == pytest.approx(n_shape / 12)
    assert found["texture_accuracy"] == pytest.approx(n_texture / 12)
    for name, s, t in zip(NAMES, by_shape, by_texture, strict=True):
        assert found["categories"][name] == {"n": 75, "shape": s, "texture": t, "shape_bias": 100 * s / (s + t)}
    low, high = found["interval"]
    assert low < found["shape_bias"] < high


def test_shape_bias_of_other_networks_and_of_people():
    spread = [[[n // 16 + (i < n % 16) for i in range(16)] for n in row[:2]] for row in TOTALS]
    found = [robustness.shape_bias(answered(*counts), *zip(*stimuli(), strict=True)) for counts in spread]
    assert [(one["shape"], one["texture"], round(one["shape_bias"], 2)) for one in found] == TOTALS


def test_answers_that_decide_nothing_have_no_bias():
    found = robustness.shape_bias([None, "dog", "cat"], ["cat", "cat", "cat"], ["bear", "bear", "cat"])
    assert (found["n"], found["shape"], found["texture"], found["other"]) == (2, 0, 0, 2)
    assert found["shape_bias"] is found["mean_category_bias"] is found["interval"] is None
    assert robustness.shape_bias([], [], [])["shape_accuracy"] is None
    with pytest.raises(ValueError, match="answers: 'lynx' is not one of the categories airplane, "):
        robustness.shape_bias(["lynx"], ["cat"], ["bear"])
    with pytest.raises(
        ValueError,
        match="answers, shapes, textures and sources must have one length, got 1 answers, 2 shapes and 2 textures",
    ):
        robustness.shape_bias(["cat"], ["cat", "cat"], ["bear", "bear"])


def test_two_networks_on_the_same_images():
    names = [f"{shape}/{source}-{texture}{1 + i % 5}.png" for i, (shape, texture, source) in enumerate(stimuli())]
    first, second = (
        dict(zip(names, answered(*PUBLISHED[who][:2]), strict=True)) for who in ("ResNet-50", "ResNet-50 on SIN")
    )
    found = robustness.bias_difference(first, second)
    assert found["n"] == 1200
    assert [round(bias, 2) for bias in found["shape_bias"]] == [22.07, 80.61]
    assert found["difference"] == pytest.approx(100 * (586 / 727 - 162 / 734))
    # By a loop over draws.
    told = [robustness.cues(name) for name in names]
    sources = sorted({one.source for one in told})
    drawn = np.random.default_rng(1).choice(len(sources), (300, len(sources)))
    counts = np.zeros((2, len(sources), 2))
    for which, answers in enumerate((first, second)):
        for one, answer in zip(told, answers.values(), strict=True):
            if one.shape != one.texture and answer in one[:2]:
                counts[which, sources.index(one.source), one[:2].index(answer)] += 1
    totals = [[counts[which][rows].sum(0) for rows in drawn] for which in (0, 1)]
    biases = [np.array([100 * shape / (shape + texture) for shape, texture in one]) for one in totals]
    assert found["interval"] == pytest.approx(np.percentile(biases[1] - biases[0], (2.5, 97.5)), abs=1.5)
    same = robustness.bias_difference(first, first)
    assert (same["difference"], same["interval"]) == (0, (0, 0))
    nothing = robustness.bias_difference({"bear/bear1-cat1.png": None}, {"bear/bear1-cat1.png": "bear"})
    assert (nothing["difference"], nothing["interval"], nothing["shape_bias"]) == (None, None, [None, 100])
    with pytest.raises(
        ValueError,
        match=r"second must have answers for the images of first, got airplane/airplane1-airplane1\.png and 1 ",
    ):
        robustness.bias_difference({names[0]: "bear"}, {"bear/bear1-cat1.png": None})
    with pytest.raises(ValueError, match="second must have answers for the images of first, got none"):
        robustness.bias_difference({}, {})


def decided(row: np.ndarray) -> str:
    """What texture-vs-shape's code does, in other words: the first category whose mean is larger than those before it."""
    best, answer = -np.inf, ""
    for name in sorted(NAMES):
        mean = np.mean(np.array([row[number] for number in robustness.CATEGORIES[name]], row.dtype))
        if mean > best:
            best, answer = mean, name
    return answer


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decisions_are_those_of_a_loop(dtype):
    rng = np.random.default_rng(0)
    scores = rng.normal(0, rng.uniform(0.01, 8, (400, 1)), (400, 1000)).astype(dtype)
    rows = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert robustness.decisions(rows) == [decided(row) for row in rows]
    assert len(set(robustness.decisions(rows))) == 16
    # Ties: all equal, two categories of one class each, and of two each.
    ties = np.zeros((4, 1000), dtype)
    ties[0] = 1 / 1000
    ties[1, [766, 499]] = ties[2, [878, 385]] = 0.5
    ties[3, [0, 1]] = 0.5
    assert robustness.decisions(ties) == [decided(row) for row in ties]
    assert robustness.decisions(ties)[1:] == ["knife", "elephant", "airplane"]
    # A class that many others share counts less than one alone.
    pair = np.zeros((1, 1000), dtype)
    pair[0, [200, 499]] = 0.9, 0.1
    assert robustness.decisions(pair) == ["knife"]


def test_decisions_among_fewer_classes():
    classes = ["n02132136", "n02123045", "n02123394", "n07747607"]
    assert robustness.decisions(np.array([[0.3, 0.2, 0.3, 0.2], [0.1, 0.2, 0.1, 0.6]]), classes) == ["bear", "cat"]
    with pytest.raises(
        ValueError,
        match=r"classes must be names of .*, got n07747607, ..., of which none with an image is of a category",
    ):
        robustness.decisions(np.ones((1, 1)), ["n07747607"])
    with pytest.raises(
        ValueError, match=r"probabilities must have shape \(N, 1000\), one for each class, got \(1, 4\)"
    ):
        robustness.decisions(np.full((1, 4), 0.25))
    for rows in (np.ones((2, 1000)), np.full((2, 1000), np.nan), np.ones((2, 1000), np.int64)):
        with pytest.raises(ValueError, match="apply a softmax to a network's outputs"):
            robustness.decisions(rows)


def test_classes_are_imagenets():
    need("timm")
    # Its files alone: the import takes seconds.
    lists = Path(importlib.util.find_spec("timm").origin).parent / "data" / "_info"
    assert (lists / "imagenet_synsets.txt").read_text().split() == list(WNIDS)
    numbers = [int(number) for number in (lists / "imagenet_r_indices.txt").read_text().split()]
    assert [WNIDS[number] for number in numbers] == list(IMAGENET_R)
    held = {name: [WNIDS[number] for number in numbers] for name, numbers in robustness.CATEGORIES.items()}
    assert sum(map(len, held.values())) == 207
    # Of the same lists by name, human_categories.py.
    assert held["bear"] == ["n02132136", "n02133161", "n02134084", "n02134418"]
    assert held["clock"] == ["n02708093", "n03196217", "n04548280"]
    assert (held["bird"][0], held["bird"][-1]) == ("n01514859", "n02056570")
    assert (held["dog"][0], held["dog"][-1], len(held["dog"])) == ("n02085782", "n02113978", 109)
    assert held["truck"] == [
        *("n03345487", "n03417042", "n03770679", "n03796401", "n03930630", "n03977966", "n04461696", "n04467665")
    ]


def test_cues_stand_in_names():
    for name in ("bear/bear1-cat12.png", "bear/0001_s5n_dnn_0_bear_00_bear1-cat12.png", "a/bear/bear1-cat12.jpg"):
        assert robustness.cues(name) == ("bear", "cat", "bear1")
    for name, message in (
        ("bear/bear1.png", "the name must be like bear1-cat2.png"),
        ("bear/bear1-lynx2.png", "'lynx' is not one of the categories"),
        ("cat/bear1-cat2.png", "has a shape of bear, but is in the folder of cat"),
    ):
        with pytest.raises(ValueError, match=rf"{re.escape(name)}: {message}"):
            robustness.cues(name)


def save(path: Path, number: int, size: int = 24) -> None:
    """An image whose red tells a number below 64."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (4 * number, 90, 200)).save(path)


def told(batch: np.ndarray) -> np.ndarray:
    """The numbers that images tell."""
    return np.round(batch[:, 0].mean((1, 2)) * 255 / 4).astype(int)


def seeing(columns: list[int]) -> object:
    """A network of 1,000 scores that answers the class whose number stands at the place that an image tells."""
    return lambda batch: 12 * np.eye(1000, dtype=np.float32)[np.array(columns)[told(batch)]]


def features(batch: np.ndarray) -> np.ndarray:
    """A backbone whose features tell the number of an image."""
    return np.eye(64, dtype=np.float32)[told(batch)]


def conflicts(root: Path) -> Path:
    """Nine images of three categories; an image tells what a network is to answer."""
    answers = iter([0, 1, 2, 0, 1, 1, 0, 1, 2])
    for shape in ("bear", "cat", "dog"):
        for texture in ("bear", "cat", "dog"):
            save(root / shape / f"{shape}1-{texture}2.png", next(answers))
    return root


def test_cue_conflict_of_a_network_with_a_head(tmp_path):
    root = conflicts(tmp_path / "cue-conflict")
    columns = [robustness.CATEGORIES[name][-1] for name in ("bear", "cat", "dog")]
    found = robustness.cue_conflict(robustness.Classifier(seeing(columns), preprocessing=RULE), root)
    assert (found["n"], found["shape"], found["texture"], found["other"], found["ways"]) == (6, 1, 5, 0, 16)
    assert found["shape_bias"] == pytest.approx(100 / 6)
    assert found["accuracy_without_conflict"] == 100
    assert found["categories"]["cat"] == {"n": 2, "shape": 1, "texture": 1, "shape_bias": 50}
    assert found["n_outside"] == found["n_left_out"] == 0
    assert found["head"] == "the network's own"
    assert (len(found["answers"]), found["answers"]["cat/cat1-dog2.png"]) == (9, "cat")


def test_cue_conflict_of_a_backbone_whose_head_knows_some_categories(tmp_path):
    root = conflicts(tmp_path / "cue-conflict")
    save(root / "knife" / "knife1-bear1.png", 0)
    save(root / "bear" / "bear1-knife1.png", 0)
    # Bears, cats and dogs by ImageNet's names, and oranges, which are of no category.
    names = ["n02132136", "n02123045", "n02085782", "n02123394", "n07747607", "no images"]
    rows, numbers = np.eye(64, dtype=np.float32)[[0, 1, 2, 1, 9] * 8], np.array([0, 1, 2, 3, 4] * 8)
    probe = robustness.Probe(features, Features(rows, numbers, names), c=10.0, preprocessing=RULE)
    found = robustness.cue_conflict(probe, root)
    assert (found["n"], found["shape"], found["texture"], found["ways"]) == (6, 1, 5, 3)
    assert found["answered_among"] == ["bear", "cat", "dog"]
    assert (found["n_outside"], found["train_n"], found["c"], found["reached"]) == (2, 32, 10.0, True)
    other = Features(rows, numbers, ["a", "b", "c", "d", "e", "f"])
    with pytest.raises(
        ValueError,
        match=r"classes must be names of .*, got a, b, c, d, e, ..., of which none with an image is of a category",
    ):
        robustness.cue_conflict(robustness.Probe(features, other, preprocessing=RULE), root)
    mapped = robustness.by_category(other, {"a": "bear", "b": "cat", "d": "cat"})
    assert (mapped.classes, mapped.targets.tolist()) == (["bear", "cat"], [0, 1, 1] * 8)
    with pytest.raises(ValueError, match=r"categories\['a'\]: 'lynx' is not one of the categories"):
        robustness.by_category(other, {"a": "lynx"})
    knife = robustness.Probe(features, robustness.by_category(other, {"a": "oven", "b": "car"}), preprocessing=RULE)
    with pytest.raises(ValueError, match="no image whose shape and texture are among car, oven"):
        robustness.cue_conflict(knife, root)


def test_what_is_wrong_with_a_folder_of_categories_is_said(tmp_path):
    judge = robustness.Classifier(seeing([294] * 64), preprocessing=RULE)
    save(tmp_path / "flat" / "bear1-cat2.png", 0)
    with pytest.raises(
        ValueError, match=r"flat: must have a folder for each of the categories airplane, .*, got no folders"
    ):
        robustness.cue_conflict(judge, tmp_path / "flat")
    save(tmp_path / "lynx" / "lynx" / "lynx1-cat2.png", 0)
    with pytest.raises(
        ValueError, match=r"must have a folder for each of the categories airplane, .*, got the folder 'lynx'"
    ):
        robustness.cue_conflict(judge, tmp_path / "lynx")
    root = conflicts(tmp_path / "cue-conflict")
    (root / "cat" / "cat1-dog2.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"cat1-dog2\.png"):
        robustness.cue_conflict(judge, root)
    judge.on_error = "report"
    found = robustness.cue_conflict(judge, root)
    assert (found["n"], found["n_left_out"], list(found["left_out"])) == (5, 1, ["cat/cat1-dog2.png"])
    root = conflicts(tmp_path / "whole")
    with pytest.raises(ValueError, match="model must return a score for each of 1000 classes, got 64"):
        robustness.cue_conflict(robustness.Classifier(features, preprocessing=RULE), root)
    with pytest.raises(ValueError, match=r"classes must be names, .*, got None"):
        robustness.cue_conflict(robustness.Classifier(features, None, preprocessing=RULE), root)
    nowhere = robustness.Classifier(lambda batch: np.full((len(batch), 1000), np.nan, np.float32), preprocessing=RULE)
    with pytest.raises(ValueError, match="model must return finite scores"):
        robustness.cue_conflict(nowhere, root)


#: The same source, raw-data/edge-experiment* and silhouette-filled-experiment*: how many of 160 were right.
RIGHT = {"edges": {"ResNet-50": 29, "ResNet-50 on SIN": 78}, "silhouettes": {"ResNet-50": 87, "ResNet-50 on SIN": 71}}


@pytest.mark.parametrize("kind", RIGHT)
def test_edges_and_silhouettes(tmp_path, kind):
    rng = np.random.default_rng(0)
    for n_right in RIGHT[kind].values():
        root = tmp_path / str(n_right)
        right = rng.permutation(160) < n_right
        # Each of 16 categories has ten, and what is not right is the category after it.
        for i, ok in enumerate(right):
            save(root / NAMES[i // 10] / f"{NAMES[i // 10]}{1 + i % 10}.png", (i // 10 + (not ok)) % 16)
        net = robustness.Classifier(seeing([robustness.CATEGORIES[name][0] for name in NAMES]), preprocessing=RULE)
        found = robustness.outlines(net, root, kind)
        assert (found["set"], found["n"], found["ways"], found["n_outside"]) == (kind, 160, 16, 0)
        assert found["top1"] == pytest.approx(found["mean_per_class"]) == pytest.approx(100 * n_right / 160)
        by_category = right.reshape(16, 10).sum(1)
        assert found["categories"] == {
            name: {"n": 10, "right": n} for name, n in zip(NAMES, by_category.tolist(), strict=True)
        }
    train = Features(np.eye(64, dtype=np.float32)[[1, 7] * 4], [0, 1] * 4, ["bear", "cat"])
    for name in NAMES[2:]:
        shutil.rmtree(root / name)
    (root / "bear" / "bear1.png").unlink()
    probe = robustness.Probe(features, train, preprocessing=RULE)
    with pytest.warns(UserWarning, match="19 images, where 160 are published"):
        found = robustness.outlines(probe, root, kind)
    assert (found["n"], found["n_outside"], found["answered_among"]) == (9, 10, ["bear", "cat"])
    assert found["reference"] == "none: an accuracy, whose chance is 50 %"
    with pytest.raises(ValueError, match=r"kind must be .*, got 'dots'"):
        robustness.outlines(net, root, "dots")


def unpacked(name: str, root: Path, folder: str = "") -> Path:
    """The data of that name beside the checkout, or a folder of it; without it the test does not run."""
    with tarfile.open(shared(f"data/{name}.tar")) as file:
        file.extractall(root / name, [member for member in file if member.name.startswith(folder)])
    return root / name / folder


def test_the_features_of_a_style_network_go_by_texture(tmp_path):
    root, known = unpacked("cue_conflict_96", tmp_path), unpacked("tiny_imagenet_40", tmp_path, "val")
    model, rule = Stylizer("lite").encode, Preprocessing(64, normalize=None, channels_last=True)
    probe = robustness.Probe(model, extract(model, known, preprocessing=rule), c=100.0, preprocessing=rule)
    found = robustness.cue_conflict(probe, root)
    assert (found["n"], found["n_without_conflict"], found["n_outside"], found["ways"]) == (450, 50, 0, 11)
    # By chance 9 % of those without a conflict are right, and half of those that decide go by shape.
    assert found["accuracy_without_conflict"] > 20
    assert found["interval"][1] < 45

"""Other sets of ImageNet's classes on small images in their layouts; all sets at once, and in one command."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sassl
from conftest import ROOT
from PIL import Image
from sassl import cli
from sassl.cli import main
from sassl.evaluation import Features, Preprocessing, extract, robustness
from sassl.evaluation.imagenet import IMAGENET_R, WNIDS
from sassl.evaluation.robustness import table
from test_corruptions import arrays, small
from test_robustness import RULE, features, save, seeing


def classes(root: Path, told: dict[str, list[int]]) -> Path:
    """An image for each number that is told, in folders of these names."""
    for name, numbers in told.items():
        for i, number in enumerate(numbers):
            save(root / name / f"{i}.png", number)
    return root


def judge(columns: list[int]) -> robustness.Classifier:
    """A network that answers the class whose number stands at the place that an image tells."""
    return robustness.Classifier(seeing([*columns, *range(64 - len(columns))]), preprocessing=RULE)


@small
def test_imagenet_v2_is_read_by_its_numbers(tmp_path):
    numbers = [0, 1, 2, 10, 100, 999]
    root = classes(tmp_path / "imagenetv2-matched-frequency-format-val", {str(n): [i] for i, n in enumerate(numbers)})
    found = robustness.imagenet_v2(judge(numbers), root)
    assert (found["top1"], found["variant"], found["n"], found["ways"]) == (100, "matched-frequency", 6, 1000)
    assert list(found["classes"]) == [WNIDS[n] for n in numbers]
    # By the order of text, 10 were class 2: a network that answers so is right where the orders agree.
    by_text = [sorted(map(str, numbers)).index(str(n)) for n in numbers]
    assert robustness.imagenet_v2(judge(by_text), root)["top1"] == pytest.approx(100 * 2 / 6)
    # A head that knows the names, in another order.
    train = Features(
        np.eye(64, dtype=np.float32)[[0, 1, 2, 3, 4, 5] * 2], [5, 4, 3, 2, 1, 0] * 2, [WNIDS[n] for n in numbers[::-1]]
    )
    found = robustness.imagenet_v2(robustness.Probe(features, train, preprocessing=RULE), root)
    assert (found["top1"], found["ways"], found["head"]) == (100, 6, "logistic regression")
    root = root.rename(tmp_path / "v2")
    assert robustness.imagenet_v2(judge(numbers), root)["variant"] is None
    for name in ("1000", "n01440764", "-1"):
        classes(root, {name: [0]})
        with pytest.raises(
            ValueError, match=f"the folder '{name}' is not one of ImageNet-V2's, which are class indices"
        ):
            robustness.imagenet_v2(judge(numbers), root)
        shutil.rmtree(root / name)
    classes(root, {"01": [0]})
    with pytest.raises(ValueError, match="two folders of one number"):
        robustness.imagenet_v2(judge(numbers), root)


@small
def test_imagenet_r_is_answered_among_its_classes(tmp_path):
    first, second = IMAGENET_R[:2]
    # Classes 1 and 2 are of ImageNet-R, 0 is not. A network that sees 1 has 0 before it.
    root = classes(tmp_path / "imagenet-r", {first: [0, 0, 1], second: [1]})
    clean = classes(tmp_path / "val", {first: [0, 0], second: [1, 1], WNIDS[0]: [2, 2]})

    def scores(batch: np.ndarray) -> np.ndarray:
        found = seeing([1, 2, *range(62)])(batch)
        found[:, 0] = 20
        return found

    net = robustness.Classifier(scores, preprocessing=RULE)
    found = robustness.imagenet_r(net, root, imagenet=clean)
    assert (found["top1"], found["ways"], found["n"], found["published_n"]) == (75, 200, 4, 30_000)
    assert found["mean_per_class"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert found["classes"] == {first: {"n": 3, "right": 2}, second: {"n": 1, "right": 1}}
    assert (found["imagenet_top1"], found["gap"]) == (100, 25)
    assert "gap" not in robustness.imagenet_r(net, root)
    # The same images are wrong where all classes may be answered.
    assert robustness.imagenet_sketch(net, root)["top1"] == 0
    rows = np.eye(64, dtype=np.float32)[[0, 1, 0, 0, 0] * 2]
    probe = robustness.Probe(
        features, Features(rows, [1, 2, 0, 0, 0] * 2, [WNIDS[0], first, second]), preprocessing=RULE
    )
    assert robustness.imagenet_r(probe, root)["top1"] == 75
    assert robustness.imagenet_r(probe, root)["ways"] == 2
    assert robustness.imagenet_sketch(probe, root)["top1"] == 25
    probe = robustness.Probe(features, Features(rows, [0, 3] * 5, [WNIDS[0], first, second, "a"]), preprocessing=RULE)
    with pytest.raises(
        ValueError, match=f"train must have images of the classes that may be answered, such as {first}"
    ):
        robustness.imagenet_r(probe, root)
    classes(root, {WNIDS[0]: [0]})
    with pytest.raises(ValueError, match="'n01440764' is not one of ImageNet-R's 200 classes"):
        robustness.imagenet_r(net, root)
    shutil.rmtree(root / WNIDS[0])
    with pytest.raises(ValueError, match="no image of the classes of"):
        robustness.imagenet_r(net, root, imagenet=classes(tmp_path / "one", {WNIDS[0]: [0]}))


@small
@pytest.mark.parametrize(
    ("measure", "title", "published"),
    [
        (robustness.imagenet_sketch, "ImageNet-Sketch", 50_889),
        (robustness.stylized_imagenet, "Stylized-ImageNet", 50_000),
    ],
)
def test_sets_in_imagenets_folders(tmp_path, measure, title, published):
    root = classes(tmp_path / "sketch", {WNIDS[5]: [0, 0, 0, 1], WNIDS[7]: [1], WNIDS[900]: [2]})
    found = measure(judge([5, 7, 900]), root)
    assert (found["set"], found["n"], found["published_n"], found["ways"]) == (title, 6, published, 1000)
    assert found["top1"] == pytest.approx(100 * 5 / 6)
    assert found["mean_per_class"] == pytest.approx(100 * (0.75 + 1 + 1) / 3)
    # Equal scores go by number: where 7 is answered, the five are 7 and 0 to 3, without 5.
    assert found["top5"] == found["top1"]
    draws = np.random.default_rng(0).binomial(6, 5 / 6, 1000) / 6
    assert found["interval"] == pytest.approx(100 * np.quantile(draws, (0.025, 0.975)))
    with pytest.warns(UserWarning, match=f"6 images, where {published:,} are published"):
        measure(judge([5, 7, 900]), root)
    (root / WNIDS[7] / "1.jpg").write_bytes(b"no image")
    lenient = judge([5, 7, 900])
    lenient.on_error = "report"
    found = measure(lenient, root)
    assert (found["n"], found["n_left_out"], list(found["left_out"])) == (6, 1, [f"{WNIDS[7]}/1.jpg"])
    with pytest.raises(ValueError, match=r"1\.jpg"):
        measure(judge([5, 7, 900]), root)
    classes(root, {"10": [0]})
    with pytest.raises(
        ValueError,
        match="the folder '10' is not one of ImageNet's, such as n01440764; class indices as folder names are",
    ):
        measure(judge([5]), root)


#: A cat and a bear, of which ImageNet-R has none; and two classes that it has.
TRAINED = ["n02123045", "n02132136", *IMAGENET_R[:2]]


def all_sets(root: Path) -> Path:
    """Each set in the layout and the folder of its authors, and a folder that is none."""
    for shape in ("bear", "cat"):
        for texture in ("bear", "cat"):
            save(root / "style-transfer-preprocessed-512" / shape / f"{shape}1-{texture}1.png", 0)
    for name in ("edges", "filled-silhouettes"):
        classes(root / name, {"bear": [1, 0], "cat": [0]})
    classes(root / "imagenet-r", {TRAINED[2]: [2]})
    classes(root / "sketch", {TRAINED[3]: [3, 0]})
    classes(root / "imagenetv2-threshold0.7-format-val", {str(WNIDS.index(TRAINED[1])): [1]})
    classes(root / "imagenetv2-top-images-format-val", {str(WNIDS.index(TRAINED[1])): [1]})
    classes(root / "stylized-imagenet", {TRAINED[0]: [0]})
    classes(root / "others", {TRAINED[0]: [0]})
    return root


@small
def test_all_sets_are_found_by_their_folders(tmp_path):
    root = all_sets(tmp_path / "sets")
    for name in ("ImageNet-C", "Tiny-ImageNet-C"):
        for corruption in robustness.CORRUPTIONS:
            for severity in "12345":
                classes(root / name / corruption / severity, {TRAINED[0]: [0]})
    arrays(root / "CIFAR-10-C")
    train = Features(np.eye(64, dtype=np.float32)[[0, 1, 2, 3] * 4], [0, 1, 2, 3] * 4, TRAINED)
    probe = robustness.Probe(features, train, preprocessing=RULE)
    # CIFAR's classes are others.
    rows = Features(np.eye(64, dtype=np.float32)[[0, 1, 2, 3, 4] * 4], [0, 1, 2, 3, 4] * 4)
    numbers = robustness.Probe(features, rows, preprocessing=RULE)
    found = [
        (name, table.SETS[name].measure(numbers if name == "cifar-c" else probe, folder))
        for name, folder in table.find(root)
    ]
    for name, result in found:
        # What every result tells beside its number.
        assert result.keys() >= {
            "set",
            "split",
            "n",
            "ways",
            "c",
            "train_n",
            "interval",
            "n_left_out",
            table.SETS[name].told,
        }
        low, high = result["interval"]
        assert low <= result[table.SETS[name].told] <= high
        assert name == "cue-conflict" or (result["top5"] is None) == (result["ways"] < 5)
    found = [(name, result[table.SETS[name].told]) for name, result in found]
    assert found == [
        *(("cue-conflict", 50), ("edges", pytest.approx(200 / 3)), ("silhouettes", pytest.approx(200 / 3))),
        *(("imagenet-c", 0), ("tiny-imagenet-c", 0), ("cifar-c", 30)),
        *(("imagenet-r", 100), ("imagenet-sketch", 50), ("imagenet-v2", 100), ("imagenet-v2", 100)),
        ("stylized-imagenet", 100),
    ]
    assert {name for name, _ in found} == set(table.SETS)
    with pytest.raises(ValueError, match="has no folder of a robustness set; its name must begin with cue-conflict"):
        table.find(root / "others")


@small
@pytest.mark.parametrize(
    ("measure", "name", "crops"),
    [
        (robustness.cue_conflict, "bear/bear1-cat1.jpg", False),
        (partial(robustness.outlines, kind="edges"), "bear/bear1.jpg", False),
        (partial(robustness.imagenet_c, corruptions=["fog"]), f"fog/{{}}/{WNIDS[0]}/1.JPEG", False),
        (robustness.imagenet_r, f"{IMAGENET_R[0]}/1.jpg", True),
        (robustness.imagenet_sketch, f"{WNIDS[0]}/1.JPEG", True),
        (robustness.imagenet_v2, "0/1.jpeg", True),
    ],
)
def test_images_are_taken_as_their_authors_take_them(tmp_path, measure, name, crops):
    exif = Image.Exif()
    exif[0x0112] = 6
    paths = [tmp_path / name.format(severity) for severity in range(1, 6 if "{}" in name else 2)]
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=95, exif=exif)
    taken = []

    def net(batch: np.ndarray) -> np.ndarray:
        taken.extend(batch)
        return np.zeros((len(batch), 1000), np.float32)

    rule = Preprocessing(24, resize=30, normalize=None)
    measure(robustness.Classifier(net, preprocessing=rule), tmp_path)
    with Image.open(paths[0]) as stored:
        expected = np.asarray(stored.resize((30, 30), Image.BILINEAR))[3:27, 3:27] if crops else np.asarray(stored)
    assert len(taken) == len(paths)
    assert np.array_equal(np.rint(taken[-1] * 255).transpose(1, 2, 0), expected)


@small
def test_sets_in_one_command(tmp_path, capsys):
    train = classes(tmp_path / "train", {name: [i] * 4 for i, name in enumerate(TRAINED)})
    data = all_sets(tmp_path / "sets")
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
    model.save(tmp_path / "model.safetensors")
    out = tmp_path / "results.jsonl"
    call = ["eval", "robustness", str(tmp_path / "model.safetensors"), "--data", str(data), "--train", str(train)]
    call += ["--c", "100", "--out", str(out)]
    assert main(call) == 0
    told = capsys.readouterr().out
    results = {row["folder"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert [row["set"] for row in results.values()] == [
        *("cue-conflict", "edges", "silhouettes", "ImageNet-R", "ImageNet-Sketch"),
        *("ImageNet-V2", "ImageNet-V2", "Stylized-ImageNet"),
    ]
    edges = str(data / "edges")
    assert f"{edges}: top1 {results[edges]['top1']:.1f} %" in told
    probe = robustness.Probe(model, extract(model, train), c=100.0)
    expected = robustness.outlines(probe, edges, "edges")
    told, expected = results[edges], json.loads(json.dumps(expected))
    assert {
        **expected,
        "model": call[2],
        "arch": "resnet18",
        "folder": edges,
        "weights": told["weights"],
        "pretraining_seed": 0,
        "preprocessing": Preprocessing.of(model).describe(),
    } == told
    # Some of them, with an image that cannot be read.
    (data / "edges" / "bear" / "0.png").write_bytes(b"no image")
    assert main([*call, "--sets", "edges"]) == 1
    assert "0.png" in capsys.readouterr().err
    assert main([*call, "--sets", "edges", "--on-error", "report"]) == 0
    assert f"{edges}: 1 images could not be read and are left out; they are listed in {out}" in capsys.readouterr().err
    (row,) = map(json.loads, out.read_text().splitlines())
    assert list(row["left_out"]) == ["bear/0.png"]
    assert main([*call, "--sets", "cifar-c"]) == 1
    assert f"{data}: there is no folder of cifar-c" in capsys.readouterr().err


def test_the_page_names_what_is_there():
    page = (ROOT / "docs" / "robustness.md").read_text()
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert set(named) >= {getattr(row.measure, "func", row.measure).__name__ for row in table.SETS.values()}
    assert all(callable(getattr(robustness, name)) for name in named)
    for line in re.findall(r"^sassl (.*)", page, re.MULTILINE):
        cli.parser(line.split()[0]).parse_args(line.split())

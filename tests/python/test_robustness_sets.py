"""Errors on corrupted images and on other sets of ImageNet's classes, on small images in each published layout."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import sassl
from conftest import ROOT
from sassl import cli
from sassl.cli import main
from sassl.evaluation import Features, Preprocessing, extract, robustness
from sassl.evaluation.imagenet import IMAGENET_R, WNIDS
from sassl.evaluation.robustness import table
from test_robustness import RULE, features, save, seeing


def test_alexnet_is_100_by_itself():
    alexnet = robustness.ALEXNET
    found = robustness.corruption_error(alexnet.errors, clean=alexnet.clean)
    assert found["mce"] == pytest.approx(100)
    assert found["relative_mce"] == pytest.approx(100)
    assert [one["ce"] for one in found["corruptions"].values()] == pytest.approx([100] * 15)
    # hendrycks/robustness#10 gives these means too.
    assert found["mean_error"] == pytest.approx(78.8993, abs=5e-5)
    means = {name: one["error"] for name, one in found["corruptions"].items()}
    assert (means["gaussian_noise"], means["elastic_transform"], means["jpeg_compression"]) == pytest.approx(
        (88.6428, 64.6056, 60.65)
    )
    assert np.mean([row[0] for row in robustness.AUGMAX_RESNET18.errors.values()]) == pytest.approx(76.0947, abs=5e-5)


def test_corruption_errors_are_those_of_plain_sums():
    rng = np.random.default_rng(0)
    errors = {name: rng.uniform(10, 100, 5) for name in robustness.CORRUPTIONS}
    extra = {name: [100.0] * 5 for name in robustness.EXTRA}
    theirs = np.array([robustness.ALEXNET.errors[name] for name in errors])
    ours = np.array(list(errors.values()))
    found = robustness.corruption_error(errors | extra, clean=25.0)
    assert found["mce"] == pytest.approx(100 * (ours.sum(1) / theirs.sum(1)).mean(), rel=1e-12)
    relative = (ours - 25).sum(1) / (theirs - 43.478).sum(1)
    assert found["relative_mce"] == pytest.approx(100 * relative.mean(), rel=1e-12)
    assert found["mean_error"] == pytest.approx(ours.mean(), rel=1e-12)
    assert found["corruptions"]["spatter"] == {"errors": [100.0] * 5, "error": 100.0}
    plain = robustness.corruption_error(errors, None)
    assert (plain["mce"], plain["reference"], plain["relative_mce"]) == (None, "none: a mean of errors", None)
    assert plain["mean_error"] == found["mean_error"]
    # A part has no mean.
    part = robustness.corruption_error({"fog": errors["fog"]})
    assert part["mce"] is part["mean_error"] is None
    assert part["corruptions"]["fog"]["ce"] == found["corruptions"]["fog"]["ce"]
    for wrong, message in (
        ({"rain": errors["fog"]}, "errors = 'rain': expected names of gaussian_noise"),
        ({"fog": errors["fog"][:4]}, r"errors\['fog'\] = .*: expected 5 numbers in per cent"),
        ({"fog": [101.0] * 5}, r"errors\['fog'\] = .*: expected 5 numbers in per cent"),
    ):
        with pytest.raises(ValueError, match=message):
            robustness.corruption_error(wrong)


#: Two of ImageNet's classes.
FISH = WNIDS[:2]
small = pytest.mark.filterwarnings("ignore:.* images, where .* are published:UserWarning")


def corrupted(root: Path, names: list[str], grouped: bool = True) -> Path:
    """For each severity two images of each of two classes; at severity s, s // 2 of the four are told as the other class."""
    groups = {name: group for group, held in robustness.references.GROUPS.items() for name in held}
    for name in names:
        for severity in range(1, 6):
            folder = (root / groups.get(name, "extra") if grouped else root) / name / str(severity)
            for i in range(4):
                save(folder / FISH[i % 2] / f"ILSVRC2012_val_{i:08}.png", (i % 2) ^ (i < severity // 2))
    return root


@small
@pytest.mark.parametrize("grouped", [True, False])
def test_imagenet_c(tmp_path, grouped):
    names = [*robustness.CORRUPTIONS, "spatter"] if grouped else list(robustness.CORRUPTIONS)
    root = corrupted(tmp_path / "imagenet-c", names, grouped)
    judge = robustness.Classifier(seeing(list(range(64))), preprocessing=RULE)
    found = robustness.imagenet_c(judge, root, clean=10.0)
    assert list(found["corruptions"]) == names
    assert all(one["errors"] == [0, 25, 25, 50, 50] for one in found["corruptions"].values())
    means = [sum(robustness.ALEXNET.errors[name]) for name in robustness.CORRUPTIONS]
    assert found["mce"] == pytest.approx(np.mean([100 * 150 / mean for mean in means]))
    assert (found["n"], found["published_n"], found["mean_error"], found["clean_error"]) == (4, 50_000, 30, 10)
    assert found["reference"] == "AlexNet (hendrycks/robustness#10)"
    part = robustness.imagenet_c(judge, root, corruptions=["fog", "snow"])
    assert (part["mce"], list(part["corruptions"])) == (None, ["fog", "snow"])
    # A head that is fitted gives the same errors here.
    train = Features(np.eye(64, dtype=np.float32)[[0, 1] * 4], [0, 1] * 4, list(FISH))
    probe = robustness.Probe(features, train, preprocessing=RULE)
    assert robustness.imagenet_c(probe, root)["mce"] == found["mce"]
    tiny = robustness.tiny_imagenet_c(probe, root)
    assert (tiny["set"], tiny["published_n"]) == ("Tiny-ImageNet-C", 10_000)
    assert tiny["reference"].startswith("ResNet-18 of AugMax, not of the set's authors")
    assert tiny["corruptions"]["pixelate"]["ce"] == pytest.approx(100 * 30 / 61.21)


@small
def test_what_is_wrong_with_imagenet_c_is_said(tmp_path):
    root = corrupted(tmp_path, ["fog", "snow"])
    judge = robustness.Classifier(seeing(list(range(64))), preprocessing=RULE)
    with pytest.raises(
        FileNotFoundError, match=r"there is no gaussian_noise, .*; expected gaussian_noise/1 to gaussian_noise/5"
    ):
        robustness.imagenet_c(judge, root)
    with pytest.raises(ValueError, match=r"corruptions = \['rain'\]: expected some of gaussian_noise"):
        robustness.imagenet_c(judge, root, corruptions=["rain"])
    other = robustness.Classifier(features, [f"class {i}" for i in range(64)], preprocessing=RULE)
    with pytest.raises(ValueError, match="class 'n01440764': not among the training images' class 0, class 1"):
        robustness.imagenet_c(other, root, corruptions=["snow"])
    with pytest.warns(UserWarning, match=r"4 images, where 50,000 are published"):
        robustness.imagenet_c(judge, root, corruptions=["fog"])
    broken = root / "weather" / "snow" / "4" / FISH[0] / "ILSVRC2012_val_00000000.png"
    broken.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"ILSVRC2012_val_00000000\.png"):
        robustness.imagenet_c(judge, root, corruptions=["snow"])
    judge.on_error = "report"
    found = robustness.imagenet_c(judge, root, corruptions=["snow"])
    assert list(found["left_out"]) == [f"snow/4/{FISH[0]}/ILSVRC2012_val_00000000.png"]
    assert found["corruptions"]["snow"]["errors"] == pytest.approx([0, 25, 25, 100 / 3, 50])
    broken.unlink()
    with pytest.raises(ValueError, match=r"snow/4: 3 images, where .*snow/1 has 4; it is not whole"):
        robustness.imagenet_c(judge, root, corruptions=["snow"])
    shutil.rmtree(root / "weather" / "fog" / "3")
    with pytest.raises(FileNotFoundError, match=r"fog: severity 3 is missing; ImageNet-C has 1 to 5"):
        robustness.imagenet_c(judge, root, corruptions=["fog"])


def arrays(root: Path) -> Path:
    """CIFAR-C's files with four images for each severity; at severity s, s // 2 of them are told as another class."""
    root.mkdir()
    labels = np.array([3, 1, 2, 0] * 5)
    told = np.concatenate([labels[:4] + (np.arange(4) < severity // 2) for severity in range(1, 6)])
    images = np.full((20, 32, 32, 3), 90, np.uint8)
    images[..., 0] = 4 * told[:, None, None]
    for name in robustness.CORRUPTIONS:
        np.save(root / f"{name}.npy", images)
    np.save(root / "labels.npy", labels)
    return root


@small
def test_cifar_c(tmp_path):
    root = arrays(tmp_path / "CIFAR-10-C")
    rule = Preprocessing(32, normalize=None)
    judge = robustness.Classifier(lambda batch: features(batch)[:, :10], None, preprocessing=rule)
    found = robustness.cifar_c(judge, root)
    assert all(one["errors"] == [0, 25, 25, 50, 50] for one in found["corruptions"].values())
    assert (found["mean_error"], found["mce"], found["reference"]) == (30, None, "none: a mean of errors")
    assert (found["n"], found["published_n"]) == (4, 10_000)
    train = Features(np.eye(64, dtype=np.float32)[[0, 1, 2, 3, 4] * 4], [0, 1, 2, 3, 4] * 4)
    assert robustness.cifar_c(robustness.Probe(features, train, preprocessing=rule), root)["mean_error"] == 30
    # A head that knows names, in another order.
    names = ["dog", "cat", "bird", "automobile", "airplane", "deer", "ship", "frog", "truck", "horse"]
    named = Features(train.features, [4, 3, 2, 1, 5] * 4, names)
    assert robustness.cifar_c(robustness.Probe(features, named, preprocessing=rule), root)["mean_error"] == 30
    with pytest.raises(ValueError, match=r"classes = .*: expected a name for each of 4 labels"):
        robustness.cifar_c(robustness.Probe(features, named, preprocessing=rule), root, classes=["cat"])
    np.save(root / "fog.npy", np.zeros((20, 32, 32), np.uint8))
    with pytest.raises(ValueError, match=r"fog\.npy: expected 4 axes of uint8, got uint8 of shape \(20, 32, 32\)"):
        robustness.cifar_c(judge, root)
    np.save(root / "fog.npy", np.zeros((16, 32, 32, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"fog\.npy: expected \(20, H, W, 3\), one for each label, got \(16, 32, 32, 3\)"
    ):
        robustness.cifar_c(judge, root)
    (root / "fog.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no fog; expected fog\.npy; for a part"):
        robustness.cifar_c(judge, root)
    for labels in (np.arange(20), np.zeros(7, int)):
        np.save(root / "labels.npy", labels)
        with pytest.raises(ValueError, match=r"labels\.npy: expected the same classes for each of 5 severities"):
            robustness.cifar_c(judge, root)


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
        with pytest.raises(ValueError, match=f"the folder '{name}' is none of ImageNet-V2's, which are numbers"):
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
    classes(root, {WNIDS[0]: [0]})
    with pytest.raises(ValueError, match="'n01440764' is none of ImageNet-R's 200 classes"):
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
        ValueError, match="the folder '10' is none of ImageNet's, such as n01440764; numbers are ImageNet-V2's"
    ):
        measure(judge([5]), root)


#: A cat and a bear, of which ImageNet-R has none; and two classes that it has.
TRAINED = ["n02123045", "n02132136", *IMAGENET_R[:2]]
few = pytest.mark.filterwarnings("ignore:.*images, where 160 are published:UserWarning")


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
@few
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
        (name, row.measure(numbers if name == "cifar-c" else probe, folder)[row.told])
        for name, folder in table.find(root)
        for row in [table.SETS[name]]
    ]
    assert found == [
        *(("cue-conflict", 50), ("edges", pytest.approx(200 / 3)), ("silhouettes", pytest.approx(200 / 3))),
        *(("imagenet-c", 0), ("tiny-imagenet-c", 0), ("cifar-c", 30)),
        *(("imagenet-r", 100), ("imagenet-sketch", 50), ("imagenet-v2", 100), ("imagenet-v2", 100)),
        ("stylized-imagenet", 100),
    ]
    assert {name for name, _ in found} == set(table.SETS)
    with pytest.raises(ValueError, match="no folder of a robustness set; expected names that begin with cue-conflict"):
        table.find(root / "others")


@small
@few
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
    assert {**expected, "checkpoint": call[2], "folder": edges} == results[edges]
    # Some of them, with an image that cannot be read.
    (data / "edges" / "bear" / "0.png").write_bytes(b"no image")
    assert main([*call, "--sets", "edges"]) == 1
    assert "0.png" in capsys.readouterr().err
    assert main([*call, "--sets", "edges", "--on-error", "report"]) == 0
    assert f"{edges}: 1 images could not be read and are left out; {out} names them" in capsys.readouterr().err
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

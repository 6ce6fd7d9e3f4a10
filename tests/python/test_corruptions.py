"""Errors on corrupted images: against published numbers, and on small images in each published layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sassl.evaluation import Features, Preprocessing, logistic, robustness
from sassl.evaluation.imagenet import WNIDS
from sassl.evaluation.robustness import corruptions
from sassl.evaluation.robustness.cifar import CIFAR100
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
        ({"rain": errors["fog"]}, "names of errors must be among gaussian_noise, .*, got 'rain'"),
        ({"fog": errors["fog"][:4]}, r"errors\['fog'\] must be 5 percentages, from severity 1 to 5, got"),
        ({"fog": [101.0] * 5}, r"errors\['fog'\] must be 5 percentages, from severity 1 to 5, got"),
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
def test_imagenet_c(tmp_path, grouped, monkeypatch):
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
    fitted, fit = [], logistic.fit
    monkeypatch.setattr(logistic, "fit", lambda *given: fitted.append(given) or fit(*given))
    assert robustness.imagenet_c(probe, root)["mce"] == found["mce"]
    # One head for all folders.
    assert len(fitted) == 1
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
    with pytest.raises(ValueError, match=r"corruptions must be some of gaussian_noise, .*, got \['rain'\]"):
        robustness.imagenet_c(judge, root, corruptions=["rain"])
    other = robustness.Classifier(features, [f"class {i}" for i in range(64)], preprocessing=RULE)
    with pytest.raises(ValueError, match="class 'n01440764' is not among the training classes class 0, class 1"):
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
    with pytest.raises(ValueError, match=r"snow/4: has 3 images, but .*snow/1 has 4; it is incomplete"):
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
    with pytest.raises(ValueError, match=r"classes must be a name for each of 4 labels, .*, got"):
        robustness.cifar_c(robustness.Probe(features, named, preprocessing=rule), root, classes=["cat"])
    # Labels from 10 up are CIFAR-100's.
    labels = np.load(root / "labels.npy")
    np.save(root / "labels.npy", labels + 12)
    fine = Features(train.features, np.array([0, 1, 2, 3, 4] * 4) + 12, CIFAR100)
    found = robustness.cifar_c(robustness.Probe(features, fine, preprocessing=rule), root)
    assert (found["variant"], found["mean_error"]) == ("CIFAR-100-C", 30)
    np.save(root / "labels.npy", labels)
    np.save(root / "fog.npy", np.zeros((20, 32, 32), np.uint8))
    with pytest.raises(ValueError, match=r"fog\.npy: must have 4 axes of uint8, got uint8 of shape \(20, 32, 32\)"):
        robustness.cifar_c(judge, root)
    np.save(root / "fog.npy", np.zeros((16, 32, 32, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"fog\.npy: must have shape \(20, H, W, 3\), one image for each label, got \(16, 32, 32, 3\)"
    ):
        robustness.cifar_c(judge, root)
    (root / "fog.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no fog; expected fog\.npy; for a part"):
        robustness.cifar_c(judge, root)
    for labels in (np.arange(20), np.zeros(7, int)):
        np.save(root / "labels.npy", labels)
        with pytest.raises(ValueError, match=r"labels\.npy: must hold the same classes for each of 5 severities"):
            robustness.cifar_c(judge, root)


@small
@pytest.mark.parametrize("reference", [True, False])
def test_the_interval_draws_images_with_all_of_their_corruptions(reference, monkeypatch):
    """Against the arithmetic of `corruption_error` on each draw of images."""
    monkeypatch.setattr(corruptions, "_DRAWS", 100)
    rng = np.random.default_rng(1)
    keys = [(name, severity) for name in robustness.CORRUPTIONS for severity in range(1, 6)]
    right = dict(zip(keys, rng.random((75, 6)) < 0.6, strict=True))
    # Image 2 of one set could not be read.
    kept = {key: [0, 1, 3, 4, 5] if key == ("fog", 3) else [*range(6)] for key in keys}
    answers = {
        key: robustness.Answers(
            np.where(right[key], 1, 0)[kept[key]][:, None],
            np.ones(len(kept[key]), int),
            None,
            [*map(str, kept[key])],
            {},
            2,
        )
        for key in keys
    }
    low, high = corruptions._interval(answers, robustness.ALEXNET if reference else None)
    draws, found = np.random.default_rng(0), []
    for _ in range(100):
        drawn = draws.integers(6, size=6)
        errors = {name: [] for name in robustness.CORRUPTIONS}
        for name, severity in keys:
            rows = [i for i in drawn if i in kept[name, severity]]
            errors[name].append(100 * np.mean(~right[name, severity][rows]) if rows else np.nan)
        if np.isfinite(np.array([*errors.values()])).all():
            result = robustness.corruption_error(errors, robustness.ALEXNET if reference else None)
            found.append(result["mce" if reference else "mean_error"])
    assert (low, high) == pytest.approx(tuple(np.quantile(found, (0.025, 0.975))), rel=1e-5)


@small
def test_accuracies_over_corruptions(tmp_path):
    root = arrays(tmp_path / "CIFAR-10-C")
    judge = robustness.Classifier(
        lambda batch: features(batch)[:, :10], None, preprocessing=Preprocessing(32, normalize=None)
    )
    found = robustness.cifar_c(judge, root)
    # Where another class is answered, classes 0 to 3 are still among the first five: equal scores go by number.
    assert (found["top1"], found["top5"], found["ways"], found["variant"]) == (70, 100, 10, "CIFAR-10-C")
    low, high = found["interval"]
    assert low < 30 < high
    part = robustness.cifar_c(judge, root, corruptions=["fog"])
    assert part["interval"] is part["top1"] is part["top5"] is None
    four = robustness.Classifier(
        lambda batch: features(batch)[:, :4], None, preprocessing=Preprocessing(32, normalize=None)
    )
    assert robustness.cifar_c(four, root)["top5"] is None

"""Errors on corrupted images (Hendrycks and Dietterich 2019, arXiv 1903.12261, section 4.1).

    CE_c = sum_s E_{s,c} / sum_s E^ref_{s,c}        mCE = mean of CE_c over 15 corruptions c

E_{s,c} is the error at severity s, and E^ref_{s,c} the error of a reference network. Dividing by the reference makes
corruptions of different difficulty count alike.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ...arguments import number, wrong
from ...data import Arrays, ImageFolder, Images
from ...data.base import File
from .. import metrics
from .cifar import CIFAR10, CIFAR100
from .heads import Answers, Judge
from .references import ALEXNET, AUGMAX_RESNET18, CORRUPTIONS, EXTRA, GROUPS, Reference
from .sets import counted, lost

SEVERITIES = range(1, 6)
#: Number of bootstrap draws, and number of draws that are computed at a time.
_DRAWS, _AT_ONCE = 1000, 50


def corruption_error(
    errors: Mapping[str, Sequence[float]], reference: Reference | None = ALEXNET, *, clean: float | None = None
) -> dict[str, Any]:
    """Return the mean corruption error, in per cent.

    Args:
        errors: for each corruption, the errors in per cent at severities 1 to 5. Means are over the 15 corruptions of the mCE.
        reference: errors to divide by, such as `ALEXNET` for ImageNet-C; None: there is no mCE.
        clean: the error on uncorrupted images in per cent, for the relative mCE; None: unknown.

    Returns:
        A dict. Means are None unless all 15 corruptions are given:

        - "mean_error": the plain mean over the 15.
        - "mce": the mean corruption error; None without a reference.
        - "relative_mce": the increase in error due to corruptions, relative to the increase for the reference. It is None
          unless both clean errors are known.
        - "clean_error": the given `clean`.
        - "corruptions": for each corruption a dict with its "errors", their mean as "error", and the corruption error as "ce".
        - "reference": the name of the reference.

    Raises:
        ValueError: a corruption without 5 errors in [0, 100]; an unknown corruption.
    """
    each: dict[str, dict[str, Any]] = {}
    relative = []
    for name, at in errors.items():
        if name not in CORRUPTIONS + EXTRA:
            raise ValueError(f"names of errors must be among {', '.join(CORRUPTIONS + EXTRA)}, got {name!r}")
        found = [number(f"errors[{name!r}]", one) for one in at]
        if len(found) != len(SEVERITIES) or not all(0 <= one <= 100 for one in found):
            raise wrong(f"errors[{name!r}]", at, "5 percentages, from severity 1 to 5")
        mean = sum(found) / len(found)
        each[name] = {"errors": found, "error": mean}
        if reference is not None and name in reference.errors:
            theirs = sum(reference.errors[name]) / len(reference.errors[name])
            each[name]["ce"] = 100 * mean / theirs
            if clean is not None and reference.clean is not None:
                relative.append(100 * (mean - number("clean", clean)) / (theirs - reference.clean))
    complete = all(name in each for name in CORRUPTIONS)

    def average(key: str) -> float | None:
        return sum(each[name][key] for name in CORRUPTIONS) / len(CORRUPTIONS) if complete else None

    return {
        "mean_error": average("error"),
        "mce": None if reference is None else average("ce"),
        "relative_mce": sum(relative) / len(relative) if complete and relative else None,
        "clean_error": clean,
        "corruptions": each,
        "reference": "none: a mean of errors" if reference is None else reference.name,
    }


def imagenet_c(
    judge: Judge, root: File, *, corruptions: Sequence[str] | None = None, clean: float | None = None
) -> dict[str, Any]:
    """Measure the errors on ImageNet-C, without a centre crop, and the mCE relative to AlexNet.

    Args:
        judge: a `Classifier` or a `Probe`.
        root: the folder, with `noise/gaussian_noise/1/n01440764/*.JPEG` or `gaussian_noise/1/...` and so on.
        corruptions: corruptions to measure; None: the 15 of the mCE, and any of the four extra corruptions that are in the
            folder.
        clean: the error on ImageNet's own validation images, in per cent, for the relative mCE.

    Returns:
        The result of `corruption_error`, and the entries below. Means are None unless all 15 corruptions are measured:

        - "interval": the 95 % bootstrap interval, over images, of the "mce" or, without a reference, the "mean_error". An
          image is drawn with all of its corruptions.
        - "top1", "top5": the mean accuracies over the 15 corruptions; "top5" is None with fewer than five possible answers.
        - "split": the name of the split.
        - "n": the number of images at each severity.
        - "ways": the number of possible answers.
        - a description of the head.
        - "n_left_out", "left_out": images that could not be read.

    Raises:
        OSError, ValueError: a missing corruption or severity; corruptions or severities with different numbers of images; an
            image that cannot be read; a class unknown to the head.
    """
    return _of_folders(judge, "ImageNet-C", root, corruptions, (ALEXNET, clean), 50_000)


def tiny_imagenet_c(judge: Judge, root: File, *, corruptions: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the errors on Tiny-ImageNet-C, like `imagenet_c`, with an mCE relative to AugMax's ResNet-18.

    The authors of the set published no reference. The set's images were cropped anew. Tiny-ImageNet's validation images are
    therefore not the clean versions of these images.
    """
    return _of_folders(judge, "Tiny-ImageNet-C", root, corruptions, (AUGMAX_RESNET18, None), 10_000)


def cifar_c(
    judge: Judge, root: File, *, corruptions: Sequence[str] | None = None, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Measure the errors on CIFAR-10-C or CIFAR-100-C, and their plain mean.

    The author of the sets reports the plain mean.

    Args:
        judge: a `Classifier` or a `Probe`.
        root: the folder with `labels.npy`, and with an array for each corruption, such as `gaussian_noise.npy`. Arrays are
            (50000, 32, 32, 3) uint8, in order of severity.
        corruptions: see `imagenet_c`.
        classes: class names by label; None: CIFAR-10's names if all labels are below 10, else CIFAR-100's. Classes are matched
            with those of the judge by name; if the judge has no class names, by label.

    Returns:
        The result of `imagenet_c`, with the entry "variant": "CIFAR-10-C" or "CIFAR-100-C".

    Raises:
        OSError, ValueError: a file that is missing or has other contents; a label without a name.
    """
    folder = Path(os.fsdecode(root))
    labels = _array(folder / "labels.npy", 1)
    n, left = divmod(len(labels), len(SEVERITIES))
    if left or not n or not (labels.reshape(len(SEVERITIES), n) == labels[:n]).all():
        raise ValueError(
            f"{folder / 'labels.npy'}: must hold the same classes for each of 5 severities, got {len(labels)}"
        )
    sets: dict[tuple[str, int], Images] = {}
    is_ten = labels.max() < len(CIFAR10)
    if classes is None:
        classes = CIFAR10 if is_ten else CIFAR100
    if judge.classes is not None and labels.max() >= len(classes):
        raise wrong("classes", classes, f"a name for each of {labels.max() + 1} labels, as the head has names")
    for name in _names(corruptions, [path.stem for path in folder.glob("*.npy")], folder, "{}.npy"):
        images = _array(folder / f"{name}.npy", 4)
        if images.shape != (len(labels), *images.shape[1:3], 3):
            raise ValueError(
                f"{folder / name}.npy: must have shape ({len(labels)}, H, W, 3), one image for each label, got {images.shape}"
            )
        for severity in SEVERITIES:
            rows = slice(n * (severity - 1), n * severity)
            sets[name, severity] = Arrays(images[rows], labels[rows].tolist())
            sets[name, severity].classes = None if judge.classes is None else list(classes)
    told = {"variant": "CIFAR-10-C" if is_ten else "CIFAR-100-C", "split": "test"}
    return _measured(judge, "CIFAR-C", sets, (None, None), {**told, **counted(str(folder), n, 10_000)})


def _of_folders(
    judge: Judge,
    title: str,
    root: File,
    corruptions: Sequence[str] | None,
    relative_to: tuple[Reference, float | None],
    published: int,
) -> dict[str, Any]:
    """Measure a set with a folder for each corruption and severity."""
    top = Path(os.fsdecode(root))
    places = [top, *(top / group for group in (*GROUPS, "extra"))]
    folders = {path.name: path for place in reversed(places) if place.is_dir() for path in sorted(place.iterdir())}
    sets: dict[tuple[str, int], Images] = {}
    for name in _names(corruptions, folders, top, "{}/1 to {}/5, or in a folder of its group"):
        for severity in SEVERITIES:
            folder = folders[name] / str(severity)
            if not folder.is_dir():
                raise FileNotFoundError(f"{folders[name]}: severity {severity} is missing; {title} has 1 to 5 of each")
            sets[name, severity] = ImageFolder(folder, exif=False)
    (first, *others) = sets
    for name, severity in others:
        n, least = len(sets[name, severity]), len(sets[first])
        if n != least:
            raise ValueError(
                f"{folders[name] / str(severity)}: has {n} images, but {folders[first[0]] / '1'} has {least}; it is incomplete"
            )
    told = {"split": "val", **counted(str(top), len(sets[first]), published)}
    return _measured(judge, title, sets, relative_to, told)


def _names(
    asked: Sequence[str] | None, there: Sequence[str] | Mapping[str, Path], root: Path, layout: str
) -> list[str]:
    """Return the corruptions to measure, after checking that the corruptions exist."""
    names = [*CORRUPTIONS, *(name for name in EXTRA if name in there)] if asked is None else list(asked)
    unknown = [name for name in names if name not in CORRUPTIONS + EXTRA]
    if unknown or not names:
        raise wrong("corruptions", asked, f"some of {', '.join(CORRUPTIONS + EXTRA)}")
    if missing := [name for name in names if name not in there]:
        raise FileNotFoundError(
            f"{root}: there is no {', '.join(missing)}; expected {layout.replace('{}', missing[0])}; for a part give "
            "corruptions=[...]"
        )
    return names


def _array(path: Path, axes: int) -> np.ndarray[Any, Any]:
    """Return an array of uint8 or other integers, memory-mapped from its file."""
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if found.ndim != axes or found.dtype.kind not in "iu" or (axes == 4 and found.dtype != np.uint8):
        raise ValueError(
            f"{path}: must have {axes} axes of {'uint8' if axes == 4 else 'integers'}, got {found.dtype} "
            f"of shape {found.shape}"
        )
    return found


def _measured(
    judge: Judge,
    title: str,
    sets: Mapping[tuple[str, int], Images],
    relative_to: tuple[Reference | None, float | None],
    told: Mapping[str, Any],
) -> dict[str, Any]:
    """Evaluate `sets`, one set of images for each corruption and severity, and return the combined result."""
    answers = dict(zip(sets, judge.answers(list(sets.values()), uncropped=True), strict=True))
    errors: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    top5 = []
    for (name, severity), one in answers.items():
        errors.setdefault(name, []).append(_error(one))
        left_out |= {f"{name}/{severity}/{image}": why for image, why in one.left_out.items()}
        if name in CORRUPTIONS:
            top5.append(100 * metrics.top5(one.targets, one.ranked))
    reference, clean = relative_to
    found = corruption_error(errors, reference, clean=clean)
    complete, ways = found["mean_error"] is not None, next(iter(answers.values())).ways
    return {
        "set": title,
        **told,
        "ways": ways,
        **found,
        "interval": _interval(answers, reference) if complete else None,
        "top1": 100 - found["mean_error"] if complete else None,
        "top5": fmean(top5) if complete and ways >= 5 else None,
        **judge.describe(),
        **lost(left_out),
    }


def _interval(answers: Mapping[tuple[str, int], Answers], reference: Reference | None) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval, over images, of the mCE or, without a reference, the mean error.

    An image is drawn with all of its corruptions. A draw is ignored if it has no image for some corruption and severity,
    because images could not be read. The result is None if all draws are ignored.
    """
    keys = [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    places = {name: i for i, name in enumerate(dict.fromkeys(name for key in keys for name in answers[key].names))}
    there, missed = np.zeros((2, len(places), len(keys)), np.float32)
    for column, key in enumerate(keys):
        rows = [places[name] for name in answers[key].names]
        there[rows, column] = 1
        missed[rows, column] = answers[key].given != answers[key].targets
    rng, n = np.random.default_rng(0), len(places)
    errors = np.empty((_DRAWS, len(keys)))
    for first in range(0, _DRAWS, _AT_ONCE):
        drawn = rng.integers(n, size=(_AT_ONCE, n))
        counts = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float32)
        with np.errstate(invalid="ignore"):
            errors[first : first + _AT_ONCE] = 100 * (counts @ missed) / (counts @ there)
    means = errors.reshape(_DRAWS, len(CORRUPTIONS), len(SEVERITIES)).mean(2)
    if reference is not None:
        means *= 100 / np.array([np.mean(reference.errors[name]) for name in CORRUPTIONS])
    values = means.mean(1)
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def _error(answers: Answers) -> float:
    return 100 * float((answers.given != answers.targets).mean())

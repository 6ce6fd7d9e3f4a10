"""Sets whose classes are in MATLAB files: Stanford Cars, Flowers-102. Classes start at 1 in the files, and at 0 here."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from . import matlab
from .draws import held_out
from .listing import Listing, Want, apart, checked_files, files_below

#: The share that Kornblith et al. hold out: 1,650 of 8,144 images. Their list of these images is not published.
_CARS_VAL = Fraction(1650, 8144)
_LABELLED = "cars_test_annos_withlabels.mat"


def cars(folder: Path, want: Want) -> Listing:
    """List `cars_{train,test}/*.jpg`, with classes from three MATLAB files.

    `cars_train_annos.mat` and `cars_meta.mat` are in `devkit/`; `cars_test_annos_withlabels.mat` is in the set's folder or in
    `devkit/`.

    Raises:
        FileNotFoundError: a missing file; `cars_test_annos_withlabels.mat` is not part of the devkit.
    """
    split = "test" if want.split == "test" else "train"
    names = _variable(folder / "devkit" / "cars_meta.mat", "class_names")
    classes = [str(name) for name in names]
    annotations = folder / "devkit" / "cars_train_annos.mat" if split == "train" else _test_annotations(folder)
    rows = _variable(annotations, "annotations")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and {"fname", "class"} <= row.keys() for row in rows
    ):
        raise ValueError(f"{annotations}: has rows without fname and class; {_without_classes(folder)}")
    images = folder / f"cars_{split}"
    # One mirror nests the folder in another of the same name.
    images = images / images.name if (images / images.name).is_dir() else images
    files = [str(row["fname"]) for row in rows]
    apart(annotations.parent, {annotations.name: files})
    checked_files(annotations, files, images, files_below(images))
    targets = _from_zero(annotations, files, [_number(row["class"]) for row in rows], len(classes))
    order = sorted(range(len(files)), key=files.__getitem__)
    listing = Listing(images, files, targets, classes).take(order)
    if split == "test":
        return listing
    share = Fraction(1, 5) if want.school == "ssl-transfer" else _CARS_VAL
    return held_out(listing, want.split, share, want.seed)


def _test_annotations(folder: Path) -> Path:
    for place in (folder / _LABELLED, folder / "devkit" / _LABELLED):
        if place.is_file():
            return place
    raise FileNotFoundError(f"{folder / _LABELLED}: there is no such file, and {_without_classes(folder)}")


def _without_classes(folder: Path) -> str:
    return (
        f"the devkit's cars_test_annos.mat has no classes of the test; get {_LABELLED} from the authors' page or a mirror, and "
        f"put it into {folder}"
    )


_FLOWERS = {"train": "trnid", "val": "valid", "test": "tstid"}


def flowers(folder: Path, want: Want) -> Listing:
    """List `jpg/image_NNNNN.jpg`, with classes from `imagelabels.mat` and the official splits from `setid.mat`."""
    path, split_path = folder / "imagelabels.mat", folder / "setid.mat"
    labels = _whole(path, _variable(path, "labels"))
    ids = {split: _whole(split_path, _variable(split_path, name)) for split, name in _FLOWERS.items()}
    apart(split_path, {name: map(str, ids[split]) for split, name in _FLOWERS.items()})
    for split, name in _FLOWERS.items():
        if ids[split] and not 1 <= min(ids[split]) <= max(ids[split]) <= len(labels):
            raise ValueError(
                f"{split_path}: {name} has images from {min(ids[split])} to {max(ids[split])}, and {path.name} has classes of "
                f"{len(labels)}; they are of different versions"
            )
    images = folder / "jpg"
    own = sorted(ids[want.split])
    names = [f"image_{n:05}.jpg" for n in own]
    checked_files(split_path, names, images, files_below(images))
    targets = _from_zero(path, names, [labels[n - 1] for n in own], 102)
    return Listing(images, names, targets, [str(number) for number in range(1, 103)])


def _variable(path: Path, name: str) -> Any:
    """Return a variable of a MATLAB file.

    Raises:
        ValueError: the file has no variable of this name.
    """
    found = matlab.load(path)
    if name not in found:
        raise ValueError(f"{path}: holds {', '.join(found) or 'nothing'}, but not {name}; it is of another version")
    return found[name]


def _number(value: Any) -> float:
    return float(np.asarray(value).reshape(-1)[0]) if np.size(value) == 1 else float("nan")


def _whole(path: Path, values: Any) -> list[int]:
    found = np.asarray(values, np.float64).reshape(-1) if not isinstance(values, (str, list)) else np.array([np.nan])
    if not np.equal(found, np.floor(found)).all():
        raise ValueError(f"{path}: holds values that are not integers; it is of another version")
    return [int(n) for n in found]


def _from_zero(path: Path, names: Sequence[str], targets: Sequence[float], count: int) -> list[int]:
    """Convert classes counted from 1 to classes counted from 0.

    Raises:
        ValueError: a class is not from 1 to `count`.
    """
    for name, target in zip(names, targets, strict=True):
        if not (1 <= target <= count and target == int(target)):
            raise ValueError(
                f"{path}: class {target:g} of {name} is not from 1 to {count}; it is of another version, or damaged"
            )
    return [int(target) - 1 for target in targets]

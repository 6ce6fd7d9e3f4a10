"""Diabetic Retinopathy (Kaggle 2015, EyePACS), with classes in CSV files and two images of most patients.

A school is one of the ways to split a set.
"""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path, PurePosixPath

from .draws import shuffled
from .listing import Listing, Want, apart, files_below

_CLASSES = ["none", "mild", "moderate", "severe", "proliferative"]
_TRAIN, _TEST = "trainLabels.csv", "retinopathy_solution.csv"
#: Share of the training patients that is held out for validation in the school "kaggle".
_VAL = Fraction(1, 10)


def retinopathy(folder: Path, want: Want) -> Listing:
    """List the images of a split, with classes from the contest's CSV files.

    Images are named `<patient>_{left,right}.jpeg`. Classes of `train/` are in `trainLabels.csv`, and classes of `test/` in
    `retinopathy_solution.csv`. The images in `test/` are divided into a Public and a Private part. Schools split the set
    differently:

    - "tfds": the Public part is val, and the Private part is test.
    - "kaggle": both parts together are test. Val is a tenth of the training patients, drawn with the seed.

    Raises:
        OSError: a missing file.
        ValueError: images of a patient in two splits; a level that is not from 0 to 4; a missing image.
    """
    train, test = _levels(folder / _TRAIN), _levels(folder / _TEST)
    if want.school == "kaggle":
        known = shuffled({_patient(row["image"]) for row in train}, want.seed)
        held = set(known[: round(len(known) * _VAL)])
        parts = {
            "train": [row for row in train if _patient(row["image"]) not in held],
            "val": [row for row in train if _patient(row["image"]) in held],
            "test": test,
        }
    else:
        usage = {"val": "Public", "test": "Private"}
        parts = {"train": train, **{split: _used(folder, test, name) for split, name in usage.items()}}
    apart(folder, {f"the {split} split": _images(rows) for split, rows in parts.items()})
    patients = {f"the {split} split": {_patient(row["image"]) for row in rows} for split, rows in parts.items()}
    apart(folder, patients, "patient")
    within = folder / ("test" if want.split == "test" or (want.split, want.school) == ("val", "tfds") else "train")
    return _listing(folder, within, parts[want.split])


def _listing(folder: Path, within: Path, rows: list[dict[str, str]]) -> Listing:
    files: dict[str, str] = {}
    for name in files_below(within):
        files.setdefault(PurePosixPath(name).stem, name)
    missing = [name for name in _images(rows) if name not in files]
    if missing:
        raise ValueError(
            f"{within}: {len(missing)} of {len(rows)} images that {folder.name}'s CSV files name are missing, the first is "
            f"{missing[0]}; is an archive unpacked in part?"
        )
    rows = sorted(rows, key=lambda row: files[row["image"]])
    return Listing(within, [files[row["image"]] for row in rows], [int(row["level"]) for row in rows], _CLASSES)


def _images(rows: list[dict[str, str]]) -> list[str]:
    return [row["image"] for row in rows]


def _used(folder: Path, rows: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    found = [row for row in rows if row.get("Usage") == name]
    if not found:
        raise ValueError(f"{folder / _TEST}: has no row whose Usage is {name}; it is of another version")
    return found


def _patient(image: str) -> str:
    return image.partition("_")[0]


def _levels(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with the columns image and level.

    Raises:
        OSError: the file cannot be read.
        ValueError: other columns; an invalid level.
    """
    if not path.is_file():
        published = ", which was published after the contest" if path.name == _TEST else ""
        raise FileNotFoundError(f"{path}: there is no such file{published}; get it from the contest's page")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"image", "level"} <= set(reader.fieldnames or ()):
            raise ValueError(
                f"{path}: has columns {', '.join(reader.fieldnames or ())}, not image and level; is it APTOS 2019, another set?"
            )
        rows = list(reader)
    for row in rows:
        if row["level"] not in {"0", "1", "2", "3", "4"}:
            raise ValueError(f"{path}: level {row['level']} of {row['image']} is not from 0 to 4; it is damaged")
    return rows

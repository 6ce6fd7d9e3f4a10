"""Sets with a folder for each class: ImageNet with its published parts, iNaturalist 2021, and Caltech-101."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

from ..imagenet import WNIDS
from .draws import beyond, held_out, shots
from .listing import Listing, Reader, Want, apart, checked_files, class_folders, class_names, numbers, text_lines

#: BYOL's code keeps 10,000 of ImageNet's training images to choose by.
_IMAGENET_VAL = Fraction(10_000, 1_281_167)
#: The share of a published part that is held out, as in ssl-transfer.
_FIFTH = Fraction(1, 5)
#: SHA-256 of SimCLR's lists.
LISTS = {
    "1percent.txt": "71e82a48ba78252683ae334c4d019ebd5c6e855b9599c1389fbe83eb9549cf17",
    "10percent.txt": "6d09de11e7bdaf5b1f3b1f249b6183695f97310cdd20f0c03e7235b6b9392091",
}


def imagenet(folder: Path, want: Want) -> Listing:
    """`train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`, which is the test; numbers are the order of the wnids, no devkit's."""
    classes = class_names(folder / "train")
    listing = class_folders(folder / ("val" if want.split == "test" else "train"), classes)
    listing = listing._replace(notes=_other_classes(classes))
    return listing if want.split == "test" else held_out(listing, want.split, _IMAGENET_VAL, want.seed)


def _other_classes(classes: list[str]) -> tuple[str, ...]:
    """The message on folders that are no classes of ImageNet-1k."""
    others = sorted(set(classes) - set(WNIDS))
    return (f"{len(others)} folders are none of the 1,000 wnids, such as {others[0]}",) if others else ()


def imagenet_part(name: str) -> Reader:
    """A published part of ImageNet's training images, by SimCLR's list of names; it lies beside `train` and `val`."""

    def read(folder: Path, want: Want) -> Listing:
        if want.split == "test":
            return imagenet(folder, want)
        path = list_of(folder, name)
        listing, found = _listed(folder, path), sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
        if found != LISTS[name]:
            told = f"{name}: SHA-256 {found[:8]}..., where {LISTS[name][:8]}... is published; the list is of another version"
            listing = listing._replace(notes=(*listing.notes, told))
        return held_out(listing, want.split, _FIFTH, want.seed)

    return read


def imagenet_shots(count: int) -> Reader:
    """A reader of so many images of each class: drawn here with the seed, or by the lists of tensorflow-datasets."""

    def read(folder: Path, want: Want) -> Listing:
        if want.split == "test":
            return imagenet(folder, want)
        if want.school == "drawn":
            train = class_folders(folder / "train")
            return shots(train._replace(notes=_other_classes(train.classes)), count, want.seed)
        path = list_of(folder, f"{count}shot.txt")
        tune = list_of(folder, "tune.txt")
        apart(path.parent, {path.name: text_lines(path), tune.name: text_lines(tune)})
        listing = _listed(folder, path if want.split == "train" else tune)
        if want.split == "train":
            there = Counter(listing.targets)
            for label, wnid in enumerate(listing.classes):
                if there[label] != count:
                    raise ValueError(
                        f"{path}: {there[label]} images of class {wnid}, and not {count}; the list is of another version"
                    )
        return listing

    return read


def list_of(folder: Path, name: str) -> Path:
    """Where a list of names lies: beside `train` and `val`, or in `imagenet_subsets`.

    Raises:
        FileNotFoundError: nowhere.
    """
    places = [folder / name, folder / "imagenet_subsets" / name]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{places[0]}: there is no such list, nor {places[1]}; put the published one there")


def _listed(folder: Path, path: Path) -> Listing:
    """Images of `train` that a list names, `n04235860_14959.JPEG` in each line; the class is what stands before `_`."""
    train, classes = folder / "train", class_names(folder / "train")
    names = [f"{line.partition('_')[0]}/{line}" for line in text_lines(path)]
    apart(path.parent, {path.name: names})
    # To ask for each is faster than to list a million.
    checked_files(path, names, train, [name for name in names if (train / name).is_file()])
    names.sort()
    targets = numbers(path, (name.partition("/")[0] for name in names), classes)
    return Listing(train, names, targets, classes, notes=_other_classes(classes))


def inaturalist(train: str) -> Reader:
    """`train` or `train_mini`, and `val`, which is the test; or `2021_train` and so on, as torchvision calls them.

    Any part of the species is read: classes are the folders' names in their order.
    """

    def read(folder: Path, want: Want) -> Listing:
        known = _either(folder, train)
        if want.split == "test":
            return class_folders(_either(folder, "val"), class_names(known))
        return held_out(class_folders(known), want.split, Fraction(1, 10), want.seed)

    return read


def _either(folder: Path, name: str) -> Path:
    """A folder under the name within the archive or under torchvision's."""
    other = folder / f"2021_{name.replace('val', 'valid')}"
    return other if other.is_dir() else folder / name


_BACKGROUND = "BACKGROUND_Google"
#: Of each class; five of these choose.
_CALTECH, _CALTECH_VAL = 30, 5


def caltech(folder: Path, want: Want) -> Listing:
    """`101_ObjectCategories/<class>/image_NNNN.jpg`: 25 images a class to learn from, 5 to choose by, all others to test.

    With the background there are 102 classes, and 101 without it, as torchvision has them.

    Raises:
        ValueError: fewer than 31 images of a class; no background, where it is to be a class.
    """
    everything = class_folders(folder / "101_ObjectCategories")
    has_background = _BACKGROUND in everything.classes
    if want.school == "kornblith" and not has_background:
        raise ValueError(
            f"{everything.folder}: there is no {_BACKGROUND}, which is a class of the published results; put it there, or "
            'give school="torchvision"'
        )
    if want.school == "torchvision" and has_background:
        classes = [name for name in everything.classes if name != _BACKGROUND]
        rows = [row for row, name in enumerate(everything.names) if not name.startswith(f"{_BACKGROUND}/")]
        kept = everything.take(rows)
        names = (name.partition("/")[0] for name in kept.names)
        everything = kept._replace(targets=numbers(kept.folder, names, classes), classes=classes)
    # All splits are refused where there is no test of a class.
    test = beyond(everything, _CALTECH, want.seed)
    if want.split == "test":
        return test
    if want.split == "val":
        return shots(everything, _CALTECH_VAL, want.seed, skip=_CALTECH - _CALTECH_VAL)
    return shots(everything, _CALTECH - _CALTECH_VAL, want.seed)

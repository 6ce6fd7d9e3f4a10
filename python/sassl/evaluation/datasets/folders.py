"""Sets with a folder for each class: ImageNet and its published subsets, iNaturalist 2021, and Caltech-101.

A school is one of the ways to split a set.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

from ..imagenet import WNIDS
from .draws import beyond, held_out, shots
from .listing import Listing, Reader, Want, apart, checked_files, class_folders, class_names, numbers, text_lines

#: The share of ImageNet's training images that is held out for validation: 10,000 images, as in BYOL's code.
_IMAGENET_VAL = Fraction(10_000, 1_281_167)
#: The share of a published subset that is held out, as in ssl-transfer.
_FIFTH = Fraction(1, 5)
#: SHA-256 of SimCLR's lists of training images, by file name.
LISTS = {
    "1percent.txt": "71e82a48ba78252683ae334c4d019ebd5c6e855b9599c1389fbe83eb9549cf17",
    "10percent.txt": "6d09de11e7bdaf5b1f3b1f249b6183695f97310cdd20f0c03e7235b6b9392091",
}


def imagenet(folder: Path, want: Want) -> Listing:
    """List `train/<wnid>/*.JPEG`, or `val/<wnid>/*.JPEG` as the test split; class indices follow the order of WordNet IDs."""
    classes = class_names(folder / "train")
    listing = class_folders(folder / ("val" if want.split == "test" else "train"), classes)
    listing = listing._replace(notes=_other_classes(classes))
    return listing if want.split == "test" else held_out(listing, want.split, _IMAGENET_VAL, want.seed)


def _other_classes(classes: list[str]) -> tuple[str, ...]:
    """Return a note on folders that are not classes of ImageNet-1k, if there are any."""
    others = sorted(set(classes) - set(WNIDS))
    return (f"{len(others)} folders are none of the 1,000 wnids, such as {others[0]}",) if others else ()


def imagenet_part(name: str) -> Reader:
    """Return a reader of a published subset of ImageNet's training images, listed by SimCLR in the file `name`."""

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
    """Return a reader of `count` images of each ImageNet class.

    In the school "drawn", images are drawn with the seed. In the school "tfds", images are listed by tensorflow-datasets.
    """

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
                        f"{path}: names {there[label]} images of class {wnid}, not {count}; the list is of another version"
                    )
        return listing

    return read


def list_of(folder: Path, name: str) -> Path:
    """Return the path of a list of images: next to `train` and `val`, or in `imagenet_subsets`.

    Raises:
        FileNotFoundError: the list is in neither place.
    """
    places = [folder / name, folder / "imagenet_subsets" / name]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{places[0]}: there is no such list, nor {places[1]}; put the published one there")


def _listed(folder: Path, path: Path) -> Listing:
    """List images of `train` from a text file with one image name per line.

    In a name, such as `n04235860_14959.JPEG`, the part before `_` is the class.
    """
    train, classes = folder / "train", class_names(folder / "train")
    names = [f"{line.partition('_')[0]}/{line}" for line in text_lines(path)]
    apart(path.parent, {path.name: names})
    # Looking up each file is faster than listing a million.
    checked_files(path, names, train, [name for name in names if (train / name).is_file()])
    names.sort()
    targets = numbers(path, (name.partition("/")[0] for name in names), classes)
    return Listing(train, names, targets, classes, notes=_other_classes(classes))


def inaturalist(train: str) -> Reader:
    """Return a reader of iNaturalist 2021. The published `val` is the test split.

    The argument `train` is the folder of training images: "train" or "train_mini". Folders may have torchvision's names
    instead, such as `2021_train`. Any subset of the species may be present: classes are the sorted names of the folders.
    """

    def read(folder: Path, want: Want) -> Listing:
        known = _either(folder, train)
        if want.split == "test":
            return class_folders(_either(folder, "val"), class_names(known))
        return held_out(class_folders(known), want.split, Fraction(1, 10), want.seed)

    return read


def _either(folder: Path, name: str) -> Path:
    """Return the folder with torchvision's name if it exists, otherwise the folder with the archive's name."""
    other = folder / f"2021_{name.replace('val', 'valid')}"
    return other if other.is_dir() else folder / name


_BACKGROUND = "BACKGROUND_Google"
#: Number of training images of each class in Caltech-101, and how many of them are held out for validation.
_CALTECH, _CALTECH_VAL = 30, 5


def caltech(folder: Path, want: Want) -> Listing:
    """List `101_ObjectCategories/<class>/image_NNNN.jpg`: per class 25 images for train, 5 for val, and all others for test.

    There are 102 classes with the background (school "kornblith"), and 101 without it (school "torchvision").

    Raises:
        ValueError: fewer than 31 images of a class; no folder of background images in the school "kornblith".
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
    # All splits are rejected if a class has no test images.
    test = beyond(everything, _CALTECH, want.seed)
    if want.split == "test":
        return test
    if want.split == "val":
        return shots(everything, _CALTECH_VAL, want.seed, skip=_CALTECH - _CALTECH_VAL)
    return shots(everything, _CALTECH - _CALTECH_VAL, want.seed)

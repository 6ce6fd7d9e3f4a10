"""A split of a set as images: found, listed, and counted against what is published."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

from ..._sassl import Source
from ...arguments import choice, flag, whole
from ...data import Images
from ...data.base import File
from .listing import Listing, Want
from .rows import Dataset
from .table import DATASETS


class Split(Images):
    """Images of a split of one of `DATASETS`, with their classes; `load` has the arguments.

    `dataset` is the set's row, `split`, `school` and `seed` are what was taken, and `differences` tells what is not as it was
    published. Images are sorted by their paths.
    """

    classes: list[str]
    #: The class of each image.
    targets: list[int]

    def __init__(
        self,
        name: str,
        root: File,
        split: str = "train",
        *,
        school: str | None = None,
        seed: int = 0,
        counts: str = "published",
        exif: bool = False,
    ) -> None:
        self.dataset: Dataset = DATASETS[choice("name", name, DATASETS)]
        self.seed, exif = whole("seed", seed), flag("exif", exif)
        counts = choice("counts", counts, ("published", "any"))
        top = Path(os.fsdecode(root))
        folder = self.dataset.folder(top)
        if folder is None:
            raise FileNotFoundError(self.dataset.missing(top))
        self.school = self.dataset.school(folder, school)
        self.split = choice("split", split, self.dataset.schools[self.school].splits)
        listing = self.dataset.reader(folder, Want(self.split, self.school, self.seed))
        self.classes, self.targets = listing.classes, listing.targets
        _checked(listing)
        self.differences = self._differences(listing)
        if self.differences and counts == "published":
            raise ValueError(
                f'{folder}: {name}: {"; ".join(self.differences)}; another version, or a part; counts="any" takes it as it is'
            )
        self.core, self._is_files = _source(listing, exif), listing.image is None

    def file(self, index: int) -> tuple[str, int] | None:
        """An image's path and its class; None where images are no files of their own."""
        return (self.core.name(index), self.targets[index]) if self._is_files else None

    def labels(self) -> list[int]:
        """The class of each image."""
        return self.targets

    def identity(self) -> dict[str, Any]:
        """As of all images; of images that are no files of their own with a checksum of their pixels, CRC-32."""
        known = super().identity()
        if self._is_files:
            return known
        checksum = 0
        for i in range(len(self)):
            checksum = zlib.crc32(self[i][0].data, checksum)
        return {**known, "checksum": f"{checksum:08x}"}

    def _differences(self, listing: Listing) -> tuple[str, ...]:
        """What differs from the published counts, in words."""
        row, school = self.dataset, self.dataset.schools[self.school]
        classes = row.school_classes.get(self.school, row.classes)
        pairs = (
            ("classes", len(listing.classes), classes),
            (f"images of {self.split}", len(listing.names), school.images.get(self.split, len(listing.names))),
        )
        return listing.notes + tuple(
            f"{there} {what}, where {published} are published" for what, there, published in pairs if there != published
        )

    def __repr__(self) -> str:
        return f"Split({self.dataset.name!r}, {self.split!r}, school={self.school!r}, {len(self)} images)"


def load(
    name: str,
    root: File,
    split: str = "train",
    *,
    school: str | None = None,
    seed: int = 0,
    counts: str = "published",
    exif: bool = False,
) -> Split:
    """Images of a split with their classes. Nothing is downloaded.

    Args:
        name: one of `DATASETS`.
        root: the folder in which the set's own folder lies, as torchvision's `root`; or that folder.
        split: "train", "val" or "test"; "val" is what chooses the penalty, and the probe then learns from both.
        school: one of the set's `schools`; None: its first, or the first whose lists are there.
        seed: of what the school draws, as the images that choose.
        counts: "published": numbers of classes and images, and lists, that differ from the published ones are an error;
            "any": they are told in `differences`.
        exif: whether images are turned upright, as their EXIF orientation says; published results are of images as stored.

    Raises:
        FileNotFoundError: the set or a list is not there; it tells how to get it.
        ValueError: another name, split or school; counts, lists or classes that do not fit.
    """
    return Split(name, root, split, school=school, seed=seed, counts=counts, exif=exif)


def found(root: File) -> dict[str, Path]:
    """The sets whose folders lie in this one, by their names, and where.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    top = Path(os.fsdecode(root))
    if not top.is_dir():
        raise FileNotFoundError(f"{top}: there is no such folder")
    places = {name: row.folder(top, itself=False) for name, row in DATASETS.items()}
    return {name: place for name, place in places.items() if place is not None}


def school_of(name: str, root: File) -> str:
    """The school that is a set's default in this folder: it may depend on which lists are there.

    Raises:
        FileNotFoundError: the set is not there.
    """
    row, top = DATASETS[choice("name", name, DATASETS)], Path(os.fsdecode(root))
    folder = row.folder(top)
    if folder is None:
        raise FileNotFoundError(row.missing(top))
    return row.school(folder, None)


def _checked(listing: Listing) -> None:
    """Whether there are images, and each has a class that there is.

    Raises:
        ValueError: not so.
    """
    if not listing.names:
        raise ValueError(f"{listing.folder}: there is no image in it")
    for name, target in zip(listing.names, listing.targets, strict=True):
        if not 0 <= target < len(listing.classes):
            raise ValueError(
                f"{listing.folder}: class {target} of {name}, counted from 0; there are {len(listing.classes)}"
            )


def _source(listing: Listing, exif: bool) -> Source:
    names, targets, image = listing.names, listing.targets, listing.image
    if image is not None:
        return Source.python(lambda i: (image(names[i]), targets[i]), len(names), "images", exif, names)
    start = os.path.join(os.fspath(listing.folder), "")
    return Source.files([start + name.replace("/", os.sep) for name in names], targets, exif)

"""Loading of a split of a set: finding its folder, listing its images, and checking them against the published counts."""

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
    """Images of a split of one of `DATASETS`, with their classes; see `load` for the arguments.

    Images that are separate files are sorted by path.

    Attributes:
        dataset: the set's entry in `DATASETS`.
        split, school, seed: the arguments; `school` is the default school if None was given.
        differences: a tuple of strings that describe differences from the published set.
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
                f'{folder}: {name}: {"; ".join(self.differences)}; another version, or a part? counts="any" takes it as it is'
            )
        self.core, self._is_files = _source(listing, exif), listing.image is None

    def file(self, index: int) -> tuple[str, int] | None:
        """Return an image's path and class; None if images are not separate files."""
        return (self.core.name(index), self.targets[index]) if self._is_files else None

    def labels(self) -> list[int]:
        """Return the class of each image."""
        return self.targets

    def identity(self) -> dict[str, Any]:
        """Return the entries of `Images.identity`, with a CRC-32 checksum of all pixels if images are not separate files."""
        known = super().identity()
        if self._is_files:
            return known
        checksum = 0
        for i in range(len(self)):
            checksum = zlib.crc32(self[i][0].data, checksum)
        return {**known, "checksum": f"{checksum:08x}"}

    def _differences(self, listing: Listing) -> tuple[str, ...]:
        """Return the differences from the published counts, in words."""
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
    """Load the images of a split with their classes. Nothing is downloaded.

    Args:
        name: one of `DATASETS`.
        root: the folder that contains the set's own folder, like torchvision's `root`; or the set's own folder.
        split: "train", "val" or "test". In the transfer protocol, the penalty is chosen on "val", and the probe is then fitted
            on train and val.
        school: one of the set's `schools`, the ways to split the set; None: the first school whose lists exist.
        seed: seed of the school's random draws, such as the draw of validation images.
        counts: "published": it is an error if classes, images or lists differ from the published ones; "any": such differences
            are only listed in `differences`.
        exif: True: apply the EXIF orientation of images; False: use images as stored, as in published results.

    Raises:
        FileNotFoundError: the set or a list is missing; the message describes how to get it.
        ValueError: an unknown name, split or school; counts, lists or classes that do not match.
    """
    return Split(name, root, split, school=school, seed=seed, counts=counts, exif=exif)


def found(root: File) -> dict[str, Path]:
    """Return the sets in a folder: name to path.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    top = Path(os.fsdecode(root))
    if not top.is_dir():
        raise FileNotFoundError(f"{top}: there is no such folder")
    places = {name: row.folder(top, itself=False) for name, row in DATASETS.items()}
    return {name: place for name, place in places.items() if place is not None}


def school_of(name: str, root: File) -> str:
    """Return the default school of a set in the folder `root`.

    The default may depend on the lists that exist there.

    Raises:
        FileNotFoundError: the set is missing.
    """
    row, top = DATASETS[choice("name", name, DATASETS)], Path(os.fsdecode(root))
    folder = row.folder(top)
    if folder is None:
        raise FileNotFoundError(row.missing(top))
    return row.school(folder, None)


def _checked(listing: Listing) -> None:
    """Check that there are images, and that their classes are valid.

    Raises:
        ValueError: there are no images, or a class index is out of range.
    """
    if not listing.names:
        raise ValueError(f"{listing.folder}: holds no images")
    for name, target in zip(listing.names, listing.targets, strict=True):
        if not 0 <= target < len(listing.classes):
            raise ValueError(f"{listing.folder}: class {target} of {name} must be in [0, {len(listing.classes)})")


def _source(listing: Listing, exif: bool) -> Source:
    names, targets, image = listing.names, listing.targets, listing.image
    if image is not None:
        return Source.python(lambda i: (image(names[i]), targets[i]), len(names), "images", exif, names)
    start = os.path.join(os.fspath(listing.folder), "")
    return Source.files([start + name.replace("/", os.sep) for name in names], targets, exif)

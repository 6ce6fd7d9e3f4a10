"""Images by number, each with a class: what all sources share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._sassl import Source
from ..arguments import whole

if TYPE_CHECKING:
    from typing_extensions import Self

File = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Images:
    """Images by number, each with a class: what all sources share.

    `len(images)`, `images[i]` -> ((H, W, 3) uint8, class), `images.name(i)`, `images.classes`. They pickle as their
    arguments, and are listed anew where they are loaded. Names that are no Unicode are as `os.fsdecode` gives them.
    """

    core: Source
    #: Names of the classes, in the order of their numbers; None where they have none.
    classes: list[str] | None = None
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        images = super().__new__(cls)
        images._arguments = arguments, named
        return images

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), *self._arguments)

    def __len__(self) -> int:
        return len(self.core)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index = {index}: there are {len(self)} images")
        return self.core.get(index % len(self))

    def take(self, rows: Sequence[int]) -> Images:
        """Some of the images, in this order, with their names and their numbers of classes.

        Raises:
            ValueError: a number that no image has.
        """
        return Taken(self, rows)

    def name(self, index: int) -> str:
        """An image's name by the rule of lightly's `LightlyDataset`: its path from the root on, with forward slashes.

        The root is the folder that was given, or the one that holds all shards or files of records; what lies within such a
        file is "file#place". A list of files has no root: its paths are as given. A dataset without names has "source[0]".
        """
        return self.core.name(index)

    def file(self, index: int) -> tuple[str, int] | None:
        """An image's file and its class, found without reading it; None where an image is not a file of its own."""
        return None

    def identity(self) -> dict[str, Any]:
        """Plain values that tell these images from others, as a loader's state holds them.

        The number of the images, a checksum of their names from the folder on that holds all of them, whether they are turned
        upright, and the sum and a checksum of their files' sizes where these are known without reading. So of a dataset that
        gives no names it is their number alone.
        """
        names, sizes = self.core.identity()
        told = {"images": len(self), "names": f"{names:016x}", "exif": self.core.exif}
        return told if sizes is None else {**told, "bytes": sizes[1], "sizes": f"{sizes[0]:016x}"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images)"


class Taken(Images):
    """Some of the images of a source; `Images.take` has the arguments."""

    def __init__(self, images: Images, rows: Sequence[int]) -> None:
        self._images = images
        self._rows = [whole(f"rows[{i}]", row, 0, len(images) - 1) for i, row in enumerate(rows)]
        self.classes = images.classes
        names = [images.name(row) for row in self._rows]
        # A file is decoded natively, and no more of it than its crops need.
        self.core = Source.python(
            lambda i: self.file(i) or images[self._rows[i]], len(names), "images", images.core.exif, names
        )

    def file(self, index: int) -> tuple[str, int] | None:
        """That of the source."""
        return self._images.file(self._rows[index])


def _make(kind: type[Images], arguments: tuple[Any, ...], named: dict[str, Any]) -> Images:
    return kind(*arguments, **named)


def checked_targets(targets: Sequence[int] | None, n: int) -> list[int]:
    """A class for each of n images, 0 where none are given.

    Raises:
        ValueError: not one for each, or one that is no whole number.
    """
    classes = [0] * n if targets is None else [whole(f"targets[{i}]", x, -(2**63)) for i, x in enumerate(targets)]
    if len(classes) != n:
        raise ValueError(f"targets: expected one for each of {n} images, got {len(classes)}")
    return classes


def left_out(core: Source) -> str:
    """How much of a folder or of shards is not here."""
    counts = ((core.hidden, "hidden"), (core.others, "other"))
    return "".join(f", {n} {what} files left out" for n, what in counts if n)


def is_path(path: bytes) -> bool:
    """Whether bytes are the path of a file, and not what a file holds."""
    return len(path) < 4096 and b"\0" not in path and os.path.exists(path)

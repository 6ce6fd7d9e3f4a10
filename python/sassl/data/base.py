"""The base class of all sources of images."""

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
    """A sequence of images, each with a class: the base class of all sources.

    `images[i]` is the tuple (pixels, class), with pixels (H, W, 3) uint8; `len(images)` is the number of images. A pickle holds
    only the constructor's arguments, and unpickling lists the images again. Names that are not valid Unicode are decoded by
    `os.fsdecode`.
    """

    core: Source
    #: Names of the classes, indexed by class; None if the classes have no names.
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
            raise IndexError(f"index must be in [{-len(self)}, {len(self)}), the range of the images, got {index}")
        return self.core.get(index % len(self))

    def take(self, rows: Sequence[int]) -> Images:
        """Select images by index, in the order of `rows`. The images keep their names and classes.

        Raises:
            ValueError: an index outside the source.
        """
        return Taken(self, rows)

    def name(self, index: int) -> str:
        """The name of an image: its path relative to the root, with forward slashes, as in lightly's `LightlyDataset`.

        The root is the folder passed to the source, or the folder that contains all shards or record files. An image inside a
        shard or record file is named by the file and a position in it: a byte offset in a shard ("train.tar#512"), the index of
        a record in a record file ("test_batch.bin#0"). A list of files has no root, and its paths are kept as given. Images
        without names are numbered: "source[0]", "source[1]" in a dataset, "arrays[0]" in an array, "files[0]" in a list of file
        contents.
        """
        return self.core.name(index)

    def file(self, index: int) -> tuple[str, int] | None:
        """The path of an image's file and its class, without reading the file; None if the image is not a separate file."""
        return None

    def labels(self) -> list[int]:
        """Return the class of each image; images are read only if the classes are not known otherwise."""
        known = self.core.targets()
        return [self[i][1] for i in range(len(self))] if known is None else known

    def identity(self) -> dict[str, Any]:
        """JSON values that identify these images, as stored in a loader's state.

        The values are:

        - the number of images;
        - a checksum of the names, relative to the folder that contains all images;
        - whether images are rotated upright by their EXIF orientation;
        - the sum and a checksum of the file sizes, if the sizes are known without reading the files.

        For a dataset without names, the checksum depends only on the number of images.
        """
        names, sizes = self.core.identity()
        told = {"images": len(self), "names": f"{names:016x}", "exif": self.core.exif}
        return told if sizes is None else {**told, "bytes": sizes[1], "sizes": f"{sizes[0]:016x}"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images)"


class Taken(Images):
    """A selection of the images of a source, created by `Images.take`."""

    def __init__(self, images: Images, rows: Sequence[int]) -> None:
        self._images = images
        self._rows = [whole(f"rows[{i}]", row, 0, len(images) - 1) for i, row in enumerate(rows)]
        self.classes = images.classes
        names = [images.name(row) for row in self._rows]
        # Files are decoded by the core, and only as much of them as the crops need.
        self.core = Source.python(
            lambda i: self.file(i) or images[self._rows[i]], len(names), "images", images.core.exif, names
        )

    def file(self, index: int) -> tuple[str, int] | None:
        """The path of the image's file and its class, as in the source."""
        return self._images.file(self._rows[index])


def _make(kind: type[Images], arguments: tuple[Any, ...], named: dict[str, Any]) -> Images:
    return kind(*arguments, **named)


def checked_targets(targets: Sequence[int] | None, n: int) -> list[int]:
    """The classes of n images as ints; all 0 if `targets` is None.

    Raises:
        ValueError: `targets` has a length other than n; a class is not an integer.
    """
    classes = [0] * n if targets is None else [whole(f"targets[{i}]", x, -(2**63)) for i, x in enumerate(targets)]
    if len(classes) != n:
        raise ValueError(f"targets must have length {n}, one for each image, got {len(classes)}")
    return classes


def left_out(core: Source) -> str:
    """Describe how many files of a folder or of shards were left out, for `repr`."""
    counts = ((core.hidden, "hidden"), (core.others, "other"))
    return "".join(f", {n} {what} files left out" for n, what in counts if n)


def is_path(path: bytes) -> bool:
    """Return whether bytes are the path of an existing file, rather than the contents of a file."""
    return len(path) < 4096 and b"\0" not in path and os.path.exists(path)

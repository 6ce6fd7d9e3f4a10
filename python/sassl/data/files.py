"""Images in files: a folder with a folder for each class, or a list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._sassl import Source
from ..arguments import flag
from .base import File, Images, checked_targets, is_path, left_out
from .identity import of_bytes


class ImageFolder(Images):
    """`root/<class>/**/image.jpg`, as torchvision's `ImageFolder`; or images in `root` itself, of one class.

    Args:
        root: the folder. Images are what torchvision's `IMG_EXTENSIONS` names: JPEG, PNG, WebP, BMP, TIFF, PPM and PGM files.
            Names that begin with a dot and `__MACOSX` are left out, and so are other files; `repr` gives their numbers.
        exif: whether images are turned upright, as their EXIF orientation says; False: as torchvision's `ImageFolder` does.

    Raises:
        OSError: it cannot be read.
        ValueError: no image; a class without one; images beside the folders of classes; classes that differ in case alone.
    """

    classes: list[str]

    def __init__(self, root: File, exif: bool = True) -> None:
        self.root = os.fsdecode(root)
        self.core = Source.folder(self.root, flag("exif", exif))
        self.classes = self.core.classes
        self._numbers = {name: number for number, name in enumerate(self.classes)}

    def file(self, index: int) -> tuple[str, int] | None:
        """An image's path below `root`, and the class that its first folder names."""
        name = self.name(index)
        # Images in `root` itself are of one class without a name.
        return os.path.join(self.root, name), self._numbers.get(name.partition("/")[0], 0)

    def __repr__(self) -> str:
        return f"ImageFolder({self.root!r}, {len(self)} images, {len(self.classes)} classes{left_out(self.core)})"


class Files(Images):
    """A list of paths, or of the bytes of files.

    Args:
        files: JPEG, PNG, WebP, BMP, TIFF or PNM; bytes are what a file holds, or its path where there is such a file.
        targets: a class for each; None: 0 for all.
        exif: whether images are turned upright, as their EXIF orientation says; False: as torchvision's `ImageFolder` does.

    Raises:
        ValueError: not one class a file, or one that is no whole number.
        TypeError: neither paths nor bytes.
    """

    def __init__(self, files: Sequence[File], targets: Sequence[int] | None = None, exif: bool = True) -> None:
        if not isinstance(files, (list, tuple, np.ndarray)):
            raise TypeError(f"files: expected a list of paths or of bytes, got {type(files).__name__}")
        files = list(files)
        classes, exif = checked_targets(targets, len(files)), flag("exif", exif)
        self._targets = classes
        contents = [isinstance(file, bytes) and not is_path(file) for file in files]
        self._contents = [file for file in files if isinstance(file, bytes)] if files and all(contents) else None
        if self._contents is not None:
            self.core = Source.python(lambda i: (files[i], classes[i]), len(files), "files", exif)
            return
        for i, file in enumerate(files):
            if contents[i] or not isinstance(file, (str, bytes, os.PathLike)):
                raise TypeError(f"files[{i}]: expected a path, or bytes as all of them, got {type(file).__name__}")
        self.core = Source.files([os.fsdecode(file) for file in files], classes, exif)

    def file(self, index: int) -> tuple[str, int] | None:
        """A path that was given; None for bytes."""
        return None if self._contents is not None else (self.core.name(index), self._targets[index])

    def identity(self) -> dict[str, Any]:
        """For bytes, their number and a checksum; for paths as for all `Images`, where sizes are asked of each file."""
        if self._contents is None:
            return super().identity()
        return {**of_bytes(self._contents), "exif": self.core.exif}

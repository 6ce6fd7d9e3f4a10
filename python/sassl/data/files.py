"""Images in files: a folder with a subfolder for each class, or a list."""

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
    """Images in `root/<class>/**/image.jpg`, as in torchvision's `ImageFolder`; or in `root` itself, as one class.

    Args:
        root: the folder. Images are files with torchvision's `IMG_EXTENSIONS`: JPEG, PNG, WebP, BMP, TIFF, PPM and PGM. Hidden
            files (with a leading dot), `__MACOSX` and other files are left out; `repr` shows how many.
        exif: rotate images upright by their EXIF orientation; False: use them as stored, like torchvision's `ImageFolder`.

    Raises:
        OSError: the folder cannot be read.
        ValueError: no image; a class without images; images beside class folders; classes that differ only in case.
    """

    classes: list[str]

    def __init__(self, root: File, exif: bool = True) -> None:
        self.root = os.fsdecode(root)
        self.core = Source.folder(self.root, flag("exif", exif))
        self.classes = self.core.classes
        self._numbers = {name: number for number, name in enumerate(self.classes)}

    def file(self, index: int) -> tuple[str, int] | None:
        """The path of an image, and its class: the index of its top-level folder in `root`."""
        name = self.name(index)
        # Images in `root` itself form one class without a name.
        return os.path.join(self.root, name), self._numbers.get(name.partition("/")[0], 0)

    def __repr__(self) -> str:
        return f"ImageFolder({self.root!r}, {len(self)} images, {len(self.classes)} classes{left_out(self.core)})"


class Files(Images):
    """Images given as a list of paths, or as a list of the contents of files.

    Args:
        files: paths or contents of JPEG, PNG, WebP, BMP, TIFF or PNM files. Bytes are a path if a file with this path exists,
            otherwise the contents of a file.
        targets: class of each file; None: 0 for all.
        exif: rotate images upright by their EXIF orientation; False: use them as stored, like torchvision's `ImageFolder`.

    Raises:
        ValueError: `targets` and `files` differ in length; a class is not an integer.
        TypeError: files that are neither paths nor bytes; a list of both paths and contents.
    """

    def __init__(self, files: Sequence[File], targets: Sequence[int] | None = None, exif: bool = True) -> None:
        if not isinstance(files, (list, tuple, np.ndarray)):
            raise TypeError(f"files must be a list of paths or of bytes, got {type(files).__name__}")
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
                raise TypeError(f"files[{i}] must be a path, or all files must be bytes, got {type(file).__name__}")
        self.core = Source.files([os.fsdecode(file) for file in files], classes, exif)

    def file(self, index: int) -> tuple[str, int] | None:
        """The path of an image, as passed, and its class; None if the contents of files were passed."""
        return None if self._contents is not None else (self.core.name(index), self._targets[index])

    def identity(self) -> dict[str, Any]:
        """JSON values that identify the images.

        Paths are identified as in `Images`, contents by the number of files, the total bytes and a checksum.
        """
        if self._contents is None:
            return super().identity()
        return {**of_bytes(self._contents), "exif": self.core.exif}

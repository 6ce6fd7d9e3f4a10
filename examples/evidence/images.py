"""The images of the study: folders, or archives that are unpacked once.

A root has `train/<class>/*` and `val/<class>/*`, as Tiny-ImageNet, Imagenette and ImageNet-100 have. Next to it,
`cifar10_subset_jpeg.zip` and `cue_conflict_96.tar` are found by their names; without them their measures are left out.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sassl.data import ImageFolder, Images, as_images

#: The names of the sets that only measures need.
CIFAR10, CUE_CONFLICT = "cifar10_subset_jpeg.zip", "cue_conflict_96.tar"


@dataclass(frozen=True)
class Data:
    """The folders of the study; None: not there.

    Attributes:
        train, val: images to pretrain and to fit heads on, and to measure on; a folder for each class.
        cifar10: with `train` and `test`.
        cue_conflict: in Geirhos' layout, `<shape>/<shape>1-<texture>2.jpg`.
    """

    train: Path | Images
    val: Path
    cifar10: Path | None = None
    cue_conflict: Path | None = None

    def describe(self) -> dict[str, Any]:
        """What identifies the images: their numbers, and checksums of their names and sizes."""
        return {part: as_images(getattr(self, part)).identity() for part in ("train", "val")}

    def first(self, n: int | None) -> Data:
        """The same with the first n training images of each class, in the order of their names; None: all."""
        if n is None:
            return self
        train = as_images(self.train)
        taken: dict[int, list[int]] = {}
        for row, label in enumerate(train.labels()):
            taken.setdefault(label, []).append(row)
        return replace(self, train=train.take(sorted(row for rows in taken.values() for row in rows[:n])))


def find(root: Path, scratch: Path, cifar10: Path | None = None, cue_conflict: Path | None = None) -> Data:
    """Find the images.

    Args:
        root: a folder with `train` and `val`, or a .tar or .zip file of one.
        scratch: a folder into which archives are unpacked.
        cifar10, cue_conflict: folders or archives; None: those next to `root`, if they exist.

    Raises:
        OSError: a folder or file that does not exist.
    """
    top = unpacked(root, scratch)
    for part in ("train", "val"):
        if not (top / part).is_dir():
            raise FileNotFoundError(f"{top / part}: expected train/<class>/* and val/<class>/* in {root}")
    found: list[Path | None] = []
    for given, name in ((cifar10, CIFAR10), (cue_conflict, CUE_CONFLICT)):
        path = given or root.parent / name
        found.append(unpacked(path, scratch) if given or path.exists() else None)
    return Data(top / "train", top / "val", *found)


def unpacked(path: Path, scratch: Path) -> Path:
    """The folder itself, or the one into which an archive is unpacked; a second call finds it."""
    if path.is_dir():
        return path
    folder = scratch / path.stem
    if folder.is_dir():
        return folder
    scratch.mkdir(parents=True, exist_ok=True)
    # Unpacked under another name first: a folder with the final name is whole.
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=scratch))
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(part)
        else:
            with tarfile.open(path) as archive:
                archive.extractall(part, filter="data")
        os.replace(part, folder)
    except OSError:
        # Another process may have been faster.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def squares(folder: Path, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """The middle squares of a folder's images, (N, side, side, 3) uint8; their classes; and the names of all classes."""
    images = ImageFolder(folder)
    made = np.empty((len(images), side, side, 3), np.uint8)
    for i in range(len(images)):
        image = Image.fromarray(images[i][0])
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        square = image.crop((left, top, left + edge, top + edge))
        made[i] = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC))
    return made, np.array(images.labels()), list(images.classes)

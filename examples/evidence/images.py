"""The images of the study: folders, or archives that are unpacked once.

The root folder has `train/<class>/*` and `val/<class>/*`, as in Tiny-ImageNet, Imagenette and ImageNet-100. The archives
`cifar10_subset_jpeg.zip` and `cue_conflict_96.tar` are found next to it; without one of them, its measurements are skipped.
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

#: Archives that are used for measurements only, not for training.
CIFAR10, CUE_CONFLICT = "cifar10_subset_jpeg.zip", "cue_conflict_96.tar"


@dataclass(frozen=True)
class Data:
    """The images of the study.

    Attributes:
        train: images to pretrain on and to fit heads on, with a folder for each class.
        val: images to measure on, with a folder for each class.
        cifar10: a folder with `train` and `test`; None: not available.
        cue_conflict: a folder in Geirhos' layout, `<shape>/<shape>1-<texture>2.jpg`; None: not available.
    """

    train: Path | Images
    val: Path
    cifar10: Path | None = None
    cue_conflict: Path | None = None

    def describe(self) -> dict[str, Any]:
        """Identify the images of `train` and `val`: their counts, and checksums of their names and sizes."""
        return {part: as_images(getattr(self, part)).identity() for part in ("train", "val")}

    def first(self, n: int | None) -> Data:
        """Return a copy with only the first n training images of each class, in the order of their names; None: all."""
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
        root: a folder with `train` and `val`, or a .tar or .zip file of such a folder.
        scratch: a folder into which archives are unpacked.
        cifar10, cue_conflict: folders or archives; None: the archives next to `root`, if they exist.

    Raises:
        OSError: a folder or file does not exist.
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
    """Return the folder of an archive, which is unpacked if this was not done before; a folder is returned unchanged."""
    if path.is_dir():
        return path
    folder = scratch / path.stem
    if folder.is_dir():
        return folder
    scratch.mkdir(parents=True, exist_ok=True)
    # Unpack under another name first, so that a folder with the final name is always complete.
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
    """Return a folder's images as center squares (N, side, side, 3) uint8, with their class indices and the class names."""
    images = ImageFolder(folder)
    made = np.empty((len(images), side, side, 3), np.uint8)
    for i in range(len(images)):
        image = Image.fromarray(images[i][0])
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        square = image.crop((left, top, left + edge, top + edge))
        made[i] = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC))
    return made, np.array(images.labels()), list(images.classes)

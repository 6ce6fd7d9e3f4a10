"""Find image files as the loader does, and write them with Pillow, atomically."""

from __future__ import annotations

import glob
import io
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._sassl import image_suffixes, list_images, write_file
from .images import WHITE

#: Suffixes of images in a folder: torchvision's `IMG_EXTENSIONS`, as in the loader.
SUFFIXES = tuple(f".{suffix}" for suffix in image_suffixes())
#: For each suffix that `write` accepts, Pillow's name of the format.
WRITABLE = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


def pillow() -> Any:
    """Import Pillow and return the package `PIL`.

    Raises:
        ImportError: Pillow is not installed; the message says how to install it.
    """
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise ImportError("reading images needs Pillow: install it, or the extra sassl[demo]") from None
    return PIL


def find(inputs: Iterable[str | os.PathLike[str]], left_out: Counter[str] | None = None) -> list[Path]:
    """List the images given by files, folders and glob patterns, each image once.

    The images of each input are sorted. Folders are searched with their subfolders, for files with one of `SUFFIXES`. Files and
    folders whose names start with a dot are skipped.

    Args:
        inputs: files, folders and glob patterns.
        left_out: counter of the files skipped in folders, under the keys "hidden" and "other". None: hidden files cause a
            warning.

    Raises:
        OSError: an input without an image; a subfolder that cannot be listed.
        ValueError: an empty string among the inputs.
    """
    found: dict[Path, None] = {}
    for item in (os.fspath(item) for item in inputs):
        if not item:
            raise ValueError("'': an empty string is not a file, folder or pattern; is a variable empty?")
        path = Path(item)
        if path.is_dir():
            some = _find_below(path, left_out)
            if not some:
                raise FileNotFoundError(f"{path}: no image in this folder ({', '.join(SUFFIXES)})")
        elif path.exists():
            some = [path]
        else:
            some = sorted(p for p in map(Path, glob.glob(item, recursive=True)) if p.is_file())
            if not some:
                raise FileNotFoundError(f"{item}: no such file or folder, and no file matches it as a pattern")
        found.update(dict.fromkeys(some))
    return list(found)


def _find_below(root: Path, left_out: Counter[str] | None) -> list[Path]:
    """List the images below a folder, like `sassl.data.ImageFolder`: skip hidden files, follow links, read each folder once."""
    found, hidden, others = list_images(root)
    if left_out is not None:
        left_out.update({kind: n for kind, n in (("hidden", hidden), ("other", others)) if n})
    elif hidden:
        warnings.warn(f"{root}: {hidden} hidden files or folders left out", stacklevel=3)
    return sorted(map(Path, found))


def is_gray(path: str | os.PathLike[str]) -> bool:
    """Return whether an image file is stored as grayscale, so that its three channels are equal when it is decoded as RGB.

    Raises:
        OSError: the file cannot be read.
    """
    with pillow().Image.open(path) as image:
        return image.mode in ("1", "L", "LA", *WHITE)


def write(path: str | os.PathLike[str], image: NDArray[np.uint8], profile: bytes | None = None) -> None:
    """Write an image to a PNG, JPEG or WebP file, atomically; the suffix selects the format.

    Args:
        path: path of the file.
        image: (H, W, 3) uint8 RGB, or (H, W, 1) uint8 gray.
        profile: ICC profile to embed.

    Raises:
        ValueError: a suffix that is not among `WRITABLE`.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(WRITABLE)}, got {path.suffix!r}")
    pil = pillow().Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    data = io.BytesIO()
    pil.save(data, WRITABLE[path.suffix.lower()], quality=95, icc_profile=profile)
    write_file(path, data.getvalue())

"""Image files: found as the loader finds them, written with Pillow, whole files or none."""

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

#: Suffixes of images in a folder: torchvision's list, which the loader has too.
SUFFIXES = tuple(f".{suffix}" for suffix in image_suffixes())
#: Formats that `write` writes, by suffix, under Pillow's names.
WRITABLE = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


def pillow() -> Any:
    """Pillow's modules, or a sentence on how to get them."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise ImportError("images are read with Pillow: pip install 'sassl[demo]'") from None
    return PIL


def find(inputs: Iterable[str | os.PathLike[str]], left_out: Counter[str] | None = None) -> list[Path]:
    """The images that these files, folders (with their subfolders) and glob patterns name, sorted, each once.

    In folders, an image is what has one of `SUFFIXES`, and no name that begins with a dot.

    Args:
        inputs: files, folders and patterns.
        left_out: counts what is left out of folders, "hidden" and "other" files; None: a warning tells of hidden ones.

    Raises:
        OSError: an input that names none; a subfolder that cannot be listed.
        ValueError: an input that is empty.
    """
    found: dict[Path, None] = {}
    for item in (os.fspath(item) for item in inputs):
        if not item:
            raise ValueError("'': an empty name is no file, folder or pattern; is a variable empty?")
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
    """Lists a folder by the rule of `sassl.data.ImageFolder`: no hidden files, links followed, each folder once."""
    found, hidden, others = list_images(root)
    if left_out is not None:
        left_out.update({kind: n for kind, n in (("hidden", hidden), ("other", others)) if n})
    elif hidden:
        warnings.warn(f"{root}: {hidden} hidden files or folders left out", stacklevel=3)
    return sorted(map(Path, found))


def is_gray(path: str | os.PathLike[str]) -> bool:
    """Whether an image's file has no colours: then its three channels are equal.

    Raises:
        OSError: the file cannot be read.
    """
    with pillow().Image.open(path) as image:
        return image.mode in ("1", "L", "LA", *WHITE)


def write(path: str | os.PathLike[str], image: NDArray[np.uint8], profile: bytes | None = None) -> None:
    """Writes (H, W, 3) uint8 RGB, or (H, W, 1) gray, as PNG, JPEG or WebP, as the suffix says: the whole file, or nothing.

    Args:
        path: where.
        image: what.
        profile: the ICC profile that goes into the file.

    Raises:
        ValueError: a suffix that is none of these.
        OSError: the system refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(WRITABLE)}")
    pil = pillow().Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    data = io.BytesIO()
    pil.save(data, WRITABLE[path.suffix.lower()], quality=95, icc_profile=profile)
    write_file(path, data.getvalue())

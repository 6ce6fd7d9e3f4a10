"""Reading and writing pictures, with Pillow: upright, RGB, and whole files or none."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def pillow() -> Any:
    """Pillow's modules, or a sentence on how to get them."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise ImportError("pictures are read with Pillow: pip install 'sassl[demo]'") from None
    return PIL


def find(inputs: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The pictures that these files, folders (with their subfolders) and glob patterns name, sorted, each once.

    Raises:
        OSError: an input that names none.
    """
    found: dict[Path, None] = {}
    for item in (os.fspath(item) for item in inputs):
        path = Path(item)
        if path.is_dir():
            some = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not some:
                raise FileNotFoundError(f"{path}: no picture in this folder ({', '.join(SUFFIXES)})")
        elif path.exists():
            some = [path]
        else:
            some = sorted(p for p in map(Path, glob.glob(item, recursive=True)) if p.is_file())
            if not some:
                raise FileNotFoundError(f"{item}: no such file or folder, and no file matches it as a pattern")
        found.update(dict.fromkeys(some))
    return list(found)


def read(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """A picture, turned as its EXIF orientation says, as (H, W, 3) uint8 RGB.

    Raises:
        OSError: the file cannot be read, is truncated, or is no picture.
    """
    image_module = pillow().Image
    try:
        with image_module.open(path) as image:
            return rgb(pillow().ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError) as error:
        raise OSError(f"{os.fspath(path)}: not a readable picture ({error})") from None


def rgb(picture: Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A PIL image of any mode, or an array, as (H, W, 3) uint8 RGB; transparency is dropped.

    Raises:
        ValueError: an array of another shape or dtype.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"picture: expected an (H, W, 3) uint8 array, got {picture.shape} of {picture.dtype}")
        return picture
    if not hasattr(picture, "convert"):
        raise TypeError(f"picture: expected a path, a PIL image or an array, got {type(picture).__name__}")
    return np.array(picture.convert("RGB"))


def write(path: str | os.PathLike[str], picture: NDArray[np.uint8]) -> None:
    """Writes (H, W, 3) uint8 RGB as PNG, JPEG or WebP, as the suffix says: the whole file, or nothing.

    Raises:
        ValueError: a suffix that is none of these.
        OSError: the system refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}")
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        pillow().Image.fromarray(picture).save(part, quality=95)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)

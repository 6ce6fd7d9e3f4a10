"""Reading and writing pictures, with Pillow: upright, RGB, and whole files or none."""

from __future__ import annotations

import glob
import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._sassl import list_images, write_file

if TYPE_CHECKING:
    from PIL.Image import Image

#: What counts as a picture in a folder: torchvision's list.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
#: What `write` writes, by the suffix, as Pillow calls it.
WRITABLE = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
#: PIL modes with 8 bits a channel. Pillow turns the others (I;16, F, ...) into RGB by cutting off what exceeds 255.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")


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
        OSError: an input that names none; a subfolder that cannot be listed.
    """
    found: dict[Path, None] = {}
    for item in (os.fspath(item) for item in inputs):
        path = Path(item)
        if path.is_dir():
            some = _find_below(path)
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


def _find_below(root: Path) -> list[Path]:
    """As `sassl.data.ImageFolder` lists a folder: without hidden files, links to folders followed, each folder once."""
    found, hidden, _ = list_images(root)
    if hidden:
        warnings.warn(f"{root}: {hidden} hidden files or folders left out", stacklevel=3)
    return sorted(map(Path, found))


def read(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """A picture, turned as its EXIF orientation says, as (H, W, 3) uint8 RGB.

    Raises:
        OSError: the file cannot be read, is truncated, is no picture, or has no 8-bit colours.
    """
    pil = pillow()
    try:
        with pil.Image.open(path) as image:
            return rgb(pil.ImageOps.exif_transpose(image))
    # Not OSError alone: a damaged file makes Pillow's parsers raise whatever they stumble over.
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise OSError(f"{os.fspath(path)}: not a readable picture ({error or type(error).__name__})") from None


def rgb(picture: Image | NDArray[np.uint8], name: str = "picture") -> NDArray[np.uint8]:
    """A PIL image with 8 bits a channel, or an array, as (H, W, 3) uint8 RGB; transparency is dropped.

    Raises:
        TypeError: neither of them.
        ValueError: an array of another shape or dtype, another PIL mode. `name` is what the message calls it.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"{name}: expected an (H, W, 3) uint8 array, got {picture.shape} of {picture.dtype}")
        return picture
    if not hasattr(picture, "convert"):
        raise TypeError(f"{name}: expected a path, a PIL image or an array, got {type(picture).__name__}")
    if picture.mode not in MODES:
        raise ValueError(f"{name}: PIL mode {picture.mode!r} has no 8-bit colours; convert it to RGB or L first")
    if picture.mode == "P" and "transparency" in picture.info:
        # Straight to RGB, Pillow warns that transparency would be lost.
        picture = picture.convert("RGBA")
    # What is RGB already, and read from its file, is copied once.
    picture.load()
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def is_gray(path: str | os.PathLike[str]) -> bool:
    """Whether a picture's file has no colours: then the channels that `read` gives are one.

    Raises:
        OSError: the file cannot be read.
    """
    with pillow().Image.open(path) as image:
        return image.mode in ("1", "L", "LA")


def write(path: str | os.PathLike[str], picture: NDArray[np.uint8]) -> None:
    """Writes (H, W, 3) uint8 RGB, or (H, W, 1) gray, as PNG, JPEG or WebP, as the suffix says: the whole file, or nothing.

    Raises:
        ValueError: a suffix that is none of these.
        OSError: the system refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(WRITABLE)}")
    image = pillow().Image.fromarray(picture[..., 0] if picture.shape[2:] == (1,) else picture)
    data = io.BytesIO()
    image.save(data, WRITABLE[path.suffix.lower()], quality=95)
    write_file(path, data.getvalue())

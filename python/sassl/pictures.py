"""Finding, reading and writing pictures: read as the loader reads them, written with Pillow, whole files or none."""

from __future__ import annotations

import glob
import io
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._sassl import decode, image_suffixes, list_images, write_file

if TYPE_CHECKING:
    from PIL.Image import Image

#: Suffixes of pictures in a folder: torchvision's list, which the loader has too.
SUFFIXES = tuple(f".{suffix}" for suffix in image_suffixes())
#: Formats that `write` writes, by suffix, under Pillow's names.
WRITABLE = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
#: PIL modes with 8 bits a channel.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
#: PIL modes of one channel, and the value that is white. Pillow's own `convert` cuts them at 255.
WHITE = {"I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;16N": 65535, "I": 65535, "F": 1}


def pillow() -> Any:
    """Pillow's modules, or a sentence on how to get them."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise ImportError("pictures are read with Pillow: pip install 'sassl[demo]'") from None
    return PIL


def find(inputs: Iterable[str | os.PathLike[str]], left_out: Counter[str] | None = None) -> list[Path]:
    """The pictures that these files, folders (with their subfolders) and glob patterns name, sorted, each once.

    In folders, a picture is what has one of `SUFFIXES`, and no name that begins with a dot.

    Args:
        inputs: files, folders and patterns.
        left_out: counts what is left out of folders, "hidden" and "other" files; None: a warning tells of hidden ones.

    Raises:
        OSError: an input that names none; a subfolder that cannot be listed.
    """
    found: dict[Path, None] = {}
    for item in (os.fspath(item) for item in inputs):
        path = Path(item)
        if path.is_dir():
            some = _find_below(path, left_out)
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


def _find_below(root: Path, left_out: Counter[str] | None) -> list[Path]:
    """Lists a folder by the rule of `sassl.data.ImageFolder`: no hidden files, links followed, each folder once."""
    found, hidden, others = list_images(root)
    if left_out is not None:
        left_out.update({kind: n for kind, n in (("hidden", hidden), ("other", others)) if n})
    elif hidden:
        warnings.warn(f"{root}: {hidden} hidden files or folders left out", stacklevel=3)
    return sorted(map(Path, found))


def read(path: str | os.PathLike[str], *, exif: bool = True) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) uint8 RGB, as the loader reads it; `exif` as in `sassl.transforms.functional.decode`.

    Raises:
        ValueError: no picture that is read, or a damaged one.
        OSError: the file cannot be read.
    """
    return decode(path, exif=exif)


def rgb(picture: Image | NDArray[np.uint8], name: str = "picture") -> NDArray[np.uint8]:
    """A PIL image or an array as (H, W, 3) uint8 RGB; transparency is dropped.

    A PIL image is taken as it is: whoever opened it has turned it, or not. Gray of 16 bits, in the modes I;16 and I, is scaled
    to 8 bits and rounded; in mode F, 1 is white.

    Raises:
        TypeError: neither of them.
        ValueError: an array of another shape or dtype, another PIL mode, values beyond white. `name` is what the message calls
            it.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"{name}: expected an (H, W, 3) uint8 array, got {picture.shape} of {picture.dtype}")
        return picture
    if not hasattr(picture, "convert"):
        raise TypeError(f"{name}: expected a path, a PIL image or an array, got {type(picture).__name__}")
    if picture.mode in WHITE:
        return _eight_bits(picture, name)
    if picture.mode not in MODES:
        modes = ", ".join((*MODES, *WHITE))
        raise ValueError(f"{name}: PIL mode {picture.mode!r}; convert it to one of {modes}")
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
        return image.mode in ("1", "L", "LA", *WHITE)


def _eight_bits(picture: Image, name: str) -> NDArray[np.uint8]:
    white = WHITE[picture.mode]
    gray = np.asarray(picture, np.float64)
    if not ((gray >= 0) & (gray <= white)).all():
        raise ValueError(
            f"{name}: values from {gray.min():.7g} to {gray.max():.7g} in PIL mode {picture.mode!r}, where 0 is black and "
            f"{white} is white; scale them to that range"
        )
    eight = np.floor(gray * (255 / white) + 0.5).astype(np.uint8)
    return np.repeat(eight[:, :, None], 3, axis=2)


def write(path: str | os.PathLike[str], picture: NDArray[np.uint8], profile: bytes | None = None) -> None:
    """Writes (H, W, 3) uint8 RGB, or (H, W, 1) gray, as PNG, JPEG or WebP, as the suffix says: the whole file, or nothing.

    Args:
        path: where.
        picture: what.
        profile: the ICC profile that goes into the file.

    Raises:
        ValueError: a suffix that is none of these.
        OSError: the system refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(WRITABLE)}")
    image = pillow().Image.fromarray(picture[..., 0] if picture.shape[2:] == (1,) else picture)
    data = io.BytesIO()
    image.save(data, WRITABLE[path.suffix.lower()], quality=95, icc_profile=profile)
    write_file(path, data.getvalue())

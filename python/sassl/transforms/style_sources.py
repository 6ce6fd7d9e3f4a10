"""Sources of styles: a bank, a Gaussian, or the images of the batch.

A source is specified by its name, a file, vectors or images.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

import numpy as np

from .._sassl import Bank, Gaussian, Stylizer, load_styles
from ..bank import StyleBank
from ..image_files import SUFFIXES
from ..images import is_image

#: A bank, a Gaussian, or None for the images of the batch.
Source = StyleBank | Gaussian | None


def source(styles: Any, stylizer: Stylizer) -> tuple[Source, str | None, str]:
    """Convert the argument `styles` of a `SASSL` to a source.

    Returns:
        (source, name, text). `name` is the name of the source in a configuration: "default", "batch", a folder or a file; or
        None for a source without a name. `text` is the argument `styles` in the `repr` of the `SASSL`.
    """
    if isinstance(styles, StyleBank):
        return styles, styles.source, repr(styles)
    if isinstance(styles, Gaussian):
        return styles, None, repr(styles)
    if isinstance(styles, (str, os.PathLike)):
        name = os.fspath(styles)
        return _named(name, stylizer), name, repr(name)
    first: Any = styles[0] if isinstance(styles, (list, tuple)) and styles else None
    if isinstance(first, (str, os.PathLike)) or (is_image(first) and np.ndim(first) != 1):
        return StyleBank.from_images(styles, stylizer), None, f"{len(styles)} images"
    try:
        vectors = np.asarray(styles)
    except (TypeError, ValueError, RuntimeError):
        vectors = np.array(None)
    if vectors.dtype.kind not in "fiu" or not vectors.ndim:
        raise TypeError(
            "styles must be 'default', 'batch', a folder, a bank file, a StyleBank, a Gaussian, vectors (n, dim) or a "
            f"list of images, got {type(styles).__name__}"
        )
    bank = StyleBank.from_vectors(vectors, stylizer)
    return bank, None, f"{len(bank)} vectors"


def _named(styles: str, stylizer: Stylizer) -> Source:
    if styles in ("default", "batch"):
        return StyleBank.default() if styles == "default" else None
    if os.path.isdir(styles) or styles.lower().endswith(SUFFIXES):
        return StyleBank.from_images(styles, stylizer)
    if not os.path.exists(styles):
        raise FileNotFoundError(
            f"styles must be an existing folder or bank file, got {styles!r}; or pass 'default', 'batch', a "
            "StyleBank, vectors or images"
        )
    found = load_styles(styles)
    return found if isinstance(found, Gaussian) else StyleBank.load(styles)


def checksum(styles: Source | Bank) -> str | None:
    """The CRC-32, in hexadecimal, of a bank's vectors or of a Gaussian's mean and axes; None for styles of the batch."""
    if styles is None:
        return None
    parts = [styles.mean, styles.axes] if isinstance(styles, Gaussian) else [styles.vectors]
    found = 0
    for part in parts:
        found = zlib.crc32(np.ascontiguousarray(part).data, found)
    return f"{found:08x}"


def save(styles: Source, file: str | os.PathLike[str]) -> None:
    """Write styles in float32 to a file that `styles=` accepts, atomically. For styles of the batch, nothing is written."""
    if isinstance(styles, Gaussian):
        styles.save(file)
    elif styles is not None:
        styles.save(file, exact=True)

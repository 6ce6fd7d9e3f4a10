"""Convert an argument to a source of images."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .arrays import Arrays
from .base import Images
from .files import Files, ImageFolder
from .objects import Objects
from .webdataset import WebDataset, is_shard


def as_images(source: Any) -> Images:
    """Convert a path, list, array or dataset to a source of images, as `TwoViewLoader` does.

    Raises:
        TypeError: an argument of another type.
    """
    if isinstance(source, Images):
        return source
    if isinstance(source, (str, bytes, os.PathLike)):
        return WebDataset(source) if is_shard(source) else ImageFolder(source)
    if isinstance(source, np.ndarray):
        return Arrays(source)
    if isinstance(source, (list, tuple)) and source and isinstance(source[0], (str, bytes, os.PathLike)):
        return WebDataset(source) if all(map(is_shard, source)) else Files(source)
    return Objects(source)

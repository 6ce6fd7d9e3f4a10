"""WebDataset: shards, by path or by pattern."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from typing import Any

from .._sassl import Source
from ..arguments import choice, flag
from .base import File, Images, is_path, left_out


class WebDataset(Images):
    """Shards of WebDataset: tar files that contain `<key>.jpg` (png, webp) and `<key>.cls` side by side.

    The shards are listed once, so that whole epochs are shuffled and images can be read in any order. As in the package
    webdataset, a sample's key is the part of a file's name before the first dot: `a.v2.jpg` is the file `v2.jpg` of the sample
    `a`, and not an image. Files such as `a.v2.jpg`, samples without an image, hidden files and `__MACOSX` are left out; `repr`
    shows how many. The class is the integer in the `.cls` file, and 0 for all images if the shards have no `.cls` files.
    `.json` files are not read.

    Args:
        shards: paths, or a pattern such as "train-*.tar" or "train-{000..012}.tar"; an existing path is not read as a pattern.
        on_error: "raise", or "report": use the readable part of a damaged shard, which may be empty, and list the shard in
            `damaged`.
        exif: rotate images upright by their EXIF orientation; False: use them as stored, like torchvision's `ImageFolder`.

    Raises:
        OSError: a shard is missing or cannot be read.
        TypeError: shards that are not paths.
        ValueError: a shard that is damaged, compressed or without an image; a class that is not an integer or has no image;
            two images with the same key; some images with a class and some without.
    """

    def __init__(self, shards: File | Sequence[File], on_error: str = "raise", exif: bool = True) -> None:
        choice("on_error", on_error, ("raise", "report"))
        if isinstance(shards, (str, bytes, os.PathLike)):
            found = _matching(os.fsdecode(shards))
        else:
            if not isinstance(shards, (list, tuple)) or not shards:
                raise TypeError(f"shards must be a path, a pattern, or a list of at least one path, got {shards!r}")
            found = [os.fsdecode(shard) for shard in shards]
        self.core = Source.shards(list(found), on_error == "report", flag("exif", exif))

    def __repr__(self) -> str:
        classes = "" if self.core.has_classes else ", without classes"
        return f"WebDataset({len(self)} images{classes}{left_out(self.core)})"

    @property
    def damaged(self) -> list[tuple[str, str]]:
        """Shards that could be read only in part: (path, reason)."""
        return self.core.damaged


def is_shard(path: Any) -> bool:
    """Return whether an argument is a path with the suffix of a tar file, compressed or not."""
    if not isinstance(path, (str, bytes, os.PathLike)) or (isinstance(path, bytes) and not is_path(path)):
        return False
    return os.fsdecode(path).lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))


def _matching(pattern: str) -> list[str]:
    """The files that match a pattern; an existing path matches itself."""
    if os.path.exists(pattern):
        return [pattern]
    found: list[str] = []
    for path in _braces(pattern):
        some = [path] if os.path.exists(path) else sorted(glob.glob(path))
        if not some:
            raise FileNotFoundError(f"{path}: no such file, and no file matches it as a pattern")
        found += some
    return found


def _braces(pattern: str) -> list[str]:
    """Expand the shell's `{000..012}` and `{a,b}`, in order."""
    parts = re.split(r"\{(\d+\.\.\d+|[^{}]*,[^{}]*)\}", pattern)
    choices = []
    for i, part in enumerate(parts):
        first, _, last = part.partition("..")
        if i % 2 == 0:
            choices.append([part])
        elif "," in part:
            choices.append(part.split(","))
        else:
            by = 1 if int(first) <= int(last) else -1
            is_padded = any(len(end) > 1 and end[0] == "0" for end in (first, last))
            width = max(len(first), len(last)) if is_padded else 0
            choices.append([f"{n:0{width}}" for n in range(int(first), int(last) + by, by)])
    return ["".join(chosen) for chosen in itertools.product(*choices)]

"""WebDataset's shards, by path or by pattern."""

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
    """Shards of WebDataset: tar files in which `<key>.jpg` (png, webp) and `<key>.cls` stand side by side.

    They are listed once, so that an epoch is shuffled as a whole and any image can be read at any time. As in the package
    webdataset, a key is what stands before the first dot of a file's name: `a.v2.jpg` is no image, but the file `v2.jpg` of the
    sample `a`. Such files are left out, and so are those of samples without an image, hidden ones and `__MACOSX`; `repr` gives
    their numbers. A class is the whole number in a `.cls`, and 0 for all where there is none: `.json` is not read.

    Args:
        shards: paths, or a pattern such as "train-*.tar" or "train-{000..012}.tar"; what exists by its own name is none.
        on_error: "raise", or "report": of a damaged shard, take what can be read, be it nothing; `damaged` tells.
        exif: whether images are turned upright, as their EXIF orientation says; False: as torchvision's `ImageFolder` does.

    Raises:
        OSError: a shard is missing or cannot be read.
        TypeError: no paths.
        ValueError: a shard that is damaged, compressed or without an image; a class that is no whole number or stands beside no
            image; two images of one key; images with a class beside others without.
    """

    def __init__(self, shards: File | Sequence[File], on_error: str = "raise", exif: bool = True) -> None:
        choice("on_error", on_error, ("raise", "report"))
        if isinstance(shards, (str, bytes, os.PathLike)):
            found = _matching(os.fsdecode(shards))
        else:
            if not isinstance(shards, (list, tuple)) or not shards:
                raise TypeError(f"shards = {shards!r}: expected a path, a pattern, or a list of at least one path")
            found = [os.fsdecode(shard) for shard in shards]
        self.core = Source.shards(list(found), on_error == "report", flag("exif", exif))

    def __repr__(self) -> str:
        classes = "" if self.core.has_classes else ", without classes"
        return f"WebDataset({len(self)} images{classes}{left_out(self.core)})"

    @property
    def damaged(self) -> list[tuple[str, str]]:
        """Shards of which only a part is here, and why."""
        return self.core.damaged


def is_shard(path: Any) -> bool:
    """Whether an argument is the path of a tar file, compressed or not."""
    if not isinstance(path, (str, bytes, os.PathLike)) or (isinstance(path, bytes) and not is_path(path)):
        return False
    return os.fsdecode(path).lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))


def _matching(pattern: str) -> list[str]:
    """The files that a pattern means; what exists under its own name is none."""
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
    """A shell's `{000..012}` and `{a,b}`, in order."""
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

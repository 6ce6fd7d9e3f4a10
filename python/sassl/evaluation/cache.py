"""Features stored in a folder, image by image, so that a model encodes each image once.

    cache = Cache("features", weights="sha256 of the checkpoint")
    train = evaluation.extract(model, "photos/train", cache=cache)

Stored features are used by any protocol, split, seed or number of shots that needs the same images with the same preprocessing.
An image file is identified by its path, its size and its modification time in whole seconds. An image that is not a separate
file is identified by its pixels.

Features are stored as they are computed, in files of several thousand images each. Files are written atomically, so that an
interrupted run can resume.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from .._sassl import write_file
from ..arguments import wrong
from ..data import Images
from .preprocessing import Preprocessing

#: The tag of an image that cannot be read. Other tags are 64-bit hashes that identify images.
NONE = 0
#: Number of images whose tags a thread computes at a time.
_CHUNK = 256


class Cache:
    """A folder that stores the features of a model.

    Args:
        folder: the folder, which several models may share.
        weights: a string that identifies the model's weights, such as a checksum of its checkpoint.

    Raises:
        ValueError: `weights` is empty; `folder` is a file.
    """

    def __init__(self, folder: str | os.PathLike[str], weights: str | None) -> None:
        if not weights:
            raise ValueError(
                f"weights must be a string that identifies the model's weights, by which features are kept, got {weights!r}"
            )
        self.folder, self.weights = Path(folder), weights
        if self.folder.exists() and not self.folder.is_dir():
            raise wrong("cache", str(folder), "a folder for features, which is created if it is missing")

    def __repr__(self) -> str:
        return f"Cache({str(self.folder)!r}, weights={self.weights!r})"

    def shelf(self, rule: Preprocessing, exif: bool) -> Shelf:
        """Return the part of the cache for images with this preprocessing, with or without EXIF orientation applied."""
        known = {"weights": self.weights, "rule": repr(rule), "exif": exif}
        return Shelf(self.folder / sha256(json.dumps(known).encode()).hexdigest()[:32], known)


class _Index(NamedTuple):
    #: Stored tags, ascending. For each tag, `files` has the index of its file in `paths`, and `rows` its row in that file.
    tags: NDArray[np.uint64]
    files: NDArray[np.int64]
    rows: NDArray[np.int64]
    paths: list[Path]

    def places(self, tags: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return, for each tag, its position in the index, and whether the tag is stored."""
        at = np.minimum(np.searchsorted(self.tags, tags), max(0, len(self.tags) - 1))
        there = self.tags[at] == tags if len(self.tags) else np.zeros(len(tags), bool)
        return at, there & (tags != NONE)


class Shelf:
    """Stored features of one model with one preprocessing.

    Args:
        folder: the folder of the feature files.
        known: a description of the features, written to the folder for human readers.
    """

    def __init__(self, folder: Path, known: dict[str, Any]) -> None:
        self._folder, self._known = folder, known
        self._index: _Index | None = None

    def has(self, tags: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return, for each image, whether its features are stored.

        Raises:
            ValueError: a damaged file.
        """
        return self._indexed().places(tags)[1]

    def add(self, tags: NDArray[np.uint64], features: list[NDArray[np.float32]]) -> None:
        """Store the features of the images with these tags, given as a list of batches.

        Raises:
            OSError: the files cannot be written.
        """
        if not len(tags):
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / "about.json").exists():
            write_file(self._folder / "about.json", json.dumps(self._known, indent=1).encode())
        data = io.BytesIO()
        np.savez(data, tags=tags, features=np.concatenate(features))
        write_file(self._folder / f"{sha256(tags.tobytes()).hexdigest()[:32]}.npz", data.getvalue())
        self._index = None

    def read(self, tags: NDArray[np.uint64]) -> NDArray[np.float32]:
        """Return the features (N, dim) of the images with these tags; all of the tags must be stored.

        Raises:
            ValueError: a damaged file.
        """
        index = self._indexed()
        at, _ = index.places(tags)
        files, rows = index.files[at], index.rows[at]
        order = np.argsort(files, kind="stable")
        found: NDArray[np.float32] | None = None
        for group in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):
            path = index.paths[files[group[0]]]
            part = _member(path, "features")
            if found is None:
                found = np.empty((len(tags), part.shape[1]), np.float32)
            elif part.shape[1] != found.shape[1]:
                raise _damaged(path, f"features of {part.shape[1]} values, where others have {found.shape[1]}")
            found[group] = part[rows[group]]
        assert found is not None
        return found

    def _indexed(self) -> _Index:
        if self._index is None:
            paths = sorted(self._folder.glob("*.npz"))
            parts = [_member(path, "tags") for path in paths]
            tags = np.concatenate([np.empty(0, np.uint64), *parts])
            files = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            rows = np.concatenate([np.empty(0, np.int64), *(np.arange(len(part)) for part in parts)])
            order = np.argsort(tags, kind="stable")
            self._index = _Index(tags[order], files[order], rows[order], paths)
        return self._index


def _member(path: Path, name: str) -> NDArray[Any]:
    """Return an array of a file: "tags" (N,) or "features" (N, dim).

    Raises:
        ValueError: a missing or damaged array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            array: NDArray[Any] = held[name]
    except (ValueError, TypeError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise _damaged(path, str(error)) from None
    axes, dtype = {"tags": (1, np.uint64), "features": (2, np.float32)}[name]
    if array.ndim != axes or array.dtype != dtype:
        raise _damaged(path, f"{name} of shape {array.shape}, {array.dtype}")
    return array


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(
        f"{path}: does not hold features, or is damaged ({why}); delete it, and the features of its images are computed again"
    )


def tagged(
    images: Images, threads: int, report: Callable[[int], object]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the tag and the class of each image; for an image that cannot be read, `NONE` and -1.

    Args:
        images: the images.
        threads: number of threads.
        report: a function that is called with the number of images done so far.
    """
    tags, targets = np.zeros(len(images), np.uint64), np.full(len(images), -1, np.int64)

    def look(first: int) -> int:
        last = min(first + _CHUNK, len(images))
        for i in range(first, last):
            try:
                tags[i], targets[i] = _tag(images, i)
            except (OSError, ValueError):
                tags[i] = NONE
        return last

    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(look, range(0, len(images), _CHUNK)):
            report(done)
    return tags, targets


def _tag(images: Images, i: int) -> tuple[int, int]:
    """Return an image's tag (a 64-bit hash) and its class."""
    file = images.file(i)
    if file is None:
        image, target = images[i]
        known = f"{image.shape}\0".encode() + image.tobytes()
    else:
        path, target = file
        about = os.stat(path)
        # Archives and copies that keep the modification time keep at least its whole seconds.
        known = f"{os.path.abspath(path)}\0{about.st_size}\0{int(about.st_mtime)}".encode(errors="surrogateescape")
    return int.from_bytes(blake2b(known, digest_size=8).digest(), "little") or 1, target

"""Computation of features in spans of several thousand images, by one process or several, with an optional cache."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole
from ..data import Images
from ..data.ranks import Ranks, by_first, together
from ..progress import Shown, shown
from .cache import NONE, Cache, tagged
from .encoders import Model, features_of, rule_of, threads_of
from .preprocessing import Preprocessing

#: Images per rank in a span, rounded down to whole batches, at least one. After each span, all ranks synchronize, and features
#: are stored.
SPAN = 4096


class Part(NamedTuple):
    """Features computed for some of the images."""

    #: Features of each batch, (B, dim).
    features: list[NDArray[np.float32]]
    targets: list[int]
    #: Images that could not be read: name to reason.
    lost: dict[str, str]
    #: Indices of the images that could be read.
    rows: list[int]


class Read(NamedTuple):
    """Results for all images. Ranks other than 0 have empty features (N, 0); everything else is the same on all ranks."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    lost: dict[str, str]


class Reading(NamedTuple):
    """Images, and the settings for computing their features."""

    model: Model
    images: Images
    batch_size: int
    on_error: str
    rule: Preprocessing
    ranks: Ranks
    progress: Shown

    @property
    def _shown(self) -> Shown:
        """How progress is shown: as requested on rank 0, and not at all on other ranks."""
        return self.progress if self.ranks.rank == 0 else False

    def fresh(self) -> Read:
        """Compute and return the features of all images."""
        return self._told(*filled(self.parts(range(len(self.images))), len(self.images)))

    def kept(self, cache: Cache) -> Read:
        """Return the features of all images. Features that the cache lacks are computed and stored there.

        Raises:
            OSError, ValueError: as raised by `read_part`; a file of the cache that is damaged or cannot be written.
        """
        images, ranks, shelf = self.images, self.ranks, cache.shelf(self.rule, self.images.core.exif)
        tags, targets = np.empty(0, np.uint64), np.empty(0, np.int64)

        def look() -> NDArray[np.int64]:
            nonlocal tags, targets
            with shown(self._shown, f"looking up features of {images!r}", len(images), "images") as told:
                tags, targets = tagged(images, threads_of(self.model), told)
            return np.flatnonzero(~shelf.has(tags))

        def keep(part: Part) -> None:
            own = tags[part.rows] if part.rows else tags[:0]
            if (own == NONE).any():
                name = images.name(part.rows[int((own == NONE).argmax())])
                raise OSError(f"{name}: could be read, which was not so a moment before; run it again")
            shelf.add(own, part.features)

        def load() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            # The other ranks may not have access to the cache.
            there = shelf.has(tags) if ranks.rank == 0 else np.empty(0, bool)
            return shelf.read(tags[there]) if there.any() else np.empty((0, 0), np.float32), targets[there]

        lost: dict[str, str] = {}
        for part in self.parts(by_first(ranks, look)):
            together(ranks, partial(keep, part))
            lost |= part.lost
        return self._told(*together(ranks, load), lost)

    def parts(self, rows: Sequence[int] | NDArray[np.int64]) -> Iterator[Part]:
        """Yield a `Part` for each span of the images with these indices, in order.

        Rank 0 yields the results of all ranks; other ranks yield empty parts. A span is several thousand images per rank. Each
        rank computes some of the batches of a span. Batches are not split, and so features are bit-identical for any number of
        ranks.
        """
        ranks, size = self.ranks, self.batch_size
        span = max(1, SPAN // size) * size * ranks.world_size
        with shown(self._shown, f"features of {self.images!r}", len(rows), "images") as told:
            for first in range(0, len(rows), span):
                n = min(span, len(rows) - first)
                batches = -(-n // size)
                begin, end = (
                    min(n, batches * place // ranks.world_size * size) for place in (ranks.rank, ranks.rank + 1)
                )
                own = [int(i) for i in rows[first + begin : first + end]]
                told_of = partial(_about, told, first, n, ranks.world_size)
                rest = (self.images, own, size, self.on_error, self.rule, told_of)
                yield _merged(ranks.collect(together(ranks, partial(read_part, self.model, *rest))))
                told(first + n)

    def _told(self, features: NDArray[np.float32], targets: NDArray[np.int64], lost: dict[str, str]) -> Read:
        """Return the results; on ranks other than 0, without the features."""
        targets, lost = self.ranks.broadcast((targets, lost))
        return Read(features if self.ranks.rank == 0 else np.empty((len(targets), 0), np.float32), targets, lost)


def _about(told: Callable[[int], object], first: int, n: int, ranks: int, done: int) -> None:
    """Report the progress of a span, estimated as that of rank 0 times the number of ranks."""
    told(first + min(n, done * ranks))


def _merged(parts: Sequence[Part]) -> Part:
    merged = Part([], [], {}, [])
    for part in parts:
        merged.features.extend(part.features)
        merged.targets.extend(part.targets)
        merged.lost.update(part.lost)
        merged.rows.extend(part.rows)
    return merged


def filled(parts: Iterable[Part], n: int) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, str]]:
    """Concatenate parts of at most n images in total as they arrive, without storing any feature twice.

    Returns:
        The features (N, dim), the classes, and the images that could not be read.
    """
    features, targets, lost = np.empty((0, 0), np.float32), list[int](), dict[str, str]()
    done = 0
    for part in parts:
        for rows in part.features:
            if not done:
                features = np.empty((n, rows.shape[1]), np.float32)
            features[done : done + len(rows)] = rows
            done += len(rows)
        targets.extend(part.targets)
        lost.update(part.lost)
    return features[:done], np.asarray(targets, np.int64), lost


def read_part(
    model: Model,
    images: Images,
    rows: Sequence[int],
    batch_size: int = 256,
    on_error: str = "raise",
    preprocessing: Preprocessing | None = None,
    told: Callable[[int], object] = lambda done: None,
) -> Part:
    """Compute the features of the images with the indices `rows`; other arguments and errors are those of `extract`.

    `told` is called with the number of images done so far.
    """
    batch_size, rule = whole("batch_size", batch_size, 1), rule_of(model, preprocessing)

    def made(i: int) -> tuple[NDArray[np.float32], int] | Exception:
        try:
            image, target = images[i]
            return rule(image), target
        except (ValueError, OSError) as error:
            # Running out of descriptors or memory is not the image's fault.
            if on_error == "raise" or getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            return error

    part = Part([], [], {}, [])
    with features_of(model) as encoded, ThreadPoolExecutor(threads_of(model)) as threads:
        # The next batch is read while the current one is encoded.
        ahead = threads.map(made, rows[:batch_size])
        for first in range(0, len(rows), batch_size):
            numbers, now = rows[first : first + batch_size], ahead
            ahead = threads.map(made, rows[first + batch_size : first + 2 * batch_size])
            batch: list[NDArray[np.float32]] = []
            for i, one in zip(numbers, now, strict=True):
                if isinstance(one, Exception):
                    part.lost[images.name(i)] = str(one)
                else:
                    batch.append(one[0])
                    part.targets.append(one[1])
                    part.rows.append(i)
            if batch:
                part.features.append(encoded(np.stack(batch)))
            told(first + len(numbers))
    return part

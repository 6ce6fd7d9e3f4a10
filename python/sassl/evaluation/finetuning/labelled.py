"""Training and validation images as one set with common class indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arguments import whole
from ...data import Images, Selection, as_images
from ..features import Features
from ..probes import joined_classes


class Labelled:
    """The images of train, followed by the images of val, as one sequence.

    Args:
        train: labelled images, in any form that a `TwoViewLoader` takes.
        val: labelled validation images; None: there are none.

    Raises:
        OSError, TypeError: as raised by the sources.
        ValueError: images without a class; only one class.
    """

    def __init__(self, train: Any, val: Any = None) -> None:
        self._images: list[Images] = [as_images(one) for one in (train, val) if one is not None]
        rows = _rows(self._images[0])
        #: Number of images of train.
        self.train = len(rows.targets)
        targets, self.names = rows.targets, rows.classes
        if val is not None:
            rows, more = joined_classes(rows, _rows(self._images[1]))
            targets, self.names = np.concatenate([rows.targets, more.targets]), rows.classes
        self.targets: NDArray[np.int64] = targets
        #: Labels of the classes that occur, ascending.
        self.labels: NDArray[np.int64] = np.unique(targets)
        if len(self.labels) < 2:
            raise ValueError(f"targets must have at least two classes, got {self.labels.tolist()}")

    @property
    def all(self) -> NDArray[np.int64]:
        """Indices of all images."""
        return np.arange(len(self.targets))

    def split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of training images, and of validation images, for choosing among settings.

        Validation images are the images of val; without val, a fifth of train, drawn with the seed.

        Raises:
            ValueError: fewer than 5 images of train, without val.
        """
        if self.train < len(self.targets):
            first, second = np.split(self.all, [self.train])
            return first, second
        if self.train < 5:
            raise ValueError(
                f"train must have at least 5 images, a fifth of which is held out, got {self.train}; or give val"
            )
        order = np.random.default_rng(whole("seed", seed)).permutation(self.train)
        held, kept = np.split(order, [self.train // 5])
        return kept, held

    def part(self, rows: Sequence[int] | NDArray[np.int64]) -> Selection:
        """Return the images with the indices `rows`, with classes as indices into `labels`."""
        places = np.searchsorted(self.labels, self.targets[rows])
        return Selection(self._images, [int(row) for row in rows], places.tolist())

    @property
    def rows(self) -> Features:
        """The classes of all images, with empty features."""
        return Features(np.empty((len(self.targets), 0), np.float32), self.targets, self.names)

    def identity(self) -> list[dict[str, Any]]:
        """Return JSON values that identify the images of train and of val."""
        return [images.identity() for images in self._images]


def _rows(images: Images) -> Features:
    """Return the classes of images, with empty features."""
    targets = np.asarray(images.labels(), np.int64)
    return Features(np.empty((len(targets), 0), np.float32), targets, images.classes)

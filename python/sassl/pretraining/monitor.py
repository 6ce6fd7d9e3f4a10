"""How good the features are while they are learnt: nearest neighbours and a linear probe, after some epochs."""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import evaluation
from ..arguments import choice, whole
from ..data import as_images
from ..data.classes import numbered
from ..data.ranks import Ranks

#: Images that are learnt from, for one that is encoded: forward once, where a step goes forward and back through two views.
_RATIO = 10


class Monitor:
    """Accuracies on labelled images that are not learnt from, in per cent.

    Neighbours and the probe's examples are the features of left views as pretraining computed them in the epoch, so that only
    the images of `data` have to be encoded (as solo-learn has it). Of an epoch that was resumed within, they are not whole, and
    nothing is measured. `sassl.evaluation` is the measure to report; this one tells
    whether a run goes well.

    Args:
        data: labelled images, whatever a `TwoViewLoader` takes; their classes are those of the training images, by names where
            both have names. Training images without a class (-1) are no neighbours.
        every: epochs between, the last one always; None: as many as keep the images it encodes to a tenth of those learnt from.
        bank: features that are kept, the newest ones.
        k: neighbours, or all features where they are fewer.
        probe_epochs: of the linear probe, 0 for none.
        on_error: of an image that cannot be read, as `sassl.evaluation.extract` has it; None: as of the training images.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(
        self,
        data: Any,
        every: int | None = None,
        *,
        bank: int = 65_536,
        k: int = 200,
        probe_epochs: int = 10,
        on_error: str | None = None,
    ) -> None:
        self.data, self.every = as_images(data), None if every is None else whole("every", every, 1)
        #: Names of the training images' classes, by which those of `data` are numbered; `fit` sets it.
        self.classes: list[str] | None = None
        self._on_error: str | None = choice("on_error", on_error, ("raise", "report", None))
        self._policy, self._left_out = on_error or "raise", 0
        self._is_begun = False
        self._bank, self._k = whole("bank", bank, 2), whole("k", k, 1)
        self._probe_epochs = whole("probe_epochs", probe_epochs)
        self._kept: deque[tuple[NDArray[np.float32], NDArray[np.int64]]] = deque()
        self._rows = 0

    def is_due(self, epoch: int, epochs: int, images: int) -> bool:
        """Whether it measures after this epoch of so many images, counted from 0."""
        every = self.every or max(1, -(-_RATIO * len(self.data) // images))
        return (epoch + 1) % every == 0 or epoch + 1 == epochs

    def begin(self, classes: list[str] | None, on_error: str) -> None:
        """What a run knows of its training images: names of their classes, and what is done about those that cannot be read.

        Raises:
            ValueError: no image, classes that the training images have not, one class only.
        """
        self._policy = self._on_error or on_error
        self.classes = None if self.data.classes is None else classes
        self._is_begun, self._left_out = False, 0
        if not len(self.data):
            raise ValueError("monitor: there is no image")
        if classes is not None and len(classes) == 1:
            raise ValueError(
                f"monitor: {classes[0]!r} is the only class of the training images; there is nothing to tell apart"
            )
        numbered(self.data, self.classes)

    def labels(self, targets: Any, n: int) -> NDArray[np.int64] | None:
        """The classes of a batch of n images; None where there are none.

        Raises:
            ValueError: of the first batch, there are none; that is before the first step.
        """
        classes = np.asarray(targets)
        if classes.shape == (n,) and classes.dtype.kind in "iu":
            self._is_begun = True
            return classes.astype(np.int64)
        if self._is_begun:
            return None
        raise ValueError(f"monitor: expected {n} classes with the views, got {targets!r:.100}")

    def keep(self, features: NDArray[np.float32], classes: NDArray[np.int64]) -> None:
        """Features of a step and their classes."""
        is_known = classes >= 0
        self._kept.append((features[is_known], classes[is_known]))
        self._rows += int(is_known.sum())
        while self._rows - len(self._kept[0][0]) >= self._bank:
            self._rows -= len(self._kept.popleft()[0])

    def measure_on(self, model: evaluation.Encoder, ranks: Ranks) -> tuple[dict[str, float], list[str]]:
        """`knn_top1` and `linear_top1`, as far as they can be; and lines on what cannot. The features kept are let go.

        Each rank encodes its share of the images; rank 0 measures, on the features of all ranks, and all get its result.

        Raises:
            OSError, ValueError: an image that cannot be read, where `on_error` is "raise".
        """
        # By steps, the newest of which all ranks have, and within a step by the rows of the global batch, as one process does.
        steps = list(zip(*(reversed(kept) for kept in ranks.gather(list(self._kept))), strict=False))
        self.forget()
        kept = [part for step in reversed(steps) for part in step]
        if not any(len(classes) for _, classes in kept):
            return {}, ["not monitored, for no training image has a class"]
        n = len(self.data)
        share = range(n * ranks.rank // ranks.world_size, n * (ranks.rank + 1) // ranks.world_size)
        part, error = None, None
        try:
            part = evaluation.read_part(model, self.data, share, on_error=self._policy)
        except (OSError, ValueError) as raised:
            error = raised
        ranks.fail(error)
        parts, found = ranks.gather(part), None
        if ranks.rank == 0:
            try:
                found = self._measure(kept, evaluation.joined(parts, self.data, self.classes))
            except ValueError as raised:
                error = raised
        ranks.fail(error)
        told: tuple[dict[str, float], list[str]] = ranks.broadcast(found)
        return told

    def _measure(
        self, kept: list[tuple[NDArray[np.float32], NDArray[np.int64]]], test: evaluation.Features
    ) -> tuple[dict[str, float], list[str]]:
        features, targets = (np.concatenate(part)[-self._bank :] for part in zip(*kept, strict=True))
        train, told = evaluation.Features(features, targets), []
        test = evaluation.Features(test.features, test.targets, left_out=test.left_out)
        if len(test.left_out) != self._left_out:
            self._left_out = len(test.left_out)
            told.append(f"monitor: {evaluation.left_out(test)}")
        found: dict[str, float] = {}
        # Their warnings are lines of the run, also where warnings are errors.
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            try:
                found["knn_top1"] = evaluation.knn(train, test, k=self._k)["top1"]
                if self._probe_epochs:
                    found["linear_top1"] = evaluation.linear_probe(train, test, epochs=self._probe_epochs)["top1"]
            except (ValueError, MemoryError) as error:
                told.append(f"not monitored: {error}")
        return found, told + list(dict.fromkeys(f"monitor: {one.message}" for one in warned))

    def forget(self) -> None:
        """What was kept."""
        self._kept.clear()
        self._rows = 0

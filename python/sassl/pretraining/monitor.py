"""Evaluation of the features during a run, by nearest neighbours and a linear probe."""

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

#: The default minimum ratio of training images to encoded images. This keeps monitoring cheap: encoding an image takes one
#: forward pass, whereas training on it takes forward and backward passes of two views.
_RATIO = 10


class Monitor:
    """Measures the accuracy of the features, in per cent, on held-out labelled images during a run.

    The kNN classifier and the linear probe are fitted to features that pretraining has computed from left views in the epoch.
    Only the images of `data` have to be encoded, as in solo-learn. An epoch that was resumed midway is not measured, since
    a part of these features is missing. The monitor only indicates whether a run makes progress. For results to publish, use
    `sassl.evaluation`.

    Args:
        data: labelled images, in any form that a `TwoViewLoader` takes. Each class must be a class of the training images.
            Classes are matched by name if both data sets have class names. Training images without a class (-1) are not used.
        every: the interval between measurements in epochs; the last epoch is always measured. None: the shortest interval with
            at least ten training images per encoded image.
        bank: the maximum number of stored features; the newest ones of the epoch are stored.
        k: the number of neighbours; if fewer features are stored, all stored features.
        probe_epochs: epochs of the linear probe; 0: no linear probe.
        on_error: the policy for unreadable images of `data`, as in `sassl.evaluation.extract`; None: the policy for the
            training images.

    Raises:
        ValueError: an argument is out of range.
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
        #: The class names of the training images, which define the class indices of `data`; set by `fit`.
        self.classes: list[str] | None = None
        self._on_error: str | None = choice("on_error", on_error, ("raise", "report", None))
        self._policy, self._left_out = on_error or "raise", 0
        self._is_begun = False
        self._bank, self._k = whole("bank", bank, 2), whole("k", k, 1)
        self._probe_epochs = whole("probe_epochs", probe_epochs)
        self._kept: deque[tuple[NDArray[np.float32], NDArray[np.int64]]] = deque()
        self._rows = 0

    def is_due(self, epoch: int, epochs: int, images: int) -> bool:
        """Return whether to measure after an epoch.

        Args:
            epoch: the index of the epoch, counted from 0.
            epochs: the total number of epochs.
            images: the number of training images in the epoch.
        """
        every = self.every or max(1, -(-_RATIO * len(self.data) // images))
        return (epoch + 1) % every == 0 or epoch + 1 == epochs

    def begin(self, classes: list[str] | None, on_error: str) -> None:
        """Prepare for a run, given the class names of its training images and its policy for unreadable images.

        Raises:
            ValueError: `data` has no image; `data` has a class that is not a class of the training images; the training images
                have only one class.
        """
        self._policy = self._on_error or on_error
        self.classes = None if self.data.classes is None else classes
        self._is_begun, self._left_out = False, 0
        if not len(self.data):
            raise ValueError("monitor must have at least one image, got none")
        if classes is not None and len(classes) == 1:
            raise ValueError(f"monitor must have training images of at least two classes, got only {classes[0]!r}")
        numbered(self.data, self.classes)

    def labels(self, targets: Any, n: int) -> NDArray[np.int64] | None:
        """The class indices of a batch of n images; None if the batch has no classes, but an earlier batch did.

        Raises:
            ValueError: the first batch of the run has no classes.
        """
        classes = np.asarray(targets)
        if classes.shape == (n,) and classes.dtype.kind in "iu":
            self._is_begun = True
            return classes.astype(np.int64)
        if self._is_begun:
            return None
        raise ValueError(f"monitor requires {n} classes with the views, got {targets!r:.100}")

    def keep(self, features: NDArray[np.float32], classes: NDArray[np.int64]) -> None:
        """Store the features of a step with their classes."""
        is_known = classes >= 0
        self._kept.append((features[is_known], classes[is_known]))
        self._rows += int(is_known.sum())
        while self._rows - len(self._kept[0][0]) >= self._bank:
            self._rows -= len(self._kept.popleft()[0])

    def measure_on(self, model: evaluation.Encoder, ranks: Ranks) -> tuple[dict[str, float], list[str]]:
        """Measure `knn_top1` and `linear_top1`; return the accuracies, and lines to print about failures and warnings.

        Each rank encodes its share of the images; rank 0 measures on the features of all ranks, and broadcasts the result. The
        stored features are discarded.

        Raises:
            OSError, ValueError: an image cannot be read, and `on_error` is "raise".
        """
        # The order of a single process: by step, and within a step by global row. Ranks may have discarded different numbers of
        # old steps, so steps are matched from the newest.
        steps = list(zip(*(reversed(kept) for kept in ranks.gather(list(self._kept))), strict=False))
        self.forget()
        kept = [part for step in reversed(steps) for part in step]
        if not any(len(classes) for _, classes in kept):
            return {}, ["not monitored: no training image has a class"]
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
        # Warnings become lines of the run, even where warnings are turned into errors.
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
        """Discard the stored features."""
        self._kept.clear()
        self._rows = 0

"""How good the features are while they are learnt: nearest neighbours and a linear probe, after some epochs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole
from ..data.sources import as_images

if TYPE_CHECKING:
    from .methods import Pretraining

#: Images trained on for one that is encoded: forward once, where a step goes forward and back through two views.
_RATIO = 10


class Monitor:
    """Accuracies on labelled images that are not trained on, in per cent.

    Neighbours and the probe's examples are the features of left views as training computed them in the epoch, so that only
    the images of `data` have to be encoded (as solo-learn has it). Of an epoch that was resumed within, they are not whole, and
    nothing is measured. `sassl.evaluation` is the measure to report; this one tells
    whether a run goes well.

    Args:
        data: labelled images, whatever a `TwoViewLoader` takes; their classes are those of the training images.
        every: epochs between, the last one always; None: as many as keep the images it encodes to a tenth of those trained on.
        bank: features that are kept, the newest ones.
        k: neighbours, or all features where they are fewer.
        probe_epochs: of the linear probe, 0 for none.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(
        self, data: Any, every: int | None = None, *, bank: int = 65_536, k: int = 200, probe_epochs: int = 10
    ) -> None:
        self.data, self.every = as_images(data), None if every is None else whole("every", every, 1)
        #: Names of the training images' classes, by which those of `data` are numbered; `fit` sets it.
        self.classes: list[str] | None = None
        self._bank, self._k = whole("bank", bank, 2), whole("k", k, 1)
        self._probe_epochs = whole("probe_epochs", probe_epochs)
        self._kept: deque[tuple[NDArray[np.float32], NDArray[np.int64]]] = deque()
        self._rows = 0

    def is_due(self, epoch: int, epochs: int, images: int) -> bool:
        """Whether it measures after this epoch of so many images, counted from 0."""
        every = self.every or max(1, -(-_RATIO * len(self.data) // images))
        return (epoch + 1) % every == 0 or epoch + 1 == epochs

    def keep(self, features: NDArray[np.float32], targets: Any) -> None:
        """Features of a step and their classes."""
        classes = np.asarray(targets)
        if classes.shape != features.shape[:1] or classes.dtype.kind not in "iu":
            raise ValueError(f"monitor: expected {len(features)} classes with the views, got {targets!r:.100}")
        self._kept.append((features, classes.astype(np.int64)))
        self._rows += len(features)
        while self._rows - len(self._kept[0][0]) >= self._bank:
            self._rows -= len(self._kept.popleft()[0])

    def measure(self, model: Pretraining) -> dict[str, float]:
        """`knn_top1` and `linear_top1`; the features kept are let go."""
        from .. import evaluation

        features, targets = (np.concatenate(part)[-self._bank :] for part in zip(*self._kept, strict=True))
        self.forget()
        train, test = evaluation.Features(features, targets), evaluation.extract(model, self.data, classes=self.classes)
        try:
            found = {"knn_top1": evaluation.knn(train, test, k=self._k)["top1"]}
            if self._probe_epochs:
                found["linear_top1"] = evaluation.linear_probe(train, test, epochs=self._probe_epochs)["top1"]
        except ValueError as error:
            raise ValueError(
                f"monitor: {error}; the epoch is saved: resume with another monitor, or with none"
            ) from None
        return found

    def forget(self) -> None:
        """What was kept."""
        self._kept.clear()
        self._rows = 0

"""What takes the steps of fine-tuning: the protocol of both engines, and the weights that a classifier begins with."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, SupportsFloat
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ...data.ranks import Ranks

#: Tensors by name: networks under `backbone.` and `head.`, what SGD remembers under `optimizer.`.
State = dict[str, NDArray[np.float32]]

#: The classifier's name, and the standard deviation of its first weights, as in google-research/simclr; its biases begin at 0.
_HEAD, _DEVIATION = "head.0", 0.01


class Settings(NamedTuple):
    """How weights move: SGD as `torch.optim.SGD` on all parameters that learn, its decay on all of them."""

    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    #: How much of their running statistics norms replace in a step; None: as they have it.
    norm_momentum: float | None = None
    #: Whether the classifier alone learns, and the backbone is used as after training.
    frozen: bool = False


class Tuner(Protocol):
    """A backbone with its linear classifier, on one process or several, each of which has its rows of a batch."""

    #: Told in results.
    name: str
    ranks: Ranks

    def begin(self, settings: Settings) -> None:
        """Takes the pretrained weights again, a classifier by `first_head`, and an optimizer that has not moved."""

    def step(self, images: NDArray[np.float32], targets: NDArray[np.int64], lr: float, number: int) -> SupportsFloat:
        """Takes a step on this process's rows; returns the loss of all rows before it.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W), normalized.
            targets: (N,) classes, from 0 up.
            lr: the learning rate.
            number: the step's, from 0, by which networks that draw (dropout) do so.

        Raises:
            ValueError: images or classes that do not fit.
        """

    def scores(self, images: NDArray[np.float32]) -> Any:
        """Scores (N, classes) of images (N, H, W, 3) or (N, 3, H, W), networks being used as after training."""

    def state(self) -> State:
        """Everything that a later run needs."""

    def load_state(self, state: State) -> None:
        """Takes it; raises a ValueError where it does not fit."""


def first_head(features: int, classes: int, seed: int) -> State:
    """A classifier's first weights, the same for all engines."""
    weight = _DEVIATION * np.random.default_rng(seed).standard_normal((classes, features))
    return {f"{_HEAD}.weight": weight.astype(np.float32), f"{_HEAD}.bias": np.zeros(classes, np.float32)}


def checksum(state: State) -> str:
    """CRC-32 of a backbone's tensors, by which a run knows its model again."""
    found = 0
    for name in sorted(name for name in state if name.startswith("backbone.")):
        found = crc32(np.ascontiguousarray(state[name]).data, crc32(name.encode(), found))
    return f"{found:08x}"

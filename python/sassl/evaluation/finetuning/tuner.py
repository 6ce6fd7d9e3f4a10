"""The protocol of the two engines for fine-tuning, and the initial weights of a classifier."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, SupportsFloat
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ...data.ranks import Ranks

#: Tensors by name: networks under `backbone.` and `head.`, the optimizer's state under `optimizer.`.
State = dict[str, NDArray[np.float32]]

#: The classifier's name, and the standard deviation of its initial weights, as in google-research/simclr; biases start at 0.
_HEAD, _DEVIATION = "head.0", 0.01


class Settings(NamedTuple):
    """Settings of the optimizer and of batch norms.

    The optimizer is SGD, as in `torch.optim.SGD`, with weight decay on all trainable parameters.
    """

    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    #: Fraction of the running statistics that batch norms replace in a step (PyTorch's `momentum`); None: the network's own.
    norm_momentum: float | None = None
    #: True to train only the classifier, with the backbone in eval mode.
    frozen: bool = False


class Tuner(Protocol):
    """An engine for training a backbone and its classifier, in one process or in several processes that share a batch."""

    #: Name of the engine in results.
    name: str
    ranks: Ranks

    def begin(self, settings: Settings) -> None:
        """Start a run from the pretrained weights, with a classifier from `first_head` and a new optimizer."""

    def step(self, images: NDArray[np.float32], targets: NDArray[np.int64], lr: float, number: int) -> SupportsFloat:
        """Take a step on this process's rows; return the mean loss over the rows of all processes, before the step.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W), normalized.
            targets: (N,) class indices.
            lr: the learning rate.
            number: index of the step, from 0; it is part of the seed of random draws such as dropout.

        Raises:
            ValueError: images or classes that do not match the network.
        """

    def scores(self, images: NDArray[np.float32]) -> Any:
        """Return scores (N, classes) of images (N, H, W, 3) or (N, 3, H, W), with the network in eval mode."""

    def state(self) -> State:
        """Return everything that a later run needs to resume."""

    def load_state(self, state: State) -> None:
        """Restore a state returned by `state`.

        Raises:
            ValueError: the state does not match the network.
        """


def first_head(features: int, classes: int, seed: int) -> State:
    """Return the initial weights of a classifier. They depend only on these arguments, not on the engine."""
    weight = _DEVIATION * np.random.default_rng(seed).standard_normal((classes, features))
    return {f"{_HEAD}.weight": weight.astype(np.float32), f"{_HEAD}.bias": np.zeros(classes, np.float32)}


def checksum(state: State) -> str:
    """Return the CRC-32 of a backbone's tensors, in hexadecimal. A resumed run recognizes its model by this checksum."""
    found = 0
    for name in sorted(name for name in state if name.startswith("backbone.")):
        found = crc32(np.ascontiguousarray(state[name]).data, crc32(name.encode(), found))
    return f"{found:08x}"

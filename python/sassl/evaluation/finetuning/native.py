"""The native engine, in Rust: for CPUs, without torch; results are bit-identical for any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._sassl import FineTuner
from ...data.ranks import ALONE, share
from .tuner import Settings, State, Tuner, first_head


class Native(Tuner):
    """A fine-tuner that trains a copy of one of sassl's own models.

    Args:
        model: the model.
        classes: number of classes.
        threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
        seed: seed of the classifier's initial weights.

    Raises:
        ValueError: a model whose backbone this engine does not support; more than one process.
    """

    name, ranks = "native", ALONE

    def __init__(self, model: Any, classes: int, *, threads: int | None = None, seed: int = 0) -> None:
        backbone = getattr(model, "native_backbone", None)
        if backbone is None:
            raise ValueError(
                f'engine="native" requires a model with one of its backbones, got {type(model).__name__}; give engine="torch"'
            )
        if (ranks := share(None, None)[1]) > 1:
            raise ValueError(f'engine="native" requires a single process, got {ranks}; give engine="torch"')
        self._backbone, self._classes, self._threads, self._seed = backbone, classes, threads, seed
        self._weights = {f"backbone.{name}": np.asarray(x, np.float32) for name, x in model.state_dict().items()}
        self.begin(Settings())

    def begin(self, settings: Settings) -> None:
        """Start a run from the pretrained weights, with these settings."""
        how = {**settings._asdict(), "norm_momentum": 0.1 if settings.norm_momentum is None else settings.norm_momentum}
        self._core = FineTuner(self._backbone, self._classes, threads=self._threads, **how)
        head = first_head(self._core.features, self._classes, self._seed)
        self._core.load_state({**self._core.state(), **self._weights, **head})

    def step(self, images: NDArray[np.float32], targets: NDArray[np.int64], lr: float, number: int) -> float:
        """Take a step; see `Tuner.step`. `number` is not used, as these backbones make no random draws."""
        return self._core.step(images, targets, lr)

    def scores(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores (N, classes)."""
        return self._core.scores(images)

    def state(self) -> State:
        """Return the state of the network and the optimizer."""
        return self._core.state()

    def load_state(self, state: State) -> None:
        """Restore a state returned by `state`."""
        self._core.load_state(state)

"""Engines, which compute training steps. The loop and the models rely only on the protocol `Engine`; `Native` runs on CPUs.

An engine is chosen by name, as in `sassl.SimCLR(engine="native")`, or by a callable that builds an engine from a `Config` and
a number of threads. Several processes may form one engine. The global batch then consists of the batches of all processes.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from .._sassl import Trainer, backbone_names, load_checkpoint, save_checkpoint
from ..arguments import whole
from ..data.ranks import Alone, Ranks
from ..transforms.views import Views
from . import batches
from .config import Config

#: Tensors by name. The tensors of a backbone have torchvision's names.
State = dict[str, NDArray[np.float32]]


class Rates(NamedTuple):
    """The scheduled values of a step."""

    #: The learning rate.
    lr: float
    #: The peak learning rate, for networks that do not follow the schedule.
    fixed_lr: float
    #: The EMA coefficient of the momentum encoder; None: the method has no momentum encoder.
    momentum: float | None


class Report(NamedTuple):
    """The result of a step.

    An engine that works ahead returns the report before the step is complete. `float(value)` then waits for the step, and
    raises a ValueError if the loss is not finite. The loop reads the values one step late, to avoid the wait.
    """

    #: The loss of the global batch before the update.
    loss: SupportsFloat
    #: Other metrics of the global batch, by name.
    watched: Mapping[str, SupportsFloat]
    #: The features (N, dim) of this process's left views, computed in training mode, as an object that numpy can convert.
    features: Any


class Engine(Protocol):
    """The interface of engines for the loop and the models. Subclasses inherit defaults, such as `save` and `load`."""

    #: The name recorded in checkpoints.
    name: str
    ranks: Ranks = Alone()

    def __str__(self) -> str:
        return self.name

    def how(self) -> dict[str, Any] | None:
        """The keywords of `memory.estimate` that describe this engine; None: there is no estimate for this engine."""
        return None

    def room(self) -> tuple[int, int] | None:
        """The free and total memory of the engine's device in bytes; None: the engine uses main memory."""
        return None

    @property
    def threads(self) -> int:
        """The number of images to preprocess in parallel for this engine."""

    @property
    def features(self) -> int:
        """The dimension of the features."""

    def check_batch(self, batch: int) -> None:
        """Raise a ValueError if this batch size, over all processes, is not supported."""

    def loading(self, transform: Views) -> dict[str, Any]:
        """Further keywords for the `TwoViewLoader` of these views, for example to leave part of the work to the engine."""
        return {}

    def views(self, batch: Any) -> tuple[Any, Any]:
        """The left and right views of a batch in the form that `step` takes."""
        return batches.views(batch)

    def step(self, left: NDArray[np.float32], right: NDArray[np.float32], rates: Rates) -> Report:
        """Compute a training step on this process's share of the global batch.

        Args:
            left, right: the two views of each image, (N, H, W, 3) or (N, 3, H, W).
            rates: the scheduled values of the step.

        Raises:
            ValueError: the views do not match the settings, or the loss is not finite. After a loss that is not finite, either
                the trained weights are unchanged, or a state has to be loaded before the engine can be used again.
        """

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Backbone features (N, features) of images (N, H, W, 3) or (N, 3, H, W), computed in eval mode."""

    def backbone(self) -> State:
        """The backbone's tensors with torchvision's names and axis order."""

    def load_backbone(self, state: State) -> None:
        """Load the backbone's tensors; raise a ValueError for tensors that do not fit."""

    def state(self) -> State:
        """All tensors that a resumed run needs, by name. The optimizer's tensors are in the order of the parameters."""

    def load_state(self, state: State) -> None:
        """Load the result of `state`; raise a ValueError, and change nothing, if its tensors do not fit this engine."""

    def save(self, path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
        """Write a checkpoint atomically. All processes have to call this; rank 0 writes."""
        state, error = self.state(), None
        if self.ranks.rank == 0:
            try:
                save_checkpoint(
                    path, state, {**metadata, "engine": self.name, "world_size": str(self.ranks.world_size)}
                )
            except OSError as raised:
                error = raised
        self.ranks.fail(error)

    def load(self, path: str | os.PathLike[str]) -> dict[str, str]:
        """Load a checkpoint, written by any engine, and return the checkpoint's metadata."""
        state, metadata = load_checkpoint(path)
        try:
            self.load_state(state)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None
        return metadata


def _cpu() -> str:
    """The name of this machine's CPU."""
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine() or "the CPU"


class Native(Engine):
    """This package's engine, in Rust on CPUs; results are bit-identical for any number of threads.

    Args:
        accumulate: the number of pieces of a batch for gradient accumulation. Memory holds the activations of only one piece at
            a time. `accumulate` must divide the method's setting `splits`, the number of parts of a batch with separate
            batch-norm statistics. The result of a step is the same as without accumulation, up to rounding.
    """

    name = "native"

    def __init__(self, config: Config, threads: int | None = None, *, accumulate: int = 1) -> None:
        if config.backbone.family is not None:
            known = ", ".join(backbone_names())
            raise ValueError(
                f'arch must be one of {known} for engine="native", got {config.backbone.name!r}; give engine="torch"'
            )
        self._accumulate = whole("accumulate", accumulate, 1)
        self._trainer = Trainer(config.core(), threads=threads, accumulate=self._accumulate)

    def __str__(self) -> str:
        return f"{self.name} on {_cpu()}, {self.threads} threads, float32"

    def how(self) -> dict[str, Any]:
        """The keywords of `memory.estimate`: the engine's name and `accumulate`."""
        return {"engine": self.name, "accumulate": self._accumulate}

    @property
    def threads(self) -> int:
        """The number of threads of a step."""
        return self._trainer.threads

    @property
    def features(self) -> int:
        """The dimension of the features."""
        return self._trainer.features

    def check_batch(self, batch: int) -> None:
        """Check that the method supports this batch size."""
        self._trainer.check_batch(batch)

    def step(self, left: NDArray[np.float32], right: NDArray[np.float32], rates: Rates) -> Report:
        """Compute one step."""
        momentum = 0.0 if rates.momentum is None else rates.momentum
        return Report(*self._trainer.step(left, right, rates.lr, momentum, rates.fixed_lr))

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Backbone features of images."""
        return self._trainer.encode(images)

    def backbone(self) -> State:
        """The backbone's tensors."""
        return self._trainer.backbone()

    def load_backbone(self, state: State) -> None:
        """Load the backbone's tensors; `fc.*` is ignored, and `num_batches_tracked` may be missing."""
        self._trainer.load_backbone(state)

    def state(self) -> State:
        """All tensors that a resumed run needs, by name."""
        return self._trainer.state()

    def load_state(self, state: State) -> None:
        """Load a state."""
        self._trainer.load_state(state)

    def save(self, path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
        """Write a checkpoint, without a copy of the state in Python."""
        self._trainer.save(path, {**metadata, "engine": self.name, "world_size": "1"})

    def load(self, path: str | os.PathLike[str]) -> dict[str, str]:
        """Load a checkpoint, and return its metadata."""
        return self._trainer.load(path)


#: A callable that builds an engine from settings and a number of threads. The callables in `ENGINES` also take options, such as
#: `accumulate`.
Maker = Callable[..., Engine]
#: All engines, by name.
ENGINES: dict[str, Maker] = {"native": Native}

"""Engines: what takes steps on batches. The loop and the models know the protocol alone; `Native` is the one of this package.

An engine is made of a `Config` and a number of threads, and given by name or as such a function:
`sassl.SimCLR(engine="native")`. Several processes may be one engine: what is global is of the batches of all of them together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from .._sassl import Trainer, backbone_names, load_checkpoint, save_checkpoint
from ..arguments import whole
from ..data.ranks import Alone, Ranks
from ..transforms.views import Views
from . import batches
from .config import Config

#: Tensors by name; of a backbone under torchvision's names.
State = dict[str, NDArray[np.float32]]


class Rates(NamedTuple):
    """What the schedules say of a step."""

    #: The learning rate.
    lr: float
    #: That of networks whose rate does not follow the schedule.
    fixed_lr: float
    #: How far a momentum encoder stays what it is; None: the method has none.
    momentum: float | None


class Report(NamedTuple):
    """The result of a step. An engine that works ahead of its caller gives values that wait for the step when they are read.

    The loop looks at the numbers of such an engine one step late; `float` of a loss that is not finite is a ValueError.
    """

    #: Before the step, of the global batch.
    loss: SupportsFloat
    #: What else is watched, by name, of the global batch.
    watched: Mapping[str, SupportsFloat]
    #: (N, features), of this process's left views, as training's norms give them; what numpy takes as an array.
    features: Any


class Engine(Protocol):
    """What the loop and the models use; one that inherits has `ranks`, `save` and `load`."""

    #: Told in checkpoints.
    name: str
    ranks: Ranks = Alone()

    def __str__(self) -> str:
        return self.name

    def how(self) -> dict[str, Any] | None:
        """How it computes, as `memory.estimate` takes it; None: it does not tell."""
        return None

    def room(self) -> tuple[int, int] | None:
        """Bytes of memory that are free where it computes, and all of them; None: those of the machine."""
        return None

    @property
    def threads(self) -> int:
        """How many images are made at a time for it."""

    @property
    def features(self) -> int:
        """Values of a feature."""

    def check_batch(self, batch: int) -> None:
        """Raises a ValueError where steps of so many images, of all processes together, cannot be."""

    def loading(self, transform: Views) -> dict[str, Any]:
        """Settings of a `TwoViewLoader` of these views, beyond its own: where their second half is made, say."""
        return {}

    def views(self, batch: Any) -> tuple[Any, Any]:
        """Left and right views of a batch, as `step` takes them."""
        return batches.views(batch)

    def step(self, left: NDArray[np.float32], right: NDArray[np.float32], rates: Rates) -> Report:
        """One step on two views of this process's rows of a batch, (N, H, W, 3) or (N, 3, H, W).

        Raises:
            ValueError: views that do not fit; a loss that is not finite, and then no weight has changed, or the engine is of no
                use before a state is loaded.
        """

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (N, features) of images (N, H, W, 3) or (N, 3, H, W) by the backbone, its norms as after training."""

    def backbone(self) -> State:
        """The backbone's tensors under torchvision's names and in its order of axes."""

    def load_backbone(self, state: State) -> None:
        """Takes them; raises a ValueError for those that do not fit."""

    def state(self) -> State:
        """Everything that a continued run needs, by name; an optimizer's entries in the order of their parameters."""

    def load_state(self, state: State) -> None:
        """Goes on from it; raises a ValueError for that of another run, and nothing is changed then."""

    def save(self, path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
        """Writes a checkpoint: the whole file, or nothing. All processes call it, and rank 0 writes."""
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
        """Goes on from a checkpoint, of whichever engine; gives its metadata."""
        state, metadata = load_checkpoint(path)
        try:
            self.load_state(state)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None
        return metadata


class Native(Engine):
    """The engine of this package: in Rust, on CPUs, the same to the bit on any number of threads.

    Args:
        accumulate: pieces in which rows of a step are taken, one after another, so that memory holds the activations of one;
            each is of whole parts of the batch for norms (`splits`), and the step is the same but for rounding.
    """

    name = "native"

    def __init__(self, config: Config, threads: int | None = None, *, accumulate: int = 1) -> None:
        if config.backbone.family is not None:
            known = ", ".join(backbone_names())
            raise ValueError(f'arch = {config.backbone.name!r}: engine="native" has {known}; give engine="torch"')
        self._accumulate = whole("accumulate", accumulate, 1)
        self._trainer = Trainer(config.core(), threads=threads, accumulate=self._accumulate)

    def how(self) -> dict[str, Any]:
        """In pieces."""
        return {"engine": self.name, "accumulate": self._accumulate}

    @property
    def threads(self) -> int:
        """Of a step."""
        return self._trainer.threads

    @property
    def features(self) -> int:
        """Values of a feature."""
        return self._trainer.features

    def check_batch(self, batch: int) -> None:
        """As the method asks."""
        self._trainer.check_batch(batch)

    def step(self, left: NDArray[np.float32], right: NDArray[np.float32], rates: Rates) -> Report:
        """One step."""
        momentum = 0.0 if rates.momentum is None else rates.momentum
        return Report(*self._trainer.step(left, right, rates.lr, momentum, rates.fixed_lr))

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features."""
        return self._trainer.encode(images)

    def backbone(self) -> State:
        """The backbone's tensors."""
        return self._trainer.backbone()

    def load_backbone(self, state: State) -> None:
        """Takes them; `fc.*` are left out, and counts of batches may be missing."""
        self._trainer.load_backbone(state)

    def state(self) -> State:
        """Everything."""
        return self._trainer.state()

    def load_state(self, state: State) -> None:
        """Goes on from it."""
        self._trainer.load_state(state)

    def save(self, path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
        """Writes a checkpoint; no copy of the state is made in Python."""
        self._trainer.save(path, {**metadata, "engine": self.name, "world_size": "1"})

    def load(self, path: str | os.PathLike[str]) -> dict[str, str]:
        """Goes on from a checkpoint."""
        return self._trainer.load(path)


#: What makes an engine of settings and threads; those of `ENGINES` take how it computes by name too, as `accumulate`.
Maker = Callable[..., Engine]
#: All engines of this package, by name.
ENGINES: dict[str, Maker] = {"native": Native}

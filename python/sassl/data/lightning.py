"""Two views of every image for Lightning's Trainer, which goes on after a checkpoint to the bit.

Both packages are served: `lightning` and `pytorch_lightning`, whichever is imported, or installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ..arguments import flag
from ..transforms.views import Views
from .loader import TwoViewLoader
from .sources import as_images


def _lightning() -> Any:
    """Lightning's package. A data module of one is none to the Trainer of the other."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        if name in sys.modules:
            return sys.modules[name]
    try:
        return import_module("lightning.pytorch")
    except ModuleNotFoundError:
        return import_module("pytorch_lightning")


class TwoViewDataModule(_lightning().LightningDataModule):  # type: ignore[misc]
    """Two views of every image for Lightning's Trainer, which goes on after a checkpoint to the bit.

    Args:
        source, transform, batch_size: those of `TwoViewLoader`; the batch is each rank's, as is usual with Lightning.
        strict: whether a checkpoint of other data or of another recipe is refused; False: it is taken with a warning.
        options: the others of `TwoViewLoader`. Rank and world size are the Trainer's where they are not given.

    `Trainer.fit(model, TwoViewDataModule(folder, MoCoV2Transform(style=SASSL())))`. The Trainer's count of epochs and batches
    is the loader's place: an epoch's order and its draws are a function of `seed` and `trainer.current_epoch`. So epochs
    differ, with `reload_dataloaders_every_n_epochs` too, and a checkpoint goes on where it was saved, in the middle of an epoch
    or at its end, on as many ranks or on others if the global batch is the same. (Given to `Trainer.fit` by itself, a
    `TwoViewLoader` gets no state back after an epoch's end, and then repeats epochs.) The checkpoint holds the loader's state.
    A subclass may add `val_dataloader`.

    Raises:
        ValueError: when training starts, what `TwoViewLoader` refuses; a checkpoint of other data, another recipe or order.
        ModuleNotFoundError: neither package is installed; `pip install pytorch-lightning`.
    """

    def __init__(
        self, source: Any, transform: Views, batch_size: int = 256, *, strict: bool = True, **options: Any
    ) -> None:
        super().__init__()
        self._source, self._strict = as_images(source), flag("strict", strict)
        self._options = {"transform": transform, "batch_size": batch_size, **options}
        self._state: dict[str, Any] | None = None
        self._loader: TwoViewLoader | None = None

    @property
    def loader(self) -> TwoViewLoader | None:
        """The loader that the Trainer has now, with its `report`; None before training."""
        return self._loader

    def train_dataloader(self) -> Any:
        """Batches of a new loader, in the place where the Trainer is."""
        self._loader = TwoViewLoader(self._source, **self._options)
        state, self._state = self._state, None
        if state is not None:
            self._loader.load_state_dict(state, self._strict)
        return _Batches(self._loader, self.trainer)

    def state_dict(self) -> dict[str, Any]:
        """The loader's state, as the checkpoint holds it."""
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the state, which is compared when training starts."""
        self._state = state_dict


class _Batches:
    """A loader's batches from where the Trainer is when it takes the first one."""

    def __init__(self, loader: TwoViewLoader, trainer: Any) -> None:
        self._loader, self._trainer = loader, trainer

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        # The Trainer asks for an iterator before it knows its place, and for some epochs twice: this waits for the first batch.
        loop = self._trainer.fit_loop
        epoch, done = loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress.current.ready
        self._loader.set_epoch(epoch, done)
        yield from self._loader

    # The Trainer warns of what has no state; the data module has it.
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

"""A data module of two views for Lightning's Trainer; it resumes bit-exactly from a checkpoint.

The packages `lightning` and `pytorch_lightning` are supported. The package already imported is used, else the installed one.
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
    """Import the Lightning package in use. The Trainer of one package does not accept a data module of the other package."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        if name in sys.modules:
            return sys.modules[name]
    try:
        return import_module("lightning.pytorch")
    except ModuleNotFoundError:
        return import_module("pytorch_lightning")


class TwoViewDataModule(_lightning().LightningDataModule):  # type: ignore[misc]
    """Two views of every image for Lightning's Trainer, in a data module that resumes bit-exactly from a checkpoint.

    Args:
        source, transform, batch_size: as in `TwoViewLoader`; `batch_size` is per rank, as usual in Lightning.
        strict: raise an error for a checkpoint of other data or of another recipe; False: accept it with a warning.
        options: other arguments of `TwoViewLoader`. By default, rank and world size are the Trainer's.

    Pass the data module to the Trainer: `Trainer.fit(model, TwoViewDataModule(folder, MoCoV2Transform(style=SASSL())))`. A
    subclass may add `val_dataloader`.

    The loader follows the Trainer's count of epochs and batches: the order and draws of an epoch are a function of `seed` and
    `trainer.current_epoch`. Epochs therefore differ from each other, even with `reload_dataloaders_every_n_epochs`.

    The checkpoint contains the loader's state. A run resumes where the checkpoint was saved, within an epoch or at the end of
    one, on any number of ranks with the same global batch size. (Do not pass a `TwoViewLoader` directly to `Trainer.fit`. The
    loader would get no state back after the end of an epoch, and would then repeat epochs.)

    Raises:
        ValueError: when training starts: an argument of `TwoViewLoader` is invalid, or the checkpoint is of other data, another
            recipe or another order of images.
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
        """The Trainer's current loader, with its `report`; None before training."""
        return self._loader

    def train_dataloader(self) -> Any:
        """Create a loader whose batches start at the Trainer's position."""
        self._loader = TwoViewLoader(self._source, **self._options)
        state, self._state = self._state, None
        if state is not None:
            self._loader.load_state_dict(state, self._strict)
        return _Batches(self._loader, self.trainer)

    def state_dict(self) -> dict[str, Any]:
        """The loader's state, for the checkpoint."""
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's state, which is checked when training starts."""
        self._state = state_dict


class _Batches:
    """A loader's batches, starting at the position that the Trainer has reached when it takes the first batch."""

    def __init__(self, loader: TwoViewLoader, trainer: Any) -> None:
        self._loader, self._trainer = loader, trainer

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        # The Trainer creates an iterator before it knows its position, and for some epochs twice: wait for the first batch.
        loop = self._trainer.fit_loop
        epoch, done = loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress.current.ready
        self._loader.set_epoch(epoch, done)
        yield from self._loader

    # The Trainer warns about loaders without a state; the data module keeps the state.
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

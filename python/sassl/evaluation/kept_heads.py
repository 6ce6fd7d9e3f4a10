"""A folder in which heads are stored after each training epoch, so that an interrupted run can resume."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._sassl import load_checkpoint, save_checkpoint
from ..data.ranks import Ranks, by_first
from .linear_heads import Heads

#: Largest accepted relative difference between features of the same model that are computed on different machines.
_ROUNDING = 1e-2


class KeptHeads:
    """The file `heads.safetensors` in a folder: the heads, their velocities, and the number of completed epochs.

    Only rank 0 reads and writes the file.

    Args:
        folder: the folder, which is created if it is missing.
        settings: JSON values by name. If the folder contains a run, its settings must be equal to these.
        sample: (n, dim) features of fixed images, which identify the model.
        ranks: the processes of the run.
    """

    def __init__(
        self, folder: str | os.PathLike[str], settings: dict[str, Any], sample: NDArray[np.float32], ranks: Ranks
    ) -> None:
        self._path, self._settings, self._sample, self._ranks = Path(folder), settings, sample, ranks

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self._path / "heads.safetensors"

    def resume(self, heads: Heads) -> int:
        """Load the stored heads, if any; return the number of completed epochs.

        Raises:
            OSError: the folder cannot be created, or the file cannot be read.
            ValueError: heads of a run with other settings or another model; a damaged file.
        """
        found = by_first(self._ranks, self._read)
        if found is None:
            return 0
        state, epoch = found
        heads.load_state(state)
        return int(epoch)

    def _read(self) -> tuple[dict[str, NDArray[np.float32]], int] | None:
        self._path.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return None
        state, told = load_checkpoint(self.path)
        if "heads" not in told:
            raise ValueError(f"{self.path}: holds no heads of an augmented probe; give another folder")
        there = json.loads(told["heads"])
        for name, here in self._settings.items():
            if there.get(name) != here:
                was = f"{name} must be {there.get(name)!r:.200} to resume the run in {self._path}"
                raise ValueError(f"{was}, got {here!r:.200}; or give another folder")
        sample = state.pop("sample")
        if sample.shape != self._sample.shape or np.abs(sample - self._sample).max() > _ROUNDING * np.abs(sample).max():
            raise ValueError(f"{self.path}: its heads were trained on features of another model; give another folder")
        return state, json.loads(told["epoch"])

    def save(self, heads: Heads, epoch: int) -> None:
        """Write the heads after `epoch` epochs, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        told = {"heads": json.dumps(self._settings), "epoch": json.dumps(epoch)}
        state = {**heads.state(), "sample": self._sample}
        by_first(self._ranks, partial(save_checkpoint, self.path, state, told))

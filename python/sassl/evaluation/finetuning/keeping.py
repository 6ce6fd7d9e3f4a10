"""The checkpoint of a fine-tuning run: its network, its optimizer, and the results of the finished cells of the grid."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..._sassl import load_checkpoint, save_checkpoint
from ...arguments import plain
from ...data.ranks import Ranks
from .recipes import Cell
from .tuner import State, Tuner

#: Name of the file in its folder.
CHECKPOINT = "finetuning.safetensors"
#: Name of the final run, on train and val. This run follows the runs of the grid's cells.
LAST = "last"


class Kept:
    """The file `finetuning.safetensors` in a folder; only rank 0 reads and writes the file.

    Args:
        folder: the folder, which is created if it is missing; None: nothing is stored.
        settings: JSON values by name. If the folder contains a run, its settings must be equal to these.
        ranks: the processes of the run.

    Raises:
        OSError: the folder cannot be created, or the file cannot be read.
        ValueError: a file with other settings, or a damaged file.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, settings: dict[str, Any], ranks: Ranks) -> None:
        self._path = None if folder is None else Path(folder) / CHECKPOINT
        self._settings, self._ranks = plain(settings), ranks
        #: Value of the metric for each finished cell; None: the cell's run diverged.
        self.values: dict[Cell, float | None] = {}
        self._state: State | None = None
        self._stage, self._step = "", 0
        if self._path is not None:
            self._resume()

    def _resume(self) -> None:
        found, error = None, None
        if self._ranks.rank == 0:
            try:
                found = self._read()
            except (OSError, ValueError) as raised:
                error = raised
        self._ranks.fail(error)
        found = self._ranks.broadcast(found)
        if found is not None:
            self._state, told = found
            self._stage, self._step = told["stage"], told["step"]
            self.values = {Cell(*cell): value for cell, value in told["values"]}

    def _read(self) -> tuple[State, dict[str, Any]] | None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            return None
        state, metadata = load_checkpoint(self._path)
        if "finetuning" not in metadata:
            raise ValueError(f"{self._path}: holds no fine-tuning; give another folder")
        told: dict[str, Any] = json.loads(metadata["finetuning"])
        for name, here in self._settings.items():
            if (there := told["settings"].get(name)) != here:
                was = f"{name} must be {there!r:.200} to resume the run in {self._path.parent}"
                raise ValueError(f"{was}, got {here!r:.200}; or give another folder")
        return state, told

    def load(self, tuner: Tuner, stage: str) -> int:
        """Load the last saved state into the tuner, if the state belongs to the run `stage`.

        Return the number of completed steps: 0 if nothing was loaded.

        Raises:
            ValueError: the state does not match the network.
        """
        if self._stage != stage or self._state is None:
            return 0
        try:
            tuner.load_state(self._state)
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from None
        return self._step

    def save(self, tuner: Tuner, stage: str, step: int) -> None:
        """Write the state after `step` steps of the run `stage`, and the finished cells; all ranks must call this.

        Without a folder, nothing is written.

        Raises:
            OSError: the file cannot be written.
        """
        self._state = None
        if self._path is None:
            return
        error = None
        if self._ranks.rank == 0:
            told = {"settings": self._settings, "stage": stage, "step": step, "values": list(self.values.items())}
            metadata = {"engine": f"{tuner.name}, fine-tuning", "finetuning": json.dumps(told)}
            try:
                save_checkpoint(self._path, tuner.state(), metadata)
            except OSError as raised:
                error = raised
        self._ranks.fail(error)

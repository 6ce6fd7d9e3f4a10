"""The history of a run, epoch by epoch."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .._sassl import checkpoint_metadata

#: The name of a checkpoint in a run's folder: the completed epochs, and the completed batches of the next epoch.
CHECKPOINT = re.compile(r"checkpoint-([0-9]{5,})-([0-9]{7,})\.safetensors")
#: The metrics that are drawn first; the others follow in their order of appearance.
_FIRST = ("loss", "knn_top1", "linear_top1")
_LEFT_OUT = ("epoch", "images_per_second", "data_wait", "views_seconds", "step_seconds", "encoder_momentum")
#: Plot titles of metrics. Each method adds the titles of its own metrics.
TITLES = {
    "knn_top1": "nearest neighbours, top-1 in per cent",
    "linear_top1": "linear probe, top-1 in per cent",
    "lr": "learning rate",
    "feature_std": "standard deviation of projections, times the root of their dimension",
}


class History(list[dict[str, float]]):
    """A list with a dict for each epoch: epoch, loss, lr, the method's metrics, timings, and a monitor's accuracies.

    `pandas.DataFrame(history)` converts the history to a table. The timings are:

    - `images_per_second`: the throughput of all ranks.
    - `data_wait`: the fraction of the epoch's time spent waiting for batches. An engine that works ahead may still be computing
      the previous step during that wait; then this is an upper bound on the fraction of time that the device is idle.
    - `views_seconds`: the engine's mean time for completing the views of a batch.
    - `step_seconds`: the engine's mean time for a step.
    """

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Load the history from a run's folder, its `log.csv`, or a checkpoint.

        Raises:
            FileNotFoundError: the path does not exist, or is a folder without a run.
            ValueError: the file is neither a log nor a checkpoint.
            OSError: the file cannot be read.
        """
        file = file_of(Path(path))
        if file.suffix != ".safetensors":
            return cls(rows_of(file, "epoch"))
        return cls(json.loads(checkpoint_metadata(file)["history"]))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Plot each metric over the epochs, in a panel of its own.

        Args:
            path: an image file to write, with a suffix that matplotlib knows, such as .png or .svg; None: no file.

        Returns:
            A matplotlib `Figure`, which a notebook displays.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: the history has no epoch yet, or matplotlib does not write the format of the suffix.
            OSError: the file cannot be written.
        """
        if not self:
            raise ValueError("history must have at least one epoch, got []")
        return plot({"": self}, path, "history.plot")


def plot(runs: Mapping[str, History], path: str | os.PathLike[str] | None, who: str) -> Any:
    """Plot named histories, like `History.plot`; `who` is the caller's name in the error if matplotlib is missing."""
    try:
        from ..figure import save
        from . import figure
    except ImportError:
        raise ImportError(f"{who}: needs matplotlib; install it, or the extra sassl[demo]") from None
    drawn = figure.draw(runs, {name: TITLES.get(name, name) for name in shown(runs.values())})
    if path is not None:
        save(drawn, path)
    return drawn


def shown(runs: Iterable[History]) -> list[str]:
    """The names of the metrics to plot and to compare, collected from the histories `runs`, in display order."""
    found = list(dict.fromkeys(name for history in runs for row in history for name in row if name not in _LEFT_OUT))
    return [name for name in _FIRST if name in found] + [name for name in found if name not in _FIRST]


def file_of(path: Path) -> Path:
    """The file that contains a run's history.

    For a folder: `log.csv`, or else the newest checkpoint. For any other path: the path itself.

    Raises:
        FileNotFoundError: the folder has neither `log.csv` nor a checkpoint.
    """
    if not path.is_dir():
        return path
    if (log := path / "log.csv").is_file():
        return log
    checkpoints = [one for one in path.iterdir() if CHECKPOINT.fullmatch(one.name)]
    if not checkpoints:
        raise FileNotFoundError(f"{path}: has neither log.csv nor a checkpoint; expected a run's folder after an epoch")
    return max(checkpoints, key=lambda one: one.name)


def rows_of(path: Path, first: str) -> list[dict[str, float]]:
    """Read the rows of a CSV table whose first column is `first`.

    An incomplete last row, such as a killed process may leave behind, is skipped.

    Raises:
        ValueError: the file is not a table of values with the first column `first`.
        OSError: the file cannot be read.
    """
    rows: list[dict[str, float]] = []
    with path.open(newline="", encoding="utf-8") as file:
        try:
            lines = csv.reader(file)
            names = next(lines, [])
            if names[:1] != [first]:
                raise ValueError(f"its first column is not {first!r}")
            told = list(lines)
            for n, line in enumerate(told):
                if len(line) != len(names) and n == len(told) - 1:
                    break
                row = {name: float(text) for name, text in zip(names, line, strict=True) if text}
                rows.append({first: int(row.pop(first)), **row})
        except (ValueError, KeyError, csv.Error) as error:
            raise ValueError(f"{os.fspath(path)}: is not the log of a run: {error}") from None
    return rows

"""What a run was, epoch by epoch."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .._sassl import checkpoint_metadata

#: A checkpoint's name in a run's folder: the epochs and the batches that are behind it.
CHECKPOINT = re.compile(r"checkpoint-([0-9]{5,})-([0-9]{7,})\.safetensors")
#: What is drawn first; the rest follows as it comes.
_FIRST = ("loss", "knn_top1", "linear_top1")
_LEFT_OUT = ("epoch", "images_per_second", "data_wait", "views_seconds", "step_seconds", "encoder_momentum")
#: What plots call a row's values; each method adds those that it watches.
TITLES = {
    "knn_top1": "nearest neighbours, top-1 in per cent",
    "linear_top1": "linear probe, top-1 in per cent",
    "lr": "learning rate",
    "feature_std": "standard deviation of projections, times the root of their length",
}


class History(list[dict[str, float]]):
    """A dict for each epoch: epoch, loss, lr, what the method watches, where time went, and accuracies of a monitor.

    Time is told by `images_per_second`, `data_wait`, the share of the epoch's seconds in which there was no batch yet,
    `views_seconds`, those of the engine for what is left to do of a batch's views, and `step_seconds`, its own for a step. An
    engine that works ahead is still at the step before while a batch is waited for: then `data_wait` is the most that its
    device can have waited. `pandas.DataFrame(history)` is a table of all.
    """

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """That of a run's folder, of its `log.csv`, or of a checkpoint.

        Raises:
            FileNotFoundError: there is nothing, or a folder without a run.
            ValueError: neither a log nor a checkpoint.
            OSError: it cannot be read.
        """
        file = file_of(Path(path))
        if file.suffix != ".safetensors":
            return cls(rows_of(file, "epoch"))
        return cls(json.loads(checkpoint_metadata(file)["history"]))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """A panel for each number, over epochs.

        Args:
            path: an image file to write, in the format that its suffix names: .png, .svg or another that matplotlib writes.

        Returns:
            A matplotlib `Figure`, which a notebook shows.

        Raises:
            ImportError: without matplotlib.
            ValueError: no epoch yet; a format that matplotlib does not write.
            OSError: the system refuses.
        """
        if not self:
            raise ValueError("history = []: no epoch is over")
        return plot({"": self}, path, "history.plot")


def plot(runs: Mapping[str, History], path: str | os.PathLike[str] | None, who: str) -> Any:
    """Curves of one run or of several, as `History.plot` draws and writes them; `who` asks for matplotlib."""
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
    """The numbers of runs that are worth a curve or a comparison, in the order in which they are shown."""
    found = list(dict.fromkeys(name for history in runs for row in history for name in row if name not in _LEFT_OUT))
    return [name for name in _FIRST if name in found] + [name for name in found if name not in _FIRST]


def file_of(path: Path) -> Path:
    """The log or the checkpoint that tells of a run, of which this may be the folder.

    Raises:
        FileNotFoundError: there is none.
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
    """The rows of a table whose first column is called so; a last one that a killed process did not finish is left out.

    Raises:
        ValueError: another file.
        OSError: it cannot be read.
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
            raise ValueError(f"{os.fspath(path)}: no log of a run: {error}") from None
    return rows

"""Runs side by side: the settings that differ, the results, and all curves in one figure."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._sassl import checkpoint_metadata
from .history import History, file_of, plot, shown

#: The parts of the settings that have an entry "name", and the key of that entry in flat settings.
_NAMED = {"method": "method", "backbone": "arch", "optimizer": "optimizer"}


@dataclass(frozen=True)
class Run:
    """The name, settings and history of a run.

    Attributes:
        name: the path from which the run was loaded.
        settings: the settings by name, as `flat` returns them; empty for a log in a folder without `config.json`.
        history: the rows of the epochs.
    """

    name: str
    settings: dict[str, Any]
    history: History

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Load a run from its folder, its `log.csv` or a checkpoint.

        Raises:
            FileNotFoundError: the path does not exist, or is a folder without a log.
            ValueError: the file is neither a log nor a checkpoint, is damaged, or has no finished epoch.
            OSError: the file cannot be read.
        """
        file = file_of(Path(path))
        history = History.load(file)
        if not history:
            raise ValueError(f"{file}: has no finished epoch")
        beside = file.with_name("config.json")
        if file.suffix == ".safetensors":
            settings = json.loads(checkpoint_metadata(file)["config"])
        else:
            settings = _settings(beside) if beside.is_file() else {}
        return cls(os.fspath(path), flat(settings), history)


@dataclass(frozen=True)
class Comparison:
    """A comparison of runs by settings and results. `str` returns a table with a column for each run."""

    runs: tuple[Run, ...]

    def settings(self) -> dict[str, list[Any]]:
        """The settings that differ, by name. Each list has one value per run; None: the run lacks the setting."""
        known = [run.settings for run in self.runs if run.settings]
        names = dict.fromkeys(name for settings in known for name in settings)
        differ = [name for name in names if len({json.dumps(settings.get(name)) for settings in known}) > 1]
        return {name: [run.settings.get(name) for run in self.runs] for name in differ}

    def results(self) -> dict[str, list[float | None]]:
        """The results by name: the number of epochs, and the last value of each metric.

        For the loss and for accuracies, "NAME, best" is the best value. Each list has one value per run, or None
        if the run lacks the metric.
        """
        histories = [run.history for run in self.runs]
        found: dict[str, list[float | None]] = {"epochs": [history[-1]["epoch"] for history in histories]}
        for name in (*shown(histories), "images_per_second", "data_wait"):
            values = [[row[name] for row in history if name in row] for history in histories]
            if any(values):
                found[name] = [of_run[-1] if of_run else None for of_run in values]
                if (best := _best(name)) is not None:
                    found[f"{name}, best"] = [best(of_run) if of_run else None for of_run in values]
        return found

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Plot each metric in a panel of its own, with a curve for each run; `path` and the result are as in `History.plot`."""
        return plot({run.name: run.history for run in self.runs}, path, "compare")

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("", *(run.name for run in self.runs))]
        rows += [(name, *map(_told, values)) for name, values in self.settings().items()]
        rows += [(name, *map(_number, values)) for name, values in self.results().items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


def compare(runs: Sequence[str | os.PathLike[str]]) -> Comparison:
    """Compare two or more runs: `print(compare(["a", "b"]))`, `compare(["a", "b"]).plot("runs.png")`.

    Args:
        runs: the runs' folders, logs or checkpoints.

    Raises:
        ValueError: there are fewer than two runs; a run is given twice; a file does not belong to a run.
        FileNotFoundError: a path does not exist, or is a folder without a log.
    """
    names = [os.path.abspath(one) for one in runs]
    if len(set(names)) < max(2, len(names)):
        raise ValueError(f"runs must be two or more different ones, got {[os.fspath(one) for one in runs]}")
    return Comparison(tuple(Run.load(one) for one in runs))


def flat(nested: dict[str, Any]) -> dict[str, Any]:
    """Flatten the nested settings of `config.json` to one dict with keys such as `arch`, `lr` and `views.min_scale`.

    The settings are not checked, so that a comparison also works with unregistered methods and operations.
    """
    found: dict[str, Any] = {}
    for part, own in nested.items():
        if not isinstance(own, dict) or part == "init":
            found[part] = own
            continue
        for name, value in own.items():
            if isinstance(value, dict):
                found |= {f"{name}.{key}": one for key, one in value.items()}
            else:
                found[_NAMED.get(part, part) if name == "name" else name] = value
    return found


def _settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: does not hold the settings of a run")
    return found


def _best(name: str) -> Callable[[list[float]], float] | None:
    if name == "loss":
        return min
    return max if name.endswith(("top1", "top5", "accuracy")) else None


def _told(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

"""The protocol of loggers, and the registry of this package's loggers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..history import History


@dataclass(frozen=True)
class Begun:
    """The state of a run at its start or resume, as passed to loggers.

    Attributes:
        settings: the run's settings as a flat dict: the result of `Config.flat`, and "engine", a description of the engine.
        folder: the run's folder; None: the run has no folder.
        step: the number of completed steps, 0 for a new run.
        history: the rows of the completed epochs.
        kept: the last value that `begin` of this logger returned, if the run resumes from its folder; else None.
    """

    settings: dict[str, Any]
    folder: Path | None
    step: int
    history: History
    kept: Any = None


@runtime_checkable
class Logger(Protocol):
    """The protocol of loggers. The methods are called on rank 0 only, in the thread of `fit`.

    In a new run, an ImportError, TypeError, ValueError or FileExistsError raised by `begin` ends the run before its first step.
    After any other error, and after any error in a resumed run, the run continues; only the first such error of each logger is
    printed. After a call that took long to fail, the logger is not called for twenty times that duration. This keeps network
    timeouts from delaying the run.
    """

    def begin(self, run: Begun) -> Any:
        """Start logging, before the first step.

        Returns:
            A JSON value. When the run resumes from its folder, `begin` receives this value as `run.kept`.
        """

    def step(self, step: int, values: dict[str, float]) -> None:
        """Log the values of a step, counted from 1 over the whole run: loss, lr, the method's metrics, and timings.

        Called for every tenth step. Steps after the last checkpoint are repeated when a killed run resumes.
        """

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log the `History` row of an epoch, counted from 1, after its checkpoint is written."""

    def end(self, outcome: str) -> None:
        """Stop logging, after the last step; `outcome` is "finished", "stopped" (by a signal or time limit) or "failed"."""


#: All loggers, by name. The files of this package add loggers; other packages may do so, too.
LOGGERS: dict[str, Callable[[], Logger]] = {}


def chosen(given: Any, out: str | os.PathLike[str] | None) -> list[Logger]:
    """Build the loggers of a run in the folder `out`. `given` is a name, a logger, or a list of names and loggers.

    Raises:
        TypeError: an element is neither a name nor a logger.
        ValueError: a name is unknown; a logger needs a folder, and `out` is None.
        ImportError: a logger's package is not installed.
    """
    if given is None:
        return []
    found: list[Logger] = []
    for one in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(one, str) and one not in LOGGERS:
            names = ", ".join(f'"{name}"' for name in LOGGERS)
            raise ValueError(f"loggers must be {names}, or objects with begin, step, epoch and end, got {one!r}")
        made = LOGGERS[one]() if isinstance(one, str) else one
        if isinstance(made, type) or not isinstance(made, Logger):
            raise TypeError(f"loggers must be names, or objects with begin, step, epoch and end, got {one!r:.100}")
        if out is None and getattr(made, "needs_folder", False):
            raise ValueError(f"loggers={one!r} requires a folder; give out")
        found.append(made)
    return found


def need(name: str, package: str) -> None:
    """Raise an ImportError if the module `name` is not installed; `package` is the name to install with pip."""
    if importlib.util.find_spec(name) is None:
        raise ImportError(f'loggers="{name}" requires the package {name}; pip install {package}')

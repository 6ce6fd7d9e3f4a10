"""The protocol of loggers, and those of this package by name."""

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
    """What a logger is told when a run begins or goes on.

    Attributes:
        settings: of the run, under one name each.
        folder: of the run, or None.
        step: how many steps are behind it, 0 for a new one.
        history: the rows of the epochs that are behind it.
        kept: what `begin` gave when the run began, if it goes on; None else.
    """

    settings: dict[str, Any]
    folder: Path | None
    step: int
    history: History
    kept: Any = None


@runtime_checkable
class Logger(Protocol):
    """A protocol for what a run is told to. Rank 0 alone calls it, in the thread of `fit`.

    An ImportError, TypeError, ValueError or FileExistsError of `begin` ends a new run before its first step. What else is
    raised here, or as a run goes on, is told in a line once, and the run continues; after a call that failed slowly there is
    none for twenty times as long, so that what waits for a network delays no run.
    """

    def begin(self, run: Begun) -> Any:
        """Before the first step; what it gives, as JSON has it, is `run.kept` when a run in a folder goes on."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """A point of a step, counted from 1 over the whole run: loss, lr, what the method watches, and where time goes.

        There is one for every tenth step. Those after the last checkpoint come again when a killed run goes on.
        """

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """The row of an epoch, counted from 1, as `History` has it, after its checkpoint is written."""

    def end(self, outcome: str) -> None:
        """After the last step: "finished", "stopped" (a signal, a time limit) or "failed"."""


#: All loggers of this package, by name; each file adds its own, and others may add theirs.
LOGGERS: dict[str, Callable[[], Logger]] = {}


def chosen(given: Any, out: str | os.PathLike[str] | None) -> list[Logger]:
    """The loggers that were asked for, of a run in this folder.

    Raises:
        TypeError: neither a name nor a logger.
        ValueError: a name that there is not; one that needs a folder, where there is none.
        ImportError: a package that is not installed.
    """
    if given is None:
        return []
    found: list[Logger] = []
    for one in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(one, str) and one not in LOGGERS:
            names = ", ".join(f'"{name}"' for name in LOGGERS)
            raise ValueError(f"loggers = {one!r}: expected {names}, or an object with begin, step, epoch and end")
        made = LOGGERS[one]() if isinstance(one, str) else one
        if isinstance(made, type) or not isinstance(made, Logger):
            raise TypeError(f"loggers: expected a name, or an object with begin, step, epoch and end, got {one!r:.100}")
        if out is None and getattr(made, "needs_folder", False):
            raise ValueError(f"loggers = {one!r}: needs a folder; give out")
        found.append(made)
    return found


def need(name: str, package: str) -> None:
    """Raises an ImportError where a logger's package is not installed."""
    if importlib.util.find_spec(name) is None:
        raise ImportError(f'loggers = "{name}": needs the package {name}; pip install {package}')

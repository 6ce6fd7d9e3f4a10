"""All loggers of a run as one object, called on rank 0. Once training has begun, a failing logger does not stop it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..._sassl import write_file
from ...terminal import message
from ..history import History
from .base import Begun, Logger

#: The file in a run's folder for the values that loggers returned from `begin`, such as ids of runs on a server.
KEPT = "loggers.json"
#: After a call that took more than `_SLOW` seconds to fail, the logger is not called for `_PAUSE` times that duration.
_SLOW, _PAUSE = 0.1, 20
#: Errors that are the caller's mistakes. In a new run, they end the run before the first step.
_MISTAKES = (ImportError, TypeError, ValueError, FileExistsError)


class Loggers:
    """Passes a run's values to its loggers, and handles failures of the loggers.

    Args:
        loggers: the loggers of the run; empty on ranks other than 0.
        warn: called with a line about a failing logger.
    """

    def __init__(self, loggers: Sequence[Logger], warn: Callable[[str], None]) -> None:
        self._warn = warn
        #: The loggers that have begun, each with the time from which it may be called again.
        self._begun: list[tuple[Logger, list[float]]] = []
        self._asked = list(loggers)
        self._has_failed: set[int] = set()

    def begin(self, settings: dict[str, Any], folder: Path | None, step: int, history: History, resume: bool) -> None:
        """Begin all loggers. In a new run, errors of the types `_MISTAKES` are raised; other errors are reported in a line."""
        path = None if folder is None else folder / KEPT
        before = read_kept(path) if path is not None and resume else {}
        kept: dict[str, Any] = {}
        for one in self._asked:
            name = self._name(one)
            try:
                word = one.begin(Begun(settings, folder, step, History(history), before.get(name)))
            except Exception as error:
                # A resumed run may be an unattended job.
                if step == 0 and isinstance(error, _MISTAKES):
                    self.end("failed")
                    raise
                self._warn(f"{name}: {_line(error)}; the run continues without it")
                word = before.get(name)
            else:
                self._begun.append((one, [0.0]))
            if word is not None:
                kept[name] = word
        now = {**before, **kept}
        # This also replaces the values of an earlier run in the folder.
        if path is not None and now != read_kept(path):
            try:
                write_file(path, (json.dumps({"loggers": now}, indent=2) + "\n").encode())
            except OSError as error:
                self._warn(f"{_line(error)}; loggers will start over when the run resumes")

    def _name(self, logger: Logger) -> str:
        """A logger's attribute `name`, or else its class's name; later loggers of the same name have a number appended."""
        names = [getattr(one, "name", type(one).__name__) for one in self._asked]
        at = next(i for i, one in enumerate(self._asked) if one is logger)
        before = names[:at].count(names[at])
        return f"{names[at]} {before + 1}" if before else str(names[at])

    def step(self, step: int, values: dict[str, float]) -> None:
        """Log the values of a step."""
        self._each(lambda one: one.step(step, values))

    def epoch(self, epoch: int, row: dict[str, float]) -> None:
        """Log the row of an epoch."""
        self._each(lambda one: one.epoch(epoch, row))

    def end(self, outcome: str) -> None:
        """End all loggers."""
        self._each(lambda one: one.end(outcome), is_last=True)
        self._begun = []

    def _each(self, call: Callable[[Logger], object], is_last: bool = False) -> None:
        for one, after in self._begun:
            began = time.monotonic()
            if began < after[0] and not is_last:
                continue
            try:
                call(one)
            except Exception as error:
                took = time.monotonic() - began
                after[0] = began + (_PAUSE * took if took > _SLOW else 0)
                if id(one) not in self._has_failed:
                    self._has_failed.add(id(one))
                    self._warn(
                        f"{self._name(one)}: {_line(error)}; some values are missing there, and the run continues"
                    )


def _line(error: Exception) -> str:
    return (message(error).strip().splitlines() or [type(error).__name__])[0]


def read_kept(path: Path) -> dict[str, Any]:
    """The values in the file `KEPT`, by the names of the loggers; an empty dict if there is no such file.

    Raises:
        ValueError: the file was not written by a run's loggers.
    """
    try:
        found = json.loads(path.read_text())["loggers"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{os.fspath(path)}: was not written by a run's loggers; move it, and they start anew")
    return found


def is_kept(path: Path) -> bool:
    """Return whether a file was written by a run's loggers, or does not exist."""
    try:
        read_kept(path)
    except ValueError:
        return False
    return True

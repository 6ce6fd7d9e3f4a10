"""All loggers of a run as one: called on rank 0, kept apart from the run by whatever goes wrong with them."""

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

#: The file in a run's folder with what loggers keep, such as ids of runs elsewhere.
KEPT = "loggers.json"
#: After a call that failed in more than these seconds the next one waits so many times as long.
_SLOW, _PAUSE = 0.1, 20
#: Mistakes of who asked, which end a run before it begins.
_MISTAKES = (ImportError, TypeError, ValueError, FileExistsError)


class Loggers:
    """What a run tells, to whom, and what becomes of those who fail.

    Args:
        loggers: as the run was asked for; no other rank than 0 has any.
        warn: takes a line on one that fails.
    """

    def __init__(self, loggers: Sequence[Logger], warn: Callable[[str], None]) -> None:
        self._warn = warn
        #: Those that have begun, each with the time from which on it is called again.
        self._begun: list[tuple[Logger, list[float]]] = []
        self._asked = list(loggers)
        self._has_failed: set[int] = set()

    def begin(self, settings: dict[str, Any], folder: Path | None, step: int, history: History, resume: bool) -> None:
        """Raises the mistakes of who began a run; what else fails is told in a line."""
        path = None if folder is None else folder / KEPT
        before = read_kept(path) if path is not None and resume else {}
        kept: dict[str, Any] = {}
        for one in self._asked:
            name = self._name(one)
            try:
                word = one.begin(Begun(settings, folder, step, History(history), before.get(name)))
            except Exception as error:
                # A run that goes on may be a job that nobody watches.
                if step == 0 and isinstance(error, _MISTAKES):
                    self.end("failed")
                    raise
                self._warn(f"{name}: {_line(error)}; the run goes on without it")
                word = before.get(name)
            else:
                self._begun.append((one, [0.0]))
            if word is not None:
                kept[name] = word
        now = {**before, **kept}
        # What an earlier run in the folder left there is not this one's.
        if path is not None and now != read_kept(path):
            try:
                write_file(path, (json.dumps({"loggers": now}, indent=2) + "\n").encode())
            except OSError as error:
                self._warn(f"{_line(error)}; loggers will begin anew when the run goes on")

    def _name(self, logger: Logger) -> str:
        """Its own or its class's, and which one where there are several."""
        names = [getattr(one, "name", type(one).__name__) for one in self._asked]
        at = next(i for i, one in enumerate(self._asked) if one is logger)
        before = names[:at].count(names[at])
        return f"{names[at]} {before + 1}" if before else str(names[at])

    def step(self, step: int, values: dict[str, float]) -> None:
        """A point of a step."""
        self._each(lambda one: one.step(step, values))

    def epoch(self, epoch: int, row: dict[str, float]) -> None:
        """The row of an epoch."""
        self._each(lambda one: one.epoch(epoch, row))

    def end(self, outcome: str) -> None:
        """The last call."""
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
                    self._warn(f"{self._name(one)}: {_line(error)}; points are missing there, and the run goes on")


def _line(error: Exception) -> str:
    return (message(error).strip().splitlines() or [type(error).__name__])[0]


def read_kept(path: Path) -> dict[str, Any]:
    """What loggers kept; nothing where there is no such file.

    Raises:
        ValueError: it is another's.
    """
    try:
        found = json.loads(path.read_text())["loggers"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{os.fspath(path)}: not what a run's loggers keep there; move it, and they begin anew")
    return found


def is_kept(path: Path) -> bool:
    """Whether a file is what loggers kept."""
    try:
        read_kept(path)
    except ValueError:
        return False
    return True

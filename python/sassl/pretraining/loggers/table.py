"""Tables: `log.csv`, a row for each epoch, which every run in a folder has; and `steps.csv`, a row for each point of a step."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from ..._sassl import write_file
from ..history import History, rows_of
from .base import LOGGERS, Begun

#: No link is followed.
_APPEND = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)


class Epochs:
    """`log.csv`: all of it is written with each row, so that it has no row that no checkpoint knows after a run went on."""

    name = "log.csv"

    def begin(self, run: Begun) -> None:
        """Rows of a process that was killed are gone."""
        assert run.folder is not None
        self._path, self._rows = run.folder / "log.csv", History(run.history)
        self._write()

    def step(self, step: int, values: dict[str, float]) -> None:
        """Not of this table."""

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """One more row."""
        self._rows.append(values)
        self._write()

    def end(self, outcome: str) -> None:
        """All is written."""

    def _write(self) -> None:
        write_rows(self._path, self._rows)


class CSV:
    """The logger "csv": `steps.csv` in the run's folder, to which each point is appended."""

    name, needs_folder = "csv", True

    def begin(self, run: Begun) -> None:
        """Points of a process that was killed after its last checkpoint are gone."""
        assert run.folder is not None
        self._path = run.folder / "steps.csv"
        rows = []
        if os.path.lexists(self._path):
            if self._path.is_symlink() or not self._path.is_file() or not is_steps(self._path):
                raise FileExistsError(f"{self._path}: not of a run, which would write its own there; move it")
            rows = [row for row in rows_of(self._path, "step") if row["step"] <= run.step]
        self._names = write_rows(self._path, rows)

    def step(self, step: int, values: dict[str, float]) -> None:
        """One more row; the table is written anew where it has a column that was not there."""
        row = {"step": step, **values}
        if not row.keys() <= set(self._names):
            self._names = write_rows(self._path, [*(rows_of(self._path, "step") if self._names else []), row])
            return
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._names).writerow(row)
        with open(os.open(self._path, _APPEND), "ab") as file:
            file.write(text.getvalue().encode())

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Not of this table."""

    def end(self, outcome: str) -> None:
        """All is written."""


def write_rows(path: Path, rows: list[dict[str, float]]) -> list[str]:
    """Writes a table, the whole file or nothing, and gives its columns; without rows there is none."""
    if not rows:
        path.unlink(missing_ok=True)
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, text.getvalue().encode())
    return names


def is_steps(path: Path) -> bool:
    """Whether it begins as `steps.csv` does."""
    with path.open("rb") as file:
        return file.read(10) == b"step,loss,"


LOGGERS["csv"] = CSV

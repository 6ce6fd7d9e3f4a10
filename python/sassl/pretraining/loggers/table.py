"""CSV tables: `log.csv`, with a row per epoch, for every run with a folder; `steps.csv`, with a row for every tenth step."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from ..._sassl import write_file
from ..history import History, rows_of
from .base import LOGGERS, Begun

#: Flags of `os.open`: append, and do not follow links.
_APPEND = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)


class Epochs:
    """The logger of `log.csv`, which is rewritten for each new row. After a resume, rows beyond the checkpoint are gone."""

    name = "log.csv"

    def begin(self, run: Begun) -> None:
        """Rewrite the table without rows beyond the checkpoint."""
        assert run.folder is not None
        self._path, self._rows = run.folder / "log.csv", History(run.history)
        self._write()

    def step(self, step: int, values: dict[str, float]) -> None:
        """Do nothing: steps are not part of this table."""

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Append a row."""
        self._rows.append(values)
        self._write()

    def end(self, outcome: str) -> None:
        """Do nothing: all rows are written."""

    def _write(self) -> None:
        write_rows(self._path, self._rows)


class CSV:
    """The logger "csv", which appends to `steps.csv` in the run's folder."""

    name, needs_folder = "csv", True

    def begin(self, run: Begun) -> None:
        """Rewrite the table without rows beyond the last checkpoint."""
        assert run.folder is not None
        self._path = run.folder / "steps.csv"
        rows = []
        if os.path.lexists(self._path):
            if self._path.is_symlink() or not self._path.is_file() or not is_steps(self._path):
                raise FileExistsError(f"{self._path}: not of a run, which would write its own there; move it")
            rows = [row for row in rows_of(self._path, "step") if row["step"] <= run.step]
        self._names = write_rows(self._path, rows)

    def step(self, step: int, values: dict[str, float]) -> None:
        """Append a row; the table is rewritten if the row has a new column."""
        row = {"step": step, **values}
        if not row.keys() <= set(self._names):
            self._names = write_rows(self._path, [*(rows_of(self._path, "step") if self._names else []), row])
            return
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._names).writerow(row)
        with open(os.open(self._path, _APPEND), "ab") as file:
            file.write(text.getvalue().encode())

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Do nothing: epochs are not part of this table."""

    def end(self, outcome: str) -> None:
        """Do nothing: all rows are written."""


def write_rows(path: Path, rows: list[dict[str, float]]) -> list[str]:
    """Write a table atomically, and return the column names. If there are no rows, delete the file."""
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
    """Return whether a file starts with the first columns of `steps.csv`."""
    with path.open("rb") as file:
        return file.read(10) == b"step,loss,"


LOGGERS["csv"] = CSV

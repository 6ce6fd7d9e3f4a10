"""Comparison of results of `sassl eval` between arms, with intervals.

An arm is a group of results that is compared with others, such as all results of one pretraining method.

    from sassl import evaluation

    compared = evaluation.compare(["without.jsonl", "with.jsonl"])
    print(compared)  # for each set: mean and standard deviation over checkpoints, and the difference with its interval
    compared.plot("difference.png")
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._sassl import write_file
from ...arguments import choice
from . import tables
from .arms import BY, Results, load, notes
from .intervals import Difference
from .rows import Row, Summary, rows_of
from .tables import TIMES

__all__ = ["BY", "FORMATS", "Difference", "ResultComparison", "Row", "Summary", "compare"]

#: Formats of a table, with the suffixes of their files.
FORMATS = {"text": ".txt", "markdown": ".md", "latex": ".tex"}


@dataclass(frozen=True)
class ResultComparison:
    """Results of several arms side by side; `str` returns an aligned table with notes below.

    Attributes:
        arms: names of the arms.
        reference: the arm that is subtracted in differences.
        rows: one row for each measurement, and a last row for each transfer protocol, with the mean over the sets that all arms
            have.
        notes: a legend for the values, and remarks on them.
    """

    arms: tuple[str, ...]
    reference: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Return a GitHub Markdown table, with the best arm of each row in bold."""
        return tables.markdown(tables.cells(self.rows, self.reference), self.notes)

    def latex(self) -> str:
        """Return a LaTeX tabular for the package booktabs, with the best arm of each row in bold."""
        return tables.latex(tables.cells(self.rows, self.reference), self.notes, [row.sets > 1 for row in self.rows])

    def table(self, format: str = "text") -> str:  # noqa: A002, as in `format(value)`
        """Return the table in one of `FORMATS`: "text", "markdown" or "latex"."""
        made: dict[str, Callable[[], str]] = {"text": self.__str__, "markdown": self.markdown, "latex": self.latex}
        return made[choice("format", format, FORMATS)]()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table in the format given by the file's suffix: .txt, .md or .tex.

        Raises:
            ValueError: an unknown suffix.
            OSError: the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        named = {own: name for name, own in FORMATS.items()}
        if suffix not in named:
            raise ValueError(f"{os.fspath(path)}: the name must end in {', '.join(named)}")
        write_file(path, f"{self.table(named[suffix])}\n".encode())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the difference of each row with its interval.

        Args:
            path: an image file to write, in the format given by its suffix: .png, .svg, .pdf or another of matplotlib's.

        Returns:
            A matplotlib `Figure`, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: there is no difference to draw; a format that matplotlib does not write.
            OSError: the file cannot be written.
        """
        rows = [row for row in self.rows if any(row.differences.values())]
        if not rows:
            raise ValueError("no two arms have a measurement in common, so that there is no difference to draw")
        try:
            from ... import figure
            from . import forest
        except ImportError:
            raise ImportError("compare: needs matplotlib; install it, or the extra sassl[demo]") from None
        drawn = forest.draw(rows, self.reference)
        if path is not None:
            figure.save(drawn, path)
        return drawn

    def __str__(self) -> str:
        table = tables.text(tables.cells(self.rows, self.reference))
        return "\n".join([table, "", *self.notes])


def compare(results: Results, *, by: str | None = None, reference: str | None = None) -> ResultComparison:
    """Compare the results of several arms, such as pretraining with style and without.

    The results of a checkpoint with different evaluation seeds are averaged first. The mean and the standard deviation (n - 1)
    of an arm are over its checkpoints.

    The difference between two arms is either:

    - paired, if the arms share at least two pretraining seeds, or if each arm has one checkpoint and both have the same
      pretraining seed. Differences at equal evaluation seeds are averaged for each pretraining seed, and then over pretraining
      seeds. The interval is Student's 95 % interval; a single pretraining seed gives none.
    - unpaired otherwise. It is the difference of the arms' means, with Welch's 95 % interval (Welch 1947) if both arms have
      several checkpoints.

    Intervals are not corrected for multiple comparisons.

    Args:
        results: .jsonl files written by `sassl eval`, each an arm named after the file; or a dict from the name of an arm to
            one or several files.
        by: what defines the arm of a result: the "file" (or the name in the dict), or the entry "model" or "checkpoint" of the
            result. None: "file" if `results` define several arms; otherwise "model" if the results have this entry, else
            "checkpoint".
        reference: the arm that is subtracted in differences; None: the first.

    Raises:
        ValueError: a line that is not a result; the same measurement twice in an arm; two checkpoints with the same pretraining
            seed in an arm; results of one measurement with different images or heads; an unknown reference.
        OSError: a file cannot be read.
    """
    arms = load(results, by)
    reference = next(iter(arms)) if reference is None else choice("reference", reference, arms)
    rows, said = rows_of(arms, reference)
    return ResultComparison(tuple(arms), reference, tuple(rows), (*_legend(rows), *said, *notes(arms)))


def _legend(rows: list[Row]) -> list[str]:
    """Return a legend that explains the cells of these rows."""
    told = [
        f"Mean ± standard deviation over n checkpoints (n), or (n {TIMES} draws) where evaluation draws were averaged first"
    ]
    told.append("in per cent" if all(row.metric.is_share for row in rows) else "in per cent, except kappa and AUC")
    differences = [one for row in rows for one in row.differences.values() if one is not None]
    found = []
    if any(one.is_paired for one in differences):
        found.append("pairs share the pretraining seed and evaluation draws, with Student's 95 % interval")
    if not all(one.is_paired for one in differences):
        found.append("arms without pairs have Welch's 95 % interval")
    return [f"{'; '.join(told)}.", *([f"Differences: {'; '.join(found)}."] if found else [])]

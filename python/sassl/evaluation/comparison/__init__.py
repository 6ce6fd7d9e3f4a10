"""Results side by side: what `sassl eval transfer` and `sassl eval robustness` wrote, arm by arm, with intervals.

from sassl import evaluation

compared = evaluation.compare(["without.jsonl", "with.jsonl"])
print(compared)  # a row for each set: mean and standard deviation over checkpoints, and the difference with its interval
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

#: Formats of a table, and the suffixes of their files.
FORMATS = {"text": ".txt", "markdown": ".md", "latex": ".tex"}


@dataclass(frozen=True)
class ResultComparison:
    """Arms side by side; as text, an aligned table with notes below it.

    Attributes:
        arms: names of the arms.
        reference: the arm that differences are from.
        rows: a measurement each, and after those of a protocol on the sets of transfer their mean over the sets that all arms
            have.
        notes: what the values are, and what a reader has to know of them.
    """

    arms: tuple[str, ...]
    reference: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """A table of GitHub's Markdown, the best arm of each row in bold."""
        return tables.markdown(tables.cells(self.rows, self.reference), self.notes)

    def latex(self) -> str:
        """A LaTeX tabular for the package booktabs, the best arm of each row in bold."""
        return tables.latex(tables.cells(self.rows, self.reference), self.notes, [row.sets > 1 for row in self.rows])

    def table(self, format: str = "text") -> str:  # noqa: A002, as in `format(value)`
        """The table in a format of `FORMATS`: "text", "markdown" or "latex"."""
        made: dict[str, Callable[[], str]] = {"text": self.__str__, "markdown": self.markdown, "latex": self.latex}
        return made[choice("format", format, FORMATS)]()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the table in the format that the file's suffix names: .txt, .md or .tex.

        Raises:
            ValueError: another suffix.
            OSError: the system refuses.
        """
        suffix = Path(path).suffix.lower()
        named = {own: name for name, own in FORMATS.items()}
        if suffix not in named:
            raise ValueError(f"{os.fspath(path)}: expected a name that ends in {', '.join(named)}")
        write_file(path, f"{self.table(named[suffix])}\n".encode())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draws the difference of each row with its interval.

        Args:
            path: an image file to write, in the format that its suffix names: .png, .svg, .pdf or another of matplotlib's.

        Returns:
            A matplotlib `Figure`, which a notebook shows.

        Raises:
            ImportError: without matplotlib.
            ValueError: there is no difference to draw; a format that matplotlib does not write.
            OSError: the system refuses.
        """
        rows = [row for row in self.rows if any(row.differences.values())]
        if not rows:
            raise ValueError("compare: no two arms have a measurement in common, and there is no difference to draw")
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
    """Compares results of several arms, such as with style and without.

    A checkpoint's evaluation draws are averaged first; the mean and the standard deviation (n - 1) of an arm are over its
    checkpoints. Where two checkpoints or more of both arms have the same pretraining seeds, the differences are paired by
    seed and evaluation draw, with Student's 95 % interval. Elsewhere they are between the arms' means, with Welch's (Welch
    1947). Each interval is for its row alone and is not corrected for several rows.

    Args:
        results: .jsonl files of `sassl eval transfer` and `sassl eval robustness`. Each is an arm with the file's name; or a
            dict of names with a file or several.
        by: what names an arm: "file"; "model" or "checkpoint", which the results tell. None: "file" where there are several
            arms of files; in a single file "model", or "checkpoint" where the results name no model.
        reference: the arm that differences are from; None: the first.

    Raises:
        ValueError: a line that is no result; the same measurement twice in an arm; two checkpoints of one pretraining seed
            in an arm; results of one measurement on other images or by another head; no such reference.
        OSError: a file cannot be read.
    """
    arms = load(results, by)
    reference = next(iter(arms)) if reference is None else choice("reference", reference, arms)
    rows, said = rows_of(arms, reference)
    return ResultComparison(tuple(arms), reference, tuple(rows), (*_legend(rows), *said, *notes(arms)))


def _legend(rows: list[Row]) -> list[str]:
    """Describe the cells of these rows."""
    told = [
        f"Mean ± standard deviation over n checkpoints (n), or (n {TIMES} draws) where evaluation draws were averaged first"
    ]
    told.append("in per cent" if all(row.metric.is_share for row in rows) else "in per cent, except kappa and AUC")
    differences = [one for row in rows for one in row.differences.values() if one is not None]
    found = []
    if any(one.is_paired for one in differences):
        found.append("pairs have the same pretraining seed and evaluation draws, and Student's interval at 95 %")
    if not all(one.is_paired for one in differences):
        found.append("arms without pairs have Welch's interval at 95 %")
    return [f"{'; '.join(told)}.", *([f"Differences: {'; '.join(found)}."] if found else [])]

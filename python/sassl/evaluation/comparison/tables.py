"""A comparison as a table: aligned text, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .intervals import Difference
from .rows import Row, Summary

#: Mathematical signs; text and Markdown have a hyphen in place of the minus.
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
#: LaTeX for the special characters that tables may contain.
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    MINUS: "$-$",
    TIMES: r"$\times$",
    "↓": r"$\downarrow$",
}
_MISSING = "-"


class Cell(NamedTuple):
    """A cell of the table."""

    text: str
    bold: bool = False


def cells(rows: Sequence[Row], reference: str) -> list[list[Cell]]:
    """Return the header and the rows of the table.

    The columns are the measurement, the arms, and the difference of each arm from the reference.
    """
    arms, others = rows[0].arms, rows[0].differences
    head = ["set", "school", "protocol", "metric", *arms, *(difference_of(arm, reference) for arm in others)]
    return [[Cell(text) for text in head], *(_cells(row) for row in rows)]


def text(table: Sequence[Sequence[Cell]]) -> str:
    """Return the table as aligned columns."""
    widths = [max(len(cell.text) for cell in column) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.text.ljust(n) for cell, n in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def markdown(table: Sequence[Sequence[Cell]], notes: Sequence[str]) -> str:
    """Return a GitHub Markdown table with the best arm in bold, and the notes below it as a list."""

    def line(row: Sequence[str]) -> str:
        return f"| {' | '.join(row)} |"

    def shown(cell: Cell) -> str:
        escaped = "".join(f"\\{one}" if one in "\\|*_`<[" else one for one in cell.text)
        return f"**{escaped}**" if cell.bold else escaped

    head, *rows = ([shown(cell) for cell in row] for row in table)
    rules = ["---"] * 4 + ["---:"] * (len(head) - 4)
    escaped = [shown(Cell(note)) for note in notes]
    return "\n".join([line(head), line(rules), *map(line, rows), "", *(f"- {note}" for note in escaped)])


def latex(table: Sequence[Sequence[Cell]], notes: Sequence[str], last: Sequence[bool]) -> str:
    """Return a booktabs tabular with the best arm in bold, and the notes as comments.

    Args:
        table: see `cells`.
        notes: notes of one line each.
        last: for each row below the header, True if it is a mean; a rule is drawn above means.
    """

    def line(row: Sequence[Cell]) -> str:
        return " & ".join(rf"\textbf{{{_escaped(cell.text)}}}" if cell.bold else _escaped(cell.text) for cell in row)

    head, *rows = map(line, table)
    lines = [f"% {note}" for note in ("Needs \\usepackage{booktabs}.", *notes)]
    lines += [rf"\begin{{tabular}}{{llll{'r' * (len(table[0]) - 4)}}}", r"\toprule", rf"{head} \\", r"\midrule"]
    for row, is_mean in zip(rows, last, strict=True):
        lines += [r"\midrule"] * is_mean + [rf"{row} \\"]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def difference_of(arm: str, reference: str) -> str:
    """Return the column title for the difference of an arm from the reference."""
    return f"{arm} - {reference}"


def _cells(row: Row) -> list[Cell]:
    key, best, digits = row.measurement, row.best(), row.metric.digits
    name = f"mean of {row.sets} sets" if row.sets > 1 else key.set
    metric = row.metric.title + (" ↓" if row.metric.higher is False else "")
    return [
        *(Cell(part or _MISSING) for part in (name, key.school, key.protocol, metric)),
        *(Cell(_summary(one, digits), arm in best) for arm, one in row.arms.items()),
        *(Cell(_difference(one, digits)) for one in row.differences.values()),
    ]


def _summary(one: Summary | None, digits: int) -> str:
    if one is None:
        return _MISSING
    least, most = one.draws
    draws = "" if most == 1 else f" {TIMES} {least}" if least == most else f" {TIMES} {least} to {most}"
    spread = "" if one.sd is None else f" ± {one.sd:.{digits}f}"
    return f"{one.mean:.{digits}f}{spread} ({one.n}{draws})"


def _difference(one: Difference | None, digits: int) -> str:
    if one is None:
        return _MISSING
    half = "" if one.half is None else f" ± {one.half:.{digits}f}"
    return f"{signed(one.value, digits)}{half} ({one.basis})"


def signed(value: float, digits: int) -> str:
    """Format a value with its sign; a value that rounds to zero has none."""
    shown = f"{value:+.{digits}f}"
    return shown[1:] if float(shown) == 0 else shown


def _escaped(text: str) -> str:
    # A minus precedes a value or separates two arms; hyphens in names are not minus signs.
    return "".join(_LATEX.get(one, one) for one in re.sub(r"(?<!\S)-(?=[\d ])", MINUS, text))

"""Curves of runs in one matplotlib figure, which notebooks show; what pyplot did not make is not shown there otherwise."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.figure
from matplotlib.ticker import MaxNLocator

from .._sassl import write_file


class Figure(matplotlib.figure.Figure):
    """matplotlib's, which IPython shows as a PNG."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def draw(runs: Mapping[str, Sequence[Mapping[str, float]]], titles: Mapping[str, str]) -> Figure:
    """A panel for each number, over epochs, with a line for each run that has it.

    Args:
        runs: their rows, by the name that a legend tells where there are several.
        titles: of the panels, by the name of the number, in their order.
    """
    columns = min(3, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    for i, (name, title) in enumerate(titles.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        for at, (run, history) in enumerate(runs.items()):
            told = [(row["epoch"], row[name]) for row in history if name in row]
            if told:
                axes.plot(*zip(*told, strict=True), ".-", color=f"C{at % 10}", linewidth=1, label=run)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if i >= len(titles) - columns:
            axes.set_xlabel("epoch", fontsize=8)
    if len(runs) > 1:
        lines = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
        figure.legend([*lines.values()], [*lines], loc="outside lower center", fontsize=8)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes an image in the format that the file's suffix names: the whole file, or nothing.

    Raises:
        ValueError: a format that matplotlib does not write.
        OSError: the system refuses.
    """
    data = io.BytesIO()
    figure.savefig(data, format=Path(path).suffix[1:] or "png", dpi=130)
    write_file(path, data.getvalue())

"""Curves of runs in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.ticker import MaxNLocator

from ..figure import Figure


def draw(runs: Mapping[str, Sequence[Mapping[str, float]]], titles: Mapping[str, str]) -> Figure:
    """Draw a panel for each metric over the epochs, with a line for each run that has the metric.

    Args:
        runs: the rows of each run, by the run's name in the legend; a single run has no legend.
        titles: the titles of the panels by metric, in the order of the panels.
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

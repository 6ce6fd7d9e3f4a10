"""The differences of a comparison as a forest plot: a point with its 95 % interval for each row."""

from __future__ import annotations

from collections.abc import Sequence

from ...figure import Figure
from .rows import Row
from .tables import difference_of

#: Height of a row, and total height of a panel's margins, in inches.
_ROW, _AROUND = 0.28, 0.9


def draw(rows: Sequence[Row], reference: str) -> Figure:
    """Draw a panel for each unit, with a line for each row, and a colour for each arm. Open points have no interval.

    Args:
        rows: rows that have a difference.
        reference: the arm that is subtracted in differences.
    """
    units = {
        "difference in percentage points": [row for row in rows if row.metric.is_share],
        "difference of kappa or AUC": [row for row in rows if not row.metric.is_share],
    }
    panels = {title: own for title, own in units.items() if own}
    arms = list(rows[0].differences)
    heights = [_AROUND + _ROW * len(own) * max(1, len(arms) / 2) for own in panels.values()]
    figure = Figure(figsize=(6.4, sum(heights) + 0.3), layout="constrained")
    columns = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, own) in zip(columns, panels.items(), strict=True):
        axes.axvline(0, color="0.5", linestyle="--", linewidth=1)
        for at, arm in enumerate(arms):
            shift = (at - (len(arms) - 1) / 2) * 0.7 / len(arms)
            for i, row in enumerate(own):
                if (one := row.differences[arm]) is not None:
                    axes.errorbar(
                        one.value,
                        i + shift,
                        xerr=one.half,
                        fmt="D" if row.sets > 1 else "o",
                        color=f"C{at % 10}",
                        markerfacecolor="white" if one.half is None else None,
                        markersize=5,
                        capsize=2,
                        label=difference_of(arm, reference),
                    )
        axes.set_yticks(range(len(own)), [_name(row) for row in own])
        axes.set_ylim(len(own) - 0.4, -0.6)
        axes.set_xlabel(title, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", alpha=0.3)
    told = {text: mark for axes in columns for mark, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend([*told.values()], [*told], loc="outside upper center", fontsize=8)
    return figure


def _name(row: Row) -> str:
    key = row.measurement
    if row.sets > 1:
        return f"mean of {row.sets} sets, {key.protocol}"
    lower = ", lower is better" if row.metric.higher is False else ""
    return f"{' '.join(part for part in (key.set, key.school) if part)}, {key.protocol}, {row.metric.title}{lower}"

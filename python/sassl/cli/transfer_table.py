"""The table of `sassl eval transfer`: details of the results of a single model, or a column for each of several models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

_Result = dict[str, Any]


def table(results: Sequence[_Result], models: Sequence[str]) -> str:
    """Return a table with a row for each data set and school (split); several seeds give a mean and a standard deviation.

    Args:
        results: the results to show, each a dict as in a line of the file of results.
        models: names of the models, in the order of their columns.
    """
    groups: dict[tuple[str, str], list[_Result]] = {}
    for result in results:
        groups.setdefault((result["set"], result["school"]), []).append(result)
    rows = _of_one(groups.values()) if len(models) == 1 else _of_several(list(groups.values()), models)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows)


def _of_one(groups: Any) -> list[tuple[str, ...]]:
    head = ("set", "school", "metric", "value", "top-1", "train", "val", "test", "seeds", "C, k or lr")
    return [head, *(_row(group) for group in groups)]


def _of_several(groups: list[list[_Result]], models: Sequence[str]) -> list[tuple[str, ...]]:
    """Return a row for each set, and a last row with the means over the sets that all models have.

    Kappa is multiplied by 100 in the means.
    """
    rows = [("set", "school", "metric", *models)]
    means: list[list[float]] = []
    for group in groups:
        first = group[0]
        own = [[_value(one) for one in group if one["model"] == model] for model in models]
        digits = _digits(first["metric"])
        rows.append((first["set"], first["school"], first["metric"], *(_mean(values, digits) for values in own)))
        by = 100 if first["metric"] == "kappa" else 1
        if all(own) and not any(math.isnan(x) for values in own for x in values):
            means.append([by * fmean(values) for values in own])
    if means:
        count = f"{len(means)} sets" if len(means) == len(groups) else f"{len(means)} of {len(groups)} sets"
        rows.append(("mean", count, "", *(f"{fmean(column):.1f}" for column in zip(*means, strict=True))))
    return rows


def _row(group: list[_Result]) -> tuple[str, ...]:
    first = group[0]
    strengths = dict.fromkeys(_chosen(result) for result in group)
    return (
        first["set"],
        first["school"],
        first["metric"],
        _mean([_value(result) for result in group], _digits(first["metric"])),
        _mean([float(result["top1"]) for result in group], 1),
        *(str(first.get(split, "")) for split in ("train", "val", "test")),
        str(len(group)),
        ", ".join(strengths),
    )


def _chosen(result: _Result) -> str:
    """Return the setting of a protocol, chosen or given: C, k, or the learning rate and weight decay."""
    if "c" in result:
        return f"{result['c']:.3g}"
    return str(result["k"]) if "k" in result else f"{result['lr']:.3g} (decay {result['weight_decay']:.3g})"


def _value(result: _Result) -> float:
    return math.nan if result["value"] is None else float(result["value"])


def _digits(metric: str) -> int:
    return 3 if metric == "kappa" else 1


def _mean(values: list[float], digits: int) -> str:
    if not values:
        return "-"
    mean = f"{fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {stdev(values):.{digits}f}"

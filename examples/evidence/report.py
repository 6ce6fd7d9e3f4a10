"""Turn results into tables and figures: `report.md`, `curves.png`, `difference.png` and `strength.png`.

    python examples/evidence/report.py                      # the results in the repository
    python examples/evidence/report.py --results RESULTS --out FOLDER

The primary comparison is by `sassl.evaluation.compare`: differences paired by seed, with Student's 95 % interval. Cells with
one seed have no interval, and are listed as exploratory.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import measure
import sassl
import study
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
Results = dict[str, dict[str, Any]]

#: The protocol, metric and title of each column of measures in the exploratory table.
COLUMNS = (
    (measure.PRIMARY, "top1", "linear"),
    (f"kNN, k = {measure.K}", "top1", "kNN"),
    ("5 images a class", "top1", "5 images"),
    ("50 images a class", "top1", "50 images"),
    ("transfer, linear probe", "top1", "CIFAR-10"),
    ("logistic head", "shape_bias", "shape bias"),
    ("corruption error", "mean_error", "corrupted, error"),
)
#: Threshold in percentage points: a curve is level if its mean over seeds changes by less between the last two measured epochs.
LEVEL = 0.5


def load(folder: Path) -> Results:
    """Load all results in a folder: a dict from the cell's name to its result, in the order of the study."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    known = [name for name in study.CELLS if name in found]
    return {name: found[name] for name in known}


def compared(results: Results) -> Any:
    """Compare each arm with the arm "none", paired by seed; return None if "none" or every other arm is missing."""
    arms: dict[str, list[str]] = {}
    for one in results.values():
        lines = arms.setdefault(one["cell"]["arm"], [])
        lines += [json.dumps(line) for line in one["measures"]]
    if len(arms) < 2 or "none" not in arms:
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = {arm: Path(folder, f"{arm}.jsonl") for arm in arms}
        for arm, file in files.items():
            file.write_text("\n".join(arms[arm]) + "\n")
        return sassl.evaluation.compare(files, reference="none")


def value(one: dict[str, Any], protocol: str, metric: str) -> float | None:
    """The value of a measure in a result; None if it was not measured."""
    return next((x["value"] for x in one["measures"] if (x["protocol"], x["metric"]) == (protocol, metric)), None)


def headline(comparison: Any) -> str:
    """Return text about the primary measure: the difference between SASSL and none, its interval, and a verdict."""
    row = next(row for row in comparison.rows if row.measurement.protocol == measure.PRIMARY)
    found = row.differences["paper"]
    if found.half is None:
        return f"Linear probe, SASSL minus none: {found.value:+.2f} points, one pair, no interval."
    low, high = found.value - found.half, found.value + found.half
    verdict = "The interval holds 0: no effect is shown." if low <= 0 <= high else "The interval does not hold 0."
    if (planned := len(study.SEEDS)) > found.n[0]:
        verdict = f"The plan has {planned} pairs: this is unfinished, and no result yet."
    return (
        f"Linear probe, SASSL minus none: {found.value:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f} "
        f"({found.n[0]} pairs). {verdict}"
    )


def level(results: Results) -> list[str]:
    """Return a sentence for each arm: whether the curve of the linear probe is level at the end."""
    lines = []
    for arm in dict.fromkeys(one["cell"]["arm"] for one in results.values()):
        curves = [one["curve"] for one in results.values() if one["cell"]["arm"] == arm]
        (before, then), (last, now) = (
            (curves[0][at]["epoch"], fmean(curve[at]["linear"] for curve in curves)) for at in (-2, -1)
        )
        word = "level" if abs(now - then) < LEVEL else "not level"
        lines.append(f"{arm}: {then:.2f} % after {before} epochs, {now:.2f} % after {last}: {word}.")
    return lines


def exploratory(results: Results) -> str:
    """A Markdown table with a row for each cell: its measures, and its linear probe compared to the cell without style."""
    head = ["method", "arm", "pixels", "seed", *(title for *_, title in COLUMNS), "linear, minus none"]
    rows = [head, ["---"] * len(head)]
    for one in results.values():
        cell = one["cell"]
        own = [value(one, protocol, metric) for protocol, metric, _ in COLUMNS]
        base = results.get(study.CELLS[cell["name"]].reference.name)
        apart = None if base is None or base is one else own[0] - value(base, *COLUMNS[0][:2])  # type: ignore[operator]
        told = ["-" if x is None else f"{x:.1f}" for x in own] + ["" if apart is None else f"{apart:+.1f}"]
        rows.append([cell["method"], cell["title"], str(cell["side"]), str(cell["seed"]), *told])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def costs(results: Results) -> str:
    """A Markdown table of the time per step and the memory of each cell."""
    rows = ["| cell | s a step | first and last quarter of the epochs | MiB in the first and in the last epoch |"]
    rows.append("|---|---|---|---|")
    for name, one in results.items():
        cost = one["cost"]
        seconds, memory = cost["seconds_by_epoch"], [x for x in cost["memory_mib_by_epoch"] if x is not None]
        quarter = max(1, len(seconds) // 4)
        ends = f"{fmean(seconds[:quarter]):.3f}, {fmean(seconds[-quarter:]):.3f}"
        held = f"{memory[0]}, {memory[-1]}" if memory else "-"
        rows.append(f"| {name} | {cost['seconds_per_step']:.3f} | {ends} | {held} |")
    return "\n".join(rows)


def curves(results: Results, path: Path) -> None:
    """Plot the linear probe and kNN over the epochs: a thin line for each seed, a thick one for the mean of each arm."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, (key, title) in zip(
        figure.subplots(1, 2), (("linear", "linear probe"), ("knn", f"kNN, k = {measure.K}")), strict=True
    ):
        for i, arm in enumerate(dict.fromkeys(one["cell"]["arm"] for one in results.values())):
            own = [one["curve"] for one in results.values() if one["cell"]["arm"] == arm]
            epochs = [point["epoch"] for point in own[0]]
            lines = [[point[key] for point in curve] for curve in own]
            for line in lines:
                axes.plot(epochs, line, color=f"C{i}", linewidth=0.6, alpha=0.5)
            mean = [fmean(column) for column in zip(*lines, strict=True)]
            axes.plot(epochs, mean, color=f"C{i}", linewidth=2, label=f"{arm} (n = {len(own)})")
        axes.set(xlabel="epoch", ylabel="top-1 in per cent", title=title)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def strength(results: Results, path: Path) -> bool:
    """Plot the linear probe against p, alpha and beta in the short SimCLR cells; return False if there is nothing to plot."""
    panels = {}
    for name, arms in study.SWEEPS.items():
        cells = {at: study.Cell("simclr", arm, "short").name for at, arm in arms.items()}
        panels[name] = {at: value(results[cell], *COLUMNS[0][:2]) for at, cell in cells.items() if cell in results}
    if max(map(len, panels.values())) < 2:
        return False
    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        axes.plot(list(points), list(points.values()), "o-")
        axes.set(xlabel=name, xlim=(-0.05, 1.05), title=f"{name} (one seed)")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("linear probe, top-1 in per cent")
    figure.savefig(path, dpi=110)
    return True


def pairs(results: Results, out: Path, is_primary: bool) -> list[str]:
    """Return the parts of the report that compare arms over several seeds, and write their figures to `out`."""
    if (comparison := compared(results)) is None:
        return []
    name = "difference" if is_primary else "difference_large"
    comparison.plot(out / f"{name}.png")
    table = [comparison.markdown(), f"![Differences]({name}.png)"]
    if not is_primary:
        return ["## Exploratory: the larger run", *table]
    curves(results, out / "curves.png")
    title = "## Primary: SimCLR, with SASSL and without"
    others = "The other rows of the table are exploratory."
    return [title, headline(comparison), *level(results), *table, others, "![Curves](curves.png)"]


def report(results: Results, out: Path, sizes: Sequence[str] = ("full", "short", "large")) -> str:
    """Write the figures, and return the report as Markdown."""
    parts = ["# Results", f"Cells with a result: {len(results)}. Made by `python examples/evidence/report.py`."]
    for size in sizes:
        own = {name: one for name, one in results.items() if one["cell"]["size"] == size}
        if size in ("full", "large"):
            parts += pairs(own, out, size == "full")
        elif own:
            title = "Exploratory: one seed each, no intervals"
            parts += [f"## {title} ({study.SIZES[size].epochs} epochs)", exploratory(own)]
            if strength(own, out / "strength.png"):
                parts.append("![Strength](strength.png)")
    if results:
        parts += ["## Cost", costs(results)]
    commands = [f"- `{name}`: `{one['made']['command']}`" for name, one in results.items()]
    return "\n\n".join([*parts, "## Commands", "\n".join(commands) or "None yet."]) + "\n"


def main() -> None:
    """Run the program."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--results", type=Path, default=HERE / "results", help="a folder of results (default: results/)"
    )
    options.add_argument("--out", type=Path, help="a folder for the report (default: that of the results)")
    options.add_argument(
        "--sizes", default="full,short,large", help="sizes of cells to report (default: all but quick)"
    )
    args = options.parse_args()
    out = args.out or args.results
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(report(load(args.results), out, args.sizes.split(",")))
    print(out / "report.md")


if __name__ == "__main__":
    main()

"""`sassl eval strength`: how far views move in a model's feature space with alpha and beta, as a figure and as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .. import evaluation
from .._sassl import write_file
from ..terminal import say
from ..transforms.plain import SASSL
from .opened import models, opened_one
from .options import check_out, check_styles, checked_seed

TEXT = "Plot how far views move in feature space with alpha and beta."
#: The range from which the paper draws alpha and beta.
_PAPERS = (0.1, 0.3)


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    models(sub)
    sub.add_argument("--data", type=Path, required=True, help="a folder of images, with or without folders for classes")
    sub.add_argument(
        "--styles", default="default", help='"default", "batch", a folder of images, one image, or a bank file'
    )
    sub.add_argument(
        "--style-model", default="lite", help='style network: "lite" or a .safetensors file (default: %(default)s)'
    )
    for name in ("alpha", "beta"):
        sub.add_argument(
            f"--{name}",
            type=float,
            nargs="+",
            default=evaluation.STRENGTHS,
            help="in [0, 1] (default: 7 values from 0 to 1)",
        )
    sub.add_argument("--n", type=int, default=256, help="number of images drawn from the data (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=0, help="seed of the draws (default: %(default)s)")
    sub.add_argument("--threads", type=int, help="number of threads (default: all cores)")
    sub.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the .png, .svg or .pdf file to write; the values are written next to it as .json",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    check_out(args.out, ".png", ".svg", ".pdf")
    check_styles("--styles", args.styles, "default", "batch")
    from ..figure import save

    model = opened_one(args)
    style = SASSL(styles=args.styles, model=args.style_model, threads=args.threads)
    found = evaluation.strength(
        model, args.data, style, alpha=args.alpha, beta=args.beta, n=args.n, seed=checked_seed(args.seed), progress=True
    )
    write_file(args.out.with_suffix(".json"), json.dumps({**model.describe(), **found}).encode())
    save(drawn(found), args.out)
    say(f"{'alpha':>5} {'beta':>5} {'moved':>8} {'relative':>9} {'kept':>7} {'levels':>7}")
    for i, alpha in enumerate(found["alpha"]):
        for j, beta in enumerate(found["beta"]):
            moved, relative, kept, levels = (found[name][i][j] for name in ("moved", "relative", "kept", "levels"))
            say(f"{alpha:>5.2f} {beta:>5.2f} {moved:>8.4f} {relative:>9.3f} {kept:>5.1f} % {levels:>7.2f}")
    say(f"{args.out}: {found['n']} images of {found['size']} pixels; relative = 1 is the distance to another image")
    return 0


def drawn(found: dict[str, Any]) -> Any:
    """Plot the distance of views against beta, with a line for each alpha.

    A second panel shows the percentage of views that are nearest to their own image.
    """
    from ..figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = (
        ("relative", "distance of a view, relative to another image"),
        ("kept", "views nearest to their own image, %"),
    )
    for place, (name, title) in enumerate(panels):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.axvspan(*_PAPERS, color="0.93", label="the paper's range" if place == 0 else None)
        for at, (alpha, row) in enumerate(zip(found["alpha"], found[name], strict=True)):
            label = f"alpha = {alpha:g}" if place == 0 else None
            axes.plot(found["beta"], row, ".-", color=f"C{at % 10}", linewidth=1, label=label)
        axes.set_xlabel("beta", fontsize=8)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if name == "relative":
            axes.axhline(1, color="0.5", linestyle="--", linewidth=1, label="another image")
            if found["same_class"] is not None:
                level = found["same_class"] / found["another_image"]
                axes.axhline(level, color="0.5", linestyle=":", linewidth=1, label="another image of the class")
    figure.legend(loc="outside right center", fontsize=8)
    return figure

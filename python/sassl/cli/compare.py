"""`sassl compare`: runs of pretraining side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import pretraining
from ..terminal import say
from .options import check_out


def add(sub: argparse.ArgumentParser) -> None:
    """Its options."""
    sub.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, its log.csv, or a checkpoint; two or more")
    sub.add_argument("--out", type=Path, metavar="FILE", help="also draw the curves, into a .png, .svg or .pdf file")


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    if args.out is not None:
        check_out(args.out, ".png", ".svg", ".pdf")
    compared = pretraining.compare(args.runs)
    say(str(compared))
    if args.out is not None:
        compared.plot(args.out)
        say(f"{args.out}: the curves")
    return 0

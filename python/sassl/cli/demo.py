"""`sassl demo`: the contact sheet."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import demo
from ..terminal import progress, say
from .options import model, strengths
from .styling import transform


def add(sub: argparse.ArgumentParser) -> None:
    """Its options."""
    sub.add_argument("--out", type=Path, default=Path("demo"), help="folder to write to (default: %(default)s)")
    strengths(sub)
    model(sub)


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    written = demo.run(args.out, transform(args, 0.8), lambda items: progress(items, "photograph"))
    say(f"{written[0]}: the contact sheet, and {len(written) - 1} views beside it")
    return 0

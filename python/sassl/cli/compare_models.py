"""`sassl compare-models`: networks side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .. import image_files, notebook
from ..terminal import say
from .options import check_out


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    sub.add_argument("inputs", nargs="+", metavar="PHOTO", help="images, folders or patterns; at most four are shown")
    sub.add_argument("--styles", nargs="+", required=True, help="style images, folders or patterns")
    sub.add_argument("--models", nargs="+", default=["lite"], help='"lite" and model files (default: lite)')
    sub.add_argument("--out", type=Path, default=Path("models.png"), help="image file to write (default: %(default)s)")
    sub.add_argument("--alpha", type=float, default=0.2, help="feature blending of the views (default: %(default)s)")
    sub.add_argument("--beta", type=float, default=0.2, help="pixel interpolation of the views (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    check_out(args.out, *image_files.WRITABLE)
    photos, styles = image_files.find(args.inputs)[:4], image_files.find(args.styles)
    sheet, reports = notebook.compare_models(photos, styles, args.models, alpha=args.alpha, beta=args.beta)
    image_files.write(args.out, np.asarray(sheet))
    say(f"{'model':<24} {'z':>5}  {'precision':<9} {'ms a view':>9} {'levels':>7}")
    for report in reports:
        cost = f"{report.milliseconds:>9.1f} {report.distance:>7.2f}"
        say(f"{report.name:<24} {report.dim:>5}  {report.precision:<9} {cost}")
    say(f"{args.out}: {len(photos)} photographs; views of 224x224 pixels, timed on one thread")
    return 0

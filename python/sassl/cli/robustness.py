"""`sassl eval robustness`: shape bias, and accuracy on images that are corrupted, drawn, or newly collected."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from .. import evaluation
from .._sassl import write_file
from ..data import ImageFolder
from ..data.ranks import by_first
from ..evaluation.robustness import table
from ..terminal import say, tell
from . import several
from .opened import models, opened_one
from .options import check_out, reading

TEXT = "Measure shape bias and the accuracy on corrupted, drawn and stylized images, with a head fitted on --train."


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    models(sub)
    sub.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with the sets in their published layouts: cue-conflict, imagenet-c, ...",
    )
    sub.add_argument(
        "--train",
        type=Path,
        required=True,
        help="folder of labelled images to fit the head on, with a folder for each class",
    )
    sub.add_argument(
        "--sets", nargs="+", choices=tuple(table.SETS), help="sets to measure (default: all that are found)"
    )
    sub.add_argument("--c", type=float, default=1.0, help="inverse penalty of the head (default: %(default)s)")
    sub.add_argument("--out", type=Path, required=True, help="the .jsonl file to write: a line of JSON for each set")
    reading(sub)
    several.sharing(sub)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    by_first(args.ranks, partial(check_out, args.out, ".jsonl"))
    found = [(name, folder) for name, folder in table.find(args.data) if args.sets is None or name in args.sets]
    if missing := sorted(set(args.sets or ()) - {name for name, _ in found}):
        raise FileNotFoundError(f"{args.data}: there is no folder of {', '.join(missing)}")
    model = opened_one(args)
    how = several.shared(args, model.weights)
    train = evaluation.read(model, ImageFolder(args.train), on_error=args.on_error, **how)
    if train.left_out:
        tell(f"{args.train}: {evaluation.left_out(train)}")
    judge = evaluation.robustness.Probe(model, train, c=args.c, on_error=args.on_error, **how)
    lines = ""
    for name, folder in found:
        result = table.SETS[name].measure(judge, folder)
        if result["left_out"]:
            tell(
                f"{folder}: {result['n_left_out']} images could not be read and are left out; they are listed in {args.out}"
            )
        lines += json.dumps({**model.describe(), "folder": str(folder), **result}) + "\n"
        # Each result is written at once, so that it is kept if the next set fails.
        by_first(args.ranks, partial(write_file, args.out, lines.encode()))
        value = result[table.SETS[name].told]
        say(f"{folder}: {table.SETS[name].told} {'undefined' if value is None else f'{value:.1f} %'}")
    return 0

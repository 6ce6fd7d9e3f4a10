"""`sassl eval augmented`: a linear head on a checkpoint's frozen features of random crops, by a published recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import evaluation
from ..data import ImageFolder
from ..terminal import say
from . import folders, several
from .opened import models, opened_one
from .options import reading

TEXT = "A linear head that learns from features of random crops and flips, as MoCo, SimCLR and BYOL report ImageNet."


def add(sub: argparse.ArgumentParser) -> None:
    """Its options."""
    models(sub)
    folders.add(sub)
    sub.add_argument(
        "--recipe", choices=evaluation.LINEAR_RECIPES, default="simclr", help="whose settings (default: %(default)s)"
    )
    sub.add_argument("--epochs", type=int, help="default: the recipe's")
    sub.add_argument("--batch-size", type=int, help="images of a step, on all ranks together (default: the recipe's)")
    sub.add_argument(
        "--lr", type=float, nargs="+", help="one or several, on the scale of the recipe (default: the recipe's)"
    )
    sub.add_argument(
        "--val",
        type=Path,
        help="a folder of images that choose among several rates; --test is asked once, by the chosen head "
        "(default: a tenth of --train, 10,000 images at most, from which nothing is learnt)",
    )
    metrics = [name for name in evaluation.metrics.NAMES if name != "auc"]
    sub.add_argument("--metric", choices=metrics, default="top1", help="of the set (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=0, help="of its draws (default: %(default)s)")
    sub.add_argument("--out", type=Path, help="a folder for the heads and the result, in which a run resumes")
    reading(sub)
    several.sharing(sub)


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    if args.val is not None and not args.val.is_dir():
        raise FileNotFoundError(f"--val {args.val}: there is no such folder")
    train, test = map(ImageFolder, folders.given(args))
    val = None if args.val is None else ImageFolder(args.val)
    model = opened_one(args)
    found = evaluation.augmented_probe(
        model,
        train,
        test,
        val=val,
        **{name: getattr(args, name) for name in ("recipe", "epochs", "batch_size", "lr", "metric", "seed", "out")},
        on_error=args.on_error,
        **several.shared(args, model.weights),
    )
    for lr, value in found["val"]:
        say(f"lr {lr:g}: {'diverged' if value is None else f'{value:.4g}'} by {args.metric} on val")
    low, high = found["interval"]
    say(
        f"{model.name}: augmented, {args.recipe}, top-1 {found['top1']:.1f} %, top-5 {found['top5']:.1f} %, "
        f"lr = {found['lr']:g}; {args.metric} {found[args.metric]:.4g}: {low:.4g} to {high:.4g} at 95 %, "
        f"{found['n']} images, {found['classes']} classes"
    )
    return 0

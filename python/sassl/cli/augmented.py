"""`sassl eval augmented`: train a linear head on a model's frozen features of random crops, by a published recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import evaluation
from ..data import ImageFolder
from ..terminal import say
from . import folders, results, several
from .opened import models, opened_one
from .options import reading

TEXT = "Train a linear head on random crops and flips with a frozen backbone, as MoCo, SimCLR and BYOL do on ImageNet."


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    models(sub)
    folders.add(sub)
    sub.add_argument(
        "--recipe",
        choices=evaluation.LINEAR_RECIPES,
        default="simclr",
        help="published settings (default: %(default)s)",
    )
    sub.add_argument("--epochs", type=int, help="length in epochs (default: the recipe's)")
    sub.add_argument("--batch-size", type=int, help="global batch size (default: the recipe's)")
    sub.add_argument(
        "--lr", type=float, nargs="+", help="learning rates, scaled as in the recipe (default: the recipe's)"
    )
    sub.add_argument(
        "--val",
        type=Path,
        help="folder of validation images that choose the learning rate; --test is evaluated once "
        "(default: a held-out tenth of --train, at most 10,000 images)",
    )
    metrics = [name for name in evaluation.metrics.NAMES if name != "auc"]
    sub.add_argument("--metric", choices=metrics, default="top1", help="metric of the data set (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=0, help="seed of random draws (default: %(default)s)")
    sub.add_argument(
        "--out", type=Path, help="folder for checkpoints and the result, from which an interrupted run resumes"
    )
    results.option(sub)
    reading(sub)
    several.sharing(sub)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if args.val is not None and not args.val.is_dir():
        raise FileNotFoundError(f"--val {args.val}: there is no such folder")
    train, test = map(ImageFolder, folders.given(args))
    val = None if args.val is None else ImageFolder(args.val)
    results.check(args)
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
    settings = {name: found[name] for name in ("recipe", "epochs", "batch_size")}
    own = {"train": train.root, "test": test.root, "known": found["train"]}
    results.record(args, model, found, **own, protocol="augmented", settings=settings)
    return 0

"""`sassl eval`: what a checkpoint's features are worth."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import evaluation, pretraining
from ..data import ImageFolder
from ..data.classes import numbered
from ..terminal import say, tell
from .options import Commands, command


def add(commands: Commands) -> None:
    """The command and its options."""
    sub = command(
        commands, "eval", run, "Accuracy of a checkpoint's features, learnt from DATA/train, measured on DATA/val."
    )
    sub.add_argument(
        "how",
        choices=("knn", "linear", "logistic"),
        help="nearest neighbours, a linear probe by SGD, or by L-BFGS over a grid of penalties",
    )
    sub.add_argument("checkpoint", type=Path)
    sub.add_argument(
        "--data", type=Path, required=True, help="a folder with train and val, a folder for each class in both"
    )
    sub.add_argument(
        "--k", type=int, default=200, help="neighbours, or all where they are fewer (default: %(default)s)"
    )
    sub.add_argument(
        "--on-error",
        choices=("raise", "report"),
        default="raise",
        help="of an image that cannot be read: end, or leave it out and tell (default: %(default)s)",
    )
    sub.add_argument("--lr", type=float, default=0.1, help="of the probe, for a batch of 256 (default: %(default)s)")
    sub.add_argument("--epochs", type=int, default=90, help="of the probe (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    folders = [args.data / "train", args.data / "val"]
    if not all(folder.is_dir() for folder in folders):
        raise FileNotFoundError(f"{args.data}: expected the folders train and val in it")
    model = pretraining.Pretraining.load(args.checkpoint)
    known, asked = (ImageFolder(folder) for folder in folders)
    numbered(asked, known.classes)
    train, test = (evaluation.read(model, images, on_error=args.on_error) for images in (known, asked))
    for folder, features in zip(folders, (train, test), strict=True):
        if features.left_out:
            tell(f"{folder}: {evaluation.left_out(features)}")
    chosen = ""
    if args.how == "knn":
        found = evaluation.knn(train, test, k=args.k)
    elif args.how == "linear":
        found = evaluation.linear_probe(train, test, lr=args.lr, epochs=args.epochs)
    else:
        found = evaluation.logistic_probe(train, test)
        chosen = f", C = {found['c']:.3g}"
    say(f"{args.checkpoint}: {args.how}, top-1 {found['top1']:.1f} %, top-5 {found['top5']:.1f} %{chosen}")
    return 0

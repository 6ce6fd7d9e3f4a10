"""`sassl embed`: write a model's features of images to a file."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np

from .. import evaluation
from .._sassl import write_file
from ..data.sources import as_images
from ..terminal import printable, say, tell
from .opened import models, opened_one
from .options import check_out, reading


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    models(sub)
    sub.add_argument("--data", required=True, help="a folder of images, or a pattern of WebDataset shards")
    sub.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the .npz file to write: features (N, dim) float32, targets (N,) int64, names (N,), classes",
    )
    reading(sub)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    check_out(args.out, ".npz")
    images = as_images(args.data)
    found = evaluation.read(opened_one(args), images, on_error=args.on_error, progress=True)
    if found.left_out:
        tell(f"{args.data}: {evaluation.left_out(found)}")
    names = [printable(name) for name in map(images.name, range(len(images))) if name not in found.left_out]
    classes = [printable(name) for name in found.classes or []]
    data = io.BytesIO()
    np.savez(
        data, features=found.features, targets=found.targets, names=np.array(names, str), classes=np.array(classes, str)
    )
    write_file(args.out, data.getvalue())
    say(f"{args.out}: features of {len(names)} images, {found.features.shape[1]} values each")
    return 0

"""`sassl export`: write a checkpoint's backbone to a separate file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import pretraining
from ..models.files import newest
from ..pretraining.weights import usage
from ..terminal import say


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    sub.add_argument("checkpoint", type=Path, help="a checkpoint, or a run's folder (its newest one)")
    sub.add_argument("--out", type=Path, required=True, help="a .safetensors or .pth file")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    path = newest(args.checkpoint) if args.checkpoint.is_dir() else args.checkpoint
    model = pretraining.Pretraining.load(path)
    model.export_backbone(args.out)
    say(f"{args.out}: {model.config.backbone.name}, {model.config.method.name}, {len(model.history)} epochs")
    for line in usage(model, args.out):
        say(line)
    return 0

"""`sassl export`: a checkpoint's backbone as a file of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import pretraining
from ..pretraining.weights import usage
from ..terminal import say


def add(sub: argparse.ArgumentParser) -> None:
    """Its options."""
    sub.add_argument("checkpoint", type=Path)
    sub.add_argument("--out", type=Path, required=True, help="a .safetensors or .pth file")


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    model = pretraining.Pretraining.load(args.checkpoint)
    model.export_backbone(args.out)
    say(f"{args.out}: {model.config.backbone.name}, {model.config.method.name}, {len(model.history)} epochs")
    for line in usage(model, args.out):
        say(line)
    return 0

"""`sassl bank`: style images become a bank file."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from .. import image_files
from ..bank import StyleBank
from ..terminal import say
from .options import Commands, command, exif, model, model_of, tell_left_out


def add(commands: Commands) -> None:
    """The command and its options."""
    sub = command(
        commands,
        "bank",
        run,
        "Encode a set of style images, once, into a bank file: all of them, or an error that names the file.",
    )
    sub.add_argument("inputs", nargs="+", help="images, folders or patterns")
    sub.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    exif(sub)
    model(sub)


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    if args.out.suffix != ".safetensors":
        raise ValueError(f"--out = {args.out}: a bank is a .safetensors file")
    stylizer = model_of(args)
    left_out: Counter[str] = Counter()
    made = StyleBank.from_images(image_files.find(args.inputs, left_out), stylizer, exif=args.exif)
    made.save(args.out)
    say(f"{args.out}: {len(made)} styles of space {made.space}")
    tell_left_out(left_out)
    return 0

"""`sassl convert`: Magenta's files become a model file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .._sassl import Stylizer, convert
from ..terminal import say
from .options import Commands, command


def add(commands: Commands) -> None:
    """The command and its options."""
    sub = command(commands, "convert", run, "Convert Magenta's TFLite pair to a model file.")
    sub.add_argument("--predictor", required=True, help="style_predict .tflite")
    sub.add_argument("--transformer", required=True, help="style_transfer .tflite, float32, float16 or int8")
    sub.add_argument("--out", required=True, help="the .safetensors file to write")
    sub.add_argument("--name", help="the model's name (default: that of the file)")


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    convert(args.predictor, args.transformer, args.out, args.name or Path(args.out).stem)
    model = Stylizer(args.out)
    say(f"{args.out}: {model.name}, z of {model.dim} numbers, space {model.space}, {model.licence}")
    return 0

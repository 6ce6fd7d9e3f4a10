"""Options that several commands have, and what they mean."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .. import image_files
from .._sassl import Stylizer
from ..bank import StyleBank
from ..terminal import tell
from ..transforms.plain import SASSL

#: The type that `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """One more command."""
    sub = commands.add_parser(name, help=text, description=text)
    sub.set_defaults(run=run)
    return sub


def model(sub: argparse.ArgumentParser) -> None:
    """Adds the options for the model and for its precision."""
    sub.add_argument("--model", default="lite", help='"lite" or a .safetensors file (default: %(default)s)')
    sub.add_argument("--threads", type=int, help="images at a time (default: all cores)")
    sub.add_argument(
        "--precision",
        choices=("fast", "exact"),
        help="fast: convolutions in bytes where the CPU can (default of lite and the mobile pair); exact: in float32",
    )


def model_of(args: argparse.Namespace) -> Stylizer:
    """The model that the options describe."""
    return Stylizer(args.model, threads=args.threads, precision=args.precision)


def exif(sub: argparse.ArgumentParser) -> None:
    """Whether files are turned upright."""
    sub.add_argument(
        "--exif",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="turn images upright as their EXIF says (default), or take them as they are stored",
    )


def strengths(sub: argparse.ArgumentParser) -> None:
    """Adds the options that `transform` reads: alpha and beta."""
    sub.add_argument(
        "--alpha", type=strength, default=(0.1, 0.3), metavar="A", help="feature blending, 0.2 or 0.1,0.3 (default)"
    )
    sub.add_argument(
        "--beta",
        type=strength,
        default=(0.1, 0.3),
        metavar="B",
        help="pixel interpolation, 0.2 or 0.1,0.3 (default)",
    )
    exif(sub)
    sub.add_argument("--styles", default="default", help='"default", a folder of images, one image, or a bank file')
    sub.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")


def strength(text: str) -> tuple[float, float]:
    """A number, or a range low,high."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 <= n <= 1 for n in numbers) or numbers != sorted(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is no number in [0, 1], nor a range such as 0.1,0.3")
    return numbers[0], numbers[-1]


def transform(args: argparse.Namespace, p: float) -> SASSL:
    """The transform that the options describe."""
    stylizer = model_of(args)
    styles: Any = args.styles
    if styles == "batch":
        raise ValueError(
            "--styles = batch: images are stylized one at a time here; give a folder of styles, which may be theirs"
        )
    if styles != "default" and (
        Path(styles).is_dir() or Path(styles).suffix.lower() in (*image_files.SUFFIXES, ".gif")
    ):
        styles = StyleBank.from_images(styles if Path(styles).is_dir() else [styles], stylizer, exif=args.exif)
    generator = np.random.default_rng(checked_seed(args.seed))
    return SASSL(p, args.alpha, args.beta, styles, stylizer, generator=generator)


def check_out(out: Path, *suffixes: str) -> None:
    """Whether a file of one of these suffixes can be written there: asked before the work is done."""
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"--out = {out}: a file whose name ends in {' or '.join(suffixes)}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out = {out}: there is no folder {out.parent}; make it first")
    if out.is_dir():
        raise IsADirectoryError(f"--out = {out}: a folder; give a file's name")


def checked_seed(seed: int) -> int:
    """The seed, from 0 up."""
    if seed < 0:
        raise ValueError(f"--seed = {seed}: at least 0")
    return seed


def tell_left_out(left_out: Counter[str]) -> None:
    """How many files of the folders are no images."""
    if left_out:
        tell("left out: " + ", ".join(f"{n} {kind} files" for kind, n in left_out.items()))

"""Options shared by several commands, checks of their values, and error messages in terms of options."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..terminal import tell

T = TypeVar("T")
#: Options that differ in name from the Python argument that they set: name of the argument -> name of the option.
_SETS = {"every": "monitor_every", "loggers": "log", "model": "models", "styles": "style"}


def model(sub: argparse.ArgumentParser) -> None:
    """Add the options for the style network, its threads and its precision."""
    sub.add_argument("--model", default="lite", help='"lite" or a .safetensors file (default: %(default)s)')
    sub.add_argument("--threads", type=int, help="number of threads (default: all cores)")
    sub.add_argument(
        "--precision",
        choices=("fast", "exact"),
        help="fast: 8-bit convolutions where the CPU supports them (default of lite and the mobile pair); exact: float32",
    )


def reading(sub: argparse.ArgumentParser) -> None:
    """Add the options for reading images."""
    sub.add_argument(
        "--on-error",
        choices=("raise", "report"),
        default="raise",
        help="what to do with an unreadable image: stop, or leave it out and report it (default: %(default)s)",
    )
    sub.add_argument("--threads", type=int, help="number of threads (default: all cores)")


def exif(sub: argparse.ArgumentParser) -> None:
    """Add the option for EXIF orientation."""
    sub.add_argument(
        "--exif",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="apply the EXIF orientation of images (default), or use them as stored",
    )


def strengths(sub: argparse.ArgumentParser) -> None:
    """Add the options that `styling.transform` reads, such as --alpha and --beta."""
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
    sub.add_argument("--seed", type=int, default=0, help="seed of the draws (default: %(default)s)")


def shard(sub: argparse.ArgumentParser) -> None:
    """Add the option that selects one machine's or process's share of the images."""
    sub.add_argument(
        "--shard",
        type=share,
        default=(0, 1),
        metavar="I/N",
        help="process part I of N equal parts of the images, counted from 0, as one of N machines or processes",
    )


def share(text: str) -> tuple[int, int]:
    """Parse I/N, which means part I of N; return (I, N)."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    which, parts = map(int, found.groups()) if found else (0, 0)
    if which >= parts:
        raise argparse.ArgumentTypeError(f"{text!r} is no part I/N, with I from 0 to N - 1, such as 0/4")
    return which, parts


def part_of(items: Sequence[T], shard: tuple[int, int]) -> Sequence[T]:
    """Return the items of a shard, in order. All shards, concatenated, give all items."""
    which, parts = shard
    return items[len(items) * which // parts : len(items) * (which + 1) // parts]


def strength(text: str) -> tuple[float, float]:
    """Parse a value or a range within [0, 1], such as `0.2` or `0.1,0.3`; return the range (low, high)."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 <= n <= 1 for n in numbers) or numbers != sorted(numbers):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a value in [0, 1], or a range from low to high such as 0.1,0.3"
        )
    return numbers[0], numbers[-1]


def check_out(out: Path, *suffixes: str) -> None:
    """Check, before work begins, that `out` has one of `suffixes`, is in an existing folder, and is not a folder."""
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"--out must be a file whose name ends in {' or '.join(suffixes)}, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out.is_dir():
        raise IsADirectoryError(f"--out {out}: a folder; give a file's name")


def check_styles(option: str, given: str | None, *words: str) -> None:
    """Check that the value is one of `words`, or an existing path."""
    if given is not None and given not in words and not Path(given).exists():
        there = " or ".join(f'"{word}"' for word in words)
        raise FileNotFoundError(f"{option} {given}: no such folder, image or bank file; or give {there}")


def checked_seed(seed: int) -> int:
    """Return the seed; raise a ValueError if it is negative."""
    if seed < 0:
        raise ValueError(f"--seed must be an integer >= 0, got {seed}")
    return seed


def tell_left_out(left_out: Counter[str]) -> None:
    """Report how many files in folders were left out, by kind."""
    if left_out:
        tell("left out: " + ", ".join(f"{n} {kind} files" for kind, n in left_out.items()))


def as_typed(text: str, given: dict[str, Any]) -> str:
    """Rewrite the error message of a function in terms of command-line options.

    `batch_size must be ...` becomes `--batch-size must be ...`.

    Args:
        text: the error.
        given: values of the options, by Python name.
    """
    found = re.match(r"(\w+)((?:=| must be ).*)", text, re.DOTALL)
    if found is None:
        return text
    name, rest = found.groups()
    name = name if name in given else _SETS.get(name, name)
    if given.get(name) is None or name in ("inputs", "paths", "preset", "checkpoint"):
        return text
    # None cannot be typed.
    rest = re.sub(r",? or None\b[^,;]*", "", rest)
    return f"--{name.replace('_', '-')}{rest}"

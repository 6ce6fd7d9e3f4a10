"""`sassl eval transfer`: a checkpoint's features on the sets of transfer, a line of JSON each, then a table."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from .. import pretraining
from .._sassl import write_file
from ..evaluation import datasets, transfer
from ..terminal import message, say, tell
from .options import checked_seed, reading

_TEXT = "Linear probes or neighbours on the sets of transfer that lie in DATA, each with its splits and metric."
#: What makes two lines results of the same.
_KEY = ("weights", "set", "school", "seed", "protocol")


def add(protocols: Any) -> None:
    """Its options."""
    own: argparse.ArgumentParser = protocols.add_parser("transfer", help=_TEXT, description=_TEXT)
    own.add_argument("checkpoint", type=Path)
    own.add_argument(
        "--data", type=Path, required=True, help="the folder that holds the sets' folders (docs/transfer.md)"
    )
    own.add_argument(
        "--sets", type=_names, help=f"some of {','.join(datasets.DATASETS)} (default: those that are there)"
    )
    own.add_argument(
        "--protocol",
        dest="by",
        choices=("linear", "knn"),
        default="linear",
        help="L-BFGS with the penalty chosen on val (Kornblith et al. 2019), or neighbours (default: %(default)s)",
    )
    own.add_argument(
        "--school",
        action="append",
        default=[],
        type=_school,
        metavar="SET=SCHOOL",
        help="another way to split a set, such as dtd=fold2; several times for several sets",
    )
    own.add_argument("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    own.add_argument(
        "--counts",
        choices=("published", "any"),
        default="published",
        help="of a set that is not as published: refuse it, or take it and tell (default: %(default)s)",
    )
    own.add_argument(
        "--out", type=Path, required=True, help="a .jsonl file; results that are in it are not computed again"
    )
    own.add_argument("--cache", type=Path, help="a folder for features, which protocols share")
    reading(own)


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code is 1 where a set failed."""
    seed, lines = checked_seed(args.seed), _lines(args.out)
    schools = _schools(args)
    weights = _checksum(args.checkpoint)
    model: pretraining.Pretraining | None = None
    failed, shown = [], []
    for name, school in schools.items():
        key = {"weights": weights, "set": name, "school": school, "seed": seed, "protocol": args.by}
        known = next((line for line in lines if all(line[field] == key[field] for field in _KEY)), None)
        if known is None:
            model = model or pretraining.Pretraining.load(args.checkpoint, threads=args.threads)
            try:
                known = {**key, "checkpoint": str(args.checkpoint), **_evaluated(model, args, name, school, weights)}
            except (OSError, ValueError) as error:
                failed.append(name)
                tell(f"{name}: failed, {message(error)}")
                continue
            lines.append(known)
            write_file(args.out, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
        else:
            tell(f"{name}: in {args.out} already")
        shown.append(known)
    if shown:
        say(_table(shown))
    if failed:
        tell(f"{len(failed)} of {len(schools)} sets failed: {', '.join(failed)}")
    return 1 if failed else 0


def _schools(args: argparse.Namespace) -> dict[str, str]:
    """The sets that are asked for, or that are there, each with how it is split.

    Raises:
        FileNotFoundError: one of them is not there, or there is none.
        ValueError: a school of a set that is not asked for.
    """
    names = list(datasets.found(args.data)) if args.sets is None else args.sets
    if not names:
        raise FileNotFoundError(f"{args.data}: none of the sets is in it; docs/transfer.md tells their folders")
    given = dict(args.school)
    for name in given:
        if name not in names:
            raise ValueError(f"--school {name}={given[name]}: {name} is not among {', '.join(names)}")
    return {name: given.get(name) or datasets.school_of(name, args.data) for name in names}


def _evaluated(
    model: pretraining.Pretraining, args: argparse.Namespace, name: str, school: str, weights: str
) -> dict[str, Any]:
    """The result on a set; what is not as published, and what is left out, is told."""
    settings = {"counts": args.counts, "on_error": args.on_error, "cache": args.cache, "weights": weights}
    found = transfer.evaluate(model, name, args.data, protocol=args.by, school=school, seed=args.seed, **settings)
    for text in found["differences"]:
        tell(f"{name}: {text}")
    if found["left_out"]:
        tell(f"{name}: {found['left_out']} images could not be read and are left out")
    # JSON has no NaN.
    return {field: None if value != value else value for field, value in found.items()}


def _names(text: str) -> list[str]:
    """Sets, a comma between them."""
    names = text.split(",")
    for name in names:
        if name not in datasets.DATASETS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(datasets.DATASETS)}")
    return list(dict.fromkeys(names))


def _school(text: str) -> tuple[str, str]:
    """A set and its school."""
    name, _, school = text.partition("=")
    if name not in datasets.DATASETS:
        raise argparse.ArgumentTypeError(f"{text!r}: {name!r} is none of {', '.join(datasets.DATASETS)}")
    if school not in datasets.DATASETS[name].schools:
        raise argparse.ArgumentTypeError(f"{text!r}: {name} has {', '.join(datasets.DATASETS[name].schools)}")
    return name, school


def _lines(path: Path) -> list[dict[str, Any]]:
    """The results that are there.

    Raises:
        OSError: it is a folder, or there is none around it.
        ValueError: a line that is no result.
    """
    if path.is_dir():
        raise IsADirectoryError(f"--out {path}: a folder; give a file's name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--out {path}: there is no folder {path.parent}; make it first")
    found = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            result = json.loads(line)
        except ValueError:
            result = None
        if not isinstance(result, dict) or not {*_KEY, "value", "metric"} <= result.keys():
            raise ValueError(f"--out {path}: line {number} is no result of this command; give another file")
        found.append(result)
    return found


def _checksum(path: Path) -> str:
    """SHA-256 of a checkpoint, the first half of it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()[:32]


def _table(results: list[dict[str, Any]]) -> str:
    """The results, a row each."""
    head = ("set", "school", "metric", "value", "top-1", "train", "val", "test", "C or k")
    rows = [head, *(_row(result) for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    value = math.nan if result["value"] is None else float(result["value"])
    strength = f"{result['c']:.3g}" if "c" in result else str(result.get("k", ""))
    numbers = tuple(str(result.get(split, "")) for split in ("train", "val", "test"))
    shown = f"{value:.3f}" if result["metric"] == "quadratic_kappa" else f"{value:.1f}"
    return (result["set"], result["school"], result["metric"], shown, f"{result['top1']:.1f}", *numbers, strength)

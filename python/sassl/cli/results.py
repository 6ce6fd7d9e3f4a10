"""Files of results, which `sassl compare` reads: a line of JSON for each result of `sassl eval`."""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from .._sassl import write_file
from ..data.ranks import by_first
from ..models import OpenModel

#: The fields that identify a measurement. The "school" is a published way to split a data set.
KEY = ("weights", "set", "school", "seed", "protocol", "preprocessing")


def option(sub: argparse.ArgumentParser) -> None:
    """Add --results."""
    sub.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="also write the result to this .jsonl file, which sassl compare reads; it may have other results",
    )


def check(args: argparse.Namespace) -> None:
    """Check the file of --results before anything is computed. An error is raised on all ranks.

    Raises:
        OSError, ValueError: as raised by `read`.
    """
    if args.results is not None:
        by_first(args.ranks, partial(read, args.results, "--results"))


def record(
    args: argparse.Namespace,
    model: OpenModel,
    found: dict[str, Any],
    *,
    train: str | os.PathLike[str],
    test: str | os.PathLike[str],
    known: int,
    protocol: str,
    settings: dict[str, Any],
) -> None:
    """Write a result to the file of --results, if given. An earlier result of the same measurement is replaced.

    Args:
        args: the command's options; rank 0 writes the file.
        model: the evaluated model.
        found: the result of the protocol.
        train, test: the folders of images. The set is named after their common parent, or after `test` if the parents differ.
        known: number of images to train on.
        protocol: name of the protocol.
        settings: settings of the protocol. They must be equal in all results of a comparison.
    """
    if args.results is None:
        return
    own, asked = (Path(folder).resolve() for folder in (train, test))
    line = {
        **model.describe(),
        "set": (asked.parent if own.parent == asked.parent else asked).name,
        "school": "",
        "protocol": protocol,
        "seed": getattr(args, "seed", 0),
        "settings": settings,
        "metric": args.metric,
        "value": found[args.metric],
        **{name: found[name] for name in ("interval", "top1", "top5", "classes")},
        "train": known,
        "test": found["n"],
    }
    by_first(args.ranks, partial(_replace, args.results, without_nan(line)))


def read(path: Path, option: str) -> list[dict[str, Any]]:
    """Return the results in a file; an empty list if the file does not exist.

    Raises:
        OSError: the path is a folder, or its folder does not exist.
        ValueError: a line is not a result.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path}: a folder; give a file's name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: there is no folder {path.parent}; make it first")
    found = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            result = json.loads(line)
        except ValueError:
            result = None
        if not isinstance(result, dict) or not {*KEY, "value", "metric"} <= result.keys():
            raise ValueError(f"{option} {path}: line {number} is not a result of sassl eval; give another file")
        found.append(result)
    return found


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write all results of a file, atomically."""
    write_file(path, "".join(f"{json.dumps(line)}\n" for line in lines).encode())


def without_nan(line: dict[str, Any]) -> dict[str, Any]:
    """Return a result with None in place of NaN, which JSON does not have."""
    return {field: None if value != value else value for field, value in line.items()}


def _replace(path: Path, line: dict[str, Any]) -> None:
    fields = (*KEY, "metric", "settings")
    others = [one for one in read(path, "--results") if any(one.get(field) != line[field] for field in fields)]
    write(path, [*others, line])

"""Options for the folders of labelled images to train on and to evaluate on."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(sub: argparse.ArgumentParser) -> None:
    """Add --data, --train and --test."""
    sub.add_argument("--data", type=Path, help="a folder with train and val, both with a folder for each class")
    sub.add_argument("--train", type=Path, help="the folder to train on (default: train in --data)")
    sub.add_argument("--test", type=Path, help="the folder to evaluate on (default: val in --data)")


def given(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return the folder to train on and the folder to evaluate on.

    Raises:
        ValueError: one of the two is not given, or given twice.
        FileNotFoundError: a folder does not exist.
    """
    named = {"train": args.train, "test": args.test}
    if args.data is None:
        if missing := [name for name, folder in named.items() if folder is None]:
            raise ValueError(
                f"--{missing[0]} is missing: give --data, a folder with train and val, or --train and --test"
            )
    elif None not in named.values():
        raise ValueError(f"--data {args.data} must not be given with --train and --test; leave one of them out")
    train, test = args.train or args.data / "train", args.test or args.data / "val"
    for folder, option in ((train, args.train), (test, args.test)):
        if not folder.is_dir():
            told = (
                f"{args.data}: expected the folders train and val in it" if option is None else f"{folder}: no folder"
            )
            raise FileNotFoundError(f"{told}; or give --train and --test")
    return train, test

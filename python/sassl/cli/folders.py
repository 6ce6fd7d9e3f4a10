"""Options for the folders of labelled images to train on and to evaluate on."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..pretraining.folder import data_of
from ..terminal import tell


def add(sub: argparse.ArgumentParser) -> None:
    """Add --data, --train and --test."""
    sub.add_argument(
        "--data",
        type=Path,
        help="a folder with train and val, both with a folder for each class (default: the one that the run has recorded)",
    )
    sub.add_argument("--train", type=Path, help="the folder to train on (default: train in --data)")
    sub.add_argument("--test", type=Path, help="the folder to evaluate on (default: val in --data)")


def given(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return the folders to train on and to evaluate on. By default, use folders recorded by a run.

    Raises:
        ValueError: a folder is neither given nor recorded; --data is given together with both --train and --test.
        FileNotFoundError: a folder does not exist.
    """
    named = {"train": args.train, "test": args.test}
    missing = [name for name, folder in named.items() if folder is None]
    if args.data is not None and not missing:
        raise ValueError(f"--data {args.data} must not be given with --train and --test; leave one of them out")
    data = args.data if args.data is not None or not missing else _recorded(args)
    if data is None and missing:
        raise ValueError(f"--{missing[0]} is missing: give --data, a folder with train and val, or --train and --test")
    train, test = (named[name] or Path(data or "", inner) for name, inner in (("train", "train"), ("test", "val")))
    for folder, option in ((train, args.train), (test, args.test)):
        if not folder.is_dir():
            told = f"{data}: expected the folders train and val in it" if option is None else f"{folder}: no folder"
            raise FileNotFoundError(f"{told}; or give --train and --test")
    return train, test


def _recorded(args: argparse.Namespace) -> Path | None:
    """The parent of the folder on which a run was pretrained, if that folder is named `train` and has a sibling `val`.

    The first such run among the models is used; None if there is no such run.
    """
    for source in (*args.models, *args.model):
        data = data_of(Path(source))
        if data is not None and (folder := Path(data)).name == "train" and (folder.parent / "val").is_dir():
            tell(f"data: {folder.parent}, as recorded in {source}")
            return folder.parent
    return None

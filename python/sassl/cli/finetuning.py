"""Options of fine-tuning: `--protocol finetune` of `sassl eval transfer`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from ..evaluation.finetuning import OF_SETS, RECIPES

#: The arguments of `finetune` that determine its result.
_SETTINGS = ("recipe", "lr", "weight_decay", "steps", "epochs", "batch_size", "engine", "precision")


def options(sub: argparse.ArgumentParser) -> None:
    """Add the options, in a group."""
    group = sub.add_argument_group("fine-tuning (--protocol finetune)")
    others = ", ".join(f"{recipe} for {name}" for name, recipe in OF_SETS.items())
    group.add_argument("--recipe", choices=tuple(RECIPES), help=f"published settings (default: kornblith; {others})")
    group.add_argument("--lr", type=float, help="a single learning rate instead of the recipe's grid")
    group.add_argument("--weight-decay", type=float, help="a single weight decay instead of the recipe's grid")
    group.add_argument("--steps", type=int, help="length in steps (default: the recipe's)")
    group.add_argument("--epochs", type=int, help="length in epochs")
    group.add_argument("--batch-size", type=int, help="batch size (default: the recipe's)")
    group.add_argument(
        "--engine", choices=("native", "torch"), help="training engine (default: torch if there is a GPU)"
    )
    group.add_argument(
        "--precision", choices=("bf16", "float32"), help="precision of the torch engine (default: bf16 on a GPU)"
    )
    group.add_argument("--checkpoints", type=Path, help="folder for checkpoints, from which an interrupted run resumes")


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the given fine-tuning options that determine the result.

    Raises:
        ValueError: an option of fine-tuning is given for another protocol.
    """
    given: dict[str, Any] = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    asked = [*given, *(["checkpoints"] if args.checkpoints is not None else [])]
    if asked and args.by != "finetune":
        raise ValueError(f"--{asked[0].replace('_', '-')} is only for --protocol finetune, not for {args.by}")
    return given


def folder(args: argparse.Namespace, key: Mapping[str, Any]) -> Path | None:
    """Return the folder for the checkpoints of one measurement; None without --checkpoints.

    The folder's name encodes the measurement and the settings.

    Args:
        args: the options.
        key: the "set", "school" (split) and "seed" of the measurement, and the checksum of the model's "weights".
    """
    if args.checkpoints is None:
        return None
    own = crc32(json.dumps(settings(args), sort_keys=True).encode())
    name = "-".join(str(key[field]) for field in ("set", "school", "seed"))
    return Path(args.checkpoints) / f"{name}-{key['weights'][:8]}-{own:08x}"

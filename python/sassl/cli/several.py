"""Evaluation commands in one process, or in several that share the images. Only rank 0 computes results, writes and prints."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..data.ranks import Ranks
from ..evaluation import Cache
from ..terminal import silence

Command = Callable[[argparse.Namespace], int]


def sharing(sub: argparse.ArgumentParser) -> None:
    """Add the options for cached features, and for several processes."""
    sub.add_argument(
        "--cache",
        type=Path,
        help="folder in which features are cached for other protocols, sets and seeds",
    )
    sub.add_argument(
        "--devices",
        metavar="N",
        help='number of processes on this machine, or "auto" for one per GPU; alternatively use torchrun or srun',
    )


def begin(command: Command, args: argparse.Namespace) -> int:
    """Run a command, in processes started by a launcher or requested by --devices; return the exit code.

    The command must make the collective calls of `args.ranks` in the same order on each rank.
    """
    if args.devices is not None and (processes := count(args.devices)) > 1:
        from ..pretraining.torch import devices

        return devices.launch(processes, args.words)
    from ..pretraining import ranks

    args.ranks = ranks()
    return command(args) if args.ranks.world_size == 1 else _as_rank(command, args)


def count(asked: str, engine: str = "torch") -> int:
    """Return the number of processes to start for --devices; it is 1 if a launcher has already started this process.

    Raises:
        ImportError: torch is not installed.
        ValueError: the number is invalid, exceeds the number of GPUs, or differs from the number that a launcher has started.
    """
    if find_spec("torch") is None:
        raise ImportError("--devices needs torch: install it, or the extra sassl[torch]")
    from ..pretraining.torch import devices

    return 1 if devices.are_begun(asked) else devices.count(asked, engine)


def shared(args: argparse.Namespace, weights: str) -> dict[str, Any]:
    """Return `cache`, `ranks` and `progress` for `sassl.evaluation.read`; `weights` is the checksum of the model's weights."""
    return {
        "cache": None if args.cache is None else Cache(args.cache, weights),
        "ranks": args.ranks,
        "progress": True,
    }


def _as_rank(command: Command, args: argparse.Namespace) -> int:
    """Run the command as one of several ranks. Each rank uses its share of the cores; errors are reported only once."""
    import torch

    from ..distributed import launch

    ranks: Ranks = args.ranks
    args.threads = launch.threads_of(args.threads, launch.place(os.environ))
    torch.set_num_threads(args.threads)
    with ExitStack() as stack:
        if ranks.rank:
            stack.enter_context(silence())
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        try:
            return command(args)
        except KeyboardInterrupt:
            if ranks.rank:
                return 130
            raise
        except Exception as error:
            if not hasattr(error, "is_agreed"):
                ranks.fail(error)
            raise

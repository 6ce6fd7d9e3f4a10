"""Commands that evaluate, by one process or by several: these share the images, and rank 0 alone judges, writes and speaks."""

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
    """Adds the options for features that are kept, and for several processes."""
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
    """Runs a command in as many processes as there are or are asked for; the exit code.

    The command has `args.ranks`, and calls what all ranks share in the same order on each of them.
    """
    if args.devices is not None and (processes := count(args.devices)) > 1:
        from ..pretraining.torch import devices

        return devices.launch(processes, args.words)
    from ..pretraining import ranks

    args.ranks = ranks()
    return command(args) if args.ranks.world_size == 1 else _as_rank(command, args)


def count(asked: str, engine: str = "torch") -> int:
    """How many processes this one is to start; 1 where it is one of them already.

    Raises:
        ImportError: there is no torch.
        ValueError: no such number, more than there are GPUs, or another number than a launcher has started.
    """
    if find_spec("torch") is None:
        raise ImportError('devices: need torch; pip install "sassl[torch]"')
    from ..pretraining.torch import devices

    return 1 if devices.are_begun(asked) else devices.count(asked, engine)


def shared(args: argparse.Namespace, weights: str) -> dict[str, Any]:
    """How features are computed, as `sassl.evaluation.read` takes it, of a model with these weights."""
    return {
        "cache": None if args.cache is None else Cache(args.cache, weights),
        "ranks": args.ranks,
        "progress": True,
    }


def _as_rank(command: Command, args: argparse.Namespace) -> int:
    """The command as one of several ranks: each takes its share of the cores, and an error of one is told once."""
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

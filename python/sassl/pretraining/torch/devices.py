"""Training on several devices of one machine with one command: torch's elastic launcher starts a process for each device."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from uuid import uuid4

import torch
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ...terminal import tell
from ..stopping import REQUEUES, Requeue

#: Seconds that a process has, after a signal, to complete its step and write a checkpoint; it is then killed.
_PATIENCE = 600
#: Signals that are forwarded to the processes. The run then writes a checkpoint and ends.
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1")


def count(devices: str, engine: str = "torch") -> int:
    """The number of processes for a value of `--devices`; "auto" means one per GPU, or a single process without a GPU.

    Raises:
        ValueError: `devices` is neither "auto" nor an integer >= 1; there are GPUs, but fewer than `devices`; there is no GPU,
            the engine is "auto", and `devices` is neither "auto" nor "1".
    """
    gpus = torch.cuda.device_count()
    if engine == "auto" and gpus == 0 and devices not in ("auto", "1"):
        raise ValueError(
            f"devices must be 1 without a GPU, got {devices}; give --engine torch for several processes on CPUs"
        )
    if devices == "auto":
        return max(1, gpus)
    if not devices.isdecimal() or int(devices) == 0:
        raise ValueError(f'devices must be "auto" or an integer >= 1, got {devices}')
    if 0 < gpus < int(devices):
        raise ValueError(f"devices must be at most the number of GPUs ({gpus}), one for each process, got {devices}")
    return int(devices)


def are_begun(devices: str) -> bool:
    """Return whether this process was started by a launcher, such as torchrun or `launch`.

    Raises:
        ValueError: `devices` is not "auto", and differs from the number of processes that the launcher has started.
    """
    ranks = os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE"))
    if ranks is not None and devices not in ("auto", ranks):
        raise ValueError(
            f"devices must be {ranks}, the number of processes that a launcher has started, got {devices}; leave --devices out"
        )
    return ranks is not None


def launch(processes: int, words: Sequence[str]) -> int:
    """Run `sassl` with the arguments `words` in several processes, one per rank; return the exit code.

    The exit code is 0 on success, else the exit code of the first process that failed. If a signal killed that process, the
    exit code is 1, and a line reports the signal.

    A signal to the launcher is forwarded to all processes. The exit code is then 75 for SIGUSR1, which means that the run
    should be resumed, else 130.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    asked: dict[str, Any] = {
        "min_nodes": 1,
        "max_nodes": 1,
        "nproc_per_node": processes,
        "run_id": uuid4().hex,
        "rdzv_backend": "c10d",
        "rdzv_endpoint": "localhost:0",
        "max_restarts": 0,
        "signals_to_handle": ",".join(name for name in _SIGNALS if hasattr(signal, name)),
        "shutdown_timeout": _PATIENCE,
    }
    # Older launchers lack the last two settings.
    known = {one.name for one in fields(LaunchConfig)}
    config = LaunchConfig(**{name: value for name, value in asked.items() if name in known})
    try:
        elastic_launch(config, sys.executable)("-m", "sassl", *words)
    except SignalException as error:
        # Each process has printed why it ended.
        return Requeue.exit_code if error.sigval.name in REQUEUES else 130
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            tell(f"rank {rank}: killed by {failure.signal_name()}")
            return 1
        return failure.exitcode
    return 0

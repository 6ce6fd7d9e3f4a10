"""The rank of this process: in an existing process group, or from the environment of torchrun or srun."""

from __future__ import annotations

import atexit
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from zlib import crc32

import torch
import torch.distributed as dist

from .collectives import World, let_go

#: Ports of runs under Slurm: above the reserved ones, below the ephemeral ones.
_PORTS = range(20_000, 32_000)


class Place(NamedTuple):
    """The rank of a process in a run, and the address of rank 0."""

    rank: int
    ranks: int
    #: The rank among the processes on this machine.
    local_rank: int
    #: The number of processes on this machine; under srun, the number on the first machine.
    local_ranks: int
    #: Address and port at which rank 0 waits for the other ranks.
    address: str
    port: int


def here(group: Any) -> Place | None:
    """This process's place according to the environment; None for a single process, or if a group exists."""
    return place(os.environ) if group is None and not (dist.is_available() and dist.is_initialized()) else None


def place(environ: Mapping[str, str]) -> Place | None:
    """The place given by torchrun's environment variables, else by srun's; None for a single process.

    Raises:
        ValueError: a variable is missing or not a whole number.
    """
    if "RANK" in environ or "WORLD_SIZE" in environ:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        rank, ranks, local_rank = (_whole(environ, name, names) for name in names)
        local_ranks = int(environ.get("LOCAL_WORLD_SIZE", ranks))
        if ranks == 1:
            return None
        if "MASTER_ADDR" not in environ:
            raise ValueError("MASTER_ADDR is missing in the environment, while RANK is there; torchrun sets both")
        port = _whole(environ, "MASTER_PORT", ("RANK", "MASTER_ADDR"))
        return Place(rank, ranks, local_rank, local_ranks, environ["MASTER_ADDR"], port)
    # A shell in an allocation has SLURM_NTASKS too, but is a single process: only a step's processes have a rank.
    if "SLURM_PROCID" in environ and "SLURM_STEP_ID" in environ and int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        rank, ranks, local_rank = (_whole(environ, name, names) for name in names)
        run = ".".join(environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))
        address = environ.get("MASTER_ADDR") or first_host(environ.get("SLURM_STEP_NODELIST", ""))
        port = int(environ.get("MASTER_PORT") or _PORTS[crc32(run.encode()) % len(_PORTS)])
        # "4(x2),3": the number of tasks on each machine.
        of_machine = re.match(r"\d+", environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
        return Place(rank, ranks, local_rank, int(of_machine[0]) if of_machine else ranks, address, port)
    return None


def _whole(environ: Mapping[str, str], name: str, names: tuple[str, ...]) -> int:
    text = environ.get(name, "")
    if not text.isdecimal():
        others = ", ".join(other for other in names if other != name)
        raise ValueError(f"{name} must be an integer in the environment, next to {others}, got {text!r}")
    return int(text)


def first_host(hosts: str) -> str:
    """The first host in a Slurm node list, such as node03 for "node[03-05,9],other".

    Raises:
        ValueError: the list does not start with a host.
    """
    found = re.match(r"([^\[\],]+)(?:\[(\d+)[^\]]*\]([^,]*))?", hosts)
    if found is None:
        raise ValueError(f"SLURM_STEP_NODELIST must be names of machines, got {hosts!r}; or give MASTER_ADDR")
    return "".join(part or "" for part in found.groups())


def device_of(given: str | None, own: Place | None) -> torch.device:
    """This process's device.

    Args:
        given: the device; "cuda": the GPU of the local rank; None: the GPU of the local rank if there is a GPU, else the CPU.
        own: this process's place.

    Raises:
        ValueError: `given` is "cuda", but there is no GPU; there are several GPUs, but none for the local rank. A single GPU
            serves any local rank.
    """
    if given is not None and given != "cuda":
        return torch.device(given)
    if given is None and not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    local_rank = _local_rank(own) if count else 0
    # srun may expose a single GPU to each of its processes.
    if count != 1 and local_rank >= count:
        raise ValueError(
            f"local rank must be less than the number of GPUs ({count}), got {local_rank}; start "
            "one process for each, or give device='cpu'"
        )
    return torch.device("cuda", local_rank if count > 1 else 0)


def _local_rank(own: Place | None) -> int:
    if own is not None:
        return own.local_rank
    # The caller created the group.
    return int(os.environ.get("LOCAL_RANK", torch.cuda.current_device()))


@contextmanager
def on(device: torch.device) -> Iterator[None]:
    """Within the block, make a GPU the current device, and enable cuDNN's benchmark mode. A CPU needs neither."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with torch.cuda.device(device):
            yield
    finally:
        torch.backends.cudnn.benchmark = before


def join(group: Any, own: Place | None, device: torch.device, patience: timedelta | None = None) -> Any:
    """The process group: `group`, else the existing default group, else a new group; None for a single process.

    Args:
        group: the process group that the caller passes, if any.
        own: this process's place.
        device: this process's device.
        patience: the timeout of a rank that waits for another; None: torch's default.

    Raises:
        ValueError: two ranks share one GPU; torch has no NCCL.
    """
    if group is None and not _OWN and (own is None or dist.is_initialized()):
        group = dist.group.WORLD if dist.is_available() and dist.is_initialized() else None
    elif group is None:
        if not _OWN:
            assert own is not None
            _OWN.append(World(_made(own, device, patience)))
        group = _OWN[0].group
    return group if group is not None and dist.get_world_size(group) > 1 else None


#: The process group that `join` created; empty if there is none.
_OWN: list[World] = []


def _made(own: Place, device: torch.device, patience: timedelta | None) -> Any:
    """Create the default process group with gloo; return this group on the CPU, or an additional NCCL group on GPUs.

    On GPUs, the gloo group is for control messages.
    """
    os.environ.setdefault("MASTER_ADDR", own.address)
    os.environ.setdefault("MASTER_PORT", str(own.port))
    dist.init_process_group("gloo", rank=own.rank, world_size=own.ranks, timeout=patience)
    atexit.register(_end)
    if device.type != "cuda":
        return dist.group.WORLD
    check_devices(device)
    if not dist.is_nccl_available():
        raise ValueError(f"device={device} requires NCCL, which this torch does not have; give device='cpu'")
    torch.cuda.set_device(device)
    group: Any = dist.new_group(backend="nccl")
    # The first message connects: do it now rather than within a step.
    dist.barrier(group, device_ids=[device.index])
    return group


def check_devices(device: torch.device) -> None:
    """Raise a ValueError, on all ranks, if any two ranks share one GPU."""
    mine = f"GPU {torch.cuda.get_device_properties(device).uuid} of {socket.gethostname()}"
    all_of_them: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(all_of_them, mine)
    for one in all_of_them:
        if len(ranks := [rank for rank, other in enumerate(all_of_them) if other == one]) > 1:
            shared = f"ranks {', '.join(map(str, ranks))} share {one}"
            raise ValueError(f"device must be another on each rank, but {shared} (device={device}); give each its own")


def _end() -> None:
    let_go()
    if dist.is_initialized():
        dist.destroy_process_group()


def threads_of(given: int | None, own: Place | None) -> int:
    """The number of threads of this process: `given`, else SASSL_THREADS, else this rank's share of the machine's cores."""
    if given is not None:
        return given
    if (text := os.environ.get("SASSL_THREADS", "")).isdecimal():
        return max(1, int(text))
    if own is None and (text := os.environ.get("LOCAL_WORLD_SIZE", "")).isdecimal():
        # The caller created the group.
        local_ranks = int(text)
    else:
        local_ranks = 1 if own is None else own.local_ranks
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // local_ranks)

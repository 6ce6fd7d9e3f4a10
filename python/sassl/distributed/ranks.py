"""A process group as the training loop sees it: ranks agree on values, and an error on one rank reaches all ranks.

Messages are sent between CPUs by gloo, and never wait for a GPU.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import _get_default_store

from ..data.ranks import Ranks
from .collectives import World

#: The key under which a failing rank stores its error, and the seconds for which other ranks poll that key.
_ERROR, _SECONDS = "sassl.error", 3.0
#: Gloo groups, by the name of the NCCL group that has the same ranks.
_CONTROL: dict[str, World] = {}


class Processes(Ranks):
    """The ranks of a process group.

    Args:
        group: the process group.
    """

    def __init__(self, group: Any) -> None:
        self.rank, self.world_size = dist.get_rank(group), dist.get_world_size(group)
        self._first = dist.get_global_rank(group, 0)
        if dist.get_backend(group) != "gloo":
            group = _beside(group, self.world_size)
        self._world = World(group)

    def agree(self, flag: bool) -> bool:
        """Return, on all ranks, whether the flag is set on any rank."""
        told = torch.tensor([int(flag)])
        with self.hearing():
            dist.all_reduce(told, dist.ReduceOp.MAX, self._world.group)
        return bool(told.item())

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0 on all ranks."""
        held = [value]
        with self.hearing():
            dist.broadcast_object_list(held, self._first, self._world.group)
        return held[0]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in rank order."""
        held: list[Any] = [None] * self.world_size
        with self.hearing():
            dist.all_gather_object(held, value, self._world.group)
        return held

    def collect(self, value: Any) -> list[Any]:
        """On rank 0, return the values of all ranks, in rank order; on other ranks, return an empty list."""
        held: list[Any] | None = [None] * self.world_size if self.rank == 0 else None
        with self.hearing():
            dist.gather_object(value, held, self._first, self._world.group)
        return held or []

    def fail(self, error: BaseException | None) -> None:
        """Raise, on all ranks, the error of the lowest rank that passes an error; return if all pass None."""
        if not self.agree(error is not None):
            return
        held = self.gather(_packed(error, self.rank))
        first = next(rank for rank, packed in enumerate(held) if packed is not None)
        if error is not None and first == self.rank:
            # All ranks raise it.
            vars(error)["is_agreed"] = True
            raise error
        others = pickle.loads(held[first])
        # It is reported once, on that rank.
        others.rank, others.is_agreed = first, True
        raise others

    def lost(self, error: BaseException) -> None:
        """Record an error that ends only this rank. Other ranks report the error when they fail to reach this rank."""
        try:
            _get_default_store().set(_ERROR, f"rank {self.rank}: {type(error).__name__}: {error}")
        except RuntimeError:
            # The process that held the store has ended already.
            return

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Within the block, if a message fails and another rank has recorded an error, raise a RuntimeError with that error."""
        try:
            yield
        except RuntimeError as error:
            if (told := _word()) is not None:
                raise RuntimeError(told) from error
            raise


def _beside(group: Any, size: int) -> Any:
    """A gloo group with the ranks of `group`: the default group if possible, else a new group that is kept for later calls."""
    if dist.get_backend() == "gloo" and size == dist.get_world_size():
        return dist.group.WORLD
    name = group.group_name
    if name not in _CONTROL:
        _CONTROL[name] = World(dist.new_group(dist.get_process_group_ranks(group), backend="gloo"))
    return _CONTROL[name].group


def _word() -> str | None:
    """The error that a failed rank has recorded with `lost`; None if no error is found within `_SECONDS`."""
    until = time.monotonic() + _SECONDS
    try:
        store = _get_default_store()
        while time.monotonic() < until:
            if store.check([_ERROR]):
                return store.get(_ERROR).decode()
            time.sleep(0.1)
    except RuntimeError:
        return None
    return None


def _packed(error: BaseException | None, rank: int) -> bytes | None:
    """The error, pickled so that other processes can raise it; None if there is no error."""
    if error is None:
        return None
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:
        # A third-party class may raise anything here.
        return pickle.dumps(RuntimeError(f"rank {rank}: {type(error).__name__}: {error}"))
    return packed

"""The processes of a group as the training loop sees them: agreement on values, and errors that reach all ranks.

The messages are sent between CPUs by gloo, and never wait for a GPU.
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

#: The store's key under which a failing rank leaves its error, and the seconds for which the others poll it.
_ERROR, _SECONDS = "sassl.error", 3.0
#: For each NCCL group, by its name, a gloo group of the same ranks.
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
        """Return, on all ranks, whether the flag is set on any of them."""
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
        """Return the values of all ranks, in rank order, on rank 0; an empty list on the others."""
        held: list[Any] | None = [None] * self.world_size if self.rank == 0 else None
        with self.hearing():
            dist.gather_object(value, held, self._first, self._world.group)
        return held or []

    def fail(self, error: BaseException | None) -> None:
        """Raise the error of the first rank that has one, on all ranks."""
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
        """Record an error that ends this rank alone, so that the others can report it when they fail to reach this rank."""
        try:
            _get_default_store().set(_ERROR, f"rank {self.rank}: {type(error).__name__}: {error}")
        except RuntimeError:
            # The process that held the store has ended already.
            return

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Within the block, if a message fails because another rank has failed, raise a RuntimeError with that rank's error."""
        try:
            yield
        except RuntimeError as error:
            if (told := _word()) is not None:
                raise RuntimeError(told) from error
            raise


def _beside(group: Any, size: int) -> Any:
    """A gloo group of the same ranks: the default group if it is such a group, else one that is created once."""
    if dist.get_backend() == "gloo" and size == dist.get_world_size():
        return dist.group.WORLD
    name = group.group_name
    if name not in _CONTROL:
        _CONTROL[name] = World(dist.new_group(dist.get_process_group_ranks(group), backend="gloo"))
    return _CONTROL[name].group


def _word() -> str | None:
    """The error that a failed rank has recorded by `lost`; None if there is none after some seconds."""
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

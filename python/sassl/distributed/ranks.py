"""The processes of a group as the loop knows them: what they agree on, and errors that all of them hear of.

These messages go from CPU to CPU, by gloo: none waits for a GPU.
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

#: The store's key under which a rank that ends by an error tells it, and the seconds that the others look there.
_ERROR, _SECONDS = "sassl.error", 3.0
#: Groups of gloo beside those of NCCL, by the names of these.
_CONTROL: dict[str, World] = {}


class Processes(Ranks):
    """The ranks of a process group.

    Args:
        group: it.
    """

    def __init__(self, group: Any) -> None:
        self.rank, self.world_size = dist.get_rank(group), dist.get_world_size(group)
        self._first = dist.get_global_rank(group, 0)
        if dist.get_backend(group) != "gloo":
            group = _beside(group, self.world_size)
        self._world = World(group)

    def agree(self, flag: bool) -> bool:
        """Whether any of them says so."""
        told = torch.tensor([int(flag)])
        with self.hearing():
            dist.all_reduce(told, dist.ReduceOp.MAX, self._world.group)
        return bool(told.item())

    def broadcast(self, value: Any) -> Any:
        """That of rank 0."""
        held = [value]
        with self.hearing():
            dist.broadcast_object_list(held, self._first, self._world.group)
        return held[0]

    def gather(self, value: Any) -> list[Any]:
        """Those of all ranks."""
        held: list[Any] = [None] * self.world_size
        with self.hearing():
            dist.all_gather_object(held, value, self._world.group)
        return held

    def collect(self, value: Any) -> list[Any]:
        """Those of all ranks, on rank 0; on the others none."""
        held: list[Any] | None = [None] * self.world_size if self.rank == 0 else None
        with self.hearing():
            dist.gather_object(value, held, self._first, self._world.group)
        return held or []

    def fail(self, error: BaseException | None) -> None:
        """Raises the error of the first rank that has one, in all of them."""
        if not self.agree(error is not None):
            return
        held = self.gather(_packed(error, self.rank))
        first = next(rank for rank, packed in enumerate(held) if packed is not None)
        if error is not None and first == self.rank:
            # All of them know of it.
            vars(error)["is_agreed"] = True
            raise error
        others = pickle.loads(held[first])
        # Who tells errors tells it once, there.
        others.rank, others.is_agreed = first, True
        raise others

    def lost(self, error: BaseException) -> None:
        """Leaves word of an error that this rank alone has, and of which it ends."""
        try:
            _get_default_store().set(_ERROR, f"rank {self.rank}: {type(error).__name__}: {error}")
        except RuntimeError:
            # Whoever kept the words is gone already.
            return

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Messages that fail because another rank ended by an error: it is told instead."""
        try:
            yield
        except RuntimeError as error:
            if (told := _word()) is not None:
                raise RuntimeError(told) from error
            raise


def _beside(group: Any, size: int) -> Any:
    """The default group, where it is gloo's and has the same ranks; else one that is made once."""
    if dist.get_backend() == "gloo" and size == dist.get_world_size():
        return dist.group.WORLD
    name = group.group_name
    if name not in _CONTROL:
        _CONTROL[name] = World(dist.new_group(dist.get_process_group_ranks(group), backend="gloo"))
    return _CONTROL[name].group


def _word() -> str | None:
    """The word that a rank left when it ended by an error; None: there is none."""
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
    """An error as another process can raise it."""
    if error is None:
        return None
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:
        # Whatever a foreign class raises there.
        return pickle.dumps(RuntimeError(f"rank {rank}: {type(error).__name__}: {error}"))
    return packed

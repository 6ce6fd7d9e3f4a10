"""Cooperating processes (ranks): common values, errors raised on all ranks, and each rank's share of the images."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..arguments import whole

_T = TypeVar("_T")


class Ranks(Protocol):
    """The cooperating processes, as seen from one of them."""

    rank: int
    world_size: int

    def agree(self, flag: bool) -> bool:
        """Return, on all ranks, whether the flag is set on any rank."""

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0 on all ranks."""

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in rank order."""

    def collect(self, value: Any) -> list[Any]:
        """On rank 0, return the values of all ranks, in rank order; on other ranks, return an empty list."""

    def fail(self, error: BaseException | None) -> None:
        """Raise, on all ranks, the error of the first rank that passes an error; return if all pass None."""

    def lost(self, error: BaseException) -> None:
        """Inform the other ranks of an error that ends this process. Other ranks may be waiting for this process."""


class Alone:
    """A single process: rank 0 of 1."""

    rank, world_size = 0, 1

    def agree(self, flag: bool) -> bool:
        """Return the flag."""
        return flag

    def broadcast(self, value: Any) -> Any:
        """Return the value."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """Return a list of the value."""
        return [value]

    def collect(self, value: Any) -> list[Any]:
        """Return a list of the value."""
        return [value]

    def fail(self, error: BaseException | None) -> None:
        """Raise the error, if there is one."""
        if error is not None:
            raise error

    def lost(self, error: BaseException) -> None:
        """Do nothing: no other process waits."""


ALONE = Alone()


def check_same(ranks: Ranks, name: str, value: Any) -> None:
    """Raise a ValueError on all ranks if the value on any rank differs from the value on rank 0."""
    first, error = ranks.broadcast(value), None
    if value != first:
        error = ValueError(f"{name} must be {first!r:.500} as on rank 0, got {value!r:.500} on rank {ranks.rank}")
    ranks.fail(error)


def together(ranks: Ranks, make: Callable[[], _T]) -> _T:
    """Call `make` on all ranks and return its value; an error on one rank is raised on all ranks."""
    error: Exception | None = None
    try:
        made = make()
    except Exception as raised:
        # Any error is passed on, so that no rank waits for one that has failed.
        error = raised
    ranks.fail(error)
    return made


def by_first(ranks: Ranks, make: Callable[[], _T]) -> _T:
    """Call `make` on rank 0, and return its value, or raise its error, on all ranks."""
    made: _T | None = together(ranks, make if ranks.rank == 0 else lambda: None)
    told: _T = ranks.broadcast(made)
    return told


def share(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """The rank and the world size, from the arguments, torch's process group or the environment; else 0 of 1.

    The first of these sources that exists is used:

    - the arguments;
    - torch's default process group, if torch is imported and the group is initialized;
    - the environment variables RANK and WORLD_SIZE, as set by torchrun.

    Raises:
        ValueError: a rank without a world size, or vice versa; a value that is not an integer; a rank outside
            [0, world_size - 1].
    """
    names = ("rank", "world_size")
    values: tuple[object, object] = (rank, world_size)
    if rank is None and world_size is None:
        found = group()
        if found is not None:
            return found
        names, values = ("RANK", "WORLD_SIZE"), (_set("RANK"), _set("WORLD_SIZE"))
        if values == (None, None):
            return 0, 1
    if None in values:
        missing, there = names if values[0] is None else names[::-1]
        place = "set in the environment" if there.isupper() else "given"
        raise ValueError(
            f"{missing} is missing, while {there} is {place}; pass rank and world_size, or create the loader after "
            "init_process_group"
        )
    size = whole(names[1], values[1], 1)
    if not 0 <= (place_in := whole(names[0], values[0])) < size:
        raise ValueError(f"{names[0]} must be in [0, {names[1]} - 1], with {names[1]}={size}, got {place_in}")
    return place_in, size


def group() -> tuple[int, int] | None:
    """The rank and the world size of torch's default process group; None without a group."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _set(name: str) -> int | str | None:
    """The value of an environment variable: an int, a string if it is not an integer, or None if it is empty or not set."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.isdecimal() else text or None

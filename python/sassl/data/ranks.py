"""The processes that work together: what they agree on, errors that all of them raise, and the share of images of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..arguments import whole

_T = TypeVar("_T")


class Ranks(Protocol):
    """The processes that work together."""

    rank: int
    world_size: int

    def agree(self, flag: bool) -> bool:
        """Whether any of them says so; all are told."""

    def broadcast(self, value: Any) -> Any:
        """That of rank 0, for all."""

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order."""

    def collect(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order, on rank 0; on the others none."""

    def fail(self, error: BaseException | None) -> None:
        """Raises, in all of them, the error that one of them has; returns where none has."""

    def lost(self, error: BaseException) -> None:
        """Leaves word to the others of an error that this one ends by, where they wait for it."""


class Alone:
    """One process."""

    rank, world_size = 0, 1

    def agree(self, flag: bool) -> bool:
        """What it says itself."""
        return flag

    def broadcast(self, value: Any) -> Any:
        """The same."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """Itself alone."""
        return [value]

    def collect(self, value: Any) -> list[Any]:
        """Itself alone."""
        return [value]

    def fail(self, error: BaseException | None) -> None:
        """Raises it."""
        if error is not None:
            raise error

    def lost(self, error: BaseException) -> None:
        """Nobody waits."""


ALONE = Alone()


def check_same(ranks: Ranks, name: str, value: Any) -> None:
    """Raises a ValueError, in all processes, where one of them has another value than rank 0."""
    first, error = ranks.broadcast(value), None
    if value != first:
        error = ValueError(f"{name} = {value!r:.500}: of rank {ranks.rank}; rank 0 has {first!r:.500}")
    ranks.fail(error)


def together(ranks: Ranks, make: Callable[[], _T]) -> _T:
    """The value that each process makes; where one of them cannot, its error is raised in all of them."""
    error: Exception | None = None
    try:
        made = make()
    except Exception as raised:
        # Whatever it is, no process waits for one that ended by it.
        error = raised
    ranks.fail(error)
    return made


def by_first(ranks: Ranks, make: Callable[[], _T]) -> _T:
    """The value that rank 0 makes, on all ranks; where it cannot, its error is raised in all of them."""
    made: _T | None = together(ranks, make if ranks.rank == 0 else lambda: None)
    told: _T = ranks.broadcast(made)
    return told


def share(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """The rank and the world size: as given; else of torch's process group; else of the environment; else 0 of 1.

    torch.distributed is asked only where torch is imported and its default group initialised. The environment variables are
    RANK and WORLD_SIZE, as torchrun sets them.

    Raises:
        ValueError: one without the other, or no whole numbers; a rank beyond the world.
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
        place = "in the environment" if there.isupper() else "given"
        raise ValueError(
            f"{missing}: missing, while {there} is {place}; give rank and world_size, or make the loader when there is a "
            "process group"
        )
    size = whole(names[1], values[1], 1)
    if not 0 <= (place_in := whole(names[0], values[0])) < size:
        raise ValueError(f"{names[0]} = {place_in}: from 0 to {names[1]} - 1; {names[1]} = {size}")
    return place_in, size


def group() -> tuple[int, int] | None:
    """The rank and the world size in torch's default process group; None where there is none."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _set(name: str) -> int | str | None:
    """A variable of the environment as the number that it should be."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.isdecimal() else text or None

"""Which share of the images this process has, where several train one model."""

from __future__ import annotations

import os
import sys

from ..arguments import whole


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

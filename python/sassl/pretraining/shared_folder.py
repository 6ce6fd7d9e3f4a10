"""A run's folder when several processes form one engine: rank 0 manages the folder; other ranks receive the state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.ranks import Ranks
from .engines import Engine
from .folder import Folder


def shared(ranks: Ranks, make: Callable[[], Folder]) -> Folder:
    """Create a run's folder by calling `make`, on rank 0 only. If that raises an error, all ranks raise the error."""
    return make() if ranks.world_size == 1 else SharedFolder(ranks, make)


class SharedFolder(Folder):
    """A run's folder that rank 0 manages for all ranks. All ranks have to call the same methods in the same order."""

    def __init__(self, ranks: Ranks, make: Callable[[], Folder]) -> None:
        self._ranks = ranks
        self._own: Folder | None = self._first(make)
        own = self._own
        told = own and (own.path, own.unlocked, own.last, own.prolonged)
        self.path, self.unlocked, self._newest, self.prolonged = ranks.broadcast(told)

    def _first(self, call: Callable[[], Any]) -> Any:
        """Call a function on rank 0 only; return the result on rank 0, and None on other ranks."""
        made, error = None, None
        if self._ranks.rank == 0:
            try:
                made = call()
            except Exception as raised:
                # All ranks raise it, whatever its type.
                error = raised
        self._ranks.fail(error)
        return made

    @property
    def last(self) -> Path | None:
        """The newest checkpoint."""
        return self._newest

    def checkpoint(self, engine: Engine, metadata: dict[str, str], keep: int) -> None:
        """Write a checkpoint."""
        if self._own is not None:
            self._own.checkpoint(engine, metadata, keep)
        else:
            engine.save(self.path, metadata)
        self._newest = self._ranks.broadcast(self._own and self._own.last)

    def close(self) -> None:
        """Release the folder for other runs."""
        if self._own is not None:
            self._own.close()

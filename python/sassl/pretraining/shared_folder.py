"""A run's folder where several processes are one engine: rank 0 has it, and the others hear what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.ranks import Ranks
from .engines import Engine
from .folder import Folder


def shared(ranks: Ranks, make: Callable[[], Folder]) -> Folder:
    """The folder that `make` makes, on rank 0 alone where there are several; its errors are all ranks'."""
    return make() if ranks.world_size == 1 else SharedFolder(ranks, make)


class SharedFolder(Folder):
    """A folder of rank 0, as each rank sees it. All ranks call the same methods."""

    def __init__(self, ranks: Ranks, make: Callable[[], Folder]) -> None:
        self._ranks = ranks
        self._own: Folder | None = self._first(make)
        own = self._own
        told = own and (own.path, own.unlocked, own.last, own.prolonged)
        self.path, self.unlocked, self._newest, self.prolonged = ranks.broadcast(told)

    def _first(self, call: Callable[[], Any]) -> Any:
        """Makes the call on rank 0 alone, and gives its result there; None on other ranks."""
        made, error = None, None
        if self._ranks.rank == 0:
            try:
                made = call()
            except Exception as raised:
                # Whatever it is, all ranks end by it.
                error = raised
        self._ranks.fail(error)
        return made

    @property
    def last(self) -> Path | None:
        """The newest checkpoint."""
        return self._newest

    def checkpoint(self, engine: Engine, metadata: dict[str, str], keep: int) -> None:
        """Writes one."""
        if self._own is not None:
            self._own.checkpoint(engine, metadata, keep)
        else:
            engine.save(self.path, metadata)
        self._newest = self._ranks.broadcast(self._own and self._own.last)

    def close(self) -> None:
        """Another run may have it."""
        if self._own is not None:
            self._own.close()

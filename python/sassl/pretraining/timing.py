"""Where the time of an epoch goes: waiting for batches, views, steps, and the rest; by the clock of this process alone.

Nobody waits for a device to be asked. A step of an engine that works ahead ends when the one before it has, so that sums over
many steps are right where a single one is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class EpochSoFar:
    """The sums of an epoch, which go on with it after a checkpoint.

    Args:
        images, seconds, waited, stepped, viewed, sums: as `state` gave them; `sums` are those of what is watched.

    Attributes:
        images, waited: how many there were, and the seconds of waiting for them.
    """

    def __init__(
        self,
        images: int = 0,
        seconds: float = 0.0,
        waited: float = 0.0,
        stepped: float = 0.0,
        viewed: float = 0.0,
        sums: dict[str, float] | None = None,
    ) -> None:
        self.images, self.waited = images, waited
        self._seconds, self._stepped, self._viewed = seconds, stepped, viewed
        self._sums = {} if sums is None else dict(sums)
        self._began = 0.0
        self._last = (images, seconds, waited)

    def go_on(self) -> None:
        """The next batch is waited for now."""
        self._began = time.perf_counter() - self._seconds

    def batches(self, given: Iterable[Any]) -> Iterator[Any]:
        """The batches, each waited for."""
        began = time.perf_counter()
        them = iter(given)
        while True:
            try:
                batch = next(them)
            except StopIteration:
                return
            self.waited += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    @contextmanager
    def views(self) -> Iterator[None]:
        """What is left to do of a batch's views, on the engine's device or on the way there."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._viewed += time.perf_counter() - began

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step, and the look at its numbers."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._stepped += time.perf_counter() - began

    def after_step(self, images: int) -> None:
        """A step on so many images is over."""
        self.images += images
        self._seconds = time.perf_counter() - self._began

    def add(self, values: dict[str, float]) -> None:
        """What a step told."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def lately(self) -> dict[str, float]:
        """The speed, and the share of waiting, since this was asked last."""
        images, seconds, waited = self._last
        self._last = (self.images, self._seconds, self.waited)
        return _speed(self.images - images, self._seconds - seconds, self.waited - waited)

    def row(self, epoch: int, batches: int) -> dict[str, float]:
        """What the history tells of an epoch, counted from 0, of so many batches."""
        means = {name: value / batches for name, value in self._sums.items()}
        speed = _speed(self.images, self._seconds, self.waited)
        each = {"views_seconds": self._viewed / batches, "step_seconds": self._stepped / batches}
        return {"epoch": epoch + 1, **means, **speed, **each}

    def state(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        told = {"images": self.images, "seconds": self._seconds, "waited": self.waited}
        return {**told, "stepped": self._stepped, "viewed": self._viewed, "sums": self._sums}


def _speed(images: int, seconds: float, waited: float) -> dict[str, float]:
    # A clock may stand still.
    seconds = max(seconds, 1e-9)
    return {"images_per_second": images / seconds, "data_wait": waited / seconds}

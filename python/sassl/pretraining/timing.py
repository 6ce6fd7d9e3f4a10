"""The breakdown of an epoch's time into waiting for batches, views, steps, and the rest, by this process's clock.

No measurement synchronizes with the device. With an engine that works ahead, a measured step ends when the device has completed
the previous step. Totals over many steps are correct, even if the time of a single step is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

#: The number of warm-up steps, and of measured steps. Warm-up steps compile and allocate, and are not measured.
_FIRST, _STEPS = 5, 20
#: The time in seconds after which three steps are enough.
_SECONDS = 120


class Pace:
    """The speed of a run's first steps, for an estimate of the run's duration."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._marks: list[tuple[float, float]] = []
        self._waited, self._last = 0.0, 0.0
        #: Whether enough steps have been measured.
        self.is_known = False

    def after_step(self, waited: float) -> bool:
        """Record a step; return True, only once, when enough steps have been measured.

        Args:
            waited: the seconds that the epoch has spent waiting for batches so far.
        """
        if self.is_known:
            return False
        # A new epoch starts its count at 0.
        self._waited += waited - self._last if waited >= self._last else waited
        self._last = waited
        now = time.perf_counter()
        self._marks.append((now, self._waited))
        n = len(self._marks)
        self.is_known = n >= _FIRST + _STEPS or (n >= 3 and now > self._began + _SECONDS)
        return self.is_known

    def found(self) -> tuple[int, float, float]:
        """The number of measured steps, their duration in seconds, and the part of this duration spent waiting for batches."""
        n = len(self._marks)
        left_out = min(_FIRST, n // 2)
        time_before, waited_before = self._marks[left_out - 1] if left_out else (self._began, 0.0)
        time_after, waited_after = self._marks[-1]
        return n - left_out, max(time_after - time_before, 1e-9), waited_after - waited_before


class EpochSoFar:
    """The running totals of an epoch: images, times and metrics. A resumed epoch continues the totals of its checkpoint.

    Args:
        images, seconds, waited, stepped, viewed, sums: the entries of `state`; `sums` has the sum of each metric.

    Attributes:
        images: the number of images.
        waited: the seconds spent waiting for batches.
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
        """Start the clock, or restart it after a resume, before the next batch."""
        self._began = time.perf_counter() - self._seconds

    def batches(self, given: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches, and time the wait for each."""
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
        """Within the block, time the engine's completion of a batch's views."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._viewed += time.perf_counter() - began

    @contextmanager
    def step(self) -> Iterator[None]:
        """Within the block, time a step, including the reading of values."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._stepped += time.perf_counter() - began

    def after_step(self, images: int) -> None:
        """Count the images of a completed step."""
        self.images += images
        self._seconds = time.perf_counter() - self._began

    def add(self, values: dict[str, float]) -> None:
        """Add the metrics of a step."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def lately(self) -> dict[str, float]:
        """Since the last call: the throughput, and the fraction of the time spent waiting for batches."""
        images, seconds, waited = self._last
        self._last = (self.images, self._seconds, self.waited)
        return _speed(self.images - images, self._seconds - seconds, self.waited - waited)

    def row(self, epoch: int, batches: int) -> dict[str, float]:
        """The history's row for an epoch of `batches` batches; `epoch` is counted from 0."""
        means = {name: value / batches for name, value in self._sums.items()}
        speed = _speed(self.images, self._seconds, self.waited)
        each = {"views_seconds": self._viewed / batches, "step_seconds": self._stepped / batches}
        return {"epoch": epoch + 1, **means, **speed, **each}

    def state(self) -> dict[str, Any]:
        """The constructor's arguments, for a checkpoint."""
        told = {"images": self.images, "seconds": self._seconds, "waited": self.waited}
        return {**told, "stepped": self._stepped, "viewed": self._viewed, "sums": self._sums}


def _speed(images: int, seconds: float, waited: float) -> dict[str, float]:
    # A coarse clock may not advance.
    seconds = max(seconds, 1e-9)
    return {"images_per_second": images / seconds, "data_wait": waited / seconds}

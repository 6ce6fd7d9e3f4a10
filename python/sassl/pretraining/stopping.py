"""Interruption of a run by signals or a time limit: the current step is completed, a checkpoint is written, all ranks stop.

The time limit and SIGUSR1 raise `Requeue`: the run is meant to resume. Slurm can send SIGUSR1 before a job's time ends. The
exit code of `Requeue` is 75, so that a job script can detect it and resume the run. Ctrl-C, SIGTERM and SIGHUP raise
KeyboardInterrupt: the run is meant to end.
"""

from __future__ import annotations

import re
import signal
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from ..arguments import wrong
from ..data.ranks import Ranks

#: Signals that end a run; Windows has neither SIGHUP nor SIGUSR1.
_ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
#: The interruptions after which a run should be resumed, as named in messages.
REQUEUES = ("SIGUSR1", "its time limit")
#: How many of the newest durations are kept for each activity. A slow first step, which compiles, thus drops out.
_LAST = 50


class Requeue(KeyboardInterrupt):
    """Raised when the time limit or SIGUSR1 interrupts a run. The run can resume from the last checkpoint in its folder.

    Attributes:
        exit_code: the exit code for a process that ends with this exception: 75, EX_TEMPFAIL in sysexits.h.
    """

    exit_code = 75


class Stopping:
    """Decides whether a run has to stop.

    Args:
        seconds: the time from now within which the run has to end and write its checkpoint; None: no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._until = None if seconds is None else time.monotonic() + seconds
        self._took: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_LAST))
        self._signals: list[int] = []
        self._is_over = False
        self._mark = time.monotonic()

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Within the block, defer signals that end a run until the current step is done.

        Ctrl-C after another signal, such as a first Ctrl-C, interrupts the step at once. Ignored signals (nohup) stay ignored.
        Handlers that the caller or a library has installed are not replaced.
        """

        def ask(number: int, _: Any) -> None:
            # A terminal that closes sends SIGHUP twice, and job schedulers repeat SIGTERM.
            if self._signals and number == signal.SIGINT:
                raise KeyboardInterrupt("interrupted")
            self._signals.append(number)

        before: dict[int, Any] = {}
        # Only the main thread may set handlers; others get a ValueError.
        with suppress(ValueError):
            for number in _ENDS:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    before[number] = signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Within the block, time an activity that may occur between the last step and the end of the run."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._mark = time.monotonic()
            self._took[what].append(self._mark - began)

    def after_step(self) -> None:
        """Record the duration of a step, counted from the end of the last step or timed activity."""
        now = time.monotonic()
        self._took["step"].append(now - self._mark)
        self._mark = now

    def begin_epoch(self) -> None:
        """Start timing the first step of an epoch."""
        self._mark = time.monotonic()

    def is_due(self, ranks: Ranks, *ahead: str) -> bool:
        """Return whether the run has to stop: any rank has received a signal, or too little time is left for `ahead`.

        Args:
            ranks: the ranks of the run.
            ahead: the activities to complete before the next check. Each is assumed to take its longest recent duration. With
                no activities, the run is complete, and the time limit does not matter.
        """
        needed = sum(max(self._took[what], default=0.0) for what in ahead)
        self._is_over = self._until is not None and bool(ahead) and time.monotonic() + needed > self._until
        return ranks.agree(self._is_over or bool(self._signals))

    def stop(self, ranks: Ranks) -> BaseException:
        """The exception that all ranks raise, regardless of which rank has received the signal."""
        mine = [signal.Signals(number).name for number in self._signals] + ["its time limit"] * self._is_over
        reasons = [reason for told in ranks.gather(mine) for reason in told]
        if again := [reason for reason in reasons if reason in REQUEUES]:
            return Requeue(f"interrupted by {again[0]}")
        return KeyboardInterrupt("interrupted" if reasons[0] == "SIGINT" else f"interrupted by {reasons[0]}")


def seconds_of(limit: Any) -> float | None:
    """Convert a time limit, a `timedelta` or a string in Slurm's format, to seconds; None (no limit) stays None.

    Raises:
        ValueError: the limit has another format, or is not positive.
    """
    expected = 'a time as "30" (minutes), "30:00", "3:50:00", "1-12", "1-12:30" or "1-12:30:00", or a timedelta'
    if limit is None:
        return None
    seconds = 0.0
    if isinstance(limit, timedelta):
        seconds = limit.total_seconds()
    elif isinstance(limit, str) and (found := re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit.strip())):
        days, parts = found[1], [int(part) for part in found.groups()[1:] if part is not None]
        # Days are followed by hours; otherwise one part is minutes, and two parts are minutes and seconds.
        hours_first = days is not None or len(parts) == 3
        units = (3600, 60, 1) if hours_first else (60, 1)
        seconds = 86400 * int(days or 0) + sum(unit * part for unit, part in zip(units, parts, strict=False))
    if not seconds > 0:
        raise wrong("time_limit", limit, expected)
    return seconds

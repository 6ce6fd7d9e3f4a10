"""What ends a run before its end: signals, and a limit of its time. The step is done, a checkpoint is written, all ranks stop.

SIGUSR1, by which Slurm says that a job's time is nearly over, and the limit raise `Requeue`, whose exit code is 75: the run is
to go on, and a job script can have it do so. Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt: somebody wants it to end.
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

#: Signals that ask a run for its end; Windows has neither SIGHUP nor SIGUSR1.
_ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
#: Reasons for which a run is to go on elsewhere, by what is told of them.
REQUEUES = ("SIGUSR1", "its time limit")
#: Times of each kind that are looked back on: a first step that compiles is forgotten.
_LAST = 50


class Requeue(KeyboardInterrupt):
    """A run ended because of its time limit or SIGUSR1, with a checkpoint; started again with `resume` it goes on.

    Attributes:
        exit_code: of a process that ends by it: 75, EX_TEMPFAIL of sysexits.h.
    """

    exit_code = 75


class Stopping:
    """Whether a run is asked for its end.

    Args:
        seconds: from now, in which it has to end and to write its checkpoint; None: any time.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._until = None if seconds is None else time.monotonic() + seconds
        self._took: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_LAST))
        self._signals: list[int] = []
        self._is_over = False
        self._mark = time.monotonic()

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Signals that ask for an end are kept until the step is done; a second Ctrl-C is not.

        Those that are ignored stay so (nohup), and those that have a handler, of Python or of others, stay theirs.
        """

        def ask(number: int, _: Any) -> None:
            # A terminal that closes sends SIGHUP twice, and what ends jobs repeats SIGTERM.
            if self._signals and number == signal.SIGINT:
                raise KeyboardInterrupt("interrupted")
            self._signals.append(number)

        before: dict[int, Any] = {}
        # Signals are the main thread's, as a ValueError says.
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
        """How long something takes that may stand between a step and the end."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._mark = time.monotonic()
            self._took[what].append(self._mark - began)

    def after_step(self) -> None:
        """A step is over, and what belongs to it since the last one or since what was timed."""
        now = time.monotonic()
        self._took["step"].append(now - self._mark)
        self._mark = now

    def begin_epoch(self) -> None:
        """What comes now belongs to a step."""
        self._mark = time.monotonic()

    def is_due(self, ranks: Ranks, *ahead: str) -> bool:
        """Whether any rank is asked for the end, or has not the time for what lies ahead, as long as it took at most lately.

        Where nothing lies ahead the run has made it, however late it is.
        """
        needed = sum(max(self._took[what], default=0.0) for what in ahead)
        self._is_over = self._until is not None and bool(ahead) and time.monotonic() + needed > self._until
        return ranks.agree(self._is_over or bool(self._signals))

    def stop(self, ranks: Ranks) -> BaseException:
        """What all ranks raise, whichever of them was asked."""
        mine = [signal.Signals(number).name for number in self._signals] + ["its time limit"] * self._is_over
        reasons = [reason for told in ranks.gather(mine) for reason in told]
        if again := [reason for reason in reasons if reason in REQUEUES]:
            return Requeue(f"interrupted by {again[0]}")
        return KeyboardInterrupt("interrupted" if reasons[0] == "SIGINT" else f"interrupted by {reasons[0]}")


def seconds_of(limit: Any) -> float | None:
    """The seconds of a time limit: a `timedelta`, or a text as Slurm has it.

    Raises:
        ValueError: anything else; no time at all.
    """
    expected = 'a time as "30" (minutes), "30:00", "3:50:00", "1-12", "1-12:30" or "1-12:30:00", or a timedelta'
    if limit is None:
        return None
    seconds = 0.0
    if isinstance(limit, timedelta):
        seconds = limit.total_seconds()
    elif isinstance(limit, str) and (found := re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit.strip())):
        days, parts = found[1], [int(part) for part in found.groups()[1:] if part is not None]
        # After days come hours; alone there are minutes, and two are minutes and seconds.
        hours_first = days is not None or len(parts) == 3
        units = (3600, 60, 1) if hours_first else (60, 1)
        seconds = 86400 * int(days or 0) + sum(unit * part for unit, part in zip(units, parts, strict=False))
    if not seconds > 0:
        raise wrong("time_limit", limit, expected)
    return seconds

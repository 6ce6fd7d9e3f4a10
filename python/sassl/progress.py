"""Progress reports: a bar in terminals and notebooks, lines of text elsewhere.

While work is in progress, the first line is written after two seconds, and further lines at growing intervals.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import terminal

#: How progress is shown. False: not at all. True: by bars or lines on sys.stderr. A function: called with the name of the work,
#: the amount done, and the total (None if unknown).
Shown = bool | Callable[[str, int, int | None], object]

#: Metrics that a bar or a line shows after a step.
_SHOWN = ("loss", "lr", "encoder_momentum")

#: In seconds: time until the first line, longest pause between lines, interval of a bar's updates. Each pause between lines is
#: twice the previous pause, up to the longest.
_FIRST, _LONGEST, _BAR = 2.0, 60.0, 1.0


class Pauses:
    """The growing pauses between the lines of a log."""

    def __init__(self) -> None:
        self.seconds, self._told = _FIRST, time.monotonic()

    def next(self) -> float:
        """Start the next pause and return its length in seconds."""
        self.seconds, self._told = min(2 * self.seconds, _LONGEST), time.monotonic()
        return self.seconds

    def are_over(self) -> bool:
        """Return whether a line is due; if it is, start the next pause."""
        if time.monotonic() - self._told < self.seconds:
            return False
        self.next()
        return True


@contextmanager
def shown(how: Shown, what: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], object]]:
    """Show the progress of the work in a `with` block.

    Args:
        how: see `Shown`.
        what: name of the work.
        total: amount of work; None: unknown, and only the elapsed time is shown.
        unit: unit of the amount, such as "images".

    Yields:
        A function to call with the amount done so far.
    """
    if how is False:
        yield lambda done: None
    elif how is True:
        told = _Told(what, total, unit)
        try:
            yield told.at
        finally:
            told.close()
    else:
        yield lambda done: how(what, done, total)


class _Told:
    """Progress shown by a thread at intervals, so that a long step does not look stuck."""

    def __init__(self, what: str, total: int | None, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done, self._began = 0, time.monotonic()
        self._bar: Any = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="sassl-progress", daemon=True)
        self._thread.start()

    def at(self, done: int) -> None:
        self._done = done

    def close(self) -> None:
        """Stop the thread and clear the bar."""
        self._over.set()
        self._thread.join()

    def _show(self) -> None:
        if terminal.is_watched() and not self._over.wait(_BAR):
            options: dict[str, Any] = {"unit": f" {self._unit}", "dynamic_ncols": True, "leave": False}
            if self._total is None:
                options["bar_format"] = "{desc}: {elapsed}"
            self._bar = terminal.bar(desc=self._what, total=self._total, **options)
        pauses = Pauses()
        while not self._over.wait(pauses.seconds if self._bar is None else _BAR):
            if self._bar is None:
                terminal.tell(self._line())
                pauses.next()
            else:
                self._bar.update(self._done - self._bar.n)
                self._bar.refresh()
        if self._bar is not None:
            self._bar.close()

    def _line(self) -> str:
        gone, done = time.monotonic() - self._began, self._done
        if self._total is None:
            return f"{self._what}: since {clock(gone)}"
        line = f"{self._what}: {done:,} of {self._total:,} {self._unit}"
        if not done:
            return f"{line}, since {clock(gone)}"
        return f"{line}, {done / gone:.4g} {self._unit}/s, {clock((self._total - done) * gone / done)} left"


def clock(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds: 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


class Progress:
    """Progress of a training run, counted in images. In a resumed run, the images processed earlier count as done."""

    def __init__(self, epochs: int, images: int, done: int, quiet: bool) -> None:
        self._epochs, self._images, self._done, self._quiet = epochs, images, done, quiet
        self._began, self._pauses = time.monotonic(), Pauses()
        self._new = 0
        options: dict[str, Any] = {"unit": " images", "smoothing": 0.05, "dynamic_ncols": True, "mininterval": 0.5}
        self._bar = None if quiet else terminal.bar(total=images, initial=done, **options)

    def after_step(self, epoch: int, images: int, values: dict[str, float]) -> None:
        """Report a finished step."""
        if self._quiet:
            return
        self._new += images
        where = f"epoch {epoch + 1}/{self._epochs}"
        if self._bar is not None:
            self._bar.set_description(where, refresh=False)
            self._bar.set_postfix_str(_told(_shown(values)), refresh=False)
            self._bar.update(images)
        elif self._pauses.are_over():
            rate, done = self._new / (time.monotonic() - self._began), self._done + self._new
            left = clock((self._images - done) / rate)
            self.note(f"{where}, {done / self._images:.1%}: {_told(_shown(values))}, {rate:.4g} images/s, {left} left")

    def after_epoch(self, row: dict[str, float]) -> None:
        """Report a finished epoch."""
        rest = {name: value for name, value in row.items() if name != "epoch"}
        self.note(f"epoch {row['epoch']:.0f}/{self._epochs}: {_told(rest)}")

    def note(self, text: str) -> None:
        """Write a line, unless quiet."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Write a line about a failure, even if quiet."""
        if self._bar is not None:
            self._bar.clear()
        terminal.tell(text)
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """Close the bar, which stays visible."""
        if self._bar is not None:
            self._bar.close()


def _shown(values: dict[str, float]) -> dict[str, float]:
    return {name: values[name] for name in _SHOWN if name in values}


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())

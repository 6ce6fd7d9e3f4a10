"""What a run says while it runs: a bar in terminals and notebooks, lines in a file. A line that cannot be written is lost."""

from __future__ import annotations

import time
from typing import Any

from .. import terminal

#: Seconds between lines, where there is no bar.
_SECONDS = 60
#: What a bar shows.
_SHOWN = ("loss", "lr", "encoder_momentum")


class Progress:
    """Images of a run, of which some may be done."""

    def __init__(self, epochs: int, images: int, done: int, quiet: bool) -> None:
        self._epochs, self._images, self._done, self._quiet = epochs, images, done, quiet
        self._began = self._told = time.monotonic()
        self._new = 0
        options: dict[str, Any] = {"unit": " images", "smoothing": 0.05, "dynamic_ncols": True, "mininterval": 0.5}
        self._bar = None if quiet else terminal.bar(total=images, initial=done, **options)

    def after_step(self, epoch: int, images: int, values: dict[str, float]) -> None:
        """A step is over."""
        if self._quiet:
            return
        self._new += images
        where = f"epoch {epoch + 1}/{self._epochs}"
        if self._bar is not None:
            self._bar.set_description(where, refresh=False)
            self._bar.set_postfix_str(_told(_shown(values)), refresh=False)
            self._bar.update(images)
        elif (now := time.monotonic()) - self._told >= _SECONDS:
            self._told = now
            rate, done = self._new / (now - self._began), self._done + self._new
            left = _clock((self._images - done) / rate)
            self.note(f"{where}, {done / self._images:.1%}: {_told(_shown(values))}, {rate:.4g} images/s, {left} left")

    def after_epoch(self, row: dict[str, float]) -> None:
        """An epoch is over."""
        rest = {name: value for name, value in row.items() if name != "epoch"}
        self.note(f"epoch {row['epoch']:.0f}/{self._epochs}: {_told(rest)}")

    def note(self, text: str) -> None:
        """A line of its own."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """A line on what fails: quiet or not."""
        if self._bar is not None:
            self._bar.clear()
        terminal.tell(text)
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """The bar stays as it is."""
        if self._bar is not None:
            self._bar.close()


def _shown(values: dict[str, float]) -> dict[str, float]:
    return {name: values[name] for name in _SHOWN if name in values}


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

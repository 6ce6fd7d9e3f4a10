"""What a run says while it runs: a bar in terminals and notebooks, lines in a file; and TensorBoard's files.

Nothing of it ends a run: what cannot be written is lost."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import terminal

#: Seconds between lines, where there is no bar.
_SECONDS = 60
#: Numbers this process's files for TensorBoard.
_FILES = itertools.count()
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


class TensorBoard:
    """Scalars as TensorBoard reads them; needs the package `tensorboard`, but neither TensorFlow nor torch.

    `warn` is told once if they can no longer be written.

    Raises:
        ImportError: without it.
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path, step: int, warn: Callable[[str], None]) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            raise ImportError("tensorboard = True: needs the package tensorboard; pip install tensorboard") from None
        self._event, self._summary = Event, Summary
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_FILES)}"
        self._path, self._warn, self._fails = folder / name, warn, False
        self._writer = RecordWriter(self._path.open("xb"))
        self._write(file_version="brain.Event:2")
        # What a killed process wrote of this step and later ones is not shown.
        self._write(step=step, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **event: Any) -> None:
        record = self._event(wall_time=time.time(), **event).SerializeToString()
        self._try(lambda: self._writer.write(record))

    def _try(self, write: Callable[[], object]) -> None:
        """What is in the buffer is tried again with what comes next, so that the file stays readable."""
        try:
            write()
        except OSError as error:
            if not self._fails:
                self._fails = True
                self._warn(f"{self._path}: {error.strerror}; points for TensorBoard are missing")

    def scalars(self, prefix: str, number: int, values: dict[str, float]) -> None:
        """Values of a step or of an epoch, by name."""
        found = [self._summary.Value(tag=f"{prefix}/{name}", simple_value=value) for name, value in values.items()]
        self._write(step=number, summary=self._summary(value=found))

    def flush(self) -> None:
        """To the file."""
        self._try(self._writer.flush)

    def close(self) -> None:
        """Ends the file."""
        self._try(self._writer.close)


def _shown(values: dict[str, float]) -> dict[str, float]:
    return {name: values[name] for name in _SHOWN if name in values}


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

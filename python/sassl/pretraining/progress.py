"""What a run says while it runs: a bar in terminals and notebooks, lines in a file; and TensorBoard's files."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

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
        self._bar = None if quiet else _bar(images, done)

    def step(self, epoch: int, images: int, values: dict[str, float]) -> None:
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

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is over."""
        rest = {name: value for name, value in row.items() if name != "epoch"}
        self.note(f"epoch {row['epoch']:.0f}/{self._epochs}: {_told(rest)}")

    def note(self, text: str) -> None:
        """A line of its own."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """The bar stays as it is."""
        if self._bar is not None:
            self._bar.close()


class TensorBoard:
    """Scalars as TensorBoard reads them; needs the package `tensorboard`, but neither TensorFlow nor torch.

    Raises:
        ImportError: without it.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            raise ImportError("tensorboard = True: needs the package tensorboard; pip install tensorboard") from None
        self._event, self._summary = Event, Summary
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter((folder / name).open("wb"))
        self._write(file_version="brain.Event:2")
        # What a killed process wrote of this step and later ones is not shown.
        self._write(step=step, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **event: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **event).SerializeToString())

    def scalars(self, prefix: str, step: int, values: dict[str, float]) -> None:
        """Numbers of a step, by name."""
        found = [self._summary.Value(tag=f"{prefix}/{name}", simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=self._summary(value=found))

    def flush(self) -> None:
        """To the file."""
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()


def _bar(images: int, done: int) -> Any:
    """tqdm's, where somebody looks; None elsewhere."""
    if not sys.stderr.isatty() and not _is_notebook():
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=images, initial=done, unit=" images", smoothing=0.05, dynamic_ncols=True, mininterval=0.5)


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def _shown(values: dict[str, float]) -> dict[str, float]:
    return {name: values[name] for name in _SHOWN if name in values}


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

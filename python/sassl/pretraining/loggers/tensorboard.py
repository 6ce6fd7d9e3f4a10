"""The logger "tensorboard": event files for TensorBoard, in the run's folder."""

from __future__ import annotations

import itertools
import os
import socket
import time
from typing import Any

from .base import LOGGERS, Begun, need

#: A counter of this process's event files, which makes their names unique.
_FILES = itertools.count()


class TensorBoard:
    """Logs scalars such as `step/loss` and `epoch/loss`; requires the package tensorboard, but neither TensorFlow nor torch.

    Raises:
        ImportError: tensorboard is not installed.
    """

    name, needs_folder = "tensorboard", True

    def __init__(self) -> None:
        need("tensorboard", "tensorboard")

    def begin(self, run: Begun) -> None:
        """Open a new event file, which starts with a session event.

        The session event makes TensorBoard hide later steps, logged by a killed process after its last checkpoint.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        assert run.folder is not None
        self._event, self._summary = Event, Summary
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_FILES)}"
        self._writer = RecordWriter((run.folder / name).open("xb"))
        self._write(file_version="brain.Event:2")
        self._write(step=run.step, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **event: Any) -> None:
        """Write an event to the file's buffer, which keeps unwritten bytes after a failure: the file stays readable."""
        self._writer.write(self._event(wall_time=time.time(), **event).SerializeToString())

    def _scalars(self, prefix: str, number: int, values: dict[str, float]) -> None:
        found = [self._summary.Value(tag=f"{prefix}/{name}", simple_value=value) for name, value in values.items()]
        self._write(step=number, summary=self._summary(value=found))

    def step(self, step: int, values: dict[str, float]) -> None:
        """Log the values under `step/`."""
        self._scalars("step", step, values)

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log the values under `epoch/`."""
        self._scalars("epoch", epoch, {name: value for name, value in values.items() if name != "epoch"})
        self._writer.flush()

    def end(self, outcome: str) -> None:
        """Close the file."""
        self._writer.close()


LOGGERS["tensorboard"] = TensorBoard

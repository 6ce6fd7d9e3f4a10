"""A run's folder: `config.json`, `log.csv`, checkpoints; one process at a time, and files that are whole."""

from __future__ import annotations

import csv
import errno
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._sassl import Trainer
from .config import Config
from .history import History


class Folder:
    """Made and locked, or an error and everything as it was.

    Raises:
        FileExistsError: it has a run, and `resume` is not asked for; or another process is at it.
        ValueError: its run has other settings.
        OSError: the system refuses.
    """

    def __init__(self, path: Path, resume: bool, config: Config) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = path / "running"
        self._held = _locked(self._lock)
        try:
            self._begin(resume, config)
        except BaseException:
            self.close()
            raise

    def _begin(self, resume: bool, config: Config) -> None:
        settings = self.path / "config.json"
        if self.last() is not None and not resume:
            raise FileExistsError(
                f"{self.path}: has a run; resume=True (--resume) goes on with it, another folder begins a new one"
            )
        if settings.exists() and resume:
            before = asdict(Config.load(settings))
            for name, value in asdict(config).items():
                if before[name] != value:
                    remedy = "give that, or begin another run in another folder"
                    raise ValueError(f"{name} = {value!r}: the run in {self.path} has {before[name]!r}; {remedy}")
        # What a killed process was writing.
        for part in self.path.glob(".*.part"):
            part.unlink(missing_ok=True)
        config.save(settings)

    def last(self) -> Path | None:
        """The newest checkpoint."""
        return max(self.path.glob("checkpoint-*.safetensors"), default=None)

    def checkpoint(self, trainer: Trainer, metadata: dict[str, str], keep: int) -> None:
        """Writes one, and deletes all but the newest `keep`."""
        name = f"checkpoint-{int(metadata['epoch']):05}-{int(metadata['batch']):07}.safetensors"
        trainer.save(self.path / name, metadata)
        for old in sorted(self.path.glob("checkpoint-*.safetensors"))[:-keep]:
            old.unlink(missing_ok=True)

    def log(self, history: History) -> None:
        """Writes all of it: rows that a killed process left behind are gone."""
        names = list(dict.fromkeys(name for row in history for name in row))
        part = self.path / f".log.{os.getpid()}.part"
        try:
            with part.open("w", newline="") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(history)
            os.replace(part, self.path / "log.csv")
        finally:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        """Another process may have it."""
        self._lock.unlink(missing_ok=True)
        os.close(self._held)


def metadata(config: Config, history: History, epoch: int, batch: int = 0, **parts: Any) -> dict[str, str]:
    """What a checkpoint tells of its run, beside tensors: `epoch` epochs and `batch` batches are behind it."""
    told = {"epoch": epoch, "batch": batch, "config": asdict(config), "history": history, **parts}
    return {name: json.dumps(value) for name, value in told.items()}


def _locked(path: Path) -> int:
    """The file, open and locked: the system unlocks it when the process ends, however it does.

    Raises:
        FileExistsError: another process has it.
        OSError: the system refuses.
    """
    while True:
        held = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            _lock(held)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(held)
                raise OSError(error.errno, error.strerror, os.fspath(path)) from None
            holder = os.read(held, 100).decode(errors="replace") or "unknown"
            os.close(held)
            raise FileExistsError(
                f"{path.parent}: process {holder} is at this run; choose another folder, or wait until it ends"
            ) from None
        try:
            # One that is closing the folder may have unlinked what was opened here.
            if os.path.samestat(os.fstat(held), os.stat(path)):
                os.ftruncate(held, 0)
                os.write(held, str(os.getpid()).encode())
                return held
            os.close(held)
        except FileNotFoundError:
            os.close(held)
        except OSError as error:
            path.unlink(missing_ok=True)
            os.close(held)
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

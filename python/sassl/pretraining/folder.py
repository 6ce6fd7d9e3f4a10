"""A run's folder: `config.json`, `run.json`, `log.csv`, checkpoints and styles.

Only one process at a time uses the folder, and these files are written atomically. The folder may contain other files. A run's
own files are recognized by exact name and by contents; all other files are left alone. A run does not begin if another file has
a name that the run needs.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._sassl import checkpoint_metadata, load_styles, write_file
from ..transforms import style_sources
from .config import Config
from .engines import Engine
from .history import CHECKPOINT, History
from .lock import Lock
from .loggers import KEPT, is_kept
from .view_settings import compared, first_apart, kept

#: Partial files of a killed process, as `src/files.rs` names them.
_PART = re.compile(r"\.sassl-[0-9a-f]{16}\.part")


#: The file for styles that the settings do not name, such as images in memory.
STYLES = "styles.safetensors"
#: The file that records the location of the run's images, and each prolongation of the run to more epochs.
RUN = "run.json"


class Folder:
    """A run's folder, which is created if necessary, and locked against other processes.

    If the folder holds another run, an error is raised, and the files of that run are left unchanged.

    Args:
        path: the folder.
        resume: whether to resume the run in the folder, if there is one.
        config: the settings of the run.
        styles: a style source without a name, such as images in memory, to be stored in the folder; None: there is none.
        data: the path or pattern of the images, to be recorded for a resume; None: the images have no path.

    Attributes:
        unlocked: the reason why the folder is not locked; None if it is locked.
        prolonged: the total number of epochs recorded in the last checkpoint, if `config` asks for more; else None.

    Raises:
        FileExistsError: the folder has a run, and `resume` is false; another process uses the folder; or another file has a
            name that the run needs.
        ValueError: the run in the folder has other settings; a checkpoint's contents do not match its name.
        OSError: the folder cannot be created, read or written.
    """

    def __init__(
        self,
        path: Path,
        resume: bool,
        config: Config,
        styles: style_sources.Source = None,
        data: str | None = None,
    ) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(path / ".sassl.lock")
        self.unlocked = self._lock.missing
        self.prolonged: int | None = None
        #: Checkpoints of this run, newest last.
        self._checkpoints: list[Path] = []
        try:
            self._begin(resume, config, styles, data)
        except BaseException:
            self.close()
            raise

    def _begin(self, resume: bool, config: Config, styles: style_sources.Source, data: str | None) -> None:
        settings = self.path / "config.json"
        found = [path for path in self.path.iterdir() if CHECKPOINT.fullmatch(path.name)]
        if not resume:
            check_free(self.path)
        if not found:
            self._check_files(config, styles is not None)
        _check_ours(self.path / RUN, _is_run)
        self._checkpoints = sorted(found, key=_place)
        if resume and settings.exists():
            _check_same(config, Config.load(settings), f"the run in {self.path}")
        if self.last is not None:
            before = Config.of(json.loads(checkpoint_metadata(self.last)["config"]))
            _check_same(config, before, os.fspath(self.last))
            if before.schedule.epochs < config.schedule.epochs:
                self.prolonged = before.schedule.epochs
        # Without a lock, another process may be writing.
        if self.unlocked is None:
            self._sweep()
        style_sources.save(styles, self.path / STYLES)
        config.save(settings)
        self._record(config, data)

    def _record(self, config: Config, data: str | None) -> None:
        """Record the location of the images, and each prolongation of the run, in `run.json`."""
        told = _recorded(self.path)
        if data is not None:
            told["data"] = data
        if self.prolonged is not None and self.last is not None:
            others = [one for one in told.get("prolonged", []) if one["after"] != self.last.name]
            now = {"after": self.last.name, "epochs": self.prolonged, "to": config.schedule.epochs}
            told["prolonged"] = [*others, now]
        if told:
            write_file(self.path / RUN, (json.dumps(told, indent=2) + "\n").encode())

    def _check_files(self, config: Config, has_styles: bool) -> None:
        """Check that each file to be written does not exist yet, or was written by a run."""
        names: dict[str, Callable[[Path], bool]] = {"config.json": _is_settings, "log.csv": _is_log, KEPT: is_kept}
        if has_styles:
            names[STYLES] = lambda path: _is_kept(path, config)
        for name, is_ours in names.items():
            _check_ours(self.path / name, is_ours)

    def _sweep(self) -> None:
        """Delete the partial files of a killed process."""
        for path in self.path.iterdir():
            if _PART.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
                path.unlink(missing_ok=True)

    @property
    def last(self) -> Path | None:
        """The newest checkpoint."""
        return self._checkpoints[-1] if self._checkpoints else None

    def checkpoint(self, engine: Engine, metadata: dict[str, str], keep: int) -> None:
        """Write a checkpoint, and delete all but the newest `keep`. Symbolic links are kept: only users create them."""
        name = f"checkpoint-{int(metadata['epoch']):05}-{int(metadata['batch']):07}.safetensors"
        engine.save(self.path / name, metadata)
        self._checkpoints = [path for path in self._checkpoints if path.name != name] + [self.path / name]
        for old in self._checkpoints[:-keep]:
            if not old.is_symlink():
                # The new checkpoint is written even if the old one cannot be deleted.
                with suppress(OSError):
                    old.unlink()
        self._checkpoints = self._checkpoints[-keep:]

    def close(self) -> None:
        """Release the folder for other processes."""
        self._lock.close()


def check_free(path: Path, remedy: str = "resume=True (--resume) resumes it, another folder starts a new one") -> None:
    """Raise a FileExistsError if a folder has checkpoints or the log of a run."""
    if _is_log(path / "log.csv") or has_checkpoint(path):
        raise FileExistsError(f"{path}: has a run; {remedy}")


def has_checkpoint(path: Path) -> bool:
    """Return whether a folder has a checkpoint to resume from."""
    return path.is_dir() and any(CHECKPOINT.fullmatch(one.name) for one in path.iterdir())


def data_of(path: Path) -> str | None:
    """The location of the training images, as recorded in a run's folder; None if there is no record."""
    data = _recorded(path).get("data")
    return data if isinstance(data, str) else None


def _recorded(path: Path) -> dict[str, Any]:
    """The contents of `run.json`; an empty dict if there is no such file."""
    return json.loads((path / RUN).read_text()) if _is_run(path / RUN) else {}


def metadata(config: Config, history: History, epoch: int, batch: int = 0, **parts: Any) -> dict[str, str]:
    """The metadata of a checkpoint after `epoch` epochs and `batch` batches of the next epoch; `parts` are further entries."""
    told = {"epoch": epoch, "batch": batch, "config": config.nested(), "history": history, **parts}
    return {name: json.dumps(value) for name, value in told.items()}


def _place(path: Path) -> tuple[int, int]:
    """The number of completed epochs, and of completed batches of the next epoch, from a checkpoint's metadata.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a checkpoint of a run, is damaged, or has a name that contradicts its metadata.
    """
    told = checkpoint_metadata(path)
    if "loader" not in told:
        raise ValueError(f"{path}: was written by `save`, which keeps no place in a run; `fit` keeps it in its folder")
    place = json.loads(told["epoch"]), json.loads(told["batch"])
    named = CHECKPOINT.fullmatch(path.name)
    if named is None or place != tuple(map(int, named.groups())):
        raise ValueError(
            f"{path}: is of epoch {place[0]}, batch {place[1]}, which its name does not say; give a copy a name of its own"
        )
    return place


def _check_same(config: Config, before: Config, place: str) -> None:
    here, there, was = compared(config), compared(before), before.flat()
    for name, given in config.flat().items():
        value = repr(given)
        if name not in there or there[name] != here[name]:
            told = repr(was[name]) if name in was else f"none, being of {before.method.name} on {before.backbone.name}"
            if name == "views" and (apart := first_apart(here[name], there[name])):
                name, value, told = apart
            if name == "epochs" and given > was[name]:
                continue
            remedy = "give that, or start another run in another folder"
            if name == "epochs":
                remedy = "a run may be prolonged, but not shortened; " + remedy
            raise ValueError(f"{name} must be {told} as in {place}, got {value}; {remedy}")


def _check_ours(path: Path, is_ours: Callable[[Path], bool]) -> None:
    if os.path.lexists(path) and not (path.is_file() and is_ours(path)):
        raise FileExistsError(f"{path}: not of a run, which would write its own there; choose another folder")


def _is_run(path: Path) -> bool:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and bool(found) and found.keys() <= {"data", "prolonged"}


def _is_settings(path: Path) -> bool:
    try:
        Config.load(path)
    except (OSError, ValueError):
        return False
    return True


def _is_kept(path: Path, config: Config) -> bool:
    """Return whether a styles file belongs to `config`, or to the settings in the `config.json` of the same folder."""
    try:
        found = style_sources.checksum(load_styles(path))
    except (OSError, ValueError):
        return False
    settings = path.with_name("config.json")
    return found in kept(config) or (_is_settings(settings) and found in kept(Config.load(settings)))


def _is_log(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            columns = file.readline(1 << 16).rstrip().split(b",")
    except OSError:
        return False
    return columns[0] == b"epoch" and b"images_per_second" in columns

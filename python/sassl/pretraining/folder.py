"""A run's folder: `config.json`, `run.json`, `log.csv`, checkpoints, styles; one process at a time, and files that are whole.

The folder may hold what others put there. Files are known by their exact names and by what is in them; whatever else there
is stays as it is, and where a name of ours is another's file, nothing begins.
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

#: What a killed process was writing: names of `src/files.rs`.
_PART = re.compile(r"\.sassl-[0-9a-f]{16}\.part")


#: Styles that no name in the settings tells.
STYLES = "styles.safetensors"
#: Where the images of the run are, and when it was prolonged.
RUN = "run.json"


class Folder:
    """Made and locked, or an error and everything as it was.

    Args:
        path: of the folder.
        resume: whether it may have a run.
        config: the settings.
        styles: those that no name in the settings tells, which are kept; None where there are none.
        data: the path or pattern of the images, which is kept for a resume; None where there is none.

    Attributes:
        unlocked: why the folder is not locked, None if it is.
        prolonged: the epochs that the run had at its last checkpoint, where these are fewer than now; else None.

    Raises:
        FileExistsError: it has a run, and `resume` is not asked for; another process is at it; or a name that the run needs
            is another's file.
        ValueError: its run has other settings; a checkpoint is not what its name says.
        OSError: the system refuses.
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
        #: Checkpoints of this run, the newest one last.
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
        # Where nothing is locked, another process may be writing.
        if self.unlocked is None:
            self._sweep()
        style_sources.save(styles, self.path / STYLES)
        config.save(settings)
        self._record(config, data)

    def _record(self, config: Config, data: str | None) -> None:
        """Writes where the images are, and each checkpoint after which the run was prolonged."""
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
        """What is to be written is ours, or not there."""
        names: dict[str, Callable[[Path], bool]] = {"config.json": _is_settings, "log.csv": _is_log, KEPT: is_kept}
        if has_styles:
            names[STYLES] = lambda path: _is_kept(path, config)
        for name, is_ours in names.items():
            _check_ours(self.path / name, is_ours)

    def _sweep(self) -> None:
        """Deletes what a killed process was writing."""
        for path in self.path.iterdir():
            if _PART.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
                path.unlink(missing_ok=True)

    @property
    def last(self) -> Path | None:
        """The newest checkpoint."""
        return self._checkpoints[-1] if self._checkpoints else None

    def checkpoint(self, engine: Engine, metadata: dict[str, str], keep: int) -> None:
        """Writes one, and deletes all but the newest `keep`; links, which others made, stay."""
        name = f"checkpoint-{int(metadata['epoch']):05}-{int(metadata['batch']):07}.safetensors"
        engine.save(self.path / name, metadata)
        self._checkpoints = [path for path in self._checkpoints if path.name != name] + [self.path / name]
        for old in self._checkpoints[:-keep]:
            if not old.is_symlink():
                # The new one is written, whatever becomes of the old.
                with suppress(OSError):
                    old.unlink()
        self._checkpoints = self._checkpoints[-keep:]

    def close(self) -> None:
        """Another process may have it."""
        self._lock.close()


def check_free(
    path: Path, remedy: str = "resume=True (--resume) goes on with it, another folder begins a new one"
) -> None:
    """Raises a FileExistsError for a folder that has checkpoints or the log of a run."""
    if _is_log(path / "log.csv") or has_checkpoint(path):
        raise FileExistsError(f"{path}: has a run; {remedy}")


def has_checkpoint(path: Path) -> bool:
    """Tells whether a run in this folder can go on."""
    return path.is_dir() and any(CHECKPOINT.fullmatch(one.name) for one in path.iterdir())


def data_of(path: Path) -> str | None:
    """Where the images of the run in a folder are; None where the run has not recorded it."""
    data = _recorded(path).get("data")
    return data if isinstance(data, str) else None


def _recorded(path: Path) -> dict[str, Any]:
    """What a run's folder records beside its settings; nothing where there is no such file."""
    return json.loads((path / RUN).read_text()) if _is_run(path / RUN) else {}


def metadata(config: Config, history: History, epoch: int, batch: int = 0, **parts: Any) -> dict[str, str]:
    """What a checkpoint tells of its run, beside tensors: `epoch` epochs and `batch` batches are behind it."""
    told = {"epoch": epoch, "batch": batch, "config": config.nested(), "history": history, **parts}
    return {name: json.dumps(value) for name, value in told.items()}


def _place(path: Path) -> tuple[int, int]:
    """The epochs and batches behind a checkpoint, as itself says.

    Raises:
        OSError: it cannot be read.
        ValueError: no checkpoint of a run, a damaged one, or one that another name would fit.
    """
    told = checkpoint_metadata(path)
    if "loader" not in told:
        raise ValueError(f"{path}: written by `save`, which keeps no place in a run; `fit` keeps it in its folder")
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
            remedy = "give that, or begin another run in another folder"
            if name == "epochs":
                remedy = "a run may be prolonged, and not shortened; " + remedy
            raise ValueError(f"{name} = {value}: {place} has {told}; {remedy}")


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
    """Whether styles are those of these settings, or those that a run in the same folder told of and did not begin with."""
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

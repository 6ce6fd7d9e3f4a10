"""The training loop over epochs and batches, with learning rates, checkpoints and logging."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from .._sassl import checkpoint_metadata, cosine_rate
from ..data import TwoViewLoader
from ..data.ranks import check_same
from ..evaluation import Encoder
from ..progress import Progress
from ..transforms.views import Views
from . import beginning, memory
from .batches import check_first, skip, targets
from .config import Config
from .engines import Engine, Rates
from .folder import Folder, metadata
from .history import History
from .loggers import Epochs, Logger, Loggers
from .monitor import Monitor
from .stopping import Stopping
from .timing import EpochSoFar, Pace

#: The interval, in steps, at which loggers receive values.
_POINTS = 10


class Learner(Encoder, Protocol):
    """A protocol for the model that a run trains, such as an instance of a class in `methods/`."""

    history: History
    engine: Engine
    #: The transform of the views that the model is trained on.
    transform: Views


class Loop:
    """The training of a model on the batches of a loader; `run` may be called only once.

    `keep`, `checkpoint_every`, `on_epoch`, `on_step` and `quiet` are as in `Pretraining.fit`.
    """

    def __init__(
        self,
        model: Learner,
        config: Config,
        loader: Any,
        *,
        folder: Folder | None,
        keep: int,
        checkpoint_every: int | None,
        monitor: Monitor | None,
        loggers: Sequence[Logger],
        stopping: Stopping,
        on_epoch: Callable[[Any, dict[str, float]], object] | None,
        on_step: Callable[[Any, dict[str, float]], object] | None,
        quiet: bool,
    ) -> None:
        self._model, self._config, self._loader, self._folder = model, config, loader, folder
        self._keep, self._checkpoint_every = keep, checkpoint_every
        self._monitor, self._asked, self._stopping = monitor, loggers, stopping
        self._on_epoch, self._on_step, self._quiet = on_epoch, on_step, quiet
        self._batches = len(loader)
        # The caller's batches are checked against the settings once; those of our loader need no check.
        self._is_checked = isinstance(loader, TwoViewLoader)
        self._unreadable: set[str] = set()
        #: The running totals of the current epoch.
        self.so_far = EpochSoFar()
        #: The speed of the first steps.
        self.pace = Pace()
        # Rows of epochs that the loggers have not received yet.
        self._rows: list[dict[str, float]] = []
        # Whether the values in an epoch's line have been explained.
        self._are_words_told = False
        # The engine of the checkpoint that the run resumes from.
        self._was: str | None = None
        # The epoch, the batch index and the values of the last step; None if the values have been read.
        self._ahead: tuple[int, int, dict[str, SupportsFloat]] | None = None

    def run(self, resume: bool) -> None:
        """Run all epochs; with `resume`, only the rest of the run after the last checkpoint."""
        epochs, batch_size = self._config.schedule.epochs, self._config.data.batch_size
        self._check_ranks()
        start, place = self._resume() if resume else (0, 0)
        if start == 0 and place == 0:
            self._model.history = History()
        done = start * self._batches + place
        progress = Progress(epochs, batch_size * self._batches * epochs, batch_size * done, self._quiet)
        self._loggers = Loggers(self._told(), progress.warn)
        outcome = "failed"
        try:
            self._begin(progress, done, resume)
            self.pace = Pace()
            with self._stopping.hearing():
                try:
                    for epoch in range(start, epochs):
                        self._epoch(epoch, place, progress)
                        place = 0
                    outcome = "finished"
                except KeyboardInterrupt:
                    outcome = "stopped"
                    raise
                finally:
                    # While signals are still caught: a launcher sends SIGTERM to processes that have not ended yet.
                    self._loggers.end(outcome)
        finally:
            if self._monitor is not None:
                self._monitor.forget()
            progress.close()

    def _told(self) -> list[Logger]:
        """The loggers of this process: all loggers of the run on rank 0, none on other ranks."""
        if self._model.engine.ranks.rank:
            return []
        return [*([] if self._folder is None else [Epochs()]), *self._asked]

    def _begin(self, progress: Progress, done: int, resume: bool) -> None:
        """Print the notes before the first step, and begin the loggers."""
        engine, folder = self._model.engine, self._folder
        if folder is not None and folder.unlocked is not None:
            progress.warn(f"{folder.path}: not locked ({folder.unlocked}); use it from one process only")
        estimate = memory.check(self._config, engine, progress.warn)
        if folder is not None and folder.prolonged is not None:
            progress.warn(beginning.prolonged(self._config, folder.prolonged))
        for told in beginning.notes(self._config):
            progress.note(told)
        progress.note(f"engine: {engine}" if estimate is None else f"engine: {engine}; memory, estimated: {estimate}")
        if (unused := beginning.unused_gpu(engine.name)) is not None:
            progress.note(unused)
        if self._was not in (None, engine.name):
            progress.note(f'the checkpoint is from engine="{self._was}"; the run resumes with "{engine.name}"')
        settings, error = {**self._config.flat(), "engine": str(engine)}, None
        path = None if folder is None else folder.path
        try:
            self._loggers.begin(settings, path, done, self._model.history, resume)
        except Exception as raised:
            error = raised
        engine.ranks.fail(error)

    def _check_ranks(self) -> None:
        """Check that all ranks have the same data. A rank with fewer batches would leave the other ranks waiting."""
        ranks = self._model.engine.ranks
        if ranks.world_size == 1:
            return
        check_same(ranks, "len(data)", self._batches)
        check_same(ranks, "TwoViewLoader", isinstance(self._loader, TwoViewLoader))
        if isinstance(self._loader, TwoViewLoader):
            error, n = None, self._loader.world_size
            if n != ranks.world_size:
                error = ValueError(f"data must be a loader of {ranks.world_size} ranks, as the engine has, got {n}")
            ranks.fail(error)
            state = self._loader.state_dict()
            check_same(ranks, "data", {name: value for name, value in state.items() if name != "kernels"})

    def _epoch(self, epoch: int, place: int, progress: Progress) -> None:
        """Run an epoch from batch `place` to the last batch."""
        loader, folder, ranks = self._loader, self._folder, self._model.engine.ranks
        native = isinstance(loader, TwoViewLoader)
        if native and place == 0:
            loader.set_epoch(epoch)
        self.so_far.go_on()
        self._stopping.begin_epoch()
        done = place
        # A checkpoint may be between the last batch and the end of the epoch.
        rest = () if place == self._batches else loader if native or place == 0 else skip(loader, place)
        for batch in self.so_far.batches(rest):
            if done == self._batches:
                self._tell_of_length(progress, epoch, f"more than {done}; the rest is ignored")
                break
            images, values = self._learn(batch, epoch, done)
            done += 1
            step = epoch * self._batches + done
            progress.after_step(epoch, images, values)
            if self._on_step is not None:
                self._on_step(self._model, {"step": step, "epoch": epoch + 1, **values})
            self._stopping.after_step()
            if self.pace.after_step(self.so_far.waited):
                steps, seconds, _ = self.pace.found()
                speed = steps * self._config.data.batch_size / seconds
                progress.note(beginning.duration(self._config, self._batches, speed, step))
            ends = self._stopping.is_due(ranks, "epoch" if done == self._batches else "step", "checkpoint")
            if folder is not None and (ends or (self._checkpoint_every and step % self._checkpoint_every == 0)):
                self._checkpoint(epoch, done, progress, is_last=ends)
            if ends:
                raise self._stopping.stop(ranks)
        if native:
            self._tell_of_unreadable(progress)
        if done == 0:
            raise ValueError(f"epoch {epoch + 1}: the data gave no batch; each epoch iterates over it anew")
        if done < self._batches and ranks.world_size > 1:
            raise ValueError(
                f"epoch {epoch + 1}: only {done} of {self._batches} batches arrived, while other ranks wait for theirs"
            )
        if done < self._batches:
            self._tell_of_length(
                progress, epoch, f"{done}; the learning rate continues as if the others had been yielded"
            )
        with self._stopping.timing("epoch"):
            self._end_epoch(epoch, place, done, progress)
        # Signals since the last step; the checkpoint is already written.
        if self._stopping.is_due(ranks, *(() if epoch + 1 == self._config.schedule.epochs else ("step", "checkpoint"))):
            raise self._stopping.stop(ranks)

    def _learn(self, batch: Any, epoch: int, done: int) -> tuple[int, dict[str, float]]:
        """Take a step on the batch with index `done`; return the number of images over all ranks, and the values of a step.

        These are the values of the step just taken. One exception: with an engine that works ahead, they are the previous
        step's values, or {} if there are none, unless the step is the last of its epoch or there is an `on_step`.
        """
        with self.so_far.views():
            left, right = self._model.engine.views(batch)
        if not isinstance(self._loader, TwoViewLoader) and self._model.engine.ranks.world_size > 1:
            check_same(self._model.engine.ranks, f"rows of batch {done + 1}", len(left))
        if not self._is_checked:
            self._is_checked = True
            check_first(batch, self._model.transform, self._model.normalize, self._config.data.batch_size)
        labels = None if self._monitor is None else self._monitor.labels(targets(batch), len(left))
        with self.so_far.step():
            values, features = self._step(left, right, epoch, done)
            if self._monitor is not None and labels is not None:
                self._monitor.keep(np.asarray(features), labels)
            told = self._look()
            self._ahead = (epoch, done, values)
            # The values of an engine that works ahead are read one step late, so that it never waits, except at the end of an
            # epoch.
            if isinstance(values["loss"], float) or self._on_step is not None or done + 1 == self._batches:
                told = self._look()
        images = len(left) * self._model.engine.ranks.world_size
        self.so_far.after_step(images)
        return images, told

    def _look(self) -> dict[str, float]:
        """Read the last step's values, add them to the epoch's totals, and return them; {} if there are no unread values."""
        if self._ahead is None:
            return {}
        (epoch, done, values), self._ahead = self._ahead, None
        with self._naming(epoch, done):
            told = {name: float(value) for name, value in values.items()}
            if not math.isfinite(told["loss"]):
                raise ValueError(f"loss must be finite, got {told['loss']}")
        self.so_far.add(told)
        if (step := epoch * self._batches + done + 1) % _POINTS == 0:
            self._loggers.step(step, {**told, **self.so_far.lately()})
        return told

    @contextmanager
    def _naming(self, epoch: int, done: int) -> Iterator[None]:
        """Within the block, add the epoch, the batch and the last checkpoint to the message of a ValueError."""
        try:
            yield
        except ValueError as error:
            last = self._folder.last if self._folder is not None else None
            after = f"; the last checkpoint is {last}" if last is not None else ""
            raise ValueError(f"epoch {epoch + 1}, batch {done + 1}: {error}{after}") from None

    def _end_epoch(self, epoch: int, place: int, done: int, progress: Progress) -> None:
        """Append the epoch's row to the history, measure the accuracies if that is due, and write a checkpoint."""
        model = self._model
        self._look()
        row, images = self.so_far.row(epoch, done), self.so_far.images
        self.so_far = EpochSoFar()
        model.history.append(row)
        self._rows.append(row)
        try:
            if self._monitor is not None and self._monitor.is_due(epoch, self._config.schedule.epochs, images):
                if place:
                    progress.note(f"epoch {epoch + 1}: not monitored: its features up to batch {place} were not saved")
                else:
                    found, told = self._monitor.measure_on(model, model.engine.ranks)
                    row.update(found)
                    for text in told:
                        progress.note(f"epoch {epoch + 1}: {text}")
        finally:
            if self._monitor is not None:
                self._monitor.forget()
            if self._folder is not None:
                self._checkpoint(epoch + 1, 0, progress, is_last=epoch + 1 == self._config.schedule.epochs)
            else:
                self._tell_rows()
        if not self._are_words_told:
            self._are_words_told = True
            progress.note(beginning.words(row))
        progress.after_epoch(row)
        if self._on_epoch is not None:
            self._on_epoch(model, row)

    def _tell_of_unreadable(self, progress: Progress) -> None:
        """Report the unreadable images that were replaced, each once per run."""
        used = set(self._loader.damaged)
        for name, (why, _) in self._loader.report.items():
            if name not in self._unreadable and name not in used:
                self._unreadable.add(name)
                progress.note(f"{name}: {why.removeprefix(f'{name}: ')}; replaced by another image")

    def _tell_of_length(self, progress: Progress, epoch: int, told: str) -> None:
        name = type(self._loader).__name__
        progress.warn(f"epoch {epoch + 1}: len({name}) is {self._batches} batches, but it yielded {told}")

    def _step(
        self, left: NDArray[np.float32], right: NDArray[np.float32], epoch: int, done: int
    ) -> tuple[dict[str, SupportsFloat], Any]:
        """Compute a step; return its metrics, and the left views' features."""
        rate = rates(self._config, epoch * self._batches + done, self._batches)
        with self._naming(epoch, done):
            loss, watched, features = self._model.engine.step(left, right, rate)
        values = {"loss": loss, "lr": rate.lr, **watched}
        if rate.momentum is not None:
            values["encoder_momentum"] = rate.momentum
        return values, features

    def _checkpoint(self, epoch: int, batch: int, progress: Progress, is_last: bool) -> None:
        """Write a checkpoint. A failure (full disk) is only a warning, except for the first and the last checkpoint."""
        assert self._folder is not None
        self._look()
        loader = self._loader.state_dict() if isinstance(self._loader, TwoViewLoader) else None
        so_far = self.so_far.state()
        told = metadata(self._config, self._model.history, epoch, batch, loader=loader, so_far=so_far)
        try:
            with self._stopping.timing("checkpoint"):
                self._folder.checkpoint(self._model.engine, told, self._keep)
        except OSError as error:
            if is_last or self._folder.last is None:
                raise
            progress.warn(f"no checkpoint after epoch {epoch}, batch {batch}: {error}; {self._folder.last} is kept")
            return
        self._tell_rows()

    def _tell_rows(self) -> None:
        """Pass the waiting rows to the loggers. In a run with a folder, the rows wait until a checkpoint contains them."""
        rows, self._rows = self._rows, []
        for row in rows:
            self._loggers.epoch(int(row["epoch"]), row)

    def _resume(self) -> tuple[int, int]:
        """Load the last checkpoint; return its epoch and batch, or (0, 0) if there is no checkpoint."""
        path = self._folder.last if self._folder is not None else None
        if path is None:
            return 0, 0
        told = checkpoint_metadata(path)
        found = {name: json.loads(told[name]) for name in ("history", "epoch", "batch", "loader", "so_far")}
        epoch, batch = found["epoch"], found["batch"]
        if (found["loader"] is not None) != isinstance(self._loader, TwoViewLoader):
            was = "sassl's loader" if found["loader"] is not None else "another loader"
            raise ValueError(f"{path}: is of other data; its batches are from {was}, give the same")
        if isinstance(self._loader, TwoViewLoader):
            try:
                self._loader.load_state_dict({**found["loader"], "epoch": epoch, "batch": batch})
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        self._was = self._model.engine.load(path)["engine"]
        self._model.history = History(found["history"])
        self.so_far = EpochSoFar(**found["so_far"])
        return epoch, batch


def rates(config: Config, step: int, batches: int) -> Rates:
    """The scheduled rates of the step with index `step`, counted from 0 over the whole run.

    An epoch has `batches` steps. A smaller last batch has the same rates as a full batch.
    """
    schedule = config.schedule
    total, warmup = schedule.epochs * batches, beginning.warmup(config) * batches
    # The warm-up is per step in either case: per epoch, the first epoch would have a rate of 0.
    at = step // batches * batches if schedule.schedule_by == "epoch" and step >= warmup else step
    lr = cosine_rate(config.peak_lr, warmup, total, at)
    return Rates(lr, config.peak_lr, config.method.momentum(step, total))

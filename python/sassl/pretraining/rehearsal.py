"""A dry run: the first steps of a run, by the same training loop, without writing anything."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from ..data import TwoViewLoader
from ..data.ranks import Ranks
from . import memory
from .beginning import seconds_of_epoch
from .config import Config
from .engines import Engine
from .loop import Loop
from .memory import Memory
from .stopping import Stopping

#: Timing of the loader without steps: the number of measured batches, the number of unmeasured, prefetched batches at the
#: start, and the maximum time in seconds.
_BATCHES, _AHEAD, _SECONDS_OF_DATA = 10, 4, 20


@dataclass(frozen=True)
class DryRun:
    """The results of a dry run.

    `str` returns the settings followed by a summary of the engine, memory, speed and estimated duration.

    Attributes:
        config: the settings of the run.
        engine: a description of the engine that computed the steps.
        batches: the number of batches per epoch.
        steps: the number of measured steps, without the warm-up steps.
        images_per_second: the throughput of all ranks.
        data_wait: the fraction of the measured time that was spent waiting for batches.
        views_per_second: images per second of sassl's loader without training steps; None: not measured, since the
            batches are from another loader, or there are too few batches.
        estimate: the estimated memory of each process, without its libraries; None: there is no estimate.
        memory: peak memory of this process and of its GPU in bytes, by name.
    """

    config: Config
    engine: str
    batches: int
    steps: int
    images_per_second: float
    data_wait: float
    views_per_second: float | None
    estimate: Memory | None
    memory: dict[str, int]

    @property
    def hours(self) -> float:
        """The estimated duration of all epochs in hours, without monitors and checkpoints."""
        return seconds_of_epoch(self.config, self.batches, self.images_per_second) * self.config.schedule.epochs / 3600

    def __str__(self) -> str:
        size, epochs = self.config.data.batch_size, self.config.schedule.epochs
        used = ", ".join(f"{n / 2**30:.2f} GiB of {whose}" for whose, n in self.memory.items())
        lines = [
            str(self.config),
            f"engine: {self.engine}",
            *([] if self.estimate is None else [f"memory, estimated: {self.estimate}"]),
            f"peak memory: {used or 'not known on this system'}",
            f"speed: {self.images_per_second:.4g} images/s over {self.steps} steps of {size} images, "
            f"{self.data_wait:.1%} of the time waiting for data",
            *([] if self.views_per_second is None else [f"data loading only: {self.views_per_second:.4g} images/s"]),
            f"run: {epochs} epochs of {self.batches} batches, {self.hours:.3g} hours without monitors and checkpoints",
        ]
        return "\n".join(lines)


def dry_run(
    model: Any, data: Any, epochs: int | None = None, *, batch_size: int | None = None, on_error: str = "raise"
) -> DryRun:
    """Take the first 25 steps of `model.fit(data, epochs, batch_size=...)`, or all steps of a shorter run.

    The dry run also ends once two minutes have passed and 3 steps are complete. The steps change the model's weights: create a
    new model for the run.

    Args:
        model: a `Pretraining`.
        data, epochs, batch_size, on_error: as in `fit`.

    Raises:
        TypeError, ValueError, OSError: as in `fit`.
        KeyboardInterrupt: Ctrl-C, or another signal that ends a run.
    """
    steps = _Steps()
    config, loader, transform = model.prepared(data, epochs, batch_size, on_error)
    estimate = _estimate(config, model.engine)
    history, model.run, model.transform = model.history, config, transform
    steps.loop = Loop(
        model,
        config,
        loader,
        folder=None,
        keep=1,
        checkpoint_every=None,
        monitor=None,
        loggers=(),
        stopping=steps,
        on_epoch=None,
        on_step=None,
        quiet=True,
    )
    try:
        steps.loop.run(False)
    except _EnoughError:
        pass
    except Exception as error:
        model.engine.ranks.lost(error)
        raise
    finally:
        model.history = history
    measured, seconds, waited = steps.loop.pace.found()
    speed = measured * config.data.batch_size / seconds
    views = _views(loader) if isinstance(loader, TwoViewLoader) else None
    used = _memory(model.engine)
    return DryRun(config, str(model.engine), len(loader), measured, speed, waited / seconds, views, estimate, used)


class _EnoughError(Exception):
    """Raised after the last step of a dry run."""


class _Steps(Stopping):
    """Stops a run when enough steps have been measured."""

    loop: Loop

    def is_due(self, ranks: Ranks, *ahead: str) -> bool:
        """Return whether enough steps have been measured, or any rank has received a signal."""
        return super().is_due(ranks) or ranks.agree(self.loop.pace.is_known)

    def stop(self, ranks: Ranks) -> BaseException:
        """The exception that ends the run."""
        return super().stop(ranks) if any(ranks.gather(bool(self._signals))) else _EnoughError()


def _views(loader: TwoViewLoader) -> float | None:
    """The loader's throughput over all ranks, in images per second; None if there are too few batches.

    All ranks are assumed to be as fast as this rank.
    """
    ends_at = time.perf_counter() + _SECONDS_OF_DATA
    marks = []
    loader.set_epoch(0)
    for _ in loader:
        marks.append(time.perf_counter())
        if len(marks) == _AHEAD + _BATCHES or marks[-1] > ends_at:
            break
    if len(marks) <= _AHEAD:
        return None
    seconds = max(marks[-1] - marks[_AHEAD - 1], 1e-9)
    return (len(marks) - _AHEAD) * loader.batch_size * loader.world_size / seconds


def _estimate(config: Config, engine: Engine) -> Memory | None:
    how = engine.how()
    try:
        return None if how is None else memory.estimate(config, **how)
    except ValueError:
        # There is no estimate for some third-party backbones; the run itself warns about it.
        return None


def _memory(engine: Engine) -> dict[str, int]:
    """Peak memory in bytes: of this process according to the system, and of its GPU according to torch."""
    found: dict[str, int] = {}
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        found["this process"] = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    device = getattr(engine, "device", None)
    if getattr(device, "type", None) == "cuda":
        import torch

        found[str(device)] = torch.cuda.max_memory_allocated(device)
    return found

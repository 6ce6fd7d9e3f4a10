"""Notes at the start of a run: settings with side effects, and explanations of the values in its log."""

from __future__ import annotations

from collections.abc import Iterable
from glob import glob

from ..progress import clock
from ..transforms.operations import size
from .config import Config
from .history import TITLES

#: A stem is too coarse if the views' shorter side is at most `_SMALL` pixels and the stem's stride at least `_COARSE` pixels.
_SMALL, _COARSE = 64, 4
#: Explanations of the logged values that neither a method nor a monitor reports.
_WORDS = {
    "loss": "mean over the steps",
    "encoder_momentum": "EMA coefficient of the momentum encoder",
    "images_per_second": "throughput of all ranks",
    "data_wait": "fraction of the time spent waiting for a batch",
    "views_seconds": "the engine's time for the views of a batch",
    "step_seconds": "the engine's time for a step",
}


def notes(config: Config) -> list[str]:
    """The lines about a run's settings that are printed before its first step."""
    return [line for line in (stem_warning(config), warmup_warning(config), chance(config)) if line is not None]


def stem_warning(config: Config) -> str | None:
    """A warning if ImageNet's stem would shrink small views too much, else None."""
    backbone, side = config.backbone, min(size(config.data.input_size, "input_size"))
    if side > _SMALL or backbone.stem_stride < _COARSE:
        return None
    remedy = "; use small_stem=True for such views" if "small_stem" in backbone.settings else ""
    left = -(-side // backbone.stem_stride)
    return f"{backbone.name}: its stem is ImageNet's, and reduces views of {side} pixels to maps of {left}{remedy}"


def warmup(config: Config) -> int:
    """The number of epochs in which the learning rate rises; the last epoch is never one of them."""
    return min(config.schedule.warmup_epochs, config.schedule.epochs - 1)


def warmup_warning(config: Config) -> str | None:
    """A warning if the warm-up is as long as the run or longer, else None."""
    asked, epochs = config.schedule.warmup_epochs, config.schedule.epochs
    if warmup(config) == asked:
        return None
    return f"warmup_epochs = {asked}: the run has {epochs} epochs, and the warm-up is shortened to {warmup(config)}"


def chance(config: Config) -> str | None:
    """A line with the loss at chance level, that is, for indistinguishable views; None if the method has no such value."""
    found = config.method.chance(config.data.batch_size)
    if found is None:
        return None
    value, formula = found
    return (
        f"loss at chance: {value:.4g} = {formula}, the value for indistinguishable views; training should go below it"
    )


def unused_gpu(engine: str) -> str | None:
    """A note if this machine has an NVIDIA GPU that the engine does not use, else None."""
    if engine != "native" or not glob("/dev/nvidia[0-9]*"):
        return None
    return 'engine="native" computes on the CPU only; engine="torch" (--engine torch) uses the GPU of this machine'


def seconds_of_epoch(config: Config, batches: int, images_per_second: float) -> float:
    """The duration in seconds of an epoch of `batches` batches, without monitors and checkpoints."""
    return batches * config.data.batch_size / images_per_second


def duration(config: Config, batches: int, images_per_second: float, done: int) -> str:
    """A line with two estimated durations: one epoch, and the rest of the run after `done` steps."""
    epoch, epochs = seconds_of_epoch(config, batches, images_per_second), config.schedule.epochs
    rest = epoch * (epochs - done / batches)
    return (
        f"an epoch of {batches} batches takes about {clock(epoch)}, the rest of the {epochs} epochs about {clock(rest)}, "
        f"without monitors and checkpoints ({images_per_second:.4g} images/s)"
    )


def prolonged(config: Config, before: int) -> str:
    """The warning for a run that is prolonged from `before` epochs to the epochs of `config`."""
    return (
        f"epochs = {config.schedule.epochs}: the run began with {before}; from here on its schedules are those of "
        f"{config.schedule.epochs} epochs, and its results differ from those of a run with this many from the start"
    )


def words(names: Iterable[str]) -> str:
    """One line that explains the named values of the log; values without an explanation are left out."""
    known = {**TITLES, **_WORDS}
    return "; ".join(f"{name}: {known[name]}" for name in names if name in known)

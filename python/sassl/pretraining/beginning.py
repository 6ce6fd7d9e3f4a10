"""What is said of a run at its beginning: settings that have effects of their own, and the words of its log."""

from __future__ import annotations

from collections.abc import Iterable

from ..transforms.operations import size
from .config import Config
from .history import TITLES

#: Views of sides up to this, in pixels, are small for a stem of this stride or more.
_SMALL, _COARSE = 64, 4
#: The words of a log that are no method's or monitor's own.
_WORDS = {
    "loss": "the mean loss of the steps",
    "encoder_momentum": "the share of its weights that the momentum encoder keeps in a step",
    "images_per_second": "images of all ranks",
    "data_wait": "the share of the time in which no batch was ready",
    "views_seconds": "the engine's seconds for the views of a batch",
    "step_seconds": "the engine's seconds for a step",
}


def notes(config: Config) -> list[str]:
    """Lines on the settings of a run, before its first step."""
    return [line for line in (stem_warning(config), warmup_warning(config), chance(config)) if line is not None]


def stem_warning(config: Config) -> str | None:
    """What there is to say of a stem for ImageNet on small views, of which it leaves little."""
    backbone, side = config.backbone, min(size(config.data.input_size, "input_size"))
    if side > _SMALL or backbone.stem_stride < _COARSE:
        return None
    remedy = "; small_stem=True is for such views" if "small_stem" in backbone.settings else ""
    left = -(-side // backbone.stem_stride)
    return f"{backbone.name}: its stem is ImageNet's, and makes maps of {left} of views of {side} pixels{remedy}"


def warmup(config: Config) -> int:
    """The epochs in which the learning rate rises; the last epoch of a run is not one of them."""
    return min(config.schedule.warmup_epochs, config.schedule.epochs - 1)


def warmup_warning(config: Config) -> str | None:
    """What there is to say of a warm-up that is as long as the run, or longer."""
    asked, epochs = config.schedule.warmup_epochs, config.schedule.epochs
    if warmup(config) == asked:
        return None
    return (
        f"warmup_epochs = {asked}: the run has {epochs} epochs, and the learning rate rises in {warmup(config)} of them"
    )


def chance(config: Config) -> str | None:
    """The loss of views that cannot be told apart, with which the loss of the first epochs is compared."""
    found = config.method.chance(config.data.batch_size)
    if found is None:
        return None
    value, formula = found
    return f"loss at chance: {value:.4g} = {formula}, where all views are alike to the network; it learns below that"


def prolonged(config: Config, before: int) -> str:
    """What a run is that had fewer epochs when it began."""
    return (
        f"epochs = {config.schedule.epochs}: the run had {before} when it began; from here on its schedules are those of "
        f"{config.schedule.epochs} epochs, and its results are not those of a run that had them from the beginning"
    )


def words(names: Iterable[str]) -> str:
    """What the values of a log are, in a line."""
    known = {**TITLES, **_WORDS}
    return "; ".join(f"{name}: {known[name]}" for name in names if name in known)

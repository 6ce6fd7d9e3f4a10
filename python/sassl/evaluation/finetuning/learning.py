"""One fine-tuning: a cell of a recipe's grid on some images, step by step, and the scores that it gives others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, isfinite

from ...progress import Progress, Shown
from ..crops import Batch, Crops
from .keeping import Kept
from .recipes import Cell, Recipe
from .tuner import Settings, Tuner

#: Steps after which the loss is looked at, for which a GPU is waited for.
_LOOKS = 10


class DivergedError(ValueError):
    """A loss that is not finite."""


@dataclass(frozen=True)
class Plan:
    """What a cell is on so many images."""

    recipe: Recipe
    cell: Cell
    images: int

    @property
    def batch(self) -> int:
        """Images of a step; no more than there are."""
        return min(self.recipe.batch_size, self.images)

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return self.recipe.steps(self.cell.length, self.images, self.batch)

    @property
    def peak_lr(self) -> float:
        """The learning rate of the first step."""
        return self.recipe.peak_lr(self.cell.lr, self.batch)

    @property
    def settings(self) -> Settings:
        """How weights move."""
        return Settings(
            nesterov=self.recipe.nesterov,
            weight_decay=self.recipe.decay(self.cell, self.batch),
            norm_momentum=self.recipe.norm_momentum(self.images, self.batch),
            frozen=self.recipe.frozen,
        )


def learn(
    tuner: Tuner, crops: Crops, plan: Plan, *, kept: Kept, stage: str, checkpoint_every: int, progress: Shown
) -> None:
    """Takes the steps that are not behind it yet.

    Args:
        tuner: takes them; its weights are those that a run begins with.
        crops: batches of `plan.batch` images, smaller last ones left out.
        plan: rates and steps.
        kept, stage: where the state is kept, and what this run is called there.
        checkpoint_every: steps after which the state is kept, and after the last one.
        progress: as of `finetune`.

    Raises:
        DivergedError: a loss is not finite.
        OSError, ValueError: as of the crops and the tuner.
    """
    done, steps = kept.load(tuner, stage), plan.steps
    if done == steps:
        return
    epochs = ceil(steps / len(crops))
    is_first = tuner.ranks.rank == 0
    told = Progress(epochs, steps * plan.batch, done * plan.batch, not is_first or progress is not True)
    try:
        for step, (images, targets) in zip(range(done, steps), _batches(crops, done), strict=False):
            rate = plan.recipe.rate(plan.peak_lr, step, steps)
            loss = tuner.step(images, targets, rate, step)
            is_last = step + 1 == steps
            if is_last or (step - done) % _LOOKS == 0:
                if not isfinite(value := float(loss)):
                    raise DivergedError(
                        f"loss = {value}: fine-tuning has diverged at step {step + 1}; lower the learning rate"
                    )
                values = {"loss": value, "lr": rate}
            told.after_step(step // len(crops), plan.batch, values)
            if is_first and callable(progress):
                progress("fine-tuning", step + 1, steps)
            if is_last or (step + 1) % checkpoint_every == 0:
                kept.save(tuner, stage, step + 1)
    finally:
        told.close()


def _batches(crops: Crops, done: int) -> Iterator[Batch]:
    """Batches after so many, without an end."""
    epoch, batch = divmod(done, len(crops))
    while True:
        crops.set_epoch(epoch, batch)
        yield from crops
        epoch, batch = epoch + 1, 0

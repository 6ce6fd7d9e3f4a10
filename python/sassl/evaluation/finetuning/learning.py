"""A single run of fine-tuning: the steps of one cell of a recipe's grid on some or all of the images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, isfinite

from ...progress import Progress, Shown
from ..crops import Batch, Crops
from .keeping import Kept
from .recipes import Cell, Recipe
from .tuner import Settings, Tuner

#: Number of steps between checks of the loss; a check waits for the GPU.
_LOOKS = 10


class DivergedError(ValueError):
    """The loss of a run is not finite."""


@dataclass(frozen=True)
class Plan:
    """The settings of a cell for a given number of images."""

    recipe: Recipe
    cell: Cell
    images: int

    @property
    def batch(self) -> int:
        """Batch size: that of the recipe, but at most the number of images."""
        return min(self.recipe.batch_size, self.images)

    @property
    def steps(self) -> int:
        """Number of steps of the run."""
        return self.recipe.steps(self.cell.length, self.images, self.batch)

    @property
    def peak_lr(self) -> float:
        """Learning rate of the first step."""
        return self.recipe.peak_lr(self.cell.lr, self.batch)

    @property
    def settings(self) -> Settings:
        """Settings of the optimizer and of norms."""
        return Settings(
            nesterov=self.recipe.nesterov,
            weight_decay=self.recipe.decay(self.cell, self.batch),
            norm_momentum=self.recipe.norm_momentum(self.images, self.batch),
            frozen=self.recipe.frozen,
        )


def learn(
    tuner: Tuner, crops: Crops, plan: Plan, *, kept: Kept, stage: str, checkpoint_every: int, progress: Shown
) -> None:
    """Take the remaining steps of a run.

    Args:
        tuner: the engine, with the initial weights of the run.
        crops: batches of `plan.batch` images; smaller last batches must be dropped.
        plan: the learning rates and the number of steps.
        kept, stage: where the state is stored, and the name of this run there.
        checkpoint_every: steps between checkpoints; there is also a checkpoint after the last step.
        progress: see `finetune`.

    Raises:
        DivergedError: a loss is not finite.
        OSError, ValueError: as raised by the crops and the tuner.
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
                        f"loss must be finite, got {value} at step {step + 1}; fine-tuning diverged: lower the learning rate"
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
    """Yield batches endlessly, starting after the first `done` batches."""
    epoch, batch = divmod(done, len(crops))
    while True:
        crops.set_epoch(epoch, batch)
        yield from crops
        epoch, batch = epoch + 1, 0

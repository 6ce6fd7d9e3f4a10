"""Published recipes for fine-tuning, each with its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from ..._sassl import cosine_rate
from ...arguments import choice


class Cell(NamedTuple):
    """A point of a recipe's grid: learning rate, weight decay and length."""

    #: The recipe's learning rate, before it is scaled with the batch size.
    lr: float
    #: The recipe's weight decay, before it is divided by the learning rate.
    weight_decay: float
    #: Number of steps or of epochs, depending on `Recipe.unit`.
    length: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a fine-tuning run: length, batch size, learning rates, weight decays, and the resizing of test images.

    Every recipe uses SGD with momentum 0.9 on random resized crops and flips; weight decay applies to all trainable parameters,
    including biases and norms.
    """

    name: str
    source: str
    #: Unit of the lengths, "steps" or "epochs"; several lengths are a dimension of the grid.
    unit: str
    lengths: tuple[int, ...]
    batch_size: int
    #: Learning rates and weight decays of the grid; a decay of 0 means none.
    lrs: tuple[float, ...]
    weight_decays: tuple[float, ...] = (0.0,)
    #: True if learning rates are for a batch of 256, and are scaled with the batch size.
    scales_lr: bool = False
    #: True if the decay is divided by the peak learning rate. A step at this rate then shrinks weights by the fraction in the
    #: grid.
    divides_decay: bool = False
    nesterov: bool = True
    #: Fractions of the run after which the learning rate falls to a tenth; empty: the rate decays to 0 along a cosine.
    drops: tuple[float, ...] = ()
    #: True if batch norms keep the fraction max(1 - 10 / s, 0.9) of their running statistics in a step. Here s is the number of
    #: steps in an epoch.
    follows_epoch: bool = False
    #: True if the backbone stays frozen; the run is then a linear probe on augmented images.
    frozen: bool = False
    #: Shorter side of test images before the centre crop: "margin" (256 for crops of 224) or "whole" (the side of the crop).
    resize: str = "margin"

    def grid(
        self, lr: float | None = None, weight_decay: float | None = None, length: int | None = None
    ) -> Iterator[Cell]:
        """Return the cells of the grid, with learning rates in the outer loop.

        A given argument replaces all values of its kind: `lr` replaces `lrs`, `weight_decay` replaces `weight_decays`, and
        `length` replaces `lengths`.
        """
        return (
            Cell(*cell)
            for cell in product(
                self.lrs if lr is None else (lr,),
                self.weight_decays if weight_decay is None else (weight_decay,),
                self.lengths if length is None else (length,),
            )
        )

    def steps(self, length: int, images: int, batch: int) -> int:
        """Return the number of steps of a run on `images` images with this batch size."""
        return length if self.unit == "steps" else max(1, round(length * images / batch))

    def peak_lr(self, lr: float, batch: int) -> float:
        """Return the learning rate of the first step."""
        return lr * batch / 256 if self.scales_lr else lr

    def decay(self, cell: Cell, batch: int) -> float:
        """Return the weight decay that is passed to SGD."""
        return cell.weight_decay / self.peak_lr(cell.lr, batch) if self.divides_decay else cell.weight_decay

    def rate(self, peak: float, step: int, steps: int) -> float:
        """Return the learning rate at step `step`, counted from 0, of a run of `steps` steps."""
        if not self.drops:
            return cosine_rate(peak, 0, steps, step)
        return float(peak * 0.1 ** sum(step >= round(share * steps) for share in self.drops))

    def norm_momentum(self, images: int, batch: int) -> float | None:
        """Return the fraction of running statistics that batch norms replace in a step; None: the network's own."""
        return min(10 * batch / images, 0.1) if self.follows_epoch else None


def _logarithmic(low: int, high: int, count: int) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in np.logspace(low, high, count))


_ROWS = (
    Recipe(
        name="kornblith",
        source="SimCLR (arXiv 2002.05709), appendix B.8.1, after Kornblith et al. 2019; BYOL (arXiv 2006.07733), appendix D.3",
        unit="steps",
        lengths=(20_000,),
        batch_size=256,
        lrs=_logarithmic(-4, -1, 7),
        weight_decays=(0.0, *_logarithmic(-6, -3, 7)),
        divides_decay=True,
        follows_epoch=True,
    ),
    Recipe(
        name="ssl-transfer",
        source="Ericsson et al. 2021 (arXiv 2011.13377); linusericsson/ssl-transfer, finetune.py",
        unit="steps",
        lengths=(5_000,),
        batch_size=64,
        lrs=_logarithmic(-4, -1, 4),
        weight_decays=(0.0, *_logarithmic(-6, -3, 4)),
        divides_decay=True,
        resize="whole",
    ),
    Recipe(
        name="simclr-1pct",
        source="SimCLR (arXiv 2002.05709), appendix B.5: 1 % of ImageNet",
        unit="epochs",
        lengths=(60,),
        batch_size=4096,
        lrs=(0.05,),
        scales_lr=True,
    ),
    Recipe(
        name="simclr-10pct",
        source="SimCLR (arXiv 2002.05709), appendix B.5: 10 % of ImageNet",
        unit="epochs",
        lengths=(30,),
        batch_size=4096,
        lrs=(0.05,),
        scales_lr=True,
    ),
    Recipe(
        name="byol-semi",
        source="BYOL (arXiv 2006.07733), appendix C.1: 1 % and 10 % of ImageNet",
        unit="epochs",
        lengths=(30, 50),
        batch_size=1024,
        lrs=(0.005, 0.01, 0.02, 0.05, 0.1),
    ),
    Recipe(
        name="vissl-semi",
        source="facebookresearch/vissl, semi_supervised/imagenet1k/eval_resnet_8gpu_transfer_in1k_semi_sup_fulltune.yaml",
        unit="epochs",
        lengths=(70,),
        batch_size=256,
        lrs=(0.05,),
        scales_lr=True,
        drops=(30 / 70,),
    ),
)

#: All recipes by name; your own may be added.
RECIPES: dict[str, Recipe] = {row.name: row for row in _ROWS}
#: The default recipe, and the sets with another published recipe.
DEFAULT = "kornblith"
OF_SETS = {"imagenet_1pct": "simclr-1pct", "imagenet_10pct": "simclr-10pct"}


def recipe_of(given: str | Recipe) -> Recipe:
    """Return the recipe with this name; a `Recipe` is returned as it is."""
    return given if isinstance(given, Recipe) else RECIPES[choice("recipe", given, RECIPES)]

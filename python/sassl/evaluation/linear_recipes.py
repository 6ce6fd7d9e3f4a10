"""The published recipes for training a linear head on frozen features of augmented images.

Each recipe does what its source does, including details that are only in the published code: the initialization of the head,
the learning rate schedule, and the treatment of the last images of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._sassl import cosine_rate

Array = NDArray[np.float32]


def _normal(rng: np.random.Generator, classes: int, dim: int) -> tuple[Array, Array]:
    """Weights from a normal distribution of standard deviation 0.01; biases are 0."""
    return 0.01 * rng.standard_normal((classes, dim), np.float32), np.zeros(classes, np.float32)


def _zeros(_: np.random.Generator, classes: int, dim: int) -> tuple[Array, Array]:
    """Weights and biases are 0."""
    return np.zeros((classes, dim), np.float32), np.zeros(classes, np.float32)


def _uniform(rng: np.random.Generator, classes: int, dim: int) -> tuple[Array, Array]:
    """The initialization of `torch.nn.Linear`: weights and biases uniform in [-1 / sqrt(dim), 1 / sqrt(dim)]."""
    weights, bias = rng.random((classes, dim), np.float32), rng.random(classes, np.float32)
    return tuple((2 * one - 1) / np.float32(dim**0.5) for one in (weights, bias))  # type: ignore[return-value]


def _truncated(rng: np.random.Generator, classes: int, dim: int) -> tuple[Array, Array]:
    """The initialization of `haiku.Linear`: N(0, 1 / dim), redrawn beyond two standard deviations; biases are 0."""
    weights = rng.standard_normal((classes, dim), np.float32)
    while (beyond := np.abs(weights) > 2).any():
        weights[beyond] = rng.standard_normal(int(beyond.sum()), np.float32)
    return weights / np.float32(dim**0.5), np.zeros(classes, np.float32)


@dataclass(frozen=True, kw_only=True)
class LinearRecipe:
    """The settings for training a linear head; the optimizer is always SGD with momentum and without weight decay.

    Args:
        source: the paper and the code of the recipe.
        lr: learning rates; if there are several, the best one on held-out images is chosen.
        per_256: True if learning rates are for a batch of 256, and are multiplied by batch_size / 256.
        batch_size: images in a batch.
        epochs: number of epochs.
        nesterov: use Nesterov's momentum.
        momentum: momentum coefficient.
        drops: fractions of all epochs at which the learning rate is divided by 10; empty: the rate decays along a cosine.
        by: how often a cosine changes the rate: at every "step", or at every "epoch".
        last: for a cosine by step, the rate of the last step as a fraction of the initial rate; None: the cosine reaches 0 one
            step (or epoch) after the last one.
        init: a function that returns the initial weights and biases of the head, given a random generator, the number of
            classes, and the number of features.
        interpolation: interpolation of crops and of test images.
        drop_last: leave out the last images of an epoch that do not fill a batch.
    """

    source: str
    lr: tuple[float, ...]
    per_256: bool
    batch_size: int
    epochs: int
    nesterov: bool
    momentum: float = 0.9
    drops: tuple[float, ...] = ()
    by: str = "step"
    last: float | None = None
    init: Callable[[np.random.Generator, int, int], tuple[Array, Array]]
    interpolation: str = "bilinear"
    drop_last: bool

    def peak(self, lr: float, batch_size: int) -> float:
        """Return the initial learning rate of a run with batches of this size."""
        return lr * batch_size / 256 if self.per_256 else lr

    def share(self, step: int, steps: int, epochs: int) -> float:
        """Return the learning rate at a step, as a fraction of the initial one.

        Args:
            step: index of the step in the run, from 0.
            steps: number of steps in an epoch.
            epochs: number of epochs.
        """
        epoch = step // steps
        if self.drops:
            return float(0.1 ** sum(epoch >= epochs * drop for drop in self.drops))
        if self.by == "epoch":
            return cosine_rate(1.0, 0, epochs, epoch)
        if self.last is None:
            return cosine_rate(1.0, 0, epochs * steps, step)
        return self.last + cosine_rate(1 - self.last, 0, max(1, epochs * steps - 1), step)


#: The recipes by name, for `augmented_probe` and `sassl eval augmented`.
LINEAR_RECIPES = {
    "moco": LinearRecipe(
        source="He et al. 2020, section 4.1, and MoCo v2; facebookresearch/moco, main_lincls.py",
        lr=(30.0,),
        per_256=False,
        batch_size=256,
        epochs=100,
        nesterov=False,
        drops=(0.6, 0.8),
        init=_normal,
        drop_last=False,
    ),
    "simclr": LinearRecipe(
        source="Chen et al. 2020, appendix B.6; google-research/simclr, README.md (zero_init_logits_layer) and model_util.py",
        lr=(0.1,),
        per_256=True,
        batch_size=4096,
        epochs=90,
        nesterov=True,
        init=_zeros,
        interpolation="bicubic",
        drop_last=True,
    ),
    "byol": LinearRecipe(
        source="Grill et al. 2020, appendix C.1; google-deepmind/deepmind-research, byol/{eval_experiment,configs/eval}.py",
        lr=(0.4, 0.3, 0.2, 0.1, 0.05),
        per_256=True,
        batch_size=1024,
        epochs=80,
        nesterov=True,
        init=_truncated,
        interpolation="bicubic",
        drop_last=True,
    ),
    "mocov3": LinearRecipe(
        source="Chen et al. 2021, section 5; facebookresearch/moco-v3, main_lincls.py",
        lr=(0.1,),
        per_256=True,
        batch_size=1024,
        epochs=90,
        nesterov=False,
        by="epoch",
        init=_normal,
        drop_last=False,
    ),
    "lightly": LinearRecipe(
        source="lightly-ai/lightly, benchmarks/imagenet/resnet50/linear_eval.py, utils/benchmarking/linear_classifier.py",
        lr=(0.1,),
        per_256=True,
        batch_size=256,
        epochs=90,
        nesterov=False,
        last=0.001,
        init=_uniform,
        drop_last=True,
    ),
}

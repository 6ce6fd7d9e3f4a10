"""MoCo v2: its settings, recipe and presets (`src/methods/moco.rs` has the computation)."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

from ...arguments import whole, wrong
from ...transforms.recipes import MoCoV2Transform
from ..config import Config, Method, register
from ..settings import MomentumSettings, Schedule
from .base import Pretraining
from .published import CIFAR10, RESNET18


@dataclass(frozen=True, kw_only=True)
class MoCoSettings(MomentumSettings):
    """The settings of MoCo v2.

    Attributes:
        dim: dimension of a key.
        queue_size: number of keys in the queue.
        temperature: temperature T of the softmax.
        splits: number of parts of the batch, in place of the paper's devices. Each part has its own batch-norm statistics, and
            keys are shuffled among the parts.
        symmetric: whether the loss is the sum of both directions, so that each view is the query once. False: only the left
            view is a query.
        mlp: whether the projector has two layers with a ReLU between them, instead of one layer.
    """

    name = "moco-v2"
    watches: ClassVar[dict[str, str]] = {"queue_accuracy": "positives above all keys in the queue"}
    dim: int = 128
    queue_size: int = 65_536
    temperature: float = 0.2
    splits: int = 8
    symmetric: bool = False
    mlp: bool = True
    encoder_momentum: float = 0.999
    encoder_momentum_schedule: str = "constant"

    def check(self) -> None:
        """Check the values."""
        super().check()
        for name in ("dim", "queue_size", "splits"):
            whole(name, getattr(self, name), 1)
        if not self.temperature > 0:
            raise wrong("temperature", self.temperature, "a number > 0")

    def memory(self, features: int) -> dict[tuple[str, ...], int]:
        """The number of values in the projector, and in the queue, keyed by the settings that determine the number."""
        heads = features * ((features if self.mlp else 0) + self.dim)
        return {("dim",): heads, ("queue_size", "dim"): self.queue_size * self.dim}

    @property
    def views_learnt(self) -> int:
        """The number of views that are queries; keys do not need a backward pass."""
        return 2 if self.symmetric else 1

    def similarities(self, rows: int) -> int:
        """The number of pairs of queries and keys."""
        return self.views_learnt * rows * (self.queue_size + 1)

    def chance(self, batch_size: int) -> tuple[float, str]:
        """The loss of a uniform guess among the positive key and the keys in the queue; twice this value if symmetric."""
        return self.views_learnt * log(self.queue_size + 1), f"{'2 ' if self.symmetric else ''}ln(queue_size + 1)"


class MoCoV2(Pretraining):
    """MoCo v2 (Chen et al. 2020, arXiv 2003.04297)."""

    name = MoCoSettings.name


# facebookresearch/moco `main_moco.py`: ResNet-50, 200 and 800 epochs, batch 256 on 8 devices, which `splits` reproduces; SGD
# with weight decay on biases and norms too; a projector initialized like torch's linear layers. The preset has all of it.
_MOCO = Config(MoCoSettings(), schedule=Schedule(schedule_by="epoch"))

PRESETS = {
    "moco-v2": _MOCO,
    "moco-v2-800": _MOCO.changed(epochs=800),
    # facebookresearch/moco, branch `colab-notebook`; 800 epochs are its longest run. One difference: its first convolution,
    # which it replaces after construction, is initialized like `torch.nn.Conv2d`, ours like torchvision's others.
    "moco-v2-cifar10": _MOCO.changed(
        **RESNET18,
        mlp=False,
        temperature=0.1,
        queue_size=4096,
        encoder_momentum=0.99,
        weight_decay=5e-4,
        views={"min_scale": 0.08, "gaussian_blur": 0.0, "normalize": CIFAR10},
    ),
}

register(Method(MoCoSettings, MoCoV2Transform, PRESETS, MoCoV2))

"""SimCLR: its settings, recipe and presets (`src/methods/simclr.rs` has the computation)."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

from ...arguments import whole, wrong
from ...transforms.recipes import IMAGENET_NORMALIZE, SimCLRTransform
from ..config import Config, Method, register
from ..settings import LARS, Backbone, Data, MethodSettings, Schedule
from .base import Pretraining
from .published import LIGHTLY, RESNET18


@dataclass(frozen=True, kw_only=True)
class SimCLRSettings(MethodSettings):
    """The settings of SimCLR.

    Attributes:
        dim: dimension of a projection.
        hidden_dim: hidden dimension of the projector.
        layers: number of linear layers in the projector, each with a batch norm: 2 in the paper, 3 by default in its code.
        temperature: temperature T of the softmax.
        splits: number of parts of the batch. Each part has its own batch-norm statistics, over both views of its images, as
            without synchronized batch norms.
    """

    name = "simclr"
    watches: ClassVar[dict[str, str]] = {"contrastive_accuracy": "views nearest to each other"}
    dim: int = 128
    hidden_dim: int = 2048
    layers: int = 2
    temperature: float = 0.1
    splits: int = 1

    def check(self) -> None:
        """Check the values."""
        for name in ("dim", "hidden_dim", "layers", "splits"):
            whole(name, getattr(self, name), 1)
        if not self.temperature > 0:
            raise wrong("temperature", self.temperature, "a number > 0")

    def memory(self, features: int) -> dict[tuple[str, ...], int]:
        """The number of values in the projector, keyed by the settings that determine the number."""
        hidden = max(0, self.layers - 2) * self.hidden_dim**2
        return {("hidden_dim", "dim", "layers"): (features + self.dim) * self.hidden_dim + hidden}

    def similarities(self, rows: int) -> int:
        """The number of entries in the similarity matrix of all views of `rows` images."""
        return (2 * rows) ** 2

    def chance(self, batch_size: int) -> tuple[float, str]:
        """The loss of a uniform guess of a view's positive among all other views of the batch."""
        return log(2 * batch_size - 1), "ln(2 batch_size - 1)"


class SimCLR(Pretraining):
    """SimCLR (Chen et al. 2020, arXiv 2002.05709)."""

    name = SimCLRSettings.name


# Chen et al. 2020, sections 2.2 and B: ResNet-50, batch 4096; the square-root scaling of table B.1, which is better for smaller
# batches. Differences from google-research/simclr: the loss is the paper's mean over all 2 N rows, where that code adds the
# means of both directions, which doubles the gradient, but under LARS only affects biases and norms; the weight decay is the
# paper's 1e-6, where its default is 1e-4; weights are initialized like torchvision's and torch's layers, where its linear
# layers have a standard deviation of 0.01.
_SIMCLR = Config(
    SimCLRSettings(),
    backbone=Backbone("resnet50", {"zero_init_residual": True}),
    optimizer=LARS(weight_decay=1e-6, exclude_bias_and_norm=True),
    schedule=Schedule(epochs=1000, lr=0.075, scaling="sqrt", warmup_epochs=10),
    data=Data(batch_size=4096),
)

PRESETS = {
    # Table B.1: 64.3 % at this batch size, 66.8 % at 4096.
    "simclr": _SIMCLR.changed(epochs=200, batch_size=256),
    **{f"simclr-{epochs}": _SIMCLR.changed(epochs=epochs) for epochs in (100, 200, 400, 800, 1000)},
    # lightly's `cifar10_benchmark.py`. Its convolutions are initialized like `torch.nn.Conv2d`, ours like torchvision's; both
    # views go through the norms in one batch here, as in the paper, and one after the other there.
    "simclr-cifar10": _SIMCLR.changed(
        **RESNET18,
        **LIGHTLY,
        zero_init_residual=False,
        hidden_dim=512,
        temperature=0.5,
        views={
            "cj_strength": 0.5,
            "gaussian_blur": 0.0,
            "interpolation": "bilinear",
            "normalize": IMAGENET_NORMALIZE,
        },
    ),
}

register(Method(SimCLRSettings, SimCLRTransform, PRESETS, SimCLR))

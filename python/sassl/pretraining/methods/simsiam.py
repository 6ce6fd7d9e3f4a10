"""SimSiam: its settings, recipe and presets (`src/methods/simsiam.rs` has the computation)."""

from __future__ import annotations

from dataclasses import dataclass

from ...arguments import whole
from ...transforms.recipes import MoCoV2Transform
from ..config import Config, Method, register
from ..settings import Backbone, Data, MethodSettings, Schedule
from .base import Pretraining
from .published import CIFAR10, RESNET18


@dataclass(frozen=True, kw_only=True)
class SimSiamSettings(MethodSettings):
    """The settings of SimSiam.

    Attributes:
        dim: dimension of projections and predictions.
        hidden_dim: hidden dimension of the projector.
        layers: number of linear layers in the projector, each with a batch norm; the last norm has no gamma or beta.
        predictor_dim: hidden dimension of the predictor, which has two layers.
        splits: number of parts of the batch. Each part has its own batch-norm statistics, as without synchronized batch norms.
        fix_predictor_lr: whether the predictor keeps the peak learning rate instead of following the schedule.
    """

    name = "simsiam"
    dim: int = 2048
    hidden_dim: int = 2048
    layers: int = 3
    predictor_dim: int = 512
    splits: int = 1
    fix_predictor_lr: bool = True

    def check(self) -> None:
        """Check the values."""
        for name in ("dim", "hidden_dim", "layers", "predictor_dim", "splits"):
            whole(name, getattr(self, name), 1)

    def memory(self, features: int) -> dict[tuple[str, ...], int]:
        """The number of values in the projector and the predictor, keyed by the settings that determine the number."""
        hidden = max(0, self.layers - 2) * self.hidden_dim**2
        projector = (features + self.dim) * self.hidden_dim + hidden
        return {("hidden_dim", "dim", "layers", "predictor_dim"): projector + 2 * self.dim * self.predictor_dim}


class SimSiam(Pretraining):
    """SimSiam (Chen and He 2021, arXiv 2011.10566)."""

    name = SimSiamSettings.name


# facebookresearch/simsiam `main_simsiam.py --fix-pred-lr`: ResNet-50, 100 epochs, batch 512, norms over all of it; the views
# are MoCo v2's. There, the projector's hidden layers are as wide as the backbone's features, 2048 for a ResNet-50.
_SIMSIAM = Config(
    SimSiamSettings(),
    backbone=Backbone("resnet50", {"zero_init_residual": True}),
    schedule=Schedule(epochs=100, lr=0.05, schedule_by="epoch"),
    data=Data(batch_size=512),
)

PRESETS = {
    "simsiam": _SIMSIAM,
    # The appendix on CIFAR-10: base rate 0.03, two layers in the projector, 2048 dimensions, no blur. It states neither the
    # normalization nor the initialization of blocks: here they are CIFAR-10's mean and deviation, and torchvision's.
    "simsiam-cifar10": _SIMSIAM.changed(
        **RESNET18,
        zero_init_residual=False,
        layers=2,
        epochs=800,
        lr=0.03,
        weight_decay=5e-4,
        views={"gaussian_blur": 0.0, "normalize": CIFAR10},
    ),
}

register(Method(SimSiamSettings, MoCoV2Transform, PRESETS, SimSiam))

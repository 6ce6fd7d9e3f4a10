"""BYOL: its settings, recipe and presets (`src/methods/byol.rs` has the computation)."""

from __future__ import annotations

from dataclasses import dataclass

from ...arguments import whole, wrong
from ...transforms.recipes import BYOLTransform
from ..config import Config, Method, register
from ..settings import LARS, Data, MomentumSettings, Schedule
from .base import Pretraining
from .published import LIGHTLY, RESNET18


@dataclass(frozen=True, kw_only=True)
class BYOLSettings(MomentumSettings):
    """The settings of BYOL.

    Attributes:
        dim: dimension of a projection.
        hidden_dim: hidden dimension of the projector and the predictor.
        last_bias: whether the last layers of the projector and the predictor have a bias. The paper's code has none; lightly
            has one in each.
        splits: number of parts of the batch. Each part has its own batch-norm statistics, as without synchronized batch norms.
        loss_scale: a factor for the paper's loss, the sum of 2 - 2 cos over both directions. A factor of 0.25 gives the
            gradient of the mean of two negative cosines.
    """

    name = "byol"
    dim: int = 256
    hidden_dim: int = 4096
    last_bias: bool = False
    splits: int = 1
    loss_scale: float = 1.0
    encoder_momentum: float = 0.996
    encoder_momentum_schedule: str = "cosine"

    def check(self) -> None:
        """Check the values."""
        super().check()
        for name in ("dim", "hidden_dim", "splits"):
            whole(name, getattr(self, name), 1)
        if not self.loss_scale > 0:
            raise wrong("loss_scale", self.loss_scale, "a number > 0")

    def memory(self, features: int) -> dict[tuple[str, ...], int]:
        """The number of values in the projector and the predictor, keyed by the settings that determine the number."""
        return {("hidden_dim", "dim"): features * self.hidden_dim + 3 * self.hidden_dim * self.dim}


class BYOL(Pretraining):
    """BYOL (Grill et al. 2020, arXiv 2006.07733)."""

    name = BYOLSettings.name


# Grill et al. 2020, section 3.3 and tables 6 and 24; deepmind-research `byol/`: ResNet-50, batch 4096. Differences from that
# code: weights are initialized like torchvision's and torch's layers, not Haiku's; the target starts as a copy of the online
# network, not with its own draw.
_BYOL = Config(
    BYOLSettings(),
    optimizer=LARS(weight_decay=1.5e-6, exclude_bias_and_norm=True),
    schedule=Schedule(epochs=1000, lr=0.2, warmup_epochs=10),
    data=Data(batch_size=4096),
)
_BYOL_300 = _BYOL.changed(epochs=300, encoder_momentum=0.99, lr=0.3, weight_decay=1e-6)

PRESETS = {
    # No published run: the settings for 300 epochs, with a batch of 256 and the learning rate scaled to it. (Table 16 has
    # 71.8 % at a batch of 256, but with gradients averaged over 16 steps, so that each update is of 4096 images.)
    "byol": _BYOL_300.changed(batch_size=256),
    # Appendix G: 73.7 %, the published recipe for small batches.
    "byol-512": _BYOL.changed(batch_size=512, lr=0.4, encoder_momentum=0.9995),
    "byol-100": _BYOL.changed(epochs=100, encoder_momentum=0.99, lr=0.45, weight_decay=1e-6),
    "byol-300": _BYOL_300,
    "byol-1000": _BYOL,
    # lightly's `cifar10_benchmark.py`, whose loss is the mean of two negative cosines. Its convolutions are initialized like
    # `torch.nn.Conv2d`, ours like torchvision's; its batches have 128 or 512 images; its recipe is SimCLR's in old versions,
    # and BYOL's without blur in new ones, as here.
    "byol-cifar10": _BYOL.changed(
        **RESNET18,
        **LIGHTLY,
        hidden_dim=1024,
        last_bias=True,
        loss_scale=0.25,
        encoder_momentum=0.99,
        encoder_momentum_schedule="constant",
        views={"gaussian_blur": 0.0, "cj_form": "torchvision", "interpolation": "bilinear"},
    ),
}

register(Method(BYOLSettings, BYOLTransform, PRESETS, BYOL))

"""SimCLR in torch (`src/methods/simclr.rs` has the formulas)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...config import Config
from ..backbones import head
from ..collectives import World
from ..losses import nt_xent
from .base import Forward, Method, register


@register("simclr")
class SimCLR(Method):
    """Both views in one batch, each against all others of all ranks."""

    is_native = True

    def __init__(self, config: Config, world: World) -> None:
        super().__init__(config, world)
        own = self.settings
        hidden = [own.hidden_dim] * (own.layers - 1)
        self.projector = head(self.features, *hidden, own.dim, hidden_bias=False, last_norm=True)

    def forward(self, left: Tensor, right: Tensor) -> Forward:
        """The loss."""
        features = self.backbone(torch.cat([left, right]))
        z = self.projector(features)
        loss, accuracy = nt_xent(z, self.settings.temperature, self.world)
        n = len(left)
        return Forward(loss, features[:n], z[:n], {"contrastive_accuracy": accuracy})

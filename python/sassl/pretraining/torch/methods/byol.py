"""BYOL in torch (`src/methods/byol.rs` has the formulas)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....distributed.collectives import World
from ...config import Config
from ..backbones import head
from ..losses import mean_cosine
from .base import Forward, Method, follow, follower, register


@register("byol")
class BYOL(Method):
    """Predicts, from each view, the target network's projection of the other view.

    The target network is an exponential moving average of the online network.
    """

    is_native = True
    by_rows = True

    def __init__(self, config: Config, world: World) -> None:
        super().__init__(config, world)
        own = self.settings

        def made(*sizes: int) -> nn.Module:
            return head(*sizes, hidden_bias=True, last_bias=own.last_bias)

        self.projector = made(self.features, own.hidden_dim, own.dim)
        self.predictor = made(own.dim, own.hidden_dim, own.dim)
        self.target_backbone, self.target_projector = follower(self.backbone), follower(self.projector)

    def forward(self, left: Tensor, right: Tensor) -> Forward:
        """Compute the loss."""
        features = self.backbone(left)
        z = self.projector(features)
        one = self._loss(z, right)
        other = self._loss(self.projector(self.backbone(right)), left)
        return Forward((one + other) * self.settings.loss_scale, features, z)

    def _loss(self, z: Tensor, view: Tensor) -> Tensor:
        """This rank's share of the mean of 2 - 2 cos(p, z'): p is predicted from `z`, z' is the target's output for `view`."""
        p = self.predictor(z)
        with torch.no_grad():
            target = self.target_projector(self.target_backbone(view))
        batch = self.batch(view)
        return 2 * len(view) / batch - 2 * mean_cosine(p, target, batch)

    def after_step(self, momentum: float | None) -> None:
        """Update the target network."""
        follow((self.target_backbone, self.target_projector), (self.backbone, self.projector), momentum)

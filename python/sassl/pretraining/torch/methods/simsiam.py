"""SimSiam in torch (`src/methods/simsiam.rs` has the formulas)."""

from __future__ import annotations

from torch import Tensor

from ....distributed.collectives import World
from ...config import Config
from ..backbones import head
from ..losses import mean_cosine
from .base import Forward, Method, register


@register("simsiam")
class SimSiam(Method):
    """Predicts, from each view, the projection of the other view. That projection is a target without a gradient."""

    is_native = True
    by_rows = True

    def __init__(self, config: Config, world: World) -> None:
        super().__init__(config, world)
        own = self.settings
        hidden = [own.hidden_dim] * (own.layers - 1)
        self.projector = head(self.features, *hidden, own.dim, hidden_bias=False, last_norm=True, last_affine=False)
        self.predictor = head(own.dim, own.predictor_dim, own.dim, hidden_bias=False, last_bias=True)
        self.fixed_lr = frozenset({"predictor"} if own.fix_predictor_lr else ())

    def forward(self, left: Tensor, right: Tensor) -> Forward:
        """Compute the loss."""
        features = self.backbone(left)
        z = self.projector(features)
        p = self.predictor(z)
        other_z = self.projector(self.backbone(right))
        other_p = self.predictor(other_z)
        batch = self.batch(left)
        one, other = mean_cosine(p, other_z.detach(), batch), mean_cosine(other_p, z.detach(), batch)
        return Forward((one + other) * -0.5, features, z)

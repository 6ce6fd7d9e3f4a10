"""SimCLR in torch (`src/methods/simclr.rs` has the formulas)."""

from __future__ import annotations

import torch
from torch import Tensor

from ....distributed.collectives import World
from ....distributed.norms import Parts
from ...config import Config
from ..backbones import head
from ..losses import nt_xent
from .base import Forward, Method, register


@register("simclr")
class SimCLR(Method):
    """Contrasts each view with all other views of the global batch; left and right views pass through the network together."""

    is_native = True

    def __init__(self, config: Config, world: World) -> None:
        super().__init__(config, world)
        own = self.settings
        hidden = [own.hidden_dim] * (own.layers - 1)
        self.projector = head(self.features, *hidden, own.dim, hidden_bias=False, last_norm=True)

    def represent(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """Compute the left views' features, and both views' projections."""
        # Each part with its own norm statistics has the left views of its images, followed by the right ones.
        parts = Parts(self.parts // self.pieces, self.world.rank, self.world.size)
        spans = [(start, end) for _, start, end in parts.spans(len(left))]
        features = self.backbone(torch.cat([view[start:end] for start, end in spans for view in (left, right)]))
        z = self.projector(features)
        sizes = [end - start for start, end in spans for _ in range(2)]
        of_parts = z.split(sizes)
        of_left = features.split(sizes)[::2]
        return torch.cat(of_left), torch.cat(of_parts[::2]), torch.cat(of_parts[1::2])

    def loss(self, *rows: Tensor) -> Forward:
        """Compute the loss."""
        features, left, right = rows
        loss, accuracy = nt_xent(torch.cat([left, right]), self.settings.temperature, self.world)
        return Forward(loss, features, left, {"contrastive_accuracy": accuracy})

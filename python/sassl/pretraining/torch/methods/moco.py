"""MoCo v2 in torch (`src/methods/moco.rs` has the formulas).

All ranks have the same queue; its keys follow the row order of the global batch. If the global batch has several parts with
separate batch-norm statistics, the keys are computed in a shuffled order, so that batch norm does not leak which key belongs to
which query. The permutation is the one that the native engine draws.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...._sassl import key_order
from ....distributed.collectives import World
from ....distributed.norms import moved_once
from ...config import Config
from ..backbones import head
from ..losses import info_nce, normalized
from .base import Forward, Method, follow, follower, register

#: The base for splitting the number of steps into two float32 digits; one float32 is exact only up to 2^24.
_STEPS = 1 << 20


@register("moco-v2")
class MoCoV2(Method):
    """Contrasts each query with the momentum encoder's key of the other view, and with a queue of older keys."""

    is_native = True
    by_rows = True
    queue: Tensor

    def __init__(self, config: Config, world: World) -> None:
        super().__init__(config, world)
        own = self.settings
        sizes = (self.features, self.features, own.dim) if own.mlp else (self.features, own.dim)
        self.projector = head(*sizes, hidden_bias=True, hidden_norm=False, last_bias=True)
        self.key_backbone, self.key_projector = follower(self.backbone), follower(self.projector)
        self.register_buffer("queue", normalized(torch.randn(own.queue_size, own.dim)), persistent=False)
        self._pointer, self._steps = 0, 0
        # The keys of the current step.
        self._new: list[Tensor] = []

    def before_step(self, momentum: float | None) -> None:
        """Update the momentum encoder, which computes the keys."""
        follow((self.key_backbone, self.key_projector), (self.backbone, self.projector), momentum)

    def targets(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """The keys of all right views and, if the loss is symmetric, of all left views."""
        keys = [self._keys(right, 1)]
        if self.settings.symmetric:
            keys.append(self._keys(left, 0))
        self._new = keys[::-1]
        return tuple(keys)

    def forward(self, left: Tensor, right: Tensor, *keys: Tensor) -> Forward:
        """Compute the loss; a symmetric loss is the sum of both directions."""
        keys = keys or self.targets(left, right)
        features, q = self._queries(left)
        loss, accuracy = self._loss(q, keys[0])
        if self.settings.symmetric:
            _, other_q = self._queries(right)
            other_loss, other_accuracy = self._loss(other_q, keys[1])
            loss, accuracy = loss + other_loss, (accuracy + other_accuracy) / 2
        return Forward(loss, features, q, {"queue_accuracy": accuracy})

    def _queries(self, view: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(view)
        return features, normalized(self.projector(features))

    @torch.no_grad()
    def _keys(self, view: Tensor, number: int) -> Tensor:
        """The keys of this rank's rows. With several parts, batch norm runs on parts of the shuffled global batch."""
        if self.parts == 1:
            return self._encoded(view)
        rows = len(view) * self.world.size
        order = torch.from_numpy(key_order(self.seed, self._steps, number, rows).astype("int64"))
        shuffled = self.world.exchange(view, order)
        return self.world.exchange(self._encoded(shuffled), order.argsort())

    def _encoded(self, view: Tensor) -> Tensor:
        networks = (self.key_backbone, self.key_projector)
        passes = (
            lambda rows=rows: normalized(self.key_projector(self.key_backbone(rows)))
            for rows in view.chunk(self.pieces)
        )
        return torch.cat(moved_once(networks, passes))

    def _loss(self, q: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        return info_nce(q, keys, self.queue, self.settings.temperature, self.batch(q))

    @torch.no_grad()
    def after_step(self, momentum: float | None) -> None:
        """Replace the oldest keys in the circular queue by the new keys. The backward pass no longer needs the old keys."""
        for keys in self._new:
            # Only the newest keys if there are more than the queue holds.
            rows = self.world.gather(keys)
            at = (self._pointer + torch.arange(len(rows), device=rows.device)) % len(self.queue)
            kept = slice(max(0, len(rows) - len(self.queue)), None)
            self.queue[at[kept]] = rows[kept]
            self._pointer = (self._pointer + len(rows)) % len(self.queue)
        self._new = []
        self._steps += 1

    def own_state(self) -> dict[str, Tensor]:
        """The queue, the position of its oldest key, and the number of steps."""
        return {
            "queue": self.queue,
            "queue_pointer": torch.tensor([float(self._pointer)]),
            "steps": torch.tensor([float(self._steps // _STEPS), float(self._steps % _STEPS)]),
        }

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Load the queue, the position and the number of steps."""
        (pointer,), (high, low) = state["queue_pointer"].tolist(), state["steps"].tolist()
        for name, value, end in (
            ("queue_pointer", pointer, len(self.queue)),
            ("steps", high, 1 << 24),
            ("steps", low, _STEPS),
        ):
            if not (0 <= value < end and value == int(value)):
                raise ValueError(f"{name} must be an integer in [0, {end - 1}], got {value}; the state is damaged")
        with torch.no_grad():
            self.queue.copy_(state["queue"])
        self._pointer, self._steps = int(pointer), (int(high) << 20) + int(low)

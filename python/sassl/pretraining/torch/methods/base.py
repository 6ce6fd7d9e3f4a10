"""What a method is to the torch engine: a module that makes a loss of two views, and its row in the table.

A method's networks are its children, and have their attributes' names in checkpoints; those whose parameters ask for a gradient
learn. Everything is of the global batch: the loss that `forward` gives is this rank's *share*, which the engine adds up over
ranks. A mean over rows is the sum over this rank's rows divided by `batch(rows)`; `world.gather` gives the rows of all ranks.

    @register("mine")
    class Mine(Method):
        def __init__(self, config, world):
            super().__init__(config, world)
            self.projector = head(self.features, 64, hidden_bias=False)

        def forward(self, left, right):
            a, b = self.projector(self.backbone(left)), self.projector(self.backbone(right))
            return (a - b).square().sum() / self.batch(left)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...._sassl import backbone_names, initial_state
from ....distributed.collectives import World
from ....distributed.norms import Parts
from ...config import Config
from ...engines import State
from ..backbones import build
from ..draws import Draws


class Forward(NamedTuple):
    """The result of a step's forward pass."""

    #: This rank's share.
    loss: Tensor
    #: The left views' features.
    features: Tensor | None = None
    #: The left views' projections, by the network that learns.
    projections: Tensor | None = None
    #: Other numbers that are watched, by name: this rank's shares.
    watched: dict[str, Tensor] = {}  # noqa: RUF012 - of a NamedTuple

    @classmethod
    def of(cls, made: Forward | Tensor) -> Forward:
        """What a method gave, which may be the loss alone."""
        return made if isinstance(made, Forward) else cls(made)

    def detached(self) -> Forward:
        """Without the graph."""
        features, projections = (None if one is None else one.detach() for one in (self.features, self.projections))
        watched = {name: one.detach() for name, one in self.watched.items()}
        return Forward(self.loss.detach(), features, projections, watched)


class Method(nn.Module):
    """A method with its networks."""

    #: Networks that keep the largest rate, where the others follow the schedule.
    fixed_lr: frozenset[str] = frozenset()
    #: Whether the native engine has it too, under the same names.
    is_native = False
    #: Pieces in which the engine takes a step's rows, one after another.
    pieces = 1
    #: Whether the loss is a sum over rows of what each has by itself: then it is asked for piece by piece.
    by_rows = False

    def __init__(self, config: Config, world: World) -> None:
        super().__init__()
        self.settings: Any = config.method
        self.seed, self.world = config.seed, world
        #: Parts of the global batch that norms take apart.
        self.parts: int = getattr(config.method, "splits", 1)
        self.features = config.backbone.features
        self.backbone = build(config.backbone)
        #: Whether the native engine can go on with the run.
        self.has_native = self.is_native and config.backbone.name in backbone_names()
        #: Those of random layers, which networks of others may have.
        self.draws = None if self.has_native else Draws(config.seed, world)

    def batch(self, rows: Tensor) -> int:
        """Rows of all ranks, and of all pieces if they are asked for the loss one by one, where this one has these."""
        return len(rows) * self.world.size * (self.pieces if self.by_rows else 1)

    def forward(self, left: Tensor, right: Tensor) -> Forward | Tensor:
        """The loss of two views, (N, 3, H, W) each, of this rank's rows."""
        return self.loss(*self.represent(left, right))

    def represent(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """What the loss is made of, a row for each pair of views: in the place of `forward`, for a loss that is not by rows."""
        raise NotImplementedError

    def loss(self, *rows: Tensor) -> Forward | Tensor:
        """The loss of what `represent` gave, of all of this rank's rows."""
        raise NotImplementedError

    def targets(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """What has no gradient and is of all of this rank's rows together: `forward` is given these rows after its views, where
        the rows come in pieces."""
        return ()

    def before_step(self, momentum: float | None) -> None:
        """What comes before the forward pass; `momentum` is how far a momentum encoder stays what it is, where there is one."""

    def after_step(self, momentum: float | None) -> None:
        """What comes after the optimizer has updated the networks that learn."""

    def first_state(self, config: Config) -> State | None:
        """What a run begins with: the native engine's, where it is one run; None: what the module was made with."""
        return initial_state(config.core()) if self.has_native else None

    def check_batch(self, batch: int) -> None:
        """Raises a ValueError where steps of so many images, of all ranks together, cannot be."""
        if self.parts > 1:
            Parts(self.parts, self.world.rank, self.world.size).check(batch)
        if batch < 2:
            raise ValueError(f"batch_size = {batch}: at least 2: batch norm and negatives take other images")

    def learning(self) -> dict[str, nn.Module]:
        """Networks that learn, by name."""
        return {name: net for name, net in self.named_children() if any(p.requires_grad for p in net.parameters())}

    def own_state(self) -> dict[str, Tensor]:
        """What a continued run needs beside networks and optimizer, by name; floats."""
        return {}

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from it; names and shapes are checked.

        Raises:
            ValueError: values that cannot be; nothing is changed then.
        """


def follower(net: nn.Module) -> nn.Module:
    """A network that follows another: it begins as that one, and does not learn."""
    return copy.deepcopy(net).requires_grad_(False)


@torch.no_grad()
def follow(slow: Sequence[nn.Module], fast: Sequence[nn.Module], momentum: float | None) -> None:
    """slow = m slow + (1 - m) fast, of weights alone: a momentum encoder has running statistics of its own."""
    assert momentum is not None
    targets, online = ([p.data for net in nets for p in net.parameters()] for nets in (slow, fast))
    torch._foreach_lerp_(targets, online, 1 - momentum)


#: A function that makes a method of a run's settings and its ranks.
Maker = Callable[[Config, World], Method]
#: All methods of this engine, by name.
METHODS: dict[str, Maker] = {}


def register(name: str) -> Callable[[type[Method]], type[Method]]:
    """A decorator that adds a method, of this package or of another."""

    def add(kind: type[Method]) -> type[Method]:
        METHODS[name] = kind
        return kind

    return add

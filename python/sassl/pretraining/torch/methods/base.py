"""Methods of the torch engine: the base class, a module that computes a loss from two views, and the registry.

The networks of a method are its child modules; in checkpoints, they have the names of the attributes. Those whose parameters
require gradients are trained. All values refer to the global batch: the loss that `forward` returns is this rank's *share*,
which the engine sums over ranks. For a mean over rows, divide the sum over this rank's rows by `batch(rows)`; `world.gather`
returns the rows of all ranks.

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

    #: This rank's share of the loss.
    loss: Tensor
    #: The features of this rank's left views.
    features: Tensor | None = None
    #: The projections of this rank's left views, by the trained network.
    projections: Tensor | None = None
    #: This rank's shares of other metrics, by name.
    watched: dict[str, Tensor] = {}  # noqa: RUF012 - of a NamedTuple

    @classmethod
    def of(cls, made: Forward | Tensor) -> Forward:
        """Wrap the result of a method's `forward` or `loss`, which may be only the loss."""
        return made if isinstance(made, Forward) else cls(made)

    def detached(self) -> Forward:
        """Detach all tensors from the graph."""
        features, projections = (None if one is None else one.detach() for one in (self.features, self.projections))
        watched = {name: one.detach() for name, one in self.watched.items()}
        return Forward(self.loss.detach(), features, projections, watched)


class Method(nn.Module):
    """The base class of methods: a module that has the networks, and computes the loss.

    Args:
        config: the settings of the run.
        world: the ranks of the engine.
    """

    #: The names of networks that keep the peak learning rate instead of following the schedule.
    fixed_lr: frozenset[str] = frozenset()
    #: Whether the native engine has the method too, with the same tensor names.
    is_native = False
    #: The number of pieces in which the engine processes a step's rows, one after another.
    pieces = 1
    #: Whether the loss is a sum of independent terms per row, so that it can be computed piece by piece.
    by_rows = False

    def __init__(self, config: Config, world: World) -> None:
        super().__init__()
        self.settings: Any = config.method
        self.seed, self.world = config.seed, world
        #: The number of parts of the global batch with separate norm statistics.
        self.parts: int = getattr(config.method, "splits", 1)
        self.features = config.backbone.features
        self.backbone = build(config.backbone)
        #: Whether the native engine can resume the run.
        self.has_native = self.is_native and config.backbone.name in backbone_names()
        #: The draws of random layers, which third-party networks may have; None if the native engine can resume the run.
        self.draws = None if self.has_native else Draws(config.seed, world)

    def batch(self, rows: Tensor) -> int:
        """The number of rows of the global batch, given this rank's rows, or those of one piece if `by_rows`."""
        return len(rows) * self.world.size * (self.pieces if self.by_rows else 1)

    def forward(self, left: Tensor, right: Tensor) -> Forward | Tensor:
        """Compute the loss of two views of this rank's rows, (N, 3, H, W) each."""
        return self.loss(*self.represent(left, right))

    def represent(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """Compute the inputs of `loss`: tensors with a row for each pair of views.

        A method whose loss couples rows overrides this and `loss` instead of `forward`, so that steps can be divided into
        pieces.
        """
        raise NotImplementedError

    def loss(self, *rows: Tensor) -> Forward | Tensor:
        """Compute the loss from the results of `represent` for all of this rank's rows."""
        raise NotImplementedError

    def targets(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """Compute targets, without gradients, for all of this rank's rows at once.

        With several pieces, `forward` receives the piece's rows of the targets as further arguments.
        """
        return ()

    def before_step(self, momentum: float | None) -> None:
        """Called before the forward pass; `momentum` is the EMA coefficient of the momentum encoder, if there is one."""

    def after_step(self, momentum: float | None) -> None:
        """Called after the optimizer has updated the trained networks; `momentum` is as in `before_step`."""

    def first_state(self, config: Config) -> State | None:
        """The native engine's initial state, if it has the method and the backbone; None: keep the module's initial weights."""
        return initial_state(config.core()) if self.has_native else None

    def check_batch(self, batch: int) -> None:
        """Raise a ValueError if this batch size, over all ranks, is not supported."""
        if self.parts > 1:
            Parts(self.parts, self.world.rank, self.world.size).check(batch)
        if batch < 2:
            raise ValueError(
                f"batch_size must be an integer >= 2, as batch norm and negatives need other images, got {batch}"
            )

    def learning(self) -> dict[str, nn.Module]:
        """The trained networks, by name."""
        return {name: net for name, net in self.named_children() if any(p.requires_grad for p in net.parameters())}

    def own_state(self) -> dict[str, Tensor]:
        """Float tensors that a resumed run needs in addition to networks and optimizer, by name."""
        return {}

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Load the method's own state, whose names and shapes are already checked.

        Raises:
            ValueError: a value is invalid; nothing has changed in that case.
        """


def follower(net: nn.Module) -> nn.Module:
    """Copy a network for an exponential moving average; the copy is not trained."""
    return copy.deepcopy(net).requires_grad_(False)


@torch.no_grad()
def follow(slow: Sequence[nn.Module], fast: Sequence[nn.Module], momentum: float | None) -> None:
    """Update the parameters of `slow` in place: slow = m slow + (1 - m) fast. Running statistics are left unchanged."""
    assert momentum is not None
    targets, online = ([p.data for net in nets for p in net.parameters()] for nets in (slow, fast))
    torch._foreach_lerp_(targets, online, 1 - momentum)


#: A function that builds a method from a run's settings and its ranks.
Maker = Callable[[Config, World], Method]
#: All methods of this engine, by name.
METHODS: dict[str, Maker] = {}


def register(name: str) -> Callable[[type[Method]], type[Method]]:
    """Return a decorator that registers a method, of this or another package, under a name."""

    def add(kind: type[Method]) -> type[Method]:
        METHODS[name] = kind
        return kind

    return add

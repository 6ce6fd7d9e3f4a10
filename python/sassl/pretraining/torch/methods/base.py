"""Methods of the torch engine: the registry, and the base class, a module that computes a loss from two views.

The networks of a method are its child modules. A network's name in checkpoints is the name of its attribute. A network is
trained if any of its parameters requires gradients.

Losses and metrics refer to the global batch: `forward` returns this rank's *share* of the loss, and the engine sums the shares
over ranks. For a mean over rows, divide the sum over this rank's rows by `batch(rows)`. `world.gather` returns the rows of all
ranks.

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
    #: The trained network's projections of this rank's left views.
    projections: Tensor | None = None
    #: This rank's shares of other metrics, by name.
    watched: dict[str, Tensor] = {}  # noqa: RUF012 - of a NamedTuple

    @classmethod
    def of(cls, made: Forward | Tensor) -> Forward:
        """Convert the result of a method's `forward` or `loss`: a `Forward`, or only the loss."""
        return made if isinstance(made, Forward) else cls(made)

    def detached(self) -> Forward:
        """Detach all tensors from the graph."""
        features, projections = (None if one is None else one.detach() for one in (self.features, self.projections))
        watched = {name: one.detach() for name, one in self.watched.items()}
        return Forward(self.loss.detach(), features, projections, watched)


class Method(nn.Module):
    """The base class of methods: a module that holds the networks and computes the loss.

    Args:
        config: the settings of the run.
        world: the ranks of the engine.
    """

    #: The names of networks that keep the peak learning rate instead of following the schedule.
    fixed_lr: frozenset[str] = frozenset()
    #: Whether the native engine has the method too, with the same tensor names.
    is_native = False
    #: The number of pieces into which a step's rows are divided; the engine processes one piece after another.
    pieces = 1
    #: Whether the loss is a sum of independent terms, one per row. Such a loss can be computed piece by piece.
    by_rows = False

    def __init__(self, config: Config, world: World) -> None:
        super().__init__()
        self.settings: Any = config.method
        self.seed, self.world = config.seed, world
        #: The number of parts of the global batch; each part has its own batch-norm statistics.
        self.parts: int = getattr(config.method, "splits", 1)
        self.features = config.backbone.features
        self.backbone = build(config.backbone)
        #: Whether the native engine can resume the run.
        self.has_native = self.is_native and config.backbone.name in backbone_names()
        #: The draws of random layers in third-party networks; None if the native engine can resume the run.
        self.draws = None if self.has_native else Draws(config.seed, world)

    def batch(self, rows: Tensor) -> int:
        """The number of rows of the global batch.

        Args:
            rows: this rank's rows; if `by_rows`, the rows of one piece.
        """
        return len(rows) * self.world.size * (self.pieces if self.by_rows else 1)

    def forward(self, left: Tensor, right: Tensor) -> Forward | Tensor:
        """Compute the loss from the left and right views of a batch or piece, (N, 3, H, W) each."""
        return self.loss(*self.represent(left, right))

    def represent(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """Compute the inputs of `loss`: tensors with one row per pair of views.

        A method whose loss couples rows overrides `represent` and `loss` instead of `forward`. The engine can then divide
        steps into pieces.
        """
        raise NotImplementedError

    def loss(self, *rows: Tensor) -> Forward | Tensor:
        """Compute the loss from the results of `represent` for all of this rank's rows."""
        raise NotImplementedError

    def targets(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """Compute targets, without gradients, for all of this rank's rows at once.

        With several pieces, `forward` receives the targets of one piece as further arguments.
        """
        return ()

    def before_step(self, momentum: float | None) -> None:
        """Called before the forward pass; `momentum` is the EMA coefficient of the momentum encoder, if there is one."""

    def after_step(self, momentum: float | None) -> None:
        """Called after the optimizer has updated the trained networks; `momentum` is as in `before_step`."""

    def first_state(self, config: Config) -> State | None:
        """The native engine's initial state; None if that engine lacks the method or the backbone.

        With None, the module's initial weights are kept.
        """
        return initial_state(config.core()) if self.has_native else None

    def check_batch(self, batch: int) -> None:
        """Raise a ValueError if the method does not support this global batch size."""
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
        """Load the method's own state; names and shapes are already checked.

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
    """Return a decorator that registers a method class under a name."""

    def add(kind: type[Method]) -> type[Method]:
        METHODS[name] = kind
        return kind

    return add

"""Gradient accumulation: a step processes its rows in pieces, so that memory holds the activations of one piece only.

If the loss is a sum over rows, each piece computes its share of the loss and the gradients of that share.

If the loss couples the rows of a representation z, a step follows Gao et al. 2021 (arXiv 2101.06983), at the cost of one
more forward pass:

1. compute z without a graph, piece by piece;
2. compute the loss of the whole z, and d loss / d z;
3. compute the z of each piece again, with a graph, and backpropagate the piece's rows of d loss / d z.

The global batch consists of parts with separate batch-norm statistics; the setting `splits` is the number of parts. Both
algorithms are equivalent to a step on the whole batch if each piece consists of whole parts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...distributed.norms import moved_once, unmoved
from .methods import Forward, Method

Autocast = Callable[[], AbstractContextManager[Any]]
#: The signature of `torch.autograd.backward`.
Backward = Callable[..., None]


def check(method: Method, name: str, pieces: int) -> None:
    """Raise a ValueError if the number of pieces is invalid, or would change the run's results."""
    parts, ranks = method.parts, method.world.size
    if pieces < 1:
        raise ValueError(f"accumulate must be an integer >= 1, got {pieces}")
    if pieces == 1:
        return
    if not method.by_rows and type(method).represent is Method.represent:
        remedy = "a method in pieces has by_rows=True, or represent and loss instead of forward"
        raise ValueError(f"accumulate must be 1 for {name}, whose loss is of all rows at once, got {pieces}; {remedy}")
    if parts == 1:
        raise ValueError(
            f"accumulate must be 1 for norms over the whole batch (splits=1), got {pieces}; over pieces of it this would be "
            f"another run: give splits={pieces * ranks} too, a setting of the run, or checkpointing, or a smaller batch"
        )
    if parts % (pieces * ranks):
        of_ranks = f" of each of {ranks} ranks" if ranks > 1 else ""
        raise ValueError(
            f"accumulate must divide {parts // ranks if parts % ranks == 0 else parts}, as a piece{of_ranks} consists of whole "
            f"parts for norms (splits={parts}), got {pieces}"
        )


def forward(method: Method, views: list[Tensor], autocast: Autocast, backward: Backward) -> Forward:
    """Run the forward and backward passes over `method.pieces` pieces; the returned loss has no graph."""
    return (_by_rows if method.by_rows else _by_representations)(method, views, autocast, backward)


def _by_rows(method: Method, views: list[Tensor], autocast: Autocast, backward: Backward) -> Forward:
    with autocast():
        given = [*views, *method.targets(*views)]

    def one(rows: tuple[Tensor, ...]) -> Forward:
        with autocast():
            made = Forward.of(method(*rows))
        backward([made.loss])
        return made.detached()

    pieces = zip(*(rows.chunk(method.pieces) for rows in given), strict=True)
    made = moved_once([method], (partial(one, rows) for rows in pieces))
    loss = torch.stack([one.loss for one in made]).sum()
    watched = {name: torch.stack([one.watched[name] for one in made]).sum() for name in made[0].watched}
    return Forward(loss, _joined(one.features for one in made), _joined(one.projections for one in made), watched)


def _joined(rows: Any) -> Tensor | None:
    found = [one for one in rows if one is not None]
    return torch.cat(found) if found else None


def _by_representations(method: Method, views: list[Tensor], autocast: Autocast, backward: Backward) -> Forward:
    pieces = list(zip(*(rows.chunk(method.pieces) for rows in views), strict=True))
    draws: list[list[Tensor]] = []

    def one(rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with autocast():
            return method.represent(*rows)

    def first(rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        draws.append(_draws(rows[0].device))
        with torch.no_grad():
            return one(rows)

    cached = moved_once([method], (partial(first, rows) for rows in pieces))
    whole = [torch.cat(rows).requires_grad_() for rows in zip(*cached, strict=True)]
    with autocast():
        made = Forward.of(method.loss(*whole))
    gradients = torch.autograd.grad(made.loss, whole, allow_unused=True)
    of_pieces = [None if gradient is None else gradient.chunk(method.pieces) for gradient in gradients]
    devices = [views[0].device] if views[0].is_cuda else []
    with unmoved(method):
        for n, rows in enumerate(pieces):
            with torch.random.fork_rng(devices):
                _draw_again(draws[n], rows[0].device)
                again = one(rows)
            pairs = [(z, gradient[n]) for z, gradient in zip(again, of_pieces, strict=True) if gradient is not None]
            backward([z for z, _ in pairs], [gradient for _, gradient in pairs])
    return made.detached()


def _draws(device: torch.device) -> list[Tensor]:
    """The states of torch's CPU generator and, if the device is a GPU, of the GPU's generator."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _draw_again(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)

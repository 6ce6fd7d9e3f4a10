"""Collectives of a training step, under one convention: a run's loss is the sum of the losses of all ranks.

This has three consequences:

- The backward pass of each collective here is a sum over ranks.
- Gradients of weights are summed over ranks, not averaged.
- For a mean over a batch, each rank divides the sum over its rows by the number of rows of the *global* batch.

Differentiable values use functional collectives, because `torch.compile` silently zeroes the gradients of in-place collectives.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import _functional_collectives as functional

#: Functional collectives. Newer torch releases have the first name, older releases the second.
_gather_rows = getattr(functional, "all_gather_single", None) or functional.all_gather_tensor
_scatter_sum = getattr(functional, "reduce_scatter_single", None) or functional.reduce_scatter_tensor
#: The maximum size in bytes of a bucket. The tensors of a bucket are sent in one message.
_BUCKET = 32 << 20


#: All objects that hold a process group.
_WORLDS: WeakSet[World] = WeakSet()


@atexit.register
def let_go() -> None:
    """Release all process groups at exit. Otherwise, gloo's threads outlive the objects they use, and abort the process."""
    for world in _WORLDS:
        world.group = None


class World:
    """The ranks of an engine, as seen from this process; a single process does not communicate.

    Args:
        group: the process group; None: a single process.
    """

    def __init__(self, group: Any = None) -> None:
        self.group = group
        _WORLDS.add(self)
        self.size = 1 if group is None else dist.get_world_size(group)
        self.rank = 0 if group is None else dist.get_rank(group)

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of the global batch: the rows of all ranks, concatenated in rank order. Differentiable."""
        return rows if self.size == 1 else gather(rows, self.group)

    @torch.no_grad()
    def exchange(self, rows: Tensor, order: Tensor) -> Tensor:
        """Permute the rows of the global batch, without a gradient: row i of the result is row order[i] of the batch.

        Args:
            rows: this rank's rows.
            order: a permutation of the row indices of the global batch, on the CPU, the same on all ranks.

        Returns:
            This rank's rows of the permuted batch.
        """
        if self.size == 1:
            return rows[_there(order, rows)]
        share = len(rows)
        wanted = order.view(self.size, share)
        owners = wanted // share
        mine = [wanted[to][owners[to] == self.rank] - self.rank * share for to in range(self.size)]
        received = rows.new_empty(rows.shape)
        dist.all_to_all_single(
            received,
            rows[_there(torch.cat(mine), rows)],
            torch.bincount(owners[self.rank], minlength=self.size).tolist(),
            [len(part) for part in mine],
            group=self.group,
        )
        # Received rows are grouped by source rank, and within a rank in the requested order.
        came = owners[self.rank].argsort(stable=True)
        return received[_there(came.argsort(), rows)]

    @torch.no_grad()
    def sum(self, values: Tensor) -> Tensor:
        """Sum values over ranks, in place and without a gradient, and return them on all ranks."""
        if self.size > 1:
            dist.all_reduce(values, group=self.group)
        return values

    @torch.no_grad()
    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over ranks, in place. Tensors are sent in buckets."""
        self._send(tensors, self.sum)

    @torch.no_grad()
    def first(self, tensors: Sequence[Tensor]) -> None:
        """Copy the tensors of rank 0 to all ranks, in place."""

        def send(flat: Tensor) -> Tensor:
            dist.broadcast(flat, dist.get_global_rank(self.group, 0), self.group)
            return flat

        self._send(tensors, send)

    def _send(self, tensors: Sequence[Tensor], send: Callable[[Tensor], Tensor]) -> None:
        for bucket in _buckets(tensors) if self.size > 1 else ():
            parts = send(torch.cat([tensor.reshape(-1) for tensor in bucket])).split_with_sizes(
                [one.numel() for one in bucket]
            )
            torch._foreach_copy_(bucket, [part.view(one.shape) for part, one in zip(parts, bucket, strict=True)])


def _there(places: Tensor, rows: Tensor) -> Tensor:
    """Copy row indices to the device of the rows, without synchronization."""
    return places.to(rows.device, non_blocking=True)


def gather(rows: Tensor, group: Any) -> Tensor:
    """Return the rows of all ranks, concatenated in rank order. Differentiable."""
    gathered: Tensor = _Gather.apply(rows, group)
    return gathered


class _Gather(torch.autograd.Function):
    """Differentiable all-gather: the gradient of a row is the sum of its gradients on all ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return all_gather(rows, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _scatter_sum(gradient.contiguous(), "sum", 0, ctx.group), None


def all_gather(rows: Tensor, group: Any) -> Tensor:
    """Return the rows of all ranks; for use within an `autograd.Function`."""
    return _gather_rows(rows.contiguous(), 0, group)


def all_sum(values: Tensor, group: Any) -> Tensor:
    """Return the sum of values over ranks; for use within an `autograd.Function`."""
    return functional.all_reduce(values.contiguous(), "sum", group)


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Group tensors by dtype into buckets of at most `_BUCKET` bytes; a larger tensor has a bucket of its own."""
    found: dict[torch.dtype, list[list[Tensor]]] = {}
    sizes: dict[torch.dtype, int] = {}
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if tensor.dtype not in found or sizes[tensor.dtype] + size > _BUCKET:
            found.setdefault(tensor.dtype, []).append([])
            sizes[tensor.dtype] = 0
        found[tensor.dtype][-1].append(tensor)
        sizes[tensor.dtype] += size
    return [bucket for buckets in found.values() for bucket in buckets]

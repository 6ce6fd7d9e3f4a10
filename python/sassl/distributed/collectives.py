"""Collectives of a training step, under one convention: a run's loss is the sum over ranks of what each computes.

Hence every backward pass here is a sum over ranks, gradients of weights are summed and not averaged, and for a mean over a
batch, each rank divides its sum by the rows of the *global* batch; no factor of the number of ranks appears anywhere.
Differentiable values go through functional collectives: `torch.compile` silently zeroes the gradients of in-place ones.
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

#: Functional collectives, by their names in newer torch releases if these exist, else by their older names.
_gather_rows = getattr(functional, "all_gather_single", None) or functional.all_gather_tensor
_scatter_sum = getattr(functional, "reduce_scatter_single", None) or functional.reduce_scatter_tensor
#: The maximum size, in bytes, of a bucket of tensors that are sent together.
_BUCKET = 32 << 20


#: All objects that hold a process group.
_WORLDS: WeakSet[World] = WeakSet()


@atexit.register
def let_go() -> None:
    """Release all groups at exit: gloo's threads would outlive the objects that they use, and abort the process."""
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
        """Return the rows of all ranks in rank order, which is the order of the global batch; differentiable."""
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
        """Sum each tensor over ranks, in place, in buckets."""
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
    """Return the rows of all ranks, concatenated in rank order; differentiable."""
    gathered: Tensor = _Gather.apply(rows, group)
    return gathered


class _Gather(torch.autograd.Function):
    """All-gather whose gradient for a rank's rows is the sum of the gradients on all ranks."""

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
    """Group tensors by dtype into buckets of at most `_BUCKET` bytes; a larger tensor has its own."""
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

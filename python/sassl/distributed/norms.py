"""Batch norm over parts of the global batch.

In training, each part has its own batch-norm statistics. The number of parts determines the kind of batch norm:

- a single part: synchronized batch norm;
- one part per rank: per-rank batch norm;
- other counts: a rank may have several parts, or a part may span ranks, such as 3 parts on 2 ranks.

Statistics are computed in at least float32. Running statistics are updated by the mean over the parts.

    mean, var of part p over its rows on all ranks;  y = gamma (x - mean) / sqrt(var + eps) + beta
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from .collectives import World, all_gather, all_sum

#: timm's batch norms, which have dropout and an activation as children.
_WITH_ACTIVATION = ("BatchNormAct2d", "SyncBatchNormAct")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Parts:
    """The division of the global batch into `count` equal parts of contiguous rows, as seen from one rank."""

    count: int
    rank: int
    ranks: int

    @property
    def are_local(self) -> bool:
        """True if no part spans several ranks."""
        return self.count % self.ranks == 0

    def spans(self, rows: int) -> list[tuple[int, int, int]]:
        """Return (part, start, end) for each part that has rows on this rank.

        The part has the rows start to end - 1 of the `rows` rows of this rank.
        """
        size, first = rows * self.ranks // self.count, self.rank * rows
        spans = []
        for part in range(first // size, (first + rows - 1) // size + 1):
            spans.append((part, max(part * size, first) - first, min((part + 1) * size, first + rows) - first))
        return spans

    def shares(self) -> list[list[float]]:
        """For each rank and part, the fraction of the part's rows that are on the rank, as [rank][part]."""

        def overlap(rank: int, part: int) -> float:
            # Positions in a batch of count * ranks rows.
            low, high = max(rank * self.count, part * self.ranks), min((rank + 1) * self.count, (part + 1) * self.ranks)
            return max(0, high - low) / self.ranks

        return [[overlap(rank, part) for part in range(self.count)] for rank in range(self.ranks)]

    def check(self, batch: int) -> None:
        """Raise a ValueError if a global batch cannot be split into these parts."""
        if batch % self.count or batch // self.count < 2:
            raise ValueError(
                f"splits must divide the batch of {batch} into equal parts of at least 2 images, got {self.count}"
            )


class PartNorm(_BatchNorm):
    """Batch norm as in `torch.nn`, but with separate training statistics for each part of the global batch.

    Args:
        norm: the norm to replace; its parameters and buffers are shared.
        parts: the parts of the global batch.
        world: the ranks among which the parts are distributed.
    """

    def __init__(self, norm: _BatchNorm, parts: Parts, world: World) -> None:
        if norm.momentum is None or not norm.track_running_stats:
            raise ValueError(f"{norm} must have running statistics and a momentum; the engine's norms have both")
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine)
        self._parameters, self._buffers = norm._parameters, dict(norm._buffers)
        # The children of timm's norms: dropout and an activation.
        self._modules = norm._modules
        self.parts, self.world = parts, world
        share = None if parts.are_local else torch.tensor(parts.shares())[..., None]
        self.register_buffer("share", share, persistent=False)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.ndim < 2:
            raise ValueError(f"the input of a norm must have shape (N, C, ...), got {tuple(input.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        """Normalize; in training, update the running statistics."""
        y = self._normalized(x)
        for behind in self.children():
            y = behind(y)
        return y

    def _normalized(self, x: Tensor) -> Tensor:
        if not self.training:
            return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        if not self.parts.are_local:
            return self._across(x)
        count = self.parts.count // self.parts.ranks
        if count == 1:
            return self._whole(x, self.running_mean, self.running_var, self.momentum)
        assert self.running_mean is not None
        moments = self.running_mean.new_zeros(2, count, self.num_features)
        made = [self._whole(rows, moments[0, i], moments[1, i], 1.0) for i, rows in enumerate(x.chunk(count))]
        self._track(moments[0].mean(0), moments[1].mean(0))
        return torch.cat(made)

    def _whole(self, x: Tensor, mean: Tensor | None, var: Tensor | None, momentum: float | None) -> Tensor:
        return batch_norm(x, mean, var, self.weight, self.bias, True, momentum or 0.0, self.eps)

    def _across(self, x: Tensor) -> Tensor:
        spans = self.parts.spans(len(x))
        y, mean, var = _Across.apply(x, self.weight, self.bias, self.share, spans, self.eps, self.world.group)
        n = len(x) * self.parts.ranks // self.parts.count * x[0, 0].numel()
        self._track(mean.mean(0), var.mean(0) * (n / max(n - 1, 1)))
        return y

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)


class _Across(torch.autograd.Function):
    """Batch norm for parts that span ranks.

    The forward pass gathers the moments of each rank. The backward pass adds up the per-channel sums of all ranks.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        share: Tensor,
        spans: list[tuple[int, int, int]],
        eps: float,
        group: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        share = share.to(torch.promote_types(x.dtype, torch.float32))
        ranks, parts = share.shape[:2]
        dims = [0, *range(2, x.ndim)]
        own = [share.new_zeros(2, x.shape[1])] * parts
        for part, start, end in spans:
            var, mean = torch.var_mean(x[start:end].to(share.dtype), dims, correction=0)
            own[part] = torch.stack([mean, var])
        means, variances = all_gather(torch.stack(own), group).view(ranks, parts, 2, -1).unbind(2)
        # Pooled moments from those of each subset of rows (Chan et al. 1979).
        mean = (share * means).sum(0)
        var = (share * (variances + (means - mean).square())).sum(0)
        scale = (var + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.spans, ctx.group, ctx.has_bias = spans, group, bias is not None
        ctx.rows = len(x) * ranks // parts * x[0, 0].numel()
        y = torch.cat([_normed(x[start:end], mean[part], scale[part]) for part, start, end in spans])
        if weight is not None:
            y = y * _channels(weight, x)
        if bias is not None:
            y = y + _channels(bias, x)
        ctx.mark_non_differentiable(mean, var)
        return y.to(x.dtype), mean, var

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        dims = [0, *range(2, x.ndim)]
        own = [mean.new_zeros(2, x.shape[1])] * len(mean)
        for part, start, end in ctx.spans:
            of_part = dy[start:end].to(mean.dtype)
            apart = _normed(x[start:end], mean[part], scale[part])
            own[part] = torch.stack([of_part.sum(dims), (of_part * apart).sum(dims)])
        sums = torch.stack(own)
        # Each rank returns its own share of the weights' gradients, as for all other weights.
        dbias, dweight = sums.sum(0)
        sums = all_sum(sums, ctx.group) / ctx.rows
        made = []
        for part, start, end in ctx.spans:
            apart = _normed(x[start:end], mean[part], scale[part])
            centred = dy[start:end].to(mean.dtype) - _channels(sums[part, 0], x) - apart * _channels(sums[part, 1], x)
            gain = scale[part] if weight is None else scale[part] * weight
            made.append((centred * _channels(gain, x)).to(x.dtype))
        dweight = None if weight is None else dweight.to(weight.dtype)
        return torch.cat(made), dweight, dbias if ctx.has_bias else None, None, None, None, None


def _channels(values: Tensor, x: Tensor) -> Tensor:
    """Reshape per-channel values to broadcast over x."""
    return values.view(1, -1, *[1] * (x.ndim - 2))


def _normed(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return (x.to(mean.dtype) - _channels(mean, x)) * _channels(scale, x)


def by_parts(module: nn.Module, parts: Parts, world: World) -> None:
    """Replace each batch norm of `torch.nn` and timm by a `PartNorm`; a norm shared by two modules stays shared.

    Raises:
        ValueError: the module has a batch norm that `PartNorm` cannot replace.
    """
    made: dict[nn.Module, PartNorm] = {}
    for holder in list(module.modules()):
        for name, child in holder._modules.items():
            if not isinstance(child, _BatchNorm):
                continue
            if child not in made:
                _check_known(child)
                made[child] = PartNorm(child, parts, world)
            setattr(holder, name, made[child])


def _check_known(norm: _BatchNorm) -> None:
    """Raise a ValueError unless a norm has the forward pass of torch's batch norms, or of timm's with an activation."""
    plain = type(norm).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward)
    if not plain and type(norm).__name__ not in _WITH_ACTIVATION:
        raise ValueError(
            f"{type(norm).__name__} is a batch norm with a forward pass of its own, which cannot be split; use "
            "torch.nn.BatchNorm2d"
        )


def running(*modules: nn.Module) -> list[Tensor]:
    """The running means and variances of every `PartNorm` in the modules."""
    return [
        moment for norm in _norms(modules) for moment in (norm.running_mean, norm.running_var) if moment is not None
    ]


def _norms(modules: Iterable[nn.Module]) -> list[PartNorm]:
    return [norm for one in modules for norm in one.modules() if isinstance(norm, PartNorm)]


@contextmanager
def unmoved(*modules: nn.Module) -> Iterator[None]:
    """Restore the running statistics at the end of a block that repeats forward passes."""
    counts = [norm.num_batches_tracked for norm in _norms(modules) if norm.num_batches_tracked is not None]
    held = [*running(*modules), *counts]
    before = [one.clone() for one in held]
    try:
        yield
    finally:
        _copy(held, before)


def moved_once(modules: Sequence[nn.Module], passes: Iterable[Callable[[], _T]]) -> list[_T]:
    """Run passes over equal pieces of a batch, and update the running statistics as one pass over the whole batch would.

    Each pass starts from the same running statistics, and the final statistics are the mean over the passes. This is exact,
    because running statistics are linear in the statistics of the parts. Returns the results of the passes.
    """
    passes, made = list(passes), []
    if len(passes) == 1:
        return [passes[0]()]
    moments = running(*modules)
    before = [one.clone() for one in moments]
    sums = [torch.zeros_like(one) for one in moments]
    counts = [norm.num_batches_tracked for norm in _norms(modules) if norm.num_batches_tracked is not None]
    first = [one.clone() for one in counts]
    for one in passes:
        _copy([*moments, *counts], [*before, *first])
        made.append(one())
        if moments:
            torch._foreach_add_(sums, torch._foreach_sub(moments, before))
    if moments:
        torch._foreach_div_(sums, len(made))
        _copy(moments, torch._foreach_add(before, sums))
    return made


@torch.no_grad()
def _copy(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for one, value in zip(tensors, values, strict=True):
        one.copy_(value)

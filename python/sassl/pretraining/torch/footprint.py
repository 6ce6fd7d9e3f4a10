"""Estimate the memory of a step of the torch engine before a run. The estimate runs one step on fake tensors."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...distributed.collectives import World
from ...transforms.operations import size
from ..config import Config
from ..settings import AdamW
from . import accumulation, recomputation
from .methods import METHODS, Forward, Method


class _Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that counts the current and peak bytes of the tensors created within it.

    Args:
        there: tensors that exist already, and are not counted.
    """

    def __init__(self, there: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet(tensor.untyped_storage() for tensor in there)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, n: int) -> None:
        self.now -= n


def footprint(config: Config, rows: int, *, accumulate: int, checkpointing: bool, precision: str) -> dict[str, int]:
    """The memory in bytes of a step on `rows` rows, by kind.

    The kinds are "weights" and "gradients" of the trained networks, "optimizer" for the optimizer's state, "momentum" for
    weights that are not trained (such as a momentum encoder's) and all buffers, and "activations".

    The keyword arguments are as in `Torch`.

    Raises:
        ValueError: the method or the backbone is unknown; the backbone has no blocks for checkpointing.
    """
    if config.method.name not in METHODS:
        raise ValueError(f'method must be one of {", ".join(METHODS)} for engine="torch", got {config.method.name!r}')
    dtype = torch.float64 if precision == "float64" else torch.float32
    # Two pieces stand for any larger number, and norms over the parts of a piece keep as much memory as norms over all of it.
    pieces = min(accumulate, 2)
    rows = -(-rows // accumulate) * pieces
    changed = config.changed(splits=pieces) if hasattr(config.method, "splits") else config
    with torch.random.fork_rng(devices=[]):
        method = METHODS[config.method.name](changed, World())
    with FakeTensorMode(allow_non_fake_inputs=True):
        _fake(method, dtype)
        method.pieces = pieces
        if checkpointing:
            recomputation.wrap(method.backbone, config.backbone.name)
        learning = [p for p in method.parameters() if p.requires_grad]
        for p in learning:
            _hold(p)
        views = [torch.empty(rows, 3, *size(config.data.input_size, "input_size"), dtype=dtype) for _ in range(2)]
        gradients = [p.grad for p in learning if p.grad is not None]
        peak = _Peak([*method.parameters(), *method.buffers(), *gradients, *views])
        with peak:
            _step(method, views, precision)
    weights = _bytes(learning)
    slots = 2 if isinstance(config.optimizer, AdamW) else int(getattr(config.optimizer, "momentum", 0) > 0)
    others = [tensor for tensor in (*method.parameters(), *method.buffers()) if not tensor.requires_grad]
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer": slots * weights,
        "momentum": _bytes(others),
        "activations": peak.most,
    }


def _hold(p: Tensor) -> None:
    """Allocate a gradient in advance, and keep it; otherwise, with fake tensors, each backward pass allocates another one."""
    p.grad = held = torch.zeros_like(p)

    def put_back(p: Tensor) -> None:
        p.grad = held

    p.register_post_accumulate_grad_hook(put_back)  # type: ignore[no-untyped-call]


def _fake(method: Method, dtype: torch.dtype) -> None:
    """Replace all parameters and buffers of a method by fake tensors."""
    for module in method.modules():
        for name, p in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(torch.empty(p.shape, dtype=dtype), p.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            kind = dtype if buffer.is_floating_point() else buffer.dtype
            setattr(module, name, torch.empty(buffer.shape, dtype=kind))


def _step(method: Method, views: list[Tensor], precision: str) -> None:
    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()

    def backward(made: Sequence[Tensor], gradients: Sequence[Tensor] | None = None) -> None:
        torch.autograd.backward(made, gradients)

    if method.pieces > 1:
        accumulation.forward(method, views, autocast, backward)
        return
    with autocast():
        made = Forward.of(method(*views))
    backward([made.loss])


def _bytes(tensors: Sequence[Tensor | nn.Parameter]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

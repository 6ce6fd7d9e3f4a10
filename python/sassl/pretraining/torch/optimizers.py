"""The native engine's optimizers in torch: SGD and AdamW from `torch.optim`, and LARS as in facebookresearch/moco-v3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..engines import Rates
from ..settings import LARS, SGD, AdamW, OptimizerSettings
from .methods import Method

#: Names of class tokens and position embeddings of transformers in torchvision and timm.
_EMBEDDINGS = ("class_token", "cls_token", "pos_embedding", "pos_embed", "relative_position_bias_table")


class Lars(Optimizer):
    """LARS: `u = g + lambda p`, `u = eta |p| / |u| u`, `v = mu v + u`, `p = p - lr v`.

    The scaling by `eta |p| / |u|` is skipped if |p| or |u| is 0. Parameter groups with "adapted" false use `u = g`.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float, eta: float) -> None:
        super().__init__(groups, {"lr": 0.0, "momentum": momentum, "eta": eta})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all weights."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            updates, memory = [p.grad for p in params], [self.state[p]["mu"] for p in params]
            if not params:
                continue
            if group["adapted"]:
                updates = _adapted(params, updates, group["weight_decay"], group["eta"])
            torch._foreach_mul_(memory, group["momentum"])
            torch._foreach_add_(memory, updates)
            torch._foreach_add_(params, memory, alpha=-group["lr"])


def _adapted(params: list[Tensor], grads: list[Tensor], decay: float, eta: float) -> list[Tensor]:
    """The gradients plus weight decay, each scaled so that its norm is `eta` times the norm of its weight."""
    updates = list(torch._foreach_add(grads, params, alpha=decay))
    lengths, others = (torch.stack(list(torch._foreach_norm(one))) for one in (params, updates))
    trust = torch.where((lengths > 0) & (others > 0), eta * lengths / others, 1.0)
    torch._foreach_mul_(updates, list(trust.unbind()))
    return updates


def build(settings: OptimizerSettings, method: Method, device: torch.device) -> Optimizer:
    """Build the optimizer of a method's trained networks, in its initial state."""
    groups = list(_groups(settings, method))
    # One kernel for all weights; None: torch's default.
    fused = True if device.type == "cuda" else None
    made: Optimizer
    match settings:
        case SGD():
            made = torch.optim.SGD(groups, 0.0, settings.momentum, nesterov=settings.nesterov, fused=fused)
        case LARS():
            made = Lars(groups, settings.momentum, settings.eta)
        case AdamW():
            made = torch.optim.AdamW(groups, 0.0, fused=fused)
        case _:
            raise ValueError(f'optimizer must be one of sgd, lars, adamw for engine="torch", got {settings.name!r}')
    for group in made.param_groups:
        for p in group["params"]:
            made.state[p] |= _slots(settings, p, device if fused else torch.device("cpu"))
    return made


def _groups(settings: OptimizerSettings, method: Method) -> Iterator[dict[str, Any]]:
    """Yield parameter groups. Each trained network has a group of `_spared` parameters and a group of all others."""
    for name, network in method.learning().items():
        spared = _spared(network)
        for is_matrix in (True, False):
            own = [(key, p) for key, p in network.named_parameters() if p.requires_grad]
            params = [p for key, p in own if (key not in spared) == is_matrix]
            held = is_matrix or not settings.exclude_bias_and_norm
            if params:
                yield {
                    "params": params,
                    "weight_decay": settings.weight_decay if held else 0.0,
                    "adapted": held,
                    "is_fixed": name in method.fixed_lr,
                }


def _spared(network: nn.Module) -> set[str]:
    """The names of a network's biases, norm parameters, class tokens and position embeddings, by timm's rule.

    A parameter is included if any of these holds:

    - it has at most one dimension;
    - its name ends in ".bias";
    - its name matches a pattern of the network's `no_weight_decay()`. For a network without that method, the patterns are the
      names in `_EMBEDDINGS`, with or without a prefix.
    """
    told = getattr(network, "no_weight_decay", None)
    patterns = list(told()) if callable(told) else [*_EMBEDDINGS, *(f"*.{name}" for name in _EMBEDDINGS)]
    return {
        name
        for name, p in network.named_parameters()
        if p.ndim <= 1 or name.endswith(".bias") or any(fnmatch(name, pattern) for pattern in patterns)
    }


def _slots(settings: OptimizerSettings, p: nn.Parameter, device: torch.device) -> dict[str, Tensor]:
    """The initial optimizer state of a weight: zeros. torch's optimizers would otherwise create it only at the first step."""
    if isinstance(settings, AdamW):
        step = torch.zeros((), device=device)
        return {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p), "step": step}
    if isinstance(settings, LARS):
        return {"mu": torch.zeros_like(p)}
    return {"momentum_buffer": torch.zeros_like(p)} if isinstance(settings, SGD) and settings.momentum > 0 else {}


def set_rates(optimizer: Optimizer, rates: Rates) -> None:
    """Set the learning rates of a step."""
    for group in optimizer.param_groups:
        group["lr"] = rates.fixed_lr if group["is_fixed"] else rates.lr


def slots(optimizer: Optimizer, method: Method) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of the optimizer's state, each as (name in checkpoints, tensor)."""
    for network, module in method.learning().items():
        for name, p in module.named_parameters():
            for slot, tensor in optimizer.state[p].items():
                yield f"optimizer.{network}.{name}.{slot}", tensor

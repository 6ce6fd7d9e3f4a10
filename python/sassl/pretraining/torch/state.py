"""The state of a run as named tensors: reading, checking and loading. Names and shapes are the native engine's."""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from ..engines import State
from .methods import Method
from .optimizers import slots

#: float32 represents all integers up to this one exactly.
_COUNTS = 1 << 24


def tensors(method: Method, optimizer: Optimizer) -> dict[str, Tensor]:
    """The tensors of a run, by name.

    The tensors of networks and optimizer are not copies: changing one changes the run. Other tensors may be copies.
    """
    found = dict(method.state_dict())
    found |= {name: _flat(tensor) for name, tensor in slots(optimizer, method)}
    own = {f"method.{name}": tensor for name, tensor in method.own_state().items()} | (
        method.draws.state() if method.draws else {}
    )
    # On the device of the weights, so that all tensors can be sent to other ranks together.
    device = next(method.parameters()).device
    found |= {name: tensor.to(device) for name, tensor in own.items()}
    return dict(sorted(found.items()))


def shapes(method: Method) -> str:
    """Summarize the networks in one line: the count of tensors and of values, and a checksum of names and shapes.

    Ranks compare this line to check that their networks have the same tensors.
    """
    found = {name: tuple(tensor.shape) for name, tensor in method.state_dict().items()}
    values = sum(tensor.numel() for tensor in method.state_dict().values())
    return f"{len(found)} tensors, {values} values, checksum {crc32(repr(found).encode()):08x}"


def _flat(slot: Tensor) -> Tensor:
    """Reshape a scalar, such as a count of steps, to one dimension, as in checkpoints."""
    return slot.view(1) if slot.ndim == 0 else slot


def arrays(named: Mapping[str, Tensor]) -> State:
    """Copy tensors to float32 arrays for a checkpoint."""

    def copied(tensor: Tensor) -> NDArray[np.float32]:
        return tensor.detach().to("cpu", torch.float32, copy=True).contiguous().numpy()

    return {name: copied(tensor) for name, tensor in named.items()}


def put(method: Method, optimizer: Optimizer, given: Mapping[str, Tensor]) -> None:
    """Load tensors returned by `check` or by `tensors`.

    Raises:
        ValueError: the method's own state, or the step count of its draws, is invalid; nothing has changed in that case.
    """
    steps = method.draws.read(given) if method.draws else 0
    method.load_own_state({name.removeprefix("method."): x for name, x in given.items() if name.startswith("method.")})
    if method.draws:
        method.draws.steps = steps
    with torch.no_grad():
        for name, tensor in tensors(method, optimizer).items():
            if not name.startswith(("method.", "draws.")):
                tensor.copy_(given[name])


def check(mine: Mapping[str, Tensor], state: State, what: str = "run") -> dict[str, Tensor]:
    """Convert a state to tensors, after a check of its names, shapes and values.

    Raises:
        ValueError: a tensor is missing, unknown or invalid; the message names the first such tensor.
    """
    for name, tensor in mine.items():
        if name not in state:
            raise ValueError(f'the state lacks "{name}"; is it of another method or backbone?')
        if np.shape(state[name]) != tuple(tensor.shape):
            shapes = f"{tuple(tensor.shape)}, got {np.shape(state[name])}"
            raise ValueError(f"{name} must have shape {shapes}; is it of another backbone?")
    if unknown := [name for name in state if name not in mine]:
        raise ValueError(f'the state has "{unknown[0]}", unlike this {what}; is it of another method?')
    return {name: _checked(name, values) for name, values in state.items()}


def check_backbone(backbone: nn.Module, state: State) -> dict[str, Tensor]:
    """Check a backbone's state as `check` does. `num_batches_tracked` may be missing, and `fc.*` is ignored if unused."""
    mine = backbone.state_dict()
    counts = {name: mine[name].cpu().numpy() for name in mine if _is_count(name) and name not in state}
    given = {name: np.reshape(values, ()) if _is_count(name) else values for name, values in state.items()}
    kept = {name: x for name, x in given.items() if name in mine or not name.startswith("fc.")}
    return check(mine, {**counts, **kept}, "backbone")


def _checked(name: str, values: NDArray[np.float32]) -> Tensor:
    array = np.asarray(values)
    finite = np.isfinite(array)
    if not finite.all():
        found = array[~finite].flat[0]
        raise ValueError(f"{name} must be finite, got {found}; has the run diverged, or is the file damaged?")
    if _is_count(name) and not ((array >= 0) & (array <= _COUNTS) & (array == np.round(array))).all():
        raise ValueError(f"{name} must be an integer in [0, {_COUNTS}], got {array}; the state is damaged")
    if name.endswith(("running_var", ".exp_avg_sq")) and (array < 0).any():
        raise ValueError(f"{name} must be >= 0, as a variance, got {array.min()}; the state is damaged")
    return torch.tensor(array)


def _is_count(name: str) -> bool:
    return name.endswith(("num_batches_tracked", ".step"))

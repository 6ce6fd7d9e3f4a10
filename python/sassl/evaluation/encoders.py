"""Models that compute features: sassl's, torch modules, and any other function of float images."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .. import _sassl
from .preprocessing import Preprocessing
from .protocol import Encoder

Array = NDArray[np.float32]


#: One of sassl's models, or a function from (N, 3, H, W) or (N, H, W, 3) float32 to (N, dim).
Model = Encoder | Callable[[Any], Any]


def is_own(model: Model) -> TypeGuard[Encoder]:
    """Return whether the model is an `Encoder`, which knows its own preprocessing."""
    return hasattr(model, "encode_normalized")


def threads_of(model: Model) -> int:
    """Return the number of images to preprocess in parallel."""
    return model.threads if is_own(model) else int(_sassl.info()["threads"])


def rule_of(model: Model, given: Preprocessing | None) -> Preprocessing:
    """Return the preprocessing of images for this model: the given one, or else the model's own.

    Raises:
        TypeError: not a model, or not a `Preprocessing`; no preprocessing is given for a model without one of its own.
        ValueError: the model's normalization is not known, or differs from that of the given preprocessing.
    """
    name = type(model).__name__
    if given is not None and not isinstance(given, Preprocessing):
        raise TypeError(f"preprocessing must be a sassl.evaluation.Preprocessing, got {type(given).__name__}")
    if is_own(model):
        if given is None:
            return Preprocessing.of(model)
        if not isinstance(model.normalize, str) and not given.is_normalized_as(model.normalize):
            raise ValueError(
                f"preprocessing must have normalize={model.normalize}, as the model's views were normalized, got "
                f"{given.normalize}"
            )
        return given
    if not callable(model):
        raise TypeError(f"model must be one of sassl's, a torch module or a function of images, got {name}")
    if given is None:
        raise TypeError(
            f"preprocessing is required for {name}; give sassl.evaluation.Preprocessing(224, "
            'resize=256, normalize={"mean": ..., "std": ...}), or what it was trained on'
        )
    return given


@contextmanager
def features_of(model: Model) -> Iterator[Callable[[Array], Array]]:
    """Yield the model as a function from an array of images to an array of features.

    Within the block, a torch module is in eval mode and records no gradients. If the model is a method of a module, this
    applies to that module.
    """
    module = _module(model)
    if is_own(model):
        yield lambda batch: model.encode_normalized(batch, max(1, len(batch)))
    elif module is None:
        yield lambda batch: _checked(_called(model)(batch), len(batch))
    else:
        with _evaluating(module) as placed:
            yield lambda batch: _checked(_called(model)(placed(batch)), len(batch))


def _called(model: Model) -> Callable[[Any], Any]:
    assert callable(model)
    return model


def _module(model: Any) -> Any:
    """Return the torch module of a model: the model itself or, for a bound method, its object; None for other models."""
    torch = sys.modules.get("torch")
    found = (one for one in (model, getattr(model, "__self__", None)) if torch and isinstance(one, torch.nn.Module))
    return next(found, None)


@contextmanager
def _evaluating(module: Any) -> Iterator[Callable[[Array], Any]]:
    """Put the module in eval mode within the block; yield a function that moves a batch to the module's device."""
    torch = sys.modules["torch"]
    first = next(chain(module.parameters(), module.buffers()), None)
    device = None if first is None else first.device
    dtype = first.dtype if first is not None and first.is_floating_point() else torch.float32
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield lambda batch: torch.from_numpy(batch).to(device, dtype)
    finally:
        for part, training in modes:
            part.training = training


def _checked(made: Any, n: int) -> Array:
    """Convert a model's output, a torch tensor or an object with `__array__`, to a float32 NumPy array.

    Raises:
        TypeError: not an array.
        ValueError: a shape other than (n, dim).
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(made, torch.Tensor):
        made = made.detach().to("cpu", torch.float32).numpy()
    elif not hasattr(made, "__array__"):
        raise TypeError(f"model must return an array (N, dim), got {type(made).__name__}; return the features")
    array = np.asarray(made)
    if array.ndim != 2 or len(array) != n or array.dtype.kind not in "fiu":
        raise ValueError(
            f"model must return numbers of shape ({n}, dim) for {n} images, got {array.dtype} of shape {array.shape}; "
            "pool or flatten them"
        )
    return np.ascontiguousarray(array, np.float32)

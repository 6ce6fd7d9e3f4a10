"""Where the views of a run are computed: on CPU threads, or partly on the engine's device, a batch at a time."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ...transforms.views import Views


def loading(transform: Views, where: str | None, device: torch.device, ranks: int) -> dict[str, Any]:
    """The loader's keyword arguments for half-finished views; empty if threads compute complete views.

    For a GPU, the loader puts its batches into page-locked memory.

    Args:
        transform: the transform of the views.
        where: "cpu", "split" or "gpu", as in `Torch`; None: "split" on a GPU if possible, else "cpu".
        device: the engine's device.
        ranks: the number of ranks among which a batch is divided.

    Raises:
        ValueError, RuntimeError: `where` is given, but the device cannot compute the views; the error states the reason.
    """
    images = where == "gpu"
    is_on_gpu = device.type == "cuda"
    if where == "cpu" or (where is None and not is_on_gpu):
        return {}
    try:
        transform.core.check_halves(ranks, images)
        if is_on_gpu:
            transform.finish_on(device, images)
    except (ValueError, RuntimeError) as error:
        if where is not None:
            raise
        warnings.warn(f"views are computed on the CPU only: {error}", stacklevel=5)
        return {}
    return {"output": "images" if images else "crops", "pin_memory": is_on_gpu}

"""Where the views of a run are made: all on threads, or a part of them on the engine's device, a batch at a time."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ...transforms.views import Views


def loading(transform: Views, where: str | None, device: torch.device, ranks: int) -> dict[str, Any]:
    """Settings of the loader: half made views, page-locked for a GPU; nothing where views are made on threads.

    Args:
        where: "cpu", "split", "gpu", or None: "split" on a GPU that can.
        ranks: among which batches are divided.

    Raises:
        ValueError, RuntimeError: views that are to be made there, and cannot be; which operation has no kernels.
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
        warnings.warn(f"views are made on the CPU alone: {error}", stacklevel=5)
        return {}
    return {"output": "images" if images else "crops", "pin_memory": is_on_gpu}

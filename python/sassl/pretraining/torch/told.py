"""Asynchronous transfer of a step's values from the device; reading a value waits for the transfer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Told:
    """The loss and the metrics of a step, copied asynchronously from the device.

    Args:
        values: the loss followed by the metrics, on any device.
        names: the names of the metrics.
    """

    def __init__(self, values: Tensor, names: list[str]) -> None:
        self.names = names
        self._event = None
        self._values = values
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(values.device))

    def read(self) -> list[float]:
        """Wait for the values, and return them: the loss followed by the metrics.

        Raises:
            ValueError: the loss is not finite.
        """
        if self._event is not None:
            self._event.synchronize()
        values: list[float] = self._values.tolist()
        if not np.isfinite(values[0]):
            remedy = "the run has diverged: lower the learning rate, and resume from the last checkpoint"
            raise ValueError(f"loss must be finite, got {values[0]}; {remedy}")
        return values

    @property
    def loss(self) -> Value:
        """The loss, read on demand."""
        return Value(self, 0)

    @property
    def watched(self) -> dict[str, Value]:
        """The metrics, read on demand."""
        return {name: Value(self, at + 1) for at, name in enumerate(self.names)}


class Value:
    """One value of a step; converting it with `float` waits for the transfer."""

    def __init__(self, told: Told, at: int) -> None:
        self._told, self._at = told, at

    def __float__(self) -> float:
        return self._told.read()[self._at]


class Features:
    """Features on the device. They are copied to the CPU only when numpy converts them to an array."""

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float32]:
        return self._rows.float().cpu().numpy().astype(dtype or np.float32, copy=False)

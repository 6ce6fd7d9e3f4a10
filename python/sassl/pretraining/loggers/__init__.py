"""Loggers. They receive a run's settings, the values per step and per epoch, and the outcome.

`fit(loggers=["wandb", "csv"])` takes names in `LOGGERS`, and any objects with the methods of `Logger`.
"""

from __future__ import annotations

from .base import LOGGERS, Begun, Logger, chosen
from .mlflow import MLflow
from .table import CSV, Epochs
from .tensorboard import TensorBoard
from .told import KEPT, Loggers, is_kept
from .wandb import WandB

__all__ = [
    "CSV",
    "KEPT",
    "LOGGERS",
    "Begun",
    "Epochs",
    "Logger",
    "Loggers",
    "MLflow",
    "TensorBoard",
    "WandB",
    "chosen",
    "is_kept",
]

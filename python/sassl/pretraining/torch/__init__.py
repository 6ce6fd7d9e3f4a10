"""The engine on PyTorch: GPUs, several of them, several machines. torch itself is imported when an engine is made."""

from __future__ import annotations

from . import families as families
from .options import Torch as Torch

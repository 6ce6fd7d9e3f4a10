"""The engine on PyTorch, for one or more GPUs and machines. torch itself is imported when an engine is built."""

from __future__ import annotations

from . import families as families
from .options import Torch as Torch

"""SASSL as a transform, a file for each framework; none is imported before it is used.

`sassl.transforms.SASSL` is `transforms.torchvision.SASSL` where torchvision is installed, else `transforms.plain.SASSL`,
which needs neither torch nor torchvision.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .torchvision import SASSL

__all__ = ["SASSL"]


def __getattr__(name: str) -> Any:
    if name != "SASSL":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    framework = "torchvision" if find_spec("torchvision") else "plain"
    return import_module(f".{framework}", __name__).SASSL

"""SASSL as a transform, a file for each framework; none is imported before it is used.

`sassl.transforms.SASSL` is `transforms.torchvision.SASSL` where torchvision is installed, else `transforms.plain.SASSL`,
which needs neither torch nor torchvision. `MoCoV2Transform`, `SimCLRTransform` and `BYOLTransform` are whole pipelines.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .recipes import IMAGENET_NORMALIZE, BYOLTransform, MoCoV2Transform, SimCLRTransform
    from .torchvision import SASSL

__all__ = ["IMAGENET_NORMALIZE", "SASSL", "BYOLTransform", "MoCoV2Transform", "SimCLRTransform"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    plain = "torchvision" if find_spec("torchvision") else "plain"
    return getattr(import_module(f".{plain if name == 'SASSL' else 'recipes'}", __name__), name)

"""SASSL as a transform for each framework; a framework is imported only when its transform is used.

`sassl.transforms.SASSL` is `transforms.torchvision.SASSL` if torchvision is installed, else `transforms.plain.SASSL`, which
needs neither torch nor torchvision. `MoCoV2Transform`, `SimCLRTransform` and `BYOLTransform` are complete pipelines. `Views`
builds other pipelines from lists of `sassl.transforms.operations`. `with_style` inserts SASSL into pipelines of torchvision,
timm and lightly. Other frameworks: `sassl.transforms.albumentations`, `.kornia`, `.tf` (tf.data and Keras), `.huggingface`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .insertion import with_style
    from .recipes import IMAGENET_NORMALIZE, BYOLTransform, MoCoV2Transform, SimCLRTransform, TwoViewTransform
    from .torchvision import SASSL
    from .views import Views

__all__ = [
    "IMAGENET_NORMALIZE",
    "SASSL",
    "BYOLTransform",
    "MoCoV2Transform",
    "SimCLRTransform",
    "TwoViewTransform",
    "Views",
    "with_style",
]


_FILES = (
    "albumentations",
    "functional",
    "huggingface",
    "insertion",
    "kornia",
    "operations",
    "plain",
    "recipes",
    "tf",
    "torchvision",
    "views",
)


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return import_module(f".{name}", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    plain = "torchvision" if find_spec("torchvision") else "plain"
    file = {"SASSL": plain, "with_style": "insertion", "Views": "views"}.get(name, "recipes")
    return getattr(import_module(f".{file}", __name__), name)


def __dir__() -> list[str]:
    # Without the submodules, because help() would import them all.
    return sorted([*globals(), *__all__])

"""Style augmentations for self-supervised learning (SASSL, arXiv 2312.01187): neural style transfer as an augmentation.

    import sassl
    model = sassl.Stylizer("lite")            # style predictor F and transformer T; nothing is downloaded
    bank = sassl.StyleBank.default()          # style vectors
    view = model.stylize(images, bank.vectors[0], alpha=0.2, beta=0.2)

    transform = sassl.transforms.SASSL(p=0.8)  # for torchvision; for PIL and numpy if it is not installed
    two_views = sassl.transforms.MoCoV2Transform(style=transform)
    loader = sassl.data.TwoViewLoader("imagenet/train", two_views, batch_size=256)

    model = sassl.MoCoV2("resnet50", style=transform).fit("imagenet/train", epochs=200, out="run")

Importing sassl needs only numpy and imports no framework.
"""

from __future__ import annotations

# This is typing's TYPE_CHECKING without importing typing: every `sassl` command runs this file first.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import data, evaluation, models, notebook, pretraining, styles, transforms
    from ._sassl import Gaussian, StyleParams, Stylizer
    from .bank import StyleBank
    from .models import open_model
    from .pretraining.methods.byol import BYOL
    from .pretraining.methods.moco import MoCoV2
    from .pretraining.methods.simclr import SimCLR
    from .pretraining.methods.simsiam import SimSiam

    __version__: str

__all__ = [
    "BYOL",
    "Gaussian",
    "MoCoV2",
    "SimCLR",
    "SimSiam",
    "StyleBank",
    "StyleParams",
    "Stylizer",
    "__version__",
    "data",
    "evaluation",
    "models",
    "notebook",
    "open_model",
    "pretraining",
    "styles",
    "transforms",
]


def __getattr__(name: str) -> Any:
    # On first use, so that `import sassl` imports no framework, and `sassl --help` not even numpy.
    from importlib import import_module

    if name in ("data", "evaluation", "models", "notebook", "pretraining", "styles", "transforms"):
        return import_module(f".{name}", __name__)
    if name == "StyleBank":
        return import_module(".bank", __name__).StyleBank
    if name == "open_model":
        return import_module(".models", __name__).open_model
    if name in ("Gaussian", "StyleParams", "Stylizer"):
        return getattr(import_module("._sassl", __name__), name)
    if name == "__version__":
        return import_module("._sassl", __name__).version()
    # The class of any pretraining method, also of one not listed above. Methods are capitalized; `from . import name` looks up
    # submodules here before it imports them.
    if name[:1].isupper() and (kind := import_module(".pretraining", __name__).method_class(name)) is not None:
        return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Batches of two views of every image, prefetched by native threads that decode, crop, stylize and augment.

    from sassl.data import TwoViewLoader
    from sassl.transforms import SASSL, MoCoV2Transform

    loader = TwoViewLoader("imagenet/train", MoCoV2Transform(style=SASSL(p=0.8)), batch_size=256)
    for (query, key), targets, names in loader:  # tensors (256, 3, 224, 224)
        ...

Every random draw is a function of (seed, epoch, index of the image, view), so that results depend neither on the number of
threads nor on the batch size.
"""

from typing import TYPE_CHECKING, Any

from .arrays import Arrays
from .base import Images
from .files import Files, ImageFolder
from .halves import HalfViews
from .loader import TwoViewLoader
from .objects import Objects
from .records import CIFAR, STL10
from .selection import Selection
from .sources import as_images
from .webdataset import WebDataset

if TYPE_CHECKING:
    from .lightning import TwoViewDataModule

__all__ = [
    "CIFAR",
    "STL10",
    "Arrays",
    "Files",
    "HalfViews",
    "ImageFolder",
    "Images",
    "Objects",
    "Selection",
    "TwoViewDataModule",
    "TwoViewLoader",
    "WebDataset",
    "as_images",
]


def __getattr__(name: str) -> Any:
    if name != "TwoViewDataModule":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # This imports Lightning, so only on request.
    from .lightning import TwoViewDataModule

    return TwoViewDataModule

"""The preprocessing of a model's images: the known settings, some of which the caller may override."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..arguments import choice, whole
from ..evaluation import Preprocessing
from ..transforms.operations import size as sides_of
from ..transforms.recipes import IMAGENET_NORMALIZE
from ..transforms.views import UNKNOWN

#: Normalizations by name.
NORMALIZATIONS: dict[str, dict[str, Any] | None] = {
    "imagenet": IMAGENET_NORMALIZE,
    "half": {"mean": [0.5] * 3, "std": [0.5] * 3},
    "none": None,
}


class Known(NamedTuple):
    """The fields of a model's `Preprocessing`, as far as they are known. The caller has to supply unknown fields."""

    #: Side in pixels, or (height, width); None: unknown.
    size: int | tuple[int, int] | None = 224
    resize: int | None = 256
    interpolation: str = "bilinear"
    #: The normalization, in the form that `Preprocessing` takes; "not known" if unknown.
    normalize: Any = IMAGENET_NORMALIZE
    channels_last: bool = False
    #: True if the model was pretrained on views with this normalization, so that another normalization would be wrong.
    is_fixed: bool = False

    @classmethod
    def of_views(cls, sides: Any, interpolation: str, normalize: Any, *, channels_last: bool = False) -> Known:
        """The preprocessing that matches the views of a sassl run, given the views' size, interpolation and normalization."""
        usual = Preprocessing.of_views(tuple(sides) if isinstance(sides, list) else sides, normalize=None)
        return cls(usual.size, usual.resize, interpolation, normalize, channels_last, normalize != UNKNOWN)


def rule(name: str, known: Known, size: int | None, normalize: str | Mapping[str, Any] | None) -> Preprocessing:
    """The preprocessing of a model's images.

    Args:
        name: the model's name in errors.
        known: the known fields of the model's preprocessing.
        size: side of the images in pixels; `resize` is scaled in proportion. None: the model's own size.
        normalize: a name in `NORMALIZATIONS`, or a dict of "mean" and "std"; None: the model's own.

    Raises:
        ValueError: the size or normalization is neither known nor given; `normalize` differs from the normalization with which
            a sassl model was pretrained.
    """
    if isinstance(normalize, str):
        given: Any = NORMALIZATIONS[choice("normalize", normalize, NORMALIZATIONS)]
    else:
        given = known.normalize if normalize is None else dict(normalize)
    if given == UNKNOWN:
        raise ValueError(
            f"{name}: the model was trained on batches from another loader, whose normalization is not known; give normalize, "
            f"one of {', '.join(NORMALIZATIONS)}, or mean and std"
        )
    if size is None and known.size is None:
        raise ValueError(
            f"{name} is a network for small images (its first convolution is 3x3) of unknown size; give size, such as 32"
        )
    made = _sized(known, size, given)
    if known.is_fixed and not made.is_normalized_as(known.normalize):
        raise ValueError(
            f"{name}: normalize must be {known.normalize}, as for the model's views, got {normalize}; leave it out"
        )
    return made


def _sized(known: Known, size: int | None, normalize: Any) -> Preprocessing:
    how = {"interpolation": known.interpolation, "normalize": normalize, "channels_last": known.channels_last}
    if size is None:
        assert known.size is not None
        return Preprocessing(known.size, resize=known.resize, **how)
    side = whole("size", size, 1)
    if known.size is None or known.resize is None:
        return Preprocessing.of_views(side, **how)
    return Preprocessing(side, resize=round(side * known.resize / min(sides_of(known.size))), **how)

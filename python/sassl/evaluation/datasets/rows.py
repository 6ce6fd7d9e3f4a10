"""A row of the table of data sets: how a set is split, read, resized and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...arguments import choice
from ..preprocessing import Preprocessing
from .listing import Reader

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class School:
    """A way to split a set; results state the name of the school."""

    #: Origin of the split, in words.
    text: str
    #: Expected number of images in each split; splits that are missing here are not checked.
    images: Mapping[str, int]
    splits: tuple[str, ...] = SPLITS
    #: Splits that are drawn with the seed, as no list of their images is published.
    drawn: tuple[str, ...] = ()
    #: A file that must exist in the set's folder for this school to be the default; None: no file is needed.
    needs: str | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set: its reader, splits, metric, resizing and source."""

    name: str
    title: str
    #: Published number of classes. Schools with another number are listed in `school_classes`.
    classes: int
    school_classes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    #: The metric: "top1", "mean_per_class" or "kappa" (quadratic).
    metric: str = "top1"
    #: Length of the shorter side before the centre crop: "whole" (the size of the crop) or "margin" (256 for crops of 224).
    resize: str = "whole"
    #: Ways to split the set, by name; the default is the first whose `needs` is met.
    schools: Mapping[str, School]
    #: Possible names of the set's folder, such as the archive's or torchvision's.
    folders: tuple[str, ...]
    #: Paths that the set's folder must contain, with forward slashes. A tuple lists alternatives: one of its paths suffices.
    holds: tuple[str | tuple[str, ...], ...]
    #: Where to get the set, for the error message if the set is missing.
    source: str
    reader: Reader

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits of the set's first school."""
        return next(iter(self.schools.values())).splits

    def preprocessing(
        self, size: int = 224, *, normalize: Mapping[str, Any] | None, channels_last: bool = False
    ) -> Preprocessing:
        """Return the preprocessing of the set's images: bicubic, as in SimCLR (appendix B.8.1) and BYOL (appendix D.2).

        Args:
            size: side of the backbone's input, in pixels.
            normalize: see `Preprocessing`.
            channels_last: see `Preprocessing`.
        """
        resize = size if self.resize == "whole" else round(size * 256 / 224)
        given = None if normalize is None else dict(normalize)
        return Preprocessing(size, resize=resize, interpolation="bicubic", normalize=given, channels_last=channels_last)

    def folder(self, root: Path, itself: bool = True) -> Path | None:
        """Return the set's folder: one of `folders` in `root` or, if `itself`, `root` itself; None if not found."""
        for place in (*(root / name for name in self.folders), *([root] if itself else [])):
            if all(any((place / one).exists() for one in _either(held)) for held in self.holds):
                return place
        return None

    def school(self, folder: Path, given: str | None) -> str:
        """Return the name of the given school or, for None, of the default in this folder.

        Raises:
            ValueError: an unknown name.
        """
        if given is not None:
            return str(choice("school", given, self.schools))
        needs = ((name, school.needs) for name, school in self.schools.items())
        return next(name for name, needed in needs if needed is None or (folder / needed).exists())

    def missing(self, root: Path) -> str:
        """Return the error message for a missing set, with instructions for getting it."""
        held = " and ".join(" or ".join(_either(one)) for one in self.holds)
        places = " or ".join(dict.fromkeys(self.folders))
        return (
            f"{root}: {self.title} is not there; expected {held} in a folder {places}, or in this folder. {self.source}"
        )


def _either(held: str | tuple[str, ...]) -> tuple[str, ...]:
    return (held,) if isinstance(held, str) else held

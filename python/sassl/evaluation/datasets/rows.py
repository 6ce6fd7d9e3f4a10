"""What a row of the table of data sets holds: how a set is split, read, resized and measured."""

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
    """One way to split a set, which results name."""

    #: Who splits so, in words.
    text: str
    #: How many images each split has, as published, or by the published rule; a split that is not here is not counted.
    images: Mapping[str, int]
    splits: tuple[str, ...] = SPLITS
    #: Splits of which it is not published which images they have: drawn here, by the seed.
    drawn: tuple[str, ...] = ()
    #: A file in the set's folder without which another school is the default.
    needs: str | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A row: reader, split rule, metric, resize rule, source."""

    name: str
    title: str
    #: How many there are, as published; another number of them in a school.
    classes: int
    school_classes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    #: "top1", "mean_per_class" or "kappa", the quadratic one.
    metric: str = "top1"
    #: "whole": the shorter side becomes the views', and the middle square is seen; "margin": 256 for 224, as for ImageNet.
    resize: str = "whole"
    #: Ways to split it; the first is the default.
    schools: Mapping[str, School]
    #: Names of its folder, as its archive or torchvision has them.
    folders: tuple[str, ...]
    #: What lies in that folder, with forward slashes; of a tuple one.
    holds: tuple[str | tuple[str, ...], ...]
    #: Who made it, and where it is to be had.
    source: str
    reader: Reader

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of the default school."""
        return next(iter(self.schools.values())).splits

    def preprocessing(
        self, size: int = 224, *, normalize: Mapping[str, Any] | None, channels_last: bool = False
    ) -> Preprocessing:
        """How its images are made: bicubic, as SimCLR (appendix B.8.1) and BYOL (appendix D.2) do.

        Args:
            size: side of what a backbone takes.
            normalize: as of `Preprocessing`.
            channels_last: as of `Preprocessing`.
        """
        resize = size if self.resize == "whole" else round(size * 256 / 224)
        given = None if normalize is None else dict(normalize)
        return Preprocessing(size, resize=resize, interpolation="bicubic", normalize=given, channels_last=channels_last)

    def folder(self, root: Path, itself: bool = True) -> Path | None:
        """Where it lies: in a folder of its name below `root`, or else in `root` itself; None: nowhere."""
        for place in (*(root / name for name in self.folders), *([root] if itself else [])):
            if all(any((place / one).exists() for one in _either(held)) for held in self.holds):
                return place
        return None

    def school(self, folder: Path, given: str | None) -> str:
        """The name of the school that is meant.

        Raises:
            ValueError: there is none of this name.
        """
        if given is not None:
            return str(choice("school", given, self.schools))
        needs = ((name, school.needs) for name, school in self.schools.items())
        return next(name for name, needed in needs if needed is None or (folder / needed).exists())

    def missing(self, root: Path) -> str:
        """That it is not there, and how to get it."""
        held = " and ".join(" or ".join(_either(one)) for one in self.holds)
        places = " or ".join(dict.fromkeys(self.folders))
        return (
            f"{root}: {self.title} is not there; expected {held} in a folder {places}, or in this folder. {self.source}"
        )


def _either(held: str | tuple[str, ...]) -> tuple[str, ...]:
    return (held,) if isinstance(held, str) else held

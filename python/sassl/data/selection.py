"""A part of one set of images, or several sets as one."""

from __future__ import annotations

from collections.abc import Sequence

from .._sassl import Source
from .base import Images, checked_targets


class Selection(Images):
    """Images of several sources that follow one another, under classes of their own.

    Args:
        sources: one or more; all are turned upright by their EXIF orientation, or none is.
        rows: which images, by their numbers counted through all sources, in this order.
        targets: a class for each of `rows`.
        classes: names of the classes, in the order of their numbers.

    Raises:
        ValueError: sources of which some are turned upright and others not; not one class for each image; a number that no
            image has.
    """

    def __init__(
        self,
        sources: Sequence[Images],
        rows: Sequence[int],
        targets: Sequence[int],
        classes: Sequence[str] | None = None,
    ) -> None:
        if len({source.core.exif for source in sources}) > 1:
            raise ValueError(
                "sources: some are turned upright by their EXIF orientation, and others are not; give one rule"
            )
        rows = [int(row) for row in rows]
        self.core = Source.selection([source.core for source in sources], rows, checked_targets(targets, len(rows)))
        self.classes = None if classes is None else list(classes)

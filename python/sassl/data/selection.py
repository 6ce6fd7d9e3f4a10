"""Selection: some of the images of one or several sources, with new classes."""

from __future__ import annotations

from collections.abc import Sequence

from .._sassl import Source
from .base import Images, checked_targets


class Selection(Images):
    """Selected images of one or several sources, with new classes.

    Args:
        sources: one or more sources with the same `exif` setting.
        rows: indices of the selected images in the concatenated sources, in the order of this selection.
        targets: class of each of `rows`.
        classes: names of the classes, indexed by class.

    Raises:
        ValueError: sources with different `exif` settings; a number of targets that differs from the number of rows; an index
            outside the sources.
    """

    def __init__(
        self,
        sources: Sequence[Images],
        rows: Sequence[int],
        targets: Sequence[int],
        classes: Sequence[str] | None = None,
    ) -> None:
        if len({source.core.exif for source in sources}) > 1:
            raise ValueError("sources must have the same exif setting, got sources with exif=True and with exif=False")
        rows = [int(row) for row in rows]
        self.core = Source.selection([source.core for source in sources], rows, checked_targets(targets, len(rows)))
        self.classes = None if classes is None else list(classes)

"""Matplotlib figures that notebooks display without pyplot; `save` writes them to files."""

from __future__ import annotations

import io
import os
from pathlib import Path

import matplotlib.figure

from ._sassl import write_file


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that IPython displays as a PNG."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to an image file, atomically; the suffix selects the format.

    Raises:
        ValueError: a format that matplotlib does not write.
        OSError: the file cannot be written.
    """
    data = io.BytesIO()
    figure.savefig(data, format=Path(path).suffix[1:] or "png", dpi=130)
    write_file(path, data.getvalue())

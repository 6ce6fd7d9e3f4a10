"""Figures of matplotlib that notebooks show, and files of them; what pyplot did not make is not shown there otherwise."""

from __future__ import annotations

import io
import os
from pathlib import Path

import matplotlib.figure

from ._sassl import write_file


class Figure(matplotlib.figure.Figure):
    """matplotlib's, which IPython shows as a PNG."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes an image in the format that the file's suffix names: the whole file, or nothing.

    Raises:
        ValueError: a format that matplotlib does not write.
        OSError: the system refuses.
    """
    data = io.BytesIO()
    figure.savefig(data, format=Path(path).suffix[1:] or "png", dpi=130)
    write_file(path, data.getvalue())

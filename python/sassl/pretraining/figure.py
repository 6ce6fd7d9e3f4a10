"""A matplotlib figure that notebooks show; what pyplot did not make has no picture there otherwise."""

from __future__ import annotations

import io

import matplotlib.figure


class Figure(matplotlib.figure.Figure):
    """matplotlib's, and a picture of itself for IPython."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()

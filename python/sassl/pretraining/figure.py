"""A matplotlib figure that notebooks show; what pyplot did not make is not shown there otherwise."""

from __future__ import annotations

import io

import matplotlib.figure


class Figure(matplotlib.figure.Figure):
    """matplotlib's, which IPython shows as a PNG."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()

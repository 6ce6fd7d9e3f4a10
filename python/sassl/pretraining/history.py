"""What a run was, epoch by epoch."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from .._sassl import write_file

#: What is drawn first; the rest follows as it comes.
_FIRST = ("loss", "knn_top1", "linear_top1")
_LEFT_OUT = ("epoch", "images_per_second", "encoder_momentum")
#: What plots call a row's values; each method adds those that it watches.
TITLES = {
    "knn_top1": "nearest neighbours, top-1 in per cent",
    "linear_top1": "linear probe, top-1 in per cent",
    "lr": "learning rate",
    "feature_std": "standard deviation of projections, times the root of their length",
}


class History(list[dict[str, float]]):
    """A dict for each epoch: epoch, loss, lr, images_per_second, what the method watches, and accuracies of a monitor.

    `pandas.DataFrame(history)` is a table of it.
    """

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """A panel for each number, over epochs.

        Args:
            path: an image file to write, in the format that its suffix names: .png, .svg or another that matplotlib writes.

        Returns:
            A matplotlib `Figure`, which a notebook shows.

        Raises:
            ImportError: without matplotlib.
            ValueError: no epoch yet; a format that matplotlib does not write.
            OSError: the system refuses.
        """
        if not self:
            raise ValueError("history = []: no epoch is over")
        try:
            from matplotlib.ticker import MaxNLocator

            from .figure import Figure
        except ImportError:
            raise ImportError("history.plot: needs matplotlib; pip install 'sassl[demo]'") from None
        found = list(dict.fromkeys(name for row in self for name in row if name not in _LEFT_OUT))
        names = [name for name in _FIRST if name in found] + [name for name in found if name not in _FIRST]
        columns = min(3, len(names))
        rows = -(-len(names) // columns)
        figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
        for i, name in enumerate(names):
            axes = figure.add_subplot(rows, columns, i + 1)
            told = [(row["epoch"], row[name]) for row in self if name in row]
            axes.plot(*zip(*told, strict=True), ".-", color="tab:blue", linewidth=1)
            axes.set_title(TITLES.get(name, name), fontsize=8)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.3)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if i >= len(names) - columns:
                axes.set_xlabel("epoch", fontsize=8)
        if path is not None:
            data = io.BytesIO()
            figure.savefig(data, format=Path(path).suffix[1:] or "png", dpi=130)
            write_file(path, data.getvalue())
        return figure

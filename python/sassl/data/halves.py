"""Views that are half made: what `TwoViewLoader` gives with output="crops" or "images", for a GPU to make the rest.

    loader = TwoViewLoader("imagenet/train", transform, 256, output="crops", pin_memory=True)
    for half, targets, names in loader:
        left, right = half.finish("cuda")  # tensors (256, 3, 224, 224) there

Threads decode, crop and resize ("crops") or decode alone ("images"); the rest is made of the whole batch at once.
"""

from __future__ import annotations

from typing import Any

from .._sassl import Draws
from ..images import Array
from ..transforms.views import Views


class HalfViews:
    """Pixels of a batch, and what was drawn for its views.

    Args:
        transform: the views.
        pixels: (bytes,) uint8: of each view its crops (N, 3, height, width) and then those of the next; or of each image the
            part (height, width, 3) that its views are of.
        draws: of each image a list with the `ViewParams` of each view.
    """

    def __init__(self, transform: Views, pixels: Array, draws: Draws) -> None:
        self.transform, self.pixels, self.draws = transform, pixels, draws

    def __len__(self) -> int:
        """Images."""
        return len(self.draws)

    def finish(self, device: Any = None, threads: int | None = None) -> list[Any]:
        """All views: those that a loader with another `output` gives, to the bit; on a GPU all but styled ones.

        Args:
            device: a GPU of torch's, on whose current stream the views are made; pixels are copied there beside what it is
                at, and where they are page-locked nothing waits. None or the CPU: on threads.
            threads: on the CPU, how many; None: SASSL_THREADS, else all cores.

        Returns:
            A batch for each view, as the transform's `output` tells; on a GPU tensors.

        Raises:
            ValueError: an operation that has no kernels for a GPU, by its name.
            RuntimeError: there is no GPU that they run on.
        """
        return self.transform.finish(self.pixels, self.draws, device, threads)

    def __repr__(self) -> str:
        what = "images" if self.draws.of_images else "crops"
        return f"HalfViews({what} of a batch of {len(self)}, {self.pixels.nbytes} bytes)"

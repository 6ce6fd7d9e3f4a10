"""Partially computed views: the output of `TwoViewLoader` with output="crops" or "images", to be finished on a GPU.

    loader = TwoViewLoader("imagenet/train", transform, 256, output="crops", pin_memory=True)
    for half, targets, names in loader:
        left, right = half.finish("cuda")  # tensors (256, 3, 224, 224) on the GPU

Threads decode, crop and resize ("crops") or only decode ("images"); the rest is computed for the whole batch at once.
"""

from __future__ import annotations

from typing import Any

from .._sassl import Draws
from ..images import Array
from ..transforms.views import Views


class HalfViews:
    """A batch of half-finished views: pixels, and the random draws of each view.

    Args:
        transform: the recipe or other `Views` that drew the parameters; it completes the views.
        pixels: flat uint8 array. For "crops", it holds the crops (N, 3, height, width) of each view, one view after another.
            For "images", it holds, for each image, the region (height, width, 3) from which the image's views are cropped.
        draws: for each image, a list with the `ViewParams` of each view.
    """

    def __init__(self, transform: Views, pixels: Array, draws: Draws) -> None:
        self.transform, self.pixels, self.draws = transform, pixels, draws

    def __len__(self) -> int:
        """The number of images."""
        return len(self.draws)

    def finish(self, device: Any = None, threads: int | None = None) -> list[Any]:
        """Compute the views, bit-identical to a loader's complete views except for styled views on a GPU.

        Args:
            device: a CUDA device, in any form that torch takes; None or the CPU: CPU threads compute the views. A CUDA device
                computes the views on the current stream. The pixels are copied on another stream, without blocking if the
                pixels are page-locked.
            threads: number of CPU threads; None: the environment variable SASSL_THREADS, else all cores.

        Returns:
            A batch for each view, of the type that the transform's `output` selects; on a GPU, tensors.

        Raises:
            ValueError: an operation has no CUDA kernels; the message names the operation.
            RuntimeError: no supported GPU.
        """
        return self.transform.finish(self.pixels, self.draws, device, threads)

    def __repr__(self) -> str:
        what = "images" if self.draws.of_images else "crops"
        return f"HalfViews({what} of a batch of {len(self)}, {self.pixels.nbytes} bytes)"

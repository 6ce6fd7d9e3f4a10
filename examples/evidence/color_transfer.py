"""Color transfer without style, as a custom operation: the control for the question "is it only the color?".

    view_ct = mean_s + std_s / std_c (lab(view) - mean_c)        per channel of l-alpha-beta (Reinhard et al. 2001)

The target statistics, mean_s and std_s, are those of the same view stylized by SASSL, with alpha and beta drawn as in the
paper; mean_c and std_c are those of the view itself. So a view gets the colors and the contrast that SASSL would have given it,
and keeps its texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sassl.transforms import SASSL
from sassl.transforms.operations import OPERATIONS, PythonOperation

#: Matrices from RGB to cone responses LMS, and from log LMS to l-alpha-beta (Reinhard et al. 2001, equations 4 and 6).
LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
DECORRELATE = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
#: Lower bound of cone responses: the response to gray level 1. The logarithm of 0 is undefined.
LEAST = 1 / 255


def to_lab(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Convert an RGB image (H, W, 3) to l-alpha-beta, (3, H * W)."""
    cones = (LMS / 255) @ np.ascontiguousarray(image.reshape(-1, 3).T)
    return DECORRELATE @ np.log10(np.maximum(cones, LEAST))


def from_lab(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Convert l-alpha-beta (3, N) to RGB (N, 3), rounded and clipped."""
    # 10^x as e^(x ln 10), which is faster.
    cones = np.exp((np.log(10) * np.linalg.inv(DECORRELATE)) @ lab)
    rgb = (255 * np.linalg.inv(LMS)) @ cones
    return np.ascontiguousarray(np.rint(np.clip(rgb, 0, 255)).astype(np.uint8).T)


def transfer(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Change an image so that each channel of l-alpha-beta has the mean and the standard deviation of a target.

    Args:
        image, target: (H, W, 3) uint8.

    Returns:
        (H, W, 3) uint8, of the size of `image`.
    """
    ours, theirs = to_lab(image), to_lab(target)
    mean, std = (found(1, keepdims=True) for found in (ours.mean, ours.std))
    # A channel without variation stays without it.
    scale = np.divide(theirs.std(1, keepdims=True), std, out=np.ones((3, 1)), where=std > 1e-9)
    return from_lab((ours - mean) * scale + theirs.mean(1, keepdims=True)).reshape(image.shape)


@dataclass(frozen=True)
class ColorTransfer(PythonOperation):
    """Give a view the color statistics that SASSL would give it, but keep its texture.

    Args:
        alpha, beta: ranges of the strength of SASSL, as in `SASSL`.
        styles: the styles of SASSL, as in `SASSL`.
    """

    kind = "color_transfer"
    alpha: tuple[float, float] = (0.1, 0.3)
    beta: tuple[float, float] = (0.1, 0.3)
    styles: str = "default"

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Transform an image (H, W, 3) uint8; the style is drawn from `seed`."""
        block = _block(tuple(self.alpha), tuple(self.beta), self.styles)
        return transfer(image, block.apply(image[None], block.sample(seed, 1))[0])


@lru_cache(maxsize=8)
def _block(alpha: Any, beta: Any, styles: str) -> Any:
    """Return the compiled block of a `SASSL` with p = 1, cached by its arguments."""
    return SASSL(p=1.0, alpha=alpha, beta=beta, styles=styles, threads=1).block


#: Registered, so that the operation can be rebuilt from a run's settings.
OPERATIONS[ColorTransfer.kind] = ColorTransfer

"""Eight corruptions at five severities, after Hendrycks and Dietterich 2019 (arXiv 1903.12261), for images of about 64 pixels.

Strengths are those of Tiny-ImageNet-C (hendrycks/robustness `make_tinyimagenet_c.py`), except for the blur. Random draws depend
only on the corruption and the severity, so that every arm is measured on the same images. The corruptions are reimplemented,
and are not all of the benchmark's: compare errors only between the arms of this study.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

#: Images (N, H, W, 3) with values in [0, 1].
Floats = NDArray[np.float64]


def _gaussian_noise(x: Floats, at: float, rng: np.random.Generator) -> Floats:
    return x + rng.normal(0, at, x.shape)


def _shot_noise(x: Floats, at: float, rng: np.random.Generator) -> Floats:
    return rng.poisson(x * at) / at


def _impulse_noise(x: Floats, at: float, rng: np.random.Generator) -> Floats:
    drawn = rng.random(x.shape)
    return np.where(drawn < at / 2, 0.0, np.where(drawn < at, 1.0, x))


def _gaussian_blur(x: Floats, at: float, rng: np.random.Generator) -> Floats:
    return _each(x, lambda image: image.filter(ImageFilter.GaussianBlur(at)))


def _brightness(x: Floats, at: float, rng: np.random.Generator) -> Floats:
    # In HSV: hue and saturation stay, and the value, the largest channel, rises.
    value = x.max(-1, keepdims=True)
    return np.where(value > 0, x / np.maximum(value, 1e-9), 1.0) * np.minimum(value + at, 1)


def _contrast(x: Floats, at: float, rng: np.random.Generator) -> Floats:
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) * at + mean


def _pixelate(x: Floats, at: float, rng: np.random.Generator) -> Floats:
    def small(image: Image.Image) -> Image.Image:
        size = int(image.width * at), int(image.height * at)
        return image.resize(size, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)

    return _each(x, small)


def _jpeg_compression(x: Floats, at: float, rng: np.random.Generator) -> Floats:
    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(at))
        return Image.open(file)

    return _each(x, compressed)


def _each(x: Floats, change: Callable[[Image.Image], Image.Image]) -> Floats:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in np.rint(255 * x).astype(np.uint8)]) / 255


#: The function of each corruption, and its strengths at severities 1 to 5.
CORRUPTIONS = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.08, 0.12, 0.15, 0.18)),
    "shot_noise": (_shot_noise, (250, 100, 50, 30, 15)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.05, 0.08, 0.14)),
    "gaussian_blur": (_gaussian_blur, (0.5, 0.75, 1, 1.25, 1.5)),
    "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": (_pixelate, (0.9, 0.8, 0.7, 0.6, 0.5)),
    "jpeg_compression": (_jpeg_compression, (65, 58, 50, 40, 25)),
}


def corrupted(images: NDArray[np.uint8], name: str, severity: int) -> NDArray[np.uint8]:
    """Corrupt (N, H, W, 3) uint8 images.

    Args:
        images: the images.
        name: one of `CORRUPTIONS`.
        severity: from 1 to 5.
    """
    function, strengths = CORRUPTIONS[name]
    rng = np.random.default_rng([list(CORRUPTIONS).index(name), severity])
    made = function(images / 255, strengths[severity - 1], rng)
    return np.rint(255 * np.clip(made, 0, 1)).astype(np.uint8)

"""Small color images for `sassl pretrain --demo`: textured shapes on textured backgrounds; the class is the shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..data import Arrays

Plane = NDArray[np.float64]

#: The side of an image in pixels, and the samples per pixel along each axis.
_SIDE, _SAMPLES = 32, 2

#: The classes by name: functions of (x, y) that are positive inside the shape. The shape has its center at 0 and unit size.
SHAPES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "disc": lambda x, y: 0.85 - np.hypot(x, y),
    "ring": lambda x, y: 0.25 - np.abs(np.hypot(x, y) - 0.7),
    "square": lambda x, y: 0.72 - np.maximum(np.abs(x), np.abs(y)),
    "triangle": lambda x, y: 0.5 - np.maximum(y, 0.866 * np.abs(x) - 0.5 * y),
    "cross": lambda x, y: np.minimum(0.9 - np.maximum(np.abs(x), np.abs(y)), 0.28 - np.minimum(np.abs(x), np.abs(y))),
    "star": lambda x, y: 0.58 + 0.34 * np.cos(5 * np.arctan2(x, -y)) - np.hypot(x, y),
    "crescent": lambda x, y: np.minimum(0.9 - np.hypot(x, y), np.hypot(x - 0.45, y) - 0.7),
    "bars": lambda x, y: np.minimum(0.85 - np.maximum(np.abs(x), np.abs(y)), np.abs(x) - 0.32),
}


def patterns(images: int, seed: int) -> Arrays:
    """Generate labelled images, (32, 32, 3) uint8, with balanced classes.

    Drawn for each image: position, size, a rotation of up to 17 degrees, two textures and their colors, and whether the shape
    is darker than the background. Thus neither colors nor single pixels give the class away.

    Args:
        images: number of images.
        seed: seed of all draws.
    """
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(images) % len(SHAPES))
    shapes = list(SHAPES.values())
    return Arrays(np.stack([_image(rng, shapes[target]) for target in targets]), targets.tolist())


def _image(rng: np.random.Generator, shape: Callable[[Plane, Plane], Plane]) -> NDArray[np.uint8]:
    y, x = np.mgrid[0 : _SIDE * _SAMPLES, 0 : _SIDE * _SAMPLES] / _SAMPLES
    size = rng.uniform(0.27, 0.38) * _SIDE
    center_y, center_x = rng.uniform(0.9 * size, _SIDE - 0.9 * size, 2)
    inside = shape(*_rotated((x - center_x) / size, (y - center_y) / size, rng.uniform(-0.3, 0.3))) > 0
    dark, light = rng.uniform(0, 0.45, (2, 3)), rng.uniform(0.55, 1, (2, 3))
    pairs = (dark, light) if rng.random() < 0.5 else (light, dark)
    foreground, background = (_texture(rng, x, y, *colors) for colors in pairs)
    fine = np.where(inside[..., None], foreground, background)
    image = fine.reshape(_SIDE, _SAMPLES, _SIDE, _SAMPLES, 3).mean((1, 3)) + rng.normal(0, 0.03, (_SIDE, _SIDE, 3))
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _texture(rng: np.random.Generator, x: Plane, y: Plane, one: Plane, other: Plane) -> Plane:
    """Draw stripes, checks or a grid in two colors: (..., 3) in [0, 1]."""
    period, angle, phases = rng.uniform(3, 9), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    u, v = (np.sin(2 * np.pi * at / period + phase) for at, phase in zip(_rotated(x, y, angle), phases, strict=True))
    wave = (u, u * v, np.maximum(u, v))[rng.integers(3)]
    share = 0.5 + 0.5 * np.clip(2 * wave, -1, 1)[..., None]
    return share * one + (1 - share) * other


def _rotated(x: Plane, y: Plane, angle: float) -> tuple[Plane, Plane]:
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x

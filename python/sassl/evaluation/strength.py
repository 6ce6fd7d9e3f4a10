"""Strength curves: how far views move in feature space as alpha and beta increase.

d(alpha, beta) = mean of 1 - cos(f(image), f((1 - beta) image + beta T(image, (1 - alpha) F(image) + alpha z_style)))

Here f is the backbone, F(image) the style embedding of an image, z_style the embedding of another style, and T(image, z) the
image stylized with embedding z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._sassl import StyleParams
from ..arguments import number, whole, wrong
from ..data import as_images
from ..progress import Shown, shown
from ..transforms.operations import size
from ..transforms.plain import as_style
from .encoders import Model, rule_of
from .features import encode
from .preprocessing import Preprocessing

#: Strengths from no style to full style; the paper draws strengths between 0.1 and 0.3.
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def strength(
    model: Model,
    data: Any,
    style: Any = "default",
    *,
    alpha: Sequence[float] = STRENGTHS,
    beta: Sequence[float] = STRENGTHS,
    n: int = 256,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 256,
    progress: Shown = False,
) -> dict[str, Any]:
    """Measure how far stylized views move in a backbone's feature space, for each alpha and beta.

    The result helps to choose the ranges of alpha and beta. Each image is preprocessed for the network and then stylized, as in
    training. An image has the same style at every strength.

    Args:
        model, preprocessing, batch_size, progress: see `sassl.evaluation.extract`; the preprocessed size has to be square.
        data: images, see `extract`.
        style: a `sassl.transforms.SASSL`, with its own strengths and p ignored; or a value for the argument `styles` of
            `SASSL`.
        alpha, beta: the strengths, in [0, 1].
        n: number of images to draw from the data; all images, if there are fewer.
        seed: seed of the draw of images, and of the choice of a style for each image.

    Returns:
        A dict with four tables, which have a row for each alpha and a column for each beta:

        - "moved": the mean cosine distance between the features of a view and of its image.
        - "relative": this distance, in units of "another_image".
        - "kept": the percentage of views that are nearest to their own image.
        - "levels": the mean absolute change of a pixel, in 8-bit levels.

        The dict also has:

        - "alpha", "beta": the strengths.
        - "another_image": the mean distance between two different images.
        - "same_class": the mean distance between two different images of one class. It is None if all drawn images have the
          same class, or if no class has two images.
        - "n", "size" (side in pixels), "style", "seed": the settings.

    Raises:
        ValueError: a strength outside [0, 1], fewer than two images, a size that is below 8 or not square, images that all
            have the same features.
        OSError, TypeError: as raised by `extract`.
    """
    rule, style = rule_of(model, preprocessing), as_style(style)
    if style is None:
        raise wrong("style", style, "a SASSL, or its styles")
    height, width = size(rule.size)
    if height != width or height < 8:
        raise ValueError(f"the size of preprocessing must be a square of at least 8 pixels, got {rule.size}")
    alphas, betas = (_strengths(name, values) for name, values in (("alpha", alpha), ("beta", beta)))
    seen, targets = _drawn(
        data, replace(rule, normalize=None, channels_last=True), whole("n", n, 2), whole("seed", seed)
    )
    rule = replace(rule, resize=None)

    def directions(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = encode(model, images, preprocessing=rule, batch_size=batch_size).astype(np.float64)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float64).tiny)

    at = directions(seen)
    another, same_class = _between(at, targets)
    drawn = style.block.sample(seed, len(seen))
    rows: dict[str, list[list[float]]] = {name: [] for name in ("moved", "relative", "kept", "levels")}
    pairs, cells = [(one, other) for one in alphas for other in betas], []
    with shown(progress, "strengths", len(pairs), "pairs") as told:
        for pair in pairs:
            cells.append(_cell(seen, at, style, drawn, pair, directions))
            told(len(cells))
    for first in range(0, len(cells), len(betas)):
        row = cells[first : first + len(betas)]
        rows["moved"].append([moved for moved, _, _ in row])
        rows["relative"].append([moved / another for moved, _, _ in row])
        rows["kept"].append([kept for _, kept, _ in row])
        rows["levels"].append([levels for _, _, levels in row])
    return {
        "alpha": alphas,
        "beta": betas,
        **rows,
        "another_image": another,
        "same_class": same_class,
        "n": len(seen),
        "size": height,
        # Its p and its own strengths were ignored.
        "style": {name: value for name, value in style.describe().items() if name not in ("p", "alpha", "beta")},
        "seed": seed,
    }


def _cell(
    seen: NDArray[np.uint8],
    at: NDArray[np.float64],
    style: Any,
    drawn: StyleParams,
    strengths: tuple[float, float],
    directions: Any,
) -> tuple[float, float, float]:
    """Return the distance, the percentage of views nearest to their own image, and the change in levels."""
    alpha, beta = (np.full(len(seen), value, np.float32) for value in strengths)
    views = style.block.apply(seen, StyleParams(np.ones(len(seen), bool), alpha, beta, drawn.style))
    cosines = directions(views) @ at.T
    own = np.diagonal(cosines)
    # An image with equal features does not count as another.
    kept = own >= cosines.max(1) - 1e-12
    levels = np.abs(views.astype(np.int16) - seen).mean()
    return max(0.0, 1 - float(own.mean())), 100 * float(kept.mean()), float(levels)


def _drawn(data: Any, rule: Preprocessing, n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw images; return them preprocessed for the network, but as uint8, and their classes."""
    images = as_images(data)
    if len(images) < 2:
        raise ValueError(f"data must have at least 2 images for distances between them, got {len(images)}")
    rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:n])
    found = [images[int(row)] for row in rows]
    seen = np.stack([np.rint(rule(image) * 255).astype(np.uint8) for image, _ in found])
    return seen, np.array([target for _, target in found], np.int64)


def _between(at: NDArray[np.float64], targets: NDArray[np.int64]) -> tuple[float, float | None]:
    """Return the mean distance between two different images, and between two of the same class."""
    distances, others = 1 - at @ at.T, ~np.eye(len(at), dtype=bool)
    another = float(distances[others].mean())
    if another < 1e-9:
        raise ValueError(
            f"the model has the same features for all {len(at)} images of the data, so that distances mean nothing"
        )
    same = others & (targets[:, None] == targets)
    several = len(np.unique(targets)) > 1 and same.any()
    return another, float(distances[same].mean()) if several else None


def _strengths(name: str, values: Sequence[float]) -> list[float]:
    expected = "values in [0, 1]"
    if isinstance(values, (str, bytes)) or np.ndim(values) != 1 or not len(values):
        raise wrong(name, values, expected)
    found = [number(name, value, expected) for value in values]
    if not all(0 <= value <= 1 for value in found):
        raise wrong(name, values, expected)
    return found

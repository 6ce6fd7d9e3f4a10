"""The contact sheet of `sassl demo`: photographs, styles, views, and amplified differences between views and photographs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import grids, image_files
from ._sassl import StyleParams, write_file
from .grids import Row
from .images import Array
from .transforms.plain import SASSL

#: Side of each image in pixels, number of photographs on a sheet, number of draws per photograph, and maximum size of the sheet
#: in bytes.
SIDE, PHOTOGRAPHS, DRAWS, MOST_BYTES = 224, 5, 2, 600_000


class Style(NamedTuple):
    """A style: its name, its vector z (dim,) float32, and its image (H, W, 3) uint8, or None without an image."""

    name: str
    z: NDArray[np.float32]
    image: Array | None = None


def photographs() -> dict[str, Array]:
    """Return photographs from scikit-learn and scikit-image, as a dict from name to (224, 224, 3) uint8.

    Raises:
        ImportError: one of the packages is missing.
    """
    try:
        import skimage.data
        from sklearn.datasets import load_sample_images
    except ImportError:
        raise ImportError(
            "the demo's photographs need scikit-image and scikit-learn: install both, or the extra sassl[demo]"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {Path(n).stem: image for n, image in zip(*_sklearn(load_sample_images()), strict=True)}
        for name in ("astronaut", "chelsea", "coffee"):
            found[name] = getattr(skimage.data, name)()
    return {name: square(image) for name, image in found.items()}


def _sklearn(bunch: Any) -> tuple[list[str], list[Array]]:
    return bunch.filenames, bunch.images


def square(image: Array, side: int = SIDE) -> Array:
    """Return the centre square of an image, resized to side x side pixels."""
    pil = image_files.pillow()
    return np.array(pil.ImageOps.fit(pil.Image.fromarray(image), (side, side)))


def styles() -> dict[str, Array]:
    """Generate patterns with different palettes and textures from a fixed seed: a dict from name to (224, 224, 3) uint8."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    pil = image_files.pillow()

    def coloured(field: NDArray[Any], *colours: tuple[int, int, int]) -> Array:
        at = np.clip(field, 0, 1) * (len(colours) - 1)
        low = np.minimum(at.astype(int), len(colours) - 2)
        table = np.array(colours, float)
        mixed = table[low] + (at - low)[..., None] * (table[low + 1] - table[low])
        return np.clip(mixed, 0, 255).astype(np.uint8)

    def octave(cells: int) -> NDArray[Any]:
        grid = pil.Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
        return np.asarray(grid.resize((SIDE, SIDE), pil.Image.Resampling.BICUBIC))

    clouds = np.sum([octave(2**k) / 1.6**k for k in range(1, 8)], 0)
    waves = 0.5 + 0.5 * np.sin(60 * x + 8 * octave(4) + 3 * octave(16))
    bricks = ((np.floor(14 * y) % 2 * 0.5 + 7 * x) % 1 < 0.06) | ((14 * y) % 1 < 0.12)
    points = rng.uniform(0, 1, (90, 2))
    cells = ((x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2).argmin(-1) * 0.618 % 1
    return {
        "ink waves": coloured(waves, (20, 30, 80), (120, 170, 210), (245, 240, 225)),
        "ember": coloured(clouds / 2.4 + 0.5, (20, 5, 10), (150, 25, 15), (240, 130, 20), (255, 235, 160)),
        "bricks": coloured(bricks * 0.7 + 0.15 * (octave(64) + 1), (150, 60, 45), (205, 180, 160)),
        "mosaic": coloured(cells, (15, 90, 100), (230, 190, 60), (200, 60, 70), (240, 235, 220)),
        "moss": coloured(octave(96) * 0.3 + octave(24) * 0.3 + 0.5, (20, 35, 15), (90, 130, 50), (200, 210, 130)),
    }


def run(
    out: Path, sassl: SASSL, photos: Sequence[tuple[str, Array]], chosen: Sequence[Style]
) -> tuple[list[Path], list[Path]]:
    """Write `contact_sheet.jpg` to a folder, and PNG files of each photograph, its stylized version and its views.

    The stylized version has alpha = beta = 1. If an error occurs, new files are removed.

    The sheet is a JPEG. A PNG would be seven times as large; a PNG with a palette of 256 colours would have errors as large as
    the effect of style.

    Args:
        out: the folder; created if it does not exist.
        sassl: the transform. Rows with fixed alpha and beta use the midpoints of the transform's ranges.
        photos: names and images, (224, 224, 3) uint8.
        chosen: styles, assigned to the photographs in turn.

    Returns:
        Two lists: the paths of all files, the sheet first; and the paths of the views whose draw did not apply style.

    Raises:
        OSError: a file cannot be written.
    """
    batch, names = np.stack([photo for _, photo in photos]), [name for name, _ in photos]
    given = [chosen[i % len(chosen)] for i in range(len(batch))]
    labels, images = [style.name for style in given], [style.image for style in given if style.image is not None]
    alpha, beta = (np.full(len(batch), np.mean(strength)) for strength in (sassl.alpha, sassl.beta))
    fixed = StyleParams(alpha >= 0, alpha, beta, np.stack([style.z for style in given]))
    rows = [Row(list(batch), names, "photographs")]
    rows += [Row(images, labels, "styles")] if len(images) == len(batch) else []
    title = f"views in one style each, alpha = {alpha[0]:.2g}, beta = {beta[0]:.2g}"
    *subtle, full = grids.styled(sassl, batch, fixed, title, labels)
    rows += [*subtle, full]
    draws = [sassl.sample(len(batch)) for _ in range(DRAWS)]
    drawn = [
        grids.styled(sassl, batch, params, f"SASSL(p={sassl.p:g}), draw {k + 1}") for k, params in enumerate(draws)
    ]
    for views, difference, _ in drawn:
        rows += [views, difference]
    sheet = grids.jpeg(grids.grid(rows, height=SIDE), MOST_BYTES)
    beside, plain = {}, list[Path]()
    for i, (name, photo) in enumerate(photos):
        beside[out / f"{i + 1}_{name}_photo.png"] = photo
        beside[out / f"{i + 1}_{name}_stylized.png"] = full.images[i]
        for k, (params, (views, _, _)) in enumerate(zip(draws, drawn, strict=True)):
            path = out / f"{i + 1}_{name}_view{k + 1}.png"
            beside[path] = views.images[i]
            plain += [] if params.apply[i] else [path]
    return _write(out, sheet, beside), plain


def _write(out: Path, sheet: bytes, beside: dict[Path, Array]) -> list[Path]:
    """Write all files; on an error, remove the files and folders that did not exist before."""
    first = out / "contact_sheet.jpg"
    new = [path for path in (*beside, first, out, *out.parents) if not path.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, image in beside.items():
            image_files.write(path, image)
        write_file(first, sheet)
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.rmdir() if path == out or path in out.parents else path.unlink()
        raise
    return [first, *beside]

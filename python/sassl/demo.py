"""The contact sheet of `sassl demo`: what SASSL does to real photographs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import image_files
from ._sassl import Stylizer
from .images import Array
from .transforms.plain import SASSL

SIDE = 224


def photographs() -> dict[str, Array]:
    """Real photographs that Python packages carry: scikit-learn's and scikit-image's."""
    try:
        import skimage.data
        from sklearn.datasets import load_sample_images
    except ImportError:
        raise ImportError("the demo's photographs come with: pip install 'sassl[demo]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {Path(n).stem: image for n, image in zip(*_sklearn(load_sample_images()), strict=True)}
        for name in ("astronaut", "chelsea", "coffee"):
            found[name] = getattr(skimage.data, name)()
    return {name: square(image) for name, image in found.items()}


def _sklearn(bunch: Any) -> tuple[list[str], list[Array]]:
    return bunch.filenames, bunch.images


def square(image: Array, side: int = SIDE) -> Array:
    """The middle of an image, side x side pixels."""
    pil = image_files.pillow()
    return np.array(pil.ImageOps.fit(pil.Image.fromarray(image), (side, side)))


def styles() -> dict[str, Array]:
    """Patterns with a palette and a texture of their own, made on the spot from a fixed seed."""
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
    out: Path,
    sassl: SASSL,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[Path]:
    """Writes `contact_sheet.png` and the single views to a folder; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    photos, patterns, written = photographs(), styles(), []
    stylizer: Stylizer = sassl.stylizer
    z = stylizer.encode(np.stack(list(patterns.values())))
    header = ["photograph", "style", "T(photo, z), alpha = 1", "T, alpha = 0.2", "view, alpha = beta = 0.2"]
    header += [f"SASSL, draw {i}" for i in (1, 2, 3)]
    rows = []
    for i, (name, photo) in enumerate(progress(list(photos.items()))):
        style_name, pattern = list(patterns.items())[i % len(patterns)]
        batch, z_style = photo[None], z[i % len(patterns)]
        z_photo = stylizer.encode(batch)[0]
        full = stylizer.transfer(batch, z_style)[0]
        weak = stylizer.transfer(batch, 0.8 * z_photo + 0.2 * z_style)[0]
        fixed = stylizer.stylize(batch, z_style, 0.2, 0.2)[0]
        views = sassl(np.repeat(batch, 3, 0))
        params = sassl.params
        assert params is not None
        captions = [name, style_name, "", "", ""]
        for applied, alpha, beta in zip(params.apply, params.alpha, params.beta, strict=True):
            captions.append(f"alpha {alpha:.2f}, beta {beta:.2f}" if applied else "not applied (p = 0.8)")
        row = [photo, pattern, *((t * 255 + 0.5).astype(np.uint8) for t in (full, weak)), fixed, *views]
        rows.append((row, captions))
        for k, view in enumerate(views):
            path = out / f"{name}_view{k + 1}.png"
            image_files.write(path, view)
            written.append(path)
    sheet = out / "contact_sheet.png"
    image_files.write(sheet, contact_sheet(header, rows))
    return [sheet, *written]


def contact_sheet(header: list[str], rows: list[tuple[list[Array], list[str]]]) -> Array:
    """Images in rows, a header over the columns and a caption under each image."""
    from PIL import Image, ImageDraw

    gap, line = 8, 18
    width = gap + len(header) * (SIDE + gap)
    sheet = Image.new("RGB", (width, line + gap + len(rows) * (SIDE + line + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, text in enumerate(header):
        draw.text((gap + column * (SIDE + gap), 5), text, fill="black")
    for r, (images, captions) in enumerate(rows):
        y = line + gap + r * (SIDE + line + gap)
        for column, (image, caption) in enumerate(zip(images, captions, strict=True)):
            x = gap + column * (SIDE + gap)
            sheet.paste(Image.fromarray(image), (x, y))
            draw.text((x, y + SIDE + 3), caption, fill="dimgray")
    return np.array(sheet)

"""Contents and styles: crops of the user's images and procedural patterns, each with the teacher's z, computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from networks import resize
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from torch import Tensor

CONTENT_SIZE = 224
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def find(folder: Path) -> list[Path]:
    """Return the images below a folder, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{folder}: no image ({', '.join(sorted(SUFFIXES))})")
    return found


def read(path: Path) -> Image.Image:
    try:
        return Image.open(path).convert("RGB")
    except OSError as error:
        raise SystemExit(f"{path}: not a readable image ({error}); remove it and start again") from None


def crop(image: Image.Image, size: int, scale: tuple[float, float], rng: np.random.Generator) -> Image.Image:
    """Return a random, nearly square crop, resized to `size` and flipped half of the time; `scale`: its share of the area."""
    width, height = image.size
    area = width * height * rng.uniform(*scale)
    ratio = math.exp(rng.uniform(math.log(0.8), math.log(1.25)))
    w, h = min(width, round(math.sqrt(area * ratio))), min(height, round(math.sqrt(area / ratio)))
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    out = image.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + w, y + h))
    return out.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else out


def recolour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change the palette of half of the styles: their hue, saturation and contrast."""
    if rng.random() < 0.5:
        return image
    hue, saturation, value = image.convert("HSV").split()
    turn = int(rng.integers(0, 256))
    hue = hue.point([(i + turn) % 256 for i in range(256)])
    image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.3, 1.8))
    return ImageEnhance.Contrast(image).enhance(rng.uniform(0.6, 1.6))


def procedural(size: int, rng: np.random.Generator) -> Image.Image:
    """Generate stripes, checks, gradients, noise in octaves, cells, or strokes, in a few random colours."""
    palette = rng.uniform(0, 1, (int(rng.integers(2, 6)), 3))
    y, x = np.mgrid[0:size, 0:size] / size
    angle, frequency = rng.uniform(0, 2 * np.pi), 2 ** rng.uniform(0.5, 5.5)
    along = np.cos(angle) * x + np.sin(angle) * y
    kind = rng.choice(["stripes", "checks", "gradient", "noise", "cells", "strokes"])
    if kind == "strokes":
        return strokes(size, palette, rng)
    if kind == "stripes":
        field = 0.5 + 0.5 * np.sin(2 * np.pi * frequency * along)
        field = np.round(field) if rng.random() < 0.5 else field
    elif kind == "checks":
        across = -np.sin(angle) * x + np.cos(angle) * y
        field = (np.floor(along * frequency) + np.floor(across * frequency)) % 2
    elif kind == "gradient":
        field = (along - along.min()) / np.ptp(along)
    elif kind == "noise":
        field = sum(octave(size, 2**k, rng) / 2 ** (k * rng.uniform(0.3, 1.2)) for k in range(1, 8))
        field = (field - field.min()) / np.ptp(field)
    else:
        points = rng.uniform(0, 1, (int(2 ** rng.uniform(3, 8)), 2))
        distance = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
        field = (distance.argmin(-1) * 0.618) % 1
    position = np.clip(field, 0, 1) * (len(palette) - 1)
    low = np.minimum(position.astype(int), len(palette) - 2)
    colours = palette[low] + (position - low)[..., None] * (palette[low + 1] - palette[low])
    colours = colours + rng.normal(0, rng.choice([0, 0.02, 0.1]), colours.shape)
    return Image.fromarray(np.uint8(np.clip(colours, 0, 1) * 255))


def octave(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    grid = Image.fromarray(rng.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def strokes(size: int, palette: np.ndarray, rng: np.random.Generator) -> Image.Image:
    colours = [tuple(int(255 * c) for c in colour) for colour in palette]
    image = Image.new("RGB", (size, size), colours[0])
    draw = ImageDraw.Draw(image)
    length, width = size * rng.uniform(0.05, 0.5), int(rng.integers(1, 12))
    angle, spread = rng.uniform(0, np.pi), rng.uniform(0, 1.5)
    for _ in range(int(rng.integers(100, 900))):
        x, y = rng.uniform(0, size, 2)
        turn = angle + rng.normal(0, spread)
        end = (x + length * np.cos(turn), y + length * np.sin(turn))
        draw.line([(x, y), end], fill=colours[int(rng.integers(len(colours)))], width=width)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))


def contents(paths: list[Path], count: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    for i in range(count):
        yield crop(read(paths[i % len(paths)]), CONTENT_SIZE, (0.25, 1.0), rng)


def styles(sources: list[list[Path]], count: int, size: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Yield styles: every sixth is procedural, the others are from the folders in turn, whatever their sizes."""
    for i in range(count):
        if i % 6 == 0:
            yield procedural(size, rng)
        else:
            folder = sources[i % len(sources)]
            yield recolour(crop(read(folder[int(rng.integers(len(folder)))]), size, (0.3, 1.0), rng), rng)


class Pool:
    """Images with the teacher's `z`.

    `images` are (n, 3, size, size) uint8, or None without `keep`; `small` are the same at the size of the student's F.
    """

    def __init__(
        self,
        images: Iterator[Image.Image],
        encode: Callable[[Tensor], Tensor],
        small: int,
        keep: bool,
        report: Callable[[int], None],
    ) -> None:
        full, thumbs, vectors, batch = [], [], [], []

        def flush() -> None:
            x = torch.stack(batch).permute(0, 3, 1, 2)
            floats = x.float() / 255
            vectors.append(encode(floats))
            thumbs.append((resize(floats, small, small) * 255).round().clamp(0, 255).byte())
            if keep:
                full.append(x.contiguous())
            batch.clear()
            report(sum(len(v) for v in vectors))

        for image in images:
            batch.append(torch.from_numpy(np.array(image)))
            if len(batch) == 32:
                flush()
        if batch:
            flush()
        self.small, self.z = torch.cat(thumbs), torch.cat(vectors)
        self.images = torch.cat(full) if keep else None

    def __len__(self) -> int:
        return len(self.z)

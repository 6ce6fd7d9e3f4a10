"""The effect of `precision="fast"`: views of a model against those of `precision="exact"`.

Runs on each path that multiplies bytes, on photographs and on images that are hard for bytes (dark, bright and flat ones), with
styles from the default bank or from a bank of the model's space.

python tests/bench/precision.py --photos FOLDER [--model full.safetensors --styles bank.safetensors]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sassl import StyleBank, Stylizer, image_files
from sassl._sassl import info
from sassl.images import pixels

#: The ends of the paper's ranges, and their middle.
STRENGTHS = (0.1, 0.2, 0.3)
#: Variants of a photograph in [0, 1].
KINDS = {
    "photographs": lambda image: image,
    "dark": lambda image: 0.1 * image,
    "bright": lambda image: 0.9 + 0.1 * image,
    "little contrast": lambda image: 0.45 + 0.1 * image,
    "of one colour": lambda image: np.broadcast_to(image.mean((0, 1)), image.shape),
}


def stylizers(model: str) -> Iterator[tuple[str, Stylizer]]:
    """Yield a stylizer for each path of this machine that multiplies bytes."""
    for isa in info()["supported"]:
        os.environ["SASSL_ISA"] = isa
        if info()["multiplies_bytes"]:
            yield isa, Stylizer(model, threads=1, precision="fast")
    os.environ.pop("SASSL_ISA", None)


def rows(
    fast: Stylizer, exact: Stylizer, photos: list[NDArray[np.uint8]], styles: NDArray[np.float32]
) -> Iterator[str]:
    rng = np.random.default_rng(0)
    chosen = styles[rng.integers(len(styles), size=len(photos))]
    for kind, of in KINDS.items():
        for strength in STRENGTHS:
            for dtype in (np.float32, np.uint8):
                decibels, levels = [], []
                for photo, z in zip(photos, chosen, strict=True):
                    image = np.ascontiguousarray(of(photo / 255), np.float32)
                    if dtype == np.uint8:
                        image = np.floor(image * 255 + 0.5).astype(np.uint8)
                    a, b = (model.stylize(image[None], z, strength, strength) for model in (fast, exact))
                    error = a.astype(np.float64) - b
                    error /= 255 if dtype == np.uint8 else 1
                    decibels.append(-10 * np.log10(max((error**2).mean(), 1e-12)))
                    levels.append(255 * abs(error).max())
                yield (
                    f"{kind:16} {strength:4} {np.dtype(dtype).name:8} {np.mean(decibels):8.1f} {min(decibels):8.1f} "
                    f"{max(levels):8.1f}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder; the first 100 are taken")
    parser.add_argument("--model", default="lite", help='"lite" or a model file (default: %(default)s)')
    parser.add_argument("--styles", type=Path, help="bank of the model's space (default: that of lite)")
    args = parser.parse_args()
    styles = (StyleBank.load(args.styles) if args.styles else StyleBank.default()).vectors
    paths = image_files.find([args.photos])[:100]
    photos = [np.array(ImageOps.fit(Image.fromarray(pixels(path)), (224, 224))) for path in paths]
    exact = Stylizer(args.model, precision="exact", threads=1)
    for isa, fast in stylizers(args.model):
        print(
            f"{isa} against exact, {len(photos)} images of 224x224; alpha = beta; PSNR in dB, differences in levels of 255"
        )
        print(f"{'':16} {'beta':4} {'dtype':8} {'mean dB':>8} {'worst dB':>8} {'levels':>8}")
        for row in rows(fast, exact, photos, styles):
            print(row, flush=True)


if __name__ == "__main__":
    main()

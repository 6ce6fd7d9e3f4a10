"""What `SASSL(p=0.8)` on the left view adds to torchvision's two-view MoCo v2 pipeline, decoding included, on one thread.

    pip install '.[bench]' && python tests/bench/pipeline.py

With two blurs: torchvision's (a Gaussian of 23 taps, as SimCLR and BYOL define it), and Pillow's approximation by boxes,
which MoCo v2's own code calls and which takes a tenth of the time. All pipelines go through the same photographs with the
same seeds, in turns, and so draw the same crops and colours; the medians are over rounds of all photographs. `--photos` is
a folder of JPEGs; without it, scikit-learn's two photographs.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from PIL import Image, ImageFilter
from sassl.transforms import SASSL
from sklearn.datasets import load_sample_images
from torch import Tensor
from torchvision import transforms

torch.set_num_threads(1)


class PillowBlur:
    """MoCo v2's (facebookresearch/moco, `moco/loader.py`): Pillow's blur, sigma in [0.1, 2]."""

    def __call__(self, image: Image.Image) -> Image.Image:
        sigma = 0.1 + 1.9 * float(torch.rand(()))
        return image.filter(ImageFilter.GaussianBlur(radius=sigma))


BLURS: dict[str, Callable] = {"torchvision's": transforms.GaussianBlur(23, (0.1, 2.0)), "Pillow's": PillowBlur()}


def view(blur: Callable, style: list[Callable]) -> transforms.Compose:
    """MoCo v2's augmentation; style after the crop."""
    jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(224, scale=(0.2, 1.0)),
            *style,
            transforms.RandomApply([jitter], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.RandomApply([blur], p=0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )


def two_views(photo: bytes, left: Callable, right: Callable) -> list[Tensor]:
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    return [left(image), right(image)]


def photographs(folder: Path | None) -> list[bytes]:
    if folder is not None:
        return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))] or exit(f"{folder}: no .jpg")
    return [Path(name).read_bytes() for name in load_sample_images().filenames]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    photos = photographs(args.photos)
    photos = photos * (100 // len(photos)) if len(photos) < 100 else photos
    print(f"{len(photos)} photographs, {args.rounds} rounds: two MoCo v2 views by torchvision, decoding included")
    for name, blur in BLURS.items():
        right = view(blur, [])
        style = SASSL(p=0.8, generator=torch.Generator().manual_seed(0))
        measure(name, photos, right, {"without": view(blur, []), "with": view(blur, [style])}, args.rounds)


def measure(name: str, photos: list[bytes], right: Callable, lefts: dict[str, Callable], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in lefts}
    for n in range(rounds):
        for key, left in lefts.items():
            torch.manual_seed(n)
            began = time.perf_counter()
            for photo in photos:
                two_views(photo, left, right)
            times[key].append(1e3 * (time.perf_counter() - began) / len(photos))
    without, styled = (float(np.median(times[key])) for key in ("without", "with"))
    overhead = np.median([b / a - 1 for a, b in zip(times["without"], times["with"], strict=True)])
    print(
        f"{name} blur: without style {without:.2f} ms a photograph, with SASSL(p=0.8) on the left {styled:.2f} ms: "
        f"style adds {100 * overhead:.1f} %",
        flush=True,
    )


if __name__ == "__main__":
    main()

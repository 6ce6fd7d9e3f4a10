"""Speed of each operation on one image against torchvision on PIL images and on tensors, on one thread.

    pip install '.[bench]' && python tests/bench/operations.py

A 375x500 photograph is cropped to 224x224, and everything else works on 224x224. All take turns in one process; medians in
milliseconds, and how many times longer than ours the others take. Writes JSON with `--json FILE`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2.functional as tv
from PIL import Image
from sassl.transforms import functional as F
from sklearn.datasets import load_sample_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP, SIZE = (20, 30, 280, 300), (224, 224)

Call = Callable[[], object]


def operations() -> dict[str, tuple[Call, Call, Call]]:
    """Each by sassl, by torchvision on a PIL image, and on a tensor of uint8."""
    photo = load_sample_image("china.jpg")[:375, :500].copy()
    view = F.resized_crop(photo, *CROP, SIZE)
    pil_photo, pil = Image.fromarray(photo), Image.fromarray(view)
    tensor_photo, tensor = (torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in (photo, view))

    def resized_crop(mode: str) -> tuple[Call, Call, Call]:
        how = tv.InterpolationMode(mode)
        return (
            lambda: F.resized_crop(photo, *CROP, SIZE, mode),
            lambda: tv.resized_crop(pil_photo, *CROP, list(SIZE), how),
            lambda: tv.resized_crop(tensor_photo, *CROP, list(SIZE), how, antialias=True),
        )

    def each(ours: Call, theirs: Callable[[object], object]) -> tuple[Call, Call, Call]:
        return ours, lambda: theirs(pil), lambda: theirs(tensor)

    return {
        "crop and resize, bilinear": resized_crop("bilinear"),
        "crop and resize, bicubic": resized_crop("bicubic"),
        "flip": each(lambda: F.hflip(view), tv.horizontal_flip),
        "brightness": each(lambda: F.adjust_brightness(view, 1.2), lambda x: tv.adjust_brightness(x, 1.2)),
        "contrast": each(lambda: F.adjust_contrast(view, 1.2), lambda x: tv.adjust_contrast(x, 1.2)),
        "saturation": each(lambda: F.adjust_saturation(view, 1.2), lambda x: tv.adjust_saturation(x, 1.2)),
        "hue": each(lambda: F.adjust_hue(view, 0.05), lambda x: tv.adjust_hue(x, 0.05)),
        "grayscale": each(lambda: F.grayscale(view), lambda x: tv.rgb_to_grayscale(x, 3)),
        "solarize": each(lambda: F.solarize(view, 128), lambda x: tv.solarize(x, 128)),
        "Gaussian blur, 23 taps": each(lambda: F.gaussian_blur(view, 23, 1.0), lambda x: tv.gaussian_blur(x, 23, 1.0)),
        "normalize": each(
            lambda: F.normalize(view, MEAN, STD),
            lambda x: tv.normalize(tv.to_dtype(tv.to_image(x), torch.float32, scale=True), MEAN, STD),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'ms':28}{'sassl':>8}{'PIL':>18}{'tensor':>18}")
    report = {}
    for name, calls in operations().items():
        times: list[list[float]] = [[], [], []]
        for _ in range(args.rounds):
            for call, seconds in zip(calls, times, strict=True):
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
        ours, pil, tensor = (1e3 * float(np.median(seconds)) for seconds in times)
        report[name] = {"sassl": ours, "PIL": pil, "tensor": tensor}
        print(f"{name:28}{ours:8.3f}{pil:10.3f}{pil / ours:7.1f}x{tensor:10.3f}{tensor / ours:7.1f}x", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

"""Speed of each operation on one image against torchvision (PIL images and tensors), albumentations and kornia, on one thread.

    pip install '.[bench]' && python tests/bench/operations.py

A 375x500 photograph is cropped to 224x224; all other operations work on 224x224. The libraries take turns in one process;
reports medians in milliseconds, and the others' times relative to sassl's. Writes JSON with `--json FILE`. albumentations,
through OpenCV, resizes by areas where it antialiases; its blur and hue are within a few grey levels of torchvision's. kornia
works on floats.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations.augmentations.geometric.functional as ag
import albumentations.augmentations.pixel.functional as ap
import cv2
import kornia
import numpy as np
import torch
import torchvision.transforms.v2.functional as tv
from albucore import normalize as albumentations_normalize
from PIL import Image, ImageFilter
from sassl.transforms import functional as F
from sklearn.datasets import load_sample_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP, SIZE = (20, 30, 280, 300), (224, 224)

Call = Callable[[], object]
OTHERS = ("PIL", "tensor", "albumentations", "kornia")


def operations() -> dict[str, dict[str, Call]]:
    """Return each operation by sassl, and by the other libraries that have it."""
    photo = load_sample_image("china.jpg")[:375, :500].copy()
    view = F.resized_crop(photo, *CROP, SIZE)
    pil_photo, pil = Image.fromarray(photo), Image.fromarray(view)
    tensor_photo, tensor = (torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in (photo, view))
    floats_photo, floats = tensor_photo[None] / 255, tensor[None] / 255
    top, left, height, width = CROP

    def resized_crop(mode: str) -> dict[str, Call]:
        how = tv.InterpolationMode(mode)
        part = (..., slice(top, top + height), slice(left, left + width))
        return {
            "sassl": lambda: F.resized_crop(photo, *CROP, SIZE, mode),
            "PIL": lambda: tv.resized_crop(pil_photo, *CROP, list(SIZE), how),
            "tensor": lambda: tv.resized_crop(tensor_photo, *CROP, list(SIZE), how, antialias=True),
            "albumentations": lambda: cv2.resize(
                photo[top : top + height, left : left + width], SIZE, interpolation=cv2.INTER_AREA
            ),
            "kornia": lambda: kornia.geometry.resize(floats_photo[part], SIZE, mode, antialias=True),
        }

    def each(ours: Call, torchvisions: Callable, albumentations: Call, kornias: Call) -> dict[str, Call]:
        theirs = {"PIL": lambda: torchvisions(pil), "tensor": lambda: torchvisions(tensor)}
        return {"sassl": ours, **theirs, "albumentations": albumentations, "kornia": kornias}

    mean, std = np.float32(MEAN) * 255, 1 / (np.float32(STD) * 255)
    kmean, kstd = torch.tensor(MEAN), torch.tensor(STD)
    enhance = kornia.enhance
    return {
        "crop and resize, bilinear": resized_crop("bilinear"),
        "crop and resize, bicubic": resized_crop("bicubic"),
        "flip": each(
            lambda: F.hflip(view), tv.horizontal_flip, lambda: ag.hflip(view), lambda: kornia.geometry.hflip(floats)
        ),
        "brightness": each(
            lambda: F.adjust_brightness(view, 1.2),
            lambda x: tv.adjust_brightness(x, 1.2),
            lambda: ap.adjust_brightness_torchvision(view, 1.2),
            lambda: enhance.adjust_brightness_accumulative(floats, 1.2),
        ),
        "contrast": each(
            lambda: F.adjust_contrast(view, 1.2),
            lambda x: tv.adjust_contrast(x, 1.2),
            lambda: ap.adjust_contrast_torchvision(view, 1.2),
            lambda: enhance.adjust_contrast_with_mean_subtraction(floats, 1.2),
        ),
        "saturation": each(
            lambda: F.adjust_saturation(view, 1.2),
            lambda x: tv.adjust_saturation(x, 1.2),
            lambda: ap.adjust_saturation_torchvision(view, 1.2, 0),
            lambda: enhance.adjust_saturation_with_gray_subtraction(floats, 1.2),
        ),
        "hue": each(
            lambda: F.adjust_hue(view, 0.05),
            lambda x: tv.adjust_hue(x, 0.05),
            lambda: ap.adjust_hue_torchvision(view, 0.05),
            lambda: enhance.adjust_hue(floats, 0.3),
        ),
        "grayscale": each(
            lambda: F.grayscale(view),
            lambda x: tv.rgb_to_grayscale(x, 3),
            lambda: ap.grayscale_to_multichannel(ap.to_gray_weighted_average(view), 3),
            lambda: kornia.color.rgb_to_grayscale(floats).expand(-1, 3, -1, -1),
        ),
        "solarize": each(
            lambda: F.solarize(view, 128),
            lambda x: tv.solarize(x, 128),
            lambda: ap.solarize(view, 0.5),
            lambda: enhance.solarize(floats, 0.5),
        ),
        "Gaussian blur, 23 taps": each(
            lambda: F.gaussian_blur(view, 23, 1.0),
            lambda x: tv.gaussian_blur(x, 23, 1.0),
            lambda: cv2.GaussianBlur(view, (23, 23), 1.0),
            lambda: kornia.filters.gaussian_blur2d(floats, (23, 23), (1.0, 1.0)),
        ),
        "Gaussian blur, boxes": {
            "sassl": lambda: F.gaussian_blur(view, None, 1.0),
            "PIL": lambda: pil.filter(ImageFilter.GaussianBlur(1.0)),
        },
        "normalize": each(
            lambda: F.normalize(view, MEAN, STD),
            lambda x: tv.normalize(tv.to_dtype(tv.to_image(x), torch.float32, scale=True), MEAN, STD),
            lambda: np.ascontiguousarray(albumentations_normalize(view, mean, std).transpose(2, 0, 1)),
            lambda: enhance.normalize(floats, kmean, kstd),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"{'ms':28}{'sassl':>8}" + "".join(f"{name:>18}" for name in OTHERS))
    report = {}
    for name, calls in operations().items():
        times: dict[str, list[float]] = {who: [] for who in calls}
        for _ in range(args.rounds):
            for who, call in calls.items():
                start = time.perf_counter()
                call()
                times[who].append(time.perf_counter() - start)
        report[name] = medians = {who: 1e3 * float(np.median(seconds)) for who, seconds in times.items()}
        ours = medians["sassl"]
        cells = [f"{medians[who]:10.3f}{medians[who] / ours:7.1f}x" if who in medians else " " * 18 for who in OTHERS]
        print(f"{name:28}{ours:8.3f}{''.join(cells)}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

"""Whole two-view pipelines on one thread, including decoding; and the loader on one and two threads, and against DataLoader.

    pip install '.[bench]' && python tests/bench/pipeline.py --photos FOLDER

MoCo v2's two views of 224x224, by sassl with and without style on the left view, and by torchvision (PIL images and tensors),
albumentations, kornia and NVIDIA DALI without style (DALI on the CPU, if nvidia-dali-cuda130 is installed). There are two
blurs: a Gaussian of 23 taps, as in torchvision; and Pillow's boxes, as in MoCo v2's own code. The last line is torchvision with
`SASSL(p=0.8)` in its left view. All process the same photographs in turns; reports medians over rounds, in milliseconds per
photograph. albumentations resizes without antialiasing.

`--photos` is a folder of JPEGs; without it, scikit-learn's two photographs are used. Writes JSON with `--json FILE`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import cv2
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from kornia import augmentation as K
from PIL import Image, ImageFilter
from sassl.data import Files, TwoViewLoader
from sassl.transforms import SASSL, MoCoV2Transform
from sklearn.datasets import load_sample_images
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

Views = Callable[[bytes], object]


class PillowBlur(nn.Module):
    """MoCo v2's blur (facebookresearch/moco, `moco/loader.py`): Pillow's, sigma in [0.1, 2]."""

    def forward(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius=0.1 + 1.9 * float(torch.rand(()))))


def torchvisions(blur: nn.Module, style: list[nn.Module]) -> v2.Compose:
    """Return MoCo v2's augmentation by torchvision, with style after the crop."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(224, scale=(0.2, 1.0)),
            *style,
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([blur], p=0.5),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def on_pil(blur: nn.Module, style: list[nn.Module]) -> Views:
    left, right = torchvisions(blur, style), torchvisions(blur, [])

    def views(photo: bytes) -> object:
        image = Image.open(io.BytesIO(photo)).convert("RGB")
        return left(image), right(image)

    return views


def on_tensors() -> Views:
    view = torchvisions(v2.GaussianBlur(23, (0.1, 2.0)), [])

    def views(photo: bytes) -> object:
        image = decode_jpeg(torch.frombuffer(bytearray(photo), dtype=torch.uint8), ImageReadMode.RGB)
        return view(image), view(image)

    return views


def albumentations() -> Views:
    view = A.Compose(
        [
            A.RandomResizedCrop((224, 224), scale=(0.2, 1.0)),
            A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=0.8),
            A.ToGray(p=0.2),
            A.GaussianBlur((23, 23), (0.1, 2.0), p=0.5),
            A.HorizontalFlip(p=0.5),
            A.Normalize(MEAN, STD),
            ToTensorV2(),
        ]
    )

    def views(photo: bytes) -> object:
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return view(image=image)["image"], view(image=image)["image"]

    return views


def kornias() -> Views:
    view = nn.Sequential(
        K.RandomResizedCrop((224, 224), scale=(0.2, 1.0)),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((23, 23), (0.1, 2.0), p=0.5),
        K.RandomHorizontalFlip(p=0.5),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )

    def views(photo: bytes) -> object:
        image = decode_jpeg(torch.frombuffer(bytearray(photo), dtype=torch.uint8), ImageReadMode.RGB)[None] / 255
        return view(image), view(image)

    return views


def pipelines() -> dict[str, Views]:
    taps, boxes = v2.GaussianBlur(23, (0.1, 2.0)), PillowBlur()
    style = SASSL(p=0.8, threads=1)
    return {
        "sassl, 23 taps": MoCoV2Transform(kernel_size=23),
        "sassl, 23 taps, with style": MoCoV2Transform(kernel_size=23, style=style),
        "sassl, boxes": MoCoV2Transform(),
        "sassl, boxes, with style": MoCoV2Transform(style=style),
        "torchvision PIL, 23 taps": on_pil(taps, []),
        "torchvision PIL, 23 taps, with style": on_pil(taps, [style]),
        "torchvision PIL, boxes": on_pil(boxes, []),
        "torchvision PIL, boxes, with style": on_pil(boxes, [style]),
        "torchvision tensors, 23 taps": on_tensors(),
        "albumentations, 23 taps": albumentations(),
        "kornia, 23 taps": kornias(),
    }


def dalis(photos: list[bytes]) -> Callable[[], object] | None:
    """Return one pass of DALI's pipeline over all photographs, on one CPU thread, in batches of 16; None: not installed."""
    try:
        from nvidia.dali import fn, pipeline_def, types
    except ImportError:
        return None

    def view_of(image):
        crop = fn.random_resized_crop(image, size=(224, 224), random_area=(0.2, 1.0), antialias=True)
        if fn.random.coin_flip(probability=0.8, dtype=types.BOOL):
            low_high = {"range": [0.6, 1.4]}
            brightness, contrast, saturation = (fn.random.uniform(**low_high) for _ in range(3))
            hue = fn.random.uniform(range=[-36.0, 36.0])
            crop = fn.color_twist(crop, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
        if fn.random.coin_flip(probability=0.2, dtype=types.BOOL):
            gray = fn.color_space_conversion(crop, image_type=types.RGB, output_type=types.GRAY)
            crop = fn.cat(gray, gray, gray, axis=2)
        if fn.random.coin_flip(probability=0.5, dtype=types.BOOL):
            crop = fn.gaussian_blur(crop, window_size=23, sigma=fn.random.uniform(range=[0.1, 2.0]))
        mean, std = ([255 * x for x in some] for some in (MEAN, STD))
        mirror = fn.random.coin_flip(probability=0.5)
        return fn.crop_mirror_normalize(crop, mirror=mirror, mean=mean, std=std, dtype=types.FLOAT, output_layout="CHW")

    @pipeline_def(batch_size=16, num_threads=1, device_id=None, enable_conditionals=True, prefetch_queue_depth=1)
    def both():
        jpegs = fn.external_source(source=source, batch=False, dtype=types.UINT8)
        image = fn.decoders.image(jpegs, device="cpu", output_type=types.RGB)
        return view_of(image), view_of(image)

    arrays = [np.frombuffer(photo, np.uint8) for photo in photos]

    def source(info):
        return arrays[info.idx_in_epoch % len(arrays)]

    pipe = both()
    pipe.build()

    def run() -> object:
        for _ in range(-(-len(photos) // 16)):
            made = pipe.run()
        return made

    return run


class Photographs(Dataset):
    """The dataset of DataLoader's workers: files with sassl's transform."""

    def __init__(self, files: list[str], transform: MoCoV2Transform) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[list[torch.Tensor], int, str]:
        return self.transform(self.files[index]), 0, self.files[index]


def loaders(files: list[str], batch_size: int) -> dict[str, Callable[[], object]]:
    transform = MoCoV2Transform(style=SASSL(p=0.8))
    files = files * max(1, 32 * batch_size // len(files))
    loaders = {
        f"TwoViewLoader, {threads} thread{'s' * (threads > 1)}": TwoViewLoader(
            Files(files), transform, batch_size, threads=threads
        )
        for threads in (1, 2)
    }
    theirs = DataLoader(
        Photographs(files, transform), batch_size, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True
    )
    return {**loaders, "DataLoader, 2 workers": theirs}


def time_of(loader: object) -> float:
    """Return the milliseconds per photograph, from the first batch to the last."""
    began, photographs = 0.0, 0
    for (left, _), *_ in loader:
        if began:
            photographs += len(left)
        else:
            began = time.perf_counter()
    return 1e3 * (time.perf_counter() - began) / photographs


def photographs(folder: Path | None) -> list[str]:
    if folder is None:
        return list(load_sample_images().filenames)
    files = [str(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")]
    return files or exit(f"{folder}: no .jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    files = photographs(args.photos)
    photos = [Path(file).read_bytes() for file in files]
    photos = photos * (100 // len(photos)) if len(photos) < 100 else photos
    times: dict[str, list[float]] = {}
    print(f"{len(photos)} photographs, {args.rounds} rounds; milliseconds a photograph")
    made, dali = pipelines(), dalis(photos)
    for _ in range(args.rounds):
        for name, views in made.items():
            began = time.perf_counter()
            for photo in photos:
                views(photo)
            times.setdefault(name, []).append(1e3 * (time.perf_counter() - began) / len(photos))
        if dali is not None:
            began = time.perf_counter()
            dali()
            batches = -(-len(photos) // 16)
            times.setdefault("DALI, 23 taps", []).append(1e3 * (time.perf_counter() - began) / (16 * batches))
    medians = {name: float(np.median(some)) for name, some in times.items()}
    for name, milliseconds in medians.items():
        blur = "23 taps" if "23" in name else "boxes"
        ratios = [medians[f"sassl, {blur}{style}"] for style in ("", ", with style")]
        without, styled = (milliseconds / ours for ours in ratios)
        print(f"{name:38}{milliseconds:8.2f}   over sassl: {without:5.1f}x, with style {styled:5.1f}x", flush=True)
    runs: dict[str, list[float]] = {}
    made_loaders = loaders(files, args.batch_size)
    for _ in range(max(3, args.rounds // 2)):
        for name, loader in made_loaders.items():
            runs.setdefault(name, []).append(time_of(loader))
    for name, some in runs.items():
        medians[name] = float(np.median(some))
        print(f"{name:38}{medians[name]:8.2f}")
    one, two, theirs = list(runs.values())
    pairs = [np.median([b / a for a, b in zip(two, other, strict=True)]) for other in (one, theirs)]
    print(f"TwoViewLoader on two threads: {pairs[0]:.2f}x one thread, {pairs[1]:.2f}x DataLoader with two workers")
    if args.json:
        args.json.write_text(json.dumps(medians, indent=2))


if __name__ == "__main__":
    main()

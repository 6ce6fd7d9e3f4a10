"""Fits the part of F that encodes small images without resizing: `python zoom.py --help`.

    python zoom.py --model mine.safetensors --images photos textures --out mine.safetensors

F resizes every image to `size` x `size` pixels, which is most of the work for a small one. With the zoom, images with a side of
at least `--smallest` are not enlarged: F computes the same features, and a second linear map, times log2(size / side), corrects
the result to the z of the enlarged image. It is fitted by least squares, so that nothing is trained again: z of larger images,
T and every bank are unchanged.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from data import crop, find, procedural, read, recolour
from networks import load, resize
from safetensors.torch import load_file, save_file
from torch import Tensor

FULL = 224


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model file whose F is a `cnn`")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders; each gets an equal share")
    parser.add_argument("--hold-out", type=Path, help="a text file of names that the fit must not see")
    parser.add_argument("--smallest", type=int, default=64, help="side of the smallest image seen as it is")
    parser.add_argument("--count", type=int, default=6000, help="crops, a twelfth of them for the error")
    parser.add_argument("--out", type=Path, required=True, help="the model file to write")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def batches(args: argparse.Namespace, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield batches in [0, 1] of at most 50 crops, half of them recoloured; every sixth is a pattern; channels are rescaled."""
    held_out = set(args.hold_out.read_text().split("\n")) if args.hold_out else set()
    sources = [[path for path in find(folder) if path.name not in held_out] for folder in args.images]
    batch = []
    for i in range(args.count):
        paths = sources[i % len(sources)]
        image = crop(read(paths[int(rng.integers(len(paths)))]), FULL, (0.25, 1.0), rng)
        image = procedural(FULL, rng) if i % 6 == 0 else recolour(image, rng)
        x = (np.asarray(image, np.float32) / 255 - 0.5) * rng.uniform(0.7, 1.3, 3) + 0.5 + rng.uniform(-0.1, 0.1)
        batch.append(torch.from_numpy(x.clip(0, 1).astype(np.float32)).permute(2, 0, 1))
        if len(batch) == 50 or i == args.count - 1:
            yield torch.stack(batch)
            batch.clear()


@torch.no_grad()
def main() -> None:
    args = arguments()
    model, metadata = load(args.model)
    f, network = model.predictor.eval(), json.loads(metadata["network"])
    largest, smallest = f.size, args.smallest
    if not 32 <= smallest < largest:
        raise SystemExit(f"--smallest {smallest}: F sees {largest} pixels; give at least 32 and less than those")
    # The error that matters is that of T's inputs, not of z itself.
    names = ("gamma", "beta", "gain")
    reads = [layer.weight for name, layer in model.transformer.named_modules() if name.split(".")[-1] in names]
    maps = torch.cat(reads).T
    sides = [round(largest * (smallest / largest) ** (k / 5)) for k in range(1, 6)]
    rows: list[Tensor] = []
    offs: list[Tensor] = []
    seen: list[Tensor] = []
    for images in batches(args, np.random.default_rng(args.seed)):
        for side in sides:
            small = (resize(images, side, side) * 255).round() / 255
            target = f.head(f.features(resize(small, largest, largest)))
            features = f.features(small)
            halvings = math.log2(largest / side)
            rows.append(halvings * torch.cat([features, torch.ones(len(features), 1)], 1))
            offs.append(target - f.head(features))
            seen.append(target)
        print(f"{len(rows) // len(sides) * 50} of {args.count}", end="\r", flush=True)
    cut = len(rows) * 11 // 12 // len(sides) * len(sides)
    x, y = torch.cat(rows[:cut]).double(), torch.cat(offs[:cut]).double()
    spread = x.std(0) + 1e-9
    gram = (x / spread).T @ (x / spread) + 10 * torch.eye(x.shape[1], dtype=torch.float64)
    fitted = (torch.linalg.solve(gram, (x / spread).T @ y) / spread[:, None]).float()

    variance = (torch.cat(seen) @ maps).var(0).mean()
    print()
    for k, side in enumerate(sides):
        x, y = torch.cat(rows[cut + k :: len(sides)]), torch.cat(offs[cut + k :: len(sides)])
        before, after = (((off @ maps).square().mean() / variance).sqrt() for off in (y, y - x @ fitted))
        print(f"side {side}: error of what T reads, over its deviation, {before:.3f} without, {after:.3f} with")

    tensors = load_file(args.model)
    kind = tensors["predictor.head.weight"].dtype
    tensors["predictor.zoom.weight"] = fitted[:-1].T.contiguous().to(kind)
    tensors["predictor.zoom.bias"] = fitted[-1].contiguous().to(kind)
    network["predictor"]["smallest"] = smallest
    save_file(tensors, args.out, metadata | {"network": json.dumps(network)})
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""Distils a cheaper F into the style space of an existing model: `python predictor.py --help`.

    python predictor.py --model lite.safetensors --channels 8 16 32 64 96 --images photos textures --out run

The new F learns the old one's z of any image, so T, and every bank of the space, stay as they are. What counts is not z
itself but what T makes of it: errors are measured after the linear maps that give gamma, beta and the skip's gain.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from data import crop, find, procedural, read, recolour
from networks import build, load
from torch import Tensor, nn
from torch.nn import functional as F
from train import write


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model file whose F is a `cnn`")
    parser.add_argument("--channels", type=int, nargs="+", required=True, help="of the new F's stages")
    parser.add_argument("--size", type=int, help="of the image that the new F sees (default: the old one's)")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders; each gets an equal share")
    parser.add_argument("--hold-out", type=Path, help="a text file of names that training must not see")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint; `export.py` takes it")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--pool", type=int, default=8000, help="how many crops")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def pool(args: argparse.Namespace, side: int, rng: np.random.Generator) -> Tensor:
    """(n, 3, side, side) uint8: crops, half of them recoloured, and a sixth procedural images."""
    held_out = set(args.hold_out.read_text().split("\n")) if args.hold_out else set()
    sources = [[path for path in find(folder) if path.name not in held_out] for folder in args.images]
    out = []
    for i in range(args.pool):
        if i % 6 == 0:
            image = procedural(side, rng)
        else:
            paths = sources[i % len(sources)]
            image = recolour(crop(read(paths[int(rng.integers(len(paths)))]), side, (0.25, 1.0), rng), rng)
        out.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return torch.stack(out)


def varied(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Crops, flips, other light and contrast; a third of the batches as an enlarged small image has them."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    x = images.float() / 255
    if uniform(0, 1, 1) < 0.5:
        side = int(uniform(size, x.shape[-1] + 1, 1))
        y0, x0 = (int(uniform(0, x.shape[-1] - side + 1, 1)) for _ in range(2))
        x = x[..., y0 : y0 + side, x0 : x0 + side]
    if uniform(0, 1, 1) < 0.33:
        small = int(uniform(size // 4, size, 1))
        x = F.interpolate(x, size=(small, small), mode="bilinear", antialias=True)
    x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    x = x.flip(-1) if uniform(0, 1, 1) < 0.5 else x
    n = len(x)
    gain, shift = uniform(0.7, 1.3, n, 3, 1, 1), uniform(-0.1, 0.1, n, 1, 1, 1)
    return ((x - 0.5) * gain + 0.5 + shift).clamp(0, 1).contiguous(memory_format=torch.channels_last)


def readers(transformer: nn.Module) -> Tensor:
    """The linear maps through which T reads z, (rows, dim)."""
    names = ("gamma", "beta", "gain")
    return torch.cat([m.weight for name, m in transformer.named_modules() if name.split(".")[-1] in names]).detach()


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    model, metadata = load(args.model)
    network = json.loads(metadata["network"])
    network["predictor"]["channels"] = args.channels
    network["predictor"]["size"] = args.size or network["predictor"]["size"]
    student = build(network)
    student.transformer.load_state_dict(model.transformer.state_dict())
    f, old, size = student.predictor, model.predictor.eval().requires_grad_(False), model.predictor.size
    f.to(memory_format=torch.channels_last)
    maps = readers(model.transformer)
    images = pool(args, size * 5 // 4, np.random.default_rng(args.seed))
    print(f"{len(images)} crops; F from {count(old):,} to {count(f):,} parameters", flush=True)

    optimizer = torch.optim.AdamW(f.parameters(), lr=args.rate, weight_decay=1e-4)
    mean = build(network).predictor
    mean.load_state_dict(f.state_dict())
    with torch.no_grad():
        z = old(images[torch.randperm(len(images), generator=generator)[:256], :, :size, :size].float() / 255)
        spread = (z @ maps.T).var(0).mean()
    began, step, error = time.perf_counter(), 0, 1.0
    while (progress := (time.perf_counter() - began) / (60 * args.minutes)) < 1:
        rows = torch.randint(len(images), (args.batch,), generator=generator)
        x = varied(images[rows], size, generator)
        with torch.no_grad():
            target = old(x)
        off = (f(x) - target) @ maps.T
        loss = (off.square().mean(1) / spread + 1e-6).sqrt().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(f.parameters(), 1.0)
        rate = args.rate * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        step += 1
        keep = min(0.999, step / (step + 10))
        for to, now in zip(mean.parameters(), f.parameters(), strict=True):
            to.data.lerp_(now.data, 1 - keep)
        error = float(loss.detach()) if step == 1 else 0.98 * error + 0.02 * float(loss.detach())
        if step % 500 == 0:
            print(f"step {step}, {args.minutes * progress:.1f} minutes: error {error:.4f}", flush=True)
    best = build(network)
    best.load_state_dict({**student.state_dict(), **{f"predictor.{k}": v for k, v in mean.state_dict().items()}})
    write(args.out / "checkpoint.pt", {"network": network, "mean": best.state_dict()})
    print(f"{step} steps, error {error:.4f}: {args.out / 'checkpoint.pt'}")


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


if __name__ == "__main__":
    main()

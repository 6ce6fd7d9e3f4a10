"""Loss curves of the three methods against PyTorch's: the same weights, views and rates, step by step.

    pip install '.[bench]' && python tests/bench/curves.py --out curves.png

ResNet-18 with CIFAR's stem on crops of scikit-learn's photographs, 32x32. PyTorch runs in float32 and in float64; the
difference of these two is due to rounding only, since a ReLU's input near 0 may fall on either side. At the presets' rates, it
exceeds 1e-3 within 20 steps, hence the small rate here.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from sassl._sassl import Trainer
from sassl.pretraining import PRESETS, Config
from sassl.pretraining.loop import rates

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))
from pytorch_methods import Reference

Views = list[tuple[np.ndarray, np.ndarray]]


def batches(n: int, size: int, steps: int) -> Views:
    """Return two views of the same crops, in another order for each step."""
    import sassl
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    crops = [photo[y : y + 64, x : x + 64] for photo in photos for y in range(0, 360, 48) for x in range(0, 570, 48)]
    images = sassl.data.Arrays(np.stack(crops).astype(np.uint8)[rng.permutation(len(crops))])
    transform = sassl.transforms.SimCLRTransform(size, cj_strength=0.5, gaussian_blur=0.0, output="numpy")
    loader = sassl.data.TwoViewLoader(images, transform, n, output="numpy")
    found: Views = []
    while len(found) < steps:
        found += [(batch[0][0], batch[0][1]) for batch in loader]
    return found[:steps]


def curves(config: Config, views: Views, threads: int) -> dict[str, list[float]]:
    """Return the losses of each step: sassl's, and PyTorch's in float32 and in float64."""
    ours = Trainer(config.core(), threads=threads)
    before = ours.state()
    plan = [(rate.lr, rate.momentum or 0.0) for rate in (rates(config, step, len(views)) for step in range(len(views)))]
    told = {"sassl": [ours.step(*pair, *rate)[0] for pair, rate in zip(views, plan, strict=True)]}
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        reference = Reference(config.flat(), before, dtype)
        decay, momentum = config.optimizer.weight_decay, config.flat()["momentum"]
        optimizer = torch.optim.SGD(reference.parameters, lr=1.0, momentum=momentum, weight_decay=decay)
        told[name] = []
        for (left, right), (lr, m) in zip(views, plan, strict=True):
            loss = reference.loss(torch.from_numpy(left), torch.from_numpy(right), m)
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()
            if config.method.name == "byol":
                reference.follow(m)
            told[name].append(loss.item())
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.0003, help="for a batch of 256 (default: 0.0003)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=["moco-v2", "byol", "simclr"])
    parser.add_argument("--out", type=Path, help="an image of the curves")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    views = batches(args.batch_size, args.size, args.steps)
    found = {}
    print(
        f"{'after ' + str(args.steps) + ' steps':16}{'loss':>9}{'PyTorch':>9}{'difference':>12}{'float32 to float64':>20}"
    )
    for method in args.methods:
        own = {"queue_size": 16 * args.batch_size, "splits": 1, "mlp": True} if method == "moco-v2" else {}
        config = PRESETS[f"{method}-cifar10"].changed(**own, epochs=1, lr=args.lr, schedule_by="step")
        found[method] = told = curves(config, views, args.threads)
        ours, single, double = (np.array(told[name]) for name in ("sassl", "float32", "float64"))
        apart, rounding = abs(ours / double - 1), abs(single / double - 1)
        print(f"{method:16}{ours[-1]:9.4f}{double[-1]:9.4f}{apart[-1]:12.1e}{rounding[-1]:20.1e}")
        print(f"{'  largest':34}{apart.max():12.1e}{rounding.max():20.1e}", flush=True)
    if args.out:
        draw(found, args.out)


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(found), 3.2), layout="constrained")
    for i, (method, told) in enumerate(found.items()):
        axes = figure.add_subplot(1, len(found), i + 1)
        axes.plot(told["float64"], "-", color="tab:orange", linewidth=4, alpha=0.5, label="PyTorch, float64")
        axes.plot(told["float32"], "--", color="tab:green", linewidth=1.5, label="PyTorch, float32")
        axes.plot(told["sassl"], ".", color="tab:blue", label="sassl")
        axes.set_title(method)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()

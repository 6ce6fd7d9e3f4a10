"""SimCLR on a subset of CIFAR-10, by sassl and by PyTorch: kNN accuracy before and after, with the same recipe and two seeds.

    pip install '.[bench]' && python tests/bench/cifar10.py cifar10_subset_jpeg.zip --epochs 10 --seeds 0 1

The archive has train/CLASS/*.jpg and test/CLASS/*.jpg. Both start with the same weights and get the same batches of views
from the same loader; networks, losses and optimizers are separate implementations.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import sassl
import torch
from sassl import evaluation
from sassl.pretraining import PRESETS
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))
from pytorch_methods import head, load, resnet


class Torch:
    """The same method in PyTorch: torchvision's ResNet-18, a projector, NT-Xent, SGD, a cosine schedule by epoch."""

    def __init__(self, small_stem: bool, weights: dict[str, np.ndarray]) -> None:
        config = PRESETS["simclr-cifar10"]
        self.net = resnet("resnet18", small_stem).to(memory_format=torch.channels_last)
        settings = config.flat()
        self.head = head(512, settings["hidden_dim"], settings["dim"], hidden_bias=False, last_norm=True)
        load({"backbone": self.net, "projector": self.head}, weights)
        parameters = [*self.net.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.SGD(parameters, momentum=0.9, weight_decay=settings["weight_decay"], lr=1.0)
        self.temperature = settings["temperature"]

    def fit(self, loader: sassl.data.TwoViewLoader, epochs: int, peak_lr: float) -> list[float]:
        losses = []
        for epoch in range(epochs):
            loader.set_epoch(epoch)
            self.optimizer.param_groups[0]["lr"] = peak_lr * (1 + math.cos(math.pi * epoch / epochs)) / 2
            total = []
            for (left, right), *_ in loader:
                both = torch.from_numpy(np.concatenate([left, right])).permute(0, 3, 1, 2)
                z = nn.functional.normalize(self.head(self.net.train()(both)))
                n = len(z)
                logits = z @ z.T / self.temperature - torch.eye(n) * 1e9
                loss = nn.functional.cross_entropy(logits, (torch.arange(n) + n // 2) % n)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total.append(loss.item())
            losses.append(float(np.mean(total)))
        return losses

    def into(self, model: sassl.SimCLR) -> sassl.SimCLR:
        """Return sassl's model with these weights, so that features are extracted in the same way."""
        model.engine.load_backbone({name: tensor.numpy() for name, tensor in self.net.state_dict().items()})
        return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--imagenet-stem", action="store_true", help="7x7, stride 2, and max-pool: a sixteenth of the work"
    )
    parser.add_argument("--style", action="store_true", help="ours once more, with style on the left view")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    report = []
    with tempfile.TemporaryDirectory() as root, zipfile.ZipFile(args.archive) as archive:
        archive.extractall(root)
        train, test = (sassl.data.ImageFolder(Path(root) / part) for part in ("train", "test"))

        def make(seed: int, style: str | None = None) -> sassl.SimCLR:
            small = not args.imagenet_stem
            return sassl.SimCLR(preset="simclr-cifar10", style=style, small_stem=small, seed=seed, threads=args.threads)

        def accuracy(model: sassl.SimCLR) -> float:
            known, asked = (evaluation.extract(model, part) for part in (train, test))
            return evaluation.knn(known, asked)["top1"]

        for seed in args.seeds:
            row = {"seed": seed, "untrained": accuracy(make(seed))}
            start = time.perf_counter()
            model = make(seed).fit(train, args.epochs, batch_size=args.batch_size, quiet=True)
            row |= {"sassl": accuracy(model), "loss": model.history[-1]["loss"], "seconds": time.perf_counter() - start}
            start = time.perf_counter()
            blank = make(seed)
            peer = Torch(not args.imagenet_stem, blank.engine.state())
            loader = sassl.data.TwoViewLoader(
                train, blank.transform, args.batch_size, seed=seed, threads=args.threads, output="numpy"
            )
            losses = peer.fit(loader, args.epochs, blank.config.changed(batch_size=args.batch_size).peak_lr)
            row |= {"PyTorch": accuracy(peer.into(blank)), "PyTorch's loss": losses[-1]}
            row["PyTorch's seconds"] = time.perf_counter() - start
            if args.style:
                model = make(seed, "default").fit(train, args.epochs, batch_size=args.batch_size, quiet=True)
                row["sassl with style"] = accuracy(model)
            print(", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
            report.append(row)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

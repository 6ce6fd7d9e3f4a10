"""Convolutions of the ResNets' layers, and both gradients, against PyTorch's (oneDNN), for each distinct shape.

    pip install '.[torch]' && python tests/bench/convolutions.py

ResNet-18 with CIFAR's stem on 32x32, and ResNet-50 on 224x224. The peers take turns: sassl in a separate process
(`tests/bench/convolutions.rs`, built by cargo), PyTorch contiguous and channels last. Reports the least time of all rounds in
GFLOP/s (two for each product, padding included), and the speed relative to PyTorch's better layout. A stem's input has no
gradient. Writes JSON with `--json FILE`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

ROOT = Path(__file__).parents[2]

KINDS = ("output", "input", "weight")
PEERS = ("sassl", "contiguous", "channels last")


class Layer(NamedTuple):
    batch: int
    side: int
    inputs: int
    outputs: int
    kernel: int
    stride: int

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def gflops(self) -> float:
        side = (self.side + 2 * self.padding - self.kernel) // self.stride + 1
        return 2e-9 * self.batch * side**2 * self.outputs * self.inputs * self.kernel**2

    def __str__(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.kernel}x{self.kernel}{stride} {self.inputs}->{self.outputs} at {self.side}, batch {self.batch}"


def layers(small: int, large: int) -> Iterator[Layer]:
    """Yield the layers of ResNet-18, in batches of `small`, and of ResNet-50, in batches of `large`."""
    yield Layer(small, 32, 3, 64, 3, 1)
    yield Layer(small, 32, 64, 64, 3, 1)
    for width, side in ((128, 32), (256, 16), (512, 8)):
        yield Layer(small, side, width // 2, width, 3, 2)
        yield Layer(small, side, width // 2, width, 1, 2)
        yield Layer(small, side // 2, width, width, 3, 1)
    yield Layer(large, 224, 3, 64, 7, 2)
    yield Layer(large, 56, 64, 64, 1, 1)
    for width, side in ((64, 56), (128, 28), (256, 14), (512, 7)):
        if width > 64:
            yield Layer(large, 2 * side, 2 * width, width, 1, 1)
            yield Layer(large, 2 * side, width, width, 3, 2)
            yield Layer(large, 2 * side, 2 * width, 4 * width, 1, 2)
        yield Layer(large, side, width, width, 3, 1)
        yield Layer(large, side, width, 4 * width, 1, 1)
        yield Layer(large, side, 4 * width, width, 1, 1)


class Ours:
    """The crate's kernels, in a process that times them."""

    def __init__(self) -> None:
        run = ["cargo", "run", "--quiet", "--release", "--example", "convolutions"]
        self.process = subprocess.Popen(run, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, kind: str, layer: Layer, threads: int) -> float:
        print(kind, *layer, threads, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def calls(layer: Layer, ours: Ours, threads: int) -> dict[str, dict[str, Callable[[], float]]]:
    """Return, for each kind and peer, a callable that returns the seconds of one call."""
    rng = np.random.default_rng(0)
    stride, padding = layer.stride, layer.padding
    side = (layer.side + 2 * padding - layer.kernel) // stride + 1
    x = rng.standard_normal((layer.batch, layer.side, layer.side, layer.inputs), np.float32)
    w = rng.standard_normal((layer.outputs, layer.kernel, layer.kernel, layer.inputs), np.float32)
    dy = rng.standard_normal((layer.batch, side, side, layer.outputs), np.float32)
    kinds = KINDS if layer.inputs > 3 else ("output", "weight")
    made: dict[str, dict[str, Callable[[], float]]] = {}
    for kind in kinds:
        made[kind] = {"sassl": partial(ours.seconds, kind, layer, threads)}
        for peer, layout in (("contiguous", torch.contiguous_format), ("channels last", torch.channels_last)):
            tx, tw, tdy = (torch.from_numpy(a).permute(0, 3, 1, 2).contiguous(memory_format=layout) for a in (x, w, dy))

            def torchs(kind: str = kind, tx=tx, tw=tw, tdy=tdy) -> torch.Tensor:
                if kind == "output":
                    return torch.conv2d(tx, tw, stride=stride, padding=padding)
                where = (
                    [stride] * 2,
                    [padding] * 2,
                    [1, 1],
                    False,
                    [0, 0],
                    1,
                    [kind == "input", kind == "weight", False],
                )
                return torch.ops.aten.convolution_backward(tdy, tx, tw, None, *where)[0 if kind == "input" else 1]

            made[kind][peer] = partial(seconds, torchs)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--small", type=int, default=32, help="batch of ResNet-18")
    parser.add_argument("--large", type=int, default=4, help="batch of ResNet-50")
    parser.add_argument("--only", default="", help="part of the layers' names")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    print(f"threads {args.threads}, torch {torch.__version__}, SASSL_ISA {os.environ.get('SASSL_ISA', 'unset')}")
    print(f"{'GFLOP/s: sassl, torch, ratio':34}" + "".join(f"{kind:>24}" for kind in KINDS))
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    report, ours = {}, Ours()
    for layer in dict.fromkeys(layers(args.small, args.large)):
        if args.only not in str(layer):
            continue
        report[str(layer)], cells = {}, []
        for kind, peers in calls(layer, ours, args.threads).items():
            least = dict.fromkeys(PEERS, math.inf)
            for _ in range(args.rounds):
                for peer, call in peers.items():
                    least[peer] = min(least[peer], call())
            mine, theirs = least["sassl"], min(least[peer] for peer in PEERS[1:])
            ratios[kind].append(theirs / mine)
            report[str(layer)][kind] = least
            cells.append(f"{layer.gflops / mine:8.0f} {layer.gflops / theirs:6.0f} {theirs / mine:5.2f}x")
        cells[1:1] = [""] * (len(KINDS) - len(cells))
        print(f"{layer!s:34}" + "".join(f"{cell:>24}" for cell in cells), flush=True)
    for name, of in (("geometric mean", lambda x: math.exp(np.log(x).mean())), ("least", min)):
        print(f"{name:34}" + "".join(f"{of(each):23.2f}x" if each else f"{'':24}" for each in ratios.values()))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

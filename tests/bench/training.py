"""A step of SimCLR against PyTorch's: time and peak memory, each in a separate process, in turns.

    pip install '.[bench]' && python tests/bench/training.py --threads 2

The same ResNet, projector, NT-Xent, batch and SGD; PyTorch in its default layout and channels last. Medians over all steps
except the first of each process, in seconds; memory is the process's peak minus its memory before the first step. Writes JSON
with `--json FILE`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

#: arch, whether it has CIFAR's stem, side of the images, batch size.
CASES = [("resnet18", True, 32, 256), ("resnet18", True, 64, 64), ("resnet50", False, 224, 16)]
PEERS = ("sassl", "torch", "torch channels last")


def ours(arch: str, small: bool, views: list[np.ndarray], threads: int) -> Callable[[], object]:
    import sassl
    from sassl.pretraining import Rates

    model = sassl.SimCLR(arch, small_stem=small, optimizer="sgd", weight_decay=1e-4, threads=threads)
    return lambda: model.engine.step(*views, Rates(0.05, 0.05, None))


def torchs(arch: str, small: bool, views: list[np.ndarray], threads: int, last: bool) -> Callable[[], object]:
    import torch
    from torch import nn

    sys.path.insert(0, str(Path(__file__).parents[1] / "python"))
    from pytorch_methods import head, resnet

    torch.set_num_threads(threads)
    net = resnet(arch, small)
    net.fc = head(512 if arch == "resnet18" else 2048, 2048, 128, hidden_bias=False, last_norm=True)
    layout = torch.channels_last if last else torch.contiguous_format
    net = net.to(memory_format=layout)
    images = torch.cat([torch.from_numpy(view).permute(0, 3, 1, 2) for view in views]).contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    n = len(images)
    itself, other = torch.eye(n) * 1e9, (torch.arange(n) + n // 2) % n

    def step() -> None:
        z = nn.functional.normalize(net(images))
        loss = nn.functional.cross_entropy(z @ z.T / 0.1 - itself, other)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def run(peer: str, case: int, threads: int, steps: int) -> dict[str, object]:
    arch, small, side, batch = CASES[case]
    rng = np.random.default_rng(0)
    views = [rng.random((batch, side, side, 3), np.float32) for _ in range(2)]
    make = ours if peer == "sassl" else lambda *args: torchs(*args, last=peer != "torch")
    step = make(arch, small, views, threads)
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": seconds[1:], "megabytes": peak / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run(args.one[0], int(args.one[1]), args.threads, args.steps)))
        return
    report = {}
    print(f"{'a step':36}" + "".join(f"{peer:>34}" for peer in PEERS))
    for case, (arch, small, side, batch) in enumerate(CASES):
        name = f"{arch}{', small stem' * small}, {side}x{side}, batch {batch}"
        made: dict[str, list[dict]] = {peer: [] for peer in PEERS}
        for _ in range(args.rounds):
            for peer in PEERS:
                command = [sys.executable, __file__, "--one", peer, str(case)]
                command += ["--threads", str(args.threads), "--steps", str(args.steps)]
                made[peer].append(
                    json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                )
        medians = {
            peer: (
                float(np.median([second for one in runs for second in one["seconds"]])),
                float(np.median([one["megabytes"] for one in runs])),
            )
            for peer, runs in made.items()
        }
        report[name] = medians
        first = medians["sassl"]
        cells = [f"{s:9.2f} s {s / first[0]:5.2f}x {mb:7.0f} MB {mb / first[1]:5.2f}x" for s, mb in medians.values()]
        print(f"{name:36}" + "".join(f"{cell:>34}" for cell in cells), flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

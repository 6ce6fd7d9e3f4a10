"""Steps of the torch engine on a GPU against the same steps in plain PyTorch, eager and compiled.

    pip install '.[torch]' && python tests/bench/torch_engine.py --minutes 6

ResNet-50, 224x224, batches of 256, bfloat16, channels last, views on the device: median milliseconds, images per second and
peak memory, the most important cases first. They include a step fed by a loader of JPEGs, styled with p = 0.8, with the share
of time that it waits for data; and views only, compared with kornia's (for DALI's: `dali_views.py`). Each line is written as
soon as it is measured, also to the JSON file; cases left when the time is over are not measured. `--arch resnet18 --side 32
--batch 16 --device cpu` tries the script without a GPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sassl.pretraining import PRESETS, Rates, Torch
from sassl.pretraining.torch.backbones import build, head
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch_views import Fed, alone

RESULTS = Path(__file__).parent / "results"
RATES = Rates(0.01, 0.01, 0.999)
#: The cases, the most important first: a method, and whether it is compiled.
CASES = [("simclr", False), ("simclr", True), ("moco-v2", False), ("byol", False), ("moco-v2", True), ("byol", True)]
#: A transformer, measured last.
VIT = "timm:vit_small_patch16_224"


def settings(method: str, arch: str, side: int) -> Any:
    own = {"arch_settings": {"img_size": side}} if arch == VIT else {"small_stem": side <= 64}
    return PRESETS[method].changed(arch=arch, input_size=side, optimizer="sgd", **own)


def plain(config: Any, views: list[torch.Tensor], device: torch.device, compiled: bool) -> Callable[[], object]:
    """Return SimCLR's step as usually written: torchvision's names, `nn.BatchNorm2d`, autocast, fused SGD."""
    projector = head(config.backbone.features, 2048, 128, hidden_bias=False, last_norm=True)
    net = nn.Sequential(build(config.backbone), projector).to(device, memory_format=torch.channels_last)
    fused = True if device.type == "cuda" else None
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=1e-4, fused=fused)
    run = torch.compile(net) if compiled else net
    n = len(views[0])
    others = (torch.arange(2 * n, device=device) + n) % (2 * n)
    itself = 1e9 * torch.eye(2 * n, device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            z = run(torch.cat(views))
        z = normalize(z.float())
        cross_entropy(z @ z.T / 0.1 - itself, others).backward()
        optimizer.step()

    return step


def lightly(config: Any, views: list[torch.Tensor], device: torch.device, compiled: bool) -> Callable[[], object]:
    """Return SimCLR's step as in lightly's examples, on the same network."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead

    net = nn.Sequential(build(config.backbone), SimCLRProjectionHead(config.backbone.features, 2048, 128))
    net = net.to(device, memory_format=torch.channels_last)
    criterion = NTXentLoss(temperature=0.1)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=1e-4)
    run = torch.compile(net) if compiled else net

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = criterion(run(views[0]), run(views[1]))
        loss.backward()
        optimizer.step()

    return step


def engine(config: Any, views: list[torch.Tensor], device: torch.device, compiled: bool) -> Callable[[], object]:
    made = Torch(device=str(device), precision="bf16", compile=compiled, ahead=True)(config)
    return lambda: made.step(*views, RATES)


def fed(where: str) -> Callable[..., Fed]:
    """Return a factory of the engine's step on views of a loader."""

    def make(config: Any, views: list[torch.Tensor], device: torch.device, compiled: bool) -> Fed:
        return Fed(where, config, views, device)

    make.__name__ = f"views={where}"
    return make


def median(call: Callable[[], object], device: torch.device, seconds: float) -> tuple[float, float]:
    """Return the milliseconds of a call, and its peak memory in gigabytes."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        call()
    wait()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - began < seconds and len(times) < 30):
        start = time.perf_counter()
        # Several calls at a time, without a synchronization in between, so that work can be queued ahead.
        for _ in range(3):
            call()
        wait()
        times.append((time.perf_counter() - start) / 3)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
    return 1e3 * float(np.median(times)), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=5, help="of measuring each")
    parser.add_argument("--out", type=Path, help="default: tests/bench/results/torch-engine-<device>.json")
    args = parser.parse_args()
    device = torch.device(args.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    out = args.out or RESULTS / f"torch-engine-{name.lower().replace(' ', '-')}.json"
    shape = (args.batch, 3, args.side, args.side)
    views = [torch.randn(shape, device=device).to(memory_format=torch.channels_last) for _ in range(2)]
    told: dict[str, Any] = {"device": name, "torch": torch.__version__, "date": str(date.today()), "steps": []}
    told |= {"arch": args.arch, "side": args.side, "batch": args.batch}
    peers = [plain, lightly] if find_spec("lightly") else [plain]
    cases = [
        (make, method, args.arch, compiled)
        for method, compiled in CASES
        for make in [*(peers if method == "simclr" else ()), engine]
    ]
    # After the first steps, with which they are compared.
    first = len(peers) + 1
    cases[first:first] = [(fed(where), "simclr", args.arch, False) for where in ("split", "cpu", "gpu")]
    if find_spec("timm"):
        cases += [(make, "simclr", VIT, False) for make in (plain, engine)]
    until = time.monotonic() + 60 * args.minutes
    print(f"{name}, torch {torch.__version__}: {args.arch}, {args.side}x{args.side}, batch {args.batch}")
    for make, method, arch, compiled in cases:
        # torch.compile of a ResNet-50 takes a minute or two.
        if time.monotonic() > until - (90 if compiled else 20):
            print(f"{method}, {arch}, {make.__name__}, compiled={compiled}: not measured, the time is over")
            continue
        began = time.monotonic()
        step = make(settings(method, arch, args.side), views, device, compiled)
        milliseconds, peak = median(step, device, args.seconds)
        row: dict[str, Any] = {
            "method": method,
            "arch": arch,
            "by": make.__name__,
            "compiled": compiled,
            "ms": milliseconds,
            "GiB": peak,
        }
        row |= {"images_per_second": 1e3 * args.batch / milliseconds, "seconds_to_measure": time.monotonic() - began}
        if isinstance(step, Fed):
            row["wait"] = step.wait
        told["steps"].append(row)
        out.write_text(json.dumps(told, indent=2) + "\n")
        print(
            f"{method:10} {arch:26} {make.__name__:11} {'compiled' if compiled else 'eager':9} {milliseconds:8.1f} ms "
            f"{row['images_per_second']:8.0f} images/s {peak:6.1f} GiB"
            + (f" {row['wait']:7.1%} of the time waiting for data" if "wait" in row else ""),
            flush=True,
        )
        if make.__name__ == "views=gpu":
            told["views"] = {}
            for by, call in alone(views, device).items():
                told["views"][by], _ = median(call, device, min(args.seconds, 3))
                print(f"both views, on crops, by {by}: {told['views'][by]:.1f} ms", flush=True)
            out.write_text(json.dumps(told, indent=2) + "\n")
        del step
        torch._dynamo.reset()
        if device.type == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()

"""SASSL on a GPU against the same networks in PyTorch, eager, compiled, and in a CUDA graph; and relative to a training step.

    pip install '.[torch]' && python tests/bench/gpu.py

Batches of 256 at 224x224, uint8 in and bfloat16 out; PyTorch in bfloat16, channels last. Medians in milliseconds by CUDA
events. The step is SimCLR with a ResNet-50 in PyTorch, both views, bfloat16. Prints a table, and writes JSON with the device
and the date under tests/bench/results/. Takes some minutes. (A file called cuda.py would hide the package of that name from
torch.)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import sassl
import torch
from sassl import cuda
from sassl.transforms.plain import SASSL
from torch import nn

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "python")]
import peers

LITE = Path(__file__).parents[2] / "src" / "weights" / "lite.safetensors"
RESULTS = Path(__file__).parent / "results"


def median(call: Callable[[], object], rounds: int) -> float:
    """Return the median time on the GPU in milliseconds."""
    times = []
    for _ in range(rounds + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return float(np.median(times[3:]))


def bandwidth() -> float:
    """Return the bytes per millisecond that a copy on the device reads and writes."""
    one, other = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * len(one) / median(lambda: other.copy_(one), 10)


def in_graph(call: Callable[[], object]) -> Callable[[], object]:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


class Peer(nn.Module):
    """Algorithm 1 in PyTorch: uint8 (N, 3, H, W) in, bfloat16 out."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        model, _ = peers.networks.load(path)
        self.f, self.t = model.predictor, model.transformer

    def forward(
        self, images: torch.Tensor, z_style: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor
    ) -> torch.Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            x = images.to(torch.bfloat16) * (1 / 255)
            z = self.f(x).to(torch.bfloat16)
            z = z + alpha * (z_style - z)
            return (x + beta[..., None, None] * (self.t(x, z) - x)).to(torch.bfloat16)


def stylization(path: Path, images: torch.Tensor, rounds: int) -> dict[str, float]:
    n = len(images)
    model = "lite" if path == LITE else str(path)
    transform = SASSL(
        p=1.0, styles="default" if path == LITE else np.random.default_rng(0).normal(size=(64, 100)), model=model
    )
    params, bank = transform.sample(n), transform.styles
    found = {}
    for precision in ("fast", "exact"):
        kernels = cuda.Kernels(sassl.Stylizer(model, precision=precision), images.device, bank.vectors)
        call = lambda kernels=kernels: kernels.apply(images, params, torch.bfloat16)  # noqa: E731
        found[f"sassl, {precision}"] = median(call, rounds)
        if precision == "fast":
            found["sassl, fast, CUDA graph"] = median(in_graph(call), rounds)
    peer = Peer(path).eval().to("cuda", torch.bfloat16).to(memory_format=torch.channels_last)
    last = images.contiguous(memory_format=torch.channels_last)
    z = torch.from_numpy(bank.vectors[params.style]).to("cuda", torch.bfloat16)
    alpha, beta = (torch.from_numpy(x).to("cuda", torch.bfloat16)[:, None] for x in (params.alpha, params.beta))
    with torch.inference_mode():
        eager = lambda: peer(last, z, alpha, beta)  # noqa: E731
        found["PyTorch, eager"] = median(eager, rounds)
        compiled = torch.compile(peer)
        found["PyTorch, compiled"] = median(lambda: compiled(last, z, alpha, beta), rounds)
        found["PyTorch, compiled, CUDA graph"] = median(in_graph(lambda: compiled(last, z, alpha, beta)), rounds)
    return found


def step(images: torch.Tensor, rounds: int) -> dict[str, float]:
    """Time a SimCLR step with both views, without SASSL and with it on the left view, p = 0.8."""
    from pytorch_methods import head, resnet

    net = resnet("resnet50", False)
    net.fc = head(2048, 2048, 128, hidden_bias=False, last_norm=True)
    net = net.to("cuda", memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, fused=True)
    n, transform = len(images), SASSL(p=0.8)
    other = (torch.arange(2 * n, device="cuda") + n) % (2 * n)

    def run(styled: bool) -> None:
        left = transform(images) if styled else images
        views = torch.cat([left, images]).to(torch.float32, memory_format=torch.channels_last).div_(255)
        with torch.autocast("cuda", torch.bfloat16):
            z = nn.functional.normalize(net(views))
            logits = z @ z.T / 0.1 - torch.eye(2 * n, device="cuda") * 1e9
            loss = nn.functional.cross_entropy(logits.float(), other)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    plain, styled = [], []
    for _ in range(2):
        plain.append(median(lambda: run(False), rounds // 2))
        styled.append(median(lambda: run(True), rounds // 2))
    return {"step": float(np.median(plain)), "step with SASSL": float(np.median(styled))}


def views(images: torch.Tensor, rounds: int) -> dict[str, float]:
    """Time MoCo v2's two views of a batch; for torchvision one view, with one draw for the whole batch; for kornia one view."""
    from torchvision.transforms import v2

    transform = sassl.transforms.MoCoV2Transform()
    styled = sassl.transforms.MoCoV2Transform(style=SASSL(p=0.8))
    found = {"sassl, two views": median(lambda: transform(images), rounds)}
    found["sassl, two views, styled"] = median(lambda: styled(images), rounds)
    jitter, blur = v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.GaussianBlur(23, (0.1, 2.0))
    torchvisions = v2.Compose(
        [
            v2.RandomResizedCrop(224, (0.2, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            jitter,
            v2.RandomGrayscale(0.2),
            blur,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    found["torchvision v2, one view, one draw"] = median(lambda: torchvisions(images), rounds)
    try:
        import kornia.augmentation as K
    except ImportError:
        return found
    kornias = K.AugmentationSequential(
        K.RandomResizedCrop((224, 224), (0.2, 1.0)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((23, 23), (0.1, 2.0), p=0.5),
    )
    floats = images.float() / 255
    found["kornia, one view"] = median(lambda: kornias(floats), rounds)
    return found


FIRST = """
import time, torch, sassl
from sassl.transforms import SASSL
x = torch.zeros(256, 3, 224, 224, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
start = time.perf_counter()
SASSL(p=1.0)(x)
torch.cuda.synchronize()
print(time.perf_counter() - start)
"""


def first_call() -> dict[str, float]:
    """Time in milliseconds from the creation of the transform to its first batch, in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-c", FIRST]
        told = [
            subprocess.run(
                run, env={**os.environ, "SASSL_CACHE": folder}, check=True, capture_output=True, text=True
            ).stdout
            for _ in range(2)
        ]
    return dict(zip(("cold cache", "warm cache"), (1000 * float(text) for text in told), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--models", type=Path, nargs="*", default=[], help="other .safetensors models, as the mobile pair"
    )
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name()
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (args.batch_size, 3, 224, 224), np.uint8)).cuda()
    report: dict[str, dict[str, float]] = {}
    start, copied = time.perf_counter(), bandwidth()
    # Each value is read once and written once: bytes in, bfloat16 or the views' float32 out.
    limits = {"style": images.nelement() * 3 / copied, "views": images.nelement() * 9 / copied}
    report["limit"] = limits
    print(f"{name}, torch {torch.__version__}, batch {args.batch_size}, 224x224")
    for path in [LITE, *args.models]:
        report[path.stem] = found = stylization(path, images, args.rounds)
        ours = found["sassl, fast"]
        for what, ms in found.items():
            print(
                f"{path.stem:12}{what:32}{ms:9.3f} ms {args.batch_size / ms * 1000:12,.0f}/s {ms / ours:6.2f}x",
                flush=True,
            )
        print(
            f"{path.stem:12}share of the memory bandwidth's limit, {limits['style']:.3f} ms: {limits['style'] / ours:.1%}"
        )
    report["views"] = found = views(images, args.rounds)
    for what, ms in found.items():
        print(f"{what:44}{ms:9.3f} ms", flush=True)
    share = limits["views"] / found["sassl, two views"]
    print(f"{'share of the limit, ' + format(limits['views'], '.3f') + ' ms':44}{share:9.1%}")
    report["step"] = found = step(images, args.rounds)
    share = found["step with SASSL"] / found["step"] - 1
    print(f"ResNet-50 SimCLR step {found['step']:.1f} ms, with SASSL {found['step with SASSL']:.1f} ms: {share:+.1%}")
    report["first call"] = found = first_call()
    print(f"first call: {found['cold cache']:.0f} ms with a cold cache, {found['warm cache']:.0f} ms with a warm one")
    RESULTS.mkdir(exist_ok=True)
    told = {"device": name, "date": str(date.today()), "torch": torch.__version__, "milliseconds": report}
    path = RESULTS / f"cuda-{name.replace(' ', '-').lower()}.json"
    path.write_text(json.dumps(told, indent=2) + "\n")
    print(f"{path}: written, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

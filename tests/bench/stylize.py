"""Speed of T, F and the whole block against LiteRT, ONNX Runtime, OpenVINO and PyTorch on the same weights.

    pip install '.[bench]' && python tests/bench/stylize.py

All engines run in turns in one process; reports medians in milliseconds, and the others' times relative to sassl's.
The last column is the share of this machine's single-threaded float32 peak that sassl's exact mode reaches; the peak is the
faster of NumPy's and PyTorch's products of two large matrices. `--weights` is a folder of Magenta's TFLite files; without it,
only `lite` is measured. Writes JSON with `--json FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import peers
import torch
from PIL import Image, ImageOps
from sassl import StyleBank, Stylizer
from sassl._sassl import convert, info
from sassl.transforms.plain import SASSL
from sklearn.datasets import load_sample_image

SHARED = Path(__file__).parents[3] / "shared" / "weights"
LITE = Path(__file__).parents[2] / "src" / "weights" / "lite.safetensors"


def photographs(n: int, side: int) -> np.ndarray:
    """Return photographs, (n, side, side, 3) uint8."""
    photo = Image.fromarray(load_sample_image("china.jpg"))
    return np.stack([np.roll(ImageOps.fit(photo, (side, side)), 7 * i, axis=1) for i in range(n)])


def medians(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Return the milliseconds of each call; the calls take turns for about `seconds`, but at least 5 rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 5:
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(values)) for name, values in times.items()}


def peak() -> float:
    """Return the multiply-adds per second of the faster of two float32 matrix products on one thread."""
    torch.set_num_threads(1)
    a = torch.rand(1024, 1024)
    b = a.numpy()
    return 1024**3 / min(medians({"PyTorch": lambda: a @ a, "NumPy": lambda: b @ b}, 2.0).values()) * 1e3


def report(title: str, times: dict[str, float], share: dict[str, float] | None = None) -> None:
    """Print a line for each of sassl's precisions."""
    others = {name: ms for name, ms in times.items() if not name.startswith("sassl")}
    for name in times.keys() - others.keys():
        ratios = "".join(f"{ms:9.2f} {ms / times[name]:5.2f}x" for ms in others.values())
        roofline = f"{100 * share[name]:5.0f} %" if share and name in share else ""
        print(f"{title:26} {name.removeprefix('sassl '):5} {times[name]:9.2f} {ratios} {roofline}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=SHARED, help="default: %(default)s")
    parser.add_argument("--sizes", type=int, nargs="+", default=(96, 160, 224, 384))
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 64))
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--seconds", type=float, default=4.0, help="for each line of the table")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    about = info()
    roof = peak()
    results: dict[str, object] = {"machine": platform.processor() or platform.machine(), **about, "peak": roof}
    print(f"{about['isa']}, {about['cores']} cores; float32 product: {2e-9 * roof:.0f} GFLOP/s on one thread")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pair = [args.weights / f"magenta_mobile_{part}.tflite" for part in ("predictor_int8", "transformer_f16")]
        if all(path.exists() for path in pair):
            convert(pair, folder / "mobile.safetensors", "mobile")
            results |= mobile(args, pair, folder, roof)
        else:
            print(f"DID NOT RUN: the mobile pair is not in {args.weights}")
        results |= lite(args, folder)
        results |= alone(args)
        results |= by_size(args)
        results |= by_threads(args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


def mobile(args: argparse.Namespace, pair: list[Path], folder: Path, roof: float) -> dict[str, object]:
    """Measure T at each size, and F at its input size; float32 in and out."""
    results: dict[str, object] = {}
    model, metadata = peers.networks.load(folder / "mobile.safetensors")
    print(f"\n{'mobile pair, ms':32} {'sassl':>9} " + "".join(f"{name:>15} " for name in (*peers.ENGINES, "LiteRT")))
    for threads in args.threads:
        ours = {p: Stylizer(folder / "mobile.safetensors", threads=threads, precision=p) for p in ("exact", "fast")}
        for part, side in [("F", 256), *(("T", side) for side in args.sizes)]:
            image = photographs(1, side).astype(np.float32) / 255
            planes = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
            z = ours["exact"].encode(image)
            inputs, module = ([planes], model.predictor) if part == "F" else ([planes, z], model.transformer)
            calls = peers.engines(module, inputs, threads, folder)
            calls["LiteRT"] = peers.litert(pair[part == "T"], [image, z], threads)
            for precision, stylizer in ours.items():
                calls[f"sassl {precision}"] = bound(stylizer, part, image, z)
            times = medians(calls, args.seconds)
            title = f"{part} {side}x{side}, {threads} threads"
            results[f"mobile {title}"] = times
            share = None
            if part == "T":
                work = peers.networks.multiply_adds(json.loads(metadata["network"]), side)[1]
                # A single image is computed on one thread.
                share = {"sassl exact": work / (1e-3 * times["sassl exact"]) / roof}
            report(title, times, share)
    return results


def bound(stylizer: Stylizer, part: str, image: np.ndarray, z: np.ndarray) -> Callable[[], object]:
    return (lambda: stylizer.encode(image)) if part == "F" else (lambda: stylizer.transfer(image, z))


def lite(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Measure Algorithm 1 with F and T of `lite`, uint8 in and out."""
    results: dict[str, object] = {}
    block = peers.Block(peers.networks.load(LITE)[0])
    styles = StyleBank.default().vectors
    print(f"\n{'lite, ms':32} {'sassl':>9} " + "".join(f"{name:>15} " for name in peers.ENGINES))
    for threads in args.threads:
        for batch in args.batches:
            for side in args.sizes:
                images, z = photographs(batch, side), styles[:batch]
                strength = np.full((batch, 1), 0.2, np.float32)
                calls = peers.engines(block, [images, z, strength, strength], threads, folder)
                for precision in ("exact", "fast"):
                    stylizer = Stylizer(threads=threads, precision=precision)
                    calls[f"sassl {precision}"] = lambda s=stylizer, x=images, z=z: s.stylize(x, z, 0.2, 0.2)
                times = medians(calls, args.seconds)
                title = f"{side}x{side}, batch {batch}, {threads} threads"
                results[f"lite {title}"] = times
                report(title, times)
    return results


def alone(args: argparse.Namespace) -> dict[str, object]:
    """Measure the transform without other engines in between, which would leave cold caches: as in a DataLoader worker."""
    photo = photographs(1, 224)[0]
    results: dict[str, object] = {}
    print()
    for precision in ("exact", "fast"):
        transform = SASSL(p=1.0, threads=1, precision=precision, generator=np.random.default_rng(0))
        ms = medians({"sassl": lambda t=transform: t(photo)}, args.seconds)["sassl"]
        results[f"SASSL alone, {precision}"] = ms
        print(f"SASSL(p=1), lite, 224x224, one thread, {precision}, alone: {ms:.2f} ms, {1e3 / ms:.0f} images/s")
    return results


def by_size(args: argparse.Namespace) -> dict[str, object]:
    """Measure the cost per pixel for each image size, on one thread: a stream of images of one size after the other."""
    stylizer, z = Stylizer(threads=1), StyleBank.default().vectors[:1]
    sides = (64, 96, 128, 224, 384, 512, 768, 1024)

    def stream(side: int) -> Callable[[], object]:
        image, n = photographs(1, side), max(sides) ** 2 // side**2
        return lambda: [stylizer.stylize(image, z, 0.2, 0.2) for _ in range(n)]

    times = medians({f"{side}": stream(side) for side in sides}, 2 * args.seconds)
    costs = {side: 1e6 * ms / (int(side) ** 2 * (max(sides) ** 2 // int(side) ** 2)) for side, ms in times.items()}
    print("\nlite, fast, ns a pixel by side: " + ", ".join(f"{side}: {ns:.1f}" for side, ns in costs.items()))
    return {"ns a pixel": costs}


def by_threads(args: argparse.Namespace) -> dict[str, object]:
    """Measure the speed-up of a batch of 64 with more threads."""
    images, z = photographs(64, 224), StyleBank.default().vectors[:64]
    counts = sorted({1, *args.threads})
    stylizers = {f"{n}": Stylizer(threads=n) for n in counts}
    calls = {n: lambda s=stylizer: s.stylize(images, z, 0.2, 0.2) for n, stylizer in stylizers.items()}
    times = medians(calls, 2 * args.seconds)
    print("lite, fast, 64 images by threads: " + ", ".join(f"{n}: {ms:.1f} ms" for n, ms in times.items()))
    return {"64 images": times}


if __name__ == "__main__":
    main()

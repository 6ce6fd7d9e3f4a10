"""Speed, one thread: Magenta's mobile pair against LiteRT on the same files, and SASSL with `lite`.

    pip install '.[bench]' && python tests/bench/stylize.py

Ours and theirs run in turns in one process; medians. `--weights` is a folder of the pair's TFLite files. Writes JSON with
`--json FILE`.
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

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from sassl import Stylizer
from sassl._sassl import convert, info
from sassl.transforms.plain import SASSL
from sklearn.datasets import load_sample_image

SHARED = Path(__file__).parents[3] / "shared" / "weights"


def photograph(side: int) -> np.ndarray:
    from PIL import Image, ImageOps

    return np.array(ImageOps.fit(Image.fromarray(load_sample_image("china.jpg")), (side, side)))[None]


def medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds of each call, in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(values)) for name, values in times.items()}


def litert(path: Path, side: int, z: np.ndarray | None = None) -> Callable[[np.ndarray], Callable[[], object]]:
    """A call of LiteRT (XNNPACK, one thread) on a square image, resized to that side first if the graph allows."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=1)
    for detail in runner.get_input_details():
        if detail["shape"][1] > 1 and detail["shape"][1] != side:
            runner.resize_tensor_input(detail["index"], [1, side, side, 3])
    runner.allocate_tensors()
    inputs = runner.get_input_details()

    def bind(image: np.ndarray) -> Callable[[], object]:
        def call() -> object:
            for detail in inputs:
                is_image = detail["shape"][1] > 1
                runner.set_tensor(detail["index"], image if is_image else z.reshape(detail["shape"]))
            runner.invoke()
            return runner.get_tensor(runner.get_output_details()[0]["index"])

        return call

    return bind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=SHARED, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, object] = {"machine": platform.processor() or platform.machine(), **info()}

    photo = photograph(224)
    lite = SASSL(p=1.0, threads=1, generator=np.random.default_rng(0))
    milliseconds = medians({"lite": lambda: lite(photo)}, 3 * args.rounds)["lite"]
    results["lite images/s"] = 1e3 / milliseconds
    print(f"SASSL(p=1), lite, 224x224 uint8 in and out: {milliseconds:.2f} ms, {1e3 / milliseconds:.0f} images/s")

    pair = [args.weights / f"magenta_mobile_{name}.tflite" for name in ("predictor_int8", "transformer_f16")]
    if all(path.exists() for path in pair):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "mobile.safetensors"
            convert(pair[0], pair[1], file)
            mobile = Stylizer(file, threads=1)
        small, large = (photograph(side).astype(np.float32) / 255 for side in (256, 384))
        z = mobile.encode(small)[0]
        calls = {
            "T 256 sassl": lambda: mobile.transfer(small, z),
            "T 256 LiteRT": litert(pair[1], 256, z)(small),
            # The size that the file was exported for: LiteRT is slower once its graph is resized.
            "T 384 sassl": lambda: mobile.transfer(large, z),
            "T 384 LiteRT": litert(pair[1], 384, z)(large),
            "F 256 sassl": lambda: mobile.encode(small),
            "F 256 LiteRT": litert(pair[0], 256)(small),
        }
        found = medians(calls, args.rounds)
        results["mobile pair ms"] = found
        print("mobile pair    sassl       LiteRT      ratio")
        for part in ("T 256", "T 384", "F 256"):
            ours, theirs = found[f"{part} sassl"], found[f"{part} LiteRT"]
            print(f"{part:12} {ours:6.2f} ms   {theirs:6.2f} ms   {theirs / ours:5.2f}x")
    else:
        print(f"DID NOT RUN: the mobile pair is not in {args.weights}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

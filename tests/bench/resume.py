"""Kills and resumes a run at random moments, and compares its weights with those of an uninterrupted run.

    pip install '.[bench]' && python tests/bench/resume.py --kills 20 --hangups 10

MoCo v2 with style, ResNet-18, on crops of scikit-learn's photographs. `kill -9`, SIGTERM and Ctrl-C take turns, with SIGHUPs in
between, like those of a closing terminal; every tensor of the last checkpoint (networks, norms, queue, optimizer) has to be
bit-identical.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUN = """
import sys, numpy as np, sassl
from sklearn.datasets import load_sample_images
crops = [p[y : y + 40, x : x + 40] for p in load_sample_images().images for y in range(0, 380, 60) for x in range(0, 590, 75)]
model = sassl.MoCoV2("resnet18", style="default", small_stem=True, input_size=16, queue_size=64, splits=2, threads=2)
images = sassl.data.Arrays(np.stack(crops).astype(np.uint8))
model.fit(images, int(sys.argv[1]), batch_size=8, out=sys.argv[2], resume=True, checkpoint_every=3, quiet=True)
"""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def run(epochs: int, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(epochs), str(folder)], stderr=subprocess.PIPE, text=True)


def tensors(folder: Path) -> dict[str, np.ndarray]:
    import sassl

    return sassl.MoCoV2.load(max(folder.glob("checkpoint-*.safetensors"))).engine.state()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--hangups", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    hows = [SIGNALS[kill % len(SIGNALS)] for kill in range(args.kills)] + [signal.SIGHUP] * args.hangups
    rng.shuffle(hows)
    with tempfile.TemporaryDirectory() as root:
        straight, broken = Path(root) / "straight", Path(root) / "broken"
        began = time.monotonic()
        _, errors = (process := run(args.epochs, straight)).communicate()
        if process.returncode:
            raise SystemExit(errors)
        seconds = time.monotonic() - began
        print(f"straight: {args.epochs} epochs in {seconds:.1f} s")
        for kill, how in enumerate(hows):
            process = run(args.epochs, broken)
            # Startup takes part of this time; the rest of the run is divided among the kills.
            time.sleep(rng.uniform(0.3, 2 + 2 * seconds / len(hows)))
            ended = process.poll() is not None
            process.send_signal(how)
            process.communicate(timeout=120)
            last = max(broken.glob("checkpoint-*.safetensors"), default=Path("no checkpoint yet"))
            print(f"{kill + 1:3} {how.name}{', the run was over' if ended else ''}: {last.name}", flush=True)
        _, errors = (process := run(args.epochs, broken)).communicate()
        if process.returncode:
            raise SystemExit(errors)
        one, other = tensors(straight), tensors(broken)
        differ = [name for name in one if not np.array_equal(one[name], other[name])]
        print(
            f"{len(one)} tensors, {sum(tensor.size for tensor in one.values()):,} numbers; different: {differ or 'none'}"
        )
        raise SystemExit(bool(differ))


if __name__ == "__main__":
    main()

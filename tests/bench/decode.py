"""JPEG decoding: CPU time per image of the decoding thread, against Pillow and torchvision, in turns on each file.

    python tests/bench/decode.py [FOLDER OF JPEGS] [--against FOLDER WITH ANOTHER sassl]

Without a folder, it encodes photographs of scikit-image and scikit-learn. The other sassl runs in a separate process.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

ROUNDS = 9


def kinds(folder: Path | None) -> dict[str, list[bytes]]:
    if folder is not None:
        return {"as they are": [path.read_bytes() for path in sorted(folder.rglob("*.jp*g"))]}
    from skimage import data
    from sklearn.datasets import load_sample_image

    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    photos += [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]

    def encoded(mode: str, **options: object) -> list[bytes]:
        files = []
        for photo in photos:
            file = io.BytesIO()
            Image.fromarray(photo).convert(mode).save(file, "JPEG", quality=90, **options)
            files.append(file.getvalue())
        return files

    return {
        "gray": encoded("L"),
        "4:4:4": encoded("RGB", subsampling=0),
        "4:2:2": encoded("RGB", subsampling=1),
        "4:2:0": encoded("RGB", subsampling=2),
        "4:2:0 progressive": encoded("RGB", subsampling=2, progressive=True),
        "CMYK": encoded("CMYK"),
    }


def timed(read: Callable[[bytes], object], file: bytes) -> float:
    start = time.thread_time()
    read(file)
    return 1e3 * (time.thread_time() - start)


def serve() -> None:
    """Read sizes and files from standard input, and print the time that each takes."""
    from sassl.transforms import functional as F

    while size := sys.stdin.buffer.read(8):
        print(timed(F.decode, sys.stdin.buffer.read(int.from_bytes(size, "big"))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--serve", action="store_true", help="be the other sassl")
    given = parser.parse_args()
    if given.serve:
        serve()
        return

    import torch
    from sassl.transforms import functional as F
    from torchvision.io import ImageReadMode, decode_jpeg

    torch.set_num_threads(1)

    def by_torchvision(file: bytes) -> float:
        tensor = torch.frombuffer(bytearray(file), dtype=torch.uint8)
        return timed(lambda _: decode_jpeg(tensor, ImageReadMode.RGB), file)

    ways: dict[str, Callable[[bytes], float]] = {
        "sassl": lambda file: timed(F.decode, file),
        "Pillow": lambda file: timed(lambda file: Image.open(io.BytesIO(file)).convert("RGB"), file),
        "torchvision": by_torchvision,
    }
    if given.against is not None:
        environment = {**os.environ, "PYTHONPATH": str(given.against)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        other = subprocess.Popen([sys.executable, __file__, "--serve"], env=environment, **pipes)

        def by_other(file: bytes) -> float:
            other.stdin.write(len(file).to_bytes(8, "big") + file)
            other.stdin.flush()
            return float(other.stdout.readline())

        ways["the other"] = by_other
    for kind, files in kinds(given.folder).items():
        times: dict[str, list[float]] = {name: [] for name in ways}
        for file in files:
            rounds = [[way(file) for way in ways.values()] for _ in range(ROUNDS)]
            for taken, column in zip(times.values(), zip(*rounds, strict=True), strict=True):
                taken.append(statistics.median(column))
        ours, *others = (statistics.mean(taken) for taken in times.values())
        ratios = (f"{name} {other / ours:.2f}x" for name, other in zip(list(ways)[1:], others, strict=True))
        print(f"{kind:18} sassl {ours:.2f} ms, {', '.join(ratios)}")


if __name__ == "__main__":
    main()

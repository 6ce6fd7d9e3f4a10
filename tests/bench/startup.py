"""Startup costs: import time, the first image, and the memory of one worker. Linux only."""

from __future__ import annotations

import statistics
import subprocess
import sys

RSS = "int(next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1]) / 1024"
BARE = f"import numpy; print({RSS})"
WORK = f"""
import time
began = time.perf_counter()
from sassl.transforms.plain import SASSL
import numpy as np
imported = time.perf_counter()
image = np.zeros((224, 224, 3), np.uint8)
transform = SASSL(p=1.0, threads=1)
transform(image)
first = time.perf_counter()
for _ in range(20):
    transform(image)
print(imported - began, first - imported, {RSS})
"""


def run(code: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(x) for x in done.stdout.split()]


def main() -> None:
    run(WORK)
    bare = statistics.median(run(BARE)[0] for _ in range(7))
    imported, first, memory = (statistics.median(x) for x in zip(*(run(WORK) for _ in range(7)), strict=True))
    print(f"import of SASSL, numpy included: {imported:.3f} s; first image after it: {first:.3f} s")
    print(f"resident memory: {memory:.0f} MB, {memory - bare:.0f} MB over the interpreter with numpy ({bare:.0f} MB)")


if __name__ == "__main__":
    main()

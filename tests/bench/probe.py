"""The linear probe on two threads against one.

    python tests/bench/probe.py [--times 15] [--case 600x512x10 ...]

A case is rows x features x classes. One thread, two threads, and two concurrent probes of one thread each take turns. Reports
the quartiles of the time per step, the median speed-up of two threads, and the median speed-up of the two concurrent probes:
what the machine achieves for work that shares nothing.
"""

from __future__ import annotations

import argparse
import time
from threading import Thread

import numpy as np
from sassl._sassl import linear_probe

CASES = ("600x512x10", "600x512x100", "10000x2048x10")
BATCH = 256
#: The least number of steps in a run: as many as in a short probe, and few enough for frequent turns.
STEPS = 160


def measured(case: str, times: int) -> str:
    """Measure a case, and return a line of results."""
    rows, dim, classes = map(int, case.split("x"))
    rng = np.random.default_rng(0)
    features, targets = rng.random((rows, dim), np.float32), np.arange(rows) % classes
    steps = -(-rows // BATCH)
    epochs = -(-STEPS // steps)

    def run(threads: int) -> None:
        linear_probe(features, targets, features[:1], epochs=epochs, batch_size=BATCH, threads=threads)

    def at_once() -> None:
        other = Thread(target=run, args=(1,))
        other.start()
        run(1)
        other.join()

    took = np.empty((times, 3))
    for turn in took:
        for which, work in enumerate((lambda: run(1), lambda: run(2), at_once)):
            begun = time.perf_counter()
            work()
            turn[which] = time.perf_counter() - begun
    one, two, both = took.T / (epochs * steps) * 1e6
    quartiles = [" ".join(f"{x:.0f}" for x in np.percentile(side, (25, 50, 75))) for side in (one, two)]
    ratios = [np.median(one / two), np.median(2 * one / both)]
    return "{}: a step takes {} us on one thread, {} on two; {:.2f} times as fast, two at once {:.2f}".format(
        case, *quartiles, *ratios
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=15, help="turns (default: %(default)s)")
    parser.add_argument("--case", nargs="+", default=CASES, help="rows x features x classes")
    args = parser.parse_args()
    for case in args.case:
        print(measured(case, args.times), flush=True)


if __name__ == "__main__":
    main()

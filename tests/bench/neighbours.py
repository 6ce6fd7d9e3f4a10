"""Nearest neighbours: speed relative to the machine's matrix product, and memory.

    OMP_NUM_THREADS=2 python tests/bench/neighbours.py [--rows 1000000] [--queries 100000] [--dim 512] [--k 200]

The product is numpy's, of a part of the same features, on average over 20 seconds before and as many after, so that both see
the same machine. The wall time and the CPU time of all threads are reported; the latter is more reliable on a busy machine.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from sassl._sassl import knn


def clocks() -> np.ndarray:
    """Return the wall clock, and the CPU time of all threads."""
    return np.array([time.perf_counter(), time.process_time()])


def peak() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def product(rows: np.ndarray, queries: np.ndarray, seconds: float) -> np.ndarray:
    """Return the multiply-adds per second, by both clocks, on average over at least this time."""
    begun, times = clocks(), 0
    while times == 0 or (clocks() - begun)[0] < seconds:
        queries @ rows.T
        times += 1
    return times * len(rows) * len(queries) * rows.shape[1] / (clocks() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("rows", 10**6),
        ("queries", 10**5),
        ("dim", 512),
        ("k", 200),
        ("classes", 10**4),
        ("threads", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the product, before and after")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    bank = np.empty((args.rows, args.dim), np.float32)
    for part in range(0, args.rows, 10_000):
        bank[part : part + 10_000] = rng.standard_normal(bank[part : part + 10_000].shape, dtype=np.float32)
    targets = rng.integers(0, args.classes, args.rows)
    queries = rng.standard_normal((args.queries, args.dim), dtype=np.float32)
    before = peak()
    print(f"features: {(bank.nbytes + queries.nbytes) / 1e9:.2f} GB; the process has held {before:.2f} GB")
    sample = bank[:4096], queries[:2048]
    speeds = [product(*sample, args.seconds)]
    held, begun = peak(), clocks()
    knn(bank, targets, queries, k=args.k, top=5, threads=args.threads)
    took, after = clocks() - begun, peak()
    speeds.append(product(*sample, args.seconds))
    ours = args.rows * args.queries * args.dim / took
    print(
        f"neighbours: {took[0]:.1f} s, {took[1]:.1f} s of processors; at most {after:.2f} GB, of which {after - held:.2f} new"
    )
    for name, own, theirs in zip(("wall", "processors"), ours, np.mean(speeds, 0), strict=True):
        print(
            f"by the time of the {name}: {own / 1e9:.1f} of {theirs / 1e9:.1f} G products a second, {own / theirs:.0%}"
        )


if __name__ == "__main__":
    main()

"""A soak test of the loader: memory over an epoch, random breaks and faults, a thousand starts and ends of each kind.

    pip install . && python tests/bench/soak.py --photos FOLDER

First, one epoch over `--paths` paths, with style, in batches of 64 pairs of float32: resident memory must not grow. Then
`--cycles` epochs that are abandoned at once: the number of threads and the memory must return to their previous values. The
same number is started in threads, in processes that a thread forks in the middle of an epoch, and in spawned processes, which
get the pickled loader: none may hang. Last, for `--minutes`, random choices of source, threads, batch, position and policy,
with files that are truncated, empty, missing or not images; epochs end by a break, an exception or at the end: every batch must
equal that of an undisturbed run. The first failure ends the program with an error.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sassl.data import Files, TwoViewLoader, as_images
from sassl.transforms import MoCoV2Transform
from sassl.transforms.plain import SASSL


def resident() -> float:
    """Return the resident memory in megabytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def epoch(files: list[str], paths: int) -> None:
    many = [files[i % len(files)] for i in range(paths)]
    loader = TwoViewLoader(Files(many), MoCoV2Transform(style=SASSL(p=0.8), output="numpy"), 64)
    del many
    began, seen = time.perf_counter(), []
    for i, _ in enumerate(loader):
        seen.append(resident())
        if i in (0, len(loader) // 100, len(loader) // 10, len(loader) // 2, len(loader) - 1):
            print(f"  batch {i:6} of {len(loader)}: {seen[-1]:7.1f} MB", flush=True)
    seconds = time.perf_counter() - began
    tenth, last = np.median(seen[: len(seen) // 10 + 1]), np.median(seen[-len(seen) // 10 :])
    print(f"epoch of {paths} paths: {paths / seconds:.0f} a second, at most {max(seen):.0f} MB")
    print(f"  median of the first tenth {tenth:.0f} MB, of the last {last:.0f} MB")
    assert last < tenth + 20, "memory grows"


def damage(files: list[str], folder: Path, chance: random.Random) -> list[str]:
    """Return the files, with bad copies in place of some of them."""
    made = list(files)
    for i in chance.sample(range(len(files)), len(files) // 8):
        bad = folder / f"{i}.jpg"
        data = Path(files[i]).read_bytes()
        kind = chance.randrange(4)
        if kind < 3:
            bad.write_bytes([data[: len(data) // 2], b"", b"no image"][kind])
        made[i] = str(bad)
    return made


def checksums(batches: Iterator) -> Iterator[int]:
    for (left, right), targets, names in batches:
        yield zlib.crc32(repr((targets.tolist(), names)).encode(), zlib.crc32(left, zlib.crc32(right)))


def faults(files: list[str], minutes: float, seed: int) -> None:
    chance, end = random.Random(seed), time.monotonic() + 60 * minutes
    folder = Path(tempfile.mkdtemp())
    counts = dict.fromkeys(("runs", "batches", "breaks", "exceptions", "errors", "replaced"), 0)
    before = None
    while time.monotonic() < end:
        bad = damage(files, folder, chance) if chance.random() < 0.7 else files
        style = chance.choice([None, SASSL(p=0.8), SASSL(p=1.0, styles="batch")])
        position = chance.choice(["after_crop", "before_crop"]) if style is not None else "after_crop"
        transform = MoCoV2Transform(
            64, style=style, style_position=position, output="numpy", dtype="uint8", normalize=None
        )
        options = {
            "seed": chance.randrange(99),
            "batch_size": chance.choice([1, 3, 8, 16]),
            "drop_last": chance.random() < 0.5,
        }
        policy = chance.choice(["raise", "report"])
        source = as_images([(file, 0) for file in bad]) if chance.random() < 0.2 else Files(bad)
        quiet = TwoViewLoader(source, transform, threads=1, on_error="report", **options)
        loud = TwoViewLoader(
            source, transform, threads=chance.randrange(1, 9), prefetch=chance.randrange(4), on_error=policy, **options
        )
        expected = list(checksums(iter(quiet)))
        iterator = iter(loud)
        sums = checksums(iterator)
        counts["runs"] += 1
        for i, known in enumerate(expected):
            if chance.random() < 0.1:
                counts["breaks"] += 1
                break
            try:
                made = next(sums)
            except (ValueError, OSError):
                # A generator ends with its exception; the iterator continues.
                sums = checksums(iterator)
                counts["errors"] += 1
                continue
            assert made == known, f"batch {i} differs: {loud!r}"
            counts["batches"] += 1
        else:
            assert next(sums, None) is None
            if chance.random() < 0.5:
                counts["exceptions"] += 1
                try:
                    for _ in loud:
                        raise RuntimeError("on purpose")
                except (RuntimeError, ValueError, OSError):
                    pass
        counts["replaced"] += sum(count for _, count in loud.report.values())
        del iterator, sums
        if counts["runs"] == 20:
            before = resident()
        if counts["runs"] % 100 == 0:
            print(f"  {counts}, {threads()} threads, {resident():.0f} MB", flush=True)
    shutil.rmtree(folder)
    print(f"faults for {minutes} minutes: {counts}")
    print(f"  {threads()} threads, {resident():.0f} MB, after 20 runs {before or 0:.0f} MB")


def cycles(files: list[str], n: int) -> None:
    loader = TwoViewLoader(Files(files), MoCoV2Transform(32, output="numpy"), 8, threads=4)
    for _ in range(50):
        next(iter(loader))
    before = (threads(), resident())
    for i in range(n):
        iterator = iter(loader)
        if i % 2:
            next(iterator)
        if i % 3 == 0:
            iterator.close()
        del iterator
    # The threads end by themselves, each after its current image.
    end = time.monotonic() + 10
    while threads() > before[0] and time.monotonic() < end:
        time.sleep(0.01)
    after = (threads(), resident())
    print(
        f"{n} starts left at once: {before[0]} threads and {before[1]:.1f} MB before, {after[0]} and {after[1]:.1f} after"
    )
    assert after[0] == before[0], "threads are left"
    assert after[1] < before[1] + 20, "memory grows"


def in_a_thread(loader: TwoViewLoader, i: int) -> bool:
    def use() -> None:
        for _ in loader:
            break

    # Two at once in every other case: the loader's position is that of the later one.
    some = [threading.Thread(target=use, daemon=True) for _ in range(1 + i % 2)]
    for thread in some:
        thread.start()
    for thread in some:
        thread.join(30)
    return not any(thread.is_alive() for thread in some)


def in_a_fork(loader: TwoViewLoader, i: int) -> bool:
    """Fork in a thread while an epoch runs; the child closes the epoch, starts its own, and exits in one of two ways."""
    iterator, ended = iter(loader), []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            iterator.close()
            for _ in loader:
                break
            if i % 2:
                os._exit(0)
            sys.exit(0)
        ended.append(ends(child))

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    iterator.close()
    return ended == [True]


def ends(child: int) -> bool:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def first_batch(loader: TwoViewLoader) -> None:
    for _ in loader:
        break


def in_a_spawn(loader: TwoViewLoader, i: int) -> bool:
    process = multiprocessing.get_context("spawn").Process(target=first_batch, args=(loader,))
    process.start()
    process.join(60)
    if process.exitcode is None:
        process.kill()
    return process.exitcode == 0


def starts(files: list[str], n: int) -> None:
    loader = TwoViewLoader(Files(files[:16]), MoCoV2Transform(32, output="numpy"), 4, threads=3)
    for kind in (in_a_thread, in_a_fork, in_a_spawn):
        began = time.monotonic()
        bad = sum(not kind(loader, i) for i in range(n))
        print(f"{n} starts {kind.__name__}: {bad} hang or fail, {time.monotonic() - began:.0f} s", flush=True)
        assert bad == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEGs")
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    files = [str(path) for path in sorted(args.photos.rglob("*.jp*g"))] or exit(f"{args.photos}: no JPEG")
    if args.paths:
        epoch(files, args.paths)
    if args.cycles:
        cycles(files, args.cycles)
        starts(files, args.cycles)
    if args.minutes:
        faults(files, args.minutes, args.seed)


if __name__ == "__main__":
    main()

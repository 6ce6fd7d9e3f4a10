"""The overhead of the loop and its logs: microseconds per step of an engine that does nothing.

    pip install . && python tests/bench/loop.py

Batches are ready, or are loaded by sassl's loader, whose time is reported separately (`data_wait`). Each line is a median of
`--runs` runs of `--steps` steps, without checkpoints; the bound is a millisecond.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sassl
from numpy.typing import NDArray
from sassl.data import Arrays
from sassl.pretraining import Config, Rates, Report
from sassl.pretraining.engines import Engine, State


class Null(Engine):
    """An engine whose steps return immediately."""

    name, threads, features = "null", 1, 512

    def __init__(self, config: Config, threads: int | None = None) -> None:
        self._features = np.zeros((config.data.batch_size, self.features), np.float32)

    def check_batch(self, batch: int) -> None:
        pass

    def step(self, left: NDArray[np.float32], right: NDArray[np.float32], rates: Rates) -> Report:
        return Report(1.0, {"accuracy": 0.5, "feature_std": 1.0}, self._features)

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(images), self.features), np.float32)

    def state(self) -> State:
        return {"backbone.weight": np.zeros(1, np.float32)}

    def load_state(self, state: State) -> None:
        pass


def run(data: Any, steps: int, batch: int, **options: Any) -> dict[str, float]:
    """Run one epoch; return its row, with the microseconds per step that are neither the loader's nor the engine's."""
    views = {"normalize": None}
    model = sassl.SimCLR("resnet18", small_stem=True, input_size=32, views=views, engine=Null, batch_size=batch)
    began: list[float] = []

    class Ends:
        """A logger that stops the clock before the epoch's checkpoint."""

        def begin(self, run: Any) -> None:
            began.append(time.perf_counter())

        def step(self, step: int, values: dict[str, float]) -> None:
            began[1:] = [time.perf_counter(), step]

        def epoch(self, epoch: int, values: dict[str, float]) -> None:
            pass

        def end(self, outcome: str) -> None:
            pass

    model.fit(data, 1, loggers=[*options.pop("loggers", ()), Ends()], **options)
    row = model.history[0]
    seconds = (began[1] - began[0]) / began[2]
    waited = row["data_wait"] * batch / row["images_per_second"]
    return {**row, "loop": 1e6 * (seconds - waited)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--log", action="append", default=[], help="more loggers: wandb, mlflow")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    views = rng.random((2, args.batch, 32, 32, 3), np.float32)
    ready = [[[*views], np.arange(args.batch) % 2]] * args.steps
    # All images may be equal.
    images = np.broadcast_to(rng.integers(0, 256, (1, 8, 8, 3), np.uint8), (args.steps * args.batch, 8, 8, 3))
    source = Arrays(np.ascontiguousarray(images), [0, 1] * (args.steps * args.batch // 2))

    def case(name: str, data: Any, **options: Callable[[], Any]) -> None:
        found = []
        for _ in range(args.runs):
            with tempfile.TemporaryDirectory() as folder:
                given = {key: make() for key, make in options.items()}
                where = Path(folder) / "run" if given.pop("folder", False) else None
                found.append(run(data, args.steps, args.batch, out=where, quiet=True, **given))
        loop, wait = (statistics.median(row[name] for row in found) for name in ("loop", "data_wait"))
        print(f"{name:<44} {loop:8.1f} us a step, data_wait {wait:.0%}", flush=True)

    case("bare", ready)
    case("with a folder", ready, folder=lambda: True)
    case("a callback", ready, on_step=lambda: lambda *_: None)
    case("a monitor's features", ready, monitor=lambda: Arrays(np.zeros((2, 32, 32, 3), np.uint8), [0, 1]))
    case("csv", ready, folder=lambda: True, loggers=lambda: ["csv"])
    case("csv and tensorboard", ready, folder=lambda: True, loggers=lambda: ["csv", "tensorboard"])
    for name in args.log:
        case(name, ready, folder=lambda: True, loggers=lambda name=name: [name])
    case("sassl's loader", source)


if __name__ == "__main__":
    main()

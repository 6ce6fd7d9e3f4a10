"""Run cells of the study: train or resume, measure at fixed epochs and at the end, and write one JSON file for each cell.

    python examples/evidence/run.py --list
    python examples/evidence/run.py --data tiny_imagenet_40.tar --cells 'simclr_none_full_*' --threads 1
    python examples/evidence/run.py --data tiny_imagenet_40.tar --cells 'simclr_*_quick_*'

A cell with a result is skipped. A cell that was stopped or killed at any moment resumes bit-identically: start the same command
again. The exit code is 75 if the time limit ended a run, as for `sassl pretrain`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

import images
import measure
import sassl
import study
from sassl.pretraining import Pretraining, Requeue

HERE = Path(__file__).resolve().parent
#: Results are committed; runs are not.
RESULTS = HERE / "results"


class Record:
    """Measurements during a cell's run, written to a JSON file after each epoch.

    Attributes:
        curve: the measures of the curves, by epoch.
        memory: the resident memory in MiB, by epoch; None where it is unknown.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        found = json.loads(path.read_text()) if path.exists() else {"curve": {}, "memory": {}}
        self.curve = {int(epoch): values for epoch, values in found["curve"].items()}
        self.memory = {int(epoch): value for epoch, value in found["memory"].items()}

    def add(self, model: Pretraining, cell: study.Cell, data: images.Data | None) -> None:
        """Record the memory after an epoch and, at the epochs that the cell's size lists, the measures of the model.

        An epoch that was measured before is not measured again. Without `data`, only the memory is recorded.
        """
        epoch = len(model.history)
        if data is not None and epoch in study.SIZES[cell.size].measured and epoch not in self.curve:
            self.curve[epoch] = measure.curve(model, data)
        self.memory.setdefault(epoch, _resident())
        write(self._path, {"curve": self.curve, "memory": self.memory})


def write(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(part, path)


def checkpoints_of(folder: Path) -> list[Path]:
    """Return the checkpoints in a run's folder, sorted by the epoch and the batch in their names, the newest last."""
    return sorted(folder.glob("checkpoint-*.safetensors"))


def train(cell: study.Cell, data: images.Data, folder: Path, args: argparse.Namespace, left: float | None) -> Any:
    """Train a cell to its last epoch; return the model and the record.

    Training resumes from the cell's last checkpoint, if there is one. `left` is the remaining time in seconds; None: no limit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(folder / "record.json")
    measured = None if args.train_only else data
    if checkpoints := checkpoints_of(folder):
        # The process may have been killed between an epoch's checkpoint and its measures.
        last = Pretraining.load(checkpoints[-1], threads=args.threads)
        if len(last.history):
            record.add(last, cell, measured)
        del last
    model = study.build(cell, threads=args.threads, engine=args.engine)
    limit = None if left is None else timedelta(seconds=max(left, 0.001))
    model.fit(
        data.train,
        out=folder,
        resume=True,
        time_limit=limit,
        on_epoch=lambda model, row: record.add(model, cell, measured),
        quiet=args.quiet,
    )
    return model, record


def result(cell: study.Cell, model: Pretraining, record: Record, data: images.Data, args: argparse.Namespace) -> Any:
    """Measure a finished cell, and return its result as JSON values: measures, curve, settings, data, cost and origin."""
    weights = measure.checksum(model)
    own = {"model": cell.arm, "checkpoint": cell.name, "weights": weights, "pretraining_seed": cell.seed}
    rows = model.history
    return {
        "cell": {**vars(cell), "name": cell.name, "title": study.ARMS[cell.arm].title},
        "weights": weights,
        "measures": [{**own, **line} for line in measure.final(model, data)],
        "curve": [{"epoch": epoch, **values} for epoch, values in sorted(record.curve.items())],
        "loss": [row["loss"] for row in rows],
        "settings": model.run.nested(),
        "data": data.describe(),
        "cost": cost(rows, study.SIZES[cell.size].batch_size, record),
        "made": {
            "command": command(cell, args),
            "sassl": sassl.__version__,
            "engine": str(model.engine),
            "threads": model.threads,
            "processor": _processor(),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    }


def command(cell: study.Cell, args: argparse.Namespace) -> str:
    """The command that reproduces the result, without the folders of this machine."""
    words = ["--data", args.data.name, "--cells", cell.name, "--engine", args.engine]
    return shlex.join(["python", "examples/evidence/run.py", *words])


def cost(rows: Any, batch_size: int, record: Record) -> dict[str, Any]:
    """Return the cost of a run: time per step and memory.

    "seconds_per_step" is the time per batch, from the throughput of an epoch; it includes data loading. "step_seconds" is the
    engine's time for a step. Both are medians over epochs; the other two entries have a value for each epoch.
    """
    seconds = [batch_size / row["images_per_second"] for row in rows]
    return {
        "seconds_per_step": median(seconds),
        "step_seconds": median(row["step_seconds"] for row in rows),
        "seconds_by_epoch": [round(value, 4) for value in seconds],
        "memory_mib_by_epoch": [record.memory.get(epoch) for epoch in range(1, len(rows) + 1)],
    }


def _resident() -> int | None:
    """The resident memory of this process in MiB; None on systems without /proc."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20 if statm.exists() else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def run(cell: study.Cell, data: images.Data, args: argparse.Namespace, left: float | None) -> None:
    """Train and measure a cell and write its result, unless the result exists already; `left` is as in `train`."""
    file = args.results / f"{cell.name}.json"
    if file.exists():
        print(f"{cell.name}: has a result, {file}", flush=True)
        return
    print(f"{cell.name}: {study.ARMS[cell.arm].title}", flush=True)
    data = data.first(study.SIZES[cell.size].images)
    model, record = train(cell, data, args.out / cell.name, args, left)
    if args.train_only:
        print(f"{cell.name}: trained", flush=True)
        return
    found = result(cell, model, record, data, args)
    args.results.mkdir(parents=True, exist_ok=True)
    write(file, found)
    print(f"{cell.name}: {measure.PRIMARY} {found['measures'][0]['value']:.2f} %, {file}", flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--data", type=Path, metavar="ROOT", help="train/ and val/ with a folder for each class; or a tar of them"
    )
    made.add_argument(
        "--cifar10", type=Path, metavar="ROOT", help=f"train/ and test/ (default: {images.CIFAR10} next to --data)"
    )
    made.add_argument(
        "--cue-conflict", type=Path, metavar="ROOT", help=f"(default: {images.CUE_CONFLICT} next to --data)"
    )
    made.add_argument(
        "--out", type=Path, default=Path("evidence"), metavar="RUNS", help="a folder for the runs (default: evidence)"
    )
    made.add_argument(
        "--results", type=Path, default=RESULTS, help="a folder for the results (default: results/ of this program)"
    )
    made.add_argument(
        "--cells", metavar="PATTERN", help="names, with * for any text, separated by commas (default: full and short)"
    )
    made.add_argument("--threads", type=int, help="threads of a step (default: all cores); results do not depend on it")
    made.add_argument("--engine", choices=("native", "torch"), default="native", help="(default: native)")
    made.add_argument(
        "--time-limit", type=float, metavar="MINUTES", help="stop with a checkpoint before this time is over"
    )
    made.add_argument(
        "--train-only", action="store_true", help="without measures; a later call adds those of the last epoch"
    )
    made.add_argument("--list", action="store_true", help="list the cells and what is done of them")
    made.add_argument("--quiet", action="store_true", help="no progress of the epochs")
    return made


def show(cells: list[study.Cell], args: argparse.Namespace) -> None:
    """Print each cell with its state."""
    for cell in cells:
        checkpoints = checkpoints_of(args.out / cell.name)
        state = f"epoch {int(checkpoints[-1].name.split('-')[1])}" if checkpoints else ""
        if (args.results / f"{cell.name}.json").exists():
            state = "finished"
        print(f"{cell.name:44} {state:10} {study.ARMS[cell.arm].title}")


def main() -> int:
    """Run the program; return the exit code."""
    options = parser()
    args = options.parse_args()
    try:
        cells = study.select(args.cells)
    except ValueError as error:
        options.error(str(error))
    if args.list:
        show(cells, args)
        return 0
    if args.data is None:
        options.error("--data: give the images")
    began = time.monotonic()
    data = images.find(args.data, args.out / "data", args.cifar10, args.cue_conflict)
    for name, path in (("CIFAR-10", data.cifar10), ("cue conflict", data.cue_conflict)):
        if path is None:
            print(f"{name}: not found next to {args.data}; not measured", flush=True)
    try:
        for cell in cells:
            left = None if args.time_limit is None else 60 * args.time_limit - (time.monotonic() - began)
            if left is not None and left <= 0:
                raise Requeue("interrupted by its time limit")
            try:
                run(cell, data, args, left)
            except FileExistsError as error:
                # The lock of its folder.
                print(f"{cell.name}: skipped, {error}", flush=True)
    except Requeue as stopped:
        print(f"{stopped}; start the same command again to resume", flush=True)
        return stopped.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

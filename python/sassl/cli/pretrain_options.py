"""The options of `sassl pretrain`, in groups, and its table of presets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import pretraining
from .._sassl import backbone_names
from ..pretraining.loggers import LOGGERS

_USAGE = """sassl pretrain PRESET --data DATA --out RUN [options]
       sassl pretrain --config FILE --data DATA --out RUN [options]
       sassl pretrain --resume RUN [options]
       sassl pretrain --list-presets
       sassl pretrain --print-config PRESET [options]"""


def add(sub: argparse.ArgumentParser) -> None:
    """Add all options."""
    sub.usage = _USAGE
    sub.add_argument(
        "preset",
        nargs="?",
        choices=tuple(pretraining.PRESETS),
        metavar="PRESET",
        help="published settings by name, such as simclr or moco-v2-cifar10; all: --list-presets",
    )
    sub.add_argument("--list-presets", action="store_true", help="print the presets and how they differ")
    sub.add_argument(
        "--print-config", action="store_true", help="print all settings as YAML, which --config reads, and stop"
    )
    sub.add_argument(
        "--demo",
        action="store_true",
        help="train SimCLR with SASSL and without on generated images, in two minutes; only --out and --threads apply",
    )
    _data(sub.add_argument_group("data and output"))
    _settings(sub.add_argument_group("method and settings", "each overrides the preset or --config"))
    told = "strength and probability: --set style.alpha=0.1,0.3 (a range), style.beta=0.3 (fixed), style.p=0.8"
    _style(sub.add_argument_group("style", told))
    _engine(sub.add_argument_group("engine"))
    _monitoring(sub.add_argument_group("monitoring"))
    _resuming(sub.add_argument_group("checkpoints and resuming"))


def _data(group: Any) -> None:
    group.add_argument("--data", help="folder of images, or pattern of WebDataset shards such as 'train-*.tar'")
    group.add_argument("--out", type=Path, metavar="RUN", help="folder for settings, log, checkpoints and backbone")
    group.add_argument(
        "--on-error",
        choices=("raise", "report"),
        default="raise",
        help="for an unreadable image: stop, or report it and take another one (default: %(default)s)",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="take 25 steps and print settings, memory, speed and hours; writes nothing",
    )


def _settings(group: Any) -> None:
    group.add_argument("--config", type=Path, metavar="FILE", help="settings in a .yaml, .toml or .json file")
    group.add_argument("--epochs", type=int, metavar="N", help="epochs of the whole run")
    group.add_argument(
        "--arch",
        metavar="NAME",
        help=f"backbone: {', '.join(backbone_names())}; with --engine torch also timm:NAME or torchvision:NAME",
    )
    group.add_argument("--batch-size", type=int, metavar="N", help="images of a step, on all devices together")
    group.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the views")
    group.add_argument("--seed", type=int, metavar="N", help="seed of initial weights, order and views (default: 0)")
    group.add_argument("--init", metavar="FILE", help="initial weights of the backbone: .safetensors, or torch's .pth")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting that the run prints, such as lr=0.1, or views.NAME (recipe), style.NAME (SASSL), arch.NAME "
        "(model of timm or torchvision); repeatable",
    )


def _style(group: Any) -> None:
    group.add_argument(
        "--style",
        "--styles",
        dest="style",
        help='"default" (if there is no --config), "off", "batch", or a folder of images, an image or a bank file',
    )


def _engine(group: Any) -> None:
    group.add_argument(
        "--engine",
        choices=tuple(pretraining.ENGINES),
        default="native",
        help="native: CPUs; torch: GPUs, also under torchrun or srun; auto: torch if there is a GPU (default: %(default)s)",
    )
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    group.add_argument(
        "--devices", metavar="N", help='with --engine torch: processes on this machine, "auto" for one per GPU'
    )
    group.add_argument(
        "--views",
        choices=("cpu", "split", "gpu"),
        help="with --engine torch: create views on the CPU, on the GPU after the crop, or on the GPU (default: split "
        "where the GPU can)",
    )
    group.add_argument(
        "--accumulate",
        type=int,
        default=1,
        metavar="N",
        help="compute each step in N parts, to save memory; N divides --set splits",
    )
    group.add_argument(
        "--checkpointing", action="store_true", help="with --engine torch: recompute activations, to save memory"
    )


def _monitoring(group: Any) -> None:
    group.add_argument("--monitor", metavar="DIR", help="labelled images to evaluate features on during the run")
    group.add_argument("--monitor-every", type=int, metavar="N", help="epochs between evaluations (default: by cost)")
    group.add_argument(
        "--log", action="append", choices=tuple(sorted(LOGGERS)), default=[], help="a further logger; repeatable"
    )


def _resuming(group: Any) -> None:
    group.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="RUN",
        help="continue from the newest checkpoint in RUN, else in --out, with the run's settings and, without --data, its data",
    )
    group.add_argument(
        "--checkpoint-every", type=int, metavar="STEPS", help="also save checkpoints within an epoch, not only after it"
    )
    group.add_argument("--keep", type=int, default=2, metavar="N", help="checkpoints to keep (default: %(default)s)")
    group.add_argument(
        "--time-limit",
        metavar="TIME",
        help="such as 3:50:00, as in Slurm: stop in time, save a checkpoint and exit with code 75",
    )


def preset_table() -> str:
    """Return a table with a line for each preset: backbone, image size, epochs, batch size, optimizer and learning rate."""
    rows = [("preset", "backbone", "pixels", "epochs", "batch", "optimizer", "lr", "lr by")]
    for name, config in pretraining.PRESETS.items():
        data, schedule = config.data, config.schedule
        sizes = (str(data.input_size), str(schedule.epochs), str(data.batch_size))
        rates = (config.optimizer.name, f"{schedule.lr:g}", schedule.scaling)
        rows.append((name, config.backbone.name, *sizes, *rates))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )

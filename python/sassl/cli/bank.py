"""`sassl bank`: encode style images into a bank file, or merge bank files."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from .. import image_files, styles
from ..bank import StyleBank
from ..terminal import say
from .options import check_out, exif, model, part_of, shard, tell_left_out
from .styling import model_of


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    sub.add_argument(
        "inputs", nargs="+", help="images, folders or patterns; or the folder of a --dataset; or bank files, to merge"
    )
    sub.add_argument("--dataset", choices=styles.DATASETS, help="data set with style images in its unpacked archives")
    sub.add_argument(
        "--split", help='of the --dataset, such as "train" or "train+val" (default: all of it; DTD: partition 1)'
    )
    sub.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    exif(sub)
    shard(sub)
    model(sub)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    check_out(args.out, ".safetensors")
    left_out: Counter[str] = Counter()
    if any(name.endswith(".safetensors") for name in args.inputs):
        made = _merged(args)
    else:
        images = part_of(_images(args, left_out), args.shard)
        made = StyleBank.from_images(images, model_of(args), exif=args.exif)
    made.save(args.out)
    say(f"{args.out}: {len(made)} styles of space {made.space}")
    tell_left_out(left_out)
    return 0


def _merged(args: argparse.Namespace) -> StyleBank:
    """Return a bank of the concatenated styles of bank files."""
    others = [name for name in args.inputs if not name.endswith(".safetensors")]
    if others or args.dataset or args.split or args.shard != (0, 1):
        raise ValueError(
            f"bank files are merged only with each other, got {' '.join(others) or '--dataset, --split or --shard'}"
        )
    return StyleBank.concatenate([StyleBank.load(name) for name in args.inputs])


def _images(args: argparse.Namespace, left_out: Counter[str]) -> list[Path]:
    """Return the images that the inputs name. Other files in the folders are counted in `left_out`, by kind."""
    if args.dataset is None:
        if args.split is not None:
            raise ValueError(f"--split is only for a --dataset, got {args.split}")
        return image_files.find(args.inputs, left_out)
    if len(args.inputs) > 1:
        raise ValueError(f"--dataset {args.dataset} must have one folder, got {' '.join(args.inputs)}")
    return styles.DATASETS[args.dataset](args.inputs[0], args.split)

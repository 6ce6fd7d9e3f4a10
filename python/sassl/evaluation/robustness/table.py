"""The robustness sets by name: their folders, the functions that evaluate them, and the keys of values that papers report."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ...data.base import File
from .corruptions import cifar_c, imagenet_c, tiny_imagenet_c
from .cue_conflict import cue_conflict
from .heads import Judge
from .outlines import outlines
from .variants import imagenet_r, imagenet_sketch, imagenet_v2, stylized_imagenet


class RobustnessSet(NamedTuple):
    """A set: its folders, the function that evaluates it, and the values that papers report."""

    #: The function that returns the result of a judge on the folder.
    measure: Callable[[Judge, File], dict[str, Any]]
    #: Possible beginnings of the folder's name, in lower case.
    folders: tuple[str, ...]
    #: The key of the value that papers report.
    told: str = "top1"
    #: Keys of further values that are needed to interpret the value of `told`.
    beside: tuple[str, ...] = ()


SETS = {
    "cue-conflict": RobustnessSet(
        cue_conflict,
        ("cue-conflict", "cue_conflict", "style-transfer"),
        "shape_bias",
        ("shape_accuracy", "texture_accuracy"),
    ),
    "edges": RobustnessSet(partial(outlines, kind="edges"), ("edges",)),
    "silhouettes": RobustnessSet(partial(outlines, kind="silhouettes"), ("silhouettes", "filled-silhouettes")),
    "imagenet-c": RobustnessSet(imagenet_c, ("imagenet-c", "imagenet_c"), "mce", ("mean_error",)),
    "tiny-imagenet-c": RobustnessSet(tiny_imagenet_c, ("tiny-imagenet-c", "tiny_imagenet_c"), "mce", ("mean_error",)),
    "cifar-c": RobustnessSet(cifar_c, ("cifar-10-c", "cifar-100-c"), "mean_error"),
    "imagenet-r": RobustnessSet(imagenet_r, ("imagenet-r", "imagenet_r")),
    "imagenet-sketch": RobustnessSet(imagenet_sketch, ("sketch", "imagenet-sketch")),
    "imagenet-v2": RobustnessSet(imagenet_v2, ("imagenetv2", "imagenet-v2")),
    "stylized-imagenet": RobustnessSet(stylized_imagenet, ("stylized-imagenet", "stylized_imagenet")),
}


def find(root: File) -> list[tuple[str, Path]]:
    """Return the names and paths of the sets in a folder, in the order of `SETS`. A set may occur more than once.

    Raises:
        OSError: the folder cannot be read.
        ValueError: the folder contains no set.
    """
    top = Path(os.fsdecode(root))
    folders = sorted(path for path in top.iterdir() if path.is_dir())
    found = [
        (name, path) for name, row in SETS.items() for path in folders if path.name.lower().startswith(row.folders)
    ]
    if not found:
        expected = ", ".join(name for row in SETS.values() for name in row.folders)
        raise ValueError(f"{top}: has no folder of a robustness set; its name must begin with {expected}")
    return found

"""Edges and silhouettes (Geirhos et al. 2019): images that have an outline but no texture."""

from __future__ import annotations

from typing import Any

from ...arguments import choice
from ...data.base import File
from .cue_conflict import CategoryFolder
from .heads import Judge
from .sets import Part, class_of, counted, lost
from .variants import accuracy


def outlines(judge: Judge, root: File, kind: str) -> dict[str, Any]:
    """Measure the accuracy among Geirhos' categories on 160 images, `bear/bear1.png` and so on, without a centre crop.

    Args:
        judge: a `Classifier` or a `Probe`; its answers become categories. Images of categories that the judge does not know are
            left out.
        root: the folder, such as stimuli/edges or stimuli/filled-silhouettes of rgeirhos/texture-vs-shape.
        kind: "edges" or "silhouettes".

    Returns:
        The result of `accuracy`, with "categories" in place of "classes"; and, as in `cue_conflict`, "answered_among",
        "n_outside", a description of the head, and images that could not be read.

    Raises:
        OSError, ValueError: a folder in another layout; an image that cannot be read; a judge without classes that belong to a
            category.
    """
    title, images = choice("kind", kind, ("edges", "silhouettes")), CategoryFolder(root)
    judge = judge.of_categories()
    ways = judge.classes or []
    kept = [i for i in range(len(images)) if class_of(images.name(i)) in ways]
    if not kept:
        raise ValueError(f"{images.root}: has no image of {', '.join(ways)}")
    (answers,) = judge.answers([Part(images, kept)], uncropped=True)
    found = accuracy(answers)
    return {
        "set": title,
        "split": "all",
        **counted(images.root, len(images), 160),
        **{"categories" if name == "classes" else name: value for name, value in found.items()},
        "answered_among": ways,
        "n_outside": len(images) - len(kept),
        **judge.describe(),
        **lost(answers.left_out),
        "reference": f"none: an accuracy, whose chance is {100 / len(ways):.3g} %",
    }

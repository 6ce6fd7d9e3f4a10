"""Shape against texture (Geirhos et al. 2019, arXiv 1811.12231): images whose outline and surface have different categories.

    bias = shape / (shape + texture)

Here shape is the number of answers that name the category of the outline, and texture is the number of answers that name the
category of the surface. Only images whose two categories differ are counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data import ImageFolder
from ...data.base import File
from .categories import NAMES, check_category
from .heads import Judge
from .sets import Part, lost, percent

#: Number of bootstrap draws.
_DRAWS = 1000


class Cues(NamedTuple):
    """The cues of an image, as stated by its name."""

    #: The category of the outline.
    shape: str
    #: The category of the surface.
    texture: str
    #: The name of the image that the shape was taken from, such as `bear1`.
    source: str


def cues(name: str) -> Cues:
    """Parse the cues of an image from its name: `bear/bear1-cat2.png`, or with a prefix, as in `..._bear1-cat2.png`.

    Raises:
        ValueError: a name of another form; a category that is not one of the 16; a folder of a different category.
    """
    folder, _, file = name.rpartition("/")
    stem = file.rpartition(".")[0].rpartition("_")[2]
    source, _, texture = stem.rpartition("-")
    if not source or not texture:
        raise ValueError(f"{name}: the name must be like bear1-cat2.png, of the shape and the texture")
    shape, texture = (check_category(re.sub(r"\d", "", cue), name) for cue in (source, texture))
    parent = folder.rpartition("/")[2]
    if parent in NAMES and parent != shape:
        raise ValueError(f"{name}: has a shape of {shape}, but is in the folder of {parent}; move it, or fix its name")
    return Cues(shape, texture, source)


class CategoryFolder(ImageFolder):
    """Images in a folder for each category, in Geirhos' layout; their EXIF orientation is ignored.

    Raises:
        OSError: the folder cannot be read.
        ValueError: no folders, or folders that are not categories.
    """

    def __init__(self, root: File) -> None:
        # Their publishers read the images without EXIF orientation.
        super().__init__(root, exif=False)
        others = [name for name in self.classes if name not in NAMES]
        if others or "/" not in self.name(0):
            got = f"the folder {others[0]!r}" if "/" in self.name(0) else "no folders"
            raise ValueError(
                f"{self.root}: must have a folder for each of the categories {', '.join(NAMES)}, got {got}"
            )


def shape_bias(
    answers: Sequence[str | None], shapes: Sequence[str], textures: Sequence[str], sources: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the shape bias: of all answers that follow the shape or the texture, the percentage that follows the shape.

    Args:
        answers: a category for each image; None: no answer.
        shapes, textures: the categories of the two cues of each image, its shape and its texture.
        sources: for each image, the name of the image that its shape was taken from. The bootstrap resamples sources, each with
            all of its images. None: no interval.

    Returns:
        A dict:

        - "shape_bias": the bias; None if no answer follows either cue.
        - "interval": the 95 % bootstrap interval of the bias over sources.
        - "n": the number of images whose cues differ.
        - "shape_accuracy", "texture_accuracy": the accuracies on these n images; None if n is 0.
        - "shape", "texture", "other": the numbers of answers that follow the shape, the texture and neither.
        - "n_without_conflict": the number of images whose cues agree. These images are excluded from everything else.
        - "accuracy_without_conflict": the accuracy on images whose cues agree; None if there are none.
        - "mean_category_bias": the mean of the biases of categories, which is a different measure.
        - "categories": for each category of shapes a dict with "n", "shape", "texture" and "shape_bias".

    Raises:
        ValueError: different lengths, or an unknown category.
    """
    if not len(answers) == len(shapes) == len(textures) == len(shapes if sources is None else sources):
        raise ValueError(
            f"answers, shapes, textures and sources must have one length, got {len(answers)} answers, {len(shapes)} shapes "
            f"and {len(textures)} textures"
        )
    for place, names in (("answers", answers), ("shapes", shapes), ("textures", textures)):
        for name in {name for name in names if name is not None}:
            check_category(name, place)
    given, shape, texture = (np.array([name or "" for name in names], str) for names in (answers, shapes, textures))
    conflict = shape != texture
    by_shape, by_texture = (conflict & (given == cue) for cue in (shape, texture))
    each = {}
    for name in sorted(set(shapes)):
        own = conflict & (shape == name)
        counts = {"n": int(own.sum()), "shape": int(by_shape[own].sum()), "texture": int(by_texture[own].sum())}
        each[name] = {**counts, "shape_bias": percent(counts["shape"], counts["shape"] + counts["texture"])}
    n, n_shape, n_texture = int(conflict.sum()), int(by_shape.sum()), int(by_texture.sum())
    biases = [one["shape_bias"] for one in each.values() if one["shape_bias"] is not None]
    return {
        "n": n,
        "shape_bias": percent(n_shape, n_shape + n_texture),
        "interval": None if sources is None else _interval(sources, np.stack([by_shape, by_texture], axis=1)),
        "shape_accuracy": percent(n_shape, n),
        "texture_accuracy": percent(n_texture, n),
        "shape": n_shape,
        "texture": n_texture,
        "other": n - n_shape - n_texture,
        "n_without_conflict": len(given) - n,
        "accuracy_without_conflict": percent(int((given == shape)[~conflict].sum()), len(given) - n),
        "mean_category_bias": sum(biases) / len(biases) if biases else None,
        "categories": each,
    }


def bias_difference(first: Mapping[str, str | None], second: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the difference of two networks' shape biases on the same images: second minus first.

    Args:
        first, second: the category of each answer, by image name: "answers" of `cue_conflict`.

    Returns:
        A dict:

        - "difference": the difference in percentage points; None if a bias is None.
        - "interval": the 95 % bootstrap interval of the difference over sources, with the same draws for both networks.
        - "shape_bias": a list of both biases; a bias is None if no answer follows either cue.
        - "n": the number of images whose cues differ.

    Raises:
        ValueError: different images, or a name that states no cues.
    """
    if first.keys() != second.keys() or not first:
        others = sorted(first.keys() ^ second.keys())
        got = f"{others[0]} and {len(others) - 1} more in one only" if others else "none"
        raise ValueError(f"second must have answers for the images of first, got {got}")
    found = [cues(name) for name in first]
    decided = [
        [_decided(answers[name], one) for name, one in zip(first, found, strict=True)] for answers in (first, second)
    ]
    sources = [one.source for one in found]
    totals = [np.sum(one, axis=0) for one in decided]
    biases = [percent(shape, shape + texture) for shape, texture in totals]
    return {
        "difference": None if biases[0] is None or biases[1] is None else biases[1] - biases[0],
        "interval": _interval(sources, *map(np.array, decided)),
        "shape_bias": biases,
        "n": sum(one.shape != one.texture for one in found),
    }


def _decided(answer: str | None, one: Cues) -> tuple[bool, bool]:
    """Return whether an answer follows the shape, and whether it follows the texture; both are False if the cues agree."""
    differ = one.shape != one.texture
    return differ and answer == one.shape, differ and answer == one.texture


def _interval(sources: Sequence[str], *decided: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of a bias, or of the difference of two biases; None if no draw has a value.

    Sources are resampled, each with all of its images.

    Args:
        sources: the source of each of n images.
        decided: for one network or two, (n, 2) bool: whether each answer follows the shape, and whether it follows the texture.
    """
    if not len(sources):
        return None
    _, place = np.unique(sources, return_inverse=True)
    drawn = np.random.default_rng(0).integers(0, place.max() + 1, (_DRAWS, place.max() + 1))
    biases = []
    for one in decided:
        counts = np.stack([np.bincount(place, by) for by in one.T], axis=1)
        shape, texture = counts[drawn].sum(1).T
        with np.errstate(invalid="ignore"):
            biases.append(100 * shape / (shape + texture))
    values = biases[-1] - biases[0] if len(biases) > 1 else biases[0]
    # A draw without a decision has no bias.
    if np.isnan(values).all():
        return None
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)


def cue_conflict(judge: Judge, root: File) -> dict[str, Any]:
    """Measure the shape bias of a network on a folder in Geirhos' layout, `<shape>/<shape><n>-<texture><m>.png`.

    Images of the network's input size are used unchanged. For other images, the largest centre square is resized.

    If the judge knows fewer than 16 categories, images with a cue of another category are left out. Among k categories, the
    chance level of the accuracies is 1 / k, and the bias is not comparable to the bias among 16.

    Args:
        judge: a `Classifier` or a `Probe`; its answers become categories.
        root: the folder, such as stimuli/style-transfer-preprocessed-512 of rgeirhos/texture-vs-shape.

    Returns:
        The result of `shape_bias`, and:

        - "answered_among", "ways": the possible answers, and their number.
        - "n_outside": the number of images left out because of their categories.
        - a description of the head.
        - "n_left_out", "left_out": images that could not be read.
        - "answers": the predicted category by image name.

    Raises:
        OSError, ValueError: a folder or a name in another layout; an image that cannot be read; a judge without classes that
            belong to a category.
    """
    images = CategoryFolder(root)
    told = {images.name(i): cues(images.name(i)) for i in range(len(images))}
    judge = judge.of_categories()
    ways = judge.classes or []
    kept = [i for i, found in enumerate(told.values()) if found.shape in ways and found.texture in ways]
    if not kept:
        raise ValueError(f"{images.root}: has no image whose shape and texture are among {', '.join(ways)}")
    (answers,) = judge.answers([Part(images, kept)], uncropped=True)
    found = [told[name] for name in answers.names]
    given = [ways[answer] for answer in answers.given]
    return {
        "set": "cue-conflict",
        "split": "all",
        **shape_bias(given, *zip(*found, strict=True)),
        "ways": len(ways),
        "answered_among": ways,
        "n_outside": len(told) - len(kept),
        **judge.describe(),
        **lost(answers.left_out),
        "answers": dict(zip(answers.names, given, strict=True)),
        "reference": "shape / (shape + texture), pooled over the images whose cues differ (Geirhos et al. 2019)",
    }

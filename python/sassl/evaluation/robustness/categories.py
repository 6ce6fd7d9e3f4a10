"""The 16 categories of Geirhos et al. 2019 (arXiv 1811.12231): their ImageNet classes, and decisions among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..features import Features
from ..imagenet import WNIDS, numbers

Array = NDArray[Any]

#: ImageNet's class indices in each category: rgeirhos/texture-vs-shape, code/helper/human_categories.py. 207 classes in all.
CATEGORIES = {
    "airplane": numbers("404"),
    "bear": numbers("294-297"),
    "bicycle": numbers("444 671"),
    "bird": numbers("8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145"),
    "boat": numbers("472 554 625 814 914"),
    "bottle": numbers("440 720 737 898-899 901 907"),
    "car": numbers("436 511 817"),
    "cat": numbers("281-286"),
    "chair": numbers("423 559 765 857"),
    "clock": numbers("409 530 892"),
    "dog": numbers("152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268"),
    "elephant": numbers("385-386"),
    "keyboard": numbers("508 878"),
    "knife": numbers("499"),
    "oven": numbers("766"),
    "truck": numbers("555 569 656 675 717 734 864 867"),
}
NAMES = tuple(CATEGORIES)
#: Category by the name of a folder: an ImageNet class, such as n02123045, or a category.
CATEGORY_OF = {WNIDS[number]: name for name, held in CATEGORIES.items() for number in held} | dict(
    zip(NAMES, NAMES, strict=True)
)


def decisions(probabilities: Array, classes: Sequence[str] = WNIDS) -> list[str]:
    """Return, for each row, the category whose classes have the largest *mean* probability; ties go to the first category.

    With all of ImageNet's classes, this is the 16-way decision of texture-vs-shape (code/probabilities_to_decision.py); the sum
    or the maximum would be a different measure. With fewer classes, the decision is among the categories that have a class.

    Args:
        probabilities: (N, K) from a softmax.
        classes: the names of the K columns: ImageNet's folders, or categories.

    Raises:
        ValueError: another shape; values that are not probabilities; none of `classes` belongs to a category.
    """
    rows = np.asarray(probabilities)
    if rows.ndim != 2 or rows.shape[1] != len(classes):
        raise ValueError(f"probabilities must have shape (N, {len(classes)}), one for each class, got {rows.shape}")
    if rows.dtype.kind != "f" or not ((rows >= 0) & (rows <= 1)).all() or not np.allclose(rows.sum(1), 1, atol=1e-2):
        raise ValueError(
            "probabilities must be floats in [0, 1] that sum to 1 in each row; apply a softmax to a network's outputs"
        )
    means, names = category_means(rows, classes)
    return [names[best] for best in means.argmax(1)]


def category_means(rows: Array, classes: Sequence[str]) -> tuple[Array, list[str]]:
    """Average the columns of each category; return the means and the names of the categories.

    Categories without a column are left out.

    Args:
        rows: (N, K).
        classes: the names of the K columns.

    Returns:
        The means, (N, number of categories), and the names of the categories, both in alphabetical order of categories.

    Raises:
        ValueError: none of `classes` belongs to a category.
    """
    held = columns(classes)
    # Contiguous rows, so that sums are accumulated in the same order as for a single row.
    means = [np.ascontiguousarray(np.take(rows, places, axis=1)).mean(1) for places in held.values()]
    return np.stack(means, axis=1), list(held)


def columns(classes: Sequence[str]) -> dict[str, list[int]]:
    """Return, for each category, the indices of its classes in `classes`; categories without a class are left out.

    Raises:
        ValueError: none of `classes` belongs to a category.
    """
    held: dict[str, list[int]] = {}
    for name in NAMES:
        if places := [place for place, one in enumerate(classes) if CATEGORY_OF.get(one) == name]:
            held[name] = places
    if not held:
        raise _of_none(classes)
    return held


def softmax(scores: Array) -> NDArray[np.float64]:
    """Return the row-wise softmax of a network's outputs."""
    powers = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def by_category(train: Features, categories: Mapping[str, str] | None = None) -> Features:
    """Return the features whose class belongs to a category, with categories as classes.

    Args:
        train: features with class names.
        categories: category by class name; None: names are those of ImageNet's folders, or of categories.

    Raises:
        ValueError: features without class names; no feature whose class belongs to a category; a category that is not one of
            the 16.
    """
    names = train.classes
    if names is None:
        raise ValueError("train must have class names, which determine the category; give Features(..., classes=names)")
    known = CATEGORY_OF if categories is None else categories
    for name, category in known.items():
        check_category(category, f"categories[{name!r}]")
    seen = {known.get(names[target]) for target in np.unique(train.targets)}
    held = [name for name in NAMES if name in seen]
    if not held:
        raise _of_none(names)
    numbers_of = np.array([held.index(known[one]) if known.get(one) in held else -1 for one in names], np.int64)
    targets = numbers_of[train.targets]
    kept = targets >= 0
    return Features(train.features[kept], targets[kept], held, train.left_out)


def check_category(name: str, place: str) -> str:
    """Return the name of a category after checking it; the error message starts with `place`.

    Raises:
        ValueError: the name is not one of the 16.
    """
    if name not in CATEGORIES:
        raise ValueError(f"{place}: {name!r} is not one of the categories {', '.join(NAMES)}")
    return name


def _of_none(classes: Sequence[str]) -> ValueError:
    return ValueError(
        f"classes must be names of ImageNet's folders, such as n02123045, or of categories ({', '.join(NAMES)}), got "
        f"{', '.join(classes[:5])}, ..., of which none with an image is of a category"
    )

"""Transfer: evaluation of a backbone on one of the data sets of `datasets`, by the set's own metric.

    from sassl.evaluation import transfer

    transfer.evaluate(model, "dtd", "data")  # {"set": "dtd", "school": "fold1", "metric": "top1", "value": ..., "c": ..., ...}

A school is one of the ways to split a set. There are three protocols:

- "linear": multinomial logistic regression on frozen features of the whole centre square (for ImageNet's sets, of the centre
  crop). Of 45 penalties from 1e-6 to 1e5, the best one on the validation split is chosen, and the probe is fitted again on
  train and val. This is the protocol of Kornblith et al. 2019, as followed by SimCLR (appendix B.8.1) and BYOL (appendix D.2).
- "finetune": training of the whole network, as in these papers; see `finetuning`.
- "knn": classification by nearest neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..arguments import choice
from ..data.ranks import ALONE, Ranks, by_first, together
from ..progress import Shown
from .cache import Cache
from .datasets import Dataset, Split, load
from .encoders import Model, is_own, rule_of
from .features import Features, read
from .few_shot import nearest_centroid
from .finetuning import DEFAULT, OF_SETS, finetune, recipe_of
from .preprocessing import Preprocessing
from .probes import GRID, Result, joined_classes, knn, logistic_probe

#: C for sets without validation images, such as some few-shot sets.
FIXED_C = 1.0


def evaluate(
    model: Model,
    name: str,
    root: str | os.PathLike[str],
    *,
    protocol: str = "linear",
    school: str | None = None,
    seed: int = 0,
    counts: str = "published",
    size: int | None = None,
    normalize: dict[str, Any] | None = None,
    batch_size: int = 256,
    on_error: str = "raise",
    cache: str | os.PathLike[str] | None = None,
    weights: str | None = None,
    ranks: Ranks = ALONE,
    progress: Shown = False,
    finetuning: Mapping[str, Any] | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Return the result of a model on a data set, as plain Python values.

    Args:
        model: see `sassl.evaluation.extract`.
        name, root, school, seed, counts: see `datasets.load`.
        protocol: "linear": logistic regression; "knn": the 200 nearest neighbours by cosine in train and val, weighted with
            temperature 0.1; "finetune": training of the whole network by a published recipe.
        size, normalize: input side in pixels, and normalization, as in `Preprocessing`. They are ignored for sassl's own models
            and for models from `sassl.open_model`, as these define both.
        batch_size, on_error: see `extract`.
        cache: a folder for features; requires `weights`. All protocols, schools, seeds and sets with the same images share the
            features.
        weights: a string that identifies the model's weights, such as a checksum of its checkpoint.
        ranks, progress: see `extract`. Rank 0 computes the result, and every rank returns it.
        finetuning: arguments of `finetune`, such as "recipe", "lr" and "engine". For ImageNet's 1 % and 10 %, the default
            recipe is SimCLR's.
        checkpoints: a folder in which fine-tuning stores checkpoints, and from which it resumes; see `out` of `finetune`.

    Returns:
        The result of `logistic_probe`, `knn` or `finetune`, with the "interval" of the set's metric; and:

        - "value": the value of the set's metric.
        - "set", "school", "seed", "protocol", "metric", "classes", "preprocessing": the settings.
        - "train", "val", "test": the number of images in each split.
        - "differences": differences from the published set.
        - "left_out": the images that could not be read.
        - "centroid": the top-1 accuracy of the nearest class centroid; only without a validation split, and not with
          "finetune".

    Raises:
        OSError, ValueError, TypeError: as raised by `datasets.load` and `extract`; a cache without `weights`.
    """
    choice("protocol", protocol, ("linear", "knn", "finetune"))
    if finetuning and protocol != "finetune":
        raise ValueError(
            f'finetuning must be left out with protocol="{protocol}", got {dict(finetuning)}; it is of protocol="finetune"'
        )
    kept = None if cache is None else Cache(cache, weights)
    splits = together(ranks, partial(_splits, name, root, school, seed, counts))
    first = splits["train"]
    row, how = first.dataset, first.dataset.schools[first.school]
    told = {
        "set": name,
        "school": first.school,
        "seed": seed,
        "protocol": protocol,
        "metric": row.metric,
        "classes": len(first.classes),
        "differences": list(dict.fromkeys(text for images in splits.values() for text in images.differences)),
    }
    settings: dict[str, Any] = {"on_error": on_error, "progress": progress}
    if protocol == "finetune":
        asked = {"recipe": _recipe(name, finetuning), "seed": seed, **(finetuning or {})}
        rule = rule_for(model, row_for(row, protocol, finetuning), size, normalize)
        told |= {"preprocessing": rule.describe(), "finetuning": dict(finetuning or {})}
        judged = _finetuned(model, splits, rule, {**settings, **asked, "out": checkpoints})
        return {**judged, **told, "value": judged[row.metric]}
    rule = rule_for(model, row, size, normalize)
    told["preprocessing"] = rule.describe()
    settings |= {"preprocessing": rule, "cache": kept, "ranks": ranks}
    found = {split: read(model, images, batch_size, **settings) for split, images in splits.items()}
    told |= {split: len(one.targets) for split, one in found.items()}
    told["left_out"] = {name: why for one in found.values() for name, why in one.left_out.items()}

    def judge() -> Result:
        judged = (_linear if protocol == "linear" else _nearest)(found, row.metric, progress)
        if "val" not in how.splits:
            judged["centroid"] = nearest_centroid(found["train"], found["test"])["top1"]
        return judged

    judged = by_first(ranks, judge)
    return {**judged, **told, "value": judged[row.metric]}


def _finetuned(
    model: Model, splits: Mapping[str, Split], rule: Preprocessing, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Fine-tune the whole network, choosing the cell of the recipe's grid on "val"."""
    first, metric = splits["train"], splits["train"].dataset.metric
    found = finetune(model, first, splits["test"], val=splits.get("val"), metric=metric, preprocessing=rule, **settings)
    return {**found, **{split: len(images) for split, images in splits.items()}}


def _splits(name: str, root: str | os.PathLike[str], school: str | None, seed: int, counts: str) -> dict[str, Split]:
    first = load(name, root, school=school, seed=seed, counts=counts)
    others = first.dataset.schools[first.school].splits[1:]
    return {"train": first} | {
        split: load(name, root, split, school=first.school, seed=seed, counts=counts) for split in others
    }


def row_for(row: Dataset, protocol: str, finetuning: Mapping[str, Any] | None = None) -> Dataset:
    """Return the row of a set; for fine-tuning, with the recipe's resizing of test images."""
    if protocol != "finetune":
        return row
    return replace(row, resize=recipe_of(_recipe(row.name, finetuning)).resize)


def _recipe(name: str, finetuning: Mapping[str, Any] | None) -> Any:
    return (finetuning or {}).get("recipe", OF_SETS.get(name, DEFAULT))


def rule_for(
    model: Model, row: Dataset, size: int | None = None, normalize: dict[str, Any] | None = None
) -> Preprocessing:
    """Return the set's preprocessing at the model's input size; for the arguments, see `evaluate`.

    Raises:
        ValueError: a size that is unknown or not square; an unknown normalization.
    """
    if is_own(model):
        known = Preprocessing.of(model)
        if not isinstance(known.size, int):
            raise ValueError(f"the model's views must be square, got {known.size}; give a model of square views")
        return row.preprocessing(known.size, normalize=known.normalize, channels_last=known.channels_last)
    if size is None:
        raise ValueError("size is required for a model that is not sassl's; give the side of its images, such as 224")
    return rule_of(model, row.preprocessing(size, normalize=normalize))


def _linear(found: dict[str, Features], metric: str, progress: Shown) -> Result:
    """Evaluate by logistic regression. The penalty is chosen on "val"; without "val", C is `FIXED_C`."""
    val = found.get("val")
    c = FIXED_C if val is None else GRID
    made = logistic_probe(found["train"], found["test"], val=val, c=c, metric=metric, progress=progress)
    return {**made, "c_convention": "C times the sum of losses", "of_equals": "the strongest penalty"}


def _nearest(found: dict[str, Features], metric: str, progress: Shown) -> Result:
    """Evaluate by nearest neighbours in "train" and "val"."""
    train, val = found["train"], found.get("val")
    if val is not None:
        train, val = joined_classes(train, val)
        features = np.concatenate([train.features, val.features])
        train = Features(features, np.concatenate([train.targets, val.targets]), train.classes)
    return {**knn(train, found["test"], metric=metric, progress=progress), "distance": "cosine"}

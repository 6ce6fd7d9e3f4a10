"""Transfer: what a backbone's frozen features are worth on one of the sets of `datasets`, by the set's own metric.

    from sassl.evaluation import transfer

    transfer.evaluate(model, "dtd", "data")  # {"set": "dtd", "school": "fold1", "metric": "top1", "value": ..., "c": ..., ...}

"linear" is the protocol of Kornblith et al. 2019 as SimCLR (appendix B.8.1) and BYOL (appendix D.2) follow it: multinomial
logistic regression by L-BFGS on features of the whole square; of 45 penalties from 1e-6 to 1e5 the one is taken that is best on
the validation split, and the probe learns again from train and val.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _sassl
from ..arguments import choice
from .datasets import Split, load
from .encoders import Model, is_own, rule_of
from .features import Features, read
from .preprocessing import Preprocessing

#: Published as penalties, which weigh L2; scikit-learn's C is the inverse, and weighs the sum of the losses.
PENALTIES = tuple(float(penalty) for penalty in np.logspace(-6, 5, 45))
#: Where nothing chooses, as with few shots.
FIXED_C = 1.0
_K, _TEMPERATURE = 200, 0.1


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
) -> dict[str, Any]:
    """The result on a set, in plain values.

    Args:
        model: as of `sassl.evaluation.extract`.
        name, root, school, seed, counts: as of `datasets.load`.
        protocol: "linear", or "knn": the 200 nearest neighbours by cosine in train and val, weighted with temperature 0.1.
        size, normalize: side of what a model of others takes, and how its images are normalized; sassl's own know both.
        batch_size, on_error: as of `extract`.
        cache: a folder for features, which other protocols on the same images then share; needs `weights`.
        weights: what tells this model's weights from others, as a checksum of its checkpoint.

    Returns:
        "value" by "metric" ("top1" and "mean_per_class" in per cent, quadratic "kappa" from -1 to 1), and what it took: "set",
        "school", "seed", "protocol", "classes", "resize", "train", "val" and "test" with numbers of images, "differences" from
        what is published, "left_out", which names images that could not be read, "c" or "k"; "top1", "top5", "mean_per_class"
        beside, and for few shots "centroid", the top-1 of the nearest centre of a class by cosine.

    Raises:
        OSError, ValueError, TypeError: as of `datasets.load` and `extract`; a cache without `weights`.
    """
    choice("protocol", protocol, ("linear", "knn"))
    if cache is not None and weights is None:
        raise ValueError(
            "weights = None: features are kept by their model's weights; give a text that tells them from others"
        )
    first = load(name, root, school=school, seed=seed, counts=counts)
    row, how = first.dataset, first.dataset.schools[first.school]
    splits = {"train": first}
    for split in how.splits[1:]:
        splits[split] = load(name, root, split, school=first.school, seed=seed, counts=counts)
    rule = _rule(model, first, size, normalize)
    found = {
        split: _features(model, images, rule, batch_size, on_error, cache, weights) for split, images in splits.items()
    }
    told = {
        "set": name,
        "school": first.school,
        "seed": seed,
        "protocol": protocol,
        "metric": row.metric,
        "classes": len(first.classes),
        "resize": f"{rule.resize} to {rule.size}, {rule.interpolation}",
        **{split: len(one.targets) for split, one in found.items()},
        "differences": list(dict.fromkeys(text for images in splits.values() for text in images.differences)),
        "left_out": {name: why for one in found.values() for name, why in one.left_out.items()},
    }
    judge = _linear if protocol == "linear" else _nearest
    ranked, settings = judge(found, row.metric, len(first.classes))
    targets = found["test"].targets
    values = {metric: score(metric, ranked[:, 0], targets, len(first.classes)) for metric in ("top1", "mean_per_class")}
    value = score(row.metric, ranked[:, 0], targets, len(first.classes))
    top5 = 100 * float((ranked[:, :5] == targets[:, None]).any(1).mean())
    few = {"centroid": _centroid(found["train"], found["test"])} if "val" not in how.splits else {}
    return {**told, "value": value, **values, "top5": top5, **few, **settings}


def score(metric: str, given: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> float:
    """The value of answers.

    Args:
        metric: "top1" or "mean_per_class", the mean of the recalls of the classes that `targets` has, in per cent; or
            "kappa", from -1 to 1, NaN where it is not defined.
        given, targets: (N,), from 0 to `classes` - 1.
        classes: how many there are.
    """
    if metric == "top1":
        return 100 * float((given == targets).mean())
    table = np.zeros((classes, classes))
    np.add.at(table, (targets, given), 1)
    counts = table.sum(1)
    if metric == "mean_per_class":
        return 100 * float((np.diag(table)[counts > 0] / counts[counts > 0]).mean())
    weights = np.subtract.outer(np.arange(classes), np.arange(classes)) ** 2.0
    expected = (weights * np.outer(counts, table.sum(0))).sum() / counts.sum()
    return 1 - float((weights * table).sum() / expected) if expected else float("nan")


def _rule(model: Model, images: Split, size: int | None, normalize: dict[str, Any] | None) -> Preprocessing:
    """The set's rule in the model's size."""
    if is_own(model):
        known = Preprocessing.of(model)
        if not isinstance(known.size, int):
            raise ValueError(f"the model's views are {known.size}, no squares; give a model of square views")
        return images.dataset.preprocessing(known.size, normalize=known.normalize, channels_last=True)
    if size is None:
        raise ValueError("size = None: what side of images a model of others takes is not known; give it, such as 224")
    return rule_of(model, images.dataset.preprocessing(size, normalize=normalize))


def _features(
    model: Model,
    images: Split,
    rule: Preprocessing,
    batch_size: int,
    on_error: str,
    cache: str | os.PathLike[str] | None,
    weights: str | None,
) -> Features:
    """As `read`, once for all protocols that share weights, images and rule."""
    if cache is None:
        return read(model, images, batch_size, None, on_error, rule)
    known = {
        "weights": weights,
        "rule": repr(rule),
        "images": images.identity(),
        "targets": images.targets,
        "on_error": on_error,
    }
    path = (
        Path(cache) / f"{images.dataset.name}-{images.split}-{sha256(json.dumps(known).encode()).hexdigest()[:32]}.npz"
    )
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as kept:
                lost = json.loads(str(kept["left_out"]))
                return Features(kept["features"], kept["targets"], images.classes, lost)
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise ValueError(f"{path}: no features, or damaged ({error}); delete it, and it is made again") from None
    found = read(model, images, batch_size, None, on_error, rule)
    data = io.BytesIO()
    np.savez(data, features=found.features, targets=found.targets, left_out=json.dumps(dict(found.left_out)))
    path.parent.mkdir(parents=True, exist_ok=True)
    _sassl.write_file(path, data.getvalue())
    return found


Judged = tuple[NDArray[np.int64], dict[str, Any]]


def _linear(found: dict[str, Features], metric: str, classes: int) -> Judged:
    """Ranked classes of the test, and the penalty."""
    train, val = found["train"], found.get("val")
    strengths = [1 / penalty for penalty in PENALTIES]
    chosen = FIXED_C if val is None else _chosen(train, val, strengths, metric, classes)
    everything = train if val is None else _together(train, val)
    return _ranked(everything, found["test"], [chosen], 5)[0], {
        "c": chosen,
        "c_convention": "C times the sum of losses",
    }


def _chosen(train: Features, val: Features, strengths: Sequence[float], metric: str, classes: int) -> float:
    """The C that is best on `val` by the metric; of equals the strongest penalty."""
    ranked = _ranked(train, val, strengths, 1)
    scores = [score(metric, one[:, 0], val.targets, classes) for one in ranked]
    best = np.nanmax(scores) if not np.isnan(scores).all() else None
    return min(c for c, value in zip(strengths, scores, strict=True) if best is None or value == best)


def _ranked(train: Features, queries: Features, strengths: Sequence[float], top: int) -> NDArray[np.int64]:
    """Classes of the queries by logistic regression for each C, the likeliest first."""
    return _sassl.logistic_probe(train.features, train.targets, queries.features, c=list(strengths), top=top)


def _together(train: Features, val: Features) -> Features:
    features = np.concatenate([train.features, val.features])
    return Features(features, np.concatenate([train.targets, val.targets]), train.classes)


def _nearest(found: dict[str, Features], metric: str, classes: int) -> Judged:
    """Ranked classes of the test by neighbours in train and val."""
    train, val = found["train"], found.get("val")
    known = train if val is None else _together(train, val)
    k = min(_K, len(known.targets))
    features, queries = known.features, found["test"].features
    ranked = _sassl.knn(features, known.targets, queries, k=k, temperature=_TEMPERATURE, top=5)
    return ranked, {"k": k, "temperature": _TEMPERATURE, "distance": "cosine"}


def _centroid(train: Features, test: Features) -> float:
    """Top-1 in per cent of the nearest mean of a class's features, each of length 1, by cosine."""
    known, queries = (
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (train.features, test.features)
    )
    labels = np.unique(train.targets)
    centres = np.stack([known[train.targets == label].mean(0) for label in labels])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return 100 * float((labels[(queries @ centres.T).argmax(1)] == test.targets).mean())

"""The measures of a cell, computed by functions of `sassl.evaluation` on frozen features.

A measure is a dict like a line that `sassl eval transfer` writes, so that `sassl.evaluation.compare` can compare arms. The
linear probe on `val` is the primary measure; all others are exploratory.
"""

from __future__ import annotations

import zlib
from statistics import fmean
from typing import Any

import numpy as np
from corruptions import CORRUPTIONS, corrupted
from images import Data, squares
from sassl import evaluation
from sassl.evaluation import Features, robustness
from sassl.pretraining import Pretraining

#: The name of the primary measure.
PRIMARY = "linear probe"
#: K: neighbors of kNN. SHOTS, DRAWS: images per class and number of draws of few-shot probes. C: inverse penalty, as in
#: scikit-learn, of logistic heads with a fixed penalty.
K, SHOTS, DRAWS, C = 20, (5, 50), 5, 0.1


def of_features(train: Features, val: Features) -> dict[str, float]:
    """Compute the measures that curves show, from features: top-1 accuracies of the linear probe and of kNN, in per cent."""
    return {
        "linear": evaluation.linear_probe(train, val)["top1"],
        "knn": evaluation.knn(train, val, k=K)["top1"],
    }


def curve(model: Pretraining, data: Data) -> dict[str, float]:
    """Compute the measures that curves show, for a model after an epoch."""
    return of_features(evaluation.extract(model, data.train), evaluation.extract(model, data.val))


def final(model: Pretraining, data: Data) -> list[dict[str, Any]]:
    """Compute all measures at the end of a run; return a dict for each."""
    train, val = (evaluation.extract(model, folder) for folder in (data.train, data.val))
    sizes = {"classes": len(train.classes or ()), "train": len(train.targets), "test": len(val.targets)}
    found = of_features(train, val)
    lines = [
        _line("val", PRIMARY, "top1", found["linear"], **sizes),
        _line("val", f"kNN, k = {K}", "top1", found["knn"], **sizes),
    ]
    least = int(np.unique(train.targets, return_counts=True)[1].min())
    for one in evaluation.few_shot(train, val, shots=[n for n in SHOTS if n <= least] or [least], draws=DRAWS):
        # One line: the mean over the draws of a checkpoint.
        lines.append(_line("val", f"{one['shots']} images a class", "top1", one["mean"], **sizes))
    if data.cifar10 is not None:
        parts = [evaluation.extract(model, data.cifar10 / part) for part in ("train", "test")]
        told = {"classes": 10, "train": len(parts[0].targets), "test": len(parts[1].targets)}
        top1 = evaluation.linear_probe(*parts)["top1"]
        lines.append(_line("CIFAR-10 subset", "transfer, linear probe", "top1", top1, **told))
    if data.cue_conflict is not None:
        lines += _shape_bias(model, train, data)
    lines.append(_corruption_error(model, train, data, sizes))
    return lines


def _shape_bias(model: Pretraining, train: Features, data: Data) -> list[dict[str, Any]]:
    assert data.cue_conflict is not None
    try:
        found = robustness.cue_conflict(robustness.Probe(model, train, c=C), data.cue_conflict)
    except ValueError as error:
        # Other data has other classes; the result says why it has no shape bias.
        return [_line("cue conflict", "logistic head", "shape_bias", None, why=str(error))]
    told = {"classes": found["ways"], "train": found["train_n"], "test": found["n"]}
    names = ("shape_bias", "shape_accuracy", "texture_accuracy")
    return [_line("cue conflict", "logistic head", name, found[name], **told) for name in names]


def _corruption_error(model: Pretraining, train: Features, data: Data, sizes: dict[str, int]) -> dict[str, Any]:
    """The mean error over corruptions and severities, in per cent, and the errors of each corruption by severity."""
    images, targets, names = squares(data.val, model.transform.size[0])
    if names != train.classes:
        raise ValueError(f"{data.val}: expected the classes of {data.train}")
    head = evaluation.logistic.fit(train.features, train.targets, C)
    errors: dict[str, list[float]] = {}
    for name in CORRUPTIONS:
        for severity in range(1, 6):
            scores = head.scores(evaluation.encode(model, corrupted(images, name, severity)))
            wrong = head.labels[scores.argmax(1)] != targets
            errors.setdefault(name, []).append(100 * float(wrong.mean()))
    mean = fmean(fmean(own) for own in errors.values())
    return _line("val, corrupted", "corruption error", "mean_error", mean, **sizes, errors=errors)


def _line(name: str, protocol: str, metric: str, value: float | None, **more: Any) -> dict[str, Any]:
    """A measure in the form that `sassl.evaluation.compare` reads."""
    return {"set": name, "school": "", "protocol": protocol, "metric": metric, "value": value, "seed": 0, **more}


def checksum(model: Pretraining) -> str:
    """The CRC-32 of the backbone's weights."""
    found = 0
    for name, values in sorted(model.engine.backbone().items()):
        found = zlib.crc32(np.ascontiguousarray(values).tobytes(), zlib.crc32(name.encode(), found))
    return f"{found:08x}"

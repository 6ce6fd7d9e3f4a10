"""Reading of comparable values from the result files of `sassl eval`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..robustness import table

#: The protocol shown in tables for robustness results.
ROBUSTNESS = "robustness"
#: Settings of fine-tuning that the caller chooses; learning rate and weight decay are not listed, as validation may choose
#: them.
_FINETUNING = ("recipe", "finetuning", "frozen", "steps", "batch_size")
#: Fields of transfer results, and of robustness results, that state the images and the settings of the probe. Results are
#: comparable if these fields are equal.
_TRANSFER = ("classes", "train", "val", "test", "k", "temperature", "differences", "settings", *_FINETUNING)
_HEAD = ("n", "published_n", "n_outside", "ways", "answered_among", "head", "c", "train_n", "reference")


class Metric(NamedTuple):
    """The display settings of a metric."""

    title: str
    digits: int = 1
    #: True if higher values are better, False if lower values are better, None if neither.
    higher: bool | None = True

    @property
    def is_share(self) -> bool:
        """True if values are in per cent."""
        return self.digits == 1


METRICS = {
    "top1": Metric("top-1"),
    "top5": Metric("top-5"),
    "mean_per_class": Metric("mean per class"),
    "balanced_accuracy": Metric("balanced accuracy"),
    "kappa": Metric("kappa", 3),
    "auc": Metric("AUC", 3),
    "mce": Metric("mCE", higher=False),
    "mean_error": Metric("mean error", higher=False),
    "shape_bias": Metric("shape bias"),
    "shape_accuracy": Metric("shape accuracy"),
    "texture_accuracy": Metric("texture accuracy", higher=None),
}


class Measurement(NamedTuple):
    """A measurement, shown as a row of a comparison.

    `school` is the way in which a set is split; for a robustness set, it is the variant of the set, if any.
    """

    set: str
    school: str
    protocol: str
    metric: str

    def __str__(self) -> str:
        return " ".join(part for part in self if part)


@dataclass(frozen=True)
class Value:
    """A value of a result.

    Attributes:
        place: the file and the line of the result, for error messages.
        names: possible names of the result's arm, with the keys "file", "checkpoint" and, if the result states a model,
            "model".
        checkpoint: an identifier of the checkpoint.
        pretraining_seed: the seed of the checkpoint's training run; None: unknown.
        measurement: the measurement.
        seed: seed of the evaluation's random draws.
        value: the value; None if the metric is undefined.
        conditions: settings that have to be equal in all arms.
        resize: how images were resized, which may differ between models.
    """

    place: str
    names: dict[str, str]
    checkpoint: str
    pretraining_seed: int | None
    measurement: Measurement
    seed: int
    value: float | None
    conditions: dict[str, Any]
    resize: str


def read(path: Path, arm: str) -> list[Value]:
    """Return the values of a file; `arm` is the name of its arm if arms are named after files.

    Raises:
        ValueError: a line that is not a result, or no result at all.
        OSError: the file cannot be read.
    """
    found: list[Value] = []
    for number, text in enumerate(path.read_bytes().split(b"\n"), 1):
        if text.strip():
            place = f"{path}: line {number}"
            try:
                found += _values(json.loads(text), place, arm)
            except (ValueError, TypeError, KeyError) as error:
                told = f"{error} is missing" if isinstance(error, KeyError) else error
                raise ValueError(f"{place}: is not a result of sassl eval: {told}") from None
    if not found:
        raise ValueError(f"{path}: holds no results")
    return found


def _values(line: Any, place: str, arm: str) -> Iterator[Value]:
    """Yield the values of a line: one for a transfer set, one or several for a robustness set."""
    if not isinstance(line, dict):
        raise TypeError("not a JSON object")
    # Earlier results name the checkpoint "model".
    names = {"file": arm, "checkpoint": _typed(line, "checkpoint" if "checkpoint" in line else "model", str)}
    if "model" in line:
        names["model"] = _typed(line, "model", str)
    seed = None if line.get("pretraining_seed") is None else _typed(line, "pretraining_seed", int)
    # Earlier robustness results have no checksum.
    checkpoint = _typed(line, "weights", str) if "weights" in line else names["checkpoint"]
    name = _typed(line, "set", str)
    robust = table.SETS.get(name.lower()) if "protocol" not in line else None
    if robust is None:
        measurement = Measurement(name, *(_typed(line, key, str) for key in ("school", "protocol", "metric")))
        told = {key: line[key] for key in _TRANSFER if key in line}
        draw, resize = _typed(line, "seed", int), str(line.get("resize", _resize(line.get("preprocessing"))))
        yield Value(place, names, checkpoint, seed, _known(measurement), draw, _number(line, "value"), told, resize)
        return
    told = {key: line[key] for key in _HEAD if key in line}
    for metric in (robust.told, *robust.beside):
        measurement = Measurement(name, str(line.get("variant") or ""), ROBUSTNESS, metric)
        yield Value(place, names, checkpoint, seed, _known(measurement), 0, _number(line, metric), told, "")


def _known(measurement: Measurement) -> Measurement:
    if measurement.metric not in METRICS:
        raise ValueError(f"metric {measurement.metric!r} is not one of {', '.join(METRICS)}")
    return measurement


def _resize(rule: Any) -> str:
    """Return a preprocessing rule in words, without the normalization."""
    return "{resize} to {size}, {interpolation}".format(**rule) if isinstance(rule, dict) else ""


def _typed(line: dict[str, Any], key: str, kind: type) -> Any:
    value = line[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{key!r} must be {'a string' if kind is str else 'an integer'}, got {value!r:.60}")
    return value


def _number(line: dict[str, Any], key: str) -> float | None:
    value = line[key]
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError(f"{key!r} must be a finite value or null, got {value!r:.60}")
    return float(value)

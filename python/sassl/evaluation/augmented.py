"""The augmented linear probe: a linear head on frozen features of random crops, computed anew in every epoch.

    from sassl.evaluation import augmented_probe

    augmented_probe(model, "imagenet/train", "imagenet/val", recipe="moco")  # {"top1": ..., "top5": ..., "lr": 30.0, ...}

MoCo, SimCLR and BYOL report their ImageNet accuracy by this protocol; `LINEAR_RECIPES` has the published settings. The backbone
stays frozen, including its normalization layers. Computing features dominates the cost, so the heads of all learning rates are
trained on the same features.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._sassl import write_file
from ..arguments import choice, number, plain, whole, wrong
from ..data import Images, as_images
from ..data.ranks import ALONE, Ranks, by_first, check_same, together
from ..progress import Progress
from . import metrics
from .cache import Cache
from .crops import Crops
from .encoders import Array, Model, features_of, rule_of, threads_of
from .features import Features, left_out, read
from .kept_heads import KeptHeads
from .linear_heads import Heads
from .linear_recipes import LINEAR_RECIPES, LinearRecipe
from .logistic import finite
from .preprocessing import Preprocessing
from .probes import Result, joined_classes, of_answers, result

#: A function from images (N, 3, H, W) or (N, H, W, 3) to features (N, dim).
Encode = Callable[[Array], Array]
#: Size of the validation set if none is given: a tenth of train, at most 10,000 images (as many as BYOL holds out of ImageNet).
_HELD_OUT, _MOST_HELD_OUT = 10, 10_000
#: Epochs that take longer than this, in seconds, are reported.
_PATIENCE = 2.0


def augmented_probe(
    model: Model,
    train: Any,
    test: Any,
    *,
    recipe: str = "simclr",
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | Sequence[float] | None = None,
    val: Any = None,
    metric: str = "top1",
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    threads: int | None = None,
    on_error: str = "raise",
    out: str | os.PathLike[str] | None = None,
    cache: Cache | None = None,
    ranks: Ranks = ALONE,
    progress: bool = False,
) -> Result:
    """Return the accuracy, in per cent, of a linear head trained on random crops and flips by a published recipe.

    With several learning rates, a head is trained for each, and the head with the best metric on `val` is chosen. Ties go to
    the lowest rate. Only the chosen head is evaluated on `test`, once, after the last epoch. It is not trained again on train
    and val.

    Args:
        model: see `extract`. Its weights are not modified. A torch module is in eval mode while the heads are trained.
        train: labelled images to train on, in any form that a `TwoViewLoader` takes.
        test: labelled images to classify, see `extract`; they are resized and cropped to the centre.
        recipe: one of `LINEAR_RECIPES`: "moco", "simclr", "byol", "mocov3" or "lightly".
        epochs, batch_size: number of epochs, and number of images in a batch over all ranks; None: the recipe's. If there are
            fewer training images than that, a batch has all of them, rounded down to a multiple of the number of ranks.
        lr: one learning rate or several; None: the recipe's. If `LINEAR_RECIPES[recipe].per_256`, a rate is for a batch of 256,
            and is multiplied by batch_size / 256.
        val: labelled validation images, for choosing among several rates; not used with a single rate. None: a tenth of train,
            at most 10,000 images, drawn with `seed`; these images are not trained on.
        metric: the metric to report along with top-1 and top-5: one of `metrics.NAMES` except "auc", which needs probabilities.
        preprocessing: preprocessing of the images of val and test. Training crops use its size, interpolation and
            normalization. None: `Preprocessing.of(model)` with the recipe's interpolation. Required for a model without its own
            preprocessing.
        seed: seed of the order of images, the crops, the initial weights of the heads, and the draw of held-out images.
        threads: threads for the crops; None: the model's.
        on_error: "raise": an unreadable image is an error; "report": unreadable images of train are replaced by others,
            unreadable images of val and test are left out, and warnings report their number.
        out: a folder to which the heads are written after each epoch, and the result at the end. A run with the same settings
            resumes from this folder. Its result is bit-identical to that of an uninterrupted run.
        cache: where features of val and test are stored and looked up, see `extract`. Features of training crops are not
            stored.
        ranks: the processes that share the images, from `sassl.pretraining.ranks()`. Every process calls this function with the
            same arguments and gets the result.
        progress: report progress on stderr if the run takes more than 2 seconds.

    Returns:
        A dict:

        - "top1", "top5", the metric, "metric", "interval", "n", "classes": as in `knn`.
        - "recipe", "epochs", "batch_size": the settings.
        - "lr": the chosen learning rate.
        - "val": pairs [rate, metric on val], where the metric is None if the head diverged; an empty list for a single rate.
        - "train": the number of training images.
        - "replaced": images of train that could not be read, name to reason.
        - "left_out": images of val and test that could not be read, name to reason.

    Raises:
        OSError, TypeError: as raised by `extract`.
        ValueError: as raised by `extract`; a setting out of range; all heads diverge; `out` contains a run with other settings
            or another model.
    """
    of_answers(metric)
    row = LINEAR_RECIPES[choice("recipe", recipe, LINEAR_RECIPES)]
    choice("on_error", on_error, ("raise", "report"))
    rates, rule = _rates(row.lr if lr is None else lr), rule_of(model, preprocessing)
    if preprocessing is None:
        rule = replace(rule, interpolation=row.interpolation)
    learnt, chooses = as_images(train), None if val is None else as_images(val)
    if len(rates) == 1:
        chooses = None
    elif chooses is None:
        learnt, chooses = _held_out(learnt, whole("seed", seed))
    learner = _Learner(
        learnt,
        row,
        rule,
        ranks,
        epochs=row.epochs if epochs is None else epochs,
        batch_size=row.batch_size if batch_size is None else batch_size,
        rates=rates,
        seed=seed,
        threads=threads_of(model) if threads is None else threads,
        on_error=on_error,
    )
    # Unreadable images and unknown classes are reported before hours of training.
    how: dict[str, Any] = {"on_error": on_error, "preprocessing": rule}
    how |= {"cache": cache, "ranks": ranks, "progress": progress}
    asked = [read(model, as_images(images), **how) for images in (test, chooses) if images is not None]
    lost = {name: why for found in asked for name, why in found.left_out.items()}
    if ranks.rank == 0:
        for found in asked:
            if found.left_out:
                warnings.warn(left_out(found), stacklevel=2)
    numbered = together(ranks, lambda: [joined_classes(learner.known, found)[1] for found in asked])
    heads = learner.learn(model, {"recipe": recipe, "rule": repr(rule)}, out, progress)
    if (replaced := learner.replaced()) and ranks.rank == 0:
        warnings.warn(_replaced(replaced, len(learnt)), stacklevel=2)
    told = {"recipe": recipe, **learner.told(), "replaced": replaced, "left_out": lost}
    judge = partial(_judged, heads, learner, numbered[0], None if chooses is None else numbered[1], metric, told)
    return by_first(ranks, partial(_kept, judge, out))


def _replaced(lost: Mapping[str, str], n: int) -> str:
    """Return the text of the warning about images of train that were replaced."""
    name, why = next(iter(lost.items()))
    return f"{len(lost)} of {n} images of train could not be read, and were replaced by others; {name}: {why}"


def _rates(lr: Any) -> list[float]:
    """Return the learning rates without duplicates; reject rates that are not positive."""
    rates = [number("lr", one) for one in ([lr] if np.ndim(lr) == 0 else lr)]
    if not rates or not all(0 < one < np.inf for one in rates):
        raise wrong("lr", lr, "a number > 0, or several")
    return list(dict.fromkeys(rates))


def _held_out(train: Images, seed: int) -> tuple[Images, Images]:
    """Hold out a random part of `train`; return the remaining images and the held-out images."""
    n = len(train)
    count = min(n // _HELD_OUT, _MOST_HELD_OUT)
    if count == 0:
        raise ValueError(
            f"train must have at least {_HELD_OUT} images, a tenth of which chooses the learning rate, got {n}; or give val"
        )
    order = np.random.default_rng(seed).permutation(n)
    held, kept = (np.sort(rows).tolist() for rows in np.split(order, [count]))
    return train.take(kept), train.take(held)


class _Learner:
    """Trains the heads on features of crops; the learning rates follow the recipe's schedule."""

    def __init__(
        self,
        images: Images,
        row: LinearRecipe,
        rule: Preprocessing,
        ranks: Ranks,
        *,
        epochs: int,
        batch_size: int,
        rates: list[float],
        seed: int,
        threads: int,
        on_error: str,
    ) -> None:
        whole("batch_size", batch_size, 1)
        if batch_size > len(images):
            batch_size = len(images) // ranks.world_size * ranks.world_size
        self._row, self._rule, self._ranks, self._seed = row, rule, ranks, seed
        self._images, self._epochs, self.rates = images, whole("epochs", epochs, 1), rates
        self._crops = Crops(
            images,
            rule.size,
            rule.normalize,
            batch_size=batch_size,
            seed=seed,
            threads=threads,
            interpolation=rule.interpolation,
            drop_last=row.drop_last,
            channels_last=rule.channels_last,
            rank=ranks.rank,
            world_size=ranks.world_size,
            on_error=on_error,
        )
        #: Class index of each column of the heads' scores, ascending.
        self.labels = _labels(images, threads, on_error)
        if len(self.labels) == 1:
            raise ValueError(f"train must have at least two classes, got only class {self.labels[0]}")
        #: `labels` with the class names, as `Features` of dimension 0.
        self.known = Features(np.empty((len(self.labels), 0), np.float32), self.labels, images.classes)

    def told(self) -> dict[str, Any]:
        """Return the settings to be stated in the result."""
        return {
            "epochs": self._epochs,
            "batch_size": self._crops.batch_size,
            "train": len(self._images),
        }

    def replaced(self) -> dict[str, str]:
        """Return the unreadable images of all ranks that were replaced by others: name to reason."""
        return {name: why for report in self._ranks.gather(self._crops.report) for name, why in report.items()}

    def learn(self, model: Model, settings: dict[str, Any], out: Any, is_told: bool) -> Heads:
        """Train for all epochs, or for the remaining epochs of the run in `out`; return the heads."""
        settings = plain({**settings, **self._settings()})
        check_same(self._ranks, "augmented_probe", settings)
        total = self._epochs * sum(map(self._crops.rows, range(len(self._crops))))
        with features_of(model) as encoded:
            noise = np.random.default_rng(0).standard_normal((2, *self._rule.shape), np.float32)
            sample = encoded(noise)
            heads = self._begun(sample.shape[1])
            kept = None if out is None else KeptHeads(out, settings, sample, self._ranks)
            first = 0 if kept is None else kept.resume(heads)
            progress = Progress(self._epochs, total, total * first // self._epochs, not is_told or self._ranks.rank > 0)
            if first:
                progress.note(f"{out}: resumes after epoch {first} of {self._epochs}")
            try:
                for epoch in range(first, self._epochs):
                    self._epoch(epoch, heads, encoded, progress)
                    if kept is not None:
                        kept.save(heads, epoch + 1)
            finally:
                progress.close()
        return heads

    def _settings(self) -> dict[str, Any]:
        """Return the settings that a run must share with the run that it resumes."""
        told = {"lr": self.rates, "epochs": self._epochs, "batch_size": self._crops.batch_size, "seed": self._seed}
        return {**told, "classes": self.labels, "data": self._images.identity()}

    def _begun(self, dim: int) -> Heads:
        """Return untrained heads."""
        row = self._row
        weights, bias = row.init(np.random.default_rng([self._seed, 1]), len(self.labels), dim)
        return Heads(weights, bias, len(self.rates), momentum=row.momentum, nesterov=row.nesterov)

    def _epoch(self, epoch: int, heads: Heads, encoded: Encode, progress: Progress) -> None:
        """Run the steps of an epoch, and report it if it takes long."""
        began, steps, losses = time.monotonic(), len(self._crops), np.zeros(len(self.rates))
        peaks = np.array([self._row.peak(rate, self._crops.batch_size) for rate in self.rates])
        self._crops.set_epoch(epoch)
        batches = iter(self._crops)
        for i in range(steps):
            features, places = self._gathered(batches, encoded, self._crops.rows(i))
            share = self._row.share(epoch * steps + i, steps, self._epochs)
            loss = heads.step(features, places, share * peaks)
            losses += loss
            progress.after_step(epoch, len(features), {"loss": _least(loss), "lr": share * peaks.max()})
        if not heads.are_finite.any():
            raise ValueError(
                f"all heads have diverged by epoch {epoch + 1} with lr={', '.join(map(str, self.rates))}; lower it"
            )
        if time.monotonic() - began > _PATIENCE:
            progress.after_epoch({"epoch": epoch + 1, "loss": _least(losses / steps)})

    def _gathered(self, batches: Iterator[Any], encoded: Encode, rows: int) -> tuple[Any, Any]:
        """Return the features of the next batch, and the position of each image's class in `labels`.

        Each rank computes a share of the features; all ranks return the whole batch.
        """
        part, error = None, None
        try:
            images, targets = next(batches)
            part = finite("features", encoded(images)), self._places(targets)
        except (OSError, ValueError) as raised:
            error = raised
        parts = self._ranks.gather(part)
        if any(one is None for one in parts):
            self._ranks.fail(error)
        features, places = (np.concatenate(one)[:rows] for one in zip(*parts, strict=True))
        return features, places

    def _places(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position of each class in `labels`, which is the column of its score."""
        places = np.searchsorted(self.labels, targets).clip(max=len(self.labels) - 1)
        if (wrong_ones := self.labels[places] != targets).any():
            raise ValueError(
                f"train has class {targets[wrong_ones][0]}, which is not one of its {len(self.labels)}; leave "
                "out images without a class"
            )
        return places


def _least(losses: NDArray[np.float64]) -> float:
    """Return the lowest loss of all heads, ignoring NaN."""
    return float(np.nanmin(losses, initial=np.inf))


def _labels(images: Images, threads: int, on_error: str) -> NDArray[np.int64]:
    """Return all classes that have names or, without class names, the classes found by reading all images once."""
    if images.classes is not None:
        return np.arange(len(images.classes))
    crops = Crops(images, 1, None, batch_size=256, threads=threads, rank=0, world_size=1, on_error=on_error)
    return np.unique(np.concatenate([targets for _, targets in crops]))


def _chosen(heads: Heads, labels: NDArray[np.int64], val: Features, metric: str) -> list[float | None]:
    """Return each head's metric on the validation images; None for a head that has diverged."""
    grades = 1 + int(max(labels.max(), val.targets.max())) if metric == "kappa" else None
    by = 1 if metric == "kappa" else 100
    return [
        by * metrics.value(metric, val.targets, labels[heads.ranked(i, val.features)], grades) if is_finite else None
        for i, is_finite in enumerate(heads.are_finite)
    ]


def _judged(
    heads: Heads, learner: _Learner, test: Features, val: Features | None, metric: str, told: dict[str, Any]
) -> Result:
    """Choose the head that is best on `val`, and return its result on `test`. Without `val`, there is only one head."""
    values = [] if val is None else _chosen(heads, learner.labels, val, metric)
    usable = [i for i, value in enumerate(values) if value is not None] or [0]
    which = max(usable, key=lambda i: (values[i] if values else 0, -learner.rates[i]))
    ranked = learner.labels[heads.ranked(which, test.features)]
    pairs = [[rate, value] for rate, value in zip(learner.rates, values, strict=False)]
    return {**result(metric, learner.known, test, ranked), **told, "lr": learner.rates[which], "val": pairs}


def _kept(made: Callable[[], Result], out: str | os.PathLike[str] | None) -> Result:
    """Compute and return the result; write it to `result.json` in the folder `out` as well, if given."""
    found = made()
    if out is not None:
        write_file(Path(out) / "result.json", (json.dumps(found, indent=1) + "\n").encode())
    return found

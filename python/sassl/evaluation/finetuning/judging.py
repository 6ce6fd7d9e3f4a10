"""`finetune`: choose a cell of a recipe's grid on val, train on train and val, evaluate on test."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from ...arguments import choice, number, whole
from ...data import Images, as_images
from ...data.ranks import by_first
from ...progress import Shown
from ...transforms.operations import size as sides_of
from .. import metrics
from ..crops import Crops
from ..encoders import rule_of
from ..features import Features, read
from ..preprocessing import Preprocessing
from ..probes import Result, grades_of, joined_classes, judged, percent, result
from .keeping import LAST, Kept
from .labelled import Labelled
from .learning import DivergedError, Plan, learn
from .native import Native
from .recipes import DEFAULT, Cell, Recipe, recipe_of
from .tuner import Tuner, checksum


def finetune(
    model: Any,
    train: Any,
    test: Any,
    *,
    val: Any = None,
    recipe: str | Recipe = DEFAULT,
    lr: float | None = None,
    weight_decay: float | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    metric: str = "top1",
    preprocessing: Preprocessing | None = None,
    engine: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    seed: int = 0,
    threads: int | None = None,
    on_error: str = "raise",
    out: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 500,
    progress: Shown = False,
) -> Result:
    """Return the accuracy of a backbone fine-tuned with a linear classifier, in per cent.

    A cell of the recipe's grid is a combination of learning rate, weight decay and length. If there are several cells, the
    network is trained on train for each, and the cell with the best metric on val is chosen. With the chosen cell, the network
    is trained again on train and val, and evaluated once on test. Ties go to the first cell: in the published recipes, to the
    lowest learning rate, then the weakest decay, then the shortest length.

    If the grid has a single cell, the network is trained only once, on train and val. This is usually the case if
    both `lr` and `weight_decay` are given.

    The optimizer is SGD with momentum 0.9. Weight decay applies to all trainable parameters, including norms and biases.
    Training images are random resized crops, flipped with probability 1/2.

    Args:
        model: one of sassl's, one from `sassl.open_model`, or a torch module from images (N, 3, H, W) to features (N, dim). The
            model is not modified.
        train: labelled images to train on, in any form that a `TwoViewLoader` takes.
        test: labelled images to classify, see `extract`.
        val: labelled validation images; None: a fifth of train, drawn with `seed`, if the grid has several cells.
        recipe: one of `finetuning.RECIPES`, or a `Recipe` of your own.
        lr, weight_decay: a value that replaces all values of the grid, on the recipe's scale. If `Recipe.scales_lr`, the
            learning rate is for a batch of 256, and is scaled with the batch size. If `Recipe.divides_decay`, SGD's weight
            decay is the given decay divided by the peak learning rate.
        steps, epochs: the length of training, in steps or in epochs, in place of the recipe's; give at most one of the two.
        batch_size: images in a batch over all ranks, in place of the recipe's number; all training images, if there are fewer.
        metric: one of `metrics.NAMES`. This metric chooses the cell, and is reported along with top-1 and top-5.
        preprocessing: how to preprocess validation and test images. Training crops use its size, interpolation and
            normalization. None: the model's own preprocessing; for square inputs, with the recipe's resizing and bicubic
            interpolation. Required for a model without its own preprocessing.
        engine: "native", in Rust on CPUs, for sassl's own backbones; "torch"; None: "torch" if torch has a GPU or the native
            engine does not support the model, otherwise "native".
        device, precision: for the engine "torch": "cuda" or "cpu", and "bf16" or "float32"; None: a GPU with "bf16" if there is
            one, otherwise the CPU with "float32".
        seed: seed of the classifier's initial weights, the crops, the order of images, and the draw of held-out images.
        threads: number of threads for crops and, on a CPU, for steps; None: the environment variable SASSL_THREADS, else all
            cores.
        on_error: "raise": an unreadable image is an error; "report": unreadable images of train are replaced by others, and
            unreadable images of val and test are left out. The result lists the unreadable images of the final run as
            "left_out".
        out: a folder in which the network and the results of finished cells are stored. A run with the same settings resumes
            from this folder. On a CPU, the result of a resumed run is bit-identical to that of an uninterrupted run.
        checkpoint_every: steps between checkpoints; there is also a checkpoint after the last step.
        progress: True: show progress on stderr; or a function that is called with a description, the amount done, and the
            total.

    Returns:
        A dict:

        - "top1", "top5", the metric, "metric", "interval", "n", "classes": as in `knn`.
        - "recipe", "engine": the names of the recipe and of the engine.
        - "lr", "weight_decay", "steps": the chosen cell.
        - "batch_size", "peak_lr", "sgd_weight_decay": the settings of SGD.
        - "norm_momentum": the momentum of batch norms; None: as the network defines it.
        - "frozen": whether the backbone stayed frozen.
        - "images": the number of training images.
        - "grid": for each cell a list [lr, weight_decay, length, metric on val], where the metric is None if the cell diverged;
          empty for a single cell.
        - "left_out": images that could not be read, name to reason.

    Raises:
        OSError, TypeError: as raised by `extract`.
        ValueError: as raised by `extract`; a setting out of range; all cells of the grid diverge; `out` contains a run with
            other settings or another model.
        DivergedError: the loss of the final run is not finite; this is a ValueError as well.
        ImportError: the engine "torch" without torch.
    """
    choice("metric", metric, metrics.NAMES)
    choice("on_error", on_error, ("raise", "report"))
    row = _changed(recipe_of(recipe), steps, epochs, batch_size)
    rule, learnt, asked = _rule(model, row, preprocessing), Labelled(train, val), as_images(test)
    one_lr = None if lr is None else _value("lr", lr)
    one_decay = None if weight_decay is None else _value("weight_decay", weight_decay)
    cells = list(row.grid(one_lr, one_decay))
    # An opened model is its backbone with a preprocessing rule.
    model = getattr(model, "encoder", model)
    tuner = _tuner(model, engine, len(learnt.labels), rule, device, precision, threads, whole("seed", seed))
    about = {"recipe": repr(row), "rule": repr(rule), "metric": metric, "seed": seed, "images": learnt.identity()}
    about |= {"cells": cells, "checksum": checksum(tuner.state())} if out is not None else {}
    run = _Run(
        tuner=tuner,
        learnt=learnt,
        recipe=row,
        rule=rule,
        metric=metric,
        kept=Kept(out, about, tuner.ranks),
        seed=seed,
        threads=threads,
        on_error=on_error,
        checkpoint_every=whole("checkpoint_every", checkpoint_every, 1),
        progress=progress,
    )
    chosen = cells[0] if len(cells) == 1 else run.best(cells)
    return run.result(chosen, asked, cells)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The training runs of a grid, one after another on the same tuner; most fields are arguments of `finetune`."""

    tuner: Tuner
    learnt: Labelled
    recipe: Recipe
    rule: Preprocessing
    metric: str
    kept: Kept
    seed: int
    threads: int | None
    on_error: str
    checkpoint_every: int
    progress: Shown

    def best(self, cells: list[Cell]) -> Cell:
        """Train every cell; return the cell with the best metric on the validation images. Ties go to the first cell.

        Raises:
            ValueError: all cells diverge.
        """
        rows, chooses = self.learnt.split(self.seed)
        for place, cell in enumerate(cells):
            if cell not in self.kept.values:
                stage = str(place)
                try:
                    self.learn(cell, rows, stage)
                    found = self._read(self.learnt.part(chooses))
                    self.kept.values[cell] = by_first(self.tuner.ranks, partial(self._value, found))
                except DivergedError:
                    self.kept.values[cell] = None
                self.kept.save(self.tuner, f"{stage}, finished", 0)
        values = {cell: value for cell in cells if (value := self.kept.values[cell]) is not None}
        if not values:
            raise ValueError(
                f"all {len(cells)} cells of the grid of recipe {self.recipe.name!r} diverge; give lower learning rates"
            )
        return max(values, key=lambda cell: values[cell])

    def learn(self, cell: Cell, rows: Any, stage: str) -> dict[str, str]:
        """Fine-tune on the images `rows`; return the unreadable images that were replaced by others: name to reason."""
        plan, ranks = Plan(self.recipe, cell, len(rows)), self.tuner.ranks
        self.tuner.begin(plan.settings)
        crops = Crops(
            self.learnt.part(rows),
            self.rule.size,
            self.rule.normalize,
            batch_size=plan.batch,
            seed=self.seed,
            threads=self.threads,
            interpolation=self.rule.interpolation,
            drop_last=True,
            rank=ranks.rank,
            world_size=ranks.world_size,
            on_error=self.on_error,
        )
        learn(
            self.tuner,
            crops,
            plan,
            kept=self.kept,
            stage=stage,
            checkpoint_every=self.checkpoint_every,
            progress=self.progress,
        )
        return crops.report

    def _read(self, images: Images) -> Features:
        """Return the scores of images as `Features`, with the images' classes. Scores are on rank 0 only."""
        how: dict[str, Any] = {"preprocessing": self.rule, "ranks": self.tuner.ranks, "progress": self.progress}
        return read(self.tuner.scores, images, on_error=self.on_error, **how)

    def _value(self, found: Features) -> float:
        """Return the metric on the validation images.

        `found` has the scores of these images as features; its targets are indices into `Labelled.labels`.
        """
        labels = self.learnt.labels
        rows = Features(found.features, labels[found.targets])
        truth, answers = judged(self.metric, labels, found.features, rows)
        grades = grades_of(self.metric, self.learnt.rows)
        return percent(self.metric) * metrics.value(self.metric, truth, answers, grades)

    def result(self, cell: Cell, asked: Images, cells: list[Cell]) -> Result:
        """Train on all training images, and evaluate on the test images."""
        plan = Plan(self.recipe, cell, len(self.learnt.targets))
        replaced = self.learn(cell, self.learnt.all, LAST)
        found = self._read(asked)
        grid = [[*one, self.kept.values[one]] for one in cells] if len(cells) > 1 else []
        return {
            **by_first(self.tuner.ranks, partial(self._judged, found)),
            "recipe": self.recipe.name,
            "engine": self.tuner.name,
            "lr": cell.lr,
            "weight_decay": cell.weight_decay,
            "steps": plan.steps,
            "batch_size": plan.batch,
            "peak_lr": plan.peak_lr,
            "sgd_weight_decay": plan.settings.weight_decay,
            "norm_momentum": plan.settings.norm_momentum,
            "frozen": self.recipe.frozen,
            "images": plan.images,
            "grid": grid,
            "left_out": {**replaced, **found.left_out},
        }

    def _judged(self, found: Features) -> Result:
        """Return the result computed from the scores of the test images."""
        labels = self.learnt.labels
        known, rows = joined_classes(self.learnt.rows, found)
        ranked = labels[metrics.ranked(found.features)]
        return result(self.metric, known, rows, ranked, judged(self.metric, labels, found.features, rows))


def _changed(row: Recipe, steps: int | None, epochs: int | None, batch_size: int | None) -> Recipe:
    """Return the recipe with the length and the batch size that were given, if any."""
    if steps is not None and epochs is not None:
        raise ValueError(f"steps={steps} and epochs={epochs} exclude each other; give one of them")
    for unit, length in (("steps", steps), ("epochs", epochs)):
        if length is not None:
            row = replace(row, unit=unit, lengths=(whole(unit, length, 1),))
    return row if batch_size is None else replace(row, batch_size=whole("batch_size", batch_size, 1))


def _value(name: str, given: float) -> float:
    """Return a learning rate or a weight decay, after checking that it is in range."""
    value, least = number(name, given), "> 0" if name == "lr" else ">= 0"
    if not 0 <= value < np.inf or (name == "lr" and value == 0):
        raise ValueError(f"{name} must be a finite number {least}, got {given!r}")
    return value


def _rule(model: Any, row: Recipe, given: Preprocessing | None) -> Preprocessing:
    """Return the preprocessing of test images."""
    rule = rule_of(model, given)
    if given is not None or not isinstance(rule.size, int):
        return rule
    resize = rule.size if row.resize == "whole" else round(rule.size * 256 / 224)
    return replace(rule, resize=resize, interpolation="bicubic")


def _tuner(
    model: Any,
    engine: str | None,
    classes: int,
    rule: Preprocessing,
    device: str | None,
    precision: str | None,
    threads: int | None,
    seed: int,
) -> Tuner:
    """Return the requested engine, or the engine that suits the model and the machine."""
    if choice("engine", engine, ("native", "torch", None)) is None:
        engine = "torch" if getattr(model, "native_backbone", None) is None or _has_gpu() else "native"
    if engine == "native":
        for name, value in (("device", device), ("precision", precision)):
            if value is not None:
                raise ValueError(f'{name}={value!r} requires engine="torch"')
        return Native(model, classes, threads=threads, seed=seed)
    if find_spec("torch") is None:
        raise ImportError('engine="torch" needs torch: install it, or the extra sassl[torch]')
    from .torch import Torch

    return Torch(model, classes, sides_of(rule.size), threads=threads, device=device, precision=precision, seed=seed)


def _has_gpu() -> bool:
    """Return whether torch is installed and has a GPU."""
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()

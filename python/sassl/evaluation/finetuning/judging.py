"""`finetune`: the cell of a recipe's grid that is best on val, learnt again from train and val, and asked once about test."""

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
    """Accuracy of a backbone that is fine-tuned with a linear classifier, in per cent.

    Every cell of the recipe's grid learns from train. The cell that is best on val by the metric, of equals the first (the
    lowest learning rate, then the weakest decay), learns again from train and val, and is asked once about test. A grid of one
    cell, as where `lr` and `weight_decay` are given, learns from train and val at once. Learning is SGD with momentum 0.9 on
    all parameters, its weight decay on all of them, norms and biases too; images are random resized crops, half of them
    flipped.

    Args:
        model: one of sassl's, which stays as it is; or a torch module from images (N, 3, H, W) to features (N, dim).
        train: labelled images that are learnt from, whatever a `TwoViewLoader` takes.
        test: labelled images whose classes are predicted, as of `extract`.
        val: labelled images that choose; None: a fifth of train, drawn with `seed`, where there is something to choose.
        recipe: one of `finetuning.RECIPES`, or a row of your own.
        lr, weight_decay: in the place of the grid's, on the recipe's scale: `Recipe.scales_lr` tells whether the rate is that
            of 256 images, and `Recipe.divides_decay` whether the decay is divided by the rate.
        steps, epochs: another length, whatever unit the recipe has; at most one of them.
        batch_size: another than the recipe's: images of a step on all ranks together, and no more than there are.
        metric: of the set, one of `metrics.NAMES`.
        preprocessing: how test images are made; crops have its size, interpolation and normalizing. None: bicubic, in the size
            of the model's views, resized as the recipe says; it has to be given for models of others.
        engine: "native", in Rust on CPUs, for sassl's own backbones; "torch"; None: torch where it has a GPU or the model is
            none of sassl's, else native.
        device, precision: of torch: "cuda" or "cpu", "bf16" or "float32"; None: the GPU where there is one, "bf16" there.
        seed: of the classifier's first weights, the crops, their order, and the images held out.
        threads: of crops and, on a CPU, of steps; None: all cores.
        on_error: "raise", or "report": in the place of an image of train that cannot be read another one is taken, and those of
            val and test are left out; "left_out" has all of them.
        out: a folder in which networks and finished cells are kept. A run of the same settings resumes there; on a CPU it ends
            bit-identical to one that was never stopped.
        checkpoint_every: steps after which they are kept, and after the last one.
        progress: True shows on stderr how far it is; or a function of what is done, how much of it, and how much there is.

    Returns:
        "top1" and "top5"; the metric, its name as "metric", and its "interval"; "n", "classes"; "recipe", "engine"; the cell:
        "lr", "weight_decay", "steps"; what SGD took: "batch_size", "peak_lr", "sgd_weight_decay", "norm_momentum" (None: as the
        networks have it), "frozen"; "images", how many were learnt from; "grid", of each cell [lr, weight_decay, length, value
        of the metric on val, None where it diverged], empty for one cell; "left_out", name to reason.

    Raises:
        OSError, TypeError: as of `extract`.
        ValueError: as of `extract`; a setting that cannot be; a grid whose cells all diverge; `out` holds another run.
        DivergedError: the last run's loss is not finite; a ValueError too.
    """
    choice("metric", metric, metrics.NAMES)
    choice("on_error", on_error, ("raise", "report"))
    row = _changed(recipe_of(recipe), steps, epochs, batch_size)
    rule, learnt, asked = _rule(model, row, preprocessing), Labelled(train, val), as_images(test)
    one_lr = None if lr is None else _value("lr", lr)
    one_decay = None if weight_decay is None else _value("weight_decay", weight_decay)
    cells = list(row.grid(one_lr, one_decay))
    # A model that is open is its backbone, with a rule.
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
    """The runs of a grid, one after another on the same tuner; the fields are arguments of `finetune`."""

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
        """The cell that is best on the images that choose, of equals the first.

        Raises:
            ValueError: all of them diverge.
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
                f"recipe = {self.recipe.name!r}: all {len(cells)} cells of its grid diverge; give lower rates"
            )
        return max(values, key=lambda cell: values[cell])

    def learn(self, cell: Cell, rows: Any, stage: str) -> dict[str, str]:
        """Fine-tunes on these images; returns those that could not be read and others took the place of, with the reason."""
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
        """Scores of images in the place of features, on rank 0; their classes are as of the images."""
        how: dict[str, Any] = {"preprocessing": self.rule, "ranks": self.tuner.ranks, "progress": self.progress}
        return read(self.tuner.scores, images, on_error=self.on_error, **how)

    def _value(self, found: Features) -> float:
        """The metric on the images that choose, whose classes are places among the labels."""
        labels = self.learnt.labels
        rows = Features(found.features, labels[found.targets])
        truth, answers = judged(self.metric, labels, found.features, rows)
        grades = grades_of(self.metric, self.learnt.rows)
        return percent(self.metric) * metrics.value(self.metric, truth, answers, grades)

    def result(self, cell: Cell, asked: Images, cells: list[Cell]) -> Result:
        """Learns from all images, and judges by those of the test."""
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
        """What comes of the test's scores."""
        labels = self.learnt.labels
        known, rows = joined_classes(self.learnt.rows, found)
        ranked = labels[metrics.ranked(found.features)]
        return result(self.metric, known, rows, ranked, judged(self.metric, labels, found.features, rows))


def _changed(row: Recipe, steps: int | None, epochs: int | None, batch_size: int | None) -> Recipe:
    """The recipe of another length, or with other batches."""
    if steps is not None and epochs is not None:
        raise ValueError(f"steps = {steps}, epochs = {epochs}: give one of them")
    for unit, length in (("steps", steps), ("epochs", epochs)):
        if length is not None:
            row = replace(row, unit=unit, lengths=(whole(unit, length, 1),))
    return row if batch_size is None else replace(row, batch_size=whole("batch_size", batch_size, 1))


def _value(name: str, given: float) -> float:
    """A learning rate or a decay."""
    value, least = number(name, given), "above 0" if name == "lr" else "from 0 up"
    if not 0 <= value < np.inf or (name == "lr" and value == 0):
        raise ValueError(f"{name} = {given!r}: expected a value {least}")
    return value


def _rule(model: Any, row: Recipe, given: Preprocessing | None) -> Preprocessing:
    """How test images are made."""
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
    """The engine that is asked for, or that suits the model and the machine."""
    if choice("engine", engine, ("native", "torch", None)) is None:
        engine = "torch" if getattr(model, "native_backbone", None) is None or _has_gpu() else "native"
    if engine == "native":
        for name, value in (("device", device), ("precision", precision)):
            if value is not None:
                raise ValueError(f'{name} = {value!r}: is of engine="torch"')
        return Native(model, classes, threads=threads, seed=seed)
    if find_spec("torch") is None:
        raise ImportError('engine="torch" needs torch: pip install "sassl[torch]"')
    from .torch import Torch

    return Torch(model, classes, sides_of(rule.size), threads=threads, device=device, precision=precision, seed=seed)


def _has_gpu() -> bool:
    """Whether torch is installed and has a GPU."""
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()

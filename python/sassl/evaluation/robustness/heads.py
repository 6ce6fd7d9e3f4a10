"""Judges, which predict the classes of images: a network with its own head, or a backbone with a fitted head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...arguments import choice, number, whole, wrong
from ...data import Images
from ...data.ranks import ALONE, Ranks, by_first
from ...progress import Shown
from .. import logistic, metrics
from ..cache import Cache
from ..encoders import Model, rule_of
from ..features import Features, read
from ..imagenet import WNIDS
from ..preprocessing import Preprocessing
from .categories import by_category, category_means, columns, softmax

if TYPE_CHECKING:
    from typing_extensions import Self


class Answers(NamedTuple):
    """Predicted classes ("answers") for each image that could be read."""

    #: (n, up to 5) answers, best first: indices into `classes`, or class labels if `classes` is None.
    ranked: NDArray[np.int64]
    #: (n,) correct answers.
    targets: NDArray[np.int64]
    classes: list[str] | None
    #: Names of the images.
    names: list[str]
    #: Images that could not be read: name to reason.
    left_out: Mapping[str, str]
    #: Number of possible answers.
    ways: int

    @property
    def given(self) -> NDArray[np.int64]:
        """The best answer for each image, (n,)."""
        return self.ranked[:, 0]


class Judge:
    """A predictor of classes: a `Classifier` or a `Probe`.

    Args:
        model, preprocessing, batch_size: see `sassl.evaluation.extract`.
        classes: names of the predicted classes ("answers"), by index; None: answers are class labels.
        on_error: "raise", or "report": leave out images that cannot be read; results list and count them.
        cache, ranks, progress: see `sassl.evaluation.extract`.

    Raises:
        TypeError, ValueError: as raised by `extract`.
    """

    def __init__(
        self,
        model: Model,
        classes: Sequence[str] | None,
        preprocessing: Preprocessing | None,
        batch_size: int,
        on_error: str,
        cache: Cache | None = None,
        ranks: Ranks = ALONE,
        progress: Shown = False,
    ) -> None:
        self.model, self.preprocessing = model, rule_of(model, preprocessing)
        self.classes = None if classes is None else list(classes)
        self.batch_size = whole("batch_size", batch_size, 1)
        self.on_error = choice("on_error", on_error, ("raise", "report"))
        self.cache, self.ranks, self.progress = cache, ranks, progress

    def answers(
        self, sets: Sequence[Images], among: Sequence[str] | None = None, *, uncropped: bool = False
    ) -> list[Answers]:
        """Return the answers on each set; ties go to the first class.

        Args:
            sets: images with class names that the judge knows, or with the judge's labels.
            among: the possible answers; None: all classes.
            uncropped: True: resize an image's largest centre square to the network's input size, without cropping further. An
                image of the input size is not changed.

        Raises:
            OSError, ValueError: an image that cannot be read; an unknown class.
        """
        allowed = self._allowed(among)
        return [self._answered(images, allowed, uncropped) for images in sets]

    def of_categories(self) -> Self:
        """Return a copy with Geirhos' categories as its answers.

        Raises:
            ValueError: none of the judge's classes belongs to a category.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return the entries of a result that describe the judge's head."""
        raise NotImplementedError

    def _scores(self, outputs: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the scores computed from the model's outputs, and the class index of each column."""
        raise NotImplementedError

    def _answered(self, images: Images, allowed: list[int] | None, uncropped: bool) -> Answers:
        if self.classes is None and images.classes is not None:
            raise ValueError(
                f"classes are required: {images!r} has class names, but the head knows only indices; give it names, in "
                "their order"
            )
        rule = replace(self.preprocessing, resize=None) if uncropped else self.preprocessing
        shared: dict[str, Any] = {"cache": self.cache, "ranks": self.ranks, "progress": self.progress}
        found = read(self.model, images, self.batch_size, self.classes, self.on_error, rule, **shared)
        names = [name for name in map(images.name, range(len(images))) if name not in found.left_out]
        ranked, ways = by_first(self.ranks, lambda: self._ranked(found.features, allowed))
        return Answers(ranked, found.targets, self.classes, names, found.left_out, ways)

    def _ranked(self, outputs: NDArray[np.float32], allowed: list[int] | None) -> tuple[NDArray[np.int64], int]:
        """Return the answers for the model's outputs, best first, and the number of possible answers."""
        scores, labels = self._scores(outputs)
        if allowed is not None:
            kept = np.isin(labels, allowed)
            scores, labels = scores[:, kept], labels[kept]
        return labels[metrics.ranked(scores)], scores.shape[1]

    def _allowed(self, among: Sequence[str] | None) -> list[int] | None:
        """Return the indices of the classes `among` that the judge knows; None: all classes."""
        if among is None:
            return None
        numbers = [at for at, name in enumerate(self.classes or ()) if name in among]
        if not numbers:
            raise wrong("among", list(among), "names of classes that the head knows")
        return numbers


class Classifier(Judge):
    """A network that returns a score (logit) for each class.

    Args:
        model, preprocessing, batch_size: see `sassl.evaluation.extract`; the model returns scores (N, K).
        classes: names of the K classes: by default ImageNet's folders, n01440764 and so on. None: answers are indices from 0.
        on_error: "raise", or "report": leave out images that cannot be read; results list and count them.
        cache, ranks, progress: see `sassl.evaluation.extract`.
    """

    def __init__(
        self,
        model: Model,
        classes: Sequence[str] | None = WNIDS,
        *,
        preprocessing: Preprocessing | None = None,
        batch_size: int = 256,
        on_error: str = "raise",
        cache: Cache | None = None,
        ranks: Ranks = ALONE,
        progress: Shown = False,
    ) -> None:
        super().__init__(model, classes, preprocessing, batch_size, on_error, cache, ranks, progress)
        self._columns = self.classes

    def of_categories(self) -> Self:
        """Return a copy that answers with the category of the largest mean probability; see `decisions`."""
        if self._columns is None:
            raise wrong("classes", None, "names, of ImageNet's folders or of categories")
        judge = copy(self)
        judge.classes = list(columns(self._columns))
        return judge

    def describe(self) -> dict[str, Any]:
        """Return the entries of a result that describe the judge's head."""
        return {"head": "the network's own"}

    def _scores(self, outputs: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        if self._columns is not None and outputs.shape[1] != len(self._columns):
            raise ValueError(
                f"model must return a score for each of {len(self._columns)} classes, got {outputs.shape[1]}; give names, or "
                "fit a head on a backbone's features by Probe"
            )
        if not np.isfinite(outputs).all():
            raise ValueError("model must return finite scores, got NaN or infinity")
        if self.classes is not self._columns:
            outputs = category_means(softmax(outputs), self._columns or [])[0]
        return outputs, np.arange(outputs.shape[1])


class Probe(Judge):
    """A backbone with a head, which is fitted once on the backbone's features by logistic regression.

    Args:
        model, preprocessing, batch_size: see `sassl.evaluation.extract`.
        train: features from `extract` to fit the head on; answers are the classes of these features.
        c: inverse of the penalty, see `sassl.evaluation.logistic_probe`.
        on_error: "raise", or "report": leave out images that cannot be read; results list and count them.
        cache, ranks, progress: see `sassl.evaluation.extract`.
    """

    def __init__(
        self,
        model: Model,
        train: Features,
        *,
        c: float = 1.0,
        preprocessing: Preprocessing | None = None,
        batch_size: int = 256,
        on_error: str = "raise",
        cache: Cache | None = None,
        ranks: Ranks = ALONE,
        progress: Shown = False,
    ) -> None:
        super().__init__(model, train.classes, preprocessing, batch_size, on_error, cache, ranks, progress)
        self.train, self.c = train, number("c", c)
        self._head: logistic.Logistic | None = None

    def of_categories(self) -> Self:
        """Return a copy whose head is fitted on the training images that belong to a category, with categories as classes."""
        judge = copy(self)
        judge.train, judge._head = by_category(self.train), None
        judge.classes = judge.train.classes
        return judge

    def describe(self) -> dict[str, Any]:
        """Return the entries of a result that describe the judge's head; "reached": whether the fit reached its optimum."""
        reached = None if self._head is None else self._head.reached
        return {"head": "logistic regression", "c": self.c, "train_n": len(self.train.targets), "reached": reached}

    def _allowed(self, among: Sequence[str] | None) -> list[int] | None:
        numbers = super()._allowed(among)
        if numbers is not None and not np.isin(self.train.targets, numbers).any():
            raise ValueError(
                f"train must have images of the classes that may be answered, such as {(self.classes or [])[numbers[0]]}"
            )
        return numbers

    def _scores(self, outputs: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        if self._head is None:
            self._head = logistic.fit(self.train.features, self.train.targets, self.c)
        return self._head.scores(outputs), self._head.labels

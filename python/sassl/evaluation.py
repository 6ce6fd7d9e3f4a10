"""How good a backbone's features are: nearest neighbours and linear probes, on features that are computed once.

from sassl import evaluation

train, test = (evaluation.extract(model, folder) for folder in ("photos/train", "photos/val"))
print(evaluation.knn(train, test))  # {"top1": ..., "top5": ...}, in per cent
print(evaluation.linear_probe(train, test), evaluation.logistic_probe(train, test))

A class of `test` is that of `train` which has its name, or its number where one of the two has no names. Images of classes that
`train` has no image of count as wrong, and a warning tells how many they are.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import _sassl
from .arguments import choice, whole, wrong
from .data import Images, as_images
from .data.classes import numbered
from .transforms import functional as F
from .transforms.two_views import UNKNOWN, TwoViewTransform

if TYPE_CHECKING:
    from typing_extensions import Self

#: What is left of the shorter side, as of 224 pixels in 256.
_CENTRE = 224 / 256


class Encoder(Protocol):
    """A protocol for backbones that give features, such as the objects of `sassl.pretraining`."""

    #: How the views were made that it has learnt from; images are made of their size.
    transform: TwoViewTransform

    @property
    def normalize(self) -> Any:
        """How its images are normalized: a dict of "mean" and "std"; None: not at all; "not known"."""

    @property
    def threads(self) -> int:
        """How many images are made at a time."""

    def encode(self, images: Any, batch_size: int = 256) -> NDArray[np.float32]:
        """Features (N, dim) of images (N, H, W, 3) or (N, 3, H, W) of floats."""


class _Rows(NamedTuple):
    features: NDArray[np.float32]
    targets: NDArray[np.int64]


class Features(_Rows):
    """Features (N, dim) float32 and their classes (N,) int64, which it unpacks as; and, where they are known, names.

    Classes are labels: any numbers from 0 up, as 1440764 of ImageNet's n01440764. An image without a class (-1) is an error:
    leave it out first.

    Args:
        features, targets: the two arrays.
        classes: names of the classes, in the order of their numbers. Where two sets have names, these decide which classes
            are the same, and else the numbers.
        left_out: images that could not be read and are not here: name to reason.
    """

    classes: list[str] | None = None
    left_out: Mapping[str, str] = MappingProxyType({})

    def __new__(
        cls,
        features: Any,
        targets: Any,
        classes: Sequence[str] | None = None,
        left_out: Mapping[str, str] | None = None,
    ) -> Self:
        self = super().__new__(cls, features, targets)
        self.classes = None if classes is None else list(classes)
        self.left_out = dict(left_out or {})
        return self

    def _replace(self, **fields: Any) -> Self:
        """The same with other features or targets, and the same names."""
        known = {"classes": self.classes, "left_out": self.left_out}
        return type(self)(**{**self._asdict(), **known, **fields})


def extract(
    model: Encoder,
    data: Any,
    *,
    batch_size: int = 256,
    classes: Sequence[str] | None = None,
    on_error: str = "raise",
    normalize: Any = UNKNOWN,
) -> Features:
    """Features of all images, each the middle square, resized as the views are and normalized alike.

    Args:
        model: whose backbone, as of `sassl.SimCLR`; any `Encoder`.
        data: whatever a `TwoViewLoader` takes as its source. Names of its classes are those of its folders, of a torch or
            torchvision dataset's `classes`, or of a Hugging Face dataset's `ClassLabel`.
        batch_size: images at a time.
        classes: names in the order of their numbers, as `ImageFolder.classes` of the training images, by which those of `data`
            are numbered; None: as `data` numbers them. `knn` and the probes go by names in either case.
        on_error: "raise", or "report": leave out what cannot be read, and a warning counts it; `Features.left_out` has it.
        normalize: a dict of "mean" and "std", or None, of a model that learnt from batches whose normalizing is "not known".

    Raises:
        OSError, ValueError: no image, one that cannot be read, one of a class that is not among those; names for classes that
            have none.
    """
    found = read(
        model, as_images(data), batch_size, classes, choice("on_error", on_error, ("raise", "report")), normalize
    )
    if found.left_out:
        warnings.warn(left_out(found), stacklevel=2)
    return found


def left_out(found: Features) -> str:
    """What there is to tell of images that could not be read."""
    name, why = next(iter(found.left_out.items()))
    first = why if name in why else f"{name}: {why}"
    n = len(found.left_out)
    return f"{n} of {n + len(found.targets)} images could not be read and are left out; {first}"


def read(
    model: Encoder,
    images: Images,
    batch_size: int = 256,
    classes: Sequence[str] | None = None,
    on_error: str = "raise",
    normalize: Any = UNKNOWN,
) -> Features:
    """As `extract`, without a warning."""
    numbers, names = numbered(images, classes), images.classes
    if not len(images):
        raise ValueError("data: there is no image")
    batch_size, view = whole("batch_size", batch_size, 1), _view(model, normalize)

    def made(i: int) -> tuple[NDArray[np.float32], int] | Exception:
        try:
            image, target = images[i]
            return view(image), target
        except (ValueError, OSError) as error:
            # A system without descriptors or memory is no fault of the image.
            if on_error == "raise" or getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            return error

    features: list[NDArray[np.float32]] = []
    targets: list[int] = []
    lost: dict[str, str] = {}
    with ThreadPoolExecutor(model.threads) as threads:
        for first in range(0, len(images), batch_size):
            rows = range(first, min(first + batch_size, len(images)))
            batch: list[NDArray[np.float32]] = []
            for i, one in zip(rows, threads.map(made, rows), strict=True):
                if isinstance(one, Exception):
                    lost[images.name(i)] = str(one)
                else:
                    batch.append(one[0])
                    targets.append(one[1])
            if batch:
                features.append(model.encode(np.stack(batch), batch_size))
    if not features:
        raise ValueError(f"data: none of {len(images)} images could be read; {next(iter(lost.values()))}")
    found = np.asarray(targets, np.int64)
    if names is not None and found.max() >= len(names):
        raise ValueError(f"class {found.max()}: the data has names of {len(names)} classes, {', '.join(names[:10])}")
    if numbers is not None:
        found = np.where(found < 0, found, numbers[found])
    return Features(np.concatenate(features), found, names if classes is None else classes, lost)


def _view(model: Encoder, normalize: Any) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The transform that gives the backbone images like those it has learnt from."""
    if model.normalize != UNKNOWN:
        if normalize not in (UNKNOWN, model.normalize):
            raise wrong("normalize", normalize, f"{model.normalize}, as the model's views were, or nothing")
        normalize = model.normalize
    elif normalize == UNKNOWN:
        raise ValueError(
            f"normalize = {UNKNOWN!r}: the model learnt from batches of others; give a dict of mean and std, or None"
        )
    size, interpolation = model.transform._core.size, model.transform._settings["interpolation"]
    normalize = normalize or {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    mean, std = normalize["mean"], normalize["std"]
    # Small images, such as CIFAR's, are not cropped.
    part = _CENTRE if min(size) > 64 else 1.0

    def view(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        side = max(1, round(min(image.shape[:2]) * part))
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        return F.normalize(F.resized_crop(image, top, left, side, side, size, interpolation), mean, std)

    return view


def knn(train: Features, test: Features, *, k: int = 200, temperature: float = 0.1) -> dict[str, float]:
    """Accuracy by weighted nearest neighbours (Wu et al. 2018, section 3.4; MoCo's CIFAR notebook), in per cent.

    Args:
        train: the neighbours.
        test: the images whose classes are predicted.
        k: neighbours; all, where they are fewer.
        temperature: of their weights.

    Returns:
        "top1" and "top5", of the classes that a neighbour is of: there may be fewer than five.

    Raises:
        ValueError: features that do not fit or are not finite, images without a class, one class only.
    """
    train, test = _joined(train, test)
    k = min(whole("k", k, 1), max(1, len(train.targets)))
    ranked = _sassl.knn(train.features, train.targets, test.features, k=k, temperature=temperature, top=5)
    return _accuracy(ranked, test.targets)


def linear_probe(train: Features, test: Features, **settings: Any) -> dict[str, float]:
    """Accuracy of softmax regression by SGD on frozen features, in per cent: SimCLR's recipe (appendix B.6), not augmented.

    Args:
        train: what is learnt from.
        test: the images whose classes are predicted.
        settings: lr, epochs, batch_size, momentum, nesterov, seed. MoCo's recipe: lr=30, epochs=100, nesterov=False.

    Raises:
        ValueError: features that do not fit or are not finite, images without a class, one class only, a setting that cannot
            be or with which the weights grow beyond all bounds.
    """
    train, test = _joined(train, test)
    for name in ("epochs", "batch_size"):
        if name in settings:
            whole(name, settings[name], 1)
    ranked = _sassl.linear_probe(train.features, train.targets, test.features, top=5, **settings)
    return _accuracy(ranked, test.targets)


#: Kornblith et al. 2019: 45 values whose logarithms are equally far apart.
GRID = tuple(float(c) for c in np.logspace(-6, 5, 45))


def logistic_probe(
    train: Features,
    test: Features,
    *,
    c: float | Sequence[float] = GRID,
    val: Features | None = None,
    seed: int = 0,
    max_iter: int = 1000,
) -> dict[str, float]:
    """Accuracy of logistic regression on frozen features by L-BFGS, in per cent: the protocol for transfer.

    Kornblith et al. 2019, as SimCLR (appendix B.8.1) and BYOL (appendix D.2) follow it: of 45 strengths of the penalty the one
    that is best on held-out images is taken, and the probe is learnt again from all images but the test's.

    Args:
        train: what is learnt from.
        test: the images whose classes are predicted.
        c: the inverse of the penalty, as scikit-learn's C; one number needs no held-out images.
        val: what chooses among several; None: a fifth of `train`, drawn with `seed`.
        seed: of that draw.
        max_iter: iterations of L-BFGS for each c, at most.

    Returns:
        "top1", "top5" and the chosen "c".

    Raises:
        ValueError: features that do not fit or are not finite, images without a class, one class only, a setting that cannot
            be.
    """
    train, test = _joined(train, test)
    strengths = [float(one) for one in np.atleast_1d(np.asarray(c, np.float64))]
    if not strengths:
        raise wrong("c", c, "a number, or several")
    whole("max_iter", max_iter, 1)
    chosen, everything = strengths[0], train
    if len(strengths) > 1:
        part = train
        if val is None:
            if len(train.targets) < 5:
                raise wrong(
                    "train", f"{len(train.targets)} images", "at least 5, of which one is held out; or give val"
                )
            order = np.random.default_rng(whole("seed", seed)).permutation(len(train.targets))
            held, kept = np.split(order, [len(order) // 5])
            part, val = (Features(train.features[rows], train.targets[rows]) for rows in (kept, held))
        else:
            _, val = _joined(train, val)
            everything = Features(
                np.concatenate([train.features, val.features]), np.concatenate([train.targets, val.targets])
            )
        ranked = _sassl.logistic_probe(part.features, part.targets, val.features, c=strengths, max_iter=max_iter)
        # Of equals the strongest penalty.
        right = (ranked[:, :, 0] == val.targets).mean(1)
        chosen = min(strengths, key=lambda one: (-right[strengths.index(one)], one))
    ranked = _sassl.logistic_probe(
        everything.features, everything.targets, test.features, c=[chosen], max_iter=max_iter, top=5
    )
    return {**_accuracy(ranked[0], test.targets), "c": chosen}


def _joined(train: Features, test: Features) -> tuple[Features, Features]:
    """Both with the numbers of `train`, by names where both have some.

    Raises:
        ValueError: not one class a row; a class below 0, or one beyond the names.
    """
    train, test = (
        Features(rows.features, _labels(name, rows), getattr(rows, "classes", None))
        for name, rows in (("train", train), ("test", test))
    )
    names, others = train.classes, test.classes
    if names is not None and others is not None and names != others:
        # Those that `train` does not know come after all of its own.
        known = {name: number for number, name in enumerate(dict.fromkeys((*names, *others)))}
        train, test = (
            Features(rows.features, np.array([known[name] for name in own], np.int64)[rows.targets], list(known))
            for rows, own in ((train, names), (test, others))
        )
    unknown = test.targets[~np.isin(test.targets, train.targets)]
    if len(unknown):
        labels = sorted(set(unknown.tolist()))
        told = [str(label) if test.classes is None else test.classes[label] for label in labels[:10]]
        warnings.warn(
            f"test: {len(unknown)} of {len(test.targets)} images are of {len(labels)} classes that no image of train is of, "
            f"and count as wrong: {', '.join(told)}",
            stacklevel=3,
        )
    return train, test


def _labels(name: str, rows: Features) -> NDArray[np.int64]:
    targets, features, classes = np.asarray(rows.targets), np.asarray(rows.features), getattr(rows, "classes", None)
    if targets.shape != features.shape[:1] or targets.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected a class, a whole number, for each of {features.shape[:1]} features, got {targets.shape} "
            f"{targets.dtype}"
        )
    if not targets.size:
        raise ValueError(f"{name}: there are no features")
    least, most = targets.min(), targets.max()
    if least < 0:
        n = int((targets < 0).sum())
        raise ValueError(f"{name}: {n} images of class {least}, which is none; leave out those that have no class")
    if most >= (2**63 if classes is None else len(classes)):
        raise ValueError(
            f"{name}: class {most} is beyond its {'int64' if classes is None else f'{len(classes)} names'}"
        )
    return targets.astype(np.int64)


def _accuracy(ranked: NDArray[np.int64], targets: NDArray[np.int64]) -> dict[str, float]:
    right = ranked == targets[:, None]
    return {"top1": 100 * float(right[:, 0].mean()), "top5": 100 * float(right.any(1).mean())}

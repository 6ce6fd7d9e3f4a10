"""`sassl eval`: evaluate the features of models by one of several protocols."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from .. import evaluation
from ..data import ImageFolder
from ..data.classes import numbered
from ..data.ranks import by_first
from ..models import OpenModel
from ..terminal import say, tell
from . import augmented, folders, results, robustness, several, strength, transfer
from .opened import models, opened
from .options import reading


class Protocol(NamedTuple):
    """An evaluation protocol: a function of training and test features, its help text, and an option per keyword argument."""

    judge: Callable[..., dict[str, Any]]
    text: str
    options: dict[str, dict[str, Any]]


_ANSWERS = [name for name in evaluation.metrics.NAMES if name != "auc"]
_METRIC = {"default": "top1", "help": "metric reported next to the accuracies (default: %(default)s)"}
_SEED = {"type": int, "default": 0, "help": "seed of random draws (default: %(default)s)"}
PROTOCOLS = {
    "knn": Protocol(
        evaluation.knn,
        "Weighted nearest neighbours (Wu et al. 2018).",
        {
            "k": {
                "type": int,
                "default": 200,
                "help": "number of neighbours (default: %(default)s)",
            },
            "temperature": {"type": float, "default": 0.1, "help": "temperature of the weights (default: %(default)s)"},
            "metric": {**_METRIC, "choices": _ANSWERS},
        },
    ),
    "linear": Protocol(
        evaluation.linear_probe,
        "Linear probe by SGD on fixed features (SimCLR, appendix B.6, without augmentation).",
        {
            "lr": {"type": float, "default": 0.1, "help": "learning rate for a batch of 256 (default: %(default)s)"},
            "epochs": {"type": int, "default": 90, "help": "default: %(default)s"},
            "batch_size": {"type": int, "default": 256, "help": "default: %(default)s"},
            "metric": {**_METRIC, "choices": _ANSWERS},
            "seed": _SEED,
        },
    ),
    "logistic": Protocol(
        evaluation.logistic_probe,
        "Logistic regression with the penalty chosen on a fifth of train (Kornblith et al. 2019).",
        {
            "c": {
                "type": float,
                "nargs": "+",
                "default": evaluation.GRID,
                "help": "inverse penalties, as scikit-learn's C (default: 45 penalties from 1e-6 to 1e5)",
            },
            "max_iter": {
                "type": int,
                "default": evaluation.logistic.MOST_PASSES,
                "help": "maximum number of passes over the features (default: %(default)s)",
            },
            "metric": {
                **_METRIC,
                "choices": evaluation.metrics.NAMES,
                "help": f"{_METRIC['help']}; the penalty is chosen by it",
            },
            "seed": _SEED,
        },
    ),
}

#: Protocols in modules of their own. These modules read the images themselves.
_COMMANDS: dict[str, Any] = {
    "augmented": augmented,
    "transfer": transfer,
    "robustness": robustness,
    "strength": strength,
}


def add(sub: argparse.ArgumentParser) -> None:
    """Add the protocols, and the options of each."""
    protocols = sub.add_subparsers(dest="protocol", required=True, metavar="protocol")
    for name, (_, text, options) in PROTOCOLS.items():
        own = protocols.add_parser(name, help=text, description=text)
        models(own, several=True)
        folders.add(own)
        for option, keywords in options.items():
            own.add_argument(f"--{option.replace('_', '-')}", **keywords)
        results.option(own)
        reading(own)
        several.sharing(own)
        own.set_defaults(run=partial(several.begin, run))
    for name, module in _COMMANDS.items():
        own = protocols.add_parser(name, help=module.TEXT, description=module.TEXT)
        module.add(own)
        own.set_defaults(run=module.run if module is strength else partial(several.begin, module.run))


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    known, asked = (ImageFolder(folder) for folder in folders.given(args))
    numbered(asked, known.classes)
    results.check(args)
    for model in opened(args):
        _judge(model, known, asked, args)
    return 0


def _judge(model: OpenModel, known: ImageFolder, asked: ImageFolder, args: argparse.Namespace) -> None:
    """Evaluate a model, and print its result."""
    protocol = PROTOCOLS[args.protocol]
    how = several.shared(args, model.weights)
    train, test = (evaluation.read(model, images, on_error=args.on_error, **how) for images in (known, asked))
    for images, features in ((known, train), (asked, test)):
        if features.left_out:
            tell(f"{images.root}: {evaluation.left_out(features)}")
    options = {option: getattr(args, option) for option in protocol.options}
    found = by_first(args.ranks, partial(protocol.judge, train, test, progress=True, **options))
    chosen = f", C = {found['c']:.3g}" if "c" in found else ""
    low, high = found["interval"]
    by = {"top1": "top-1", "top5": "top-5"}.get(
        args.metric, f"{args.metric.replace('_', ' ')} {found[args.metric]:.4g}"
    )
    say(
        f"{model.name}: {args.protocol}, top-1 {found['top1']:.1f} %, top-5 {found['top5']:.1f} %{chosen}; "
        f"{by}: {low:.4g} to {high:.4g} at 95 %, {found['n']} images, {found['classes']} classes"
    )
    settings = {option: value for option, value in options.items() if option not in ("metric", "seed")}
    own: dict[str, Any] = {"train": known.root, "test": asked.root, "known": len(train.targets)}
    results.record(args, model, found, **own, protocol=args.protocol, settings=settings)

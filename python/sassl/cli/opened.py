"""Options that name models, and the models themselves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..models import OpenModel, open_model
from ..models.files import tells_network
from ..models.opening import UNTRAINED
from ..models.rules import NORMALIZATIONS
from ..terminal import tell

#: Help text of the group of options.
_TEXT = (
    "MODEL is a run's folder or checkpoint, timm:NAME, torchvision:NAME[:WEIGHTS], a weights file with --arch, or "
    "untrained:MODEL, the same network with random weights, such as untrained:resnet50"
)


def models(sub: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the options for models and how to open them."""
    group = sub.add_argument_group("models", _TEXT)
    group.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="one or more models; several give a table" if several else argparse.SUPPRESS,
    )
    group.add_argument("--model", action="append", default=[], metavar="MODEL", help="same as MODEL")
    group.add_argument(
        "--arch", metavar="NAME", help="architecture of a weights file that does not name it, such as resnet50"
    )
    group.add_argument("--size", type=int, help="image size in pixels (default: the model's; 224 for weights files)")
    group.add_argument(
        "--normalize",
        choices=tuple(NORMALIZATIONS),
        help="normalization (default: the model's; imagenet for weights files)",
    )
    for name in ("mean", "std"):
        group.add_argument(f"--{name}", type=float, nargs=3, metavar=("R", "G", "B"), help="instead of --normalize")
    group.add_argument("--device", help='"cpu" or "cuda" (default: the GPU, if there is one, for third-party networks)')


def opened(args: argparse.Namespace, *, baselines: bool = False) -> list[OpenModel]:
    """Open the named models, in order; print a line about the preprocessing of each.

    Args:
        args: the options that `models` adds, and `threads`.
        baselines: whether each trained model is followed by the same network with random weights.

    Raises:
        ValueError: no model is given, or a model is given twice; --arch is given, but every model records its network.
        OSError, ImportError, ValueError: as raised by `open_model`.
    """
    sources = [*args.models, *args.model]
    if not sources:
        raise ValueError("no model is given; give a run's folder, timm:NAME, torchvision:NAME or a file of weights")
    if baselines:
        sources = [one for source in sources for one in (source, *_untrained(source))]
    if len(set(sources)) < len(sources):
        raise ValueError(f"model {next(one for one in sources if sources.count(one) > 1)} is given twice")
    normalize = _normalize(args)
    needing = {source for source in sources if not tells_network(source.removeprefix(UNTRAINED))}
    if args.arch is not None and not needing:
        raise ValueError(
            f"--arch is only for weight files that do not record their network, got {args.arch} without one"
        )
    found = []
    for source in sources:
        model = open_model(
            source,
            arch=args.arch if source in needing else None,
            size=args.size,
            normalize=normalize,
            device=args.device,
            threads=args.threads,
        )
        tell(str(model))
        found.append(model)
    return found


def opened_one(args: argparse.Namespace) -> OpenModel:
    """Open the only named model; raise a ValueError for several models, or an error of `opened`."""
    if len(sources := [*args.models, *args.model]) > 1:
        raise ValueError(f"this command takes one model, got {' '.join(sources)}")
    return opened(args)[0]


def _untrained(source: str) -> Sequence[str]:
    return () if source.startswith(UNTRAINED) else (UNTRAINED + source,)


def _normalize(args: argparse.Namespace) -> str | dict[str, list[float]] | None:
    """Return the normalization in the form that `open_model` takes."""
    if args.mean is None and args.std is None:
        named: str | None = args.normalize
        return named
    if args.mean is None or args.std is None or args.normalize is not None:
        raise ValueError("--mean and --std must be given together, and without --normalize")
    return {"mean": args.mean, "std": args.std}

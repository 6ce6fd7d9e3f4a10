"""`sassl eval transfer`: evaluate models on the transfer data sets; write a line of JSON per result, and print a table.

A "school" is one of the published ways to split a data set into training, validation and test images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..data.ranks import by_first
from ..evaluation import datasets, transfer
from ..models import OpenModel
from ..terminal import message, say, tell
from . import finetuning, results, several
from .opened import models, opened
from .options import checked_seed, reading
from .transfer_table import table

TEXT = "Evaluate on the transfer data sets in DATA: linear probe, nearest neighbours or fine-tuning, by each set's own metric."


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    models(sub, several=True)
    sub.add_argument(
        "--baselines",
        action="store_true",
        help="also evaluate each model's network with random weights",
    )
    sub.add_argument(
        "--data", type=Path, required=True, help="folder that contains the folders of the sets (docs/transfer.md)"
    )
    sub.add_argument(
        "--sets", type=_names, help=f"comma-separated: {', '.join(datasets.DATASETS)} (default: all that are found)"
    )
    sub.add_argument(
        "--protocol",
        dest="by",
        choices=("linear", "knn", "finetune"),
        default="linear",
        help="linear: logistic regression with the penalty chosen on val (Kornblith et al. 2019); knn: nearest neighbours; "
        "finetune: train the whole network (default: %(default)s)",
    )
    sub.add_argument(
        "--school",
        action="append",
        default=[],
        type=_school,
        metavar="SET=SCHOOL",
        help="another split of a set, such as dtd=fold2; may be repeated",
    )
    sub.add_argument(
        "--seed",
        type=int,
        nargs="+",
        default=[0],
        help="seeds of random draws; several give the mean and standard deviation (default: 0)",
    )
    sub.add_argument(
        "--counts",
        choices=("published", "any"),
        default="published",
        help="published: reject sets whose counts differ from the published ones; any: report differences "
        "(default: %(default)s)",
    )
    sub.add_argument(
        "--out", type=Path, required=True, help="the .jsonl file of results; those already in it are not computed again"
    )
    reading(sub)
    several.sharing(sub)
    finetuning.options(sub)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code, which is 1 if a set failed."""
    seeds = list(dict.fromkeys(map(checked_seed, args.seed)))
    lines, schools = by_first(args.ranks, partial(results.read, args.out, "--out")), _schools(args)
    judged = opened(args, baselines=args.baselines)
    failed, shown = [], []
    # Options of another protocol are rejected before anything is computed.
    finetuning.settings(args)
    for model in judged:
        for name, school, seed in _runs(schools, seeds, args.by):
            title = name if len(judged) == 1 else f"{model.name}: {name}"
            try:
                known = _result(model, args, lines, (name, school, seed), title)
            except (OSError, ValueError) as error:
                failed.append(title)
                tell(f"{title}: failed, {message(error)}")
            else:
                shown.append(known)
    if shown:
        say(table(shown, [model.name for model in judged]))
    failed = list(dict.fromkeys(failed))
    if failed:
        tell(f"{len(failed)} of {len(schools) * len(judged)} sets failed: {', '.join(failed)}")
    return 1 if failed else 0


def _result(
    model: OpenModel, args: argparse.Namespace, lines: list[dict[str, Any]], which: tuple[str, str, int], title: str
) -> dict[str, Any]:
    """Return the result for `which` = (set, school, seed).

    If the file has no such result, evaluate the model, and write the result to the file.
    """
    name, school, seed = which
    tuned = finetuning.settings(args)
    rule = transfer.rule_for(model, transfer.row_for(datasets.DATASETS[name], args.by, tuned)).describe()
    own = {**model.describe(), "preprocessing": rule}
    key = {**own, "set": name, "school": school, "seed": seed, "protocol": args.by}
    known = next((line for line in lines if _is_result(line, key, args.counts, tuned)), None)
    if known is not None:
        tell(f"{title}: already in {args.out}")
        # The same weights may have been evaluated under another name.
        return {**known, **own}
    found = {**key, **_evaluated(model, args, key, title)}
    lines.append(found)
    by_first(args.ranks, partial(results.write, args.out, lines))
    return found


def _runs(schools: dict[str, str], seeds: list[int], protocol: str) -> Iterator[tuple[str, str, int]]:
    """Yield the set, school and seed of each measurement. If a measurement draws nothing at random, use only the first seed."""
    for name, school in schools.items():
        drawn = datasets.DATASETS[name].schools[school].drawn or protocol == "finetune"
        for seed in seeds if drawn else seeds[:1]:
            yield name, school, seed


def _is_result(line: dict[str, Any], key: dict[str, Any], counts: str, tuned: dict[str, Any]) -> bool:
    """Return whether a line is a result of the measurement `key` with the fine-tuning settings `tuned`.

    If `counts` is "published", a result on images that differ from the published set does not count.
    """
    same = all(line[field] == key[field] for field in results.KEY) and line.get("finetuning", {}) == tuned
    return same and not (counts == "published" and line.get("differences"))


def _schools(args: argparse.Namespace) -> dict[str, str]:
    """Return the school of each requested set; by default, of each set that is found.

    Raises:
        FileNotFoundError: the folder of a set is missing, or no set is found.
        ValueError: a school is given for a set that is not evaluated.
    """
    names = list(datasets.found(args.data)) if args.sets is None else args.sets
    if not names:
        raise FileNotFoundError(f"{args.data}: none of the sets is in it; docs/transfer.md lists their folders")
    given = dict(args.school)
    for name in given:
        if name not in names:
            raise ValueError(f"--school must name one of {', '.join(names)}, got {name}={given[name]}")
    return {name: given.get(name) or datasets.school_of(name, args.data) for name in names}


def _evaluated(model: OpenModel, args: argparse.Namespace, key: dict[str, Any], title: str) -> dict[str, Any]:
    """Evaluate a model on a set, and return the result. Differences from the published set and left-out images are reported."""
    found = transfer.evaluate(
        model,
        key["set"],
        args.data,
        protocol=args.by,
        school=key["school"],
        seed=key["seed"],
        counts=args.counts,
        on_error=args.on_error,
        cache=args.cache,
        weights=key["weights"],
        ranks=args.ranks,
        progress=True,
        finetuning=finetuning.settings(args),
        checkpoints=finetuning.folder(args, key),
    )
    for text in found["differences"]:
        tell(f"{title}: {text}")
    for image, why in found["left_out"].items():
        tell(f"{title}: left out, {why if image in why else f'{image}: {why}'}")
    return results.without_nan(found)


def _names(text: str) -> list[str]:
    """Parse a comma-separated list of sets."""
    names = text.split(",")
    for name in names:
        if name not in datasets.DATASETS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(datasets.DATASETS)}")
    return list(dict.fromkeys(names))


def _school(text: str) -> tuple[str, str]:
    """Parse SET=SCHOOL."""
    name, _, school = text.partition("=")
    if name not in datasets.DATASETS:
        raise argparse.ArgumentTypeError(f"{text!r}: {name!r} is none of {', '.join(datasets.DATASETS)}")
    if school not in datasets.DATASETS[name].schools:
        raise argparse.ArgumentTypeError(f"{text!r}: {name} has {', '.join(datasets.DATASETS[name].schools)}")
    return name, school

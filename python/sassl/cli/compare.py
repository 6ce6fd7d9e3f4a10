"""`sassl compare`: pretraining runs side by side, or evaluation results."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import evaluation, pretraining
from ..evaluation import comparison
from ..terminal import say
from .options import check_out

_PLOTS = (".png", ".svg", ".pdf")


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    sub.add_argument(
        "inputs",
        nargs="+",
        metavar="RUN | RESULTS",
        help="two runs or more: folders, log.csv or checkpoints; or .jsonl files of results of sassl eval, each an "
        "arm; NAME=FILE sets the name of an arm, which may have several files",
    )
    sub.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="also draw the curves of runs or the differences of results into a .png, .svg or .pdf file; or write the "
        "table of results into a .md, .tex or .txt file",
    )
    sub.add_argument("--format", choices=tuple(comparison.FORMATS), help="format of the results' table (default: text)")
    sub.add_argument(
        "--by",
        choices=comparison.BY,
        help="how results are grouped into arms (default: file; in one file model, or checkpoint if no model is named)",
    )
    sub.add_argument("--reference", metavar="ARM", help="arm from which differences are taken (default: the first)")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    results = [text for text in args.inputs if text.lower().endswith(".jsonl")]
    if results and len(results) < len(args.inputs):
        other = next(text for text in args.inputs if text not in results)
        raise ValueError(
            f"{other} is a run, but {results[0]} has results; compare runs with runs and results with results"
        )
    return _results(args) if results else _runs(args)


def _runs(args: argparse.Namespace) -> int:
    for option in ("format", "by", "reference"):
        if getattr(args, option) is not None:
            raise ValueError(f"--{option} is for .jsonl files of results, not for runs, got {getattr(args, option)}")
    if args.out is not None:
        check_out(args.out, *_PLOTS)
    compared = pretraining.compare(args.inputs)
    say(str(compared))
    if args.out is not None:
        compared.plot(args.out)
        say(f"{args.out}: the curves")
    return 0


def _results(args: argparse.Namespace) -> int:
    if args.out is not None:
        check_out(args.out, *_PLOTS, *comparison.FORMATS.values())
    compared = evaluation.compare(_arms(args.inputs), by=args.by, reference=args.reference)
    say(compared.table(args.format or "text"))
    if args.out is not None:
        plots = args.out.suffix.lower() in _PLOTS
        (compared.plot if plots else compared.save)(args.out)
        say(f"{args.out}: {'the differences' if plots else 'the table'}")
    return 0


def _arms(inputs: list[str]) -> list[str] | dict[str, list[str]]:
    """Return the files; if the inputs are NAME=FILE, return a dict from each name to its files.

    The files of one name are an arm of the comparison.
    """
    named = [text.partition("=") for text in inputs if "=" in text and not Path(text).exists()]
    if not named:
        return inputs
    if len(named) < len(inputs):
        raise ValueError(f"{named[0][0]}=... names an arm, and other inputs do not; name all arms or none")
    arms: dict[str, list[str]] = {}
    for name, _, file in named:
        arms.setdefault(name, []).append(file)
    return arms

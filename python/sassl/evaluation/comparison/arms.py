"""Arms: the groups of results that are compared, with checks that all were measured in the same way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...arguments import choice, wrong
from .lines import Value, read

File = str | os.PathLike[str]
Results = Sequence[File] | Mapping[str, File | Sequence[File]]
#: The fields by which arms may be named.
BY = ("file", "model", "checkpoint")


def load(results: Results, by: str | None) -> dict[str, list[Value]]:
    """Return the values of each arm, by name; for the arguments, see `compare`.

    Raises:
        ValueError: no file, or a file twice; a line that is not a result; a result without the entry that names its arm;
            results that are ambiguous or not comparable.
        OSError: a file cannot be read.
    """
    choice("by", by, (*BY, None))
    files = _files(results)
    if not files or len({os.path.abspath(path) for _, path in files}) < len(files):
        raise ValueError(f"results must be different files, at least one, got {[str(path) for _, path in files]}")
    values = [one for arm, path in files for one in read(path, arm)]
    if by is None:
        by = "file" if len({arm for arm, _ in files}) > 1 else "model" if "model" in values[0].names else "checkpoint"
    arms: dict[str, list[Value]] = {}
    for one in values:
        if by not in one.names:
            raise ValueError(f"{one.place}: the result does not name its {by}; compare by file or by checkpoint")
        arms.setdefault(one.names[by], []).append(one)
    _check_measured_once(arms)
    _check_seeds(arms)
    _check_conditions(values)
    return arms


def _files(results: Results) -> list[tuple[str, Path]]:
    """Return each file with the name of its arm.

    In a list, the name is the file's stem, or the path without suffix if two files have this stem.
    """
    if isinstance(results, (str, os.PathLike)):
        raise wrong("results", results, "a list of files, or a dict of arms")
    if isinstance(results, Mapping):
        held = {arm: [own] if isinstance(own, (str, os.PathLike)) else own for arm, own in results.items()}
        return [(arm, Path(one)) for arm, own in held.items() for one in own]
    paths = [Path(one) for one in results]
    short = [path.stem for path in paths]
    return [
        (name if short.count(name) == 1 else str(path.with_suffix("")), path)
        for name, path in zip(short, paths, strict=True)
    ]


def _check_measured_once(arms: Mapping[str, Sequence[Value]]) -> None:
    """Reject two results of the same measurement, checkpoint and evaluation seed in an arm."""
    for values in arms.values():
        seen: dict[Any, Value] = {}
        for one in values:
            other = seen.setdefault((one.checkpoint, one.measurement, one.seed), one)
            if other is not one:
                raise ValueError(
                    f"{one.place}: {one.measurement} of this checkpoint, evaluation seed {one.seed}, is in {other.place} "
                    "already; keep one of the two"
                )


def _check_seeds(arms: Mapping[str, Sequence[Value]]) -> None:
    """Reject arms with two checkpoints of the same pretraining seed: means would be meaningless, and pairs ambiguous."""
    for arm, values in arms.items():
        seen: dict[int, Value] = {}
        for one in values:
            if one.pretraining_seed is not None:
                other = seen.setdefault(one.pretraining_seed, one)
                if other.checkpoint != one.checkpoint:
                    raise ValueError(
                        f"{one.place}: the arm {arm} has another checkpoint of pretraining seed {one.pretraining_seed}, in "
                        f"{other.place}; give each its own arm, as by checkpoint"
                    )


def _check_conditions(values: Sequence[Value]) -> None:
    """Reject results of one measurement with different images or heads."""
    seen: dict[Any, tuple[Value, dict[str, Any]]] = {}
    for one in values:
        part = {"differences": bool(one.conditions.get("differences"))}
        for key, told in (((one.measurement, one.seed), one.conditions), (one.measurement, part)):
            other, theirs = seen.setdefault(key, (one, told))
            if differ := [name for name in {**theirs, **told} if theirs.get(name) != told.get(name)]:
                raise ValueError(
                    f"{one.place}: {differ[0]} of {one.measurement} is {_short(told.get(differ[0]))}, but "
                    f"{_short(theirs.get(differ[0]))} in {other.place}; measure both alike"
                )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def notes(arms: Mapping[str, Sequence[Value]]) -> list[str]:
    """Return the notes below a table: sets that differ from the published ones, undefined values, missing seeds, resizing."""
    values = [one for own in arms.values() for one in own]
    found = [f"{one.measurement.set}: {text}." for one in values for text in one.conditions.get("differences") or ()]
    found += [f"{one.place}: {one.measurement} is not defined and left out." for one in values if one.value is None]
    for arm, own in arms.items():
        if len(arms) > 1 and any(one.pretraining_seed is None for one in own):
            found.append(f"{arm}: results without a pretraining seed, which cannot be paired.")
    resized: dict[str, dict[str, set[str]]] = {}
    for arm, own in arms.items():
        for one in own:
            if one.resize:
                resized.setdefault(one.measurement.set, {}).setdefault(one.resize, set()).add(arm)
    for name, rules in resized.items():
        if len(rules) > 1:
            told = ", ".join(f"{rule} in {' and '.join(sorted(own))}" for rule, own in rules.items())
            found.append(f"{name}: images were resized {told}.")
    return list(dict.fromkeys(found))

"""Argument parsing: each parser returns the value, or raises a ValueError "{name} must be {expected}, got {value}"."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np


def wrong(name: str, value: Any, expected: str) -> ValueError:
    """Return a ValueError for an invalid argument, to be raised by the caller. `expected` may end in "; " and a remedy."""
    text = repr(value)
    expected, semicolon, remedy = expected.partition("; ")
    got = text if len(text) <= 100 else text[:97] + "..."
    return ValueError(f"{name} must be {expected}, got {got}{semicolon}{remedy}")


def number(name: str, value: Any, expected: str = "a number") -> float:
    """Return the value as a float; strings, and arrays with one or more axes, are rejected."""
    if isinstance(value, (str, bytes)) or np.ndim(value) != 0:
        raise wrong(name, value, expected)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong(name, value, expected) from None


def whole(name: str, value: Any, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return the value as an int in [least, most]; floats are rejected, even 1.0."""
    limits = "" if least == -(2**63) else f" >= {least}" if most == 2**63 - 1 else f" in [{least}, {most}]"
    try:
        n = operator.index(value)
    except TypeError:
        n = least - 1
    if not least <= n <= most:
        raise wrong(name, value, f"an integer{limits}")
    return n


def pair(name: str, value: Any, expected: str = "a pair of values") -> tuple[float, float]:
    """Return a pair as two floats."""
    try:
        low, high = value
        return number(name, low), number(name, high)
    except (TypeError, ValueError):
        raise wrong(name, value, expected) from None


def span(name: str, value: Any, expected: str) -> tuple[float, float]:
    """Return a range (low, high) as two floats; a single number is both `low` and `high`."""
    return pair(name, (value, value) if isinstance(value, Real) else value, expected)


def flag(name: str, value: Any) -> bool:
    """Return the value as a bool; anything but True and False is rejected."""
    if not isinstance(value, (bool, np.bool_)):
        raise wrong(name, value, "True or False")
    return bool(value)


def choice(name: str, value: Any, names: Iterable[str | None]) -> Any:
    """Return the value if it is one of `names`."""
    names = tuple(names)
    if (value is None or isinstance(value, str)) and value in names:
        return value
    *others, last = map(repr, names)
    one_of = "one of " if len(others) > 1 else ""
    raise wrong(name, value, f"{one_of}{', '.join(others)} or {last}" if others else last)


def plain(value: Any) -> Any:
    """Convert the value to JSON and back; tuples, arrays and tensors become lists."""

    def listed(value: Any) -> Any:
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"a value must be a number, a string, None, or a list or dict of these, got {value!r}")

    return json.loads(json.dumps(value, default=listed))

"""Arguments as users give them: what they mean, or one ValueError with the name, the value and what would be right."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np


def wrong(name: str, value: Any, expected: str) -> ValueError:
    """The error, to raise."""
    text = repr(value)
    return ValueError(f"{name} = {text if len(text) <= 100 else text[:97] + '...'}: expected {expected}")


def number(name: str, value: Any, expected: str = "a number") -> float:
    """A float; what is text or an array is none."""
    if isinstance(value, (str, bytes)) or np.ndim(value) != 0:
        raise wrong(name, value, expected)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong(name, value, expected) from None


def whole(name: str, value: Any, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number of this range, of 64 bits where nothing is said; 1.0 is none."""
    limits = "" if least == -(2**63) else f" from {least} up" if most >= 2**63 - 1 else f" from {least} to {most}"
    try:
        n = operator.index(value)
    except TypeError:
        n = least - 1
    if not least <= n <= most:
        raise wrong(name, value, f"a whole number{limits}")
    return n


def pair(name: str, value: Any, expected: str = "a pair of numbers") -> tuple[float, float]:
    """Two numbers."""
    try:
        low, high = value
        return number(name, low), number(name, high)
    except (TypeError, ValueError):
        raise wrong(name, value, expected) from None


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise wrong(name, value, "True or False")
    return bool(value)


def choice(name: str, value: Any, names: Iterable[str | None]) -> Any:
    """One of these."""
    names = tuple(names)
    if (value is None or isinstance(value, str)) and value in names:
        return value
    raise wrong(name, value, " or ".join('"' + one + '"' if one is not None else "None" for one in names))


def plain(value: Any) -> Any:
    """A setting as JSON gives it back, arrays and tensors as lists."""

    def listed(value: Any) -> Any:
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"{value!r}: expected a number, a text, None, or a list or dict of such")

    return json.loads(json.dumps(value, default=listed))

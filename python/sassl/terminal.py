"""Output to the terminal. `sys.stdout` and `sys.stderr` may be None, closed, full, or objects with little more than `write`.

Other modules write to them only through this one. A line on stderr that cannot be written never stops the work that reports it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

#: Number of active `silence` blocks.
_SILENT = [0]


@contextmanager
def silence() -> Iterator[None]:
    """Suppress all output in a `with` block, such as in all but one of several processes that would report the same thing."""
    _SILENT[0] += 1
    try:
        yield
    finally:
        _SILENT[0] -= 1


def tell(text: str) -> None:
    """Write a line to sys.stderr; it is dropped if it cannot be written."""
    if _SILENT[0]:
        return
    # Any exception: sys.stderr may be closed, full, or replaced by another object.
    with suppress(Exception):
        _line(sys.stderr, text)


def message(error: BaseException) -> str:
    """Format an error as one line, starting with the file's name if there is one."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def say(text: str) -> None:
    """Write a line of results to sys.stdout; it is dropped if there is no stdout or the reader has closed the pipe.

    Raises:
        OSError: the line cannot be written, as on a full disk.
    """
    if _SILENT[0] or sys.stdout is None or getattr(sys.stdout, "closed", False):
        return
    try:
        _line(sys.stdout, text)
    except OSError as error:
        _give_up()
        if not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, "standard output") from None


def _give_up() -> None:
    """Redirect sys.stdout to /dev/null: Python would otherwise try again on exit to write the buffer, and report an error."""
    with suppress(Exception):
        out = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out)
        os.close(nowhere)


def printable(text: str) -> str:
    r"""Escape what UTF-8 cannot encode: undecodable bytes of a file name, which become \udcff and the like."""
    return text.encode(errors="backslashreplace").decode()


def is_watched() -> bool:
    """Return whether sys.stderr is a terminal or a notebook's output."""
    with suppress(Exception):
        if sys.stderr.isatty():
            return True
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def bar(**options: Any) -> Any:
    """Create a tqdm bar; return None in a `silence` block, outside terminals and notebooks, or without tqdm."""
    if _SILENT[0] or not is_watched():
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(file=Stderr(), **options)


def progress(items: Iterable[Any], unit: str) -> Iterable[Any]:
    """Iterate over items with a progress bar, if `bar` can show one."""
    shown = bar(iterable=items, unit=unit)
    return items if shown is None else shown


class Stderr:
    """A stream that writes to the current sys.stderr and drops text that cannot be written."""

    def write(self, text: str) -> None:
        """Write the text, if possible."""
        with suppress(Exception):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Flush, if possible."""
        with suppress(Exception):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def _line(stream: Any, text: str) -> None:
    """Write a line; characters that the stream's encoding lacks are escaped with backslashes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    if (flush := getattr(stream, "flush", None)) is not None:
        flush()

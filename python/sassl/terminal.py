"""Output to the terminal, robust to missing and broken streams.

`sys.stdout` and `sys.stderr` may be None, closed, full, or objects with little more than `write`. Other modules write to these
streams only through this module. A failed write to stderr never stops the work that it reports.
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
    """Suppress all output in a `with` block, for example in every process but one if all would report the same."""
    _SILENT[0] += 1
    try:
        yield
    finally:
        _SILENT[0] -= 1


def tell(text: str) -> None:
    """Write a line to sys.stderr; a line that cannot be written is dropped."""
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
    """Write a line of results to sys.stdout; the line is dropped if there is no stdout or the reader has closed the pipe.

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
    """Redirect sys.stdout to /dev/null, so that Python does not fail when it flushes the buffer on exit."""
    with suppress(Exception):
        out = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out)
        os.close(nowhere)


def printable(text: str) -> str:
    r"""Escape characters that UTF-8 cannot encode: undecodable bytes of a file name become \udcff and the like."""
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

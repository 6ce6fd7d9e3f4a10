"""What is said to people. `sys.stdout` and `sys.stderr` may be None, closed, full, or objects with a `write` and little
else: nobody but this module looks at them, and no line that is lost ends what said it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

#: How many ask for silence.
_SILENT = [0]


@contextmanager
def silence() -> Iterator[None]:
    """Nothing is said meanwhile, as by a process of which there are several that would say the same."""
    _SILENT[0] += 1
    try:
        yield
    finally:
        _SILENT[0] -= 1


def tell(text: str) -> None:
    """A line to sys.stderr, or to nobody where it cannot be written."""
    if _SILENT[0]:
        return
    # Whatever an object in the place of sys.stderr raises, a closed or a full one included.
    with suppress(Exception):
        _line(sys.stderr, text)


def message(error: BaseException) -> str:
    """An error in one line, the file first where there is one."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def say(text: str) -> None:
    """A line of results to sys.stdout; to nobody where there is none, or its reader has left.

    Raises:
        OSError: it cannot be written, as on a full disk.
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
    """What sys.stdout holds still and cannot write goes nowhere: Python would try again at its end, and complain."""
    with suppress(Exception):
        out = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out)
        os.close(nowhere)


def printable(text: str) -> str:
    r"""The text as UTF-8 can hold it: bytes of a file's name that are none become \udcff and the like."""
    return text.encode(errors="backslashreplace").decode()


def is_watched() -> bool:
    """Whether sys.stderr is a terminal, or a notebook's."""
    with suppress(Exception):
        if sys.stderr.isatty():
            return True
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def bar(**options: Any) -> Any:
    """tqdm's bar, where somebody looks and it is installed; None elsewhere."""
    if _SILENT[0] or not is_watched():
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(file=Stderr(), **options)


def progress(items: Iterable[Any], unit: str) -> Iterable[Any]:
    """The items, with a bar where somebody looks."""
    shown = bar(iterable=items, unit=unit)
    return items if shown is None else shown


class Stderr:
    """sys.stderr, whatever it is at the moment, for those who write to a stream: what cannot be written is lost."""

    def write(self, text: str) -> None:
        """As much as can be."""
        with suppress(Exception):
            sys.stderr.write(text)

    def flush(self) -> None:
        """If that can be."""
        with suppress(Exception):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def _line(stream: Any, text: str) -> None:
    """What the stream's encoding cannot hold is written as Python escapes it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    if (flush := getattr(stream, "flush", None)) is not None:
        flush()

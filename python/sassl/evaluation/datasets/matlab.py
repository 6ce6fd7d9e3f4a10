"""A reader of MATLAB's .mat files of version 5 ("MAT-File Format", MathWorks): numeric arrays, text, cells and structs.

The reader does not need scipy. A file is a header of 128 bytes followed by elements. An element is a tag (type, size) and data
padded to a multiple of eight bytes. No code in a file is executed. The size of an element is limited to the size of the file
or, for a compressed element, to `_MOST`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: Maximum size of a compressed element after decompression, in bytes.
_MOST = 1 << 28
#: Maximum nesting of cells and structs.
_DEEPEST = 8
#: numpy's type codes of stored values, by MATLAB's type number.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
#: Encodings of text, by MATLAB's type number.
_TEXT = {4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32", 2: "latin-1"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)


def load(path: Path) -> dict[str, Any]:
    """Return the variables of a file by name.

    Returns:
        The values, by kind:

        - numeric: an array in MATLAB's shape.
        - a row of text: a str.
        - cells: a list, in order of MATLAB's linear index.
        - structs: a list of dicts, in the same order.

    Raises:
        OSError: the file cannot be read.
        ValueError: a file that is not a .mat file of version 5, is damaged, or has unsupported contents.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or data.startswith(b"MATLAB 7.3"):
        raise ValueError(f"{path}: is not a MATLAB file of version 5; save it with -v7, or take the published one")
    try:
        found = {}
        for kind, part in _elements(data[128:], order):
            if kind == _COMPRESSED:
                ((kind, part),) = _elements(_inflated(part), order)
            if kind == _MATRIX:
                name, value = _matrix(part, order, 0)
                found[name] = value
        return found
    except (ValueError, KeyError, struct.error, zlib.error, UnicodeDecodeError, StopIteration) as error:
        raise ValueError(f"{path}: is a damaged MATLAB file, or of a kind that is not supported ({error})") from None


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    made = stream.decompress(data, _MOST)
    if not stream.eof:
        raise ValueError(f"a compressed part is cut off, or larger than {_MOST} bytes")
    return made


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the type and data of each element."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            # A small element has its data inside the tag.
            kind, size, at, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise ValueError("a small element of more than four bytes")
        else:
            at += 8
            after = at + size + (0 if kind == _COMPRESSED else -size % 8)
        if at + size > len(data):
            raise ValueError("an element goes beyond the end")
        yield kind, data[at : at + size]
        at = after


def _values(kind: int, data: bytes, order: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(data, f"{order}{_STORED[kind]}")


def _matrix(data: bytes, order: str, depth: int) -> tuple[str, Any]:
    """Return the name and the value of an array of any kind."""
    if not data:
        return "", np.empty((0, 0))
    if depth > _DEEPEST:
        raise ValueError("cells within cells, deeper than any data set has them")
    parts = _elements(data, order)
    flags, shape, name = next(parts), next(parts), next(parts)
    kind, is_complex = int(_values(*flags, order)[0]) & 0xFF, bool(int(_values(*flags, order)[0]) & 0x0800)
    dims = [int(n) for n in _values(*shape, order)]
    count = int(np.prod(dims, dtype=object))
    title = name[1].decode("latin-1")
    if kind == _CELL:
        cells = [_matrix(part, order, depth + 1)[1] for _, part in parts]
        return title, _counted(cells, count)
    if kind == _STRUCT:
        (width,), joined = (int(n) for n in _values(*next(parts), order)), next(parts)[1]
        fields = [joined[i : i + width].split(b"\0")[0].decode("latin-1") for i in range(0, len(joined), width)]
        cells = _counted([_matrix(part, order, depth + 1)[1] for _, part in parts], count * len(fields))
        return title, [dict(zip(fields, cells[i : i + len(fields)], strict=True)) for i in _starts(cells, fields)]
    if is_complex or (kind != _CHAR and kind not in _NUMERIC):
        raise ValueError(f"{title or 'an array'} of MATLAB's class {kind}")
    stored, raw = next(parts)
    if kind == _CHAR:
        return title, _text(stored, raw, order, dims)
    return title, np.asarray(_counted(_values(stored, raw, order), count)).reshape(dims, order="F")


def _starts(cells: list[Any], fields: list[str]) -> range:
    return range(0, len(cells), max(1, len(fields)))


def _counted(values: Any, count: int) -> Any:
    if len(values) != count:
        raise ValueError(f"{len(values)} values in an array of {count}")
    return values


def _text(stored: int, raw: bytes, order: str, dims: list[int]) -> str:
    """Decode a row of text."""
    if len(dims) != 2 or dims[0] > 1:
        raise ValueError("a text of several rows")
    code = _TEXT[stored]
    return raw.decode(code + ({"<": "-le", ">": "-be"}[order] if code in ("utf-16", "utf-32") else ""))

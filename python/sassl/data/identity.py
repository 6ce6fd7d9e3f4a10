"""The identity of data and recipe that a loader's state holds, and how others differ from it.

Identities are dicts of plain values, which survive JSON.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._sassl import Gaussian
from ..bank import StyleBank
from ..transforms.plain import SASSL
from ..transforms.views import STYLE, Views

#: Bytes of an array that are read for its checksum; of a larger one, as many of images that lie evenly.
_MOST_BYTES = 1 << 28
#: Entries that are checksums, not values to show.
_CHECKSUMS = {
    "names": "the images have other names",
    "sizes": "files have other sizes",
    "checksum": "the pixels differ",
}


def of_arrays(images: NDArray[np.uint8]) -> dict[str, Any]:
    """The shape and a checksum, CRC-32; of an array beyond 256 MB, of as much in images that lie evenly."""
    step = max(1, -(-images.nbytes // _MOST_BYTES))
    checksum = 0
    for image in images[::step]:
        checksum = zlib.crc32(np.ascontiguousarray(image).data, checksum)
    return {"images": len(images), "shape": "x".join(map(str, images.shape)), "checksum": f"{checksum:08x}"}


def of_bytes(files: list[bytes]) -> dict[str, Any]:
    """The number of files, their bytes and a checksum of all, CRC-32."""
    checksum = 0
    for file in files:
        checksum = zlib.crc32(file, checksum)
    return {"images": len(files), "bytes": sum(map(len, files)), "checksum": f"{checksum:08x}"}


def of_recipe(transform: Views) -> dict[str, str]:
    """The operations of each view in their order, with what their styles are, and how views leave."""
    described = transform.describe()
    told = {name: repr(value) for name, value in described.items() if name != "views"}
    for which, view in enumerate(described["views"]):
        names = [one.get("name") or one["kind"] for one in view]
        told[f"views[{which}]"] = ", ".join(names)
        for name, one in zip(names, view, strict=True):
            if one["kind"] != STYLE:
                settings = (f"{key}={value}" for key, value in one.items() if key not in ("kind", "name"))
                told[f"views[{which}].{name}"] = ", ".join(settings)
    for which, style in enumerate(transform.styles):
        name = "style" if which == 0 else f"style {which + 1}"
        told |= {f"{name}.{key}": text for key, text in _of_style(style).items()}
    return told


def _of_style(style: SASSL) -> dict[str, str]:
    told = {name: repr(getattr(style, name)) for name in ("p", "alpha", "beta")}
    told |= {"space": style.stylizer.space, "precision": style.stylizer.precision}
    if style.styles is None:
        return {**told, "styles": "batch"}
    parts = [style.styles.mean, style.styles.axes] if isinstance(style.styles, Gaussian) else [style.styles.vectors]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(np.ascontiguousarray(part).data, checksum)
    kind = "vectors" if isinstance(style.styles, StyleBank) else "axes of a Gaussian"
    return {**told, "styles": f"{len(parts[-1])} {kind}, checksum {checksum:08x}"}


def differences(there: Any, here: dict[str, Any]) -> str:
    """In what an identity differs from this one, in words; nothing where they are equal."""
    if not isinstance(there, dict):
        return f"{there!r} is no description of them"
    told = []
    for name in [*here, *(name for name in there if name not in here)]:
        if (name in there) == (name in here) and there[name] == here[name]:
            continue
        if name in _CHECKSUMS and name in there and name in here:
            told.append(_CHECKSUMS[name])
        else:
            was, now = (str(part.get(name, "not said")) for part in (there, here))
            told.append(f"{name} = {was}, here {now}")
    return "; ".join(told)

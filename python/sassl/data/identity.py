"""The identity of data and recipe in a loader's state, and the differences between two identities.

Identities are dicts of JSON values.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..transforms.plain import identity
from ..transforms.views import Views

#: Maximum number of bytes of an array that are read for its checksum.
_MOST_BYTES = 1 << 28
#: For each entry that is a checksum, the message that is shown in place of two checksums that differ.
_CHECKSUMS = {
    "names": "the images have other names",
    "sizes": "files have other sizes",
    "checksum": "the pixels differ",
}


def of_arrays(images: NDArray[np.uint8]) -> dict[str, Any]:
    """The shape and a CRC-32 checksum of the pixels; of an array above 256 MiB, only evenly spaced images are read."""
    step = max(1, -(-images.nbytes // _MOST_BYTES))
    checksum = 0
    for image in images[::step]:
        checksum = zlib.crc32(np.ascontiguousarray(image).data, checksum)
    return {"images": len(images), "shape": "x".join(map(str, images.shape)), "checksum": f"{checksum:08x}"}


def of_bytes(files: list[bytes]) -> dict[str, Any]:
    """The number of files, their total bytes and a CRC-32 checksum."""
    checksum = 0
    for file in files:
        checksum = zlib.crc32(file, checksum)
    return {"images": len(files), "bytes": sum(map(len, files)), "checksum": f"{checksum:08x}"}


def of_recipe(transform: Views) -> dict[str, str]:
    """The operations of each view in order, with their settings and styles, and the format of the views."""
    described = transform.describe()
    told = {name: repr(value) for name, value in described.items() if name != "views"}
    for which, view in enumerate(described["views"]):
        names = [one.get("name") or one["kind"] for one in view]
        told[f"views[{which}]"] = ", ".join(names)
        for name, one in zip(names, view, strict=True):
            settings = (f"{key}={value}" for key, value in identity(one).items() if key not in ("kind", "name"))
            told[f"views[{which}].{name}"] = ", ".join(settings)
    return told


def differences(there: Any, here: dict[str, Any]) -> str:
    """Describe how the identity `there` differs from `here`; an empty string if they are equal."""
    if not isinstance(there, dict):
        return f"{there!r} is not an identity"
    told = []
    for name in [*here, *(name for name in there if name not in here)]:
        if (name in there) == (name in here) and there[name] == here[name]:
            continue
        if name in _CHECKSUMS and name in there and name in here:
            told.append(_CHECKSUMS[name])
        else:
            was, now = (str(part.get(name, "missing")) for part in (there, here))
            told.append(f"{name} = {was}, here {now}")
    return "; ".join(told)

"""What results tell of the checkpoint that they are of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .._sassl import checkpoint_metadata


def told(path: Path) -> dict[str, Any]:
    """Its "checkpoint", its "weights", and the "pretraining_seed", by which results of two arms are paired.

    Raises:
        ValueError: no checkpoint.
        OSError: it cannot be read.
    """
    seed = json.loads(checkpoint_metadata(path)["config"])["seed"]
    return {"checkpoint": str(path), "weights": checksum(path), "pretraining_seed": seed}


def checksum(path: Path) -> str:
    """SHA-256 of a file, the first half of it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()[:32]

"""Memory estimates before a run: bytes by kind, the largest batch that fits, and remedies for a run that does not fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from ..arguments import whole
from ..transforms.operations import size
from .config import Config
from .engines import Engine
from .settings import AdamW, MomentumSettings
from .shapes import layers

#: The number of values that the native engine's losses store per similarity, for logits, softmax and gradients.
_OF_PAIR = 8
#: The number of batches with views in memory: the current batch, and the batches that wait in the loader.
_BATCHES = 3
#: The largest relative error of an estimate (`tests/python/test_memory.py`).
BAND = 0.2
#: The size of a float32 value in bytes.
_VALUE = 4


@dataclass(frozen=True)
class Memory:
    """The memory of one process in bytes, by purpose.

    The interpreter and the libraries are not included: about 100 MB, or 500 MB with CUDA.

    Attributes:
        weights: weights of the trained networks.
        gradients: gradients of the weights.
        optimizer: the optimizer's state.
        momentum: weights of the momentum encoder, and the queue.
        activations: activations for the backward pass of one piece of the batch (see `accumulate` of `Native`), and temporary
            values.
        views: the views of the current batch and of prefetched batches.
    """

    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    momentum: int = 0
    activations: int = 0
    views: int = 0

    @property
    def total(self) -> int:
        """Total bytes, the sum of all attributes."""
        return sum(astuple(self))

    @property
    def of_step(self) -> int:
        """The bytes that a step needs in addition to the weights, the optimizer's state and the momentum encoder."""
        return self.gradients + self.activations + self.views

    def __str__(self) -> str:
        kinds = sorted(((getattr(self, one.name), one.name) for one in fields(self)), reverse=True)
        return f"{told(self.total)}: " + ", ".join(f"{name} {told(n)}" for n, name in kinds if n)


def told(n: float) -> str:
    """Format a number of bytes as MB or GB."""
    return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.1f} MB"


def estimate(
    config: Config,
    *,
    engine: str = "native",
    accumulate: int = 1,
    checkpointing: bool = False,
    precision: str = "float32",
    ranks: int = 1,
) -> Memory:
    """Estimate the memory of each process of a run.

    Args:
        config: the settings; `batch_size` counts the images of all ranks.
        engine: "native" or "torch". The estimate for "native" is computed from the layers' shapes. The estimate for "torch" is
            traced on fake tensors, takes seconds, and excludes the workspaces of a GPU's convolutions.
        accumulate, checkpointing, precision: as in `Torch`; the native engine only has `accumulate`.
        ranks: the number of processes that form the engine.

    Raises:
        ValueError: there is no estimate for the engine or the backbone; `accumulate` is below 1.
    """
    whole("accumulate", accumulate, 1)
    rows = -(-config.data.batch_size // ranks)
    sides = size(config.data.input_size, "input_size")
    image = sides[0] * sides[1] * 3 * _VALUE
    if engine == "torch":
        from .torch.footprint import footprint

        made = footprint(config, rows, accumulate=accumulate, checkpointing=checkpointing, precision=precision)
        pairs = config.method.similarities(rows * ranks) // ranks - config.method.similarities(rows)
        activations = made.pop("activations") + 3 * _VALUE * pairs
        return Memory(**made, activations=activations, views=2 * rows * image * (_BATCHES + 1))
    if engine != "native":
        raise ValueError(f'engine must be "native" or "torch", got {engine!r}')
    return _native(config, rows, accumulate, sides, image)


def _native(config: Config, rows: int, pieces: int, sides: tuple[int, int], image: int) -> Memory:
    method, known = config.method, layers(config.backbone, sides)
    if known is None:
        raise ValueError(f'arch {config.backbone.name!r} is not available with engine="native"')
    own = method.memory(config.backbone.features)
    queue = sum(n for names, n in own.items() if "queue_size" in names)
    weights = sum(one.weights for one in known) + sum(own.values()) - queue
    slots = 2 if isinstance(config.optimizer, AdamW) else int(getattr(config.optimizer, "momentum", 0) > 0)
    follows = isinstance(method, MomentumSettings)
    learnt = method.views_learnt * -(-rows // pieces)
    # A pass without gradients holds a layer's input, and the outputs of its convolution and its norm.
    passing = 3 * _VALUE * max(one.values for one in known) if follows and method.views_learnt == 2 else 0
    kept = learnt * sum(one.kept for one in known) + -(-rows // pieces) * passing
    pairs = method.similarities(rows if method.similarities(2) != 2 * method.similarities(1) else -(-rows // pieces))
    # The engine has a copy of both views; parts of shuffled rows, or of both views, take another one.
    copies = 2 + (1 if getattr(method, "splits", 1) > 1 else 0)
    return Memory(
        weights=_VALUE * weights,
        # The gradient of a piece is computed before it is added.
        gradients=_VALUE * weights * min(pieces, 2),
        optimizer=_VALUE * weights * slots,
        momentum=_VALUE * (weights * follows + queue),
        activations=kept + _OF_PAIR * _VALUE * pairs,
        views=rows * image * (2 * _BATCHES + copies),
    )


def largest_batch(config: Config, limit: int, **how: Any) -> int:
    """The largest batch size, over all ranks, that needs at most `limit` bytes in each process; 0 if none fits.

    The search is accurate to about 3 %. Candidates are the common multiples of the number of ranks and of the setting `splits`,
    the number of parts of a batch. Each part has at least 2 images.

    Args:
        config: the settings; `batch_size` is ignored.
        limit: the maximum number of bytes in each process.
        how: keywords of `estimate`.
    """
    parts, ranks = getattr(config.method, "splits", 1), how.get("ranks", 1)
    unit = parts * ranks // _common(parts, ranks)
    least = max(1, -(-2 * parts // unit))

    def fits(n: int) -> bool:
        return estimate(config.changed(batch_size=n * unit), **how).total <= limit

    if not fits(least):
        return 0
    low, high = least, 2 * least
    while high * unit < 1 << 20 and fits(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 32):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low * unit


def _common(a: int, b: int) -> int:
    return a if b == 0 else _common(b, a % b)


def machine() -> tuple[int, int]:
    """The free and the total main memory that this process may use, in bytes; (0, 0) if unknown."""
    found = {}
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, value = line.split(":")
            found[name] = int(value.split()[0]) * 1024
    except (OSError, ValueError):
        try:
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, OSError, ValueError):
            return 0, 0
        return total, total
    free, total = found.get("MemAvailable", 0), found.get("MemTotal", 0)
    # A container's limit.
    try:
        most = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free, total
    return min(free, max(0, most - used)), min(total, most)


def check(config: Config, engine: Engine, warn: Callable[[str], object]) -> Memory | None:
    """Warn if a step needs more memory than is free on the engine's device.

    Returns:
        The estimate. None if there is no estimate for the engine, or if the estimate has failed. Also None for engine "torch"
        if the batch is certain to fit or the memory is unknown, since the estimate takes seconds.

    Raises:
        ValueError: the estimate, reduced by the fraction `BAND`, exceeds the total memory; raised on all ranks.
    """
    how, error, wanted = engine.how(), None, None
    if how is None:
        return None
    free, total = engine.room() or machine()
    # Even the widest backbones need less than 32 KiB per pixel.
    pixels = 2 * config.data.batch_size // how.get("ranks", 1)
    height, width = size(config.data.input_size, "input_size")
    if how["engine"] == "native" or (total and pixels * height * width * (32 << 10) > free):
        try:
            wanted = estimate(config, **how)
        except Exception as unknown:
            # A third-party backbone may raise anything on fake tensors.
            warn(f"memory: not estimated; {unknown}")
            return None
        if total and wanted.total * (1 - BAND) > total:
            error = ValueError(f"{_short(config, wanted, total, 'there are')}; {remedies(config, total, how)}")
        elif total and wanted.of_step > free:
            warn(f"{_short(config, wanted, free, 'free are')}; if it fails: {remedies(config, free, how)}")
    engine.ranks.fail(error)
    return wanted


def _short(config: Config, wanted: Memory, room: int, verb: str) -> str:
    return f"batch_size={config.data.batch_size} requires about {wanted}; {verb} {told(room)}"


def remedies(config: Config, limit: int, how: dict[str, Any]) -> str:
    """A line that suggests how to fit the run into `limit` bytes: by accumulation, checkpointing or a smaller batch."""
    found, ranks, batch = [], how.get("ranks", 1), config.data.batch_size
    parts, now = getattr(config.method, "splits", 1), how.get("accumulate", 1)
    for pieces in (2**n for n in range(1, 11) if 2**n > now):
        splits = parts if parts % (pieces * ranks) == 0 else pieces * ranks
        if batch % splits or batch // splits < 2:
            break
        changed = config if splits == parts else config.changed(splits=splits)
        if estimate(changed, **{**how, "accumulate": pieces}).total <= limit:
            of_run = (
                ""
                if splits == parts
                else f" with splits={splits}, a setting of the run (norms over parts of the batch)"
            )
            found.append(f"accumulate={pieces}{of_run}")
            break
    if how.get("engine") == "torch" and not how.get("checkpointing"):
        again = {**how, "checkpointing": True}
        if estimate(config, **again).total <= limit:
            found.append("checkpointing=True")
    if smaller := largest_batch(config, limit, **how):
        found.append(f"batch_size={smaller}")
    return f"give {', or '.join(found)}" if found else "give a smaller backbone or smaller views: no batch fits"

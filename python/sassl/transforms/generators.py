"""Random generators for transforms: drawing seeds that differ between processes, and pickling generators."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def draw_seed(generator: Any) -> int:
    """Draw a 64-bit seed from a torch or numpy generator; the seeds of different workers and ranks differ.

    For None, the seed is drawn from torch's global generator if torch is imported, else from numpy's.
    """
    torch = sys.modules.get("torch")
    # DataLoader seeds the global generators in each worker and epoch.
    if generator is None and torch is None:
        seed = int(np.random.randint(2**63 - 1, dtype=np.int64))
    elif is_numpys(generator):
        seed = int(generator.integers(2**63 - 1))
    else:
        assert torch is not None
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device="cpu"))
    worker, rank = worker_seed(), _rank()
    # Each worker gets the same copy of the generator in each epoch: DataLoader's seed distinguishes them.
    apart = [worker] if worker is not None and generator is not None else []
    if worker is None and rank is None:
        apart = _child()
    if not apart and rank is None:
        return seed
    place = () if rank is None else (rank,)
    return int(np.random.SeedSequence([seed, *apart], spawn_key=place).generate_state(1, np.uint64)[0])


#: The rank of the process that spawned this process; None if the parent has no rank. A forked process inherits the
#: process group instead.
_parents_rank: int | None = None


def _rank() -> int | None:
    """Return the rank in torch's process group or, without a group, the rank of the process that spawned this process.

    None if neither exists, or if the group has a single rank.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return _parents_rank
    return distributed.get_rank() if distributed.get_world_size() > 1 else None


def _child() -> list[int]:
    """The index of this process among its parent's children, preceded by the indices of its ancestors.

    The list is empty unless multiprocessing, or Hugging Face's multiprocess, started this process.
    """
    for name in ("multiprocess.process", "multiprocessing.process"):
        if (module := sys.modules.get(name)) and (number := module.current_process()._identity):
            return list(number)
    return []


def worker_seed() -> int | None:
    """DataLoader's seed for this worker process, which differs between workers and epochs; None outside a worker."""
    data = sys.modules.get("torch.utils.data")
    worker = data.get_worker_info() if data is not None else None
    return None if worker is None else worker.seed


def is_numpys(generator: Any) -> bool:
    """Return whether a generator is numpy's."""
    return isinstance(generator, np.random.Generator)


class _Spawned:
    """A generator pickled for a process that multiprocessing spawns, with the rank of the spawning process."""

    def __init__(self, generator: Any, rank: int) -> None:
        self.generator, self.rank = generator, rank


def packed_generator(generator: Any) -> Any:
    """Convert a generator to a form that can be pickled: a torch generator becomes the bytes of its state."""
    packed = generator if generator is None or is_numpys(generator) else generator.get_state().numpy().tobytes()
    spawning = getattr(sys.modules.get("multiprocessing.context"), "get_spawning_popen", lambda: None)() is not None
    rank = _rank() if spawning else None
    # Other pickles are the same on all ranks, because Hugging Face's cache is keyed by them.
    return packed if rank is None else _Spawned(packed, rank)


def unpacked_generator(packed: Any) -> Any:
    """Restore a generator from what `packed_generator` returned."""
    if isinstance(packed, _Spawned):
        global _parents_rank
        _parents_rank, packed = packed.rank, packed.generator
    if not isinstance(packed, bytes):
        return packed
    import torch

    return torch.Generator().set_state(torch.frombuffer(bytearray(packed), dtype=torch.uint8))


def check_generator(generator: Any) -> None:
    """Check that a generator is supported.

    Raises:
        TypeError: neither a torch nor a numpy generator.
        ValueError: a torch generator on a device other than the CPU.
    """
    torch = sys.modules.get("torch")
    if generator is None or is_numpys(generator):
        return
    if torch is None or not isinstance(generator, torch.Generator):
        kind = type(generator).__name__
        raise TypeError(f"generator must be a torch.Generator or a numpy.random.Generator, got {kind}")
    if generator.device.type != "cpu":
        raise ValueError(
            f"generator must be on the CPU, got one on {generator.device}, which forked workers cannot use"
        )

"""Random draws of layers such as dropout and stochastic depth. They depend only on the seed, the step and the rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch import Tensor

from ...distributed.collectives import World

#: The name of the step count in checkpoints, and the base for splitting the count into two float32 digits.
#: A single float32 is exact only up to 2^24.
_NAME, _LOW = "draws.steps", 1 << 20


class Draws:
    """Seeds torch's random generators for each step, and restores their earlier state afterwards. Each rank has its own draws.

    Args:
        seed: the seed of the run.
        world: the ranks of the engine.
    """

    def __init__(self, seed: int, world: World) -> None:
        self._seed, self._rank = seed, world.rank
        self.steps = 0

    @contextmanager
    def step(self, device: torch.device) -> Iterator[None]:
        """Within the block, seed the generators for one step on a device. A step that raises an error is not counted."""
        own = blake2b(f"{self._seed} {self.steps} {self._rank}".encode(), digest_size=4)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            generators = [torch.default_generator]
            if device.type == "cuda":
                generators.append(torch.cuda.default_generators[device.index or 0])
            for generator in generators:
                generator.manual_seed(int.from_bytes(own.digest(), "little"))
            yield
        self.steps += 1

    def state(self) -> dict[str, Tensor]:
        """The number of completed steps."""
        return {_NAME: torch.tensor([float(self.steps // _LOW), float(self.steps % _LOW)])}

    @staticmethod
    def read(given: Mapping[str, Tensor]) -> int:
        """Read the number of completed steps from the result of `state`.

        Raises:
            ValueError: the state is not a valid count.
        """
        high, low = given[_NAME].tolist()
        if not (0 <= high < 1 << 24 and 0 <= low < _LOW and high == int(high) and low == int(low)):
            raise ValueError(f"{_NAME} must be integers, got {[high, low]}; the state is damaged")
        return int(high) * _LOW + int(low)

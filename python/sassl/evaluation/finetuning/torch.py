"""The PyTorch engine: sassl's own backbones and any module, on CPUs and GPUs, with several ranks acting as one.

In a step, every rank computes the loss and the gradients of its rows of the batch. Loss and gradients are summed over ranks,
and every rank takes the same SGD step. Batch normalization uses the statistics of the whole batch, across all ranks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from ...arguments import choice
from ...data.ranks import ALONE
from ...distributed import launch
from ...distributed.collectives import World
from ...distributed.norms import Parts, by_parts
from ...distributed.ranks import Processes
from .tuner import Settings, State, Tuner, first_head

_SLOT = "momentum_buffer"


class Torch(Tuner):
    """A fine-tuner that trains a copy of a module.

    Args:
        model: a module from images (N, 3, H, W) to features (N, dim); or one of sassl's models, whose method `module` returns
            such a module.
        classes: number of classes.
        size: (height, width) of the images.
        threads: number of threads for steps on a CPU; None: PyTorch's default for a single process; with several, the
            environment variable SASSL_THREADS, else this rank's share of the cores.
        device: a torch device, such as "cuda" or "cpu"; None: this process's GPU if there is one, else the CPU.
        precision: "bf16" (forward passes in bfloat16 by autocast) or "float32"; None: "bf16" on a GPU, else "float32".
        seed: seed of the classifier's initial weights, and of the network's random draws, such as dropout.

    Raises:
        TypeError: the model is neither a module nor one of sassl's models.
        ValueError: a module that does not compute features (N, dim) of images of this size.
    """

    name = "torch"

    def __init__(
        self,
        model: Any,
        classes: int,
        size: tuple[int, int],
        *,
        threads: int | None = None,
        device: str | None = None,
        precision: str | None = None,
        seed: int = 0,
    ) -> None:
        here = launch.here(None)
        self.device = launch.device_of(device, here)
        group = launch.join(None, here, self.device)
        if self.device.type == "cpu" and (threads is not None or group is not None):
            torch.set_num_threads(launch.threads_of(threads, here))
        self._world, self.ranks = World(group), ALONE if group is None else Processes(group)
        precision = choice("precision", precision, ("bf16", "float32", None))
        self._is_half = precision == "bf16" or (precision is None and self.device.type == "cuda")
        self._model, self._classes, self._seed = _module(model), classes, seed
        self._features = _features(copy.deepcopy(self._model).to(self.device, torch.float32), size)
        self.begin(Settings())

    def begin(self, settings: Settings) -> None:
        """Start a run from the pretrained weights, with these settings."""
        backbone = copy.deepcopy(self._model).to(torch.float32)
        backbone.requires_grad_(not settings.frozen)
        for one in backbone.modules():
            if isinstance(one, _BatchNorm) and settings.norm_momentum is not None:
                one.momentum = settings.norm_momentum
        head = nn.Sequential(nn.Linear(self._features, self._classes))
        self._net, self._frozen = nn.ModuleDict({"backbone": backbone, "head": head}), settings.frozen
        if self._world.size > 1 and not settings.frozen:
            by_parts(self._net, Parts(1, self._world.rank, self._world.size), self._world)
        self._net.to(self.device).to(memory_format=torch.channels_last)
        learning = [p for p in self._net.parameters() if p.requires_grad]
        self._optimizer = torch.optim.SGD(
            learning,
            lr=0.0,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
        )
        for parameter in learning:
            self._optimizer.state[parameter][_SLOT] = torch.zeros_like(parameter)
        self.load_state({**self.state(), **first_head(self._features, self._classes, self._seed)})
        self._world.first(list(self._tensors().values()))

    def step(self, images: NDArray[np.float32], targets: NDArray[np.int64], lr: float, number: int) -> Tensor:
        """Take a step; see `Tuner.step`."""
        self._net.train()
        if self._frozen:
            self._net["backbone"].eval()
        classes = torch.from_numpy(targets).to(self.device, non_blocking=True)
        self._optimizer.zero_grad(set_to_none=True)
        with launch.on(self.device), self._drawing(number):
            with torch.autocast(self.device.type, torch.bfloat16) if self._is_half else nullcontext():
                scores = self._scores(self._images(images))
            loss = cross_entropy(scores.float(), classes, reduction="sum") / (len(classes) * self._world.size)
            loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self._net.parameters() if p.grad is not None]
        self._world.sum_all(gradients)
        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.step()
        return self._world.sum(loss.detach().clone())

    def _scores(self, images: Tensor) -> Tensor:
        scores: Tensor = self._net["head"](self._net["backbone"](images))
        return scores

    def _images(self, images: NDArray[np.float32]) -> Tensor:
        """Return images as (N, 3, H, W) on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(images))
        tensor = tensor.permute(0, 3, 1, 2) if tensor.shape[3] == 3 else tensor
        return tensor.to(self.device, memory_format=torch.channels_last, non_blocking=True)

    @contextmanager
    def _drawing(self, number: int) -> Iterator[None]:
        """Make the random draws of a step a function of the seed, the step and the rank."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            seed = np.random.SeedSequence([self._seed, number, self._world.rank]).generate_state(1, np.uint64)[0]
            torch.manual_seed(int(seed >> np.uint64(1)))
            yield

    @torch.no_grad()
    def scores(self, images: NDArray[np.float32]) -> Tensor:
        """Return scores (N, classes), computed in float32 whatever the precision of the steps."""
        self._net.eval()
        return self._scores(self._images(images)).cpu()

    def _tensors(self) -> dict[str, Tensor]:
        """Return all tensors of the network and the optimizer by name, without copying them."""
        names: dict[Tensor, str] = {p: name for name, p in self._net.named_parameters()}
        slots = {
            f"optimizer.{names[p]}.{_SLOT}": held[_SLOT] for p, held in self._optimizer.state.items() if _SLOT in held
        }
        return {**self._net.state_dict(), **slots}

    def state(self) -> State:
        """Return the state of the network and the optimizer."""
        tensors = self._tensors().items()
        return {name: x.detach().to("cpu", torch.float32, copy=True).contiguous().numpy() for name, x in tensors}

    @torch.no_grad()
    def load_state(self, state: State) -> None:
        """Restore a state returned by `state`."""
        own = self._tensors()
        _check(own, state)
        for name, tensor in own.items():
            tensor.copy_(torch.from_numpy(np.array(state[name])))


def _module(model: Any) -> nn.Module:
    """Return the model itself if it is a module, or the module of one of sassl's models."""
    if isinstance(model, nn.Module):
        return model
    if callable(made := getattr(model, "module", None)):
        module: nn.Module = made()
        return module
    name = type(model).__name__
    raise TypeError(f"model must be one of sassl's or a torch.nn.Module from images to features, got {name}")


@torch.no_grad()
def _features(backbone: nn.Module, size: tuple[int, int]) -> int:
    """Return the length of a feature vector, as found by a forward pass.

    Raises:
        ValueError: the module does not return features.
    """
    first = next(backbone.parameters(), torch.empty(0))
    made = backbone.eval()(torch.zeros(2, 3, *size, device=first.device))
    if not isinstance(made, Tensor) or made.ndim != 2 or len(made) != 2:
        got = f"a tensor {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise ValueError(
            f"model must return features (2, dim) for images (2, 3, {size[0]}, {size[1]}), got {got}; give a module that pools "
            "and flattens them"
        )
    return int(made.shape[1])


def _check(own: Mapping[str, Tensor], state: State) -> None:
    """Raise a ValueError unless a state has the same names and shapes as these tensors."""
    for name in sorted(own.keys() ^ state.keys()):
        there = "is missing" if name in own else "does not belong to this network"
        raise ValueError(f"state entry {name!r} {there}; is it of another backbone?")
    for name, tensor in own.items():
        if tuple(tensor.shape) != np.shape(state[name]):
            raise ValueError(f"{name} must have shape {tuple(tensor.shape)}, got {np.shape(state[name])}")

"""The engine on PyTorch: a method's module, its optimizer, and the ranks that form one engine.

A step consists of:

1. `before_step`;
2. the forward pass, and the sum over ranks of the loss;
3. the backward pass, and the sum over ranks of the gradients;
4. the optimizer's update;
5. `after_step`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.ranks import Alone, check_same, together
from ...distributed import launch
from ...distributed.collectives import World
from ...distributed.norms import Parts, by_parts, running, unmoved
from ...distributed.ranks import Processes
from ...transforms.views import Views
from .. import batches
from ..config import Config
from ..engines import Engine, Rates, Report, State
from . import accumulation, foreign, losses, optimizers, recomputation, state
from .methods import METHODS, Forward, Method
from .told import Features, Told
from .views import loading


class TorchEngine(Engine):
    """The engine that `options.Torch` builds. The keyword arguments are the fields of `options.Torch`.

    Args:
        config: the settings of the run.
        threads: the number of CPU threads; None: SASSL_THREADS, else this rank's share of the cores. On the CPU, torch uses
            the same number if `threads` is given or there is a process group.
    """

    name = "torch"

    def __init__(
        self,
        config: Config,
        threads: int | None = None,
        *,
        device: str | None = None,
        precision: str | None = None,
        channels_last: bool | None = None,
        compile: bool | str = False,  # noqa: A002 - torch's word
        graphs: bool = False,
        ahead: bool | None = None,
        views: str | None = None,
        group: Any = None,
        accumulate: int = 1,
        checkpointing: bool = False,
    ) -> None:
        if config.method.name not in METHODS:
            raise ValueError(
                f'method must be one of {", ".join(METHODS)} for engine="torch", got {config.method.name!r}'
            )
        here = launch.here(group)
        self.device = launch.device_of(device, here)
        self._config, self._threads, self._where = config, launch.threads_of(threads, here), views
        group = launch.join(group, here, self.device)
        if self.device.type == "cpu" and (threads is not None or group is not None):
            torch.set_num_threads(self._threads)
        self.ranks, self._world = Alone() if group is None else Processes(group), World(group)
        check_same(self.ranks, "config", config.nested())
        on_gpu = self.device.type == "cuda"
        self._precision = precision or ("bf16" if on_gpu else "float32")
        dtype = torch.float64 if self._precision == "float64" else torch.float32
        self._is_ahead = on_gpu if ahead is None else ahead
        # The last step's values, if they have not been read yet.
        self._told: Told | None = None
        self._copies = torch.cuda.Stream(self.device) if on_gpu else None  # type: ignore[no-untyped-call]
        is_last = dtype == torch.float32 if channels_last is None else channels_last
        self._format = torch.channels_last if is_last else torch.contiguous_format
        self._dtype = dtype
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self._method = together(self.ranks, self._made)
        accumulation.check(self._method, config.method.name, accumulate)
        self._method.pieces = accumulate
        self._parts = Parts(self._method.parts // accumulate, self._world.rank, self._world.size)
        by_parts(self._method, self._parts, self._world)
        check_same(self.ranks, "arch", state.shapes(self._method))
        self._method.to(self.device, dtype)
        if is_last:
            self._method.to(memory_format=torch.channels_last)
        self._remakes = checkpointing
        if checkpointing:
            recomputation.wrap(self._method.backbone, config.backbone.name)
        self._replays = graphs
        if compile:
            how = {"backend": compile} if isinstance(compile, str) else {"mode": "reduce-overhead" if graphs else None}
            for network in self._method.children():
                network.compile(fullgraph=True, dynamic=False, **how)
        self._optimizer = optimizers.build(config.optimizer, self._method, self.device)
        self._is_whole = True
        self._begin()

    def _made(self) -> Method:
        method = METHODS[self._config.method.name](self._config, self._world)
        foreign.try_out(method.backbone, self._config, self._format)
        return method

    def _begin(self) -> None:
        """Set the initial state. Rank 0 computes it for all ranks, because math libraries differ in the last bits."""
        error: Exception | None = None
        if self.ranks.rank == 0:
            try:
                if (begun := self._method.first_state(self._config)) is not None:
                    self.load_state(begun)
            except (ValueError, MemoryError) as raised:
                error = raised
        self.ranks.fail(error)
        named = self.tensors()
        self._world.first(list(named.values()))
        self.put(named)

    @property
    def threads(self) -> int:
        """The number of images to preprocess in parallel."""
        return self._threads

    @property
    def features(self) -> int:
        """The dimension of the features."""
        return self._method.features

    def how(self) -> dict[str, Any]:
        """The keyword arguments of `memory.estimate` that describe this engine."""
        own = {"accumulate": self._method.pieces, "checkpointing": self._remakes, "precision": self._precision}
        return {"engine": self.name, **own, "ranks": self._world.size}

    def room(self) -> tuple[int, int] | None:
        """The free and total bytes of the GPU; None on the CPU."""
        return torch.cuda.mem_get_info(self.device) if self.device.type == "cuda" else None

    def check_batch(self, batch: int) -> None:
        """Check that the ranks can divide the batch, and that the method supports it."""
        if (ranks := self._world.size) > 1 and batch % ranks:
            near = f"{batch // ranks * ranks} or {-(-batch // ranks) * ranks}"
            raise ValueError(
                f"batch_size must be a multiple of the number of ranks ({ranks}), such as {near}, got {batch}"
            )
        self._method.check_batch(batch)

    def loading(self, transform: Views) -> dict[str, Any]:
        """The loader's keyword arguments for half-finished views if the device completes the views; else an empty dict."""
        return loading(transform, self._where, self.device, self._world.size)

    def views(self, batch: Any) -> tuple[Any, Any]:
        """The left and right views of a batch; half-finished views are completed on the device."""
        begun = batches.half(batch)
        if begun is None or self.device.type == "cpu":
            return batches.views(batch, self._threads)
        left, right = begun.finish(self.device)
        return left, right

    def step(self, left: NDArray[np.float32], right: NDArray[np.float32], rates: Rates) -> Report:
        """Compute one step."""
        self._check_whole(looks=False)
        views = self._views(left, right)
        before, self._told = self._told, None
        self._is_whole = False
        method = self._method
        self._optimizer.zero_grad(set_to_none=True)
        if self._replays:
            # The last step's results are no longer needed.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with self._hearing(), launch.on(self.device), self._drawing():
            method.before_step(rates.momentum)
            made = self._forward(views)
            told = self._tell(made, len(left) * self._world.size)
            if not self._is_ahead:
                self._look(told)
            if method.pieces == 1:
                self._backward([made.loss])
            self._world.sum_all([p.grad for p in method.parameters() if p.grad is not None])
            self._share_running()
            optimizers.set_rates(self._optimizer, rates)
            self._optimizer.step()
            method.after_step(rates.momentum)
        self._is_whole = True
        features = self._features(made, len(left))
        if not self._is_ahead:
            loss, *watched = told.read()
            return Report(loss, dict(zip(told.names, watched, strict=True)), np.asarray(features))
        self._told = told
        if before is not None:
            self._look(before, changed=True)
        return Report(told.loss, told.watched, features)

    def _forward(self, views: list[Tensor]) -> Forward:
        """Run the forward pass; with several pieces, also the backward pass."""
        if self._method.pieces > 1:
            return accumulation.forward(self._method, views, self._autocast, self._backward)
        with self._autocast():
            return Forward.of(self._method(*views))

    def _backward(self, made: Sequence[Tensor], gradients: Sequence[Tensor] | None = None) -> None:
        with unmoved(self._method) if self._remakes else nullcontext():
            torch.autograd.backward(made, gradients)

    def _look(self, told: Told, changed: bool = False) -> None:
        """Check that the loss of a step is finite; `changed` states whether the step has already changed the weights."""
        try:
            told.read()
        except ValueError:
            self._is_whole = not changed
            raise

    def _tell(self, made: Forward, batch: int) -> Told:
        """Sum the loss and the metrics over ranks in one collective."""
        own = torch.stack([made.loss.detach(), *made.watched.values()]).double()
        names = list(made.watched)
        if made.projections is None:
            return Told(self._world.sum(own), names)
        sums = losses.directions(made.projections)
        own, sums = self._world.sum(torch.cat([own, sums.flatten()])).tensor_split([len(own)])
        return Told(torch.cat([own, losses.spread(sums.view(2, -1), batch).view(1)]), [*names, "feature_std"])

    def _features(self, made: Forward, rows: int) -> Features:
        features = torch.empty(rows, 0) if made.features is None else made.features.detach()
        # The next replay of the CUDA graph overwrites the features.
        return Features(features.clone() if self._replays else features)

    def _share_running(self) -> None:
        """Average the batch-norm running statistics over ranks, so that they describe the global batch.

        The average is exact, because running statistics are linear in the statistics of the parts. Called after the backward
        pass, which may need the values from the forward pass.
        """
        if self._world.size == 1 or not self._parts.are_local:
            return
        moments = running(self._method)
        self._world.sum_all(moments)
        torch._foreach_div_(moments, self._world.size)

    def _views(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> list[Tensor]:
        """Check both views, and move them to the device."""
        if np.shape(left) != np.shape(right):
            raise ValueError(f"right views must have shape {np.shape(left)}, as the left ones, got {np.shape(right)}")
        self.check_batch(len(left) * self._world.size)
        return [self._images(f"{name} views", images) for name, images in (("left", left), ("right", right))]

    def _images(self, name: str, images: NDArray[np.float32] | Tensor) -> Tensor:
        """Check images, and convert them to a tensor (N, 3, H, W) on the engine's device."""
        tensor = images if isinstance(images, Tensor) else _tensor(np.asarray(images))
        if tensor.ndim != 4 or 3 not in (tensor.shape[1], tensor.shape[3]) or not tensor.numel():
            raise ValueError(f"{name} must have shape (N, H, W, 3) or (N, 3, H, W), got {tuple(tensor.shape)}")
        tensor = tensor.permute(0, 3, 1, 2) if tensor.shape[3] == 3 else tensor
        if (side := min(tensor.shape[2:])) < (least := self._config.backbone.least_side):
            raise ValueError(f"input_size must be at least {least} for {self._config.backbone.name}, got {side}")
        if self.device.type == "cpu" and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} must have finite values")
        if self._copies is None or tensor.is_cuda:
            return tensor.to(self.device, self._dtype, memory_format=self._format)
        # A separate stream overlaps the copy with the GPU's current work.
        with torch.cuda.stream(self._copies):
            copied = tensor.to(self.device, non_blocking=True)
        here = torch.cuda.current_stream(self.device)
        here.wait_stream(self._copies)
        copied.record_stream(here)
        return copied.to(self._dtype, memory_format=self._format)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self._precision == "bf16" else nullcontext()

    def _drawing(self) -> AbstractContextManager[Any]:
        return self._method.draws.step(self.device) if self._method.draws else nullcontext()

    def _hearing(self) -> AbstractContextManager[Any]:
        return self.ranks.hearing() if isinstance(self.ranks, Processes) else nullcontext()

    @torch.no_grad()
    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the backbone's features of images, as float32. Autocast is off, regardless of `precision`."""
        self._check_whole()
        backbone = self._method.backbone
        backbone.eval()
        try:
            tensor = self._images("images", images)
            with foreign.telling(self._config.backbone, tensor):
                # Not the compiled module, which is for training and one batch size.
                return backbone.forward(tensor).float().cpu().numpy()
        finally:
            backbone.train()

    def backbone(self) -> State:
        """The backbone's tensors."""
        self._check_whole()
        return state.arrays(dict(sorted(self._method.backbone.state_dict().items())))

    def load_backbone(self, given: State) -> None:
        """Load the backbone's tensors; `num_batches_tracked` may be missing, and `fc.*` is ignored if unused."""
        self._check_whole()
        tensors = state.check_backbone(self._method.backbone, given)
        self._method.backbone.load_state_dict(tensors)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that a resumed run needs, by name, in the dtype of the engine."""
        self._check_whole()
        return state.tensors(self._method, self._optimizer)

    def state(self) -> State:
        """All tensors that a resumed run needs, by name, as float32 arrays."""
        return state.arrays(self.tensors())

    def load_state(self, given: State) -> None:
        """Load a state."""
        self.put(state.check(state.tensors(self._method, self._optimizer), given))

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the result of `tensors`, from this or another rank."""
        state.put(self._method, self._optimizer, tensors)
        self._is_whole, self._told = True, None

    def save(self, path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
        """Write a checkpoint, with torch's version and the precision in its metadata."""
        super().save(path, {**metadata, "torch": torch.__version__, "precision": self._precision})

    def __str__(self) -> str:
        ranks = f", {self._world.size} ranks" if self._world.size > 1 else ""
        return f"torch {torch.__version__} on {self.device} in {self._precision}{ranks}"

    def _check_whole(self, looks: bool = True) -> None:
        """Check that no step was interrupted. With `looks`, also wait for the last step's loss, and check that it is finite."""
        if looks and self._is_whole and self._told is not None:
            told, self._told = self._told, None
            self._look(told, changed=True)
        if not self._is_whole:
            raise ValueError(
                "the engine is half changed: an error or Ctrl-C interrupted a step; load the last checkpoint"
            )


def _tensor(array: NDArray[np.float32]) -> Tensor:
    """A tensor that shares the array's memory. A read-only array is copied, because torch requires writable memory."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())

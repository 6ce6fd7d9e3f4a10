"""The options of the torch engine: `sassl.SimCLR(engine=Torch(precision="bf16", compile=True))`.

They are not part of a run's settings: training is the same, and a run can resume with another engine.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import Any

from ...arguments import choice, flag, whole
from ..config import Config
from ..engines import ENGINES, Engine


@dataclass(frozen=True, kw_only=True)
class Torch:
    """Builds an engine on PyTorch.

    Attributes:
        device: such as "cuda", "cuda:1" or "cpu"; None: this process's GPU if there is one, else the CPU.
        precision: "bf16": networks run in bfloat16 through autocast, while weights, losses, norm statistics, the queue,
            momentum encoders and optimizers stay float32; "float32"; "float64" throughout, for comparisons. None: "bf16" on a
            GPU, else
            "float32".
        channels_last: the memory format of images and weights; None: true except in float64.
        compile: whether to compile networks with `torch.compile`, which takes a minute or more before the first step and speeds
            up the later ones; or the name of its backend.
        graphs: whether compiled networks replay their kernels as CUDA graphs, which helps small networks and batches, whose
            launches take longer than their kernels, at the cost of extra memory.
        ahead: whether the loss is read one step late, so that the device never waits; a loss that is not finite is then
            reported after its update. None: true on a GPU.
        views: where `fit` computes the views of images. "cpu": on threads; "split": threads decode, crop and resize, and the
            device computes the rest, a batch at a time; "gpu": threads decode, and the device computes the rest. None: "split"
            on a GPU if all operations after the crop have kernels (a warning names one that has none), else "cpu". The draws
            and the loader's state are the same, so that a run can resume with another value; the views are bit-identical, on a
            GPU except for styled ones.
        accumulate: the number of pieces in which a rank processes its rows of a step, one after another, so that memory holds
            the activations of one piece only; each consists of whole parts of the batch for norms (`splits`), and the step is
            the same.
        checkpointing: whether blocks of the backbone keep only their inputs, and recompute the rest in the backward pass: a
            third more time for less memory.
        group: a process group of torch.distributed whose ranks form one engine; None: the default group if there is one, else
            the one described by the environment of torchrun or srun, which is created here and destroyed when the process ends.
    """

    device: str | None = None
    precision: str | None = None
    channels_last: bool | None = None
    compile: bool | str = False
    graphs: bool = False
    ahead: bool | None = None
    views: str | None = None
    accumulate: int = 1
    checkpointing: bool = False
    group: Any = None

    def __post_init__(self) -> None:
        choice("precision", self.precision, ("bf16", "float32", "float64", None))
        choice("views", self.views, ("cpu", "split", "gpu", None))
        if self.graphs and self.compile is not True:
            raise ValueError(f"graphs={self.graphs} requires compile=True, which compiles the networks")
        whole("accumulate", self.accumulate, 1)
        flag("checkpointing", self.checkpointing)

    def __call__(self, config: Config, threads: int | None = None, **how: Any) -> Engine:
        """Build the engine; `how` overrides attributes.

        Raises:
            ImportError: torch is not installed.
            ValueError: the settings are invalid; the ranks do not match.
        """
        if find_spec("torch") is None:
            raise ImportError('engine="torch" needs torch: install it, or the extra sassl[torch]')
        from .engine import TorchEngine

        made = replace(self, **how)
        return TorchEngine(config, threads, **{one.name: getattr(made, one.name) for one in fields(made)})


def auto(config: Config, threads: int | None = None, **how: Any) -> Engine:
    """Build torch's engine if it is installed, and has a GPU or is the only one with the backbone; else the native engine."""
    if find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available() or config.backbone.family is not None:
            return Torch()(config, threads, **how)
    return ENGINES["native"](config, threads, **how)


ENGINES["torch"] = Torch()
ENGINES["auto"] = auto

"""How the torch engine computes, as a value that makes one: `sassl.SimCLR(engine=Torch(precision="bf16", compile=True))`.

It is no part of a run's settings: what is learnt is the same, and a checkpoint of one engine is gone on with by another.
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
    """Makes an engine on PyTorch.

    Attributes:
        device: as "cuda", "cuda:1" or "cpu"; None: this process's GPU where there is one, else the CPU.
        precision: "bf16": networks in bfloat16 by autocast, while weights, losses, statistics of norms, the queue, momentum
            encoders and optimizers stay float32; "float32"; "float64", of all, for comparisons. None: "bf16" on a GPU, else
            "float32".
        channels_last: how images and weights lie in memory; None: so, but in float64.
        compile: networks by `torch.compile`: a minute or more before the first step, faster ones after it; or the name of its
            backend.
        graphs: whether compiled networks replay their kernels as CUDA graphs, which serves small networks and batches, whose
            launches take longer than their kernels; memory of their own is what it costs.
        ahead: whether the loss is looked at one step late, so that the device never waits; one that is not finite is told when
            a step was made of it. None: on a GPU.
        views: where views are made that `fit` makes of images. "cpu": on threads; "split": threads decode, crop and resize, and
            the rest is made on the device, a batch at a time; "gpu": threads decode, and all of the rest is made there. None:
            "split" on a GPU, where all that comes after the crop has kernels (a warning tells what has none), else "cpu". The
            draws and the loader's state are the same, so that a run may go on with another; the views are the same to the bit,
            on a GPU all but styled ones.
        accumulate: pieces in which a rank takes its rows of a step, one after another, so that memory holds the activations of
            one; each is of whole parts of the batch for norms (`splits`), and the step is the same.
        checkpointing: whether blocks of the backbone keep their inputs alone, and make the rest again for the gradient: a third
            more time for less memory.
        group: a process group of torch.distributed whose ranks are one engine; None: the default group, if there is one; else
            the one that torchrun's or srun's environment tells of, which is made here and ended with the process.
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
            raise ValueError(f"graphs = {self.graphs}: of networks that inductor compiles; give compile=True")
        whole("accumulate", self.accumulate, 1)
        flag("checkpointing", self.checkpointing)

    def __call__(self, config: Config, threads: int | None = None, **how: Any) -> Engine:
        """The engine; `how` has attributes in the place of these.

        Raises:
            ImportError: torch is not installed.
            ValueError: settings that cannot be; ranks that do not fit each other.
        """
        if find_spec("torch") is None:
            raise ImportError('engine="torch" needs torch: install it, or the extra sassl[torch]')
        from .engine import TorchEngine

        made = replace(self, **how)
        return TorchEngine(config, threads, **{one.name: getattr(made, one.name) for one in fields(made)})


def auto(config: Config, threads: int | None = None, **how: Any) -> Engine:
    """torch's engine where it is installed and has a GPU, or where it alone has the backbone; else the native one."""
    if find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available() or config.backbone.family is not None:
            return Torch()(config, threads, **how)
    return ENGINES["native"](config, threads, **how)


ENGINES["torch"] = Torch()
ENGINES["auto"] = auto

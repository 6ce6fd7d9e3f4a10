"""The options of the torch engine: `sassl.SimCLR(engine=Torch(precision="bf16", compile=True))`.

The options are not part of a run's settings. They affect only speed, memory and rounding, and a run can resume with other
options.
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
        device: the device, such as "cuda", "cuda:1" or "cpu"; None: this process's GPU if there is one, else the CPU.
        precision: "bf16", "float32" or "float64"; None: "bf16" on a GPU, else "float32". With "bf16", networks run in bfloat16
            through autocast; weights, losses, batch-norm statistics, the queue, momentum encoders and optimizers stay float32.
            "float64" is for comparisons.
        channels_last: whether images and weights are in the channels-last memory format; None: true except in float64.
        compile: whether to compile networks with `torch.compile`, or the name of a backend of `torch.compile`. Compilation
            takes a minute or more before the first step, and speeds up later steps.
        graphs: whether networks replay their kernels as CUDA graphs; requires `compile=True`. CUDA graphs use more memory.
            They are faster for small networks and batches, where launching kernels takes longer than running kernels.
        ahead: whether the loss is read one step late, so that the device never waits. A loss that is not finite is then
            reported after the weights were updated. None: true on a GPU, else false.
        views: where `fit` computes the views of images. "cpu": on CPU threads. "split": threads decode, crop and resize, and
            the device computes the rest, a batch at a time. "gpu": threads decode, and the device computes the rest. None:
            "split" on a GPU if all operations after the crop have kernels, else "cpu"; a warning names an operation without
            kernels. Views are bit-identical for all values, except for styled views computed on a GPU. A run can resume with
            another value, because the draws and the loader's state are the same.
        accumulate: the number of pieces into which a step divides a rank's rows (gradient accumulation). Memory then holds the
            activations of only one piece at a time, and the step is the same up to rounding. A value above 1 requires a setting
            `splits` (the number of parts of the global batch with separate batch-norm statistics) that is a multiple of
            `accumulate` times the number of ranks.
        checkpointing: whether each block of the backbone stores only its input, and recomputes its activations in the backward
            pass. This takes less memory, but about a third more time.
        group: a process group of torch.distributed; its ranks form one engine. None: the default group if there is one, else a
            new group according to the environment of torchrun or srun, if any. A new group is destroyed when the process ends.
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
        """Build the engine; the keyword arguments `how` override attributes.

        Raises:
            ImportError: torch is not installed.
            ValueError: the settings are invalid, or differ between ranks.
        """
        if find_spec("torch") is None:
            raise ImportError('engine="torch" needs torch: install it, or the extra sassl[torch]')
        from .engine import TorchEngine

        made = replace(self, **how)
        return TorchEngine(config, threads, **{one.name: getattr(made, one.name) for one in fields(made)})


def auto(config: Config, threads: int | None = None, **how: Any) -> Engine:
    """Build the torch engine if torch is installed, and there is a GPU or a third-party backbone; else the native engine."""
    if find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available() or config.backbone.family is not None:
            return Torch()(config, threads, **how)
    return ENGINES["native"](config, threads, **how)


ENGINES["torch"] = Torch()
ENGINES["auto"] = auto

"""The ranks that share work with this process. A process without a launcher or a process group does not import torch."""

from __future__ import annotations

import os
from datetime import timedelta

from ..data.ranks import ALONE, Ranks, group

#: Environment variables of processes started by torchrun and srun.
_TOLD = ("RANK", "WORLD_SIZE", "SLURM_PROCID")
#: The timeout of collective operations: the other ranks wait while rank 0 evaluates.
_PATIENCE = timedelta(days=1)


def ranks() -> Ranks:
    """The ranks of torch's default process group, or else the processes that torchrun or srun started.

    In the latter case, on a machine with GPUs, this process's GPU becomes the current device, so that `module.cuda()` moves a
    module there.

    Returns:
        A value for the argument `ranks` of `sassl.evaluation.extract`. A single process is a single rank.

    Raises:
        ValueError: a machine has several GPUs, but fewer than ranks; a launcher's variable is missing or not a whole number.
    """
    if group() is None and not any(name in os.environ for name in _TOLD):
        return ALONE
    import torch

    from ..distributed import launch
    from ..distributed.ranks import Processes

    own = launch.here(None)
    device = launch.device_of(None, own)
    if own is not None and device.type == "cuda":
        torch.cuda.set_device(device)
    joined = launch.join(None, own, device, _PATIENCE)
    return ALONE if joined is None else Processes(joined)

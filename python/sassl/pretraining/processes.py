"""The processes that were started with this one, for work that they share: torch is imported where there are any."""

from __future__ import annotations

import os
from datetime import timedelta

from ..data.ranks import ALONE, Ranks, group

#: What launchers set for each process: torchrun, and srun.
_TOLD = ("RANK", "WORLD_SIZE", "SLURM_PROCID")
#: The others wait while rank 0 judges.
_PATIENCE = timedelta(days=1)


def ranks() -> Ranks:
    """The ranks among which this process is one, as torchrun or srun started them, or of torch's default process group.

    Where there are GPUs, the current one is then that of this process: a module goes there by `module.cuda()`.

    Returns:
        What `sassl.evaluation.extract` takes as its `ranks`; for a process alone, that it is alone.

    Raises:
        ValueError: more ranks on a machine than it has GPUs; variables of a launcher that are missing or no numbers.
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

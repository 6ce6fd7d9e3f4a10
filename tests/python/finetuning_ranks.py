"""What two processes run for `test_finetuning.py`: steps of one fine-tuning, and a whole one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from sassl import evaluation
from sassl.evaluation.finetuning.torch import Torch
from sassl.evaluation.finetuning.tuner import Settings
from torch import nn

CLASSES, ROWS, SIDE = 3, 12, 8
SETTINGS = Settings(weight_decay=1e-2, norm_momentum=0.05)


def network() -> nn.Module:
    """A backbone without kinks, by which rounding alone would choose."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*layers)


def steps(tuner: Torch, rank: int, ranks: int) -> tuple[list[float], dict[str, np.ndarray]]:
    """The losses of three steps on this rank's share of the rows, and the state after them."""
    rng, losses = np.random.default_rng(5), []
    tuner.begin(SETTINGS)
    own = slice(rank * ROWS // ranks, (rank + 1) * ROWS // ranks)
    for number in range(3):
        images = rng.standard_normal((ROWS, SIDE, SIDE, 3), np.float32)
        targets = rng.integers(CLASSES, size=ROWS)
        losses.append(float(tuner.step(images[own], targets[own], 0.1, number)))
    return losses, tuner.state()


def whole(folder: Path, out: Path) -> dict:
    """A fine-tuning of a network on images of a folder."""
    rule = evaluation.Preprocessing(SIDE, normalize=None)
    return evaluation.finetune(
        network(), folder / "train", folder / "test", preprocessing=rule, engine="torch", device="cpu", threads=1,
        lr=0.1, weight_decay=1e-4, steps=8, batch_size=8, checkpoint_every=4, out=out,
    )  # fmt: skip


def work(rank: int, meet: str, images: str, folder: str) -> None:
    """The work of a rank; the first writes what was found."""
    dist.init_process_group("gloo", meet, rank=rank, world_size=2)
    found = steps(Torch(network(), CLASSES, (SIDE, SIDE), device="cpu", threads=1, seed=1), rank, 2)
    judged = whole(Path(images), Path(folder) / "two")
    if rank == 0:
        torch.save((found, judged), Path(folder) / "found.pt")
    dist.destroy_process_group()

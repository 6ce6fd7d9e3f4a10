"""A custom method, Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230) in sassl's training loop.

    python examples/barlow_twins.py photos --out run
    torchrun --nproc-per-node 2 -- examples/barlow_twins.py photos --out run  # the same run on two GPUs

A method consists of a module with a loss, its settings, and the class that users create. The two `register` calls below add it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from sassl.pretraining import LARS, Config, Data, MethodSettings, Pretraining, Schedule, register
from sassl.pretraining import Method as Row
from sassl.pretraining.torch import methods
from sassl.pretraining.torch.backbones import head
from sassl.pretraining.torch.losses import full
from sassl.transforms import BYOLTransform


@dataclass(frozen=True, kw_only=True)
class BarlowSettings(MethodSettings):
    """The settings, which are keywords of `BarlowTwins` and are stored in config.json."""

    name = "barlow-twins"
    dim: int = 8192
    hidden_dim: int = 8192
    redundancy: float = 5e-3

    def memory(self, features):  # number of weights in the projector, by the settings that determine it
        return {("hidden_dim", "dim"): (features + self.hidden_dim + self.dim) * self.hidden_dim}


@methods.register(BarlowSettings.name)
class Barlow(methods.Method):
    """The module; its loss is the distance of the correlation matrix between both views' projections from the identity."""

    def __init__(self, config, world):
        super().__init__(config, world)  # self.backbone, self.features, self.settings
        sizes = (self.features, self.settings.hidden_dim, self.settings.hidden_dim, self.settings.dim)
        # The last norm has neither gamma nor beta; like all norms, it uses the batch of all ranks.
        self.projector = head(*sizes, hidden_bias=False, last_norm=True, last_affine=False)

    def forward(self, left, right):
        features = self.backbone(left)  # left and right are this rank's rows of the batch
        one, other = self.projector(features), self.projector(self.backbone(right))
        # Rows of all ranks, with a gradient. A rank returns its share of the loss: here, the whole loss divided by the ranks.
        a, b = self.world.gather(full(one)), self.world.gather(full(other))
        with torch.autocast(left.device.type, enabled=False):  # networks may run in bfloat16, losses do not
            apart = (a.T @ b / len(a) - torch.eye(a.shape[1], dtype=a.dtype, device=a.device)).square()
            on_diagonal = apart.diagonal().sum() / self.world.size
            off_diagonal = apart.sum() / self.world.size - on_diagonal
        loss = on_diagonal + self.settings.redundancy * off_diagonal
        return methods.Forward(loss, features, one, {"on_diagonal": on_diagonal.detach()})


class BarlowTwins(Pretraining):
    name = BarlowSettings.name  # BarlowTwins("resnet18", engine="torch").fit("photos", out="run")


# facebookresearch/barlowtwins `main.py`, except for its learning rate of biases and norms (0.0048; weights have 0.2).
optimizer = LARS(weight_decay=1e-6, exclude_bias_and_norm=True)
schedule = Schedule(epochs=1000, lr=0.2, warmup_epochs=10)
PRESET = Config(BarlowSettings(), optimizer=optimizer, schedule=schedule, data=Data(batch_size=2048))
register(Row(BarlowSettings, BYOLTransform, {BarlowSettings.name: PRESET}, BarlowTwins))

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    options = {"out": "run", "arch": "resnet18", "epochs": 100, "batch-size": 256, "input-size": 224}
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    args = parser.parse_args()
    model = BarlowTwins(args.arch, engine="torch", input_size=args.input_size, dim=2048, hidden_dim=2048)
    model.fit(args.data, args.epochs, batch_size=args.batch_size, out=args.out, resume=True)
    if model.engine.ranks.rank == 0:
        model.export_backbone(f"{args.out}/backbone.safetensors")

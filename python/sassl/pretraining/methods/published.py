"""Settings that published runs share, for the presets."""

from __future__ import annotations

from typing import Any

#: The mean and standard deviation of CIFAR-10's training images.
CIFAR10 = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}
#: The settings that published runs on CIFAR-10 share.
RESNET18: dict[str, Any] = {"arch": "resnet18", "small_stem": True, "input_size": 32, "batch_size": 512}
#: lightly's `cifar10_benchmark.py`: SGD at learning rate 0.06 for a batch of 128, with weight decay on biases and norms too.
LIGHTLY: dict[str, Any] = {
    "optimizer": "sgd",
    "weight_decay": 5e-4,
    "exclude_bias_and_norm": False,
    "epochs": 200,
    "lr": 0.12,
    "scaling": "linear",
    "warmup_epochs": 0,
    "schedule_by": "epoch",
}

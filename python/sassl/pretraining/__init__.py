"""Pretraining of backbones by MoCo v2, BYOL, SimCLR or SimSiam, with style augmentation.

The input is a folder of images. The result is a backbone whose tensors have torchvision's names.

    import sassl

    model = sassl.SimCLR("resnet18", style="default", input_size=64, small_stem=True)
    model.fit("photos", epochs=100, batch_size=256, out="run")  # resume=True resumes bit-exactly
    model.history.plot("run/history.png")
    features = model.encode(images)  # uint8, PIL images, paths; preprocessed like the run's views
    model.export_backbone("resnet18.safetensors")  # torchvision.models.resnet18().load_state_dict(...)

    sassl.MoCoV2(preset="moco-v2-cifar10")  # PRESETS has the published settings

The training loop is in this package. Each step is computed by an engine: the native engine in Rust, or the PyTorch engine.
"""

from __future__ import annotations

from typing import Any

from . import methods as methods
from .comparison import Comparison, compare
from .config import METHODS, PRESETS, Config, Method, method_class, register
from .engines import ENGINES, Engine, Native, Rates, Report
from .history import History
from .loggers import LOGGERS, Begun, Logger
from .methods.base import Pretraining
from .monitor import Monitor
from .processes import ranks
from .rehearsal import DryRun, dry_run
from .settings import BACKBONES, LARS, SGD, AdamW, Backbone, Data, MethodSettings, MomentumSettings, Schedule
from .stopping import Requeue
from .torch import Torch

__all__ = [
    "BACKBONES",
    "ENGINES",
    "LARS",
    "LOGGERS",
    "METHODS",
    "PRESETS",
    "SGD",
    "AdamW",
    "Backbone",
    "Begun",
    "Comparison",
    "Config",
    "Data",
    "DryRun",
    "Engine",
    "History",
    "Logger",
    "Method",
    "MethodSettings",
    "MomentumSettings",
    "Monitor",
    "Native",
    "Pretraining",
    "Rates",
    "Report",
    "Requeue",
    "Schedule",
    "Torch",
    "compare",
    "dry_run",
    "method_class",
    "ranks",
    "register",
]


def __getattr__(name: str) -> Any:
    # The methods' classes.
    if (kind := method_class(name)) is not None:
        return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(row.kind.__name__ for row in METHODS.values())})

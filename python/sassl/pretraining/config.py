"""The settings of a run, and those that were published."""

from __future__ import annotations

import ast
import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from .._sassl import write_file
from ..arguments import choice, flag, number, whole, wrong
from ..transforms.plain import SASSL

#: Numbers that heads or a queue may have: 4 GiB, and several times that while they learn.
_MOST_NUMBERS = 2**30


@dataclass(frozen=True)
class Config:
    """What a run is: printed, saved with it, and compared when it goes on.

    Each method reads what is its own: `queue_size`, `splits`, `symmetric` and `mlp` are MoCo's, `layers` SimCLR's. `lr` is
    for a batch of 256, or of one image where `scaling` is "sqrt"; `encoder_momentum` is m of MoCo or tau of BYOL. `views`
    are keywords of the method's recipe; `style` is what a `SASSL` is made of, or None. Of batches that others made, `views`
    and `style` are what was given, and `views["normalize"]` may be "not known".
    """

    method: str
    arch: str = "resnet50"
    epochs: int = 200
    batch_size: int = 256
    input_size: int | tuple[int, int] = 224
    views: dict[str, Any] = field(default_factory=dict)
    style: dict[str, Any] | None = None
    small_stem: bool = False
    zero_init_residual: bool = False
    dim: int = 128
    hidden_dim: int = 2048
    layers: int = 2
    temperature: float = 0.1
    queue_size: int = 65_536
    splits: int = 1
    symmetric: bool = False
    mlp: bool = True
    encoder_momentum: float = 0.999
    encoder_momentum_schedule: str = "constant"
    optimizer: str = "sgd"
    nesterov: bool = False
    eta: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 1e-4
    exclude_bias_and_norm: bool = False
    lr: float = 0.03
    scaling: str = "linear"
    warmup_epochs: int = 0
    schedule_by: str = "step"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in ((one.name, one.type) for one in fields(self)):
            value = getattr(self, name)
            if kind == "int":
                object.__setattr__(self, name, whole(name, value))
            elif kind == "float":
                object.__setattr__(self, name, number(name, value))
                if not isfinite(getattr(self, name)):
                    raise wrong(name, value, "a finite number")
            elif kind == "str" and not isinstance(value, str):
                raise wrong(name, value, "a text")
        choice("encoder_momentum_schedule", self.encoder_momentum_schedule, ("constant", "cosine"))
        choice("scaling", self.scaling, ("linear", "sqrt", "none"))
        choice("schedule_by", self.schedule_by, ("step", "epoch"))
        whole("epochs", self.epochs, 1)
        whole("batch_size", self.batch_size, 1)
        whole("warmup_epochs", self.warmup_epochs)
        for name in ("small_stem", "zero_init_residual", "symmetric", "mlp", "nesterov", "exclude_bias_and_norm"):
            flag(name, getattr(self, name))
        if not 0 <= number("encoder_momentum", self.encoder_momentum) <= 1:
            raise wrong("encoder_momentum", self.encoder_momentum, "a number from 0 to 1")
        if not 0 < number("lr", self.lr) < float("inf"):
            raise wrong("lr", self.lr, "a number above 0")
        for name, kinds in (("views", dict), ("style", (dict, type(None)))):
            if not isinstance(getattr(self, name), kinds):
                raise wrong(name, getattr(self, name), "a dict")
        self._check_memory()
        for name in ("input_size", "views", "style"):
            object.__setattr__(self, name, plain(getattr(self, name)))

    def _check_memory(self) -> None:
        dim, hidden, features = self.dim, self.hidden_dim, 512 if self.arch in ("resnet18", "resnet34") else 2048
        heads = {
            "moco-v2": features * ((features if self.mlp else 0) + dim),
            "byol": features * hidden + 3 * hidden * dim,
            "simclr": (features + dim) * hidden + max(0, self.layers - 2) * hidden**2,
        }
        queue = self.queue_size * dim if self.method == "moco-v2" else 0
        for names, numbers in (
            (("dim",) if self.method == "moco-v2" else ("hidden_dim", "dim", "layers"), heads.get(self.method, 0)),
            (("queue_size", "dim"), queue),
        ):
            if numbers > _MOST_NUMBERS:
                told = ", ".join(f"{name} = {getattr(self, name)}" for name in names)
                raise ValueError(
                    f"{told}: makes {numbers:,} numbers, {4 * numbers / 2**30:,.0f} GiB, and several times that while they "
                    f"learn; at most {_MOST_NUMBERS:,}"
                )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Config:
        """The settings in a JSON file, as a run's folder has it.

        Raises:
            OSError: it cannot be read.
            ValueError: no JSON, a setting that there is not or cannot be, no method.
        """
        try:
            settings = json.loads(Path(path).read_text())
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: no JSON: {error}") from None
        if not isinstance(settings, dict) or "method" not in settings:
            raise ValueError(f'{os.fspath(path)}: expected an object with "method" and other settings')
        try:
            check_names(settings)
            return cls(**settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes them as JSON: the whole file, or nothing."""
        write_file(path, (json.dumps(asdict(self), indent=2) + "\n").encode())

    def core(self) -> str:
        """What the native trainer is made of, as JSON."""
        return json.dumps({name: value for name, value in asdict(self).items() if name not in _LOOP})

    def peak_lr(self, batch_size: int) -> float:
        """The largest learning rate, for this batch."""
        factor = {"linear": batch_size / 256, "sqrt": batch_size**0.5, "none": 1.0}[self.scaling]
        return self.lr * factor

    def __str__(self) -> str:
        return "\n".join(f"{name}: {json.dumps(value)}" for name, value in asdict(self).items())


#: What the loop over batches reads, and the native trainer does not.
_LOOP = {
    "epochs",
    "batch_size",
    "input_size",
    "views",
    "style",
    "encoder_momentum",
    "encoder_momentum_schedule",
    "lr",
    "scaling",
    "warmup_epochs",
    "schedule_by",
}


def plain(value: Any) -> Any:
    """A setting as JSON gives it back, arrays and tensors as lists."""

    def listed(value: Any) -> Any:
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"{value!r}: expected a number, a text, None, or a list or dict of such")

    return json.loads(json.dumps(value, default=listed))


def describe(style: SASSL) -> dict[str, Any]:
    """The settings of a `SASSL`, as far as names tell them."""
    if not isinstance(style, SASSL):
        raise TypeError(f"style: expected a sassl.transforms.SASSL, a name or a folder, got {type(style).__name__}")
    named = style._described
    return {
        "p": style.p,
        "alpha": style.alpha,
        "beta": style.beta,
        "styles": ast.literal_eval(named) if named.startswith(("'", '"')) else named,
        "model": style.stylizer.source,
        "precision": style.stylizer.precision,
    }


def check_names(settings: dict[str, Any]) -> None:
    """Raises a TypeError for the first that is no field of `Config`, with what may have been meant."""
    known = [field.name for field in fields(Config)]
    for name, value in settings.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise TypeError(f"{name} = {value!r}: no such setting; {meant}there are {', '.join(known)}")


# facebookresearch/moco `main_moco.py`: ResNet-50, 200 and 800 epochs, batch 256 on 8 devices.
_MOCO = Config("moco-v2", temperature=0.2, splits=8, schedule_by="epoch")
# Grill et al. 2020, section 3.3 and tables 6 and 24; deepmind-research `byol/`: ResNet-50, batch 4096.
_BYOL = Config(
    "byol",
    epochs=1000,
    batch_size=4096,
    dim=256,
    hidden_dim=4096,
    encoder_momentum=0.996,
    encoder_momentum_schedule="cosine",
    optimizer="lars",
    weight_decay=1.5e-6,
    exclude_bias_and_norm=True,
    lr=0.2,
    warmup_epochs=10,
)
# Chen et al. 2020, sections 2.2 and B: ResNet-50, batch 4096; the root rule of table B.1, which smaller batches like better.
_SIMCLR = Config(
    "simclr",
    epochs=1000,
    batch_size=4096,
    zero_init_residual=True,
    optimizer="lars",
    weight_decay=1e-6,
    exclude_bias_and_norm=True,
    lr=0.075,
    scaling="sqrt",
    warmup_epochs=10,
)
_CIFAR10 = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}
_RESNET18: dict[str, Any] = {"arch": "resnet18", "small_stem": True, "input_size": 32, "batch_size": 512}
# lightly's `cifar10_benchmark.py`: SGD at 0.06 for a batch of 128.
_LIGHTLY: dict[str, Any] = {
    "optimizer": "sgd",
    "weight_decay": 5e-4,
    "exclude_bias_and_norm": False,
    "lr": 0.12,
    "scaling": "linear",
    "warmup_epochs": 0,
    "schedule_by": "epoch",
}

#: The published settings, without style, by name; `style=` adds it to each. Those named as their method alone are for one
#: machine: a batch of 256, for which the rates' rules are made.
PRESETS: dict[str, Config] = {
    "moco-v2": _MOCO,
    "moco-v2-200": _MOCO,
    "moco-v2-800": replace(_MOCO, epochs=800),
    # facebookresearch/moco, branch `colab-notebook`; 800 epochs are its longest run.
    "moco-v2-cifar10": replace(
        _MOCO,
        **_RESNET18,
        mlp=False,
        temperature=0.1,
        queue_size=4096,
        encoder_momentum=0.99,
        weight_decay=5e-4,
        views={"min_scale": 0.08, "gaussian_blur": 0.0, "normalize": _CIFAR10},
    ),
    # Table 16: 71.8 % at this batch, 72.5 % at 4096.
    "byol": replace(_BYOL, epochs=300, batch_size=256, encoder_momentum=0.99, lr=0.3, weight_decay=1e-6),
    "byol-100": replace(_BYOL, epochs=100, encoder_momentum=0.99, lr=0.45, weight_decay=1e-6),
    "byol-300": replace(_BYOL, epochs=300, encoder_momentum=0.99, lr=0.3, weight_decay=1e-6),
    "byol-1000": _BYOL,
    "byol-cifar10": replace(
        _BYOL,
        **_RESNET18,
        **_LIGHTLY,
        epochs=200,
        hidden_dim=1024,
        encoder_momentum=0.99,
        encoder_momentum_schedule="constant",
        views={"gaussian_blur": 0.0, "cj_form": "torchvision", "interpolation": "bilinear"},
    ),
    # Table B.1: 64.3 % at this batch, 66.8 % at 4096.
    "simclr": replace(_SIMCLR, epochs=200, batch_size=256),
    **{f"simclr-{epochs}": replace(_SIMCLR, epochs=epochs) for epochs in (100, 200, 400, 800, 1000)},
    "simclr-cifar10": replace(
        _SIMCLR,
        **_RESNET18,
        **_LIGHTLY,
        epochs=200,
        zero_init_residual=False,
        hidden_dim=512,
        temperature=0.5,
        views={
            "cj_strength": 0.5,
            "gaussian_blur": 0.0,
            "interpolation": "bilinear",
            "normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        },
    ),
}

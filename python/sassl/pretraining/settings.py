"""The parts of a run's settings, each with a type of its own: what is said of it, and the ranges of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar

from .._sassl import backbone_info, cosine_momentum
from ..arguments import choice, flag, number, plain, whole, wrong


class Checked:
    """Its fields are of their types, or it is not made."""

    def __post_init__(self) -> None:
        for name, kind in ((one.name, one.type) for one in fields(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if kind == "int":
                object.__setattr__(self, name, whole(name, value))
            elif kind == "float":
                object.__setattr__(self, name, number(name, value))
                if not isfinite(getattr(self, name)):
                    raise wrong(name, value, "a finite number")
            elif kind == "bool":
                object.__setattr__(self, name, flag(name, value))
            elif kind == "str" and not isinstance(value, str):
                raise wrong(name, value, "a text")
        self.check()

    def check(self) -> None:
        """Whether they can be; each error names the setting."""


@dataclass(frozen=True, kw_only=True)
class MethodSettings(Checked):
    """What is a method's own; the native trainer reads the same names, and `tests/python/test_methods.py` compares both.

    Attributes:
        name: the method's.
        watches: what its steps tell beside the loss, and what a plot calls it.
    """

    name: ClassVar[str]
    watches: ClassVar[dict[str, str]] = {}

    def memory(self, features: int) -> dict[tuple[str, ...], int]:
        """Values of its heads and its queue on a backbone of so many features, by the settings that decide them."""
        raise NotImplementedError

    @property
    def views_learnt(self) -> int:
        """How many views of an image are kept for gradients at a time."""
        return 2

    def similarities(self, rows: int) -> int:
        """How many pairs of rows are compared by a loss of so many rows, if that asks for memory."""
        return 0

    def chance(self, batch_size: int) -> tuple[float, str] | None:
        """The loss where all views are alike to the network, and its formula; None: the loss tells nothing of that kind."""
        return None

    def momentum(self, step: int, total: int) -> float | None:
        """How far its momentum encoder stays what it is at a step of so many, counted from 0; None: it has none."""
        return None


@dataclass(frozen=True, kw_only=True)
class MomentumSettings(MethodSettings):
    """Those of methods with a momentum encoder.

    Attributes:
        encoder_momentum: m of MoCo, tau of BYOL, as it begins.
        encoder_momentum_schedule: "constant", or "cosine": it goes to 1.
    """

    encoder_momentum: float
    encoder_momentum_schedule: str

    def check(self) -> None:
        """Whether they can be."""
        choice("encoder_momentum_schedule", self.encoder_momentum_schedule, ("constant", "cosine"))
        if not 0 <= self.encoder_momentum <= 1:
            raise wrong("encoder_momentum", self.encoder_momentum, "a number from 0 to 1")

    def momentum(self, step: int, total: int) -> float:
        """m or tau at a step."""
        if self.encoder_momentum_schedule == "constant":
            return self.encoder_momentum
        return cosine_momentum(self.encoder_momentum, total, step)


#: Backbones of other engines than the native one, by name: each takes its settings, and tells "features", "stem_stride",
#: "least_side" and all its "settings", as the properties of `Backbone` say. Others may add theirs.
BACKBONES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
#: Families of them, as "timm" of "timm:vit_small_patch16_224": each takes what stands behind the colon too.
FAMILIES: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {}
#: Attributes by which modules tell how many values a feature has; the first that is a number counts.
_FEATURES = ("num_features", "feature_dim", "features_dim", "embed_dim", "out_features", "output_dim")


@dataclass(frozen=True)
class Backbone:
    """A backbone by torchvision's name, with its own settings, those left out being torchvision's; or one of a family.

    Attributes:
        name: one of `sassl._sassl.backbone_names()`, or of `BACKBONES`, or FAMILY:NAME.
        settings: of a ResNet: `small_stem`, 3x3 and no pooling, as for CIFAR; `zero_init_residual`, blocks begin as their
            shortcuts; `width`, a factor of all channels (2 and 4 in SimCLR, section 5.1). Of timm's and torchvision's models
            `arch_settings`, keywords of the function that makes them; of a module that is given its `features`.
        module: it, if one is given. It is no part of what is saved or compared: its class's name stands in `name`.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    module: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", self._info["settings"])

    @classmethod
    def of(cls, arch: Any, features: int | None = None) -> Backbone:
        """That of a name, or a module as a backbone.

        Args:
            arch: a name, or a `torch.nn.Module` from images (N, 3, H, W) to features (N, features).
            features: of a module; None: as an attribute of it tells.

        Raises:
            TypeError: neither.
            ValueError: no such name; a module that does not tell its features.
        """
        if isinstance(arch, str) and arch.startswith("module:"):
            raise ValueError(f"arch = {arch!r}: the name of a module's class; give the module itself")
        if isinstance(arch, str):
            return cls(arch)
        if not callable(getattr(arch, "state_dict", None)) or isinstance(arch, type):
            raise TypeError(f"arch: expected a name or a torch.nn.Module, got {arch!r:.100}")
        kind = f"{type(arch).__module__}.{type(arch).__qualname__}"
        told = (getattr(arch, name, None) for name in _FEATURES)
        if features is None:
            features = next((n for n in told if isinstance(n, int) and not isinstance(n, bool)), None)
        if features is None:
            attributes = ", ".join(_FEATURES)
            raise ValueError(
                f"arch = {kind}: does not tell how many values a feature has, by {attributes}; give features=N"
            )
        return cls(f"module:{kind}", {"features": features}, arch)

    @property
    def family(self) -> str | None:
        """What stands before the colon; None: there is none."""
        family, colon, _ = str(self.name).partition(":")
        return family if colon else None

    @cached_property
    def _info(self) -> dict[str, Any]:
        if self.name in BACKBONES:
            return BACKBONES[self.name](plain(self.settings))
        if self.family is not None:
            family = FAMILIES[choice("arch", self.family, FAMILIES)]
            return family(self.name.partition(":")[2], plain(self.settings))
        return dict(json.loads(backbone_info(json.dumps({**plain(self.settings), "name": self.name}))))

    @property
    def features(self) -> int:
        """Values of a feature."""
        return int(self._info["features"])

    @property
    def stem_stride(self) -> int:
        """Pixels of a view's side to one of what the first layers make of it."""
        return int(self._info["stem_stride"])

    @property
    def least_side(self) -> int:
        """Pixels that a view's sides have at least."""
        return int(self._info["least_side"])


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Checked):
    """What all optimizers have.

    Attributes:
        name: the optimizer's.
        weight_decay: lambda.
        exclude_bias_and_norm: whether biases and norms are neither decayed nor, by LARS, adapted.
    """

    name: ClassVar[str]
    weight_decay: float = 1e-4
    exclude_bias_and_norm: bool = False


@dataclass(frozen=True, kw_only=True)
class SGD(OptimizerSettings):
    """Stochastic gradient descent, as `torch.optim.SGD`."""

    name = "sgd"
    momentum: float = 0.9
    nesterov: bool = False


@dataclass(frozen=True, kw_only=True)
class LARS(OptimizerSettings):
    """LARS as facebookresearch/moco-v3 has it; `eta` is the trust coefficient."""

    name = "lars"
    momentum: float = 0.9
    eta: float = 0.001


@dataclass(frozen=True, kw_only=True)
class AdamW(OptimizerSettings):
    """AdamW, as `torch.optim.AdamW`."""

    name = "adamw"


#: All of them, by name.
OPTIMIZERS: dict[str, type[OptimizerSettings]] = {kind.name: kind for kind in (SGD, LARS, AdamW)}


@dataclass(frozen=True, kw_only=True)
class Schedule(Checked):
    """How the learning rate goes.

    Attributes:
        epochs: of the whole run.
        lr: the largest rate, for a batch of 256, or of one image where `scaling` is "sqrt".
        scaling: how it grows with the batch: "linear", "sqrt" or "none".
        warmup_epochs: in which it rises in a line, step by step; it falls by a cosine after them.
        schedule_by: whether the cosine goes by "step" or by "epoch".
    """

    epochs: int = 200
    lr: float = 0.03
    scaling: str = "linear"
    warmup_epochs: int = 0
    schedule_by: str = "step"

    def check(self) -> None:
        """Whether they can be."""
        whole("epochs", self.epochs, 1)
        choice("scaling", self.scaling, ("linear", "sqrt", "none"))
        choice("schedule_by", self.schedule_by, ("step", "epoch"))
        if not self.lr > 0:
            raise wrong("lr", self.lr, "a number above 0")


@dataclass(frozen=True, kw_only=True)
class Data(Checked):
    """What a step takes.

    Attributes:
        batch_size: images of a batch, of all ranks together.
        input_size: side of the views, or (height, width).
        views: keywords of the method's recipe, or what `Views.describe` gives of other lists; of batches that others made what
            was given, and `views["normalize"]` may be "not known".
        style: the recipe's, as `SASSL.describe` gives it, or None.
    """

    batch_size: int = 256
    input_size: int | tuple[int, int] = 224
    views: dict[str, Any] = field(default_factory=dict)
    style: dict[str, Any] | None = None

    def check(self) -> None:
        """Whether they can be."""
        whole("batch_size", self.batch_size, 1)
        for name, kinds in (("views", dict), ("style", (dict, type(None)))):
            if not isinstance(getattr(self, name), kinds):
                raise wrong(name, getattr(self, name), "a dict")
        for name in ("input_size", "views", "style"):
            object.__setattr__(self, name, plain(getattr(self, name)))

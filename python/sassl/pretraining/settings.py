"""The parts of a run's settings, a class for each, with their documentation and valid ranges."""

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
    """A dataclass that checks the types of its fields."""

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
                raise wrong(name, value, "a string")
        self.check()

    def check(self) -> None:
        """Check the values; an error names the setting."""


@dataclass(frozen=True, kw_only=True)
class MethodSettings(Checked):
    """The settings of a method; the native trainer reads the same names, and `tests/python/test_methods.py` compares both.

    Attributes:
        name: the method's name.
        watches: the metrics of its steps in addition to the loss, with their plot titles.
    """

    name: ClassVar[str]
    watches: ClassVar[dict[str, str]] = {}

    def memory(self, features: int) -> dict[tuple[str, ...], int]:
        """The number of values in heads and queue for this feature dimension, by the settings that determine it."""
        raise NotImplementedError

    @property
    def views_learnt(self) -> int:
        """The number of views of an image whose activations are kept for gradients at the same time."""
        return 2

    def similarities(self, rows: int) -> int:
        """The number of pairs of rows that the loss of `rows` rows stores; 0 if it stores none."""
        return 0

    def chance(self, batch_size: int) -> tuple[float, str] | None:
        """The loss for indistinguishable views, and its formula, or None if the method has no such reference."""
        return None

    def momentum(self, step: int, total: int) -> float | None:
        """The EMA coefficient of the momentum encoder at a step, counted from 0, of `total`, or None without one."""
        return None


@dataclass(frozen=True, kw_only=True)
class MomentumSettings(MethodSettings):
    """The settings of methods with a momentum encoder.

    Attributes:
        encoder_momentum: the initial EMA coefficient, m in MoCo, tau in BYOL.
        encoder_momentum_schedule: "constant", or "cosine", which raises it to 1.
    """

    encoder_momentum: float
    encoder_momentum_schedule: str

    def check(self) -> None:
        """Check the values."""
        choice("encoder_momentum_schedule", self.encoder_momentum_schedule, ("constant", "cosine"))
        if not 0 <= self.encoder_momentum <= 1:
            raise wrong("encoder_momentum", self.encoder_momentum, "a number in [0, 1]")

    def momentum(self, step: int, total: int) -> float:
        """The EMA coefficient at a step."""
        if self.encoder_momentum_schedule == "constant":
            return self.encoder_momentum
        return cosine_momentum(self.encoder_momentum, total, step)


#: Backbones of engines other than the native one, by name: each maps its settings to "features", "stem_stride", "least_side"
#: and the complete "settings", as defined by the properties of `Backbone`. Other packages may add theirs.
BACKBONES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
#: Families of backbones, such as "timm" in "timm:vit_small_patch16_224": each also takes the name after the colon.
FAMILIES: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {}
#: Attributes in which modules store their feature dimension; the first that is an int is used.
_FEATURES = ("num_features", "feature_dim", "features_dim", "embed_dim", "out_features", "output_dim")


@dataclass(frozen=True)
class Backbone:
    """A backbone by torchvision's name, with its settings, which default to torchvision's; or a member of a family.

    Attributes:
        name: one of `sassl._sassl.backbone_names()`, or of `BACKBONES`, or FAMILY:NAME.
        settings: for a ResNet, `small_stem`, a 3x3 convolution without pooling, as for CIFAR, `zero_init_residual`, which
            initializes blocks as the identity, and `width`, a factor of all channels (2 and 4 in SimCLR, section 5.1); for
            timm's and torchvision's models, `arch_settings`, keywords of the function that builds them; for a module, its
            `features`.
        module: the module, if one is given. It is neither saved nor compared: `name` has the name of its class.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    module: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", self._info["settings"])

    @classmethod
    def of(cls, arch: Any, features: int | None = None) -> Backbone:
        """The backbone of a name or of a module.

        Args:
            arch: a name, or a `torch.nn.Module` from images (N, 3, H, W) to features (N, features).
            features: the feature dimension of a module; None: read from its attributes.

        Raises:
            TypeError: `arch` is neither a name nor a module.
            ValueError: there is no such backbone; the module has no attribute with its feature dimension.
        """
        if isinstance(arch, str) and arch.startswith("module:"):
            raise ValueError(f"arch must not be the name of a module's class, got {arch!r}; give the module itself")
        if isinstance(arch, str):
            return cls(arch)
        if not callable(getattr(arch, "state_dict", None)) or isinstance(arch, type):
            raise TypeError(f"arch must be a name or a torch.nn.Module, got {arch!r:.100}")
        kind = f"{type(arch).__module__}.{type(arch).__qualname__}"
        told = (getattr(arch, name, None) for name in _FEATURES)
        if features is None:
            features = next((n for n in told if isinstance(n, int) and not isinstance(n, bool)), None)
        if features is None:
            attributes = ", ".join(_FEATURES)
            raise ValueError(f"arch {kind} does not report the length of its features by {attributes}; give features=N")
        return cls(f"module:{kind}", {"features": features}, arch)

    @property
    def family(self) -> str | None:
        """The part of the name before the colon, or None without a colon."""
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
        """The dimension of the features."""
        return int(self._info["features"])

    @property
    def stem_stride(self) -> int:
        """The stride of the first layers, in pixels of a view."""
        return int(self._info["stem_stride"])

    @property
    def least_side(self) -> int:
        """The smallest side of a view, in pixels."""
        return int(self._info["least_side"])


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Checked):
    """The settings that all optimizers have.

    Attributes:
        name: the optimizer's name.
        weight_decay: the coefficient lambda.
        exclude_bias_and_norm: whether biases and norms are exempt from weight decay and from LARS's adaptation.
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
    """LARS as in facebookresearch/moco-v3; `eta` is the trust coefficient."""

    name = "lars"
    momentum: float = 0.9
    eta: float = 0.001


@dataclass(frozen=True, kw_only=True)
class AdamW(OptimizerSettings):
    """AdamW, as `torch.optim.AdamW`."""

    name = "adamw"


#: All optimizers, by name.
OPTIMIZERS: dict[str, type[OptimizerSettings]] = {kind.name: kind for kind in (SGD, LARS, AdamW)}


@dataclass(frozen=True, kw_only=True)
class Schedule(Checked):
    """The schedule of the learning rate.

    Attributes:
        epochs: total epochs of the run.
        lr: the largest rate, for a batch of 256, or of one image if `scaling` is "sqrt".
        scaling: how the rate scales with the batch size: "linear", "sqrt" or "none".
        warmup_epochs: epochs of linear warm-up, step by step; a cosine decay follows.
        schedule_by: whether the cosine advances per "step" or per "epoch".
    """

    epochs: int = 200
    lr: float = 0.03
    scaling: str = "linear"
    warmup_epochs: int = 0
    schedule_by: str = "step"

    def check(self) -> None:
        """Check the values."""
        whole("epochs", self.epochs, 1)
        choice("scaling", self.scaling, ("linear", "sqrt", "none"))
        choice("schedule_by", self.schedule_by, ("step", "epoch"))
        if not self.lr > 0:
            raise wrong("lr", self.lr, "a number > 0")


@dataclass(frozen=True, kw_only=True)
class Data(Checked):
    """The settings of the data.

    Attributes:
        batch_size: images of a batch, over all ranks.
        input_size: side of the views, or (height, width).
        views: keywords of the method's recipe, or the result of `Views.describe` for other lists; for batches of the caller,
            the values as given, where `views["normalize"]` may be "not known".
        style: the style of the recipe, as returned by `SASSL.describe`, or None.
    """

    batch_size: int = 256
    input_size: int | tuple[int, int] = 224
    views: dict[str, Any] = field(default_factory=dict)
    style: dict[str, Any] | None = None

    def check(self) -> None:
        """Check the values."""
        whole("batch_size", self.batch_size, 1)
        for name, kinds in (("views", dict), ("style", (dict, type(None)))):
            if not isinstance(getattr(self, name), kinds):
                raise wrong(name, getattr(self, name), "a dict")
        for name in ("input_size", "views", "style"):
            object.__setattr__(self, name, plain(getattr(self, name)))

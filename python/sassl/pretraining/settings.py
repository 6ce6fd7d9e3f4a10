"""The parts of a run's settings. Each part is a dataclass, which documents and checks the settings."""

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
    """A base class for dataclasses that checks the types of the fields, and then their values by `check`."""

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
        """Check the values; a ValueError names the setting."""


@dataclass(frozen=True, kw_only=True)
class MethodSettings(Checked):
    """The base class of a method's settings. The native trainer's settings have the same names.

    Attributes:
        name: the method's name.
        watches: the metrics of a step besides the loss: a dict from a metric's name to its plot title.
    """

    name: ClassVar[str]
    watches: ClassVar[dict[str, str]] = {}

    def memory(self, features: int) -> dict[tuple[str, ...], int]:
        """The number of values in the heads and in the queue, keyed by the settings that determine the number.

        Args:
            features: the feature dimension of the backbone.
        """
        raise NotImplementedError

    @property
    def views_learnt(self) -> int:
        """The number of views per image whose activations are in memory at the same time, for the backward pass."""
        return 2

    def similarities(self, rows: int) -> int:
        """The number of similarities that the loss stores for a batch of `rows` images; 0 if there is no similarity matrix."""
        return 0

    def chance(self, batch_size: int) -> tuple[float, str] | None:
        """The loss if all views are indistinguishable, and its formula; None if the method has no such reference value."""
        return None

    def momentum(self, step: int, total: int) -> float | None:
        """The EMA coefficient of the momentum encoder at step `step` of `total`, counted from 0; None: no momentum encoder."""
        return None


@dataclass(frozen=True, kw_only=True)
class MomentumSettings(MethodSettings):
    """The settings of methods with a momentum encoder.

    Attributes:
        encoder_momentum: the initial EMA coefficient (m in MoCo, tau in BYOL).
        encoder_momentum_schedule: "constant", or "cosine", which raises the coefficient to 1 over the run.
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


#: Backbones for engines other than the native one, by name. A backbone is a function that maps the given settings to a dict.
#: The entries "features", "stem_stride" and "least_side" are the properties of `Backbone`; "settings" has the settings with all
#: defaults filled in. Other packages may add backbones.
BACKBONES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
#: Families of backbones, such as "timm" in "timm:vit_small_patch16_224". A family is a function of the name after the colon and
#: of the given settings. The result is as in `BACKBONES`.
FAMILIES: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {}
#: Attributes in which modules store their feature dimension; the first attribute that is an int is used.
_FEATURES = ("num_features", "feature_dim", "features_dim", "embed_dim", "out_features", "output_dim")


@dataclass(frozen=True)
class Backbone:
    """A backbone and its settings. The default settings give torchvision's architecture.

    Attributes:
        name: one of `sassl._sassl.backbone_names()` or `BACKBONES`, or FAMILY:NAME, such as "timm:vit_small_patch16_224".
        settings: the settings by name, depending on the kind of backbone:
            - A ResNet has `small_stem`, whether the stem is a 3x3 convolution without pooling, as for CIFAR;
              `zero_init_residual`, whether blocks are initialized as the identity; and `width`, a factor for the channels of
              all layers (2 and 4 in SimCLR, section 5.1).
            - A model of timm or torchvision has `arch_settings`, keywords of the function that builds the model.
            - A module has `features`, the feature dimension.
        module: the `torch.nn.Module` of a backbone that was given as a module, else None. The module is neither saved nor
            compared; `name` records its class.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    module: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", self._info["settings"])

    @classmethod
    def of(cls, arch: Any, features: int | None = None) -> Backbone:
        """Create a backbone from a name or a module.

        Args:
            arch: a name, or a `torch.nn.Module` that maps images (N, 3, H, W) to features (N, features).
            features: the feature dimension of a module; None: read from its attributes.

        Raises:
            TypeError: `arch` is neither a name nor a module.
            ValueError: there is no such backbone; `features` is None, and no attribute of the module is the feature dimension.
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
        """The part of the name before the colon; None if there is no colon."""
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
        """The total stride of the stem, the layers before the first block, in pixels of a view."""
        return int(self._info["stem_stride"])

    @property
    def least_side(self) -> int:
        """The smallest side of a view that the backbone accepts, in pixels."""
        return int(self._info["least_side"])


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Checked):
    """The settings that all optimizers share.

    Attributes:
        name: the optimizer's name.
        weight_decay: the coefficient of weight decay.
        exclude_bias_and_norm: whether biases and parameters of norms are exempt from weight decay and LARS's adaptation.
    """

    name: ClassVar[str]
    weight_decay: float = 1e-4
    exclude_bias_and_norm: bool = False


@dataclass(frozen=True, kw_only=True)
class SGD(OptimizerSettings):
    """Stochastic gradient descent, as in `torch.optim.SGD`."""

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
    """AdamW, as in `torch.optim.AdamW`."""

    name = "adamw"


#: All optimizers, by name.
OPTIMIZERS: dict[str, type[OptimizerSettings]] = {kind.name: kind for kind in (SGD, LARS, AdamW)}


@dataclass(frozen=True, kw_only=True)
class Schedule(Checked):
    """The schedule of the learning rate.

    Attributes:
        epochs: total epochs of the run.
        lr: the peak learning rate before scaling. The batch size at which this rate applies depends on `scaling`: 256 images
            for "linear", 1 image for "sqrt", any size for "none".
        scaling: how the rate grows with the batch size: "linear", "sqrt" or "none".
        warmup_epochs: epochs of linear warm-up, with a new rate at each step; a cosine decay follows.
        schedule_by: "step" or "epoch", the interval at which the cosine decay advances.
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
    """The settings of batches and views.

    Attributes:
        batch_size: images per batch, over all ranks.
        input_size: side of the views in pixels, or (height, width).
        views: keywords of the method's recipe. For views given as lists of operations: the result of `Views.describe`. If the
            caller provides the batches, `views["normalize"]` may be "not known".
        style: the style of the recipe, as returned by `SASSL.describe`; None: no style.
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

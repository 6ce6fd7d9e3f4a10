"""Networks by name, as torch modules without classifiers. Weights are published, from a file, or random."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from .._sassl import backbone_names, initial_state
from ..pretraining import PRESETS
from ..pretraining.settings import BACKBONES, Backbone
from ..pretraining.state_dicts import backbone_of
from ..terminal import tell
from .rules import Known

#: Packages that provide models by name. A bare name is looked up in this order.
PUBLISHERS = ("torchvision", "timm")
#: The seed of random weights.
_SEED = 0


class Arch(NamedTuple):
    """A parsed name of a network: FAMILY:NAME, torchvision:NAME:WEIGHTS, or a bare name."""

    #: "timm" or "torchvision"; None: one of sassl's own backbones, named as in torchvision.
    family: str | None
    name: str
    weights: str | None = None

    @property
    def full(self) -> str:
        """The name in the form that `Backbone` takes."""
        return self.name if self.family is None else f"{self.family}:{self.name}"


def is_published(name: str) -> bool:
    """Return whether a name has the prefix of timm or torchvision."""
    return name.partition(":")[0] in PUBLISHERS and ":" in name


def parsed(arch: str) -> Arch:
    """Parse the name of a network: timm:NAME, torchvision:NAME[:WEIGHTS], or a bare name of sassl, torchvision or timm.

    Raises:
        ValueError: a bare name is unknown to sassl, torchvision and timm.
    """
    if is_published(arch):
        family, _, name = arch.partition(":")
        name, _, weights = name.partition(":") if family == "torchvision" else (name, "", "")
        return Arch(family, name, weights or None)
    own = (*backbone_names(), *BACKBONES)
    if arch in own:
        return Arch(None, arch)
    for family in PUBLISHERS:
        if find_spec(family) is not None and _has(family, arch):
            return Arch(family, arch)
    raise ValueError(
        f"arch must be one of {', '.join(own)}, or a name of torchvision or timm, such as torchvision:convnext_tiny or "
        f"timm:vit_small_patch16_224, got {arch!r}"
    )


def _has(family: str, name: str) -> bool:
    if family == "timm":
        import timm

        return bool(timm.is_model(name.partition(".")[0]))
    from torchvision import models

    return name in models.list_models(module=models)


def build(backbone: Backbone) -> Any:
    """Build a torch module with the initial weights of a run with seed 0.

    Raises:
        ImportError: torch, timm or torchvision is required but not installed.
        ValueError: the backbone's settings are invalid.
    """
    if find_spec("torch") is None:
        raise ImportError(
            f"{backbone.name}: this model needs torch, which is not installed: install it, or the extra sassl[torch]"
        )
    import torch

    from ..pretraining.torch import backbones

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        module = backbones.build(backbone)
    if backbone.name in backbone_names():
        settings = {**backbone.settings, "arch": backbone.name, "input_size": 224, "seed": _SEED}
        config = PRESETS["simclr"].changed(**settings)
        begun = initial_state(config.core())
        put(module, {name.removeprefix("backbone."): x for name, x in begun.items() if name.startswith("backbone.")})
    return module


def put(module: Any, tensors: Mapping[str, Any]) -> None:
    """Load arrays into a module as its weights. Each array is converted to the dtype and shape of its weight."""
    import torch

    own = module.state_dict()
    made = {name: torch.tensor(np.asarray(x)).reshape(own[name].shape) for name, x in tensors.items()}
    counts = {name: x for name, x in own.items() if name not in made and name.endswith("num_batches_tracked")}
    module.load_state_dict({**counts, **made})


def with_weights_of(module: Any, source: Any, what: str) -> None:
    """Load a file's weights into a module, and report them in one line. Prefixes of other libraries are recognized.

    Raises:
        OSError, ImportError, ValueError: as in `state_dicts.backbone_of`.
    """
    tensors, line = backbone_of(source, {name: tuple(x.shape) for name, x in module.state_dict().items()}, what)
    put(module, tensors)
    tell(line)


def published(arch: Arch) -> tuple[Arch, Any, Known]:
    """Build a timm or torchvision model with published weights; return its full name, module and preprocessing.

    Raises:
        ImportError: torch, timm or torchvision is not installed.
        ValueError: there is no such model, or no such weights; the weights could not be downloaded; the preprocessing is not
            supported.
    """
    # The name is checked first, without weights.
    Backbone.of(arch.full)
    from ..pretraining.torch import foreign

    family = str(arch.family)
    weights = _torchvision_weights(arch) if family == "torchvision" else True
    try:
        module = foreign.published(family, arch.name, weights)
    # The connection, a proxy, the disk and timm's registry raise various types.
    except Exception as error:
        told = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{arch.full}: its weights cannot be downloaded or are not there ({type(error).__name__}: {told}); "
            f'give a file of them with its network, FILE --arch {arch.full} or open_model(FILE, arch="{arch.full}"), or '
            f"untrained:{arch.full}"
        ) from error
    return _in_full(arch, module, weights), module, known_of(arch, module)


def _in_full(arch: Arch, module: Any, weights: Any) -> Arch:
    """Add the name of the loaded weights to a network's name."""
    if arch.family == "torchvision":
        return arch._replace(weights=weights.name)
    told = getattr(module, "pretrained_cfg", None) or {}
    return arch._replace(name=f"{told['architecture']}.{told['tag']}" if told.get("tag") else arch.name)


def _torchvision_weights(arch: Arch) -> Any:
    """The published weights of a torchvision model: `arch.weights` if given, else the default weights.

    Raises:
        ValueError: the model has no weights of this name.
    """
    from torchvision import models

    listed: Any = models
    found = listed.get_model_weights(arch.name)
    if arch.weights is None:
        return found.DEFAULT
    if arch.weights not in found.__members__:
        known = ", ".join(one.name for one in found)
        raise ValueError(f"weights of torchvision:{arch.name} must be one of {known}, got {arch.weights}")
    return found[arch.weights]


def known_of(arch: Arch, module: Any) -> Known:
    """The preprocessing published with a network.

    sassl's own backbones have the preprocessing of torchvision's IMAGENET1K_V1 weights.

    Raises:
        ValueError: the preprocessing is not supported.
    """
    if arch.family is None:
        return Known()
    return _of_timm(arch, module) if arch.family == "timm" else _of_torchvision(arch)


def _of_torchvision(arch: Arch) -> Known:
    rule = _torchvision_weights(arch).transforms()
    (size,), (resize,) = rule.crop_size, rule.resize_size
    return Known(
        size=size,
        resize=resize,
        interpolation=rule.interpolation.value,
        normalize={"mean": list(rule.mean), "std": list(rule.std)},
    )


def _of_timm(arch: Arch, module: Any) -> Known:
    from timm import data

    # timm.data.create_transform reads the same settings.
    resolved: Any = data
    told = resolved.resolve_model_data_config(module)
    channels, height, width = told["input_size"]
    if channels != 3 or height != width or told["interpolation"] not in ("bilinear", "bicubic"):
        raise ValueError(
            f"{arch.full} must take square images of 3 channels, bilinear or bicubic, got {channels}x{height}x{width}, "
            f"{told['interpolation']}"
        )
    if told["crop_mode"] != "center":
        tell(f"{arch.full}: timm crops with crop_mode={told['crop_mode']!r}; sassl takes the center square")
    return Known(
        size=height,
        resize=int(height / told["crop_pct"]),
        interpolation=told["interpolation"],
        normalize={"mean": list(told["mean"]), "std": list(told["std"])},
    )

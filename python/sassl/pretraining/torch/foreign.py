"""Build and try out third-party backbones: timm's and torchvision's models without classifiers, and the caller's modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...transforms.operations import size
from ..config import Config
from ..settings import Backbone

_WEIGHTS, _HEAD = "give init=FILE or a state dict", "the classifier is taken away"
#: Keyword arguments that are rejected for a backbone, each with the alternative or the reason.
_REFUSED = {
    **dict.fromkeys(("pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"), _WEIGHTS),
    **dict.fromkeys(("weights", "weights_backbone"), _WEIGHTS),
    "num_classes": _HEAD,
}
#: Keyword arguments with which torchvision builds these models without auxiliary classifiers.
_AUXILIARY = {name: {"aux_logits": False, "init_weights": True} for name in ("inception_v3", "googlenet")}
#: The keyword argument for a model's image size, by family.
_SIZED = {"timm": "img_size", "torchvision": "image_size"}


def _timm(name: str, settings: dict[str, Any], weights: Any = None) -> tuple[nn.Module, int]:
    import timm

    # A name may have a tag, which identifies weights.
    if not timm.is_model(name.partition(".")[0]):
        raise _unknown("timm", name, timm.list_models())
    module: Any = timm.create_model(name, pretrained=weights is not None, num_classes=0, **settings)
    return module, getattr(module, "head_hidden_size", None) or module.num_features


def _torchvision(name: str, settings: dict[str, Any], weights: Any = None) -> tuple[nn.Module, int]:
    from torchvision import models

    if name not in (known := models.list_models(module=models)):
        raise _unknown("torchvision", name, known)
    # With weights, these models keep their auxiliary classifiers, which are unused after training.
    own = _AUXILIARY.get(name, {}) if weights is None else {}
    module = models.get_model(name, weights=weights, **{**own, **settings})
    return module, _without_classifier(module)


def _unknown(family: str, name: str, known: list[str]) -> ValueError:
    near = get_close_matches(name, known, 3) or [one for one in known if one.startswith(name[:4])][:3]
    meant = f"did you mean {', '.join(near)}?" if near else f"{family}'s list_models lists them all"
    return ValueError(f"arch '{family}:{name}' is not a model of {family}; {meant}")


def _without_classifier(module: nn.Module) -> int:
    """Remove a torchvision model's classification layer and any dropout just before it; return the layer's input dimension."""
    for name in ("fc", "classifier", "heads", "head"):
        holder: Any = module
        last = getattr(module, name, None)
        if isinstance(last, nn.Sequential):
            layers = [key for key, layer in last.named_children() if isinstance(layer, (nn.Linear, nn.Conv2d))]
            holder, name = last, layers[-1]
            before = list(last._modules)[: list(last._modules).index(name)]
            if before and isinstance(getattr(last, before[-1]), nn.Dropout):
                setattr(last, before[-1], nn.Identity())
            last = getattr(last, name)
        if isinstance(last, (nn.Linear, nn.Conv2d)):
            setattr(holder, name, nn.Identity())
            return last.in_features if isinstance(last, nn.Linear) else last.in_channels
    raise ValueError(
        f"{type(module).__name__} has no classifier that is known; give arch=module, without one, and features=N"
    )


#: By family, a function that builds a model without its classifier, and returns the model and its feature dimension.
_MAKERS: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
}


def _made(family: str, name: str, settings: dict[str, Any]) -> tuple[nn.Module, int]:
    for key in settings:
        if key in _REFUSED:
            raise ValueError(f"arch_settings must not have {key}={settings[key]!r:.100}: {_REFUSED[key]}")
    try:
        return _MAKERS[family](name, settings)
    except (TypeError, AssertionError, RuntimeError, KeyError) as error:
        told = f"{type(error).__name__}: {_line(error)}"
        raise ValueError(f"{family}:{name} cannot be built with arch_settings={settings}: {told}") from error


def features(family: str, name: str, settings: dict[str, Any]) -> int:
    """The feature dimension of a model, determined without its weights if possible.

    Raises:
        ValueError: there is no such model, or the model does not accept the settings.
    """
    try:
        with torch.device("meta"):
            return int(_made(family, name, settings)[1])
    except (ValueError, NotImplementedError):
        # The initialization of some models reads values, which the meta device does not have.
        with torch.random.fork_rng(devices=[]):
            return int(_made(family, name, settings)[1])


def build(backbone: Backbone) -> nn.Module:
    """Build the model of a third-party backbone, or copy the module that the caller has passed.

    Raises:
        ValueError: the module cannot be built or copied.
    """
    name = backbone.name.partition(":")[2]
    if backbone.family != "module":
        return _made(str(backbone.family), name, backbone.settings["arch_settings"])[0]
    if not isinstance(backbone.module, nn.Module):
        raise ValueError(
            f"arch {name} is the class name of a module, which settings do not hold; give the module in Python: arch=module"
        )
    _check_state(backbone.module, name)
    try:
        return copy.deepcopy(backbone.module)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"arch {name} cannot be copied: {_line(error)}") from error


def published(family: str, name: str, weights: Any) -> nn.Module:
    """Build a model without its classifier, with published weights from its family's cache or a download.

    Args:
        family, name: the model's family and name.
        weights: for torchvision, a member of the model's weights enumeration; for timm, any value but None, because the name
            identifies the weights.
    """
    return _MAKERS[family](name, {}, weights)[0]


def _check_state(module: nn.Module, name: str) -> None:
    """Check that a checkpoint can hold a module's state: real tensors of known sizes, and integers in [-2^24, 2^24]."""
    for key, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor) or tensor.is_complex():
            raise ValueError(f"arch {name}: {key} is not a tensor of real numbers, which checkpoints hold")
        if is_lazy(tensor):
            raise ValueError(f"arch {name}: {key} has no size yet; run a forward pass first")
        if not tensor.is_floating_point() and tensor.numel() and int(tensor.long().abs().max()) > 1 << 24:
            raise ValueError(f"arch {name}: {key} has integers above 2^24, which checkpoints do not hold")


@torch.no_grad()
def try_out(module: nn.Module, config: Config, memory_format: torch.memory_format) -> None:
    """Try out a third-party backbone on images of the run's size, in eval and training mode. Buffers are left unchanged.

    Raises:
        ValueError: the backbone fails, or does not return features of the expected shape.
    """
    backbone, sides = config.backbone, size(config.data.input_size, "input_size")
    if backbone.family is None:
        return
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    images = torch.zeros(2, 3, *sides, dtype=like.dtype, device=like.device).to(memory_format=memory_format)
    for training in (False, True):
        module.train(training)
        with telling(backbone, images), torch.random.fork_rng(devices=[]):
            made = module(images)
        if not isinstance(made, Tensor) or made.ndim != 2 or len(made) != 2:
            got = f"a tensor {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            raise ValueError(
                f"arch {backbone.name} must return features (2, {backbone.features}) of images (2, 3, {sides[0]}, {sides[1]}), "
                f"got {got}; give a module that pools and flattens them, in training too"
            )
        if made.shape[1] != backbone.features:
            raise ValueError(
                f"features must be {made.shape[1]} for {backbone.name}, got {backbone.features}; give features="
                f"{made.shape[1]}, or remove its classifier"
            )
    for name, buffer in module.named_buffers():
        buffer.copy_(before[name])


@contextmanager
def telling(backbone: Backbone, images: Tensor) -> Iterator[None]:
    """Within the block, convert errors of a third-party backbone to a ValueError that names the backbone and the image size."""
    try:
        yield
    except (ValueError, TypeError, AssertionError, RuntimeError, IndexError, AttributeError) as error:
        if backbone.family is None or isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        remedy = "give the size that it was trained with"
        if "view size is not compatible" in str(error):
            remedy = "give engine=Torch(channels_last=False)"
        elif sized := _SIZED.get(backbone.family):
            remedy += f", or make it for these by arch_settings={{'{sized}': {images.shape[-2]}}}"
        raise ValueError(
            f"input_size must suit {backbone.name}, which does not take images of {images.shape[-2]}x{images.shape[-1]}: "
            f"{type(error).__name__}: {_line(error)}; {remedy}"
        ) from error


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]

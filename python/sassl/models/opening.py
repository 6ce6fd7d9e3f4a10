"""`open_model`, which opens a model by name, file or folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import _sassl
from ..arguments import whole
from ..evaluation import Preprocessing
from ..evaluation.encoders import is_own
from ..pretraining.settings import Backbone
from ..transforms.operations import size as sides_of
from . import networks
from .files import Found, checksum, open_file
from .opened import OpenModel
from .rules import rule

#: Prefix of a model's name or path that requests the same network with random weights.
UNTRAINED = "untrained:"


def open_model(
    source: str | os.PathLike[str],
    *,
    arch: str | None = None,
    size: int | None = None,
    normalize: str | Mapping[str, Any] | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> OpenModel:
    """Open a model, with its preprocessing, by name, file or folder.

    Args:
        source: one of

            - a sassl checkpoint, or a run's folder, which stands for its newest checkpoint;
            - a backbone that `export_backbone` wrote as .safetensors;
            - `timm:NAME`, such as "timm:resnet50.a1_in1k", or `torchvision:NAME`, such as "torchvision:resnet50" or
              "torchvision:resnet50:IMAGENET1K_V2": with published weights, without the classifier;
            - a file of weights (.pth, .pt, .tar, .bin, .safetensors), with `arch`: a state dict with torchvision's or timm's
              names, in any form that `load_backbone` takes. No code in the file is executed;
            - `untrained:` followed by any source above or by the name of a network, such as "untrained:resnet50": the same
              network with random weights. For a run, the seed of these weights is the run's seed; otherwise, it is fixed.
        arch: the name of the network in sassl, torchvision or timm; only for a file that does not record its network.
        size: side of the images in pixels; None: the model's own size. For a state dict, this is the image size for the
            published weights of `arch`; the state dict of a ResNet with a 3x3 stem requires `size`.
        normalize: "imagenet", "half" (mean and std of 0.5), "none", or a dict of "mean" and "std"; None: the model's own
            normalization. For a state dict, this is the normalization of the published weights of `arch`.
        device: where the model runs, such as "cuda" or "cpu". A sassl checkpoint then uses the torch engine. None: a checkpoint
            uses the default engine of `Pretraining.load`, and other models run on the GPU if there is one.
        threads: the number of images preprocessed in parallel; None: all cores.

    Raises:
        OSError: the file or folder does not exist or cannot be read.
        ImportError: torch, timm or torchvision is required but not installed.
        ValueError: there is no such model; the weights could not be downloaded, are missing or belong to another network;
            the image size or normalization is unknown and not given; the network does not accept images of this size.
    """
    text = os.fspath(source)
    found = _found(text, arch, device, threads)
    made = rule(found.name, found.known, size, normalize)
    if not is_own(found.encoder):
        _place(found, made, device)
    own = found.encoder.threads if is_own(found.encoder) else int(_sassl.info()["threads"])
    return OpenModel(
        name=found.name,
        arch=found.arch,
        encoder=found.encoder,
        preprocessing=made,
        weights=found.weights,
        threads=own if threads is None else whole("threads", threads, 1),
        pretraining_seed=found.seed,
    )


def _found(text: str, arch: str | None, device: str | None, threads: int | None) -> Found:
    named = text.removeprefix(UNTRAINED)
    is_untrained = named != text
    if Path(named).exists():
        found = open_file(Path(named), arch, device, threads, untrained=is_untrained)
        return found._replace(name=f"{UNTRAINED}{found.name}") if is_untrained else found
    if not is_untrained and not networks.is_published(named):
        raise FileNotFoundError(
            f"{text}: no such file or folder; a model is a run's checkpoint or folder, a file of weights, timm:NAME, "
            "torchvision:NAME, or untrained:NAME"
        )
    if arch is not None:
        raise ValueError(
            f"{text}: arch={arch!r} is only for files of weights, as the name determines the network; leave arch out"
        )
    parsed = networks.parsed(named)
    if is_untrained:
        module = networks.build(Backbone.of(parsed.full))
        known = networks.known_of(parsed, module)
        return Found(f"{UNTRAINED}{parsed.full}", parsed.full, module, known, checksum(module.state_dict()))
    parsed, module, known = networks.published(parsed)
    name = parsed.full if parsed.weights is None else f"{parsed.full}:{parsed.weights}"
    return Found(name, parsed.full, module, known, checksum(module.state_dict()))


def _place(found: Found, made: Preprocessing, device: str | None) -> None:
    """Move a module to its device, in eval mode, and run it on one image.

    Raises:
        ValueError: there is no such device; the module does not accept images of this size, or does not return features
            (1, dim).
    """
    import torch

    module: Any = found.encoder
    height, width = sides_of(made.size)
    try:
        module.to(device or _own_device()).eval()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    place = next(module.parameters()).device
    try:
        with torch.no_grad():
            features = module(torch.zeros(1, 3, height, width, device=place))
    except (ValueError, TypeError, AssertionError, RuntimeError, IndexError) as error:
        told = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{found.name}: {found.arch} does not take images of {height}x{width}: {type(error).__name__}: {told}; give the "
            "size (--size) that it was trained with"
        ) from error
    if getattr(features, "ndim", 0) != 2:
        got = f"a tensor {tuple(features.shape)}" if hasattr(features, "shape") else type(features).__name__
        raise ValueError(f"{found.name}: {found.arch} must return features (1, dim) of an image, got {got}")


def _own_device() -> str:
    """This process's GPU if there is one, else the CPU."""
    import torch

    gpus = torch.cuda.device_count()
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % gpus}" if gpus else "cpu"

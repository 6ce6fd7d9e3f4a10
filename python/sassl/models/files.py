"""Models in files: checkpoints and run folders, exported backbones, and state dicts from other libraries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..evaluation.encoders import Model
from ..pretraining import ENGINES, Backbone, Pretraining, Torch
from ..pretraining.history import CHECKPOINT
from ..pretraining.state_dicts import SUFFIXES, metadata_of, read
from . import networks
from .rules import Known


class Found(NamedTuple):
    """An opened model, before its preprocessing is decided."""

    #: The model's name in results.
    name: str
    arch: str
    encoder: Model
    known: Known
    #: A checksum of the weights.
    weights: str
    #: The seed of the run that wrote the checkpoint; None for other models.
    seed: int | None = None


def open_file(path: Path, arch: str | None, device: str | None, threads: int | None, *, untrained: bool) -> Found:
    """Open the model in a run's folder or in a file.

    Args:
        path: the folder or file.
        arch: the network of a state dict; None: the file records its network.
        device, threads: as in `open_model`.
        untrained: open the same network with random weights instead.

    Raises:
        OSError: the file cannot be read; the folder has no checkpoint.
        ValueError: the file holds no weights, or weights of another network; `arch` is missing, or is given although the file
            records its network.
    """
    name = str(path)
    path = newest(path) if path.is_dir() else path
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: must be a run's folder, or a file of weights: {', '.join(SUFFIXES)}")
    metadata = metadata_of(path) if path.suffix == ".safetensors" else {}
    if tells_network(name):
        if arch is not None:
            told = "of a run" if "config" in metadata else metadata["arch"]
            raise ValueError(
                f"{path}: arch={arch!r} is not needed, as the file records its network ({told}); leave arch out"
            )
        if "config" in metadata:
            return _checkpoint(name, path, device, threads, untrained=untrained)
        return _exported(name, path, metadata, untrained=untrained)
    if arch is None:
        raise ValueError(
            f"{path}: is a state dict, which does not record its network; give arch (--arch), such as resnet50"
        )
    return _state_dict(name, path, arch, untrained=untrained)


def tells_network(source: str) -> bool:
    """Return whether a model's name or file determines its network; False only for an existing file with a state dict."""
    path = Path(source)
    if not path.is_file() or path.suffix not in SUFFIXES:
        return True
    return path.suffix == ".safetensors" and bool({"config", "arch"} & metadata_of(path).keys())


def newest(folder: Path) -> Path:
    """Return the last checkpoint in a run's folder.

    Raises:
        FileNotFoundError: the folder has no checkpoint.
    """
    found = [
        (tuple(map(int, told.groups())), one) for one in folder.iterdir() if (told := CHECKPOINT.fullmatch(one.name))
    ]
    if not found:
        raise FileNotFoundError(
            f"{folder}: there is no checkpoint in it; expected a run's folder after an epoch, or a file"
        )
    return max(found)[1]


def _checkpoint(name: str, path: Path, device: str | None, threads: int | None, *, untrained: bool) -> Found:
    engine = None if device is None else Torch(device=device, precision="float32")
    model = Pretraining.load(path, threads=threads, engine=engine)
    if untrained:
        # The run's initial weights, if they were drawn.
        model.engine = (engine or ENGINES[model.engine.name])(model.config, threads)
    views = model.transform
    known = Known.of_views(views.size, views.interpolation, model.normalize, channels_last=True)
    weights = checksum(model.state_dict()) if untrained else checksum_of_file(path)
    return Found(name, model.config.backbone.name, model, known, weights, model.config.seed)


def _exported(name: str, path: Path, metadata: Mapping[str, str], *, untrained: bool) -> Found:
    try:
        told: dict[str, Any] = {one: json.loads(metadata[one]) for one in ("input_size", "interpolation", "normalize")}
        settings = {one: json.loads(metadata[one]) for one in ("arch_settings",) if one in metadata}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: is not an exported backbone of sassl, or is damaged: {error}") from None
    arch = metadata["arch"]
    if arch.startswith("module:"):
        raise ValueError(
            f"{path}: the backbone is a module, {arch}, which only its own code can build; load it in Python"
        )
    if metadata.get("stem") == "cifar":
        settings["small_stem"] = True
    module = networks.build(Backbone(arch, settings))
    if not untrained:
        networks.with_weights_of(module, path, arch)
    known = Known.of_views(told["input_size"], told["interpolation"], told["normalize"])
    return Found(name, arch, module, known, _weights(path, module, untrained=untrained))


def _state_dict(name: str, path: Path, arch: str, *, untrained: bool) -> Found:
    parsed = networks.parsed(arch)
    backbone = Backbone(parsed.full)
    is_small = "small_stem" in backbone.settings and _has_small_stem(read(path)[1])
    module = networks.build(Backbone(parsed.full, {"small_stem": True}) if is_small else backbone)
    if not untrained:
        networks.with_weights_of(module, path, parsed.full)
    known = networks.known_of(parsed, module)
    if is_small:
        known = known._replace(size=None, resize=None)
    return Found(name, parsed.full, module, known, _weights(path, module, untrained=untrained))


def _has_small_stem(tensors: Mapping[str, Any]) -> bool:
    """Return whether a ResNet's first convolution is 3x3, as for CIFAR."""
    shapes = (tuple(x.shape) for name, x in tensors.items() if name.endswith(("conv1.weight", "0.weight")))
    return (64, 3, 3, 3) in shapes


def _weights(path: Path, module: Any, *, untrained: bool) -> str:
    return checksum(module.state_dict()) if untrained else checksum_of_file(path)


def checksum_of_file(path: Path) -> str:
    """The first half of a file's SHA-256, as 32 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()[:32]


def checksum(tensors: Mapping[str, Any]) -> str:
    """The first half of the SHA-256 of named arrays or CPU tensors, as 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(np.asarray(tensors[name], np.float32)).data)
    return digest.hexdigest()[:32]

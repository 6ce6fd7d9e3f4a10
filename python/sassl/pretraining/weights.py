"""A backbone's weights under torchvision's names: as a state dict, as a file of their own, and taken from others."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._sassl import backbone_names, write_file, write_tensors
from ..arguments import plain, wrong
from ..terminal import tell
from .config import Config
from .engines import Engine
from .state_dicts import backbone_of

#: What makes torchvision's `net` have the stem that `small_stem` means.
SMALL_STEM = ("net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)", "net.maxpool = torch.nn.Identity()")

#: Functions that make a model of a name.
_MAKERS = {"timm": "timm.create_model", "torchvision": "torchvision.models.get_model"}


class Weights:
    """What goes out of a model's backbone, and into it."""

    config: Config
    engine: Engine

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The backbone's tensors under torchvision's names, in its order of axes: float32, and int64 where PyTorch counts."""
        state = self.engine.backbone()
        counts = {
            name: tensor.astype(np.int64) for name, tensor in state.items() if name.endswith("num_batches_tracked")
        }
        return {**state, **counts}

    @property
    def native_backbone(self) -> str | None:
        """The backbone's name and settings as JSON, as `_sassl.FineTuner` takes them; None: the native engine lacks it."""
        backbone = self.config.backbone
        if backbone.name not in backbone_names():
            return None
        return json.dumps({**backbone.settings, "name": backbone.name})

    def module(self) -> Any:
        """The backbone as a `torch.nn.Module` of its own, with these weights: images (N, 3, H, W) to features (N, dim).

        Raises:
            ImportError: torch is not installed.
        """
        try:
            import torch

            from .torch.backbones import build
        except ImportError:
            raise ImportError('module: needs torch: pip install "sassl[torch]"') from None
        module = build(self.config.backbone)
        module.load_state_dict({name: torch.from_numpy(x) for name, x in self.state_dict().items()})
        return module.eval()

    def export_backbone(self, path: str | os.PathLike[str]) -> None:
        """Writes the backbone under torchvision's names: .safetensors, or .pth where torch is installed.

        `torchvision.models.resnet18().load_state_dict(..., strict=False)` then misses fc.weight and fc.bias alone. With
        `small_stem` its stem has to be made as CIFAR's first, by these two lines:

            net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
            net.maxpool = torch.nn.Identity()

        Models of timm and torchvision and modules have their own names; of the former the classifier is missing in the file.

        A .safetensors file's metadata tell how the backbone is used: "arch", "stem" ("imagenet" or "cifar"), and in JSON
        "arch_settings" of a model of timm or torchvision, "features" of a module,
        "input_size" (a side or [height, width]), "interpolation" and "normalize" (an object of "mean" and "std", null, or
        "not known", of batches that others made). A .pth file is a state dict and has no place for them.

        Raises:
            ValueError: another suffix.
            ImportError: .pth without torch.
        """
        file = Path(path)
        if file.suffix == ".safetensors":
            write_tensors(file, self.state_dict(), {"format": "pt", **about(self)})
        elif file.suffix == ".pth":
            try:
                import torch
            except ImportError:
                raise ImportError(f"{file}: .pth needs torch; install it, or write a .safetensors file") from None
            data = io.BytesIO()
            torch.save({name: torch.from_numpy(tensor) for name, tensor in self.state_dict().items()}, data)
            write_file(file, data.getvalue())
        else:
            raise wrong("path", os.fspath(path), "a .safetensors or .pth file")

    def load_backbone(self, source: str | os.PathLike[str] | Mapping[str, Any]) -> None:
        """Takes the backbone's weights from torchvision's, timm's, MoCo's or another run's; a momentum encoder gets the same.

        A line tells what was taken, and `config.init` keeps it. The names may have one of these before them, `module.` in front
        of it or not: `backbone.`, `encoder_q.`, `base_encoder.`, `encoder.`, `online_encoder.net.`, `online_network.encoder.`;
        a checkpoint may keep them as "state_dict", "model_state_dict", "model", "online_network_state_dict" or "teacher".
        A ResNet's parts may have numbers, as in `nn.Sequential(*resnet.children())`. Heads and `fc.*` are left aside,
        and so is all that does not stand under that prefix. Counts of batches may be missing.

        Args:
            source: a .safetensors file; or one of torch (.pth, .pt, .tar, .bin), of which no code is run; or a state dict of
                tensors or arrays.

        Raises:
            OSError: the file cannot be read.
            ImportError: a file of torch, without it.
            TypeError, ValueError: no such file or dict; tensors that are missing, misshapen, not finite or those of another
                backbone. No weight has changed then.
        """
        wanted = {name: tensor.shape for name, tensor in self.engine.backbone().items()}
        what = f"{self.config.backbone.name}{' with a small stem' if is_small(self.config) else ''}"
        tensors, line = backbone_of(source, wanted, what)
        self.engine.load_backbone(tensors)
        state = self.engine.state()
        name = os.path.abspath(source) if isinstance(source, (str, os.PathLike)) else None
        self.config = self.config.changed(init={"source": name, "checksum": checksum(tensors)})
        following = [name for name in state if name.partition("_backbone.")[2] in tensors]
        if following:
            self.engine.load_state({**state, **{name: tensors[name.partition("_backbone.")[2]] for name in following}})
        tell(line)


def checksum(tensors: Mapping[str, NDArray[Any]]) -> str:
    """A CRC-32 of tensors in the order of their names, in hexadecimal."""
    found = 0
    for name in sorted(tensors):
        found = zlib.crc32(np.ascontiguousarray(tensors[name]).data, zlib.crc32(name.encode(), found))
    return f"{found:08x}"


def named(init: dict[str, Any]) -> str:
    """The file that settings name, from which weights were taken.

    Raises:
        ValueError: none, as of a state dict.
    """
    if init["source"] is None:
        raise ValueError(
            f"init: no name tells what the weights of the checksum {init['checksum']} were, being a state dict; make the model "
            "by from_config(config, init=False) and give them to load_backbone"
        )
    return str(init["source"])


def is_small(config: Config) -> bool:
    """Whether the backbone has CIFAR's stem."""
    return bool(config.backbone.settings.get("small_stem"))


def about(model: Any) -> dict[str, str]:
    """How a model's backbone is used, as metadata."""
    used = {
        "input_size": model.run.data.input_size,
        "interpolation": model.transform.interpolation,
        "normalize": model.normalize,
    }
    backbone = model.config.backbone
    if backbone.family is not None:
        used |= backbone.settings
        own = {"arch": backbone.name}
    else:
        own = {"arch": backbone.name, "stem": "cifar" if is_small(model.config) else "imagenet"}
    return {**own, **{name: json.dumps(plain(value)) for name, value in used.items()}}


def usage(model: Any, file: Path) -> list[str]:
    """Lines for those who use an exported file: what images it takes, and what torchvision's network needs."""
    told = {name: json.loads(value) for name, value in about(model).items() if name not in ("arch", "stem")}
    family, _, name = model.config.backbone.name.partition(":")
    normalize, size = told["normalize"], told["input_size"]
    height, width = size if isinstance(size, list) else (size, size)
    if isinstance(normalize, dict):
        floats = f"normalized by mean {normalize['mean']} and std {normalize['std']}"
    else:
        floats = (
            "in [0, 1], not normalized" if normalize is None else "normalized as the batches were, which is not known"
        )
    lines = [f"images: {height}x{width}, {told['interpolation']}, {floats}"]
    if file.suffix == ".pth":
        lines.append("a .pth file has no place for that; a .safetensors file keeps it in its metadata")
    if family in _MAKERS:
        given = "".join(f", {key}={value!r}" for key, value in told["arch_settings"].items())
        lines.append(
            f'made by {_MAKERS[family]}("{name}"{given}), but for its classifier: load_state_dict(..., strict=False)'
        )
    if is_small(model.config):
        lines += ["stem: CIFAR's; in torchvision, before load_state_dict:", *(f"    {line}" for line in SMALL_STEM)]
    return lines

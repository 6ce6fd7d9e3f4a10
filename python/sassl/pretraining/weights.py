"""A backbone's weights with torchvision's names: as a state dict, exported to a file, and loaded from other sources."""

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

#: Lines of Python that give `net`, a torchvision ResNet, the stem of the setting `small_stem`.
SMALL_STEM = ("net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)", "net.maxpool = torch.nn.Identity()")

#: Functions that build a model by name.
_MAKERS = {"timm": "timm.create_model", "torchvision": "torchvision.models.get_model"}


class Weights:
    """A mixin that lets models export and load the backbone's weights."""

    config: Config
    engine: Engine

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The backbone's tensors with torchvision's names and axis order: float32, and int64 for `num_batches_tracked`."""
        state = self.engine.backbone()
        counts = {
            name: tensor.astype(np.int64) for name, tensor in state.items() if name.endswith("num_batches_tracked")
        }
        return {**state, **counts}

    @property
    def native_backbone(self) -> str | None:
        """The backbone's name and settings as JSON for `_sassl.FineTuner`; None if the native engine lacks the backbone."""
        backbone = self.config.backbone
        if backbone.name not in backbone_names():
            return None
        return json.dumps({**backbone.settings, "name": backbone.name})

    def module(self) -> Any:
        """A copy of the backbone in eval mode: a `torch.nn.Module` from images (N, 3, H, W) to features (N, dim).

        Raises:
            ImportError: torch is not installed.
        """
        try:
            import torch

            from .torch.backbones import build
        except ImportError:
            raise ImportError("module: needs torch: install it, or the extra sassl[torch]") from None
        module = build(self.config.backbone)
        module.load_state_dict({name: torch.from_numpy(x) for name, x in self.state_dict().items()})
        return module.eval()

    def export_backbone(self, path: str | os.PathLike[str]) -> None:
        """Write the backbone's tensors with torchvision's names to a .safetensors or .pth file.

        `torchvision.models.resnet18().load_state_dict(..., strict=False)` then reports only fc.weight and fc.bias as missing.
        With `small_stem`, first replace the stem of the torchvision model `net`:

            net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
            net.maxpool = torch.nn.Identity()

        The tensors of timm's and torchvision's models (without the classifier) and of modules keep their own names.

        A .pth file is a state dict without metadata. The metadata of a .safetensors file describes how to use the backbone. All
        entries except the first two are JSON:

        - "arch": the backbone's name.
        - "stem": "imagenet" or "cifar"; absent for timm and torchvision models and for modules.
        - "input_size": a side or [height, width].
        - "interpolation".
        - "normalize": an object of "mean" and "std", null, or "not known" (if the caller provided the batches).
        - "arch_settings", for a timm or torchvision model.
        - "features", for a module.

        Raises:
            ValueError: the suffix is neither .safetensors nor .pth.
            ImportError: the suffix is .pth, and torch is not installed.
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
        """Load weights from torchvision, timm, MoCo, another run or the like into the backbone.

        The backbone of the momentum encoder, if any, gets the same weights. A line about the loaded tensors is printed, and
        `config.init` records the source.

        The tensors' names may have one of these prefixes, with or without `module.` in front: `backbone.`, `encoder_q.`,
        `base_encoder.`, `encoder.`, `online_encoder.net.`, `online_network.encoder.`. A checkpoint may store the state dict
        under the key "state_dict", "model_state_dict", "model", "online_network_state_dict" or "teacher". A ResNet's children
        may be numbered, as in `nn.Sequential(*resnet.children())`. Heads, `fc.*` and all tensors without the prefix are
        ignored. `num_batches_tracked` may be missing.

        Args:
            source: a .safetensors file; a PyTorch file (.pth, .pt, .tar, .bin), read without running code; or a state dict of
                tensors or arrays.

        Raises:
            OSError: the file cannot be read.
            ImportError: the file is a PyTorch file, and torch is not installed.
            TypeError, ValueError: the source is neither a file of these kinds nor a state dict; tensors are missing, have other
                shapes, are not finite or belong to another backbone. No weight is changed then.
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
    """A CRC-32 of tensors and their names, sorted by name, in hexadecimal."""
    found = 0
    for name in sorted(tensors):
        found = zlib.crc32(np.ascontiguousarray(tensors[name]).data, zlib.crc32(name.encode(), found))
    return f"{found:08x}"


def named(init: dict[str, Any]) -> str:
    """The file of the initial weights, according to the setting `init`.

    Raises:
        ValueError: the weights are from a state dict, not from a file.
    """
    if init["source"] is None:
        raise ValueError(
            f"init names no file, as the weights of checksum {init['checksum']} were a state dict; create the model "
            "by from_config(config, init=False) and give them to load_backbone"
        )
    return str(init["source"])


def is_small(config: Config) -> bool:
    """Return whether the backbone has the small stem for CIFAR."""
    return bool(config.backbone.settings.get("small_stem"))


def about(model: Any) -> dict[str, str]:
    """The metadata of an exported file, which describes how to use the model's backbone."""
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
    """Lines for the user of an exported file: which images the backbone takes, and how to load the file into other models."""
    told = {name: json.loads(value) for name, value in about(model).items() if name not in ("arch", "stem")}
    family, _, name = model.config.backbone.name.partition(":")
    normalize, size = told["normalize"], told["input_size"]
    height, width = size if isinstance(size, list) else (size, size)
    if isinstance(normalize, dict):
        floats = f"normalized by mean {normalize['mean']} and std {normalize['std']}"
    else:
        floats = "in [0, 1], not normalized" if normalize is None else "normalized like the batches, which is not known"
    lines = [f"images: {height}x{width}, {told['interpolation']}, {floats}"]
    if file.suffix == ".pth":
        lines.append("a .pth file cannot record this; a .safetensors file stores it in its metadata")
    if family in _MAKERS:
        given = "".join(f", {key}={value!r}" for key, value in told["arch_settings"].items())
        lines.append(
            f'built by {_MAKERS[family]}("{name}"{given}), without the classifier: load_state_dict(..., strict=False)'
        )
    if is_small(model.config):
        lines += ["stem: CIFAR's; in torchvision, before load_state_dict:", *(f"    {line}" for line in SMALL_STEM)]
    return lines

"""Backbones from other sources: reads the tensors of a file or state dict, and selects the backbone's tensors."""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Prefixes of a backbone's tensor names. Their sources, in the same order: none; lightly and solo-learn; MoCo; MoCo v3; SimSiam
#: and Lightning Bolts; lucidrains/byol-pytorch; BYOL in Bolts. DistributedDataParallel's "module." may precede each prefix.
_BEFORE = ("", "backbone.", "encoder_q.", "base_encoder.", "encoder.", "online_encoder.net.", "online_network.encoder.")
PREFIXES = tuple(f"{outer}{inner}" for inner in _BEFORE for outer in ("", "module."))
#: First parts of tensor names that belong to a head, or to a module that is only used in training.
HEADS = {
    "fc",
    "head",
    "heads",
    "head_dist",
    "classifier",
    "projector",
    "projection_head",
    "predictor",
    "prediction_head",
    "prototypes",
    "AuxLogits",
    "aux1",
    "aux2",
}
#: The keys under which checkpoints store a state dict. The last two are from BYOL (sthalles/PyTorch-BYOL) and DINO.
_KEPT_AS = ("state_dict", "model_state_dict", "model", "online_network_state_dict", "teacher")
#: Names of the children of torchvision's ResNet in `nn.Sequential(*resnet.children())`, as in lightly's examples.
_NUMBERED = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
#: Suffixes of weight files.
SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".bin")
#: The suffix of batch norms' batch counts. Old files lack the counts; a missing count becomes 0, the initial value in PyTorch.
_COUNTS = "num_batches_tracked"
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "U8": "u1",
}
#: The maximum length of a header in bytes, the same as in the safetensors library.
_LONGEST_HEADER = 100_000_000

Tensors = dict[str, NDArray[np.float32]]


def backbone_of(source: Any, wanted: Mapping[str, tuple[int, ...]], what: str) -> tuple[Tensors, str]:
    """Select a backbone's tensors from a file or a state dict.

    Args:
        source: a .safetensors file, a PyTorch file (.pth, .pt, .tar, .bin), or a state dict.
        wanted: the shapes of the backbone's tensors, by name.
        what: a description of the backbone for messages.

    Returns:
        The tensors, and a line to print. The line states the tensors' prefix, and the tensors that were left out.

    Raises:
        OSError: the file cannot be read.
        ImportError: the file is a PyTorch file, and torch is not installed.
        TypeError: the source is neither a file nor a state dict.
        ValueError: the file is of another kind; tensors are missing, have other shapes or belong to another backbone.
    """
    name, found = read(source)
    first = next(iter(wanted))
    prefix = next((one for one in PREFIXES if one + first in found), None)
    if (
        prefix is None
        and (numbered := next((one for one in PREFIXES if f"{one}4.0.conv1.weight" in found), None)) is not None
    ):
        found, prefix = _by_names(found, numbered), numbered
    if prefix is None:
        names = ", ".join(list(found)[:5])
        looked, more = ", ".join(one + first for one in PREFIXES), ", ..." if len(found) > 5 else ""
        raise ValueError(
            f"{name}: has no backbone under torchvision's names; looked for {looked}, found {names or 'no tensors'}{more}"
        )
    taken: Tensors = {}
    missing = []
    for own, shape in wanted.items():
        if prefix + own in found:
            taken[own] = _shaped(found[prefix + own], shape, f"{name}: {prefix}{own}", what)
        elif own.endswith(_COUNTS):
            taken[own] = np.zeros(shape, np.float32)
        else:
            missing.append(prefix + own)
    if missing:
        raise ValueError(
            f"{name}: {len(missing)} of {len(wanted)} tensors of {what} are missing; looked for {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}; is it of another arch?"
        )
    aside = [other for other in found if not (other.startswith(prefix) and other.removeprefix(prefix) in wanted)]
    for other in aside if prefix == "" else [one for one in aside if one.startswith(prefix)]:
        if other.removeprefix(prefix).split(".")[0] not in HEADS:
            raise ValueError(f"{name}: {other} is not a tensor of {what}; is it of another arch?")
    return taken, f"{name}: {len(taken)} tensors {f'of {prefix}* ' if prefix else ''}for {what}{_told(aside, prefix)}"


def _told(aside: list[str], prefix: str) -> str:
    """Summarize the tensors that were left out: the first part of each name, and the number of tensors with that part."""
    groups: Counter[str] = Counter()
    for other in aside:
        before = next(one for one in (prefix, "module.", "") if other.startswith(one))
        groups[before + other.removeprefix(before).split(".")[0]] += 1
    return "; left aside: " + ", ".join(f"{group} ({n})" for group, n in groups.items()) if groups else ""


def _shaped(tensor: Any, shape: tuple[int, ...], name: str, what: str) -> NDArray[np.float32]:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor):
        tensor = tensor.detach().to("cpu", torch.float32).numpy()
    array = np.asarray(tensor)
    if array.dtype.kind not in "fiu" or array.shape != shape:
        got = f"{array.dtype} of shape {array.shape}"
        stem = (
            "; a small stem has (64, 3, 3, 3): small_stem"
            if name.endswith("conv1.weight") and "layer" not in name
            else ""
        )
        raise ValueError(f"{name} must have shape {shape} of {what}, got {got}{stem}")
    return np.asarray(array, np.float32, order="C")


def _by_names(found: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Rename the tensors of a ResNet in `nn.Sequential`: a child's index, such as "4", becomes a name, such as "layer1"."""
    named = {}
    for name, tensor in found.items():
        part, dot, rest = name.removeprefix(prefix).partition(".")
        is_numbered = name.startswith(prefix) and part in _NUMBERED
        named[f"{prefix}{_NUMBERED[part]}{dot}{rest}" if is_numbered else name] = tensor
    return named


def read(source: Any) -> tuple[str, Mapping[str, Any]]:
    """Read a file or a state dict; return a name for error messages, and the tensors by name.

    The argument and the errors are as in `backbone_of`.
    """
    name = "init"
    if isinstance(source, (str, os.PathLike)):
        name, file = os.fspath(source), Path(source)
        if file.suffix == ".safetensors":
            return name, _safetensors(file)
        if file.suffix not in SUFFIXES:
            raise ValueError(f"init must be a .safetensors file, or one of torch: .pth, .pt, .tar, .bin, got {name!r}")
        source = _torch(file)
    if not isinstance(source, Mapping):
        raise TypeError(f"{name} must be a file or a state dict, got {type(source).__name__}")
    kept = next((one for one in _KEPT_AS if isinstance(source.get(one), Mapping)), None)
    return name, source if kept is None else source[kept]


def _torch(file: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError(f"{file}: files of torch need it; install torch, or give a .safetensors file") from None
    with file.open("rb") as opened:
        try:
            return torch.load(opened, map_location="cpu", weights_only=True)
        # torch's readers raise various types.
        except Exception as error:
            raise ValueError(f"{file}: torch cannot read it as weights only: {str(error).splitlines()[0]}") from error


def metadata_of(file: Path) -> dict[str, str]:
    """The metadata in the header of a .safetensors file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a safetensors file, or is damaged.
    """
    found = _header(file)[0].get("__metadata__", {})
    if not isinstance(found, dict):
        raise ValueError(f"{file}: is not a safetensors file, or is damaged: its metadata is not an object")
    return found


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The entries of a .safetensors file's header, and the offset of its tensors."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise ValueError(
                f"{file}: is not a safetensors file, or is damaged: its header does not fit into {size} bytes"
            )
        header = opened.read(length)
    try:
        entries = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is not a safetensors file, or is damaged: {error}") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{file}: is not a safetensors file, or is damaged: its header is not an object")
    return entries, 8 + length


def _safetensors(file: Path) -> dict[str, NDArray[Any]]:
    """All tensors of a .safetensors file: memory-mapped, except bfloat16, which is converted to float32."""
    entries, start = _header(file)
    body = np.memmap(file, np.uint8, "r", start) if file.stat().st_size > start else np.empty(0, np.uint8)
    tensors = {}
    try:
        for name, entry in entries.items():
            if name != "__metadata__":
                tensors[name] = _tensor(body, **entry)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file}: is not a safetensors file, or is damaged: {error}") from None
    return tensors


def _tensor(body: NDArray[np.uint8], dtype: str, shape: list[int], data_offsets: tuple[int, int]) -> NDArray[Any]:
    begin, end = data_offsets
    if dtype not in _DTYPES:
        raise ValueError(f"a tensor has dtype {dtype}, not one of {', '.join(_DTYPES)}")
    kind = np.dtype(_DTYPES[dtype])
    if not 0 <= begin <= end <= len(body) or math.prod(shape) * kind.itemsize != end - begin:
        raise ValueError(f"{dtype} of shape {shape} does not lie in bytes {begin} to {end} of {len(body)}")
    array = body[begin:end].view(kind).reshape(shape)
    # bfloat16 is the upper half of a float32.
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else array

"""Speed of the paper's networks against PyTorch, ONNX Runtime and OpenVINO on the same weights, at 256x256 on one thread.

    pip install '.[bench]' && python tests/bench/networks.py full.safetensors adain.safetensors

Takes model files of Magenta's full pair and of AdaIN, as written by `sassl convert`; random weights suffice, since the times do
not depend on them. For each of F, T and AdaIN (content encoded, given a style, decoded), reports medians in milliseconds of all
engines, which take turns, and the other engines' times relative to sassl's. Outputs are compared first.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import peers
import torch
from sassl import Stylizer
from stylize import medians, photographs
from torch import Tensor, nn

SIDE = 256


class Inception(nn.Module):
    """InceptionV3 up to Mixed_6e, its mean and head; NCHW in [0, 1], not resized."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.tensors = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(t, False) for name, t in tensors.items()})

    def conv(self, name: str, x: Tensor, stride: int = 1, same: bool = True) -> Tensor:
        weight = self.tensors[f"predictor_{name}_weight".replace(".", "_")]
        bias = self.tensors[f"predictor_{name}_bias".replace(".", "_")]
        padding = (weight.shape[2] // 2, weight.shape[3] // 2) if same else 0
        return nn.functional.relu6(nn.functional.conv2d(x, weight, bias, stride, padding))

    def block(self, b: int, x: Tensor) -> Tensor:
        outputs = []
        for i, length in enumerate((1, 3, 0) if b == 3 else (1, 2, 3, -1) if b < 3 else (1, 3, 5, -1)):
            y = x
            if length == 0:
                y = nn.functional.max_pool2d(x, 3, 2)
            elif length == -1:
                y = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
                y = self.conv(f"block.{b}.branch.{i}.0", y)
            for j in range(max(length, 0)):
                halves = b == 3 and j == length - 1
                y = self.conv(f"block.{b}.branch.{i}.{j}", y, 2 if halves else 1, not halves)
            outputs.append(y)
        return torch.cat(outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv("stem.2", self.conv("stem.1", self.conv("stem.0", x, 2, False), same=False))
        x = self.conv("stem.4", self.conv("stem.3", nn.functional.max_pool2d(x, 3, 2)), same=False)
        x = nn.functional.max_pool2d(x, 3, 2)
        for b in range(8):
            x = self.block(b, x)
        head = self.tensors["predictor_head_weight"], self.tensors["predictor_head_bias"]
        return nn.functional.linear(x.mean((2, 3)), *head)


class Adain(nn.Module):
    """AdaIN: the content's map with the style's moments, decoded; the variant with reflected borders."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.tensors = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(t, False) for name, t in tensors.items()})

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}_weight"], self.tensors[f"{name}_bias"]
        return nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), "reflect"), weight, bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        for i in range(9):
            x = nn.functional.relu(self.conv(f"predictor_encoder_{i}", x))
            if i in (1, 3, 7):
                x = nn.functional.max_pool2d(x, 2, 2, ceil_mode=True)
        mean, deviation = x.mean((2, 3), keepdim=True), (x.var((2, 3), keepdim=True) + 1e-5).sqrt()
        style = z[..., None, None]
        x = (x - mean) / deviation * style[:, 512:] + style[:, :512]
        for i in range(9):
            if i in (1, 5, 7):
                x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.conv(f"transformer_decoder_{i}", x)
            x = nn.functional.relu(x) if i < 8 else x
        return x.clamp(0, 1)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return a model file's tensors, and the description of its network."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
        return tensors, json.loads(file.metadata()["network"])


def transformer(tensors: dict[str, Tensor], network: dict) -> nn.Module:
    """Build T with the module of its family."""
    spec = {name: value for name, value in network["transformer"].items() if name != "contract_norm"}
    module = peers.networks.Transformer(**spec)
    own = {name.removeprefix("transformer."): t for name, t in tensors.items() if name.startswith("transformer.")}
    module.load_state_dict(own)
    return module


def measure(title: str, module: nn.Module, inputs: list[np.ndarray], ours: dict, folder: Path, seconds: float) -> dict:
    """Time all engines in turns."""
    calls = peers.engines(module, inputs, 1, folder)
    with torch.inference_mode():
        reference = module(*map(torch.from_numpy, inputs)).numpy()
    found = ours["exact"]()
    found = found.transpose(0, 3, 1, 2) if found.ndim == 4 else found
    print(f"{title}: exact differs by {abs(found - reference).max() / abs(reference).max():.1e} of the largest value")
    times = medians({**calls, **{f"sassl {name}": call for name, call in ours.items()}}, seconds)
    for name in ours:
        others = "".join(f"  {k} {v:.1f} ({v / times[f'sassl {name}']:.2f}x)" for k, v in times.items() if k in calls)
        print(f"{title:24} sassl {name:5} {times[f'sassl {name}']:8.1f}{others}", flush=True)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", type=Path, help="Magenta's full pair, converted with --as-is")
    parser.add_argument("adain", type=Path, help="AdaIN of vgg_normalised.pth and decoder.pth")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each network")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    image = photographs(1, SIDE).astype(np.float32) / 255
    planes = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    results = {}
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        tensors, network = load(args.full)
        model = {p: Stylizer(args.full, threads=1, precision=p) for p in ("exact", "fast")}
        encode = {p: lambda m=m: m.encode(image) for p, m in model.items()}
        results["F"] = measure("F, InceptionV3", Inception(tensors), [planes], encode, folder, args.seconds)
        z = model["exact"].encode(image)
        stylize = {p: lambda m=m: m.transfer(image, z) for p, m in model.items()}
        results["T"] = measure("T, full", transformer(tensors, network), [planes, z], stylize, folder, args.seconds)
        tensors, _ = load(args.adain)
        model = {p: Stylizer(args.adain, threads=1, precision=p) for p in ("exact", "fast")}
        z = model["exact"].encode(photographs(2, SIDE)[1:])
        stylize = {p: lambda m=m: m.transfer(image, z) for p, m in model.items()}
        results["AdaIN"] = measure("AdaIN", Adain(tensors), [planes, z], stylize, folder, args.seconds)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

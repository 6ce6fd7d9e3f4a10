"""F and T of the whole family in PyTorch, built from the description in a model file.

Parameter names are the file's tensor names, so that `state_dict` matches the file. Images are (N, 3, H, W) in [0, 1].
Source: Ghiasi et al. 2017 (arXiv 1705.06830); Magenta's `nza_model`; Sandler et al. 2018 (MobileNetV2).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

MOBILENET_V2 = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def load(path: Path) -> tuple[nn.Module, dict[str, str]]:
    """Load a model file as a module with `.predictor` and `.transformer`; return it with the metadata."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
    model = build(json.loads(metadata["network"]))
    model.load_state_dict(tensors)
    return model, metadata


def build(network: dict[str, Any]) -> nn.Module:
    """Build the module that a description defines, with new weights."""
    model = nn.Module()
    predictor = dict(network["predictor"])
    model.predictor = {"cnn": Cnn, "mobilenet_v2": MobileNetV2}[predictor.pop("kind")](**predictor)
    model.transformer = Transformer(**network["transformer"])
    return model


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize with antialiased bilinear interpolation, as every F of the family does."""
    if images.shape[-2:] == (height, width):
        return images
    return F.interpolate(images, size=(height, width), mode="bilinear", antialias=True, align_corners=False)


class Cnn(nn.Module):
    """F of `lite`: strided convolutions; z is linear in the means and standard deviations of the pixels and of every stage.

    With `smallest`, an image whose side is between `smallest` and `size` is not resized; the output of a second linear map,
    times log2(size / side), is added to z.
    """

    def __init__(self, size: int, channels: list[int], dim: int, smallest: int | None = None) -> None:
        super().__init__()
        self.smallest, self.size = smallest or size, size
        self.conv = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2) for i, o in zip([3, *channels], channels, strict=False))
        self.head = nn.Linear(2 * (3 + sum(channels)), dim)
        if self.smallest < size:
            self.zoom = nn.Linear(2 * (3 + sum(channels)), dim)

    def forward(self, images: Tensor) -> Tensor:
        height, width = (min(max(n, self.smallest), self.size) for n in images.shape[-2:])
        features = self.features(resize(images, height, width))
        z = self.head(features)
        if self.smallest < self.size:
            z = z + math.log2(self.size / math.sqrt(height * width)) * self.zoom(features)
        return z

    def features(self, x: Tensor) -> Tensor:
        """Return the features in which z is linear, for images that need no resizing."""
        features = [statistics(x)]
        for conv in self.conv:
            x = F.relu(conv(F.pad(x, (1, 1, 1, 1), mode="reflect")))
            features.append(statistics(x))
        return torch.cat(features, 1)


def statistics(x: Tensor) -> Tensor:
    """Return means and standard deviations over height and width, (N, 2 C)."""
    x = x.float()
    variance, mean = torch.var_mean(x, (2, 3), correction=0)
    return torch.cat([mean, (variance + 1e-5).sqrt()], 1)


class MobileNetV2(nn.Module):
    """F of Magenta's mobile pair, with batch norm folded in and TensorFlow's SAME padding."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        self.block = nn.ModuleList()
        inputs = 32
        for expansion, outputs, repeats, stride in MOBILENET_V2:
            for n in range(repeats):
                self.block.append(InvertedResidual(inputs, outputs, expansion, stride if n == 0 else 1))
                inputs = outputs
        self.last = nn.Conv2d(inputs, 1280, 1)
        self.head = nn.Linear(1280, dim)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of the blocks, without resizing first."""
        x = F.relu6(same(self.stem, images))
        outputs = []
        for block in self.block:
            x = block(x)
            outputs.append(x)
        return outputs

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(self.features(resize(images, self.size, self.size))[-1])

    def embed(self, x: Tensor) -> Tensor:
        """Compute z from the last block's output."""
        return self.head(F.relu6(self.last(x)).mean((2, 3)).float())


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        if expansion != 1:
            self.expand = nn.Conv2d(inputs, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = nn.Conv2d(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self.expand(x)) if hasattr(self, "expand") else x
        h = self.project(F.relu6(same(self.depthwise, h)))
        return x + h if self.residual else h


def same(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve with TensorFlow's SAME padding; if the padding is odd, the extra pixel is at the bottom or right."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    rows, columns = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
    return conv(F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)))


class Transformer(nn.Module):
    """T: contract, residual blocks, expand, head; every norm after the contracting part takes gamma and beta from z."""

    def __init__(
        self,
        dim: int,
        contract: list[dict[str, int]],
        residual: dict[str, Any],
        expand: list[dict[str, Any]],
        head: dict[str, Any],
    ) -> None:
        super().__init__()
        self.contract = nn.ModuleList()
        channels = 3
        for layer in contract:
            self.contract.append(nn.Conv2d(channels, layer["channels"], layer["kernel"], stride=layer["stride"]))
            channels = layer["channels"]
        self.residual = nn.ModuleList()
        for _ in range(residual["blocks"]):
            block = nn.Module()
            block.conv1 = Site(channels, channels, 3, residual["separable"], dim)
            block.conv2 = Site(channels, channels, 3, residual["separable"], dim)
            self.residual.append(block)
        self.expand = nn.ModuleList()
        for layer in expand:
            self.expand.append(Site(channels, layer["channels"], layer["kernel"], layer["separable"], dim))
            channels = layer["channels"]
        self.upsample = head["upsample"]
        self.head = Site(channels, 3, head["kernel"], head["separable"], dim)
        if head["skip"]:
            self.head.skip = Weight(3, 3, head["kernel"])
            self.head.skip.gain = nn.Linear(dim, 3)
            nn.init.zeros_(self.head.skip.gain.weight)
            nn.init.ones_(self.head.skip.gain.bias)

    def contracted(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of the contracting part, which do not depend on the style."""
        outputs, x = [], images
        for conv in self.contract:
            x = F.relu(conv(reflect(x, conv.kernel_size[0] // 2)))
            outputs.append(x)
        return outputs

    def forward(self, images: Tensor, z: Tensor) -> Tensor:
        x = self.contracted(images)[-1]
        for block in self.residual:
            h = F.relu(block.conv1.norm(block.conv1.convolve(reflect(x, 1)), z))
            x = x + block.conv2.norm(block.conv2.convolve(reflect(h, 1)), z)
        for site in self.expand:
            x = F.relu(site.norm(site.convolve(upsampled(x, site.kernel // 2)), z))
        pad = self.head.kernel // 2
        x = self.head.convolve(upsampled(x, pad) if self.upsample else reflect(x, pad))
        height, width = images.shape[-2:]
        if hasattr(self.head, "skip"):
            image = F.pad(images, (pad, pad + x.shape[-1] - width, pad, pad + x.shape[-2] - height), mode="reflect")
            skip = self.head.skip
            x = x + skip.gain(z)[..., None, None] * F.conv2d(image, skip.weight)
        return torch.sigmoid(self.head.norm(x, z))[..., :height, :width]


def reflect(x: Tensor, pad: int) -> Tensor:
    return F.pad(x, (pad, pad, pad, pad), mode="reflect") if pad else x


def upsampled(x: Tensor, pad: int) -> Tensor:
    """Upsample by 2 with nearest neighbours, and pad by `pad` pixels with the values at the edge."""
    cells = -(-pad // 2)
    extra = 2 * cells - pad
    x = F.interpolate(F.pad(x, (cells, cells, cells, cells), mode="replicate"), scale_factor=2, mode="nearest")
    return x[..., extra : x.shape[-2] - extra, extra : x.shape[-1] - extra]


class Weight(nn.Module):
    """A convolution's weight without a bias, (outputs, inputs / groups, kernel, kernel)."""

    def __init__(self, outputs: int, inputs: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")


class Site(nn.Module):
    """A convolution without bias, dense or separable, and its conditional instance norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, separable: bool, dim: int) -> None:
        super().__init__()
        self.kernel = kernel
        if separable:
            self.depthwise, self.pointwise = Weight(inputs, 1, kernel), Weight(outputs, inputs, 1)
        else:
            self.weight = Weight(outputs, inputs, kernel).weight
        self.beta, self.gamma = nn.Linear(dim, outputs), nn.Linear(dim, outputs)
        for linear, bias in ((self.beta, 0.0), (self.gamma, 1.0)):
            nn.init.normal_(linear.weight, std=0.1 / dim**0.5)
            nn.init.constant_(linear.bias, bias)

    def convolve(self, x: Tensor) -> Tensor:
        if hasattr(self, "weight"):
            return F.conv2d(x, self.weight)
        return F.conv2d(F.conv2d(x, self.depthwise.weight, groups=x.shape[1]), self.pointwise.weight)

    def norm(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute gamma (x - mean) / sqrt(variance + 1e-5) + beta, with gamma itself, not 1 + gamma; biased variance."""
        variance, mean = torch.var_mean(x, (2, 3), correction=0)
        scale = self.gamma(z) * (variance + 1e-5).rsqrt()
        return x * scale[..., None, None] + (self.beta(z) - mean * scale)[..., None, None]


def multiply_adds(network: dict[str, Any], size: int) -> tuple[int, int]:
    """Return the multiply-adds of F and of T for an image of `size` x `size`; upsampling convolutions count as four phases."""
    predictor = network["predictor"]
    f, side, inputs = 0, predictor["size"], 3
    for outputs in predictor.get("channels", []):
        side //= 2
        f += side * side * 9 * inputs * outputs
        inputs = outputs
    f += 2 * (3 + sum(predictor.get("channels", []))) * predictor["dim"]

    spec = network["transformer"]
    t, side, inputs = 0, size, 3

    def convolution(outputs: int, kernel: int, separable: bool, upsample: bool) -> int:
        # Along one axis, the taps of a phase cover this many cells.
        taps = kernel // 2 + 1 if upsample else kernel
        if separable:
            return side * side * inputs * (taps * taps + outputs)
        return side * side * inputs * outputs * taps * taps

    for layer in spec["contract"]:
        side //= layer["stride"]
        t += convolution(layer["channels"], layer["kernel"], False, False)
        inputs = layer["channels"]
    t += 2 * spec["residual"]["blocks"] * convolution(inputs, 3, spec["residual"]["separable"], False)
    for layer in spec["expand"]:
        side *= 2
        t += convolution(layer["channels"], layer["kernel"], layer["separable"], True)
        inputs = layer["channels"]
    head = spec["head"]
    side *= 2 if head["upsample"] else 1
    t += convolution(3, head["kernel"], head["separable"], head["upsample"])
    t += side * side * 9 * head["kernel"] ** 2 if head["skip"] else 0
    return f, t

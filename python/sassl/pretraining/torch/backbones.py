"""Heads, and backbones with torchvision's layers and names but without classifiers. torchvision is not required."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..settings import Backbone
from . import foreign

#: Channels of VGG's convolutions, stage by stage.
_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class _Block(nn.Module):
    """A residual block of two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1 convolutions."""

    def __init__(self, inputs: int, width: int, stride: int, is_bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if is_bottleneck else width
        self.relu = nn.ReLU(inplace=True)
        if is_bottleneck:
            self.conv1, self.bn1 = _convolution(inputs, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = _convolution(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = _convolution(width, outputs, 1), nn.BatchNorm2d(outputs)
        else:
            self.conv1, self.bn1 = _convolution(inputs, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = _convolution(width, outputs, 3), nn.BatchNorm2d(outputs)
        self.is_bottleneck = is_bottleneck
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.is_bottleneck:
            x = self.bn3(self.conv3(self.relu(x)))
        return self.relu(x + shortcut)


class ResNet(nn.Module):
    """A ResNet (He et al. 2016) without the classifier.

    Args:
        blocks: the number of blocks in each stage.
        is_bottleneck: whether a block has three convolutions instead of two.
        small_stem: whether the stem is a 3x3 convolution without pooling, as for CIFAR.
        width: a multiplier for the channels of all layers; a multiple of 1/8.
    """

    def __init__(self, blocks: tuple[int, ...], is_bottleneck: bool, small_stem: bool, width: float = 1) -> None:
        super().__init__()
        inputs = channels = int(64 * width)
        self.conv1 = _convolution(3, channels, 3) if small_stem else _convolution(3, channels, 7, 2)
        self.bn1, self.relu = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        self.maxpool = None if small_stem else nn.MaxPool2d(3, 2, 1)
        self.stages = len(blocks)
        for stage, count in enumerate(blocks):
            inner, layers = channels << stage, []
            for n in range(count):
                layers.append(_Block(inputs, inner, 2 if stage > 0 and n == 0 else 1, is_bottleneck))
                inputs = 4 * inner if is_bottleneck else inner
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to features (N, features)."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x.mean((2, 3))


class VGG(nn.Module):
    """VGG-11 with batch norm (Simonyan and Zisserman 2015); the features are the mean over the last feature map."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage in _STAGES:
            for width in stage:
                layers += [nn.Conv2d(inputs, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to features (N, 512)."""
        x = self.features(x)
        return x.mean((2, 3))


def _resnet(blocks: tuple[int, ...], is_bottleneck: bool) -> Callable[[dict[str, Any]], nn.Module]:
    # `zero_init_residual` only affects the initial weights, which are loaded with the initial state.
    return lambda settings: ResNet(blocks, is_bottleneck, settings["small_stem"], settings["width"])


#: Functions that build a backbone from its settings, by name.
BACKBONES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "resnet18": _resnet((2, 2, 2, 2), False),
    "resnet34": _resnet((3, 4, 6, 3), False),
    "resnet50": _resnet((3, 4, 6, 3), True),
    "resnet101": _resnet((3, 4, 23, 3), True),
    "vgg11_bn": lambda _: VGG(),
}


def build(backbone: Backbone) -> nn.Module:
    """Build a module that maps images (N, 3, H, W) to features (N, features).

    Raises:
        ValueError: the backbone is unknown, or cannot be built.
    """
    if backbone.family is not None:
        return foreign.build(backbone)
    if backbone.name not in BACKBONES:
        raise ValueError(f'arch must be one of {", ".join(BACKBONES)} for engine="torch", got {backbone.name!r}')
    return BACKBONES[backbone.name](backbone.settings)


class Layer(nn.Linear):
    """A linear layer with an optional norm and an optional ReLU."""

    def __init__(self, inputs: int, outputs: int, bias: bool, norm: nn.Module | None, relu: bool) -> None:
        super().__init__(inputs, outputs, bias)
        self.bn, self.relu = norm, relu

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        x = x if self.bn is None else self.bn(x)
        return torch.relu(x) if self.relu else x


def head(
    *sizes: int,
    hidden_bias: bool,
    hidden_norm: bool = True,
    last_bias: bool = False,
    last_norm: bool = False,
    last_affine: bool = True,
) -> nn.Sequential:
    """Build a head: linear layers with optional norms, and ReLUs between the layers.

    `sizes` has the input dimension, followed by the output dimension of each layer.
    """
    layers = []
    for n, (inputs, outputs) in enumerate(pairwise(sizes)):
        is_last = n + 2 == len(sizes)
        norm = nn.BatchNorm1d(outputs, affine=last_affine or not is_last)
        has_norm = last_norm if is_last else hidden_norm
        bias = last_bias if is_last else hidden_bias
        layers.append(Layer(inputs, outputs, bias, norm if has_norm else None, not is_last))
    return nn.Sequential(*layers)

"""The sizes of feature maps and weights in the native engine's backbones, for estimates of memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .settings import Backbone

#: The number of blocks in each stage, and whether the blocks are bottlenecks, with three convolutions.
_RESNETS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
#: Channels of VGG-11's convolutions, stage by stage.
_VGG = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class Layer(NamedTuple):
    """A convolution with its norm, or a pooling layer, which has no weights."""

    #: The number of values in the output for one image.
    values: int
    weights: int
    #: Whether the norm's output is kept for the backward pass, in addition to the convolution's output.
    keeps_output: bool = True
    is_pooling: bool = False

    @property
    def kept(self) -> int:
        """The bytes of activations per image that are kept for the backward pass."""
        # A pooling layer keeps its output, and a byte for the position of each maximum.
        return 5 * self.values if self.is_pooling else (8 if self.keeps_output else 4) * self.values


def layers(backbone: Backbone, size: tuple[int, int]) -> list[Layer] | None:
    """A backbone's layers, for images of size (height, width); None if the native engine does not have the backbone."""
    if backbone.name in _RESNETS:
        own = backbone.settings
        return list(_resnet(*_RESNETS[backbone.name], bool(own["small_stem"]), int(64 * own["width"]), size))
    return list(_vgg(size)) if backbone.name == "vgg11_bn" else None


def _convolution(inputs: int, outputs: int, kernel: int, size: tuple[int, int], keeps_output: bool = True) -> Layer:
    return Layer(size[0] * size[1] * outputs, kernel**2 * inputs * outputs + 2 * outputs, keeps_output)


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // 2), -(-size[1] // 2)


def _resnet(
    blocks: tuple[int, ...], is_bottleneck: bool, small_stem: bool, channels: int, size: tuple[int, int]
) -> Iterator[Layer]:
    size = size if small_stem else _half(size)
    yield _convolution(3, channels, 3 if small_stem else 7, size)
    if not small_stem:
        size = _half(size)
        yield Layer(size[0] * size[1] * channels, 0, is_pooling=True)
    inputs = channels
    for stage, count in enumerate(blocks):
        width = channels << stage
        outputs = 4 * width if is_bottleneck else width
        for n in range(count):
            before = size
            size = _half(size) if stage > 0 and n == 0 else size
            if is_bottleneck:
                yield _convolution(inputs, width, 1, before)
                yield _convolution(width, width, 3, size)
                yield _convolution(width, outputs, 1, size)
            else:
                yield _convolution(inputs, width, 3, size)
                yield _convolution(width, outputs, 3, size)
            if size != before or inputs != outputs:
                yield _convolution(inputs, outputs, 1, size, keeps_output=False)
            inputs = outputs


def _vgg(size: tuple[int, int]) -> Iterator[Layer]:
    inputs = 3
    for stage in _VGG:
        for width in stage:
            made = _convolution(inputs, width, 3, size)
            yield made._replace(weights=made.weights + width)
            inputs = width
        size = size[0] // 2, size[1] // 2
        yield Layer(size[0] * size[1] * inputs, 0, is_pooling=True)

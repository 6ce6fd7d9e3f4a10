"""Algorithm 1 and both of its networks in plain numpy: slow and readable, as a reference for the tests.

This module shares no code with the rest of the package, not even to read model files. Images are (H, W, 3) float arrays in
[0, 1].
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: MobileNetV2's blocks: expansion, channels, repeats, stride (Sandler et al. 2018, table 2).
MOBILENET_V2 = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]

#: InceptionV3's blocks, Mixed_5b to Mixed_6e (Szegedy et al. 2016): number of convolutions, or kind of pooling, of each branch.
INCEPTION_V3: list[tuple[int | str, ...]] = [*[(1, 2, 3, "mean")] * 3, (1, 3, "max"), *[(1, 3, 5, "mean")] * 4]


class Reference:
    """The style predictor F and the transformer T of a model file, computed in float64.

    Args:
        path: a .safetensors model file, such as `sassl convert` writes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        data = Path(path).read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        self.network = json.loads(header.pop("__metadata__")["network"])
        self.tensors: dict[str, Array] = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            dtype = {"F32": "<f4", "F16": "<f2"}[entry["dtype"]]
            numbers = np.frombuffer(data[8 + length + start : 8 + length + end], dtype)
            self.tensors[name] = numbers.reshape(entry["shape"]).astype(np.float64)

    def stylize(self, image: Array, z_style: Array, alpha: float, beta: float) -> Array:
        """Apply Algorithm 1 to an image."""
        z = (1 - alpha) * self.encode(image) + alpha * z_style
        return (1 - beta) * image + beta * self.transfer(image, z)

    def encode(self, image: Array) -> Array:
        """Apply F: map an image to its style vector z."""
        predictor = self.network["predictor"]
        if predictor["kind"] == "inception_v3":
            shorter = predictor.get("shorter_side", min(image.shape[:2]))
            sizes = [n * shorter // min(image.shape[:2]) for n in image.shape[:2]]
            x = resize(image, sizes[0], sizes[1], tensorflow_1=True)
            return self._linear("predictor.head", self._inception_v3(x))
        largest = predictor["size"]
        height, width = (min(max(n, predictor.get("smallest", largest)), largest) for n in image.shape[:2])
        x = resize(image, height, width)
        features = self._cnn(x) if predictor["kind"] == "cnn" else self._mobilenet_v2(x)
        z = self._linear("predictor.head", features)
        if "smallest" in predictor:
            z = z + np.log2(largest / np.sqrt(height * width)) * self._linear("predictor.zoom", features)
        return z

    def _cnn(self, x: Array) -> Array:
        def statistics(x: Array) -> list[Array]:
            return [x.mean((0, 1)), np.sqrt(x.var((0, 1)) + 1e-5)]

        features = statistics(x)
        for i in range(len(self.network["predictor"]["channels"])):
            x = relu(self._conv(f"predictor.conv.{i}", pad(x, 1, "reflect"), stride=2))
            features += statistics(x)
        return np.concatenate(features)

    def _mobilenet_v2(self, x: Array) -> Array:
        x = relu6(self._conv("predictor.stem", pad_same(x, 3, 2), stride=2))
        i = 0
        for expansion, channels, repeats, first_stride in MOBILENET_V2:
            for n in range(repeats):
                name, stride = f"predictor.block.{i}", first_stride if n == 0 else 1
                h = x if expansion == 1 else relu6(self._conv(f"{name}.expand", x))
                h = relu6(self._depthwise(f"{name}.depthwise", pad_same(h, 3, stride), stride))
                h = self._conv(f"{name}.project", h)
                x = x + h if stride == 1 and x.shape[-1] == channels else h
                i += 1
        return relu6(self._conv("predictor.last", x)).mean((0, 1))

    def _inception_v3(self, x: Array) -> Array:
        spec = self.network["predictor"]
        activation = {"relu": relu, "relu6": relu6}[spec["activation"]]

        def conv(name: str, x: Array, stride: int = 1, same: bool = True) -> Array:
            rows, columns = self.tensors[f"predictor.{name}.weight"].shape[2:]
            x = np.pad(x, [(rows // 2,) * 2, (columns // 2,) * 2, (0, 0)]) if same else x
            return activation(self._conv(f"predictor.{name}", x, stride))

        x = conv("stem.1", conv("stem.0", x, 2, same=False), same=False)
        x = max_pool(conv("stem.2", x))
        x = max_pool(conv("stem.4", conv("stem.3", x), same=False))
        for b, branches in enumerate(INCEPTION_V3):
            outputs = []
            for i, branch in enumerate(branches):
                name, y = f"block.{b}.branch.{i}", x
                if branch == "max":
                    y = max_pool(y)
                elif branch == "mean":
                    y = conv(f"{name}.0", mean_pool(y, spec["pools_count_zeros"]))
                else:
                    for j in range(int(branch)):
                        halves = "max" in branches and j == int(branch) - 1
                        y = conv(f"{name}.{j}", y, 2 if halves else 1, same=not halves)
                outputs.append(y)
            x = np.concatenate(outputs, axis=2)
        return x.mean((0, 1))

    def transfer(self, image: Array, z: Array) -> Array:
        """Apply T: map an image and a style vector z to a stylized image of the same size."""
        spec = self.network["transformer"]
        x = image
        for i, layer in enumerate(spec["contract"]):
            x = pad(x, layer["kernel"] // 2, "reflect")
            x = relu(self._conv(f"transformer.contract.{i}", x, layer["stride"]))
        for i in range(spec["residual"]["blocks"]):
            name = f"transformer.residual.{i}"
            h = relu(self._norm(f"{name}.conv1", self._site(f"{name}.conv1", pad(x, 1, "reflect")), z))
            x = x + self._norm(f"{name}.conv2", self._site(f"{name}.conv2", pad(h, 1, "reflect")), z)
        for i, layer in enumerate(spec["expand"]):
            name = f"transformer.expand.{i}"
            x = relu(self._norm(name, self._site(name, upsample(x, layer["kernel"] // 2)), z))
        head = spec["head"]
        margin = head["kernel"] // 2
        x = self._site("transformer.head", upsample(x, margin) if head["upsample"] else pad(x, margin, "reflect"))
        height, width = image.shape[:2]
        if head["skip"]:
            below, right = x.shape[0] - height, x.shape[1] - width
            around = np.pad(image, ((margin, margin + below), (margin, margin + right), (0, 0)), mode="reflect")
            gain = self._linear("transformer.head.skip.gain", z)
            x = x + gain * convolve(around, self.tensors["transformer.head.skip.weight"])
        x = self._norm("transformer.head", x, z)
        return 1 / (1 + np.exp(-x[:height, :width]))

    def _norm(self, name: str, x: Array, z: Array) -> Array:
        """Apply conditional instance normalization, scaled by gamma (not 1 + gamma), with the biased variance."""
        gamma, beta = self._linear(f"{name}.gamma", z), self._linear(f"{name}.beta", z)
        return gamma * (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5) + beta

    def _site(self, name: str, x: Array) -> Array:
        """Apply a convolution without bias, dense or depthwise separable."""
        if f"{name}.weight" in self.tensors:
            return convolve(x, self.tensors[f"{name}.weight"])
        x = depthwise(x, self.tensors[f"{name}.depthwise.weight"])
        return convolve(x, self.tensors[f"{name}.pointwise.weight"])

    def _conv(self, name: str, x: Array, stride: int = 1) -> Array:
        return convolve(x, self.tensors[f"{name}.weight"], stride) + self.tensors[f"{name}.bias"]

    def _depthwise(self, name: str, x: Array, stride: int) -> Array:
        return depthwise(x, self.tensors[f"{name}.weight"], stride) + self.tensors[f"{name}.bias"]

    def _linear(self, name: str, x: Array) -> Array:
        return self.tensors[f"{name}.weight"] @ x + self.tensors[f"{name}.bias"]


def convolve(x: Array, weight: Array, stride: int = 1) -> Array:
    """Convolve (H, W, I) with (O, I, k, k), without padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(0, 1))[::stride, ::stride]
    return np.einsum("hwikl,oikl->hwo", windows, weight, optimize=True)


def depthwise(x: Array, weight: Array, stride: int = 1) -> Array:
    """Convolve each channel of (H, W, C) with (C, 1, k, k), without padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(0, 1))[::stride, ::stride]
    return np.einsum("hwckl,ckl->hwc", windows, weight[:, 0])


def pad(x: Array, n: int, mode: Any) -> Array:
    """Pad by n pixels on all sides."""
    return np.pad(x, ((n, n), (n, n), (0, 0)), mode=mode)


def pad_same(x: Array, kernel: int, stride: int) -> Array:
    """Pad with zeros as TensorFlow's SAME does; if the padding is odd, the extra pixel is at the bottom or right."""
    total = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[:2]]
    return np.pad(x, [(t // 2, t - t // 2) for t in total] + [(0, 0)])


def upsample(x: Array, margin: int) -> Array:
    """Upsample by 2 with nearest neighbours, and pad by `margin` pixels with the values at the edge.

    For a 3x3 kernel, the result equals Magenta's, which is REFLECT padding of the upsampled map.
    """
    cells = -(-margin // 2)
    x = pad(x, cells, "edge").repeat(2, 0).repeat(2, 1)
    cut = 2 * cells - margin
    return x[cut : x.shape[0] - cut, cut : x.shape[1] - cut]


def max_pool(x: Array) -> Array:
    """3x3 max pooling with stride 2, without padding."""
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max((3, 4))


def mean_pool(x: Array, counts_zeros: bool) -> Array:
    """3x3 mean pooling with stride 1 and zero padding; `counts_zeros`: the mean includes the padding."""

    def sums(x: Array) -> Array:
        return np.lib.stride_tricks.sliding_window_view(pad(x, 1, "constant"), (3, 3), axis=(0, 1)).sum((3, 4))

    return sums(x) / (9 if counts_zeros else sums(np.ones_like(x)))


def resize(image: Array, height: int, width: int, tensorflow_1: bool = False) -> Array:
    """Resize like Pillow's BILINEAR, with antialiasing.

    The weights are a triangle filter of half width max(1, input / output) around each output pixel's centre.

    With `tensorflow_1`, output pixel o is interpolated linearly at the input position o * input / output. This is without
    antialiasing and without a half-pixel offset.
    """

    def matrix(n: int, size: int) -> Array:
        scale = n / size
        support = max(scale, 1.0)
        centres = (np.arange(size) + 0.5) * scale
        if tensorflow_1:
            support, centres = 1.0, np.minimum(np.arange(size) * scale, n - 1) + 0.5
        weights = np.maximum(0, 1 - abs(np.arange(n) + 0.5 - centres[:, None]) / support)
        return weights / weights.sum(1, keepdims=True)

    rows, columns = matrix(image.shape[0], height), matrix(image.shape[1], width)
    return np.einsum("yh,hwc,xw->yxc", rows, image, columns, optimize=True)


def relu(x: Array) -> Array:
    """Compute max(x, 0)."""
    return np.maximum(x, 0)


def relu6(x: Array) -> Array:
    """Compute min(max(x, 0), 6)."""
    return np.clip(x, 0, 6)

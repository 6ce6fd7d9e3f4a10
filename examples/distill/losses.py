"""Losses between the student's image and the teacher's: pixels, the teacher's features, their statistics, band energies.

A pixel loss by itself gets colours right, but averages out strokes whose position it cannot predict; the other terms preserve
the strokes. No network other than the teacher pair is needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from networks import Transformer
from torch import Tensor, nn

WEIGHTS = {"pixel": 0.4, "z": 3.5, "features": 0.3, "contract": 0.05, "gram": 0.3, "bands": 0.3}
# At alpha = 1, where the pixels of the teacher's strokes are unpredictable; in between, interpolated by the square of alpha.
STRONG = {"pixel": 0.2, "z": 3.6, "features": 0.3, "contract": 0.05, "gram": 0.3, "bands": 1.5}
BLOCKS = (1, 4, 9, 12)


def distance(
    student: Tensor, teacher: Tensor, content: Tensor, strength: Tensor, f: nn.Module, t: Transformer
) -> dict[str, Tensor]:
    """Return the terms of each image, (N,), unweighted.

    Images are (N, 3, H, W) in [0, 1]; `strength` (N,) is the square of alpha; `f` and `t` are the teacher's, frozen.
    """
    with torch.no_grad():
        target = f.features(teacher)
        z_target, z_content = f.embed(target[-1]), f.embed(f.features(content)[-1])
        contracted_target = t.contracted(teacher)
    features = f.features(student)
    contracted = t.contracted(student)
    # The final metric: the remaining fraction of the distance from the photograph to the teacher's style.
    away = (z_content - z_target).abs().mean(1)
    return {
        "pixel": pixels(student, teacher),
        "z": (f.embed(features[-1]) - z_target).abs().mean(1) / (away + 0.1),
        "features": sum(relative(features[i], target[i]) for i in BLOCKS) / len(BLOCKS),
        "contract": sum(map(relative, contracted, contracted_target)) / len(contracted),
        "gram": sum(relative(gram(a), gram(b)) for a, b in zip(contracted, contracted_target, strict=True)),
        "bands": bands(student, teacher, strength),
    }


def pixels(a: Tensor, b: Tensor) -> Tensor:
    """Return L1 at three scales plus the root mean square error, on which PSNR is based."""
    total = ((a - b).square().mean((1, 2, 3)) + 1e-6).sqrt()
    for _ in range(3):
        total = total + (a - b).abs().mean((1, 2, 3)) / 3
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return total


def relative(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.flatten(1), b.flatten(1)
    return (a - b).abs().mean(1) / (b.abs().mean(1) + 1e-4)


def gram(x: Tensor) -> Tensor:
    """Return the second moments of the channels, (N, C, C), with their means as a last column."""
    x = x.flatten(2)
    n = x.shape[-1]
    return torch.cat([x @ x.transpose(1, 2) / n, x.mean(2, keepdim=True)], 2)


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def bands(a: Tensor, b: Tensor, strength: Tensor) -> Tensor:
    """Return differences of band energies in four octaves: of mean |Laplacian| in 8x8 windows, relative, and of the logarithm
    of its root mean square.

    The finest octave has twice the weight, because a small network tends to omit it. At full strength, too little of it costs
    twice as much as too much, to offset the other terms, for which a misplaced stroke is worse than none.
    """
    total = a.new_zeros(len(a))
    a, b = grey(a), grey(b)
    for weight in (6, 3, 3, 3):
        (high_a, a), (high_b, b) = octave(a), octave(b)
        local_a, local_b = (F.avg_pool2d(high.abs(), min(8, high.shape[-1])) for high in (high_a, high_b))
        local = (local_a - local_b).abs().mean((1, 2, 3)) / (local_b.mean((1, 2, 3)) + 0.005)
        whole_a, whole_b = ((high.square().mean((1, 2, 3)) + 1e-6).log() / 2 for high in (high_a, high_b))
        lean = strength if weight == 6 else torch.zeros_like(strength)
        total = total + local + weight * ((whole_a - whole_b).abs() + lean * F.relu(whole_b - whole_a))
    return total


def grey(x: Tensor) -> Tensor:
    return (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def octave(x: Tensor) -> tuple[Tensor, Tensor]:
    """Split off one level of a Laplacian pyramid: return what a blur removes, and every second pixel of the blurred image."""
    kernel = x.new_tensor([1, 4, 6, 4, 1]) / 16
    low = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), (kernel[:, None] * kernel)[None, None])
    return x - low, low[..., ::2, ::2]

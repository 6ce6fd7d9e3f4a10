"""Makes `convolutions.safetensors`: what PyTorch computes of convolutions and of both their gradients, in float64.
Run from the root of the repository, with torch: `python tests/golden/make_convolutions.py`.

Values in NHWC and OHWI. Input, weights and the output's gradient are not kept: they follow from `values`, exactly.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

# Images, rows, columns, inputs; outputs; kernel, stride, padding.
CASES = [
    ((2, 9, 8, 5), 7, 1, 1, 0),
    ((2, 8, 7, 20), 9, 1, 2, 0),
    ((2, 9, 8, 3), 6, 3, 1, 1),
    # By Winograd's algorithm, in tiles that go beyond the map's edges.
    ((2, 15, 14, 16), 17, 3, 1, 1),
    ((2, 9, 10, 6), 11, 3, 2, 1),
    ((1, 23, 18, 3), 10, 7, 2, 3),
]


def values(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Multiples of 2**-12 in [-1, 1), by Knuth's multiplicative hash."""
    n = np.arange(seed << 20, (seed << 20) + np.prod(shape), dtype=np.uint64)
    hashed = n * np.uint64(2654435761) % np.uint64(2**32) >> np.uint64(19)
    return torch.from_numpy((hashed / 4096 - 1).reshape(shape))


def main() -> None:
    made = {}
    for n, (shape, outputs, kernel, stride, padding) in enumerate(CASES):
        x, weight = values(3 * n, shape), values(3 * n + 1, (outputs, kernel, kernel, shape[-1]))
        tensors = [a.permute(0, 3, 1, 2).requires_grad_() for a in (x, weight)]
        out = torch.conv2d(*tensors, stride=stride, padding=padding)
        out.backward(values(3 * n + 2, tuple(out.permute(0, 2, 3, 1).shape)).permute(0, 3, 1, 2))
        name = "x".join(map(str, (*shape, outputs, kernel, stride, padding)))
        for which, result in (("output", out.detach()), ("input", tensors[0].grad), ("weight", tensors[1].grad)):
            made[f"{n} {name} {which}"] = np.ascontiguousarray(result.permute(0, 2, 3, 1).float().numpy())
    save_file(made, Path(__file__).with_name("convolutions.safetensors"))


if __name__ == "__main__":
    main()

"""The convolutions of training, and their gradients, against PyTorch's."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import need
from sassl._sassl import conv2d

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "outputs", "kernel", "stride", "padding"),
    [
        ((3, 32, 32, 3), 64, 3, 1, 1),
        ((2, 45, 38, 3), 64, 7, 2, 3),
        ((2, 15, 14, 64), 64, 3, 1, 1),
        ((2, 14, 9, 64), 96, 3, 2, 1),
        ((3, 7, 7, 80), 200, 1, 1, 0),
        ((2, 8, 7, 20), 33, 1, 2, 0),
    ],
)
def test_agrees_with_pytorch(shape, outputs, kernel, stride, padding):
    need("torch")
    import torch

    x = rng.standard_normal(shape, np.float32)
    weight = rng.standard_normal((outputs, kernel, kernel, shape[-1]), np.float32)
    tensors = [torch.from_numpy(a).permute(0, 3, 1, 2).requires_grad_() for a in (x, weight)]
    out = torch.conv2d(*tensors, stride=stride, padding=padding)
    dy = rng.standard_normal(out.permute(0, 2, 3, 1).shape, np.float32)
    out.backward(torch.from_numpy(dy).permute(0, 3, 1, 2))
    truth = {"output": out.detach(), "input": tensors[0].grad, "weight": tensors[1].grad}
    for which, theirs in truth.items():
        grad = None if which == "output" else dy
        theirs = theirs.permute(0, 2, 3, 1).numpy()
        for threads in (1, 2):
            ours = conv2d(which, x, weight, grad, stride=stride, padding=padding, threads=threads)
            np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max(), err_msg=which)


@pytest.mark.parametrize(
    ("message", "which", "grad", "weight", "stride"),
    [
        ('which = bias: "output", "input" or "weight"', "bias", (2, 6, 6, 5), (5, 3, 3, 4), 1),
        ("grad: expected [2, 6, 6, 5], got None", "input", None, (5, 3, 3, 4), 1),
        ("grad: expected [2, 6, 6, 5], got [2, 5, 6, 5]", "weight", (2, 5, 6, 5), (5, 3, 3, 4), 1),
        ("weight: expected (outputs, rows, columns, 4), got [5, 3, 3, 3]", "output", None, (5, 3, 3, 3), 1),
        ("weight: expected (outputs, rows, columns, 4), got [0, 3, 3, 4]", "output", None, (0, 3, 3, 4), 1),
        ("weight: expected a kernel within (8, 8), got (9, 3)", "output", None, (5, 9, 3, 4), 1),
        ("stride = 0: from 1 up", "output", None, (5, 3, 3, 4), 0),
    ],
)
def test_what_does_not_fit_is_an_error(message, which, grad, weight, stride):
    numbers = [None if shape is None else np.zeros(shape, np.float32) for shape in ((2, 8, 8, 4), weight, grad)]
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        conv2d(which, *numbers, stride=stride)

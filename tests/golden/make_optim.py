"""Makes `optim.json`: where PyTorch's optimizers take three tensors in five steps, and what schedules give, by Python's math.
Run from the root of the repository, with torch: `python tests/golden/make_optim.py`.
"""

import json
from math import cos, pi, sqrt
from pathlib import Path

import torch
from torch.optim import SGD, AdamW

# A matrix whose length is no multiple of a vector's, a bias, a matrix of zeros.
SHAPES = {"fc.weight": (5, 7), "fc.bias": (5,), "zero.weight": (2, 3)}
RATES = [0.1, 0.2, 0.15, 0.05, 0.01]


class LARS(torch.optim.Optimizer):
    """By the formula of facebookresearch/moco-v3, which torch lacks."""

    def __init__(self, params, momentum, weight_decay, eta):
        super().__init__(params, {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay, "eta": eta})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                u = p.grad
                if group["adapted"]:
                    u = u + group["weight_decay"] * p
                    lengths = p.norm().item(), u.norm().item()
                    if min(lengths) > 0:
                        u = u * (group["eta"] * lengths[0] / lengths[1])
                mu = self.state[p].setdefault("mu", torch.zeros_like(p))
                mu.copy_(group["momentum"] * mu + u)
                p.sub_(group["lr"] * mu)


# Settings, and whether only matrices are decayed (and adapted).
CASES = {
    "sgd_plain": (SGD, {}, False),
    "sgd_decay": (SGD, {"weight_decay": 0.05}, True),
    "sgd_momentum": (SGD, {"momentum": 0.9, "weight_decay": 0.05}, False),
    "sgd_nesterov": (SGD, {"momentum": 0.9, "weight_decay": 0.05, "nesterov": True}, True),
    "lars": (LARS, {"momentum": 0.9, "weight_decay": 0.05, "eta": 0.001}, True),
    "lars_all": (LARS, {"momentum": 0.8, "weight_decay": 0.0, "eta": 0.02}, False),
    "adamw": (AdamW, {"weight_decay": 0.01}, False),
    "adamw_matrices": (AdamW, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}, True),
}


def numbers(tensor):
    """Nine digits give back every float32."""
    return [float(f"{x:.9g}") for x in tensor.detach().flatten().tolist()]


def groups(params, name, settings, only_matrices):
    for p in params:
        held = p.ndim > 1 or not only_matrices
        decay = {} if held or name == "lars" else {"weight_decay": 0.0}
        yield {"params": [p], **settings, **decay, "adapted": held}


def run(name, first, grads):
    kind, settings, only_matrices = CASES[name]
    params = [torch.nn.Parameter(x.clone()) for x in first]
    optimizer = kind(groups(params, name, settings, only_matrices), **settings)
    for lr, step in zip(RATES, grads, strict=True):
        for group, p, grad in zip(optimizer.param_groups, params, step, strict=True):
            group["lr"], p.grad = lr, grad.clone()
        optimizer.step()
    state = {}
    for key, p in zip(SHAPES, params, strict=True):
        slots = {slot: x for slot, x in optimizer.state[p].items() if x is not None}
        state |= {f"{key}.{slot}": numbers(x) for slot, x in slots.items()}
    return {"params": [numbers(p) for p in params], "state": state}


def cosine(k, total):
    return 0.5 * (1 + cos(pi * k / total))


def warm(lr, warmup, total, k):
    return lr * k / warmup if k < warmup else lr * cosine(k - warmup, total - warmup)


def main() -> None:
    torch.manual_seed(0)
    first = [torch.randn(shape) * ("zero" not in name) for name, shape in SHAPES.items()]
    grads = [[torch.randn(shape) for shape in SHAPES.values()] for _ in RATES]
    ks = [0, 1, 5, 9, 10, 11, 57, 99, 100]
    fixture = {
        "shapes": list(SHAPES.items()),
        "rates": RATES,
        "first": [numbers(x) for x in first],
        "grads": [[numbers(x) for x in step] for step in grads],
        "cases": {name: run(name, first, grads) for name in CASES},
        "ks": ks,
        "moco_lr": [0.03 * cosine(k, 100) for k in ks],
        "warm_lr": [warm(4.8, 10, 100, k) for k in ks],
        "tau": [1 - (1 - 0.996) * cosine(k, 100) for k in ks],
        "scaled": {"linear": 0.3 * 512 / 256, "square_root": 0.075 * sqrt(512)},
        "ema": numbers(first[0] * 0.996 + grads[0][0] * (1 - 0.996)),
    }
    path = Path(__file__).parent / "optim.json"
    path.write_text(json.dumps(fixture, separators=(",", ":")).replace('],"', '],\n"') + "\n")


if __name__ == "__main__":
    main()

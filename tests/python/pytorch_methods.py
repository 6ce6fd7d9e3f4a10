"""The methods in PyTorch, with torchvision's backbones and lightly's losses: what the trainers are compared with."""

from __future__ import annotations

import copy
import itertools

import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy, normalize


def resnet(arch, small_stem):
    net = getattr(torchvision.models, arch)()
    net.fc = nn.Identity()
    if small_stem:
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net


def backbone(settings):
    """The backbone, and how many values a feature has."""
    if settings["arch"].startswith("vgg"):
        return Vgg(settings["arch"]), 512
    features = 512 if settings["arch"] in ("resnet18", "resnet34") else 2048
    return resnet(settings["arch"], settings["small_stem"]), features


class Vgg(nn.Module):
    """torchvision's without its classifier."""

    def __init__(self, arch):
        super().__init__()
        self.features = getattr(torchvision.models, arch)().features

    def forward(self, x):
        return self.features(x).mean((2, 3))


def head(*sizes, hidden_bias, hidden_norm=True, last_norm=False, last_bias=False, last_affine=True):
    layers = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        last = i + 2 == len(sizes)
        norm = last_norm if last else hidden_norm
        layers.append(nn.Linear(inputs, outputs, bias=last_bias if last else hidden_bias))
        layers += [nn.BatchNorm1d(outputs, affine=last_affine or not last)] * norm + [nn.ReLU()] * (not last)
    return nn.Sequential(*layers)


def entries(name, module):
    """The module's tensors under the names that a trainer gives them."""
    if not isinstance(module, nn.Sequential):
        return {f"{name}.{key}": tensor for key, tensor in module.state_dict(keep_vars=True).items()}
    found, n = {}, -1
    for layer in module:
        if isinstance(layer, nn.Linear):
            n += 1
        kind = "bn." if isinstance(layer, nn.BatchNorm1d) else ""
        found |= {f"{name}.{n}.{kind}{key}": tensor for key, tensor in layer.state_dict(keep_vars=True).items()}
    return found


def load(modules, state):
    for name, module in modules.items():
        for key, tensor in entries(name, module).items():
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(state[key]).reshape(tensor.shape))


def networks(settings):
    """The networks that learn, of settings under their flat names."""
    method, dim = settings["method"], settings["dim"]
    net, features = backbone(settings)
    if method == "moco-v2":
        sizes = (features, features, dim) if settings["mlp"] else (features, dim)
        return {"backbone": net, "projector": head(*sizes, hidden_bias=True, hidden_norm=False, last_bias=True)}
    hidden = settings["hidden_dim"]
    if method == "byol":
        heads = {"hidden_bias": True, "last_bias": settings["last_bias"]}
        projector, predictor = head(features, hidden, dim, **heads), head(dim, hidden, dim, **heads)
        return {"backbone": net, "projector": projector, "predictor": predictor}
    sizes = (features, *[hidden] * (settings["layers"] - 1), dim)
    if method == "simclr":
        return {"backbone": net, "projector": head(*sizes, hidden_bias=False, last_norm=True)}
    projector = head(*sizes, hidden_bias=False, last_norm=True, last_affine=False)
    predictor = head(dim, settings["predictor_dim"], dim, hidden_bias=False, last_bias=True)
    return {"backbone": net, "projector": projector, "predictor": predictor}


class Reference:
    """A method with a trainer's weights, in float64 or in float32; its settings under their flat names."""

    def __init__(self, settings, state, dtype=torch.float64):
        self.settings, self.dtype = settings, dtype
        self.learning = networks(settings)
        if "method.queue" in state:
            self.queue, self.pointer = torch.tensor(state["method.queue"], dtype=dtype), 0
        load(self.learning, state)
        self.learning = {name: module.to(dtype).train() for name, module in self.learning.items()}
        self.following = copy.deepcopy(self.learning)
        self.parameters = [p for module in self.learning.values() for p in module.parameters()]

    def run(self, modules, x, *names):
        for name in ("backbone", "projector", *names):
            x = modules[name](x)
        return x

    def follow(self, m):
        for name in ("backbone", "projector"):
            for slow, fast in zip(self.following[name].parameters(), self.learning[name].parameters(), strict=True):
                slow.data = m * slow.data + (1 - m) * fast.data

    def loss(self, left, right, m):
        left, right = left.to(self.dtype), right.to(self.dtype)
        if self.settings["method"] == "simsiam":
            cosine = nn.CosineSimilarity(dim=1)
            z = [self.run(self.learning, x) for x in (left, right)]
            p = [self.learning["predictor"](one) for one in z]
            return -(cosine(p[0], z[1].detach()).mean() + cosine(p[1], z[0].detach()).mean()) * 0.5
        if self.settings["method"] == "simclr":
            from lightly.loss import NTXentLoss

            z = self.run(self.learning, torch.cat([left, right]))
            return NTXentLoss(temperature=self.settings["temperature"])(*z.chunk(2))
        if self.settings["method"] == "byol":
            from lightly.loss import NegativeCosineSimilarity

            total = 0
            for x, y in ((left, right), (right, left)):
                p = self.run(self.learning, x, "predictor")
                with torch.no_grad():
                    z = self.run(self.following, y)
                total = total + 2 + 2 * NegativeCosineSimilarity()(p, z)
            return total * self.settings["loss_scale"]
        self.follow(m)
        queue, total = self.queue.clone(), 0
        pairs = ((left, right), (right, left)) if self.settings["symmetric"] else ((left, right),)
        keys = []
        for x, y in pairs:
            q = normalize(self.run(self.learning, x))
            with torch.no_grad():
                k = normalize(self.run(self.following, y))
            logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / self.settings["temperature"]
            total = total + cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
            keys.insert(0, k)
        # MoCo's notebook: the keys of the left views, if there are any, before those of the right ones.
        keys = torch.cat(keys)
        self.queue[self.pointer : self.pointer + len(keys)] = keys
        self.pointer = (self.pointer + len(keys)) % len(self.queue)
        return total

"""Networks, losses and steps of the trainers against PyTorch: torchvision's ResNets, lightly's losses, float64."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest
from conftest import need
from sassl._sassl import Trainer, cosine_momentum, cosine_rate

need("torchvision")

import torch  # noqa: E402
import torchvision  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy, normalize  # noqa: E402

SETTINGS = {
    "method": "simclr",
    "arch": "resnet18",
    "small_stem": True,
    "zero_init_residual": False,
    "dim": 16,
    "hidden_dim": 32,
    "layers": 2,
    "temperature": 0.2,
    "queue_size": 48,
    "splits": 1,
    "symmetric": False,
    "mlp": True,
    "optimizer": "sgd",
    "nesterov": False,
    "eta": 0.001,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "exclude_bias_and_norm": False,
    "seed": 0,
}


def trainer(**settings):
    return Trainer(json.dumps({**SETTINGS, **settings}), threads=2)


def views(n, size, seed=0):
    """Two views that have something in common, (N, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(n, 3, 4, 4, generator=generator)
    picture = nn.functional.interpolate(rough, (size, size), mode="bilinear")
    return [picture + 0.2 * torch.rand(n, 3, size, size, generator=generator) for _ in range(2)]


def resnet(arch, small_stem):
    net = getattr(torchvision.models, arch)()
    net.fc = nn.Identity()
    if small_stem:
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net


def head(*sizes, hidden_bias, hidden_norm=True, last_norm=False, last_bias=False):
    layers = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        last = i + 2 == len(sizes)
        norm = last_norm if last else hidden_norm
        layers.append(nn.Linear(inputs, outputs, bias=last_bias if last else hidden_bias))
        layers += [nn.BatchNorm1d(outputs)] * norm + [nn.ReLU()] * (not last)
    return nn.Sequential(*layers)


def entries(name, module):
    """The module's tensors under the names that a trainer gives them."""
    if isinstance(module, torchvision.models.ResNet):
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


class Reference:
    """The three methods in PyTorch, in float64, with a trainer's weights."""

    def __init__(self, settings, state):
        self.settings = settings = {**SETTINGS, **settings}
        dim, hidden = settings["dim"], settings["hidden_dim"]
        net = resnet(settings["arch"], settings["small_stem"])
        features = 512 if settings["arch"] in ("resnet18", "resnet34") else 2048
        method = settings["method"]
        if method == "simclr":
            self.learning = {
                "backbone": net,
                "projector": head(features, hidden, dim, hidden_bias=False, last_norm=True),
            }
        elif method == "byol":
            projector = head(features, hidden, dim, hidden_bias=True)
            self.learning = {
                "backbone": net,
                "projector": projector,
                "predictor": head(dim, hidden, dim, hidden_bias=True),
            }
        else:
            projector = head(features, features, dim, hidden_bias=True, hidden_norm=False, last_bias=True)
            self.learning = {"backbone": net, "projector": projector}
            self.queue = torch.from_numpy(state["method.queue"]).double()
        load(self.learning, state)
        self.learning = {name: module.double().train() for name, module in self.learning.items()}
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
        left, right = left.double(), right.double()
        temperature = self.settings["temperature"]
        if self.settings["method"] == "simclr":
            from lightly.loss import NTXentLoss

            z = self.run(self.learning, torch.cat([left, right]))
            return NTXentLoss(temperature=temperature)(*z.chunk(2))
        if self.settings["method"] == "byol":
            from lightly.loss import NegativeCosineSimilarity

            total = 0
            for x, y in ((left, right), (right, left)):
                p = self.run(self.learning, x, "predictor")
                with torch.no_grad():
                    z = self.run(self.following, y)
                total = total + 2 + 2 * NegativeCosineSimilarity()(p, z)
            return total
        self.follow(m)
        queue, total = self.queue.clone(), 0
        pairs = ((left, right), (right, left)) if self.settings["symmetric"] else ((left, right),)
        for i, (x, y) in enumerate(pairs):
            q = normalize(self.run(self.learning, x))
            with torch.no_grad():
                k = normalize(self.run(self.following, y))
            logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / temperature
            total = total + cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
            if i == 0:
                self.queue = torch.cat([k, self.queue[len(k) :]])
        return total


METHODS = [
    {"method": "simclr"},
    {"method": "byol"},
    {"method": "moco-v2"},
    {"method": "moco-v2", "symmetric": True},
]


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50", "resnet101"])
@pytest.mark.parametrize("small_stem", [True, False])
def test_features_are_torchvisions(arch, small_stem):
    ours, net = trainer(arch=arch, small_stem=small_stem), resnet(arch, small_stem)
    state = ours.backbone()
    tensors = {name: torch.from_numpy(numbers) for name, numbers in state.items()}
    full = getattr(torchvision.models, arch)()
    missing, unexpected = (
        full.load_state_dict(tensors, strict=False) if not small_stem else (["fc.weight", "fc.bias"], [])
    )
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    net.load_state_dict(tensors)
    # Statistics that are those of no fresh network.
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean, -0.1, 0.1)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    ours.load_backbone({name: tensor.numpy() for name, tensor in net.state_dict().items()})
    images = views(3, 40 if small_stem else 71)[0]
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    got = ours.encode(images.numpy())
    assert got.shape == (3, ours.features)
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.array_equal(got, ours.encode(np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))))


def named(settings):
    return "-".join(map(str, settings.values()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", METHODS, ids=named)
@pytest.mark.parametrize(
    ("arch", "small_stem", "size", "smooth"),
    [("resnet18", True, 16, True), ("resnet18", True, 16, False), ("resnet50", False, 40, True)],
)
def test_loss_and_gradients_are_pytorchs(settings, arch, small_stem, size, smooth):
    """One step of SGD with a rate of 1 shows the gradient.

    Where a ReLU's input rounds to the other side of 0, gradients differ by more than rounding. So all inputs are moved above
    0 first (smooth); as networks begin, gradients point the same way.
    """
    need("lightly")
    settings = {**settings, "arch": arch, "small_stem": small_stem}
    ours = trainer(**settings)
    if smooth:
        state = ours.state()
        for name, numbers in state.items():
            if name.endswith("bias") and not name.startswith("optimizer"):
                numbers[:] = 20 if name.endswith("projector.0.bias") and settings["method"] == "moco-v2" else 6
        ours.load_state(state)
    before = ours.state()
    reference = Reference(settings, before)
    left, right = views(12, size)
    loss = reference.loss(left, right, 0.99)
    loss.backward()
    got, _ = ours.step(left.numpy(), right.numpy(), 1.0, 0.99)
    assert abs(got - loss.item()) <= 1e-4 * abs(loss.item())
    after = ours.state()
    for name, module in reference.learning.items():
        for key, tensor in entries(name, module).items():
            if tensor.grad is not None:
                expected = tensor.grad.numpy()
                gradient = (before[key].astype(np.float64) - after[key]).reshape(expected.shape)
                length = np.linalg.norm(expected)
                # A bias before a norm has no gradient; the step is seen only as far as weights have digits.
                digits = 1e-6 * np.linalg.norm(before[key]) + 1e-6
                if smooth:
                    assert np.linalg.norm(gradient - expected) <= 1e-2 * length + digits, key
                elif length > 100 * digits:
                    assert (gradient * expected).sum() > 0.95 * length * np.linalg.norm(gradient), key
            elif "running" in key:
                assert np.allclose(after[key], tensor.numpy(), rtol=1e-4, atol=1e-5), key


@pytest.mark.parametrize("settings", METHODS, ids=named)
def test_a_run_goes_on_to_the_bit(settings):
    settings = {**settings, "optimizer": "lars", "momentum": 0.9, "weight_decay": 1e-4, "seed": 3}
    settings["splits"] = 2 if settings["method"] == "moco-v2" else 1
    batches = [[view.numpy() for view in views(8, 16, seed)] for seed in range(4)]
    straight = trainer(**settings)
    losses = [straight.step(*batch, 0.1, 0.99)[0] for batch in batches]
    broken = trainer(**settings)
    for batch in batches[:2]:
        broken.step(*batch, 0.1, 0.99)
    resumed = trainer(**{**settings, "seed": 3})
    resumed.load_state(broken.state())
    assert [resumed.step(*batch, 0.1, 0.99)[0] for batch in batches[2:]] == losses[2:]
    one, other = straight.state(), resumed.state()
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_threads_do_not_change_a_bit():
    left, right = (view.numpy() for view in views(8, 16))
    runs = []
    for threads in (1, 3):
        ours = Trainer(json.dumps(SETTINGS), threads=threads)
        runs.append((ours.step(left, right, 0.1, 0.99)[0], ours.state()))
    assert runs[0][0] == runs[1][0]
    assert all(np.array_equal(runs[0][1][name], runs[1][1][name]) for name in runs[0][1])


def test_split_norms_are_those_of_the_parts():
    """Running statistics are those of the parts on average. (Keys are shuffled among the parts: of the query's network.)"""
    left, right = (view.numpy() for view in views(8, 16))
    settings = {"method": "moco-v2", "queue_size": 8, "seed": 1}
    split = trainer(**settings, splits=2)
    state = split.state()
    split.step(left, right, 0.0, 1.0)
    parts = [trainer(**settings) for _ in range(2)]
    for i, part in enumerate(parts):
        part.load_state({**state})
        with pytest.raises(ValueError, match="queue_size = 8: a multiple of the batch of 3"):
            part.step(left[:3], right[:3], 0.0, 1.0)
        part.step(left[4 * i : 4 * i + 4], right[4 * i : 4 * i + 4], 0.0, 1.0)
    for name, numbers in split.state().items():
        if name.startswith("backbone.") and name.endswith(("running_mean", "running_var")):
            mean = np.mean([part.state()[name] for part in parts], 0)
            assert np.allclose(numbers, mean, rtol=1e-4, atol=1e-6), name


def test_schedules_are_their_formulas():
    rates = [cosine_rate(0.3, 10, 100, k) for k in range(101)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.15)
    assert rates[10] == 0.3
    assert rates[55] == pytest.approx(0.15)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert cosine_momentum(0.996, 100, 0) == pytest.approx(0.996)
    assert cosine_momentum(0.996, 100, 50) == pytest.approx(0.998)
    assert cosine_momentum(0.996, 100, 100) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "dino"}, 'method = "dino": there are'),
        ({"arch": "vgg"}, 'arch = "vgg": there are "resnet18"'),
        ({"optimizer": "adam"}, 'optimizer = "adam"'),
        ({"temperature": 0}, "temperature = 0"),
        ({"momentum": 1.0}, "momentum = 1"),
        ({"weight_decay": -1}, "weight_decay = -1"),
        ({"optimizer": "lars", "eta": 0}, "eta = 0"),
        ({"method": "byol", "hidden_dim": 0}, "hidden_dim = 0"),
        ({"learning_rte": 1}, "unknown field `learning_rte`"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        trainer(**settings)


def test_batches_and_states_that_cannot_be():
    left, right = (view.numpy() for view in views(4, 16))
    ours = trainer()
    with pytest.raises(ValueError, match=r"right views: expected \[4, 16, 16, 3\]"):
        ours.step(left, right[:2], 0.1, 0.9)
    with pytest.raises(ValueError, match=r"left: expected \(N, H, W, 3\)"):
        ours.step(left[0], right, 0.1, 0.9)
    with pytest.raises(ValueError, match="batch_size = 1"):
        ours.step(left[:1], right[:1], 0.1, 0.9)
    before = ours.state()
    bad = left.copy()
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="loss = NaN: a loss is finite"):
        ours.step(bad, right, 0.1, 0.9)
    kept = ours.state()
    assert all(
        np.array_equal(before[name], kept[name]) for name in before if "running" not in name and "num_b" not in name
    )
    with pytest.raises(ValueError, match="is it of another method"):
        trainer(method="byol").load_state(before)
    with pytest.raises(ValueError, match="is it of another"):
        trainer(arch="resnet34").load_state(before)
    with pytest.raises(ValueError, match="splits = 3: the batch of 4"):
        trainer(method="moco-v2", splits=3).step(left, right, 0.1, 0.9)
    with pytest.raises(ValueError, match=r"conv1\.weight: expected"):
        trainer(small_stem=False).load_backbone(ours.backbone())

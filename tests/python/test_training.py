"""Networks, losses and steps of the trainers against PyTorch: torchvision's ResNets, lightly's losses, float64."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from conftest import need
from sassl._sassl import Trainer, cosine_momentum, cosine_rate
from sassl.pretraining import PRESETS

need("torchvision")

import torch  # noqa: E402
import torchvision  # noqa: E402
from pytorch_methods import Reference, Vgg, entries, resnet  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import normalize  # noqa: E402

#: Those that a method, its backbone and its optimizer have.
SETTINGS = {
    "small_stem": True,
    "zero_init_residual": False,
    "dim": 16,
    "hidden_dim": 32,
    "layers": 2,
    "predictor_dim": 8,
    "temperature": 0.2,
    "queue_size": 96,
    "splits": 1,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "exclude_bias_and_norm": False,
}


def config(method="simclr", *, arch="resnet18", optimizer="sgd", **settings):
    base = PRESETS[method].changed(arch=arch, optimizer=optimizer)
    own = {name: value for name, value in SETTINGS.items() if name in base.flat()}
    return base.changed(**{**own, **settings})


def trainer(method="simclr", **settings):
    return Trainer(config(method, **settings).core(), threads=2)


def views(n, size, seed=0):
    """Two views that have something in common, (N, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(n, 3, 4, 4, generator=generator)
    image = nn.functional.interpolate(rough, (size, size), mode="bilinear")
    return [image + 0.2 * torch.rand(n, 3, size, size, generator=generator) for _ in range(2)]


METHODS = [
    {"method": "simclr"},
    {"method": "byol"},
    {"method": "moco-v2"},
    {"method": "moco-v2", "symmetric": True},
    {"method": "simsiam"},
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


@pytest.mark.parametrize("width", [0.25, 0.375, 2])
def test_widths_are_lightlys(width):
    """`width` is the multiplier of SimCLR's code, which lightly's CIFAR ResNets have too."""
    need("lightly")
    from lightly.models import ResNetGenerator

    ours = trainer(arch="resnet18", width=width)
    state = {name.replace("downsample", "shortcut"): torch.from_numpy(x) for name, x in ours.backbone().items()}
    net = ResNetGenerator("resnet-18", width=width)
    net.load_state_dict(state, strict=False)
    net.linear = nn.Identity()
    images = views(3, 32)[0]
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    got = ours.encode(images.numpy())
    assert got.shape == expected.shape == (3, ours.features) == (3, 512 * width)
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("width", [0, -1, 0.3, 9])
def test_a_wrong_width_is_an_error(width):
    with pytest.raises(ValueError, match="width"):
        trainer(arch="resnet18", width=width)


def test_vggs_features_are_torchvisions():
    ours, net = trainer(arch="vgg11_bn"), Vgg("vgg11_bn")
    state = ours.backbone()
    full = torchvision.models.vgg11_bn()
    tensors = {name: torch.from_numpy(numbers) for name, numbers in state.items()}
    missing, unexpected = full.load_state_dict(tensors, strict=False)
    assert unexpected == []
    assert all(name.startswith("classifier.") for name in missing)
    for name, tensor in full.features.state_dict().items():
        # It begins as torchvision's.
        if tensor.ndim == 4:
            fresh = torchvision.models.vgg11_bn().features.state_dict()[name]
            assert state[f"features.{name}"].std() == pytest.approx(fresh.std().item(), rel=0.1)
            break
    net.load_state_dict(tensors)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        elif isinstance(module, nn.Conv2d):
            nn.init.uniform_(module.bias, -0.1, 0.1)
    ours.load_backbone({name: tensor.numpy() for name, tensor in net.state_dict().items()})
    images = views(3, 71)[0]
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    got = ours.encode(images.numpy())
    assert got.shape == (3, 512)
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    with pytest.raises(ValueError, match="input_size must be at least 32x32 for this backbone, got 16x16"):
        ours.encode(images.numpy()[..., :16, :16])


@pytest.mark.filterwarnings("ignore")
def test_vggs_gradient_is_pytorchs():
    need("lightly")
    settings = config(arch="vgg11_bn", input_size=64)
    ours = Trainer(settings.core(), threads=2)
    before = ours.state()
    for name, numbers in before.items():
        # Inputs of ReLUs above 0, as in the test below.
        if name.startswith("backbone") and name.endswith("bias"):
            numbers[:] = 6
    ours.load_state(before)
    left, right = views(12, 64)
    reference = Reference(settings.flat(), before)
    reference.loss(left, right, 0.99).backward()
    ours.step(left.numpy(), right.numpy(), 1.0, 0.99)
    after = ours.state()
    apart, length = 0.0, 0.0
    for key, tensor in entries("backbone", reference.learning["backbone"]).items():
        if tensor.grad is not None:
            expected = tensor.grad.numpy()
            gradient = before[key].astype(np.float64) - after[key]
            apart += np.square(gradient - expected).sum()
            length += np.square(expected).sum()
        elif "running" in key:
            assert np.allclose(after[key], tensor.numpy(), rtol=1e-3, atol=1e-4), key
    # A window's largest value, of two that are nearly equal, may be the other one: so it is with PyTorch's own float32.
    assert apart**0.5 <= 1e-2 * length**0.5


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
    reference = Reference(config(**settings).flat(), before)
    left, right = views(12, size)
    loss = reference.loss(left, right, 0.99)
    loss.backward()
    got, watched, features = ours.step(left.numpy(), right.numpy(), 1.0, 0.99)
    # SimSiam's loss is a sum of cosines of either sign.
    assert abs(got - loss.item()) <= 1e-4 * max(abs(loss.item()), 0.1)
    with torch.no_grad():
        # Copies: what runs in training's norms leaves traces.
        backbone, projector = (copy.deepcopy(reference.learning[name]) for name in ("backbone", "projector"))
        rows = backbone(torch.cat([left, right] if settings["method"] == "simclr" else [left]).double())
        z = normalize(projector(rows)[: len(left)])
        spread = (z.std(0, unbiased=False).mean() * z.shape[1] ** 0.5).item()
        rows = rows[: len(left)].numpy()
    assert np.abs(features - rows).max() <= 1e-4 * np.abs(rows).max()
    assert abs(watched["feature_std"] - spread) <= 1e-3 * spread + 1e-5
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
    settings |= {"splits": 2} if settings["method"] == "moco-v2" else {}
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
        ours = Trainer(config().core(), threads=threads)
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
    ("part", "settings", "message"),
    [
        ("method", {"name": "dino"}, 'method must be one of .*, got "dino"'),
        ("method", {"temperature": 0}, "temperature must be a finite number > 0, got 0"),
        ("method", {"hidden_dim": 0}, "hidden_dim must be an integer >= 1, got 0"),
        ("method", {"dim": 10**12}, "dim must be at most 65536, got 1000000000000"),
        ("method", {"tau": 1}, "settings of simclr are invalid: unknown field `tau`"),
        ("backbone", {"name": "vgg"}, 'backbone must be one of "resnet18", .*, got "vgg"'),
        ("backbone", {"stem": 1}, "settings of resnet18 are invalid: unknown field `stem`"),
        ("optimizer", {"name": "adam"}, "unknown variant `adam`, expected one of `sgd`"),
        ("optimizer", {"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1"),
        ("optimizer", {"weight_decay": -1}, "weight_decay must be a finite number >= 0, got -1"),
        ("optimizer", {"eta": 1}, "unknown field `eta`"),
    ],
)
def test_settings_that_cannot_be(part, settings, message):
    nested = config().nested()
    nested[part] |= settings
    with pytest.raises(ValueError, match=message):
        Trainer(json.dumps(nested))
    with pytest.raises(ValueError, match="unknown field `learning_rte`"):
        Trainer(json.dumps({**config().nested(), "learning_rte": 1}))


def test_batches_and_states_that_cannot_be():
    left, right = (view.numpy() for view in views(4, 16))
    ours = trainer()
    with pytest.raises(ValueError, match=r"right views must have shape \(4, 16, 16, 3\)"):
        ours.step(left, right[:2], 0.1, 0.9)
    with pytest.raises(ValueError, match=r"left must have shape \(N, H, W, 3\)"):
        ours.step(left[0], right, 0.1, 0.9)
    with pytest.raises(ValueError, match=r"batch_size must be an integer >= 2, .*, got 1"):
        ours.step(left[:1], right[:1], 0.1, 0.9)
    before = ours.state()
    bad = left.copy()
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="image 0 of the left views must have finite values, got NaN"):
        ours.step(bad, right, 0.1, 0.9)
    kept = ours.state()
    assert all(np.array_equal(before[name], kept[name]) for name in before)
    lost = trainer()
    lost.step(left, right, 1e30, 0.9)
    with pytest.raises(ValueError, match=r"loss must be finite, got NaN; the run has diverged"):
        lost.step(left, right, 1e30, 0.9)
    with pytest.raises(ValueError, match="is it of another method"):
        trainer(method="byol").load_state(before)
    with pytest.raises(ValueError, match="is it of another"):
        trainer(arch="resnet34").load_state(before)
    with pytest.raises(
        ValueError, match="splits must divide the batch of 4 into equal parts of at least 2 images, got 3"
    ):
        trainer(method="moco-v2", splits=3).step(left, right, 0.1, 0.9)
    uneven = trainer(method="moco-v2", queue_size=12)
    uneven.step(left, right, 0.1, 0.9)
    # The queue takes any batch.
    uneven.step(left[:3], right[:3], 0.1, 0.9)
    trainer(method="moco-v2", queue_size=12, symmetric=True).step(left, right, 0.1, 0.9)
    with pytest.raises(ValueError, match=r"conv1\.weight must have shape"):
        trainer(small_stem=False).load_backbone(ours.backbone())


@pytest.mark.parametrize("settings", METHODS[:-1], ids=named)
def test_gradients_are_differences_of_losses(settings):
    """Along the gradient, the loss changes by its length: a central difference, without any other framework.

    SimSiam stops a gradient in the network that moves, so that its loss changes by more.
    """
    left, right = (view.numpy() for view in views(16, 16))
    ours = trainer(**settings)
    before = ours.state()
    ours.step(left, right, 1.0, 1.0)
    after = ours.state()
    moved = [name for name in before if not name.startswith(("optimizer", "method", "key", "target"))]
    moved = [name for name in moved if "running" not in name and "num_batches" not in name]
    gradient = {name: before[name].astype(np.float64) - after[name] for name in moved}
    length = np.sqrt(sum((g**2).sum() for g in gradient.values()))

    def loss(step):
        state = {name: numbers.copy() for name, numbers in before.items()}
        for name in moved:
            state[name] = (before[name] + step / length * gradient[name]).astype(np.float32)
        ours.load_state(state)
        return ours.step(left, right, 0.0, 1.0)[0]

    slope = (loss(5e-4) - loss(-5e-4)) / 1e-3
    assert abs(slope - length) <= 0.03 * length

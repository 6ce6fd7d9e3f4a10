"""Methods as parts: their settings in Python and in Rust, what is no setting of theirs, and presets against their sources."""

from __future__ import annotations

import copy
import json
from dataclasses import fields

import numpy as np
import pytest
import sassl
from conftest import need
from sassl._sassl import Trainer, backbone_info, backbone_names
from sassl.pretraining import METHODS, PRESETS, Backbone, Config
from sassl.pretraining.beginning import stem_warning
from sassl.pretraining.loop import rates
from sassl.pretraining.settings import OPTIMIZERS

SMALL = {"arch": "resnet18", "small_stem": True, "input_size": 16}
#: A value of another type.
WRONG = {"int": 0.5, "float": "a text", "bool": 1, "str": 1}


def refused(config, part, change, message):
    nested = config.nested()
    change(nested[part])
    with pytest.raises(ValueError, match=message):
        Trainer(json.dumps(nested), threads=1)


@pytest.mark.parametrize("part", ["method", "optimizer"])
def test_rust_and_python_have_the_same_settings(part):
    base = PRESETS["simclr"].changed(**SMALL)
    if part == "method":
        configs = [row.presets[name].changed(**SMALL) for name, row in METHODS.items()]
    else:
        configs = [base.changed(optimizer=name) for name in OPTIMIZERS]
    for config in configs:
        own = getattr(config, part)
        refused(config, part, lambda settings: settings.update(no_such=1), "unknown field `no_such`")
        for one in fields(own):
            refused(config, part, lambda settings, one=one: settings.pop(one.name), f"missing field `{one.name}`")
            refused(
                config, part, lambda settings, one=one: settings.update({one.name: WRONG[one.type]}), "invalid|unknown"
            )


def test_backbones_of_the_core_are_those_of_settings():
    assert "vgg11_bn" in backbone_names()
    for name in backbone_names():
        told = json.loads(backbone_info(json.dumps({"name": name})))
        assert Backbone(name).settings == told["settings"]
        resnets = {"small_stem": False, "zero_init_residual": False, "width": 1.0}
        assert told["settings"] == (resnets if name.startswith("resnet") else {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: sassl.BYOL(temperature=0.1),
            "temperature=0.1 is not a setting of BYOL, but of MoCoV2 and SimCLR",
        ),
        (lambda: sassl.SimCLR(encoder_momentum=0.9), "is not a setting of SimCLR, but of BYOL and MoCoV2"),
        (lambda: sassl.MoCoV2(eta=0.1), "eta=0.1 is not a setting of sgd, but of lars"),
        (lambda: sassl.SimCLR("vgg11_bn", small_stem=True), "is not a setting of SimCLR on vgg11_bn by lars"),
        (lambda: sassl.SimCLR(laers=3), "did you mean layers"),
        (lambda: sassl.SimCLR(method="byol"), "method='byol' is not a setting of SimCLR on resnet50 by lars"),
        (lambda: Config.of({**PRESETS["byol"].nested(), "epochs": 3}), "epochs is not a setting of config"),
        (
            lambda: sassl.pretraining.Pretraining(),
            "Pretraining is the base of BYOL, MoCoV2, SimCLR, SimSiam; create one of these",
        ),
    ],
)
def test_what_a_method_does_not_read_is_an_error(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_stem_for_imagenet_on_small_views_is_said(capsys):
    for arch, own, size, message in (
        ("resnet18", {}, 64, "reduces views of 64 pixels to maps of 16; use small_stem=True for such views"),
        ("resnet18", {}, (96, 32), "reduces views of 32 pixels to maps of 8"),
        ("resnet18", {"small_stem": True}, 64, None),
        ("resnet18", {}, 96, None),
        ("vgg11_bn", {}, 32, None),
    ):
        told = stem_warning(PRESETS["simclr"].changed(arch=arch, input_size=size, **own))
        assert (told is None) if message is None else (message in told)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    options = {"input_size": 32, "hidden_dim": 8, "dim": 8, "threads": 1}
    sassl.SimCLR("resnet18", **options).fit(images, 1, batch_size=4)
    assert "resnet18: its stem is ImageNet's" in capsys.readouterr().err.splitlines()[0]
    with pytest.raises(ValueError, match="input_size must be at least 32 pixels, for vgg11_bn, got 16"):
        sassl.SimCLR("vgg11_bn", input_size=16)


def test_settings_are_nested_shown_and_read_again():
    for config in PRESETS.values():
        assert Config.of(json.loads(config.core())) == config
        assert set(config.nested()) == {"method", "backbone", "optimizer", "schedule", "data", "seed", "init"}
    other = PRESETS["simclr"].changed(optimizer="sgd", arch="resnet34", lr=0.5)
    assert other.optimizer == OPTIMIZERS["sgd"](weight_decay=1e-6, exclude_bias_and_norm=True)
    assert other.backbone.settings == {"small_stem": False, "zero_init_residual": True, "width": 1.0}
    shown = repr(sassl.BYOL("resnet18", hidden_dim=8, dim=8, threads=1))
    assert "encoder_momentum=0.99" in shown
    assert not any(f"{name}=" in shown for name in ("temperature", "queue_size", "layers", "nesterov"))


def test_simsiams_predictor_keeps_its_rate():
    config = PRESETS["simsiam"].changed(**SMALL, dim=16, hidden_dim=16, predictor_dim=8, weight_decay=0.0)
    left, right = np.random.default_rng(0).random((2, 8, 16, 16, 3), np.float32)
    moved = {}
    for fixed in (0.01, 0.1):
        trainer = Trainer(config.core(), threads=1)
        before = trainer.state()
        trainer.step(left, right, 0.01, 0.0, fixed)
        after = trainer.state()
        moved[fixed] = {name: after[name] - before[name] for name in before if name.endswith("weight")}
    for name, first in moved[0.01].items():
        times = 10 if name.startswith("predictor") else 1
        assert np.allclose(moved[0.1][name], times * first, rtol=1e-3, atol=1e-6), name
    plan = [rates(config, step, 10) for step in range(1000)]
    assert {rate.fixed_lr for rate in plan} == {0.1}
    assert plan[0].lr == 0.1
    assert plan[-1].lr < 1e-3


def sources():
    """Each preset's heads and loss as its source has them, of lightly's parts where it has some; and its exclusions."""
    import torch
    from lightly.loss import NegativeCosineSimilarity, NTXentLoss
    from lightly.models.modules import heads
    from torch import nn
    from torch.nn.functional import cross_entropy, normalize

    cosine = NegativeCosineSimilarity()

    def regression(net, target, left, right, weight):
        p, q = net("predictor", left), net("predictor", right)
        return weight * (cosine(p, target(right)) + cosine(q, target(left)))

    def lightly_byol(net, target, queue, left, right):
        return regression(net, target, left, right, 0.5)

    def byol(net, target, queue, left, right):
        return 4 + regression(net, target, left, right, 2)

    def simclr(temperature):
        return lambda net, target, queue, left, right: NTXentLoss(temperature)(*net.pair("projector", left, right))

    def simsiam(net, target, queue, left, right):
        z, other = net("projector", left), net("projector", right)
        predictor = net.modules["predictor"]
        return 0.5 * (cosine(predictor(z), other.detach()) + cosine(predictor(other), z.detach()))

    def moco(temperature):
        def loss(net, target, queue, left, right):
            q, k = normalize(net("projector", left)), normalize(target(right))
            logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / temperature
            return cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))

        return loss

    def plain(inputs, hidden, outputs):
        layers = [nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs, bias=False)]
        return nn.Sequential(*layers)

    cifar_siam = nn.Sequential(
        nn.Linear(512, 2048, bias=False),
        nn.BatchNorm1d(2048),
        nn.ReLU(),
        nn.Linear(2048, 2048, bias=False),
        nn.BatchNorm1d(2048, affine=False),
    )
    siam = heads.SimSiamPredictionHead(2048, 512, 2048).layers
    return {
        "moco-v2": ([nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128))], moco(0.2), False),
        "moco-v2-cifar10": ([nn.Sequential(nn.Linear(512, 128))], moco(0.1), False),
        "byol": ([plain(512, 4096, 256), plain(256, 4096, 256)], byol, True),
        "byol-cifar10": (
            [heads.BYOLProjectionHead(512, 1024, 256).layers, heads.BYOLPredictionHead(256, 1024, 256).layers],
            lightly_byol,
            False,
        ),
        "simclr": ([heads.SimCLRProjectionHead(512, 2048, 128).layers], simclr(0.1), True),
        "simclr-cifar10": ([heads.SimCLRProjectionHead(512, 512, 128).layers], simclr(0.5), False),
        "simsiam": ([heads.SimSiamProjectionHead(512, 2048, 2048).layers, siam], simsiam, False),
        "simsiam-cifar10": ([cifar_siam, siam], simsiam, False),
    }


class Net:
    """Networks of a source, in a row."""

    def __init__(self, modules):
        self.modules = modules

    def __call__(self, last, x):
        for name, module in self.modules.items():
            x = module(x)
            if name == last:
                return x
        raise KeyError(last)

    def pair(self, last, left, right):
        import torch

        return self(last, torch.cat([left, right])).chunk(2)


@pytest.mark.parametrize(
    "name", sorted({"byol", "moco-v2", "simclr", "simsiam", *(name for name in PRESETS if "cifar10" in name)})
)
def test_a_preset_has_its_sources_heads_and_gradient(name):
    need("lightly")
    need("torchvision")
    import torch
    from pytorch_methods import entries, load, resnet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made, loss, excluded = sources()[name]
    own = {"queue_size": 512, "splits": 1} if name.startswith("moco") else {}
    # By one step of SGD with a rate of 1, which shows the gradient.
    config = PRESETS[name].changed(**SMALL, **own)
    assert config.optimizer.exclude_bias_and_norm is excluded
    config = config.changed(optimizer="sgd", weight_decay=0.0, momentum=0.0)
    trainer = Trainer(config.core(), threads=2)
    before = trainer.state()
    heads = dict(zip(("projector", "predictor"), made, strict=False))
    for part, module in heads.items():
        for key, tensor in entries(part, module).items():
            ours = before[key]
            assert ours.shape == tuple(tensor.shape), key
            # Biases and weights begin as the source's do: evenly, from minus a bound to it.
            if ours.size > 100:
                assert np.abs(ours).max() == pytest.approx(tensor.abs().max().item(), rel=0.05), key
                assert ours.std() == pytest.approx(tensor.std(unbiased=False).item(), rel=0.1), key
        # Beside the bias before a norm, which the norm takes away, there is nothing else.
        others = {key for key in before if key.startswith(f"{part}.")} - set(entries(part, module))
        assert others <= {f"{part}.0.bias"}, others
    modules = {"backbone": resnet("resnet18", True), **heads}
    load(modules, before)
    modules = {part: module.double().train() for part, module in modules.items()}
    following = Net(copy.deepcopy(modules))

    def target(x):
        with torch.no_grad():
            return following("projector", x)

    generator = torch.Generator().manual_seed(1)
    rough = torch.rand(16, 3, 4, 4, generator=generator)
    image = torch.nn.functional.interpolate(rough, (16, 16), mode="bilinear")
    left, right = (image + 0.2 * torch.rand(16, 3, 16, 16, generator=generator) for _ in range(2))
    queue = torch.from_numpy(before["method.queue"]).double() if name.startswith("moco") else None
    value = loss(Net(modules), target, queue, left.double(), right.double())
    value.backward()
    told = trainer.step(left.numpy(), right.numpy(), 1.0, 0.99)[0]
    if name != "byol-cifar10":
        assert told == pytest.approx(value.item(), abs=1e-3)
    after = trainer.state()
    expected, got = [], []
    for part, module in modules.items():
        for key, tensor in entries(part, module).items():
            if tensor.grad is not None:
                expected.append(tensor.grad.numpy().ravel())
                got.append((before[key].astype(np.float64) - after[key]).ravel())
    one, other = np.concatenate(expected), np.concatenate(got)
    assert np.linalg.norm(one - other) <= 0.05 * np.linalg.norm(one)

"""Backbones of others in the torch engine: models of timm and torchvision, and modules; compared with these themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sassl
from conftest import coloured, need
from sassl import cli
from sassl._sassl import load_checkpoint
from sassl.data import Arrays
from sassl.pretraining import PRESETS, AdamW, Config, Pretraining, Rates, Torch
from sassl.pretraining.settings import Backbone

need("torch")
need("timm")
need("torchvision")

import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from sassl.distributed.collectives import World  # noqa: E402
from sassl.distributed.norms import PartNorm, Parts, by_parts  # noqa: E402
from sassl.pretraining.torch import optimizers  # noqa: E402
from sassl.pretraining.torch.methods import METHODS  # noqa: E402
from timm.optim import param_groups_weight_decay  # noqa: E402
from torch import nn  # noqa: E402

torch.set_num_threads(1)

RATES = Rates(0.05, 0.1, 0.9)
#: A vision transformer of a few thousand weights, with stochastic depth and dropout.
VIT = {
    "img_size": 16,
    "patch_size": 4,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
    "drop_path_rate": 0.2,
    "drop_rate": 0.1,
}
SMALL = {"dim": 8, "hidden_dim": 16, "input_size": 16, "batch_size": 8, "threads": 1}


def vit(**settings):
    own = {"arch_settings": VIT, "optimizer": "adamw", "lr": 1e-3, "scaling": "none", "exclude_bias_and_norm": True}
    own |= {"weight_decay": 0.1, "engine": "torch", "epochs": 2, **SMALL}
    return sassl.SimCLR("timm:vit_tiny_patch16_224", **{**own, **settings})


class Net(nn.Module):
    """A module of others: a convolution, a norm that stands at two places, and a dropout."""

    def __init__(self, width=12):
        super().__init__()
        self.stem, self.norm, self.again = nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.Conv2d(width, width, 3)
        self.same, self.fc, self.drop = self.norm, nn.Linear(width, 20), nn.Dropout(0.2)
        self.register_buffer("order", torch.arange(20).flip(0))

    def forward(self, x):
        x = self.same(self.again(torch.relu(self.norm(self.stem(x)))))
        return self.drop(self.fc(x.mean((2, 3))))[:, self.order]


def images(n=24):
    return Arrays(np.random.default_rng(0).integers(0, 256, (n, 20, 20, 3), np.uint8), [0, 1] * (n // 2))


def floats(n, size, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3, size, size)).astype(np.float32)


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("arch", "settings", "size"),
    [
        ("timm:vit_tiny_patch16_224", VIT, 16),
        ("timm:resnet18", {}, 32),
        ("timm:mobilenetv3_small_050", {}, 32),
        ("torchvision:resnet18", {}, 32),
        ("torchvision:vit_b_16", {"image_size": 32}, 32),
        ("torchvision:efficientnet_b0", {}, 32),
        ("torchvision:squeezenet1_1", {}, 32),
        ("torchvision:googlenet", {}, 32),
    ],
)
def test_features_and_exports_are_the_models_own(arch, settings, size, tmp_path):
    """The model with its classifier, as a user makes it, takes the file, and what its classifier reads are the features."""
    own = {**SMALL, "input_size": size, "hidden_dim": 8}
    model = sassl.SimCLR(arch, arch_settings=settings, engine="torch", **own)
    family, name = arch.split(":")
    aux = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    make = timm.create_model if family == "timm" else torchvision.models.get_model
    plain = make(name, **settings, **aux)
    model.export_backbone(tmp_path / "a.pth")
    missing, unexpected = plain.load_state_dict(torch.load(tmp_path / "a.pth"), strict=False)
    last = plain.get_classifier() if family == "timm" else [*plain.modules()][-1]
    if name == "squeezenet1_1":
        last = plain.classifier[1]
    assert unexpected == []
    assert {plain.get_parameter(one) for one in missing} == {last.weight, last.bias}
    read = []
    last.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    batch = floats(3, size)
    plain.eval()
    with torch.no_grad():
        plain(torch.from_numpy(batch))
    expected = read[0].relu().mean((2, 3)) if name == "squeezenet1_1" else read[0]
    got = model.encode_normalized(batch)
    assert got.shape == (3, model.engine.features)
    np.testing.assert_allclose(got, expected.numpy(), atol=2e-5)
    # Weights come back under the same names, of a classifier's too.
    other = sassl.SimCLR(arch, arch_settings=settings, engine="torch", seed=5, init=plain.state_dict(), **own)
    assert equal(other.state_dict(), model.state_dict())
    assert other.config.init["source"] is None


def test_a_module_learns_as_a_copy_and_takes_what_was_learnt(tmp_path):
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    model = sassl.BYOL(net, features=20, engine="torch", optimizer="sgd", **SMALL)
    assert model.config.backbone == Backbone(f"module:{Net.__module__}.Net", {"features": 20})
    batch = floats(4, 16)
    net.eval()
    with torch.no_grad():
        np.testing.assert_allclose(model.encode_normalized(batch), net(torch.from_numpy(batch)).numpy(), atol=1e-6)
    model.fit(images(), 1, quiet=True, out=tmp_path / "run")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    model.export_backbone(tmp_path / "net.safetensors")
    model.export_backbone(tmp_path / "net.pth")
    net.load_state_dict(torch.load(tmp_path / "net.pth"))
    assert not torch.equal(net.fc.weight, before["fc.weight"])
    with torch.no_grad():
        learnt = net(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(model.encode_normalized(batch), learnt, atol=1e-5)
    # Its name alone stands in what is saved; the module is given again.
    (last,) = (tmp_path / "run").glob("checkpoint-*")
    loaded = Pretraining.load(last, arch=Net())
    np.testing.assert_array_equal(loaded.encode_normalized(batch), model.encode_normalized(batch))
    again = Pretraining.from_config(Config.load(tmp_path / "run" / "config.json"), arch=Net(), engine="torch")
    again.fit(images(), 1, quiet=True, out=tmp_path / "run", resume=True)
    assert equal(again.engine.state(), model.engine.state())
    begun = sassl.SimCLR(Net(), features=20, engine="torch", init=tmp_path / "net.safetensors", **SMALL)
    np.testing.assert_allclose(begun.encode_normalized(batch), learnt, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"arch .*Net is the class name of a module, .* give the module in Python: arch=module"
    ):
        Pretraining.load(last)
    with pytest.raises(
        ValueError, match=r"backbone.again.bias must have shape \(14,\), got \(12,\); is it of another backbone"
    ):
        Pretraining.load(last, arch=Net(14))


def moco():
    torch.manual_seed(3)
    own = {"splits": 2, "queue_size": 32, **{name: x for name, x in SMALL.items() if name != "hidden_dim"}}
    return sassl.MoCoV2(Net(), features=20, engine="torch", **own)


@pytest.mark.parametrize("made", [vit, moco])
def test_a_run_with_random_layers_goes_on_to_the_bit(made, tmp_path):
    def stop(_, row):
        raise RuntimeError("as asked")

    straight = made().fit(images(), 2, quiet=True)
    with pytest.raises(RuntimeError, match="as asked"):
        made().fit(images(), 2, quiet=True, out=tmp_path, on_epoch=stop)
    resumed = made()
    # Whatever torch's own generator is at, and it stays there.
    torch.manual_seed(99)
    resumed.fit(images(), 2, quiet=True, out=tmp_path, resume=True, monitor=images())
    assert torch.initial_seed() == 99
    assert equal(resumed.engine.state(), straight.engine.state())
    assert straight.engine.state()["draws.steps"].tolist() == [0, 6]
    assert "knn_top1" in resumed.history[-1]


def test_random_layers_draw_by_seed_step_and_rank():
    def loss(seed=0, step=0, rank=0):
        model = vit(seed=1)
        model.engine._method.draws._seed, model.engine._method.draws._rank = seed, rank
        model.engine._method.draws.steps = step
        return model.engine.step(*[floats(8, 16, n) for n in range(2)], RATES).loss

    assert loss() == loss()
    assert len({loss(), loss(seed=1), loss(step=1), loss(rank=1)}) == 4
    # A run that the native engine can go on with has no such layers, and its state no such entry.
    own = sassl.SimCLR("resnet18", small_stem=True, engine="torch", **SMALL)
    assert "draws.steps" not in own.engine.state()
    engine = vit().engine
    with pytest.raises(ValueError, match=r"draws.steps must be integers, got \[0.0, 0.5\]"):
        engine.load_state({**engine.state(), "draws.steps": np.array([0, 0.5], np.float32)})
    # Nor has a queue changed that would have been loaded with it.
    own = {name: value for name, value in SMALL.items() if name != "hidden_dim"}
    engine = sassl.MoCoV2("timm:vit_tiny_patch16_224", arch_settings=VIT, engine="torch", queue_size=16, **own).engine
    before = {name: np.array(values) for name, values in engine.state().items()}
    others = {name: values + 1 if name == "method.queue" else values for name, values in before.items()}
    with pytest.raises(ValueError, match=r"draws.steps must be integers"):
        engine.load_state({**others, "draws.steps": np.array([0, 0.5], np.float32)})
    assert equal(engine.state(), before)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:resnetv2_18", "torchvision:mobilenet_v3_small", "module"])
def test_norms_of_others_are_taken_by_parts(name):
    """Two parts of a batch are what two batches are to the plain module; timm's norms keep their activations."""
    torch.manual_seed(0)
    if name == "module":
        plain = Net()
    elif name.startswith("timm"):
        plain = timm.create_model(name.removeprefix("timm:"), num_classes=0)
    else:
        plain = torchvision.models.get_model(name.removeprefix("torchvision:"), dropout=0.0)
    apart = sassl.pretraining.torch.foreign.copy.deepcopy(plain)
    n = sum(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in plain.modules())
    by_parts(apart, Parts(2, 0, 1), World())
    assert sum(isinstance(one, PartNorm) for one in apart.modules()) == n > 0
    assert list(apart.state_dict()) == list(plain.state_dict())
    x = torch.from_numpy(floats(8, 64))
    if name == "module":
        plain.drop.p = apart.drop.p = 0.0
    begun = {key: tensor.clone() for key, tensor in plain.state_dict().items()}
    expected, moments = [], []
    for half in x.chunk(2):
        plain.load_state_dict(begun)
        expected.append(plain(half))
        moments.append({key: m.clone() for key, m in plain.named_buffers() if "running" in key})
    got = apart(x)
    torch.testing.assert_close(got, torch.cat(expected), atol=1e-4, rtol=1e-4)
    if name != "module":
        for key, moment in apart.named_buffers():
            if "running" in key:
                torch.testing.assert_close(moment, (moments[0][key] + moments[1][key]) / 2, atol=1e-4, rtol=1e-4)
    if name == "module":
        assert apart.same is apart.norm


def test_a_norm_whose_pass_is_its_own_is_refused():
    class Odd(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    net = Net()
    net.norm = Odd(12)
    with pytest.raises(ValueError, match="Odd is a batch norm with a forward pass of its own"):
        sassl.SimCLR(net, features=20, engine="torch", **SMALL)


@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:resnet18"])
def test_adamw_leaves_out_what_timm_leaves_out(name):
    # Steps of the backbone's weights are those of torch.optim.AdamW on timm's own groups.
    config = PRESETS["simclr"].changed(arch=name, optimizer="adamw", exclude_bias_and_norm=True, weight_decay=0.3)
    config = config.changed(dim=8, hidden_dim=8)
    method = METHODS["simclr"](config, World())
    made = optimizers.build(config.optimizer, method, torch.device("cpu"))
    net = method.backbone
    told = net.no_weight_decay() if hasattr(net, "no_weight_decay") else ()
    groups = param_groups_weight_decay(net, 0.3, no_weight_decay_list=told)
    wanted = {p: group["weight_decay"] for group in groups for p in group["params"]}
    found = {p: group["weight_decay"] for group in made.param_groups for p in group["params"]}
    assert {p: found[p] for p in wanted} == wanted
    assert set(wanted.values()) == {0.0, 0.3}
    assert [found[p] for p in method.projector.parameters()] == [0.3, 0.0, 0.0, 0.3, 0.0, 0.0]
    copies = {p: nn.Parameter(p.detach().clone()) for p in wanted}
    theirs = torch.optim.AdamW([{**group, "params": [copies[p] for p in group["params"]]} for group in groups], 0.01)
    for step in range(2):
        optimizers.set_rates(made, Rates(0.01, 0.01, None))
        generator = torch.Generator().manual_seed(step)
        for p, copied in copies.items():
            p.grad = copied.grad = torch.randn(p.shape, generator=generator)
        made.step()
        theirs.step()
    assert all(torch.equal(p, copied) for p, copied in copies.items())
    # Without exclusions all decay, as in MoCo v3.
    plain = optimizers.build(AdamW(weight_decay=0.3), method, torch.device("cpu"))
    assert {group["weight_decay"] for group in plain.param_groups} == {0.3}


def test_embeddings_are_left_out_by_torchvisions_names():
    config = PRESETS["simclr"].changed(arch="torchvision:vit_b_16", arch_settings={"image_size": 32}, input_size=32)
    net = METHODS["simclr"](config, World()).backbone
    spared = optimizers._spared(net)
    assert {name for name in spared if net.get_parameter(name).ndim > 1} == {"class_token", "encoder.pos_embedding"}


def test_slots_stand_in_checkpoints_by_the_names_of_their_weights(tmp_path):
    model = vit().fit(images(), 1, quiet=True, out=tmp_path)
    (last,) = tmp_path.glob("checkpoint-*")
    state, metadata = load_checkpoint(last)
    names = [name for name, _ in model.engine._method.backbone.named_parameters()]
    assert names[:2] == ["cls_token", "pos_embed"]
    for name in names:
        for slot in ("exp_avg", "exp_avg_sq"):
            assert state[f"optimizer.backbone.{name}.{slot}"].shape == state[f"backbone.{name}"].shape
        assert state[f"optimizer.backbone.{name}.step"] == 3
    assert list(state) == sorted(state)
    told = json.loads(metadata["config"])["backbone"]
    assert told == {"name": "timm:vit_tiny_patch16_224", "arch_settings": VIT}


def test_a_vision_transformer_learns():
    rng = np.random.default_rng(0)
    colours = np.where((np.arange(64) % 2)[:, None], [200, 40, 40], [40, 40, 200])[:, None, None]
    pixels = np.clip(rng.integers(-40, 40, (64, 20, 20, 3)) + colours, 0, 255).astype(np.uint8)
    data = Arrays(pixels, (np.arange(64) % 2).tolist())
    model = vit(arch_settings={**VIT, "drop_rate": 0.0}, batch_size=32, seed=2)
    model.fit(data, 6, monitor=Arrays(pixels[:32], (np.arange(32) % 2).tolist()), quiet=True)
    assert model.history[-1]["loss"] < 0.9 * model.history[0]["loss"]
    assert model.history[-1]["knn_top1"] > 90


def test_other_settings_and_sizes_are_named(tmp_path):
    model = vit().fit(images(), 1, quiet=True, out=tmp_path)
    with pytest.raises(ValueError, match=r"arch_settings must be .*'depth': 2.* as in the run in"):
        vit(arch_settings={**VIT, "depth": 3}).fit(images(), 1, quiet=True, out=tmp_path, resume=True)
    with pytest.raises(
        ValueError,
        match="input_size must suit timm:vit_tiny_patch16_224, which does not take images of 24x24: AssertionError: Input",
    ):
        model.encode_normalized(floats(2, 24))
    other = vit(arch_settings={**VIT, "depth": 1})
    with pytest.raises(ValueError, match=r'the state has "backbone.blocks.1.*, unlike this run'):
        other.engine.load_state(model.engine.state())
    with pytest.raises(ValueError, match=r"tensors of timm:vit_tiny_patch16_224 are missing|shape"):
        other.load_backbone(
            timm.create_model("vit_tiny_patch16_224", **{**VIT, "depth": 1, "embed_dim": 48}).state_dict()
        )
    # Its features are loaded by the engine that has it, without a word.
    (last,) = tmp_path.glob("checkpoint-*")
    assert Pretraining.load(last).engine.name == "torch"
    with pytest.raises(
        ValueError, match=r'arch must be one of resnet18, .* for engine="native", got .timm:vit_.*; give engine="torch"'
    ):
        Pretraining.load(last, engine="native")
    with pytest.raises(
        ValueError,
        match="arch must be left out, as the settings are of timm:vit_tiny_patch16_224, which is built by its name",
    ):
        Pretraining.load(last, arch=Net())


class Pair(nn.Module):
    """A module that is one in training alone."""

    feature_dim = 3

    def forward(self, x):
        return (x.mean((2, 3)),) * 2 if self.training else x.mean((2, 3))


class Flat(nn.Module):
    """A module whose maps must lie in memory channel by channel."""

    output_dim = 4 * 14 * 14

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).view(len(x), -1)


def test_a_module_may_need_its_maps_channel_by_channel():
    with pytest.raises(ValueError, match=r"view size is not compatible .*; give engine=Torch\(channels_last=False\)"):
        sassl.SimCLR(Flat(), engine="torch", **SMALL)
    model = sassl.SimCLR(Flat(), engine=Torch(channels_last=False), **SMALL).fit(images(), 1, quiet=True)
    assert model.engine.features == 784


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"arch": "timm:vit_tiny_patch16_223"}, "is not a model of timm; did you mean vit_tiny_patch16_224"),
        ({"arch": "timm:hf-hub:timm/resnet18"}, "is not a model of timm"),
        ({"arch": "torchvision:resnet51"}, "is not a model of torchvision; did you mean resnet50"),
        ({"arch": "tim:resnet18"}, "arch must be one of 'timm', 'torchvision' or 'module', got 'tim'"),
        (
            {"arch": "timm:vit_tiny_patch16_224"},
            r"does not take images of 16x16: .*; give the size .* or make it for these by arch_settings={'img_size': 16}",
        ),
        ({"arch": "torchvision:vit_b_16"}, "does not take images of 16x16: .*arch_settings={'image_size': 16}"),
        ({"arch": "timm:resnet18", "arch_settings": {"pretrained": True}}, "pretrained=True: give init="),
        (
            {"arch": "torchvision:resnet18", "arch_settings": {"num_classes": 3}},
            "num_classes=3: the classifier is taken",
        ),
        (
            {"arch": "timm:resnet18", "arch_settings": {"foo": 1}},
            "timm:resnet18 cannot be built with arch_settings=.*: TypeError: .*foo",
        ),
        ({"arch": "timm:resnet18", "arch_settings": 3}, "arch_settings must be a dict of keywords"),
        (
            {"arch": nn.Flatten()},
            "arch .*Flatten does not report the length of its features by .*num_features, .*; give features=N",
        ),
        (
            {"arch": nn.Flatten(), "features": 9},
            "features must be 768 for .*Flatten, got 9; give features=768",
        ),
        (
            {"arch": nn.Conv2d(3, 4, 3), "features": 4},
            r"must return features \(2, 4\) of images .*, got a tensor \(2, 4, 14, 14\)",
        ),
        ({"arch": nn.Flatten(), "features": 0}, "features must be an integer >= 1, got 0"),
        ({"arch": Pair()}, r"must return features \(2, 3\) of images .*got tuple; .*in training too"),
        ({"arch": nn.Sequential(nn.LazyConv2d(4, 3)), "features": 4}, "0.weight has no size yet; run a forward pass"),
        ({"arch": timm.create_model("resnet18")}, "features must be 1000 for .*ResNet, got 512"),
        ({"arch": "module:nets.Net"}, "arch must not be the name of a module's class, .*; give the module itself"),
        (
            {"arch": "timm:resnet18", "engine": "native"},
            'arch must be one of .* for engine="native", got .timm:resnet18.; give engine="torch"',
        ),
    ],
    ids=str,
)
def test_what_cannot_be_a_backbone_is_one_error(given, told):
    with pytest.raises(ValueError, match=told):
        sassl.SimCLR(**{"engine": "torch", **SMALL, **given})


def test_settings_that_a_backbone_has_not_are_named(monkeypatch):
    with pytest.raises(
        TypeError,
        match=r"img_size=16 is not a setting of .*a keyword of timm:resnet18 goes into arch_settings={'img_size'",
    ):
        sassl.SimCLR("timm:resnet18", img_size=16, engine="torch")
    with pytest.raises(TypeError, match="features=5 is not a setting of SimCLR on timm:resnet18 by lars"):
        sassl.SimCLR("timm:resnet18", features=5, engine="torch")
    with pytest.raises(TypeError, match=r"arch must be a name or a torch.nn.Module, got 5"):
        sassl.SimCLR(5, engine="torch")
    with pytest.raises(
        ValueError, match=r"small_stem=True is not a setting of timm:resnet18, which has only arch_settings"
    ):
        Backbone("timm:resnet18", {"small_stem": True})
    whole = nn.Sequential(nn.Flatten())
    whole.register_buffer("table", torch.tensor([1 << 40]))
    with pytest.raises(ValueError, match=r"table has integers above 2\^24"):
        sassl.SimCLR(whole, features=768, engine="torch", **SMALL)
    from sassl.pretraining.torch import families

    monkeypatch.setattr(families, "find_spec", lambda name: None if name == "timm" else 1)
    with pytest.raises(
        ImportError, match='arch="timm:resnet34" requires timm, which is not installed: pip install timm'
    ):
        sassl.SimCLR("timm:resnet34", engine="torch")


def test_a_backbone_may_be_changed_for_another():
    config = vit().config
    assert config.changed(arch="resnet18").backbone.settings == {
        "small_stem": False,
        "zero_init_residual": False,
        "width": 1.0,
    }
    assert config.changed(arch="timm:resnet18").backbone.settings == {"arch_settings": {}}
    assert config.changed(lr=0.5).backbone == config.backbone == Config.of(config.nested()).backbone
    given = config.changed(arch=Net(), features=20)
    assert given.changed(lr=0.5, features=20).backbone.module is given.backbone.module
    assert given.changed(arch=Net(), features=21).backbone.settings == {"features": 21}
    assert sassl.SimCLR(nn.Sequential(nn.Flatten()), features=768, engine=Torch(), **SMALL).engine.features == 768
    assert sassl.SimCLR("timm:resnet18", engine="auto", **SMALL).engine.name == "torch"


def test_the_command_takes_any_backbone(tmp_path, capsys):
    data, out = coloured(tmp_path, {"train": 8, "val": 4}), tmp_path / "run"
    words = [
        "pretrain",
        "simclr",
        "--data",
        str(data / "train"),
        "--out",
        str(out),
        "--engine",
        "torch",
        "--style",
        "off",
    ]
    words += ["--arch", "timm:vit_tiny_patch16_224", "--epochs", "1", "--batch-size", "8", "--input-size", "16"]
    words += [word for name, value in VIT.items() for word in ("--set", f"arch.{name}={value}")]
    assert cli.main([*words, "--threads", "1", "--set", "optimizer=adamw", "--set", "lr=0.001"]) == 0
    last = str(max(out.glob("checkpoint-*")))
    told = json.loads((out / "config.json").read_text())["backbone"]
    assert told == {"name": "timm:vit_tiny_patch16_224", "arch_settings": VIT}
    assert 'timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=4' in capsys.readouterr().out
    again = ["pretrain", "--resume", "--data", str(data / "train"), "--out", str(out), "--engine", "torch"]
    assert cli.main([*again, "--threads", "1", "--epochs", "1"]) == 0
    assert cli.main(["eval", "knn", last, "--data", str(data), "--threads", "1"]) == 0
    assert cli.main(["export", last, "--out", str(tmp_path / "b.safetensors")]) == 0
    assert "timm:vit_tiny_patch16_224, simclr, 1 epochs" in capsys.readouterr().out
    assert cli.main(["pretrain", "simclr", *again[2:], "--arch", "resnet19"]) == 1
    assert "resnet19" in capsys.readouterr().err
    # Of several processes it is told once, before they begin.
    again[again.index("--resume")] = "simclr"
    assert cli.main([*again, "--devices", "2", "--arch", "timm:resnet19"]) == 1
    assert capsys.readouterr().err.count("is not a model of timm; did you mean resnet") == 1

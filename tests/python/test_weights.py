"""Weights of others come in: torchvision's, timm's, MoCo's, lightly's and another run's."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import sassl
from conftest import need
from pytorch_methods import resnet

need("torchvision")
need("safetensors")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

SMALL = {"hidden_dim": 16, "dim": 8, "input_size": 32, "threads": 2}


def simclr(init=None, arch="resnet18", **settings):
    return sassl.SimCLR(arch, init=init, **{**SMALL, **settings})


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = resnet("resnet18", False)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net.eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 32, 32)


def features(net, images):
    with torch.no_grad():
        return net(images).numpy()


def is_same(model, net, images):
    expected = features(net, images)
    return np.abs(model.encode_normalized(images) - expected).max() <= 1e-4 * np.abs(expected).max()


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def test_state_dicts_of_others(net, images, capsys):
    own = net.state_dict()
    fc = {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}
    moco = {
        **prefixed({**own, "fc.0.weight": fc["fc.weight"]}, "module.encoder_q."),
        **prefixed({name: torch.zeros_like(tensor) for name, tensor in own.items()}, "module.encoder_k."),
        "module.queue": torch.zeros(8, 16),
    }
    for state, line in (
        (own, "init: 120 tensors for resnet18"),
        ({**own, **fc}, "init: 120 tensors for resnet18; left aside: fc (2)"),
        (prefixed({**own, **fc}, "module."), "init: 120 tensors of module.* for resnet18; left aside: module.fc (2)"),
        (
            {**prefixed(own, "backbone."), **prefixed(fc, "projection_head.layers.")},
            "init: 120 tensors of backbone.* for resnet18; left aside: projection_head (2)",
        ),
        (prefixed(own, "encoder_q."), "init: 120 tensors of encoder_q.* for resnet18"),
        (
            {"epoch": 3, "arch": "resnet18", "state_dict": moco},
            "init: 120 tensors of module.encoder_q.* for resnet18; "
            "left aside: module.encoder_q.fc (1), module.encoder_k (120), module.queue (1)",
        ),
        ({"model": {name: tensor.numpy() for name, tensor in own.items()}}, "init: 120 tensors for resnet18"),
        ({name: tensor for name, tensor in own.items() if "num_batches" not in name}, "init: 120 tensors for resnet18"),
    ):
        model = simclr(state)
        assert capsys.readouterr().err.splitlines() == [line]
        assert is_same(model, net, images)


def test_files(net, images, tmp_path):
    own = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(own, tmp_path / "net.safetensors")
    torch.save(own, tmp_path / "net.pth")
    torch.save({"state_dict": prefixed(own, "module."), "optimizer": {"lr": 0.1}}, tmp_path / "net.pth.tar")
    simclr(own).export_backbone(tmp_path / "ours.safetensors")
    simclr(own).save(tmp_path / "checkpoint.safetensors")
    for name in ("net.safetensors", "net.pth", "net.pth.tar", "ours.safetensors", "checkpoint.safetensors"):
        assert is_same(simclr(tmp_path / name), net, images), name
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        rounded = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in own.items()}
        save_file(rounded, tmp_path / "other.safetensors")
        torch.save(rounded, tmp_path / "other.pt")
        expected = {name: tensor.float().numpy() for name, tensor in rounded.items()}
        for name in ("other.safetensors", "other.pt"):
            found = simclr(str(tmp_path / name)).state_dict()
            assert all(np.array_equal(expected[one], tensor) for one, tensor in found.items()), (dtype, name)


def test_timms_and_small_stems(images):
    need("timm")
    import timm

    net = timm.create_model("resnet18", num_classes=7).eval()
    model = simclr(net.state_dict())
    net.reset_classifier(0)
    assert is_same(model, net, images)
    small = resnet("resnet18", True).eval()
    assert is_same(simclr(small.state_dict(), small_stem=True), small, images)


@pytest.mark.parametrize(("kind", "follower"), [(sassl.MoCoV2, "key_backbone"), (sassl.BYOL, "target_backbone")])
def test_a_momentum_encoder_begins_with_the_same_weights(kind, follower, net):
    own = {"queue_size": 16, "splits": 1} if kind is sassl.MoCoV2 else {"hidden_dim": 16}
    model = kind("resnet18", init=net.state_dict(), input_size=32, dim=8, threads=2, **own)
    state = model.engine.state()
    for name, tensor in net.state_dict().items():
        assert np.array_equal(state[f"{follower}.{name}"], tensor.numpy()), name
        assert np.array_equal(state[f"backbone.{name}"], tensor.numpy()), name


def test_weights_that_do_not_fit(net, tmp_path):
    own = net.state_dict()
    model = simclr()
    before = model.state_dict()
    less = {name: tensor for name, tensor in own.items() if not name.startswith("layer4.1.conv")}
    nan = {**own, "conv1.weight": torch.full_like(own["conv1.weight"], torch.nan)}
    for state, message in (
        (
            less,
            r"init: 2 of 120 tensors of resnet18 are missing; looked for layer4.1.conv1.weight, layer4.1.conv2.weight; is",
        ),
        (
            resnet("resnet34", False).state_dict(),
            r"init: layer1.2.\S* is not a tensor of resnet18; is it of another arch",
        ),
        (
            resnet("resnet18", True).state_dict(),
            r"conv1.weight must have shape \(64, 3, 7, 7\) of resnet18, got float32 of",
        ),
        (
            prefixed(own, "net."),
            r"looked for bn1.bias, module.bn1.bias, .*, found net.conv1.weight, net.bn1.weight, ",
        ),
        ({}, "found no tensors"),
        ({**own, "conv1.weight": "x"}, r"conv1.weight must have shape .*, got <U1 of shape \(\)"),
        (nan, "conv1.weight"),
    ):
        with pytest.raises(ValueError, match=message):
            model.load_backbone(state)
    with pytest.raises(TypeError, match="init must be a file or a state dict, got int"):
        model.load_backbone(3)
    with pytest.raises(ValueError, match=r"init must be a .safetensors file, or one of torch: .*, got 'net.h5'"):
        model.load_backbone("net.h5")
    with pytest.raises(FileNotFoundError):
        simclr(tmp_path / "none.safetensors")
    assert all(np.array_equal(before[name], tensor) for name, tensor in model.state_dict().items())


class Code:
    def __reduce__(self):
        return print, ("this runs",)


def test_damaged_files(net, tmp_path, capsys):
    torch.save({"conv1.weight": Code()}, tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("code.pth", "text.pth"):
        with pytest.raises(ValueError, match=f"{name}: torch cannot read it as weights only: "):
            simclr(tmp_path / name)
    assert "this runs" not in capsys.readouterr().out
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, tmp_path / "net.safetensors")
    data, file = (tmp_path / "net.safetensors").read_bytes(), tmp_path / "damaged.safetensors"

    def header(entries):
        text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
        return struct.pack("<Q", len(text)) + text

    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    for damaged in (
        b"",
        data[:5],
        data[:100],
        data[:-1],
        struct.pack("<Q", 2**63) + data[8:],
        header(b"no JSON"),
        header([]),
        header({"a": 3}),
        header({"a": entry}),
        header({"a": {**entry, "dtype": "F8_E4M3"}}) + bytes(8),
        header({"a": {**entry, "shape": [2**40, 2**40]}}) + bytes(8),
        header({"a": {**entry, "data_offsets": [-8, 0]}}) + bytes(8),
        header({"a": {**entry, "shape": [-1, -2]}}) + bytes(8),
        header(b"[" * 100_000),
    ):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged\.safetensors: "):
            simclr(file)

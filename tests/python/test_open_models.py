"""`sassl.open_model` and the commands that take models: features are those of torchvision's and timm's own code."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import sassl
import transfer_layouts as layouts
from conftest import coloured, need
from sassl import evaluation
from sassl.cli import main
from sassl.cli.transfer_table import table
from sassl.transforms.recipes import IMAGENET_NORMALIZE

need("torch")
need("timm")
need("torchvision")

import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision import transforms as T  # noqa: E402

torch.set_num_threads(1)

#: A residual network and a vision transformer of timm's own tests, for images of 160 pixels.
SMALL, VIT = "test_resnet.r160_in1k", "test_vit.r160_in1k"


@pytest.fixture(scope="module")
def photos():
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("flower.jpg")
    return [Image.fromarray(photo[:200, :300]), Image.fromarray(photo[100:420, 50:250])]


@pytest.fixture(scope="module")
def resnet():
    """torchvision's ResNet-18 with statistics of norms that are not those of the beginning, and its state dict."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=5)
    with torch.no_grad():
        net(torch.randn(8, 3, 32, 32))
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.fc = torch.nn.Identity()
    return net.eval(), state


def features(net, transform, images):
    with torch.no_grad():
        return net.eval()(torch.stack([transform(image) for image in images])).numpy()


def plain(resize, size, mean=IMAGENET_NORMALIZE["mean"], std=IMAGENET_NORMALIZE["std"]):
    return T.Compose([T.Resize(resize), T.CenterCrop(size), T.ToTensor(), T.Normalize(mean, std)])


def same(found, expected):
    return found.shape == expected.shape and np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", [SMALL, VIT, "resnet10t.c3_in1k"])
def test_models_of_timm_have_timms_features(name, photos):
    opened = sassl.open_model(f"untrained:timm:{name}")
    net = timm.create_model(name, num_classes=0)
    net.load_state_dict(opened.encoder.state_dict())
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net), is_training=False)
    assert same(evaluation.encode(opened, photos), features(net, transform, photos))
    assert opened.name == f"untrained:timm:{name}"
    assert opened.encode_normalized(np.zeros((0, 3, 160, 160), np.float32)).shape == (0, net.num_features)


def test_published_weights_and_their_rules(tmp_path, monkeypatch, photos, resnet):
    # What torch and the hub's client would have downloaded.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    net = torchvision.models.mobilenet_v3_small()
    torch.save(net.state_dict(), checkpoints / "mobilenet_v3_small-047dcff4.pth")
    opened = sassl.open_model("torchvision:mobilenet_v3_small")
    assert opened.name == "torchvision:mobilenet_v3_small:IMAGENET1K_V1"
    net.classifier = net.classifier[:2]
    transform = torchvision.models.MobileNet_V3_Small_Weights.IMAGENET1K_V1.transforms()
    assert same(evaluation.encode(opened, photos), features(net, transform, photos))
    again = sassl.open_model("torchvision:mobilenet_v3_small:IMAGENET1K_V1", size=64)
    assert (again.weights, again.name) == (opened.weights, opened.name)
    assert (again.preprocessing.size, again.preprocessing.resize) == (64, 73)

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    from safetensors.torch import save_file

    vit = timm.create_model(VIT)
    snapshot = tmp_path / f"models--timm--{VIT}" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    save_file(vit.state_dict(), snapshot / "model.safetensors")
    opened = sassl.open_model("timm:test_vit")
    assert opened.name == f"timm:{VIT}"
    assert opened.describe()["preprocessing"] == {
        "size": 160,
        "resize": 168,
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    vit.reset_classifier(0)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(vit), is_training=False)
    assert same(evaluation.encode(opened, photos), features(vit, transform, photos))
    # There is no network in this test.
    with pytest.raises(
        ValueError, match=r"timm:test_resnet: its weights cannot be downloaded .*FILE --arch timm:test_resnet"
    ):
        sassl.open_model("timm:test_resnet")


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def numbered(state, prefix):
    """The names in `nn.Sequential(*list(resnet.children())[:-1])`."""
    places = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    parts = {name: name.partition(".") for name in state if not name.startswith("fc.")}
    return {f"{prefix}{places[part]}.{rest}": state[name] for name, (part, _, rest) in parts.items()}


FILES = {
    "plain": lambda own: own,
    "MoCo": lambda own: {
        "epoch": 200,
        "state_dict": {
            **prefixed(own, "module.encoder_q."),
            **prefixed(own, "module.encoder_k."),
            "module.queue": own["bn1.bias"],
        },
    },
    "MoCo v3": lambda own: {"state_dict": prefixed(own, "module.base_encoder.")},
    "SimSiam": lambda own: {
        "state_dict": {**prefixed(own, "module.encoder."), "module.predictor.0.weight": own["bn1.bias"]}
    },
    "solo-learn": lambda own: {"state_dict": {**prefixed(own, "backbone."), **prefixed(own, "momentum_backbone.")}},
    "lightly": lambda own: {
        "state_dict": {**numbered(own, "backbone."), "projection_head.layers.0.weight": own["bn1.bias"]}
    },
    "byol-pytorch": lambda own: prefixed(own, "online_encoder.net."),
    "PyTorch-BYOL": lambda own: {"online_network_state_dict": numbered(own, "encoder.")},
    "DINO": lambda own: {
        "student": {},
        "teacher": {**prefixed(own, "backbone."), "head.mlp.0.weight": own["bn1.bias"]},
    },
    "SwAV": lambda own: {**prefixed(own, "module."), "module.prototypes.weight": own["bn1.bias"]},
}


@pytest.mark.parametrize("who", FILES)
def test_files_of_weights_of_others(who, tmp_path, photos, resnet):
    net, own = resnet
    path = tmp_path / "model.pth"
    torch.save(FILES[who](own), path)
    opened = sassl.open_model(path, arch="resnet18", size=64)
    assert same(evaluation.encode(opened, photos), features(net, plain(73, 64), photos))
    assert opened.arch == "resnet18"


def test_files_of_weights_by_every_name_and_rule(tmp_path, photos, resnet):
    from safetensors.torch import save_file

    net, own = resnet
    torch.save({"model": own}, tmp_path / "model.pt")
    save_file(own, tmp_path / "model.safetensors")
    expected = features(net, plain(256, 224), photos)
    for file, arch in (
        ("model.pt", "resnet18"),
        ("model.safetensors", "resnet18"),
        ("model.pt", "torchvision:resnet18"),
    ):
        assert same(evaluation.encode(sassl.open_model(tmp_path / file, arch=arch), photos), expected)
    transform = T.Compose([T.Resize(235, T.InterpolationMode.BICUBIC), *plain(1, 224).transforms[1:]])
    of_timm = sassl.open_model(tmp_path / "model.pt", arch="timm:resnet18")
    assert same(evaluation.encode(of_timm, photos), features(net, transform, photos))
    for normalize, mean, std in (("none", [0.0] * 3, [1.0] * 3), ("half", [0.5] * 3, [0.5] * 3)):
        opened = sassl.open_model(tmp_path / "model.pt", arch="resnet18", size=32, normalize=normalize)
        assert same(evaluation.encode(opened, photos), features(net, plain(37, 32, mean, std), photos))
    given = {"mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1]}
    opened = sassl.open_model(tmp_path / "model.pt", arch="resnet18", size=32, normalize=given)
    assert same(evaluation.encode(opened, photos), features(net, plain(37, 32, **given), photos))
    assert opened.describe()["preprocessing"] == {"size": 32, "resize": 37, "interpolation": "bilinear", **given}
    assert str(opened).endswith("images: 37 to 32, bilinear, mean 0.1 0.2 0.3, std 0.3 0.2 0.1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with two checkpoints, of which a later one is the model."""
    folder = tmp_path_factory.mktemp("run")
    coloured(folder / "images", {"train": 4})
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2, seed=3)
    model.fit(folder / "images" / "train", epochs=2, batch_size=8, out=folder / "run", quiet=True)
    return folder / "run", model


def test_runs_checkpoints_and_what_they_export(run, tmp_path, photos):
    folder, model = run
    expected = model.encode(photos)
    opened = sassl.open_model(folder)
    assert np.array_equal(evaluation.encode(opened, photos), expected)
    assert (opened.name, opened.arch, opened.pretraining_seed) == (str(folder), "resnet18", 3)
    assert opened.preprocessing == model.preprocessing
    newest = max(folder.glob("checkpoint-*"))
    assert sassl.open_model(newest).weights == opened.weights
    on_torch = sassl.open_model(newest, device="cpu")
    assert np.allclose(evaluation.encode(on_torch, photos), expected, atol=1e-5 * np.abs(expected).max())
    model.export_backbone(tmp_path / "net.safetensors")
    model.export_backbone(tmp_path / "net.pth")
    for opened in (
        sassl.open_model(tmp_path / "net.safetensors"),
        sassl.open_model(tmp_path / "net.pth", arch="resnet18", size=16, normalize="none"),
    ):
        batch = np.stack([model.preprocessing(photo) for photo in photos])
        found = opened.encode_normalized(batch.transpose(0, 3, 1, 2))
        assert np.allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert sassl.open_model(tmp_path / "net.safetensors").preprocessing.interpolation == "bicubic"
    # The network that the run began with.
    begun = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2, seed=3)
    untrained = sassl.open_model(f"untrained:{folder}")
    assert np.array_equal(evaluation.encode(untrained, photos), begun.encode(photos))
    assert untrained.weights != opened.weights


def test_untrained_networks_are_those_that_a_run_begins_with(photos):
    begun = sassl.SimCLR("resnet18", hidden_dim=16, dim=8, zero_init_residual=False).state_dict()
    opened = sassl.open_model("untrained:resnet18", size=64)
    own = opened.encoder.state_dict()
    assert all(np.array_equal(own[name].numpy(), begun[name]) for name in own)
    assert opened.weights == sassl.open_model("untrained:resnet18", size=32).weights
    assert sassl.open_model("untrained:test_vit").name == "untrained:timm:test_vit"


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("resnet18", {}, "resnet18: no such file or folder; a model is a run's checkpoint"),
        ("untrained:resnet19", {}, "arch must be one of resnet18, "),
        ("timm:resnet1888", {}, "arch 'timm:resnet1888' is not a model of timm; did you mean resnet18"),
        ("torchvision:resnet18:V9", {}, "weights of torchvision:resnet18 must be one of IMAGENET1K_V1"),
        (
            "timm:resnet18",
            {"arch": "resnet18"},
            "timm:resnet18: arch='resnet18' is only for files of weights, .*leave arch out",
        ),
        (
            "untrained:timm:vit_tiny_patch16_224",
            {"size": 64},
            "does not take images of 64x64: AssertionError: .*give the size",
        ),
        ("untrained:resnet18", {"normalize": "imagenet1k"}, "normalize must be one of 'imagenet'.*, got 'imagenet1k'"),
        ("untrained:resnet18", {"size": 0}, "size must be an integer >= 1, got 0"),
        ("untrained:resnet18", {"device": "cuda:99"}, "device 'cuda:99' cannot be used: "),
        ("weights.pth", {}, "weights.pth: is a state dict, which does not record its network; give arch"),
        ("weights.pth", {"arch": "resnet50"}, "weights.pth: layer1.0.conv1.weight must have shape"),
        (
            "weights.pth",
            {"arch": "timm:test_vit"},
            "weights.pth: has no backbone under torchvision's names; looked for cls_token",
        ),
        (
            "part.pth",
            {"arch": "resnet18"},
            "part.pth: 2 of 120 tensors of resnet18 are missing; looked for layer4.1.conv",
        ),
        (
            "more.pth",
            {"arch": "resnet18"},
            "more.pth: layer5.weight is not a tensor of resnet18; is it of another arch",
        ),
        ("code.pth", {"arch": "resnet18"}, "code.pth: torch cannot read it as weights only"),
        ("small.pth", {"arch": "resnet18"}, "small.pth is a network for small images .*; give size, such as 32"),
        ("photo.jpg", {}, "photo.jpg: must be a run's folder, or a file of weights: .safetensors, .pth"),
        ("empty", {}, "empty: there is no checkpoint in it; expected a run's folder"),
        ("net.safetensors", {"arch": "resnet18"}, "arch='resnet18' is not needed, as the file records its network"),
        (
            "net.safetensors",
            {"normalize": "imagenet"},
            "normalize must be None, as for the model's views, got imagenet",
        ),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_error(source, options, said, tmp_path, monkeypatch, resnet):
    monkeypatch.chdir(tmp_path)
    own = resnet[1]
    if source == "weights.pth":
        torch.save(own, source)
    elif source == "part.pth":
        torch.save({name: x for name, x in own.items() if not name.startswith("layer4.1.conv")}, source)
    elif source == "more.pth":
        torch.save({**own, "layer5.weight": own["bn1.bias"]}, source)
    elif source == "code.pth":
        # A pickle that names a function, which must not be called.
        torch.save({"state_dict": own, "args": Image.open}, source)
    elif source == "small.pth":
        torch.save({**own, "conv1.weight": torch.zeros(64, 3, 3, 3)}, source)
    elif source == "net.safetensors":
        model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
        model.export_backbone(source)
    elif source == "photo.jpg":
        (tmp_path / source).write_bytes(b"no weights")
    elif source == "empty":
        (tmp_path / source).mkdir()
    with pytest.raises((ValueError, OSError), match=said):
        sassl.open_model(source, **options)


def test_commands_take_any_model(run, tmp_path, capsys, resnet):
    folder, model = run
    torch.save(resnet[1], tmp_path / "model.pth")
    data = coloured(tmp_path / "data", {"train": 5, "val": 5})
    call = ["--train", str(data / "train"), "--test", str(data / "val"), "--k", "3", "--threads", "2"]
    names = [str(folder), f"untrained:timm:{SMALL}", str(tmp_path / "model.pth")]
    assert main(["eval", "knn", *names, *call, "--arch", "resnet18", "--size", "160"]) == 0
    said = capsys.readouterr()
    assert [line.partition(": knn, top-1 100.0 %")[0] for line in said.out.splitlines()] == names
    assert (
        "model.pth: resnet18; images: 183 to 160, bilinear, mean 0.485 0.456 0.406, std 0.229 0.224 0.225" in said.err
    )
    assert main(["eval", "linear", "--model", str(folder), "--data", str(data), "--epochs", "3"]) == 0
    capsys.readouterr()
    out = tmp_path / "features.npz"
    assert main(["embed", str(folder), "--data", str(data / "val"), "--out", str(out)]) == 0
    with np.load(out) as found:
        assert np.array_equal(found["features"], evaluation.extract(model, data / "val").features)
    styled = [f"untrained:timm:{SMALL}", "--data", str(data / "val"), "--out", str(tmp_path / "s.png"), "--n", "4"]
    assert main(["eval", "strength", *styled, "--alpha", "0.2", "--beta", "0.2", "--size", "32"]) == 0
    told = json.loads((tmp_path / "s.json").read_text())
    assert (told["model"], told["preprocessing"]["size"], told["size"]) == (styled[0], 32, 32)


def test_a_run_remembers_its_data(tmp_path, capsys):
    data = coloured(tmp_path / "data", {"train": 4, "val": 4})
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
    model.fit(data / "train", epochs=1, batch_size=8, out=tmp_path / "run", quiet=True)
    assert main(["eval", "knn", str(tmp_path / "run"), "--k", "3"]) == 0
    said = capsys.readouterr()
    assert f"data: {data}, as recorded in {tmp_path / 'run'}" in said.err
    (data / "val").rename(data / "test")
    assert main(["eval", "knn", str(tmp_path / "run"), "--k", "3"]) == 1
    assert "--train is missing: give --data" in capsys.readouterr().err
    assert (
        main(["eval", "knn", str(tmp_path / "run"), "--k", "3", "--data", str(data), "--test", str(data / "test")]) == 0
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no model is given; give a run's folder, timm:NAME"),
        (["a", "--model", "a"], "model a is given twice"),
        (
            ["untrained:resnet18", "--arch", "resnet18"],
            "--arch is only for weight files that do not record their network, got resnet18",
        ),
        (["untrained:resnet18", "--mean", "0", "0", "0"], "--mean and --std must be given together"),
        (["untrained:resnet18", "--size", "0"], "--size must be an integer >= 1, got 0"),
        (["a", "--train", "train", "--test", "train"], "--data .* must not be given with --train and --test"),
        (["a", "--test", "nowhere"], "nowhere: no folder"),
    ],
)
def test_wrong_calls(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(coloured(tmp_path, {"train": 2, "val": 2}))
    assert main(["eval", "knn", *words, "--data", str(tmp_path)]) == 1
    assert re.search(said, capsys.readouterr().err)


def test_a_baseline_table_in_one_command(tmp_path, capsys, run):
    folder, _ = run
    layouts.dtd(tmp_path)
    layouts.cifar(tmp_path, 10)
    out = tmp_path / "results.jsonl"
    call = [
        "eval",
        "transfer",
        str(folder),
        f"timm:{SMALL}",
        "--data",
        str(tmp_path),
        "--out",
        str(out),
        "--counts",
        "any",
    ]
    call[3] = f"untrained:timm:{SMALL}"
    assert main([*call, "--protocol", "knn", "--baselines"]) == 0
    said = capsys.readouterr()
    head, *rows = said.out.splitlines()
    columns = [str(folder), f"untrained:{folder}", f"untrained:timm:{SMALL}"]
    assert head.split()[3:] == columns
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    values = {(line["model"], line["set"]): line["value"] for line in lines}
    assert [row.split()[0] for row in rows] == ["dtd", "cifar10", "mean"]
    for row, name in zip(rows, ("dtd", "cifar10"), strict=False):
        assert row.split()[3:] == [f"{values[model, name]:.1f}" for model in columns]
    assert rows[-1].split() == [
        *("mean", "2", "sets"),
        *(f"{np.mean([values[model, name] for name in ('dtd', 'cifar10')]):.1f}" for model in columns),
    ]
    assert [line["preprocessing"]["size"] for line in lines] == [16, 16, 16, 16, 160, 160]
    assert lines[0]["pretraining_seed"] == 3
    # All of it is there, and another rule for images is another result.
    text = out.read_text()
    assert main([*call, "--protocol", "knn"]) == 0
    assert capsys.readouterr().err.count(f"already in {out}") == 4
    assert out.read_text() == text
    assert main([*call[:2], call[3], *call[4:], "--protocol", "knn", "--sets", "dtd", "--size", "32"]) == 0
    assert json.loads(out.read_text().splitlines()[-1])["preprocessing"]["resize"] == 32


def test_a_table_of_models_averages_sets_that_all_have():
    def result(model, name, value, metric="top1"):
        return {"model": model, "set": name, "school": "s", "metric": metric, "value": value, "top1": 0.0, "k": 1}

    results = [
        result("a", "dtd", 40.0),
        result("a", "dtd", 50.0),
        result("a", "eyes", 0.5, "kappa"),
        result("b", "dtd", 60.0),
        result("b", "eyes", 0.25, "kappa"),
        result("b", "cars", 10.0),
    ]
    assert [row.split() for row in table(results, ["a", "b"]).splitlines()] == [
        ["set", "school", "metric", "a", "b"],
        ["dtd", "s", "top1", "45.0", "±", "7.1", "60.0"],
        ["eyes", "s", "kappa", "0.500", "0.250"],
        ["cars", "s", "top1", "-", "10.0"],
        ["mean", "2", "of", "3", "sets", "47.5", "42.5"],
    ]

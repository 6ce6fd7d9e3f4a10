"""The augmented linear probe against torch: its step, its schedules, a whole run; its choice of a rate, and how it resumes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sassl
from conftest import coloured, need
from sassl.cli import main
from sassl.data import Arrays, ImageFolder
from sassl.evaluation import LINEAR_RECIPES, Crops, Preprocessing, augmented_probe
from sassl.evaluation.kept_heads import KeptHeads
from sassl.evaluation.linear_heads import Heads

RULE = Preprocessing(16, normalize={"mean": [0.5] * 3, "std": [0.25] * 3}, channels_last=True)


def means(images):
    """A model of others: the mean of each quarter and colour, (N, 12)."""
    n, side = len(images), images.shape[1] // 2
    return images.reshape(n, 2, side, 2, side, 3).mean((2, 4)).reshape(n, 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return coloured(tmp_path_factory.mktemp("set"), {"train": 20, "val": 6})


@pytest.fixture(scope="module")
def sets(folder):
    return ImageFolder(folder / "train"), ImageFolder(folder / "val")


@pytest.fixture(scope="module")
def hard():
    """Classes of noise that differ little: no head is right about all images."""
    rng = np.random.default_rng(0)
    targets = np.arange(120) % 4
    images = rng.integers(0, 200, (120, 20, 20, 3)) + 6 * targets[:, None, None, None]
    everything = images.astype(np.uint8)
    return Arrays(everything[:80], targets[:80].tolist()), Arrays(everything[80:], targets[80:].tolist())


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_are_those_of_torchs_linear_layer_and_sgd(nesterov):
    need("torch")
    import torch

    rng, rates = np.random.default_rng(0), np.array([0.5, 0.05, 2.0])
    weights, bias = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    heads = Heads(weights, bias, 3, momentum=0.9, nesterov=nesterov)
    layers = [torch.nn.Linear(7, 5) for _ in rates]
    for layer in layers:
        layer.load_state_dict({"weight": torch.from_numpy(weights), "bias": torch.from_numpy(bias)})
    optimizers = [torch.optim.SGD(one.parameters(), 1, momentum=0.9, nesterov=nesterov) for one in layers]
    for i in range(8):
        features, places = rng.normal(size=(24 - i, 7)).astype(np.float32), rng.integers(0, 5, 24 - i)
        losses = heads.step(features, places, rates / (i + 1))
        for layer, optimizer, rate, told in zip(layers, optimizers, rates, losses, strict=True):
            optimizer.param_groups[0]["lr"] = rate / (i + 1)
            loss = torch.nn.functional.cross_entropy(layer(torch.from_numpy(features)), torch.from_numpy(places))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert told == pytest.approx(loss.item(), abs=1e-5)
    for i, layer in enumerate(layers):
        assert np.abs(heads.weights[i] - layer.weight.detach().numpy()).max() < 1e-5
        assert np.abs(heads.bias[i] - layer.bias.detach().numpy()).max() < 1e-5
        ranked = layer(torch.from_numpy(features)).topk(3).indices.numpy()
        assert np.array_equal(heads.ranked(i, features, 3), ranked)


@pytest.mark.parametrize("name", LINEAR_RECIPES)
def test_schedules_are_torchs_and_lightlys(name):
    need("torch")
    import torch
    from torch.optim import lr_scheduler

    row, epochs, steps = LINEAR_RECIPES[name], 10, 7
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    by_step = {"simclr": epochs * steps, "byol": epochs * steps}
    if name == "lightly":
        need("lightly")
        from lightly.utils.scheduler import CosineWarmupScheduler

        schedule, per = CosineWarmupScheduler(optimizer, warmup_epochs=0, max_epochs=epochs * steps), 1
    elif name == "moco":
        schedule, per = lr_scheduler.MultiStepLR(optimizer, [6, 8]), steps
    else:
        total = by_step.get(name, epochs)
        schedule, per = lr_scheduler.CosineAnnealingLR(optimizer, total), 1 if name in by_step else steps
    for step in range(epochs * steps):
        assert row.share(step, steps, epochs) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6), step
        optimizer.step()
        if (step + 1) % per == 0:
            schedule.step()


def test_recipes_are_as_published():
    told = {
        name: (row.lr, row.peak(1.0, 512), row.batch_size, row.epochs, row.nesterov, row.momentum, row.interpolation)
        for name, row in LINEAR_RECIPES.items()
    }
    assert told == {
        "moco": ((30.0,), 1.0, 256, 100, False, 0.9, "bilinear"),
        "simclr": ((0.1,), 2.0, 4096, 90, True, 0.9, "bicubic"),
        "byol": ((0.4, 0.3, 0.2, 0.1, 0.05), 2.0, 1024, 80, True, 0.9, "bicubic"),
        "mocov3": ((0.1,), 2.0, 1024, 90, False, 0.9, "bilinear"),
        "lightly": ((0.1,), 2.0, 256, 90, False, 0.9, "bilinear"),
    }
    # The whole sweep of SimCLR at its batch: 1.6.
    assert LINEAR_RECIPES["simclr"].peak(0.1, 4096) == pytest.approx(1.6)
    spread = {name: row.init(np.random.default_rng(0), 50, 400) for name, row in LINEAR_RECIPES.items()}
    assert all(w.dtype == b.dtype == np.float32 and w.shape == (50, 400) for w, b in spread.values())
    deviations = {name: w.std() for name, (w, _) in spread.items()}
    # A uniform value within 1 / 20, and a normal one of 1 / 20 that is cut off at two deviations.
    expected = {"moco": 0.01, "simclr": 0, "byol": 0.88 / 20, "mocov3": 0.01, "lightly": 1 / 20 / 3**0.5}
    assert deviations == pytest.approx(expected, rel=0.02)
    assert [name for name, (_, b) in spread.items() if b.any()] == ["lightly"]


def test_a_run_is_that_of_torch_on_the_same_crops(hard):
    need("torch")
    import torch

    train, test = hard
    found = augmented_probe(
        means, train, test, recipe="simclr", epochs=3, batch_size=24, lr=20.0, seed=5, preprocessing=RULE
    )
    layer = torch.nn.Linear(12, 4)
    with torch.no_grad():
        for one in layer.parameters():
            one.zero_()
    crops = Crops(train, 16, RULE.normalize, batch_size=24, seed=5, drop_last=True)
    optimizer = torch.optim.SGD(layer.parameters(), 20.0 * 24 / 256, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3 * len(crops))
    for epoch in range(3):
        crops.set_epoch(epoch)
        for images, targets in crops:
            optimizer.zero_grad()
            scores = layer(torch.from_numpy(means(images)))
            torch.nn.functional.cross_entropy(scores, torch.from_numpy(targets)).backward()
            optimizer.step()
            schedule.step()
    features = means(np.stack([RULE(test[i][0]) for i in range(len(test))]))
    targets = np.array([test[i][1] for i in range(len(test))])
    answers = layer(torch.from_numpy(features)).argmax(1).numpy()
    assert found["top1"] == pytest.approx(100 * (answers == targets).mean())
    assert 25 < found["top1"] < 100
    told = {name: found[name] for name in ("n", "classes", "recipe", "epochs", "batch_size", "lr", "train", "val")}
    assert told == {
        "n": 40,
        "classes": 4,
        "recipe": "simclr",
        "epochs": 3,
        "batch_size": 24,
        "lr": 20.0,
        "train": 80,
        "val": [],
    }
    assert found["interval"][0] < found["top1"] < found["interval"][1]


def test_the_backbone_stays_as_it_is(sets):
    need("torch")
    import torch

    modes = set()

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 8, 3, 2), torch.nn.BatchNorm2d(8)

        def forward(self, x):
            modes.add((self.training, self.norm.training, torch.is_grad_enabled()))
            return self.norm(self.conv(x)).relu().mean((2, 3))

    torch.manual_seed(0)
    net = Small()
    net(torch.randn(8, 3, 16, 16))
    modes.clear()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    rule = Preprocessing(16, normalize=RULE.normalize)
    found = augmented_probe(net, *sets, recipe="moco", epochs=10, batch_size=10, preprocessing=rule)
    assert modes == {(False, False, False)}
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert found["top1"] == found["top5"] == 100
    assert (found["lr"], found["epochs"], found["batch_size"], found["classes"]) == (30.0, 10, 10, 2)


def test_of_several_rates_val_chooses_and_the_test_is_asked_once(hard):
    train, test = hard
    given = {"recipe": "byol", "epochs": 4, "batch_size": 20, "preprocessing": RULE}
    rates = [1e-4, 3.0, 1e38]

    def large(images):
        return 1000 * means(images)

    found = augmented_probe(large, train, test, lr=rates, val=test.take(range(20)), **given)
    assert [rate for rate, _ in found["val"]] == rates
    assert found["val"][2][1] is None
    values = dict(found["val"][:2])
    assert found["lr"] == max(values, key=lambda rate: (values[rate], -rate))
    # Heads that learn side by side learn as each alone.
    alone = augmented_probe(large, train, test, lr=found["lr"], **given)
    assert alone["top1"] == found["top1"]
    # Where nothing is given to choose, a tenth of train does, and is not learnt from.
    drawn = augmented_probe(large, train, test, lr=rates[:2], **given)
    assert (found["train"], drawn["train"]) == (80, 72)
    assert len(augmented_probe(large, train, test, **given)["val"]) == 5
    with pytest.raises(ValueError, match=r"all heads have diverged by epoch 1 with lr=1e\+38; lower it"):
        augmented_probe(large, train, test, lr=1e38, **given)


def test_equal_rates_give_the_lowest(sets):
    found = augmented_probe(means, *sets, lr=[2.0, 0.5, 1.0], epochs=3, preprocessing=RULE)
    assert [value for _, value in found["val"]] == [100.0] * 3
    assert found["lr"] == 0.5


class StopError(Exception):
    """What ends a run here, as a signal would."""


def test_a_run_that_was_stopped_resumes_to_the_same_bytes(hard, tmp_path, monkeypatch, capsys):
    given = {"recipe": "byol", "lr": [0.5, 2.0], "epochs": 4, "batch_size": 18, "preprocessing": RULE}
    expected = augmented_probe(means, *hard, out=tmp_path / "whole", **given)
    assert json.loads((tmp_path / "whole" / "result.json").read_text())["top1"] == expected["top1"]
    out = tmp_path / "parts"
    save = KeptHeads.save

    def stop(self, heads, epoch):
        save(self, heads, epoch)
        if epoch in (1, 3):
            raise StopError

    monkeypatch.setattr(KeptHeads, "save", stop)
    for _ in range(2):
        with pytest.raises(StopError):
            augmented_probe(means, *hard, out=out, progress=True, **given)
    assert "resumes after epoch 1 of 4" in capsys.readouterr().err
    monkeypatch.setattr(KeptHeads, "save", save)
    calls = []
    found = augmented_probe(lambda x: (calls.append(len(x)), means(x))[1], *hard, out=out, **given)
    assert found == expected
    assert (out / "heads.safetensors").read_bytes() == (tmp_path / "whole" / "heads.safetensors").read_bytes()
    # One epoch is left: of 72 images. The others are the sample's, those that choose, and those of the test.
    assert sum(calls) == 2 + 72 + 8 + 40
    for changed, told in (
        ({"epochs": 5}, r"epochs must be 4 to resume the run in .*parts, got 5"),
        ({"seed": 1}, "seed must be 0"),
        ({"lr": 0.5}, r"lr must be \[0.5, 2.0\]"),
    ):
        with pytest.raises(ValueError, match=told):
            augmented_probe(means, *hard, out=out, **{**given, **changed})
    with pytest.raises(ValueError, match="features of another model"):
        augmented_probe(lambda x: means(x) + 1, *hard, out=out, **given)


def test_threads_do_not_matter(hard):
    given = {"recipe": "mocov3", "lr": 1.0, "epochs": 2, "preprocessing": RULE}
    one, three = (augmented_probe(means, *hard, threads=threads, **given) for threads in (1, 3))
    assert one == three
    # A batch has no more images than there are.
    assert one["batch_size"] == 80


def test_images_that_cannot_be_read(folder, tmp_path):
    bad = coloured(tmp_path, {"train": 12, "val": 3})
    for split in ("train", "val"):
        (bad / split / "red" / "0.png").write_bytes(b"no image")
    given = {"recipe": "moco", "epochs": 2, "batch_size": 8, "preprocessing": RULE}
    with pytest.raises(ValueError, match=r"0\.png"):
        augmented_probe(means, bad / "train", bad / "val", **given)
    with pytest.warns(UserWarning, match="could not be read") as told:
        found = augmented_probe(means, bad / "train", bad / "val", on_error="report", **given)
    counts = [str(one.message).split(";")[0] for one in told]
    assert counts == [
        "1 of 6 images could not be read and are left out",
        "1 of 24 images of train could not be read, and were replaced by others",
    ]
    assert (list(found["replaced"]), list(found["left_out"]), found["n"]) == (["red/0.png"], ["red/0.png"], 5)


def test_what_cannot_be_is_an_error(sets, hard):
    for given, told in (
        ({"recipe": "swav"}, "recipe must be .*, got 'swav'"),
        ({"lr": 0}, "lr must be a number > 0, or several, got 0"),
        ({"lr": []}, "lr must be a number > 0, or several, got"),
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"metric": "auc"}, "metric must be .*, got 'auc'"),
        ({"on_error": "skip"}, "on_error must be 'raise' or 'report', got 'skip'"),
    ):
        with pytest.raises(ValueError, match=told):
            augmented_probe(means, *sets, preprocessing=RULE, **given)
    with pytest.raises(TypeError, match="preprocessing is required for function"):
        augmented_probe(means, *sets)
    few, one = hard[0].take(range(9)), hard[0].take(range(0, 80, 4))
    with pytest.raises(ValueError, match=r"train must have at least 10 images, .* got 9"):
        augmented_probe(means, few, hard[1], recipe="byol", preprocessing=RULE)
    with pytest.raises(ValueError, match="train must have at least two classes, got only class 0"):
        augmented_probe(means, one, hard[1], recipe="moco", preprocessing=RULE)


def test_the_command(folder, tmp_path, capsys):
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
    model.save(tmp_path / "model.safetensors")
    before = model.engine.backbone()
    call = ["eval", "augmented", str(tmp_path / "model.safetensors"), "--data", str(folder), "--recipe", "simclr"]
    call += ["--epochs", "2", "--batch-size", "10", "--lr", "0.1", "1", "--out", str(tmp_path / "out")]
    assert main(call) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (found["epochs"], found["batch_size"], found["train"], found["n"]) == (2, 10, 36, 12)
    again = augmented_probe(model, folder / "train", folder / "val", epochs=2, batch_size=10, lr=[0.1, 1])
    assert json.loads(json.dumps(again)) == found
    assert f"augmented, simclr, top-1 {found['top1']:.1f} %, top-5 100.0 %, lr = {found['lr']:g}; top1" in said
    assert said.count(" by top1 on val\n") == 2
    assert all(np.array_equal(before[name], tensor) for name, tensor in model.engine.backbone().items())
    assert main(["eval", "augmented", str(tmp_path / "model.safetensors"), "--data", str(tmp_path)]) == 1
    assert f"{tmp_path}: expected the folders train and val in it" in capsys.readouterr().err

"""Whole runs: folders and batches in, checkpoints and backbones out; stopped, killed, resumed."""

from __future__ import annotations

import base64
import csv
import errno
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import sassl
from conftest import TIMES, events, need
from PIL import Image
from sassl import evaluation, progress, terminal
from sassl.cli import main
from sassl.data import Arrays, Files, ImageFolder, TwoViewLoader
from sassl.pretraining import METHODS, PRESETS, Config, History, Monitor, Pretraining
from sassl.pretraining.engines import Rates
from sassl.pretraining.folder import Folder
from sassl.pretraining.loggers import Epochs
from sassl.pretraining.loop import rates
from sassl.pretraining.weights import usage
from sassl.transforms import SimCLRTransform
from sassl.transforms.plain import SASSL
from sassl.transforms.recipes import IMAGENET_NORMALIZE

SMALL = {"small_stem": True, "hidden_dim": 32, "dim": 16, "input_size": 16, "threads": 2}


def simclr(**options):
    return sassl.SimCLR("resnet18", **{**SMALL, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from sklearn.datasets import load_sample_image

    root, photo = tmp_path_factory.mktemp("photos"), load_sample_image("china.jpg")
    for i in range(24):
        Image.fromarray(photo[10 * i : 10 * i + 40, 20 * i : 20 * i + 40]).save(root / f"{i:02}.png")
    return root


def same(one, other):
    first, second = one.engine.state(), other.engine.state()
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", [sassl.MoCoV2, sassl.BYOL, sassl.SimCLR, sassl.SimSiam])
def test_methods_learn_save_load_and_export(kind, folder, tmp_path):
    own = {"queue_size": 16, "splits": 2, "dim": 16} if kind is sassl.MoCoV2 else {"hidden_dim": 32, "dim": 16}
    options = {"small_stem": True, "input_size": 16, "threads": 2, "seed": 1}
    model = kind("resnet18", style=SASSL(p=0.8), **options, **own)
    before = model.state_dict()
    rows = []
    model.fit(folder, 2, batch_size=8, out=tmp_path / "run", quiet=True, on_epoch=lambda _, row: rows.append(row))
    assert rows == model.history
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert any(not np.array_equal(before[name], tensor) for name, tensor in model.state_dict().items())
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert len(log) == 3
    assert log[0].startswith("epoch,loss,lr")
    assert Config.load(tmp_path / "run" / "config.json") == model.run
    # `fit` leaves alone what the model was made of.
    assert model.config == kind("resnet18", style=SASSL(p=0.8), **options, **own).config
    assert (model.run.schedule.epochs, model.run.data.batch_size) == (2, 8)
    assert model.run.data.style == SASSL(p=0.8).describe()
    assert not (tmp_path / "run" / ".sassl.lock").exists()
    model.save(tmp_path / "model.safetensors")
    loaded = kind.load(tmp_path / "model.safetensors", threads=2)
    assert same(model, loaded)
    assert loaded.history == model.history
    images = np.random.default_rng(0).random((5, 16, 16, 3), np.float32)
    assert np.array_equal(
        model.encode_normalized(images), loaded.encode_normalized(images, batch_size=2)
    ) or np.allclose(model.encode_normalized(images), loaded.encode_normalized(images, batch_size=2), atol=1e-5)
    model.export_backbone(tmp_path / "backbone.safetensors")
    assert (tmp_path / "backbone.safetensors").stat().st_size > 4e7
    others = [row.kind for row in METHODS.values() if row.kind is not kind]
    with pytest.raises(ValueError, match=f"model.safetensors: .*of {kind.__name__}, not of {others[0].__name__}"):
        others[0].load(tmp_path / "model.safetensors")


def test_exports_load_in_torchvision_and_timm(tmp_path):
    need("torchvision")
    need("timm")
    import timm
    import torch
    import torchvision
    from safetensors.torch import load_file

    model = sassl.SimCLR("resnet18", hidden_dim=32, dim=16, threads=2)
    model.export_backbone(tmp_path / "a.safetensors")
    model.export_backbone(tmp_path / "a.pth")
    images = torch.rand(2, 3, 64, 64)
    for tensors in (load_file(tmp_path / "a.safetensors"), torch.load(tmp_path / "a.pth", weights_only=True)):
        net = torchvision.models.resnet18()
        missing, unexpected = net.load_state_dict(tensors, strict=False)
        assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
        net.fc = torch.nn.Identity()
        other = timm.create_model("resnet18", num_classes=0)
        other.load_state_dict(tensors)
        with torch.no_grad():
            for one in (net.eval(), other.eval()):
                assert np.allclose(one(images).numpy(), model.encode_normalized(images.numpy()), rtol=1e-3, atol=1e-4)


def test_an_export_says_how_it_is_used(tmp_path, capsys):
    need("torchvision")
    import torch
    import torchvision
    from safetensors import safe_open

    views = {"normalize": {"mean": (0.5, 0.4, 0.3), "std": np.array([0.2, 0.25, 0.125])}}
    model = simclr(input_size=(16, 24), views=views)
    model.save(tmp_path / "model.safetensors")
    for suffix in ("safetensors", "pth"):
        file = tmp_path / f"net.{suffix}"
        assert main(["export", str(tmp_path / "model.safetensors"), "--out", str(file)]) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[1] == "images: 16x24, bicubic, normalized by mean [0.5, 0.4, 0.3] and std [0.2, 0.25, 0.125]"
        assert ("a .pth file cannot record this" in said[2]) == (suffix == "pth")
        # What is printed is what torchvision's network needs.
        net = torchvision.models.resnet18()
        exec("\n".join(line.strip() for line in said[-2:]), {"net": net, "torch": torch})
        if suffix == "pth":
            tensors = torch.load(file, weights_only=True)
        else:
            with safe_open(file, "pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
                told = {name: text for name, text in opened.metadata().items() if not name.startswith("format")}
                assert {"arch": "resnet18", "stem": "cifar", "interpolation": '"bicubic"'}.items() <= told.items()
                assert json.loads(told["input_size"]) == [16, 24]
                assert json.loads(told["normalize"]) == {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.125]}
        assert net.load_state_dict(tensors, strict=False) == (["fc.weight", "fc.bias"], [])
        net.fc = torch.nn.Identity()
        images = torch.rand(2, 3, 16, 24)
        with torch.no_grad():
            assert np.allclose(net.eval()(images), model.encode_normalized(images), rtol=1e-3, atol=1e-4)
    for given, told in ((None, "in [0, 1], not normalized"), ("not known", "which is not known")):
        (line,) = usage(
            sassl.SimCLR("resnet18", hidden_dim=8, dim=8, views={"normalize": given}), tmp_path / "a.safetensors"
        )
        assert line.endswith(told)


def test_a_stopped_run_goes_on_to_the_bit(folder, tmp_path):
    straight = simclr().fit(folder, 3, batch_size=8, quiet=True)
    stopped = simclr()

    def stop(model, row):
        if row["epoch"] == 2:
            raise RuntimeError("as asked")

    with pytest.raises(RuntimeError):
        stopped.fit(folder, 3, batch_size=8, out=tmp_path, quiet=True, on_epoch=stop)
    with pytest.raises(FileExistsError, match="has a run; resume=True"):
        simclr().fit(folder, 3, batch_size=8, out=tmp_path, quiet=True)
    with pytest.raises(ValueError, match=r"lr must be .* as in the run in .*, got 0.5"):
        simclr(lr=0.5).fit(folder, 3, batch_size=8, out=tmp_path, resume=True, quiet=True)
    resumed = simclr().fit(folder, 3, batch_size=8, out=tmp_path, resume=True, quiet=True)
    assert same(straight, resumed)
    assert [row["loss"] for row in straight.history] == [row["loss"] for row in resumed.history]
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2


RUN = """
import sys, sassl
model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=1)
model.fit(sys.argv[1], 4, batch_size=4, out=sys.argv[2], resume=True)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_a_killed_run_goes_on_to_the_bit(folder, tmp_path, how):
    straight = simclr(threads=1).fit(folder, 4, batch_size=4, quiet=True)
    run = subprocess.Popen([sys.executable, "-c", RUN, str(folder), str(tmp_path)], stderr=subprocess.PIPE, text=True)
    for _ in range(400):
        if list(tmp_path.glob("checkpoint-*.safetensors")) or run.poll() is not None:
            break
        time.sleep(0.05)
    time.sleep(0.2)
    run.send_signal(how)
    _, err = run.communicate(timeout=60)
    assert run.returncode != 0 or "epoch 4" in err, err
    if how != signal.SIGKILL:
        assert "KeyboardInterrupt" in err or run.returncode == 0
    again = subprocess.run([sys.executable, "-c", RUN, str(folder), str(tmp_path)], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    last = max(tmp_path.glob("checkpoint-*.safetensors"))
    assert same(straight, sassl.SimCLR.load(last))


@pytest.mark.parametrize("batches", [False, True])
def test_a_run_stopped_after_an_epochs_last_batch_goes_on_to_the_bit(batches, tmp_path):
    loader = TwoViewLoader(labelled(24), SimCLRTransform(16, output="numpy"), 8, threads=1)
    data = [(views, targets) for views, targets, _ in loader] if batches else labelled(24)
    options = {"epochs": 2, "batch_size": 8, "quiet": True}
    straight = simclr().fit(data, **options)
    steps = []

    def stop(*_):
        steps.append(0)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        simclr().fit(data, out=tmp_path, on_step=stop, **options)
    assert [file.name for file in tmp_path.glob("checkpoint-*")] == ["checkpoint-00000-0000003.safetensors"]
    (tmp_path / ".sassl-0123456789abcdef.part").write_bytes(b"what a killed process leaves")
    others = [tmp_path / ".photo.part", tmp_path / ".sassl-0123456789abcdef.part.bak", tmp_path / "running"]
    for other in others:
        other.write_text("another's")
    monitor = Monitor(labelled(12), every=1)
    resumed = simclr().fit(data, out=tmp_path, resume=True, monitor=monitor, **options)
    assert same(resumed, straight)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in straight.history]
    assert ["knn_top1" in row for row in resumed.history] == [False, True]
    assert not (tmp_path / ".sassl-0123456789abcdef.part").exists()
    assert [other.read_text() for other in others] == ["another's"] * 3


def test_damaged_checkpoints_are_refused(folder, tmp_path):
    model = simclr()
    model.save(tmp_path / "good.safetensors")
    data = bytearray((tmp_path / "good.safetensors").read_bytes())
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    data[-1000] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(data)
    before = model.engine.state()
    with pytest.raises(ValueError, match=r"cut\.safetensors"):
        model.engine.load(tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match=r"flipped\.safetensors: it is damaged"):
        model.engine.load(tmp_path / "flipped.safetensors")
    told = (tmp_path / "good.safetensors").read_bytes().replace(rb'"epoch":"0"', rb'"epoch":"3"')
    (tmp_path / "told.safetensors").write_bytes(told)
    for read in (model.engine.load, sassl.SimCLR.load):
        with pytest.raises(ValueError, match=r"told\.safetensors: it is damaged"):
            read(tmp_path / "told.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint-00000-0000000.safetensors").write_bytes((tmp_path / "good.safetensors").read_bytes())
    with pytest.raises(ValueError, match="written by `save`, which keeps no place"):
        simclr().fit(folder, 1, batch_size=8, out=run, resume=True, quiet=True)
    with pytest.raises(ValueError, match=r"good\.safetensors: .*another"):
        simclr(layers=3).engine.load(tmp_path / "good.safetensors")
    after = model.engine.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    model.export_backbone(tmp_path / "backbone.safetensors")
    with pytest.raises(ValueError, match="no checkpoint of sassl"):
        sassl.SimCLR.load(tmp_path / "backbone.safetensors")


def test_batches_of_others(folder):
    need("torch")
    import torch

    transform = SimCLRTransform(16, output="numpy")
    views = [transform(folder / f"{i:02}.png") for i in range(8)]
    left, right = (np.stack(side) for side in zip(*views, strict=True))
    by_hand = simclr(seed=1).fit([([left[:4], right[:4]], 0), ([left[4:], right[4:]], 0)], 2, quiet=True)
    loader = torch.utils.data.DataLoader([((a, b), 0) for a, b in views], batch_size=4)
    by_torch = simclr(seed=1).fit(loader, 2, quiet=True)
    assert same(by_hand, by_torch)
    native = TwoViewLoader(folder, transform, 8)
    assert len(simclr().fit(native, 1, quiet=True).history) == 1
    with pytest.raises(ValueError, match="views must be floats, got uint8"):
        simclr().fit([([(left * 255).astype(np.uint8)] * 2, 0)], 1, quiet=True)
    bad = left.copy()
    bad[0, 0, 0, 0] = np.nan
    model = simclr()
    before = model.engine.state()
    with pytest.raises(
        ValueError, match="epoch 1, batch 1: image 0 of the left views must have finite values, got NaN"
    ):
        model.fit([([bad, right], 0)], 1, quiet=True)
    after = model.engine.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    solo = [([0, 1], [left[:4], right[:4]], [0, 0, 0, 0])]
    assert len(simclr().fit(solo, 1, quiet=True).history) == 1
    with pytest.raises(ValueError, match=r"batch must be \(\[left, right\], classes"):
        simclr().fit(torch.utils.data.DataLoader([(left[0], 0)] * 4, batch_size=2), 1, quiet=True)


def test_presets_are_the_published_settings():
    # Epochs, the largest rate for the batch, decay, the encoder's momentum.
    published = {
        "moco-v2": (200, 0.03, 1e-4, 0.999),
        "moco-v2-800": (800, 0.03, 1e-4, 0.999),
        "moco-v2-cifar10": (200, 0.06, 5e-4, 0.99),
        "byol-100": (100, 7.2, 1e-6, 0.99),
        "byol-300": (300, 4.8, 1e-6, 0.99),
        "byol-1000": (1000, 3.2, 1.5e-6, 0.996),
        # Appendix G.
        "byol-512": (1000, 0.8, 1.5e-6, 0.9995),
        "byol-cifar10": (200, 0.24, 5e-4, 0.99),
        "simclr-100": (100, 4.8, 1e-6, None),
        "simclr-1000": (1000, 4.8, 1e-6, None),
        "simclr-cifar10": (200, 0.24, 5e-4, None),
        "simsiam": (100, 0.1, 1e-4, None),
        "simsiam-cifar10": (800, 0.06, 5e-4, None),
    }
    for name, (epochs, lr, decay, momentum) in published.items():
        config = PRESETS[name]
        assert config.schedule.epochs == epochs
        assert config.peak_lr == pytest.approx(lr)
        assert config.optimizer.weight_decay == decay
        assert config.method.momentum(0, 100) == pytest.approx(momentum)
    assert len({config.core() for config in PRESETS.values()}) == len(PRESETS), "two names for the same settings"
    # Each can be made, with style and without it; ResNet-50 takes long.
    for name, config in PRESETS.items():
        for style in (None, "default"):
            own = {"queue_size": 512} if config.method.name == "moco-v2" else {}
            model = METHODS[config.method.name].kind("resnet18", preset=name, style=style, **own)
            assert (model.transform.style is None) == (style is None)
            assert model.transform.shape == (32, 32, 3) if "cifar" in name else (224, 224, 3)
            again = Pretraining.from_config(model.config)
            assert again.config == model.config
            assert repr(again.transform) == repr(model.transform)
    with pytest.raises(ValueError, match=r"preset must be .*'byol'.*'byol-512'.*, got"):
        sassl.BYOL(preset="simclr")


def labelled(n, side=16):
    """Images of two classes that a glance tells apart."""
    rng = np.random.default_rng(n)
    targets = np.arange(n) % 2
    images = (
        rng.integers(0, 60, (n, side, side, 3))
        + np.where(targets[:, None], [150, 20, 20], [20, 20, 150])[:, None, None]
    )
    return Arrays(images.astype(np.uint8), targets.tolist())


def test_a_run_is_monitored_logged_and_plotted(tmp_path):
    need("tensorboard")
    need("matplotlib")
    steps = []
    # As the network begins it tells colours apart; it takes some steps until its norms' statistics are those of the images.
    model = simclr(lr=1e-5, views={"cj_prob": 0.0, "random_gray_scale": 0.0})
    model.fit(
        labelled(64),
        12,
        batch_size=32,
        out=tmp_path,
        monitor=Monitor(labelled(12), every=5),
        loggers="tensorboard",
        on_step=lambda _, values: steps.append(values),
        quiet=True,
    )
    measured = [row["epoch"] for row in model.history if "knn_top1" in row and "linear_top1" in row]
    assert measured == [5, 10, 12]
    assert model.history[-1]["knn_top1"] > 90
    assert model.history[-1]["linear_top1"] > 90
    assert len(steps) == 24
    assert set(steps[0]) == {"step", "epoch", "loss", "lr", "contrastive_accuracy", "feature_std"}
    assert [(step["step"], step["epoch"]) for step in steps] == [(n + 1, n // 2 + 1) for n in range(24)]
    for row, own in zip(model.history, np.split(np.array([step["loss"] for step in steps]), 12), strict=True):
        assert row["loss"] == pytest.approx(own.mean())
        assert 0 < row["feature_std"] < 1.2
    log = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in log] == [row["loss"] for row in model.history]
    assert log[0]["knn_top1"] == ""
    board = events(tmp_path)
    assert [event.step for event in board.Scalars("epoch/loss")] == list(range(1, 13))
    assert [event.value for event in board.Scalars("epoch/loss")] == pytest.approx(
        [row["loss"] for row in model.history]
    )
    assert [event.step for event in board.Scalars("step/lr")] == [10, 20]
    figure = model.history.plot(tmp_path / "history.png")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "loss"
    assert len(titles) == 6
    with Image.open(tmp_path / "history.png") as image:
        assert image.size[0] > 500
    with pytest.raises(ValueError, match="history must have at least one epoch"):
        simclr().history.plot()
    before = (tmp_path / "history.png").read_bytes()
    with pytest.raises(ValueError, match="nonsense"):
        model.history.plot(tmp_path / "history.nonsense")
    assert not (tmp_path / "history.nonsense").exists()
    model.history.plot(tmp_path / "history.svg")
    assert b"<svg" in (tmp_path / "history.svg").read_bytes()
    assert (tmp_path / "history.png").read_bytes() == before
    with pytest.raises(ValueError, match="monitor requires 8 classes with the views"):
        simclr().fit([([np.zeros((8, 16, 16, 3), np.float32)] * 2,)], 1, monitor=labelled(12), quiet=True)
    with pytest.raises(ValueError, match="loggers='tensorboard' requires a folder"):
        simclr().fit(labelled(8), 1, batch_size=4, loggers="tensorboard")


def test_a_monitor_measures_as_often_as_is_cheap():
    few, many = Monitor(labelled(10)), Monitor(labelled(21))
    assert [few.is_due(epoch, 5, 100) for epoch in range(5)] == [True] * 5
    assert [many.is_due(epoch, 5, 100) for epoch in range(5)] == [False, False, True, False, True]


def test_a_monitor_ends_no_run(tmp_path, capsys):
    one = Arrays(np.random.default_rng(0).integers(0, 255, (16, 16, 16, 3)).astype(np.uint8))
    alone = simclr().fit(one, 2, batch_size=8, quiet=True)
    run = simclr().fit(one, 2, batch_size=8, out=tmp_path, monitor=Monitor(labelled(12), every=1))
    assert same(run, alone)
    assert not any("knn_top1" in row for row in run.history)
    assert capsys.readouterr().err.count("not monitored: targets must have at least two classes, got only 0") == 2
    # Unlabeled images, as STL-10's, are no neighbours.
    some = Arrays(one_of(labelled(16)), [-1, 1] * 4 + [0, -1] * 4)
    run = simclr().fit(some, 1, batch_size=8, monitor=labelled(12), quiet=True)
    assert "knn_top1" in run.history[0]
    none = Arrays(one_of(labelled(16)), [-1] * 16)
    run = simclr().fit(none, 1, batch_size=8, monitor=labelled(12))
    assert "not monitored: no training image has a class" in capsys.readouterr().err
    # What is known before the first step is said there.
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for i, pixels in enumerate(one_of(labelled(8))):
        Image.fromarray(pixels).save(tmp_path / "photos" / "a" / f"{i}.png")
    steps = []
    options = {"batch_size": 8, "quiet": True, "on_step": lambda *_: steps.append(0)}
    with pytest.raises(ValueError, match="monitor must have training images of at least two classes, got only 'a'"):
        simclr().fit(tmp_path / "photos", 1, monitor=labelled(12), **options)
    with pytest.raises(ValueError, match="monitor must have at least one image"):
        simclr().fit(one, 1, monitor=Arrays(np.zeros((0, 16, 16, 3), np.uint8)), **options)
    with pytest.raises(ValueError, match="monitor requires 8 classes with the views, got None"):
        simclr().fit([([np.zeros((8, 16, 16, 3), np.float32)] * 2,)], 1, monitor=labelled(12), **options)
    assert steps == []


def one_of(images):
    return np.stack([images[i][0] for i in range(len(images))])


def test_a_damaged_image_of_the_monitor_follows_the_runs_policy(folder, capsys):
    files = [path.read_bytes() for path in sorted(folder.glob("*.png"))[:12]]
    damaged, classes = Files([*files[:11], files[11][:100]], [0, 1] * 6), [0, 1] * 6
    with pytest.raises(ValueError, match=r"files\[11\]"):
        simclr().fit(Files(files, classes), 2, batch_size=4, monitor=Monitor(damaged, 1), quiet=True)
    run = simclr().fit(damaged, 2, batch_size=4, on_error="report", monitor=Monitor(damaged, 1))
    assert ["knn_top1" in row for row in run.history] == [True, True]
    told = capsys.readouterr().err
    assert told.count("monitor: 1 of 12 images could not be read and are left out; files[11]: ") == 1
    loader = TwoViewLoader(damaged, SimCLRTransform(16, output="numpy"), 4, on_error="report")
    assert "knn_top1" in simclr().fit(loader, 1, monitor=damaged, quiet=True).history[0]
    run = simclr().fit(Files(files, classes), 1, batch_size=4, monitor=Monitor(damaged, on_error="report"), quiet=True)
    assert "knn_top1" in run.history[0]


def test_a_monitor_counts_the_classes_of_others_by_name():
    need("torch")
    from test_evaluation import Named
    from torch.utils.data import DataLoader

    class Views(Named):
        def __getitem__(self, i):
            image, target = super().__getitem__(i)
            return [np.float32(image) / 255] * 2, target

    loader = DataLoader(Views([0, 1, 2, 0, 1, 2, 0, 1], classes=["a", "b", "c"]), 4)
    monitor = Monitor(Named([0, 1], classes=["b", "c"]))
    assert "knn_top1" in simclr().fit(loader, 1, monitor=monitor, quiet=True).history[0]
    assert monitor.classes == ["a", "b", "c"]
    with pytest.raises(ValueError, match="class 'd' is not among the training classes a, b, c"):
        simclr().fit(loader, 1, monitor=Named([0, 1], classes=["b", "d"]), quiet=True)


def test_batches_of_others_are_what_the_settings_say(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.random((8, 16, 16, 3), np.float32)
    imagenet = IMAGENET_NORMALIZE
    normalized = (images - np.float32(imagenet["mean"])) / np.float32(imagenet["std"])
    steps = []
    options = {"epochs": 1, "quiet": True, "on_step": lambda *_: steps.append(0)}
    for views, message in (
        ([normalized] * 2, r"views must be in \[0, 1\], as normalize=None gives, got values from -2\.\d+ to 2\.\d+"),
        ([images, normalized], "as normalize=None gives"),
        ([images * 255] * 2, "as normalize=None gives"),
        ([images[:, :8, :8]] * 2, "views must have the size of input_size=16, got 8x8, .*give input_size=8"),
        (
            [images[:, :8].transpose(0, 3, 1, 2)] * 2,
            r"views must have the size of .*, got 8x16, .*give input_size=\(8, 16\)",
        ),
        ([images[..., :1]] * 2, r"\(8, 16, 16, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            simclr().fit([(views, [0, 1] * 4)], **options)
    with pytest.raises(
        ValueError, match=r"a batch must have at most batch_size=4 images, .*, got 8; .*give batch_size=8"
    ):
        simclr().fit([([images] * 2, [0, 1] * 4)], batch_size=4, **options)
    moco = sassl.MoCoV2("resnet18", small_stem=True, input_size=16, queue_size=16, splits=1, threads=2)
    with pytest.warns(UserWarning, match="they look unnormalized"):
        moco.fit([([images] * 2, 0)], 1, quiet=True)
    assert steps == []
    # What is told is what evaluation goes by.
    model = simclr(views={"normalize": imagenet}).fit([([normalized] * 2, 0)], **options)
    as_bytes = (images * 255).round().astype(np.uint8)
    found = evaluation.extract(model, as_bytes).features
    assert np.allclose(found, model.encode_normalized(normalized), atol=1e-2 * np.abs(found).max())
    # What no mean and deviation tell is not known, in its file too, and nothing is made up.
    model = simclr(views={"normalize": "not known"}).fit([([images * 7 - 3] * 2, 0)], out=tmp_path / "run", **options)
    assert Config.load(tmp_path / "run" / "config.json").data.views["normalize"] == "not known"
    model = Pretraining.load(tmp_path / "run" / "checkpoint-00001-0000000.safetensors", threads=2)
    with pytest.raises(
        ValueError, match="normalize is 'not known', as the model was trained on batches from another loader"
    ):
        evaluation.extract(model, as_bytes)
    rule = evaluation.Preprocessing(16, interpolation="bicubic", normalize=None, channels_last=True)
    found = evaluation.extract(model, as_bytes, preprocessing=rule).features
    assert np.array_equal(found, model.encode_normalized(as_bytes / 255))
    with pytest.raises(ValueError, match="monitor must be left out with normalize='not known'"):
        model.fit([([images] * 2, [0, 1] * 4)], 1, monitor=labelled(8), quiet=True)
    with pytest.raises(
        ValueError, match="normalize must be a dict or None for views that are computed here, got 'not known'"
    ):
        model.fit(labelled(8), 1, batch_size=8, quiet=True)


@pytest.mark.parametrize(
    ("kind", "own", "n"),
    [
        (sassl.MoCoV2, {"queue_size": 6, "splits": 1}, 10),
        (sassl.MoCoV2, {"queue_size": 2, "splits": 1, "symmetric": True}, 10),
        (sassl.SimCLR, {}, 10),
        (sassl.BYOL, {}, 10),
        (sassl.MoCoV2, {"queue_size": 64, "splits": 2}, 9),
        (sassl.MoCoV2, {"queue_size": 64, "splits": 2}, 10),
        (sassl.SimCLR, {}, 9),
        (sassl.BYOL, {}, 9),
        (sassl.SimSiam, {}, 9),
    ],
)
def test_a_smaller_last_batch_is_taken_or_refused_before_the_first_step(kind, own, n, tmp_path):
    options = {"small_stem": True, "input_size": 16, "dim": 16, "threads": 2}
    model, steps = kind("resnet18", **own, **options), []
    loader = TwoViewLoader(one_of(labelled(n)), METHODS[kind.name].recipe(16, output="numpy"), 4, drop_last=False)
    size = n % 4
    fits = size >= 2 * own.get("splits", 1)
    batches = [
        (views, targets) for views, targets, _ in TwoViewLoader(loader.source, loader.transform, 4, drop_last=False)
    ]
    run = {"epochs": 3, "quiet": True, "on_step": lambda _, values: steps.append(values["lr"])}
    if not fits:
        for data in (loader, batches):
            with pytest.raises(ValueError, match=rf"the last batch has {size} images, the others 4: .*drop_last=True"):
                model.fit(data, out=tmp_path / "run", **run)
        assert steps == []
        assert not (tmp_path / "run").exists()
        return
    model.fit(loader, **run)
    assert len(steps) == 9
    # The rate is that of the others.
    assert steps == [rates(model.run, step, 3)[0] for step in range(9)]
    assert model.run.data.batch_size == 4
    assert all(np.isfinite(row["loss"]) for row in model.history)


def test_the_last_batch_of_torchs_loader_is_known(tmp_path):
    need("torch")
    from torch.utils.data import DataLoader

    items = [([np.float32(image) / 255] * 2, 0) for image in one_of(labelled(9))]
    with pytest.raises(ValueError, match="the last batch has 1 images, the others 4"):
        simclr().fit(DataLoader(items, 4), 1, quiet=True)
    assert len(simclr().fit(DataLoader(items, 4, drop_last=True), 1, quiet=True).history) == 1


def test_mocos_queue_goes_around():
    model = sassl.MoCoV2("resnet18", small_stem=True, input_size=16, dim=8, queue_size=5, splits=1, threads=2)
    rng = np.random.default_rng(0)
    before, place = model.engine.state()["method.queue"], 0
    for n in (3, 4, 7):
        left, right = (rng.random((n, 16, 16, 3), np.float32) for _ in range(2))
        model.engine.step(left, right, Rates(0.0, 0.0, 1.0))
        after = model.engine.state()
        new = {(place + i) % 5 for i in range(n)}
        is_new = [not np.array_equal(*rows) for rows in zip(before, after["method.queue"], strict=True)]
        assert is_new == [i in new for i in range(5)]
        before, place = after["method.queue"], (place + n) % 5
        assert after["method.queue_pointer"] == place


class Sized:
    """Batches of which `len` says another number than there are."""

    batch_size = 4

    def __init__(self, batches, told):
        self.batches, self.told = batches, told

    def __len__(self):
        return self.told

    def __iter__(self):
        return iter(self.batches)


def test_a_loader_whose_len_is_not_what_comes(capfd):
    rng = np.random.default_rng(0)
    batches = [([rng.random((4, 16, 16, 3), np.float32)] * 2, 0) for _ in range(3)]
    for told, said in ((2, "more than 2; the rest is ignored"), (4, "3; the learning rate continues as if")):
        lrs, model = [], simclr(warmup_epochs=0)
        model.fit(Sized(batches, told), 2, quiet=True, on_step=lambda _, values, lrs=lrs: lrs.append(values["lr"]))
        lines = capfd.readouterr().err
        assert all(f"epoch {n}: len(Sized) is {told} batches, but it yielded {said}" in lines for n in (1, 2))
        # No step's rate is taken twice.
        came = min(told, 3)
        plan = [rates(model.run, epoch * told + step, told)[0] for epoch in range(2) for step in range(came)]
        assert lrs == plan
        assert lrs == sorted(set(lrs), reverse=True)
    with pytest.raises(
        TypeError, match=r"data must have len\(\), by which the learning rate's schedule goes, got generator"
    ):
        simclr().fit((batch for batch in batches), 1, batch_size=4)
    with pytest.raises(ValueError, match="data must have at least one batch, got Sized"):
        simclr().fit(Sized([], 0), 1)

    class Once(Sized):
        def __next__(self):
            raise StopIteration

    with pytest.raises(ValueError, match="data must be iterable anew in each of 2 epochs, got Once, an iterator"):
        simclr().fit(Once(batches, 3), 2)

    class Nameless(Sized):
        batch_size = None

    with pytest.raises(ValueError, match=r"batch_size is required, .* Nameless does not have it"):
        simclr().fit(Nameless(batches, 3), 1)
    assert simclr().fit(Nameless(batches, 3), 1, batch_size=4, quiet=True).run.data.batch_size == 4


def test_settings_that_no_memory_holds():
    for make, message in (
        (lambda: simclr(hidden_dim=65536, layers=3), r"hidden_dim=65536, dim=16, layers=3 must give at most .* 16 GiB"),
        (
            lambda: sassl.BYOL("resnet18", hidden_dim=65536, dim=65536),
            r"hidden_dim=65536, dim=65536 must give at most .* 48 GiB",
        ),
        (lambda: simclr(layers=10**9, hidden_dim=2), r"layers=1000000000 must give at most 1,073,741,824"),
        (lambda: sassl.MoCoV2("resnet18", dim=65536), r"queue_size=65536, dim=65536 must give at most .* 16 GiB"),
        (lambda: sassl.MoCoV2("resnet50", dim=10**6, queue_size=2), r"dim=1000000 must give at most .*"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_counts_are_whole_numbers_where_others_read_them(tmp_path):
    need("torch")
    import torch
    from safetensors.torch import load_file

    model = simclr().fit(labelled(16), 1, batch_size=4, quiet=True)
    model.export_backbone(tmp_path / "a.safetensors")
    model.export_backbone(tmp_path / "a.pth")
    ours = {name: torch.from_numpy(tensor) for name, tensor in model.state_dict().items()}
    for tensors in (load_file(tmp_path / "a.safetensors"), torch.load(tmp_path / "a.pth"), ours):
        counts = {name: tensor for name, tensor in tensors.items() if "num_batches_tracked" in name}
        assert len(counts) == 20
        # Of both views.
        assert {(tensor.dtype, tensor.shape, tensor.item()) for tensor in counts.values()} == {(torch.int64, (), 4)}
        assert {tensor.dtype for name, tensor in tensors.items() if name not in counts} == {torch.float32}
    before = model.engine.state()
    model.engine.load_backbone(model.state_dict())
    assert all(np.array_equal(before[name], tensor) for name, tensor in model.engine.state().items())


def test_errors_of_callbacks_are_the_users(folder, tmp_path):
    def failed(*_):
        raise KeyError("mine")

    for name in ("on_step", "on_epoch"):
        with pytest.raises(KeyError, match="mine") as raised:
            simclr().fit(folder, 2, batch_size=8, out=tmp_path / name, quiet=True, **{name: failed})
        assert raised.traceback[-1].name == "failed"
        resumed = simclr().fit(folder, 2, batch_size=8, out=tmp_path / name, resume=True, quiet=True)
        assert same(resumed, simclr().fit(folder, 2, batch_size=8, quiet=True))


NOTEBOOK = """
from sassl.pretraining import History
history = History([{"epoch": e, "loss": 5.0 - e, "lr": 0.1, "images_per_second": 9.0} for e in (1, 2, 3)])
history.plot()
"""


def test_a_plot_shows_in_a_notebook(tmp_path):
    need("nbclient")
    need("ipykernel")
    need("matplotlib")
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (shown,) = book.cells[0].outputs
    with Image.open(io.BytesIO(base64.b64decode(shown["data"]["image/png"]))) as image:
        assert image.size[0] > 500
    history = History([{"epoch": 1, "loss": 2.0}])
    assert pickle.loads(pickle.dumps(history.plot()))._repr_png_() == history.plot()._repr_png_()


def test_progress_in_a_log_and_in_a_terminal(monkeypatch, capsys):
    need("tqdm")
    monkeypatch.setattr(progress, "_FIRST", 0)
    simclr().fit(labelled(16), 2, batch_size=8)
    said = capsys.readouterr().err.splitlines()
    lines = [line for line in said if line.startswith("epoch ")]
    assert lines[0].startswith("epoch 1/2, 25.0%: loss ")
    assert "images/s, 0:0" in lines[0]
    assert lines[2].startswith("epoch 1/2: loss ")
    assert "images_per_second" in lines[2]
    assert lines[-1].startswith("epoch 2/2: loss ")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    simclr().fit(labelled(16), 1, batch_size=8)
    shown = capsys.readouterr().err
    assert "epoch 1/1" in shown
    assert "100%" in shown
    assert "loss" in shown
    assert "lr" in shown


def test_checkpoints_within_an_epoch(folder, tmp_path):
    straight = simclr().fit(folder, 2, batch_size=4, quiet=True)
    steps = []

    def stop(_, values):
        steps.append(values)
        if len(steps) == 9:
            raise RuntimeError("as asked")

    stopped = simclr()
    with pytest.raises(RuntimeError):
        stopped.fit(folder, 2, batch_size=4, out=tmp_path, checkpoint_every=2, on_step=stop, quiet=True)
    names = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert names == ["checkpoint-00001-0000000.safetensors", "checkpoint-00001-0000002.safetensors"]
    resumed = simclr().fit(folder, 2, batch_size=4, out=tmp_path, resume=True, quiet=True)
    assert same(straight, resumed)
    strip = [{name: x for name, x in row.items() if name not in TIMES} for row in straight.history]
    assert strip == [{name: x for name, x in row.items() if name not in TIMES} for row in resumed.history]


LIMITED = """
import resource, sys, sassl
model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=1)
def limit(*_):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
model.fit(sys.argv[1], 3, batch_size=8, out=sys.argv[2], on_epoch=limit)
"""


def test_a_full_disk_leaves_the_checkpoint_before(folder, tmp_path):
    run = [sys.executable, "-c", LIMITED, str(folder), str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 1
    assert "OSError" in done.stderr.splitlines()[-1]
    assert "checkpoint-00003" in done.stderr.splitlines()[-1]
    told = [line for line in done.stderr.splitlines() if "no checkpoint after epoch 2" in line]
    assert len(told) == 1
    assert "checkpoint-00002" in told[0]
    assert told[0].endswith("checkpoint-00001-0000000.safetensors is kept")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-00001-0000000.safetensors", "config.json", "log.csv", "run.json"]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2
    resumed = simclr(threads=1).fit(folder, 3, batch_size=8, out=tmp_path, resume=True, quiet=True)
    assert same(resumed, simclr(threads=1).fit(folder, 3, batch_size=8, quiet=True))


def test_folders_that_cannot_be(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        simclr().fit(folder, 1, batch_size=8, out=tmp_path / "file", quiet=True)
    simclr().fit(folder, 2, batch_size=8, out=tmp_path / "run", quiet=True)
    with pytest.raises(
        ValueError, match=r"epochs must be 2 as in the run in .*, got 1; a run may be prolonged, but not shortened"
    ):
        simclr().fit(folder, 1, batch_size=8, out=tmp_path / "run", resume=True, quiet=True)
    with pytest.raises(ValueError, match=r"style must be .* as in the run in"):
        simclr(style="default").fit(folder, 2, batch_size=8, out=tmp_path / "run", resume=True, quiet=True)
    other = Arrays(np.zeros((24, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match=r"checkpoint-.*of other data"):
        simclr().fit(other, 2, batch_size=8, out=tmp_path / "run", resume=True, quiet=True)
    assert not (tmp_path / "run" / ".sassl.lock").exists()


def test_a_disk_that_is_full_for_a_while_ends_no_run(folder, tmp_path, monkeypatch, capsys):
    straight = simclr().fit(folder, 3, batch_size=8, quiet=True)
    save, model = Folder.checkpoint, simclr()
    full = OSError(errno.ENOSPC, "No space left on device", "a checkpoint")

    def checkpoint(self, engine, metadata, keep):
        if metadata["epoch"] in fails:
            raise full
        save(self, engine, metadata, keep)

    monkeypatch.setattr(Folder, "checkpoint", checkpoint)
    fails = {"2"}
    model.fit(folder, 3, batch_size=8, out=tmp_path / "run", quiet=True)
    assert "No space left on device: 'a checkpoint'" in capsys.readouterr().err
    assert same(model, straight)
    assert [row["loss"] for row in model.history] == [row["loss"] for row in straight.history]
    names = sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))
    assert names == ["checkpoint-00001-0000000.safetensors", "checkpoint-00003-0000000.safetensors"]
    # With nothing to go back to the run ends at once, and the end of a run needs its checkpoint.
    for fails, epochs in (({"1"}, 1), ({"3"}, 3)):  # noqa: B007
        model, out = simclr(), tmp_path / str(epochs)
        with pytest.raises(OSError, match="No space left on device"):
            model.fit(folder, 3, batch_size=8, out=out, quiet=True)
        assert len(model.history) == epochs
        assert not (out / ".sassl.lock").exists()


def test_a_log_that_cannot_be_written_ends_no_run(folder, tmp_path, capsys):
    def occupy(*_):
        if (tmp_path / "log.csv").is_file():
            (tmp_path / "log.csv").unlink()
            (tmp_path / "log.csv").mkdir()

    model = simclr().fit(folder, 2, batch_size=8, out=tmp_path, quiet=True, on_epoch=occupy)
    assert len(model.history) == 2
    assert "log.csv: exists and is a folder, a device or a pipe" in capsys.readouterr().err


def test_a_log_has_no_row_that_no_checkpoint_knows(folder, tmp_path, monkeypatch):
    def die(*_):
        raise SystemExit

    # The process ends after a checkpoint, and before its row is in the log.
    with monkeypatch.context() as patch:
        patch.setattr(Epochs, "epoch", die)
        with pytest.raises(SystemExit):
            simclr().fit(folder, 2, batch_size=8, out=tmp_path, quiet=True)
    assert not (tmp_path / "log.csv").exists()
    # Rows that something else left behind.
    (tmp_path / "log.csv").write_text("epoch,loss\n1,1\n2,1\n")

    def look(*_):
        assert len((tmp_path / "log.csv").read_text().splitlines()) == 2
        die()

    with pytest.raises(SystemExit):
        simclr().fit(folder, 2, batch_size=8, out=tmp_path, resume=True, quiet=True, on_step=look)
    model = simclr().fit(folder, 2, batch_size=8, out=tmp_path, resume=True, quiet=True)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert same(model, simclr().fit(folder, 2, batch_size=8, quiet=True))


def test_copies_of_checkpoints_neither_rewind_nor_get_lost(folder, tmp_path):
    def stop(_, row):
        if row["epoch"] == 3:
            raise RuntimeError("as asked")

    with pytest.raises(RuntimeError):
        simclr().fit(folder, 4, batch_size=8, out=tmp_path, keep=9, quiet=True, on_epoch=stop)
    second, third = (tmp_path / f"checkpoint-0000{epoch}-0000000.safetensors" for epoch in (2, 3))
    copies = [tmp_path / name for name in ("checkpoint-best.safetensors", "checkpoint-00009.safetensors")]
    for copy in copies:
        copy.write_bytes(second.read_bytes())
    renamed = tmp_path / "checkpoint-00009-0000000.safetensors"
    second.rename(renamed)
    with pytest.raises(
        ValueError, match=r"checkpoint-00009-0000000\.safetensors: is of epoch 2, batch 0, which its name"
    ):
        simclr().fit(folder, 4, batch_size=8, out=tmp_path, resume=True, quiet=True)
    assert renamed.exists()
    renamed.rename(second)
    elsewhere = tmp_path / "elsewhere"
    third.rename(elsewhere)
    third.symlink_to(elsewhere)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"lr must be .* as in .*checkpoint-00003-0000000\.safetensors, got 0\.5"):
        simclr(lr=0.5).fit(folder, 4, batch_size=8, out=tmp_path, resume=True, quiet=True)
    first = []
    options = {"batch_size": 8, "out": tmp_path, "resume": True, "keep": 1, "quiet": True}
    resumed = simclr().fit(folder, 4, on_epoch=lambda _, row: first.append(row["epoch"]), **options)
    assert first == [4]
    assert same(resumed, simclr().fit(folder, 4, batch_size=8, quiet=True))
    names = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    own = ["checkpoint-00003-0000000.safetensors", "checkpoint-00004-0000000.safetensors"]
    assert names == sorted([*own, *(copy.name for copy in copies)])
    assert third.is_symlink()


def test_a_folder_keeps_what_is_not_the_runs(folder, tmp_path):
    (tmp_path / "mine").write_text("mine")
    for name in (".sassl.lock", "config.json", "log.csv"):
        for kind in ("text", "link", "folder"):
            out = tmp_path / f"{name}-{kind}"
            out.mkdir()
            if kind == "text":
                (out / name).write_text("mine")
            elif kind == "link":
                (out / name).symlink_to(tmp_path / "mine")
            else:
                (out / name).mkdir()
            with pytest.raises(OSError, match=re.escape(name)):
                simclr().fit(folder, 1, batch_size=8, out=out, quiet=True)
            assert [path.name for path in out.iterdir()] == [name]
            assert kind == "folder" or (out / name).read_text() == "mine"
            assert (out / name).is_symlink() == (kind == "link")
    pipe = tmp_path / "pipe"
    pipe.mkdir()
    os.mkfifo(pipe / ".sassl.lock")
    with pytest.raises(FileExistsError, match="has the name of a run's lock, but is none"):
        simclr().fit(folder, 1, batch_size=8, out=pipe, quiet=True)
    # A folder that is reached by a link is the user's own way to name it.
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / ".sassl-0123456789abcdef.part").symlink_to(tmp_path / "mine")
    simclr().fit(folder, 1, batch_size=8, out=tmp_path / "link", quiet=True)
    assert (tmp_path / "real" / ".sassl-0123456789abcdef.part").is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_a_run_says_so(number, tmp_path, monkeypatch, capsys):
    import fcntl

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    # Nor is what another process may be writing deleted there.
    (tmp_path / ".sassl-0123456789abcdef.part").write_text("")
    simclr().fit(labelled(16), 1, batch_size=8, out=tmp_path, quiet=True)
    assert f"{tmp_path}: not locked ({os.strerror(number)}); use it from one process only" in capsys.readouterr().err
    names = [".sassl-0123456789abcdef.part", "checkpoint-00001-0000000.safetensors", "config.json", "log.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


class Stream:
    """Takes some writes, and then raises; without isatty, encoding and what else files have."""

    def __init__(self, writes, error):
        self.writes, self.error, self.text = writes, error, ""

    def write(self, text):
        self.writes -= 1
        if self.writes < 0:
            raise self.error
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("bar", [False, True])
@pytest.mark.parametrize("kind", ["broken pipe", "full disk", "closed", "none", "tee", "strange"])
def test_lines_that_cannot_be_written_end_no_run(kind, bar, tmp_path, monkeypatch):
    closed = io.StringIO()
    closed.close()
    stream = {
        "broken pipe": Stream(3, OSError(errno.EPIPE, "Broken pipe")),
        "full disk": Stream(3, OSError(errno.ENOSPC, "No space left on device")),
        "closed": closed,
        "none": None,
        "tee": Stream(10**9, None),
        "strange": Stream(0, RuntimeError("reentrant call")),
    }[kind]
    if bar:
        need("tqdm")
        monkeypatch.setattr(terminal, "is_watched", lambda: True)
    monkeypatch.setattr(sys, "stderr", stream)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    model = simclr().fit(labelled(16), 3, batch_size=8, out=tmp_path)
    assert len(model.history) == 3
    assert (tmp_path / "checkpoint-00003-0000000.safetensors").exists()
    assert out.getvalue() == ""
    if kind == "tee":
        assert "epoch 3/3: loss " in stream.text


def test_a_log_of_another_program_stays(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,accuracy,loss\n0,0.5,1.0\n")
    with pytest.raises(FileExistsError, match=r"log.csv: not of a run"):
        simclr().fit(labelled(16), 1, batch_size=8, out=tmp_path, quiet=True)
    assert (tmp_path / "log.csv").read_text().startswith("epoch,accuracy")
    run = tmp_path / "run"
    simclr().fit(labelled(16), 1, batch_size=8, out=run, quiet=True)
    for path in run.glob("checkpoint-*"):
        path.unlink()
    with pytest.raises(FileExistsError, match="has a run"):
        simclr().fit(labelled(16), 1, batch_size=8, out=run, quiet=True)


def test_a_signal_after_the_last_step_is_heard(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        simclr().fit(
            labelled(16),
            1,
            batch_size=8,
            out=tmp_path,
            quiet=True,
            on_epoch=lambda *_: os.kill(os.getpid(), signal.SIGTERM),
        )
    assert len(list(tmp_path.glob("checkpoint-*"))) == 1


def test_a_run_goes_on_with_batches_of_its_own_kind(tmp_path):
    rng = np.random.default_rng(0)
    batches = [([rng.random((4, 16, 16, 3), np.float32)] * 2, 0) for _ in range(4)]
    simclr().fit(batches, 1, batch_size=4, out=tmp_path, quiet=True)
    images = rng.integers(0, 256, (16, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="of other data; its batches are from another loader"):
        simclr().fit(images, 1, batch_size=4, out=tmp_path, quiet=True, resume=True)


NOHUP = """
import os, signal, sys, sassl, numpy as np
signal.signal(signal.SIGHUP, signal.SIG_IGN)
model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=1)
hang = lambda *_: os.kill(os.getpid(), signal.SIGHUP)
images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
model.fit(images, 2, batch_size=4, out=sys.argv[1], on_step=hang)
assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
"""


def test_a_run_that_ignores_hang_ups_goes_on(tmp_path):
    done = subprocess.run([sys.executable, "-c", NOHUP, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_that_comes_again_still_leaves_a_checkpoint(number, tmp_path):
    def hang(*_):
        for _ in range(3):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        simclr().fit(labelled(16), 2, batch_size=8, out=tmp_path, quiet=True, on_step=hang)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-00000-0000001.safetensors"]
    assert signal.getsignal(number) == before


def test_a_handler_of_the_users_stays_the_users(tmp_path):
    asked = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        model = simclr().fit(
            labelled(16),
            1,
            batch_size=8,
            out=tmp_path,
            quiet=True,
            on_step=lambda *_: os.kill(os.getpid(), signal.SIGTERM),
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(model.history) == 1
    assert asked == [signal.SIGTERM] * 2


FOREIGN = """
import ctypes, os, signal, sys, sassl, numpy as np
heard = []
handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(heard.append)
libc = ctypes.CDLL(None)
libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
libc.signal(signal.SIGTERM, ctypes.cast(handler, ctypes.c_void_p))
signal.getsignal(signal.SIGTERM)
end = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=1)
signal.getsignal = lambda number, known=signal.getsignal: None if number == signal.SIGTERM else known(number)
images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
model.fit(images, 1, batch_size=4, on_step=end)
end()
assert heard == [signal.SIGTERM] * 3, heard
"""


def test_handlers_that_python_did_not_set_stay():
    done = subprocess.run([sys.executable, "-c", FOREIGN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be(folder, tmp_path):
    with pytest.raises(
        TypeError, match="learning_rte=1 is not a setting of SimCLR on resnet18 by lars; there are dim, hidden_dim"
    ):
        simclr(learning_rte=1)
    for settings, message in (
        ({"lr": 0}, "lr must be a number > 0, got 0"),
        ({"scaling": "cube"}, "scaling must be .*, got 'cube'"),
        ({"warmup_epochs": -1}, "warmup_epochs must be .*, got -1"),
        ({"small_stem": 1}, "settings of resnet18 are invalid: invalid type: integer `1`, expected a boolean"),
        ({"temperature": -1}, "temperature must be a number > 0, got -1"),
        ({"views": 3}, "views must be a dict, or Views, got 3"),
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            simclr(**settings)
    with pytest.raises(TypeError, match=r"views .* are invalid: .*there is no 'min_scal'"):
        simclr(views={"min_scal": 0.1})
    with pytest.raises(TypeError, match="styles must be 'default', 'batch'"):
        simclr(style=3)
    with pytest.raises(ValueError, match="epochs must be an integer >= 1, got 0"):
        simclr().fit(folder, 0)
    with pytest.raises(ValueError, match=r"batch_size must be at most the source's .*, got 25"):
        simclr().fit(folder, 1, batch_size=25)
    with pytest.raises(
        ValueError, match="splits must divide the batch of 6 into equal parts of at least 2 images, got 8"
    ):
        sassl.MoCoV2("resnet18", small_stem=True, input_size=16).fit(folder, 1, batch_size=6, out=tmp_path / "moco")
    assert not (tmp_path / "moco").exists()
    for model in (simclr(), sassl.BYOL("resnet18", small_stem=True, input_size=16)):
        with pytest.raises(ValueError, match=r"batch_size must be an integer >= 2, .*, got 1"):
            model.fit(folder, 1, batch_size=1, quiet=True)
    with pytest.raises(ValueError, match=r"path must be a .safetensors or .pth file, got"):
        simclr().export_backbone(tmp_path / "a.bin")
    held = Folder(tmp_path / "held", False, simclr().config)
    with pytest.raises(FileExistsError, match=f"process {os.getpid()} is at this run"):
        simclr().fit(folder, 1, batch_size=8, out=tmp_path / "held", quiet=True)
    held.close()
    # The process that wrote it is gone, and its number is another's.
    (tmp_path / "held" / ".sassl.lock").write_text("1")
    simclr().fit(folder, 1, batch_size=8, out=tmp_path / "held", quiet=True)
    for settings, message in (
        ({"dim": "abc"}, "dim must be an integer >= 0, got 'abc'"),
        ({"dim": 1.5}, "dim must be an integer >= 0, got 1.5"),
        ({"weight_decay": float("nan")}, "weight_decay must be a finite number, got nan"),
        ({"optimizer": 3}, "optimizer must be one of 'sgd', "),
    ):
        with pytest.raises(ValueError, match=message):
            simclr(**settings)
    with pytest.raises(TypeError, match=r"style .* is invalid: there is no 'pp'"):
        Pretraining.from_config(PRESETS["simclr"].changed(style={"pp": 1}))
    with pytest.raises(TypeError, match=r"Pretraining is the base of .*; create one of these"):
        Pretraining("resnet18")
    with pytest.raises(ValueError, match="resume=True requires a folder"):
        simclr().fit(folder, 1, resume=True)
    with pytest.raises(TypeError, match="on_epoch must be a function, got str"):
        simclr().fit(folder, 1, on_epoch="x")
    with pytest.raises(ValueError, match="batch_size must be an integer >= 1, got 0"):
        simclr().encode_normalized(np.zeros((1, 16, 16, 3), np.float32), batch_size=0)
    with pytest.raises(ValueError, match="image 0 of the images must have finite values, got NaN"):
        simclr().encode_normalized(np.full((1, 16, 16, 3), np.nan, np.float32))


def test_classes_are_known_by_their_names(folder, tmp_path):
    images = sorted(folder.glob("*.png"))
    for part, classes in (("train", "abc"), ("val", "bc"), ("other", "bd")):
        for i, name in enumerate(classes):
            (tmp_path / part / name).mkdir(parents=True)
            for image in images[4 * i : 4 * i + 4]:
                (tmp_path / part / name / image.name).write_bytes(image.read_bytes())
    train, val, other = (ImageFolder(tmp_path / part) for part in ("train", "val", "other"))
    model = simclr()
    assert evaluation.extract(model, val, classes=train.classes).targets.tolist() == [1] * 4 + [2] * 4
    with pytest.raises(ValueError, match="class 'd' is not among the training classes a, b, c"):
        evaluation.extract(model, other, classes=train.classes)
    with pytest.raises(ValueError, match="class 'd'"):
        model.fit(train, 1, batch_size=4, monitor=Monitor(other), quiet=True)
    monitor = Monitor(val)
    model.fit(train, 1, batch_size=4, monitor=monitor, quiet=True)
    assert monitor.classes == ["a", "b", "c"]
    with pytest.raises(ValueError, match="data must have at least one image"):
        evaluation.extract(model, Arrays(np.zeros((0, 16, 16, 3), np.uint8)))


def test_an_image_that_cannot_be_read_is_told_of(folder, tmp_path, capsys):
    for i, image in enumerate(sorted(folder.glob("*.png"))[:8]):
        (tmp_path / image.name).write_bytes(image.read_bytes() if i else b"no image")
    with pytest.raises(ValueError, match=r"00\.png"):
        simclr().fit(tmp_path, 1, batch_size=4, quiet=True)
    simclr().fit(tmp_path, 2, batch_size=4, on_error="report")
    told = capsys.readouterr().err
    assert told.count("replaced by another image") == 1
    assert "00.png: " in told


def test_a_loaders_transform_is_the_runs(folder):
    transform = SimCLRTransform(24, output="numpy", cj_strength=0.3, style=SASSL(p=0.5))
    model = simclr()
    model.fit(TwoViewLoader(folder, transform, 8), 1, quiet=True)
    assert model.transform is transform
    data = model.run.data
    assert (data.input_size, data.style["p"], data.views) == (24, 0.5, {"cj_strength": 0.3})
    # The next run is by the model's own settings again.
    assert model.config == simclr().config
    model.fit(folder, 1, batch_size=8, quiet=True)
    assert model.transform.shape == (16, 16, 3)
    assert model.run.data.views == {}


def test_what_a_refused_run_was_given_is_not_kept(folder, tmp_path):
    model = simclr()
    before = model.transform, model.run
    (tmp_path / "config.json").write_text("another program's")
    loader = TwoViewLoader(folder, SimCLRTransform(24, output="numpy"), 8)
    with pytest.raises(FileExistsError, match=r"config.json: not of a run"):
        model.fit(loader, 1, out=tmp_path, quiet=True)
    assert (model.transform, model.run) == before


def test_settings_of_another_recipes_views_come_back(folder, tmp_path):
    normalize = {"mean": np.full(3, 0.5), "std": np.full(3, 0.25)}
    transform = sassl.transforms.SimCLRTransform(48, normalize=normalize, sigmas=np.array([0.1, 1.0]), output="numpy")
    model = sassl.MoCoV2("resnet18", small_stem=True, queue_size=16, dim=16, splits=1, input_size=48, threads=2)
    model.fit(TwoViewLoader(folder, transform, 8), 1, quiet=True)
    assert model.run.data.views["kernel_size"] == 5
    assert model.run.data.views["normalize"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    again = Pretraining.from_config(model.run)
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    drawn = transform.sample(60, 60)
    for one, other in zip(
        transform.apply_params(image, drawn), again.transform.apply_params(image, drawn), strict=True
    ):
        assert np.array_equal(one, other.transpose(2, 0, 1))
    with pytest.raises(TypeError, match="a value must be a number, a string"):
        simclr(views={"normalize": object()})


def test_a_warm_up_goes_by_steps():
    config = PRESETS["moco-v2"].changed(epochs=4, lr=1.0, warmup_epochs=1, schedule_by="epoch")
    lrs = [rates(config, step, 4)[0] for step in range(16)]
    assert lrs[:5] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert len(set(lrs[4:8])) == 1


def test_command_line(folder, tmp_path):
    run = [sys.executable, "-m", "sassl", "pretrain", "simclr", "--data", str(folder), "--out", str(tmp_path / "run")]
    run += ["--arch", "resnet18", "--epochs", "1", "--batch-size", "8", "--input-size", "16", "--style", "off"]
    settings = ["small_stem=true", "hidden_dim=32", "dim=16"]
    done = subprocess.run([*run, *(f"--set={text}" for text in settings)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 epochs, loss" in done.stdout
    assert "method:    simclr; dim=16; hidden_dim=32; " in done.stderr
    assert "style:     off\n" in done.stderr
    assert (tmp_path / "run" / "backbone.safetensors").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "backbone.safetensors").touch()
    other = [str(tmp_path / "other") if text == str(tmp_path / "run") else text for text in run]
    done = subprocess.run([*other, *(f"--set={text}" for text in settings)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "backbone.safetensors: would be overwritten at the end" in done.stderr
    checkpoint = max((tmp_path / "run").glob("checkpoint-*"))
    export = [sys.executable, "-m", "sassl", "export", str(checkpoint), "--out", str(tmp_path / "net.safetensors")]
    done = subprocess.run(export, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resnet18, simclr, 1 epochs" in done.stdout
    done = subprocess.run([*run, "--set=hiden_dim=3"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "is not a setting of SimCLR on resnet18 by lars; did you mean hidden_dim?" in done.stderr
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "good.json").write_text(
        json.dumps({**settings, "schedule": {**settings["schedule"], "epochs": 2}, "seed": 3})
    )
    (tmp_path / "bad.json").write_text(json.dumps({**settings, "method": {**settings["method"], "tempratur": 2}}))
    (tmp_path / "none.json").write_text("{")
    base = [*run[:4], "--data", str(folder), "--out", str(tmp_path / "two")]
    done = subprocess.run([*base, "--config", str(tmp_path / "good.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 epochs, loss" in done.stdout
    more = [*run[:4], "--data", str(folder), "--out", str(tmp_path / "run"), "--resume", "--epochs", "1"]
    done = subprocess.run(more, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 epochs, loss" in done.stdout
    for file, message in (("bad", "did you mean temperature"), ("none", "is not JSON"), ("missing", "No such file")):
        done = subprocess.run([*base, "--config", str(tmp_path / f"{file}.json")], capture_output=True, text=True)
        assert done.returncode == 1
        assert f"{file}.json: " in done.stderr
        assert message in done.stderr
    for arguments, message in (
        (["--data", "x", "--out", "y"], "give either a preset or --config"),
        (["--demo", "--epochs", "1"], "--demo takes only --out and --threads, not epochs"),
        (["simclr", "--data", "x", "--out", "y", "--monitor-every", "2"], "--monitor-every requires --monitor"),
        (
            ["simclr", "--data", str(folder), "--out", "y", "--set=style=null"],
            "give --style, or --set style.NAME=VALUE",
        ),
        (
            ["simclr", "--data", str(folder), "--out", "y", "--style=off", "--set=style.p=1"],
            "--set style.p requires a style",
        ),
        (["simclr", "--out", "x"], "--data is missing"),
        (["simclr", "--data", str(folder)], "--out is missing"),
    ):
        done = subprocess.run([*run[:4], *arguments], capture_output=True, text=True)
        assert done.returncode == 1
        assert message in done.stderr

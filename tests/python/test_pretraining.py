"""Whole runs: folders and batches in, checkpoints and backbones out; stopped, killed, resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import sassl
from conftest import need
from PIL import Image
from sassl.data import TwoViewLoader
from sassl.pretraining import PRESETS, Config
from sassl.transforms import SimCLRTransform
from sassl.transforms.plain import SASSL

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
    first, second = one._trainer.state(), other._trainer.state()
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", [sassl.MoCoV2, sassl.BYOL, sassl.SimCLR])
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
    assert Config(**json.loads((tmp_path / "run" / "config.json").read_text())) == model.config
    assert not (tmp_path / "run" / "running").exists()
    model.save(tmp_path / "model.safetensors")
    loaded = kind.load(tmp_path / "model.safetensors", threads=2)
    assert same(model, loaded)
    assert loaded.history == model.history
    images = np.random.default_rng(0).random((5, 16, 16, 3), np.float32)
    assert np.array_equal(model.encode(images), loaded.encode(images, batch_size=2)) or np.allclose(
        model.encode(images), loaded.encode(images, batch_size=2), atol=1e-5
    )
    model.export_backbone(tmp_path / "backbone.safetensors")
    assert (tmp_path / "backbone.safetensors").stat().st_size > 4e7
    others = [other for other in (sassl.MoCoV2, sassl.BYOL, sassl.SimCLR) if other is not kind]
    with pytest.raises(ValueError, match=f"a checkpoint of {kind.__name__}, not of {others[0].__name__}"):
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
                assert np.allclose(one(images).numpy(), model.encode(images.numpy()), rtol=1e-3, atol=1e-4)


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
    with pytest.raises(ValueError, match=r"lr = 0.5: the run in"):
        simclr(lr=0.5).fit(folder, 3, batch_size=8, out=tmp_path, resume=True, quiet=True)
    resumed = simclr().fit(folder, 3, batch_size=8, out=tmp_path, resume=True, quiet=True)
    assert same(straight, resumed)
    assert [row["loss"] for row in straight.history] == [row["loss"] for row in resumed.history]
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2


RUN = """
import sys, sassl
from sassl.pretraining import SimCLR
model = SimCLR("resnet18", small_stem=True, hidden_dim=32, dim=16, input_size=16, threads=1)
model.fit(sys.argv[1], 4, batch_size=4, out=sys.argv[2], resume=True)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
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


def test_damaged_checkpoints_are_refused(folder, tmp_path):
    model = simclr()
    model.save(tmp_path / "good.safetensors")
    data = bytearray((tmp_path / "good.safetensors").read_bytes())
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    data[-1000] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(data)
    before = model._trainer.state()
    with pytest.raises(ValueError, match=r"cut\.safetensors"):
        model._trainer.load(tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match=r"flipped\.safetensors: its numbers are not those of its checksum"):
        model._trainer.load(tmp_path / "flipped.safetensors")
    with pytest.raises(ValueError, match=r"good\.safetensors: .*another"):
        simclr(layers=3)._trainer.load(tmp_path / "good.safetensors")
    after = model._trainer.state()
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
    with pytest.raises(ValueError, match="expected floats, got uint8"):
        simclr().fit([([(left * 255).astype(np.uint8)] * 2, 0)], 1, quiet=True)
    bad = left.copy()
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="epoch 0, batch 0: loss = NaN"):
        simclr().fit([([bad, right], 0)], 1, quiet=True)


def test_what_cannot_be(folder, tmp_path):
    with pytest.raises(TypeError, match="learning_rte = 1: no such setting; there are small_stem"):
        simclr(learning_rte=1)
    for settings, message in (
        ({"lr": 0}, "lr = 0"),
        ({"scaling": "cube"}, "scaling = 'cube'"),
        ({"warmup_epochs": -1}, "warmup_epochs = -1"),
        ({"small_stem": 1}, "small_stem = 1"),
        ({"temperature": -1}, "temperature = -1"),
    ):
        with pytest.raises(ValueError, match=message):
            simclr(**settings)
    with pytest.raises(ValueError, match="epochs = 0"):
        simclr().fit(folder, 0)
    with pytest.raises(ValueError, match="batch_size = 25: larger than"):
        simclr().fit(folder, 1, batch_size=25)
    with pytest.raises(ValueError, match="queue_size = 65536: a multiple of the batch of 6"):
        sassl.MoCoV2("resnet18", small_stem=True, input_size=16, splits=1).fit(folder, 1, batch_size=6, quiet=True)
    with pytest.raises(ValueError, match=r"path = .*expected a .safetensors or .pth file"):
        simclr().export_backbone(tmp_path / "a.bin")
    (tmp_path / "running").write_text(str(os.getppid()))
    with pytest.raises(FileExistsError, match=f"process {os.getppid()} is at this run"):
        simclr().fit(folder, 1, batch_size=8, out=tmp_path, quiet=True)
    assert set(PRESETS) == {"moco-v2", "byol", "simclr"}


def test_command_line(folder, tmp_path):
    run = [sys.executable, "-m", "sassl", "pretrain", "simclr", "--data", str(folder), "--out", str(tmp_path / "run")]
    run += ["--arch", "resnet18", "--epochs", "1", "--batch-size", "8", "--input-size", "16", "--style", "off"]
    settings = ["small_stem=true", "hidden_dim=32", "dim=16"]
    done = subprocess.run([*run, *(f"--set={text}" for text in settings)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 epochs, loss" in done.stdout
    checkpoint = max((tmp_path / "run").glob("checkpoint-*"))
    export = [sys.executable, "-m", "sassl", "export", str(checkpoint), "--out", str(tmp_path / "net.safetensors")]
    done = subprocess.run(export, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resnet18, simclr, 1 epochs" in done.stdout
    done = subprocess.run([*run, "--set=hiden_dim=3"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "hiden_dim = 3: no such setting" in done.stderr

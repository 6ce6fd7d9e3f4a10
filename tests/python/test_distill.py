"""The training program of `lite`: it trains, stops, goes on to the bit, evaluates, and exports what the core can run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import GOLDEN, ROOT, need

need("torch")
need("safetensors")

import sassl  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

PROGRAM = ROOT / "examples" / "distill"


def run(script, *args):
    command = [sys.executable, str(PROGRAM / script), *map(str, args)]
    # One thread: spinning threads of several tests would wait for each other.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for kind in ("photos", "styles"):
        (folder / kind).mkdir()
        for i in range(3):
            small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
            small.resize((120, 100)).save(folder / kind / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Random weights in the form of Magenta's mobile pair, F at 64 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROGRAM)
        from networks import build
    from safetensors.torch import save_file

    torch.manual_seed(0)
    spec = json.loads(sassl_network("dense"))
    network = {"predictor": {"kind": "mobilenet_v2", "size": 64, "dim": 6}, "transformer": spec["transformer"]}
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    tensors = {name: value.contiguous() for name, value in build(network).state_dict().items()}
    save_file(tensors, path, {"network": json.dumps(network)})
    return path


def sassl_network(name):
    data = (GOLDEN / f"small_{name}.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"]["network"]


@pytest.fixture(scope="module")
def trained(folders, teacher, tmp_path_factory):
    """The folder of a run of four steps, and the call that made it."""
    out = tmp_path_factory.mktemp("run")
    network = out / "network.json"
    network.write_text(sassl_network("skip"))
    inputs = ["--teacher", teacher, "--contents", folders / "photos", "--styles", folders / "styles"]
    options = ["--pool", "4", "6", "--batch", "2", "--crop", "32", "48", "--device", "cpu", "--steps", "4"]
    call = list(map(str, ["train.py", *inputs, "--network", network, *options, "--out", out / "whole"]))
    assert "4 steps" in run(*call)
    return out / "whole", call


@pytest.fixture(scope="module")
def exported(folders, trained):
    """The model file of that run, beside its bank."""
    checkpoint, file = trained[0] / "checkpoint.pt", trained[0] / "mine.safetensors"
    files = ["--model", file, "--bank", trained[0] / "bank.safetensors"]
    run("export.py", "--checkpoint", checkpoint, *files, "--styles", folders / "styles", "--count", 7)
    return file


def test_training_goes_on_to_the_bit(trained, tmp_path, monkeypatch):
    whole_run, call = trained
    monkeypatch.syspath_prepend(PROGRAM)
    import train

    torch.set_num_threads(1)
    monkeypatch.setattr(sys, "argv", call)
    args = train.arguments()
    args.out = tmp_path / "stopped"
    args.out.mkdir()
    for _ in range(2):
        half = train.Run(args)
        if half.checkpoint.exists():
            half.resume()
        pools = half.pools()
        for _ in range(2):
            half.update(*pools)
            half.step += 1
        half.save()
    whole, stopped = (torch.load(at / "checkpoint.pt", weights_only=True) for at in (whole_run, args.out))
    assert whole["step"] == stopped["step"] == 4
    for part in ("student", "mean"):
        for name, value in whole[part].items():
            assert torch.equal(value, stopped[part][name]), f"{part}.{name} differs after a stop"


def test_a_run_is_exported(exported, monkeypatch):
    monkeypatch.syspath_prepend(PROGRAM)
    from networks import load

    model = sassl.Stylizer(exported, precision="exact")
    bank = sassl.StyleBank.load(exported.with_name("bank.safetensors"))
    assert (len(bank), bank.space) == (7, model.space)
    image = np.random.default_rng(1).random((1, 33, 46, 3), np.float32)
    module = load(exported)[0]
    with torch.no_grad():
        tensor = torch.from_numpy(image).permute(0, 3, 1, 2)
        z = module.predictor(tensor)
        expected = module.transformer(tensor, z).permute(0, 2, 3, 1).numpy()
    assert np.allclose(model.transfer(image, z.numpy()), expected, atol=5e-5)


def test_a_model_learns_about_other_sizes(folders, exported, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(PROGRAM)
    from networks import load

    mine = ["--model", exported, "--out", tmp_path / "zoomed.safetensors"]
    out = run("zoom.py", *mine, "--images", folders / "photos", folders / "styles", "--smallest", 32, "--count", 600)
    for line in (line for line in out.splitlines() if line.startswith("side")):
        without, fitted = (
            float(part.split()[0]) for part in (line.split("deviation, ")[1], line.split("without, ")[1])
        )
        assert fitted < 0.8 * without, out
    model = sassl.Stylizer(exported, precision="exact")
    zoomed = sassl.Stylizer(tmp_path / "zoomed.safetensors", precision="exact")
    large = np.random.default_rng(2).random((1, 64, 80, 3), np.float32)
    assert zoomed.space == model.space
    assert np.array_equal(zoomed.encode(large), model.encode(large))
    image = np.random.default_rng(1).random((1, 33, 46, 3), np.float32)
    with torch.no_grad():
        tensor = torch.from_numpy(image).permute(0, 3, 1, 2)
        expected = load(tmp_path / "zoomed.safetensors")[0].predictor(tensor).numpy()
    assert np.allclose(zoomed.encode(image), expected, atol=1e-4)


def test_a_model_is_evaluated(folders, teacher, exported, tmp_path):
    inputs = ["--teacher", teacher, "--student", exported, "--contents", folders / "photos"]
    sheet = tmp_path / "sheet.png"
    out = run("evaluate.py", *inputs, "--styles", folders / "styles", "--pairs", 2, "--sheet", sheet)
    assert "style distance" in out
    assert sheet.exists()


@pytest.mark.parametrize("size", [32, 121, 160])
def test_mobilenet_v2_agrees_with_pytorch(tmp_path, size, monkeypatch):
    """Also where the hidden maps are so large that they are computed in strips."""
    monkeypatch.syspath_prepend(PROGRAM)
    from networks import build, load

    predictor = {"kind": "mobilenet_v2", "size": size, "dim": 5}
    transformer = {
        "dim": 5,
        "contract": [{"kernel": 3, "stride": 2, "channels": 4}],
        "residual": {"blocks": 0, "separable": False},
        "expand": [{"kernel": 3, "channels": 4, "separable": False}],
        "head": {"kernel": 3, "upsample": False, "separable": False, "skip": False},
    }
    network = {"predictor": predictor, "transformer": transformer}
    torch.manual_seed(0)
    module = build(network).eval()
    for weight in (p for p in module.predictor.parameters() if p.ndim == 4):
        torch.nn.init.kaiming_normal_(weight)
    path = tmp_path / "model.safetensors"
    torch.save({"network": network, "mean": module.state_dict()}, tmp_path / "checkpoint.pt")
    run("export.py", "--checkpoint", tmp_path / "checkpoint.pt", "--model", path)
    predictor = load(path)[0].predictor.eval()
    image = np.random.default_rng(0).random((2, size, size, 3), np.float32)
    with torch.no_grad():
        expected = predictor(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(sassl.Stylizer(path, precision="exact").encode(image), expected, atol=1e-4 * scale)
    fast = sassl.Stylizer(path).encode(image)
    assert (fast * expected).sum() / np.linalg.norm(fast) / np.linalg.norm(expected) > 0.99

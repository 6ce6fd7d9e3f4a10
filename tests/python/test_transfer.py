"""`sassl eval transfer`: the command on all sets in small folders, its file of results, its cache of features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sassl
import transfer_layouts as layouts
from conftest import need
from sassl.cli import main
from sassl.evaluation import GRID, datasets, transfer

need("scipy")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return layouts.everything(tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2).save(path)
    return path


def results(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_sets_by_one_command(root, checkpoint, tmp_path, capsys):
    out, cache = tmp_path / "results.jsonl", tmp_path / "features"
    call = [
        "eval",
        "transfer",
        str(checkpoint),
        "--data",
        str(root),
        "--out",
        str(out),
        "--counts",
        "any",
        "--cache",
        str(cache),
    ]
    # Of ImageNet itself 36 images are too few for a validation split.
    assert main([*call, "--protocol", "knn"]) == 1
    said = capsys.readouterr()
    assert "1 of 16 sets failed: imagenet\n" in said.err
    assert "dtd: 3 classes, where 47 are published" in said.err
    found = results(out)
    assert [line["set"] for line in found] == [name for name in datasets.DATASETS if name != "imagenet"]
    for line, row in zip(found, said.out.splitlines()[1:], strict=True):
        assert row.split()[:3] == [line["set"], line["school"], line["metric"]]
        assert line["metric"] == datasets.DATASETS[line["set"]].metric
        assert line["test"] == len(datasets.load(line["set"], root, "test", school=line["school"], counts="any"))
        assert line["k"] == min(200, line["train"] + line.get("val", 0))
        assert ("centroid" in line) == line["set"].endswith("shot")
    # Each class has a colour of its own in the small folders, which even an untrained network tells apart.
    values = {line["set"]: line["value"] for line in found}
    assert values["dtd"] == values["food101"] == values["caltech101"] == 100
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    text = out.read_text()
    assert main([*call, "--protocol", "knn", "--sets", "dtd,cars"]) == 0
    said = capsys.readouterr()
    assert f"dtd: already in {out}" in said.err
    assert [row.split()[0] for row in said.out.splitlines()] == ["set", "dtd", "cars"]
    assert out.read_text() == text
    # Another protocol has the same features, and another school those of the same images.
    assert (
        main([*call, "--sets", "dtd,imagenet_1shot,retinopathy,caltech101", "--school", "caltech101=torchvision"]) == 0
    )
    assert [(line["set"], line["protocol"], line["school"]) for line in results(out)[-4:]] == [
        ("dtd", "linear", "fold1"),
        ("imagenet_1shot", "linear", "drawn"),
        ("retinopathy", "linear", "tfds"),
        ("caltech101", "linear", "torchvision"),
    ]
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == kept
    last = {line["set"]: line for line in results(out)[-4:]}
    assert last["imagenet_1shot"]["c"] == 1
    assert last["dtd"]["c"] in GRID
    assert last["dtd"]["interval"] == [100, 100]
    assert last["dtd"]["value"] == 100
    assert 0.9 < last["retinopathy"]["value"] <= 1


def test_whole_networks_learn_by_the_command(root, checkpoint, tmp_path, capsys):
    out, kept = tmp_path / "results.jsonl", tmp_path / "runs"
    call = ["eval", "transfer", str(checkpoint), "--data", str(root), "--out", str(out), "--counts", "any"]
    call += ["--sets", "dtd,imagenet_1pct", "--protocol", "finetune", "--engine", "native", "--checkpoints", str(kept)]
    call += ["--steps", "3", "--batch-size", "8", "--weight-decay", "0", "--lr", "0.02"]
    assert main(call) == 0
    said = capsys.readouterr()
    dtd, part = results(out)
    told = {"protocol": "finetune", "engine": "native", "steps": 3, "batch_size": 8, "metric": "top1", "lr": 0.02}
    assert {name: dtd[name] for name in told} == {name: part[name] for name in told} == told
    assert (dtd["recipe"], part["recipe"]) == ("kornblith", "simclr-1pct")
    assert (dtd["peak_lr"], part["peak_lr"]) == (0.02, 0.02 * 8 / 256)
    assert dtd["images"] == dtd["train"] + dtd["val"]
    assert dtd["value"] == dtd["top1"]
    # Its recipe tests at 256 for 224, here 18 for 16.
    assert dtd["preprocessing"]["resize"] == 18
    assert said.out.splitlines()[1].endswith("0.02 (decay 0)")
    assert sorted(path.name[:-18] for path in kept.iterdir()) == ["dtd-fold1-0", "imagenet_1pct-simclr-0"]
    assert main(call) == 0
    assert f"dtd: already in {out}" in capsys.readouterr().err
    # Other settings are another measurement.
    assert main([*call[:-1], "0.01", "--sets", "dtd"]) == 0
    assert [line["lr"] for line in results(out)] == [0.02, 0.02, 0.01]
    assert main([*call[:9], "--protocol", "knn", "--lr", "1"]) == 1
    assert "--lr is only for --protocol finetune, not for knn" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r'finetuning must be left out with protocol="knn", got .*'):
        transfer.evaluate(None, "dtd", root, protocol="knn", finetuning={"lr": 1})


def test_a_model_of_others(root):
    need("torch")
    import torch

    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    found = transfer.evaluate(net, "dtd", root, counts="any", size=16)
    rule = {"size": 16, "resize": 16, "interpolation": "bicubic", "mean": None, "std": None}
    assert (found["value"], found["preprocessing"]) == (100, rule)
    with pytest.raises(ValueError, match="size is required for a model that is not sassl's"):
        transfer.evaluate(net, "dtd", root, counts="any")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sets", "dtd,mnist"], "'mnist' is none of"),
        (["--school", "dtd=vtab"], "dtd has fold1"),
        (["--school", "mnist=a"], "'mnist' is none of"),
        (["--sets", "cars", "--school", "dtd=fold2"], "--school must name one of cars, got dtd=fold2"),
        (["--seed", "-1"], "--seed must be an integer >= 0, got -1"),
        (["--data", "nowhere"], "nowhere: there is no such folder"),
        (["--out", "nowhere/a.jsonl"], "there is no folder nowhere; make it first"),
        (["--out", "."], "--out .: a folder"),
        (["--sets", "dtd"], "DTD is not there; expected images and labels in a folder dtd/dtd or dtd"),
        ([], "none of the sets is in it"),
    ],
)
def test_wrong_calls(checkpoint, tmp_path, capsys, words, said):
    call = ["eval", "transfer", str(checkpoint), "--data", str(tmp_path), "--out", str(tmp_path / "a.jsonl"), *words]
    try:
        code = main(call)
    except SystemExit as error:
        code = error.code
    assert code in (1, 2)
    assert said in capsys.readouterr().err


def test_a_file_of_other_lines_is_left_alone(checkpoint, root, tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    out.write_text('{"epoch": 1}\n')
    assert main(["eval", "transfer", str(checkpoint), "--data", str(root), "--out", str(out), "--sets", "dtd"]) == 1
    assert "line 1 is not a result of sassl eval; give another file" in capsys.readouterr().err
    assert out.read_text() == '{"epoch": 1}\n'


def test_draws_give_a_mean_and_a_deviation(checkpoint, root, tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    call = ["eval", "transfer", str(checkpoint), "--data", str(root), "--out", str(out), "--counts", "any"]
    assert main([*call, "--sets", "imagenet_1shot,dtd", "--seed", "0", "1", "2", "--protocol", "knn"]) == 0
    found = results(out)
    # Nothing is drawn of DTD.
    assert [(line["set"], line["seed"]) for line in found] == [*(("imagenet_1shot", n) for n in range(3)), ("dtd", 0)]
    values = [line["value"] for line in found[:3]]
    _, shot, dtd = (row.split() for row in capsys.readouterr().out.splitlines())
    assert shot[3:6] == [f"{np.mean(values):.1f}", "±", f"{np.std(values, ddof=1):.1f}"]
    assert (shot[-2], dtd[-2]) == ("3", "1")
    # What was measured on a part of a set is no result of the set.
    assert main([*call[:-2], "--sets", "dtd", "--protocol", "knn"]) == 1
    assert "dtd: failed, " in capsys.readouterr().err


def test_images_that_cannot_be_read_are_named(checkpoint, tmp_path, capsys):
    layouts.dtd(tmp_path)
    broken = tmp_path / "dtd/dtd/images/dotted/dotted_0001.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    out = tmp_path / "a.jsonl"
    call = [
        "eval",
        "transfer",
        str(checkpoint),
        "--data",
        str(tmp_path),
        "--out",
        str(out),
        "--counts",
        "any",
        "--protocol",
        "knn",
    ]
    assert main(call) == 1
    assert f"dtd: failed, {broken}" in capsys.readouterr().err
    assert not out.exists()
    assert main([*call, "--on-error", "report"]) == 0
    assert f"dtd: left out, {broken}" in capsys.readouterr().err
    (line,) = results(out)
    assert list(line["left_out"]) == [str(broken)]
    assert (line["train"], line["val"], line["test"]) == (8, 9, 9)

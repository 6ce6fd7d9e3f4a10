"""Histories that are read again, and runs side by side."""

from __future__ import annotations

import numpy as np
import pytest
import sassl
from conftest import need
from sassl.cli import main
from sassl.pretraining import History, compare
from sassl.pretraining.comparison import flat
from test_loggers import Null, data


def fitted(folder, epochs=3, **settings):
    made = sassl.SimCLR("resnet18", small_stem=True, input_size=8, engine=Null, **settings)
    return made.fit(data(4), epochs, out=folder, quiet=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    one = fitted(root / "one", lr=0.1, views={"normalize": None})
    two = fitted(root / "two", 2, lr=0.2, views={"normalize": None, "min_scale": 0.5}, optimizer="sgd")
    return root, one, two


def test_a_history_is_read_again(runs, tmp_path):
    root, one, _ = runs
    assert History.load(root / "one") == one.history
    assert History.load(str(root / "one" / "log.csv")) == one.history
    last = max((root / "one").glob("checkpoint-*"))
    assert History.load(last) == one.history
    assert [type(row["epoch"]) for row in History.load(root / "one")] == [int] * 3
    # A folder without a log tells by its last checkpoint.
    (tmp_path / last.name).write_bytes(last.read_bytes())
    assert History.load(tmp_path) == one.history
    # What is not in every row, and a last line that was cut.
    (tmp_path / "log.csv").write_text("epoch,loss,knn_top1\n1,0.5,\n2,0.25,90.0\n3,0.1")
    assert History.load(tmp_path) == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "knn_top1": 90.0}]


@pytest.mark.parametrize(
    ("name", "content", "error", "expected"),
    [
        (None, None, FileNotFoundError, "has neither log.csv nor a checkpoint; expected a run's folder"),
        ("log.csv", "a,b\n1,2\n", ValueError, "log.csv: is not the log of a run: its first column is not 'epoch'"),
        ("log.csv", "", ValueError, "log.csv: is not the log of a run"),
        (
            "log.csv",
            "epoch,loss\n1,x\n",
            ValueError,
            "log.csv: is not the log of a run: could not convert string to float: 'x'",
        ),
        ("log.csv", "epoch,loss\n1\n2,0.5\n", ValueError, "log.csv: is not the log of a run"),
        ("log.csv", b"epoch,loss\n\xff\n", ValueError, "log.csv: is not the log of a run"),
        ("a.safetensors", "nothing", ValueError, "a.safetensors: "),
        ("config.json", "{}", FileNotFoundError, "has neither log.csv nor a checkpoint"),
    ],
)
def test_what_is_no_run_is_named(name, content, error, expected, tmp_path):
    if name is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    path = tmp_path if name in (None, "log.csv", "config.json") else tmp_path / name
    with pytest.raises(error) as raised:
        History.load(path)
    assert str(tmp_path) in str(raised.value)
    assert expected in str(raised.value)


def test_runs_side_by_side(runs):
    root, one, two = runs
    compared = compare([root / "one", root / "two"])
    settings = compared.settings()
    assert (settings["lr"], settings["epochs"]) == ([0.1, 0.2], [3, 2])
    assert settings["optimizer"] == ["lars", "sgd"]
    assert settings["views.min_scale"][1] == 0.5
    # A setting of one optimizer alone.
    assert (
        settings["eta"] == [one.run.optimizer.eta, None] if hasattr(one.run.optimizer, "eta") else "eta" not in settings
    )
    assert not {"method", "arch", "batch_size", "seed", "temperature"} & settings.keys()
    results = compared.results()
    assert results["epochs"] == [3, 2]
    assert results["loss"] == [run.history[-1]["loss"] for run in (one, two)]
    assert results["loss, best"] == [min(row["loss"] for row in run.history) for run in (one, two)]
    assert "lr, best" not in results
    lines = str(compared).splitlines()
    assert lines[0].split() == [str(root / "one"), str(root / "two")]
    assert next(line for line in lines if line.startswith("lr ")).split() == ["lr", "0.1", "0.2"]


def test_settings_by_one_name_each(runs):
    _, one, _ = runs
    assert {name: value for name, value in flat(one.run.nested()).items() if not name.startswith("views.")} == {
        name: value for name, value in one.run.flat().items() if name not in ("views",)
    }


def test_accuracies_have_their_best(tmp_path):
    for name, (first, last) in {"a": (80.0, 70.0), "b": (10.0, 20.0)}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text(f"epoch,loss,knn_top1\n1,1.0,{first}\n2,2.0,{last}\n3,3.0,\n")
    compared = compare([tmp_path / "a", tmp_path / "b" / "log.csv"])
    assert compared.settings() == {}
    results = compared.results()
    assert (results["knn_top1"], results["knn_top1, best"]) == ([70.0, 20.0], [80.0, 20.0])
    assert results["loss, best"] == [1.0, 1.0]


def test_curves_of_all_runs_are_in_one_figure(runs, tmp_path):
    need("matplotlib")
    root, one, two = runs
    figure = compare([root / "one", root / "two"]).plot(tmp_path / "runs.png")
    assert (tmp_path / "runs.png").read_bytes()[1:4] == b"PNG"
    panels = {axes.get_title(): axes for axes in figure.axes}
    lines = panels["loss"].lines
    for line, run in zip(lines, (one, two), strict=True):
        assert np.allclose(line.get_ydata(), [row["loss"] for row in run.history])
    assert [text.get_text() for text in figure.legends[0].texts] == [str(root / "one"), str(root / "two")]
    assert len({line.get_color() for line in lines}) == 2
    # One run has no legend.
    assert not one.history.plot().legends


def test_the_command(runs, tmp_path, capsys):
    need("matplotlib")
    root, _, _ = runs
    call = ["compare", str(root / "one"), str(root / "two")]
    assert main([*call, "--out", str(tmp_path / "a.png")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith("lr ") for line in said)
    assert said[-1] == f"{tmp_path / 'a.png'}: the curves"
    for words, told in (
        (call[:2], "runs must be two or more different ones, got"),
        ([*call, call[1]], "runs must be two or more different ones, got"),
        ([*call, str(tmp_path / "nowhere")], "nowhere: No such file or directory"),
        ([*call, "--out", str(tmp_path / "a.txt")], "a file whose name ends in .png or .svg or .pdf"),
    ):
        assert main(words) == 1
        said = capsys.readouterr()
        assert told in said.err
        assert said.err.count("\n") == 1

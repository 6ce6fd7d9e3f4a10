"""The command line of pretraining: its help, its presets, and its settings from files and options."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys

import pytest
from conftest import ROOT, coloured
from sassl import image_files
from sassl.cli import main, parser
from sassl.cli.pretrain_settings import configuration
from sassl.pretraining import METHODS, PRESETS, Config, History, view_settings


def test_no_command_at_all_shows_the_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert "pretrain " in told
    assert "Pretrain a backbone by" in told


def test_the_help_fits_two_screens_and_has_groups(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 80
    titles = [
        "data and output:",
        "method and settings:",
        "style:",
        "engine:",
        "monitoring:",
        "checkpoints and resuming:",
    ]
    assert [line for line in lines if line in titles] == titles


def test_every_option_of_pretrain_has_a_help():
    commands = next(one for one in parser("pretrain")._actions if isinstance(one, argparse._SubParsersAction))
    for action in commands.choices["pretrain"]._actions:
        assert (action.help or "").strip(), action.option_strings


def test_presets_are_listed_with_what_they_are(capsys):
    assert main(["pretrain", "--list-presets"]) == 0
    head, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert head.split("  ")[0].strip() == "preset"
    assert [row.split()[0] for row in rows] == list(PRESETS)
    row = next(row for row in rows if row.startswith("simclr-cifar10 "))
    assert row.split() == ["simclr-cifar10", "resnet18", "32", "200", "512", "sgd", "0.12", "linear"]


@pytest.mark.parametrize("name", PRESETS)
def test_yaml_is_what_pyyaml_reads_and_comes_back(name, tmp_path):
    yaml = pytest.importorskip("yaml")
    config = PRESETS[name].changed(lr=1e-5)
    config.save(tmp_path / "run.yaml")
    assert yaml.safe_load((tmp_path / "run.yaml").read_text()) == config.nested()
    assert Config.load(tmp_path / "run.yaml") == config
    # JSON is YAML, too.
    (tmp_path / "json.yaml").write_text(json.dumps(config.nested()))
    assert Config.load(tmp_path / "json.yaml") == config


def test_texts_that_look_like_values_stay_texts(tmp_path):
    pytest.importorskip("yaml")
    style = {"styles": "off", "checksum": "12345678", "model": "1e5", "space": "null", "precision": "true"}
    config = PRESETS["simclr"].changed(style=style)
    config.save(tmp_path / "run.yaml")
    assert Config.load(tmp_path / "run.yaml") == config


def test_toml_is_read_too(tmp_path):
    if sys.version_info < (3, 11):
        pytest.importorskip("tomli")
    path = tmp_path / "run.toml"
    path.write_text(
        'seed = 3\n[method]\nname = "simclr"\ntemperature = 0.5\n[schedule]\nlr = 1e-3\n'
        '[backbone]\nname = "resnet18"\n[data.views]\nmin_scale = 0.2\n'
    )
    config = Config.load(path)
    assert (config.seed, config.method.temperature, config.schedule.lr) == (3, 0.5, 1e-3)
    assert (config.backbone.name, config.data.views, config.data.style) == ("resnet18", {"min_scale": 0.2}, None)
    with pytest.raises(ValueError, match=r"the suffix must be \.yaml or \.json, as TOML cannot express"):
        config.save(path)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "a.yaml",
            "method: {name: simclr, tempratur: 1}",
            "method.tempratur is not a setting of simclr; did you mean",
        ),
        ("a.yaml", "method: {name: simclr}\nschedule: {lr: fast}", "schedule.lr must be a number, got 'fast'"),
        ("a.yaml", "method: {name: simclr}\nschedule:\n  lr: 1e-400", "schedule.lr must be a number > 0, got 0.0"),
        ("a.yaml", "method: {name: simclr}\nschedule: 3", "schedule must be an object, got 3"),
        ("a.yaml", "method: {name: simclr}\nbackbone: [resnet18]", "backbone must be an object, got ['resnet18']"),
        ("a.yaml", "method: {name: simcl}", "method.name must be one of"),
        ("a.yml", "seed: 1\nseed: 2", "is not YAML: seed is given twice"),
        ("a.yaml", "seed: 1\nmethod: {", "is not YAML: line 2: "),
        ("a.yaml", "\0", "is not YAML: "),
        ("a.toml", "seed = ", "is not TOML: "),
        ("a.toml", '[method]\nname = "byol"\ndim = 0', "method.dim must be an integer >= 1, got 0"),
        ("a.json", '{"seed": 1, "seed": 2}', "is not JSON: seed is given twice"),
        (
            "a.json",
            '{"method": {"name": "byol"}, "optimizer": {"name": "sgd", "eta": 1}}',
            "optimizer.eta is not a setting of sgd",
        ),
    ],
)
def test_errors_of_a_file_name_it_and_the_key(name, text, told, tmp_path, capsys):
    if name.endswith("l") and "y" in name:
        pytest.importorskip("yaml")
    path = tmp_path / name
    path.write_text(text)
    assert main(["pretrain", "--config", str(path), "--print-config"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"sassl pretrain: {path}: {told}")
    assert said.count("\n") == 1


def test_what_is_printed_is_read_again(tmp_path, capsys):
    pytest.importorskip("yaml")
    words = ["--epochs", "3", "--seed", "7", "--set", "lr=1e-4", "--set", "views.min_scale=0.3"]
    assert main(["pretrain", "--print-config", "simclr-cifar10", *words]) == 0
    text = capsys.readouterr().out
    (tmp_path / "run.yaml").write_text(text)
    config = Config.load(tmp_path / "run.yaml")
    flat = config.flat()
    assert [flat[name] for name in ("method", "epochs", "seed", "lr")] == ["simclr", 3, 7, 1e-4]
    assert flat["views"] == {**PRESETS["simclr-cifar10"].data.views, "min_scale": 0.3}
    assert flat["style"]["alpha"] == [0.1, 0.3]
    assert main(["pretrain", "--print-config", "--config", str(tmp_path / "run.yaml")]) == 0
    assert capsys.readouterr().out == text
    # Keywords of the recipe that are not set.
    comments = text.replace("\n# ", " ")
    assert "cj_prob = 0.8;" in comments
    assert "min_scale =" not in comments


def test_without_pyyaml_the_remedy_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert main(["pretrain", "--print-config", "simclr"]) == 1
    assert "PyYAML: install pyyaml, or the extra sassl[config]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ("lr=0.2", "lr", 0.2),
        ("temperature=1e-1", "temperature", 0.1),
        ("views.min_scale=0.3", "views", {**PRESETS["simclr-cifar10"].data.views, "min_scale": 0.3}),
        ("input_size=32,64", "input_size", [32, 64]),
        ("small_stem=false", "small_stem", False),
        ("seed=3", "seed", 3),
    ],
)
def test_any_setting_by_its_name(given, name, expected):
    words = ["pretrain", "simclr-cifar10", "--style", "off", "--set", given]
    assert configuration(parser("pretrain").parse_args(words)).flat()[name] == expected


@pytest.mark.parametrize(("given", "range_"), [("0.3", [0.3, 0.3]), ("0.3,0.5", [0.3, 0.5]), ("[0, 1]", [0, 1])])
def test_strengths_are_fixed_or_a_range(given, range_):
    words = ["pretrain", "simclr", "--set", f"style.alpha={given}", "--set", f"style.beta={given}"]
    config = configuration(parser("pretrain").parse_args(words))
    style = view_settings.make(config).styles[0]
    assert list(style.alpha) == list(style.beta) == range_
    drawn = style.block.sample(0, 50)
    for values in (drawn.alpha, drawn.beta):
        assert range_[0] - 1e-6 <= values.min() <= values.max() <= range_[1] + 1e-6


@pytest.mark.parametrize("value", ["0.3,0.5,0.7", "abc", "1.5", "0.5,0.3"])
def test_a_strength_that_cannot_be_is_named(value, capsys):
    assert main(["pretrain", "simclr", "--set", f"style.alpha={value}", "--print-config"]) == 1
    said = capsys.readouterr().err
    assert "alpha" in said
    assert said.count("\n") == 1


def test_a_seed_is_the_runs(capsys):
    arguments = parser("pretrain").parse_args(["pretrain", "simclr", "--seed", "5", "--style", "off"])
    assert configuration(arguments).seed == 5
    assert main(["pretrain", "simclr", "--seed", "-1", "--print-config"]) == 1
    assert capsys.readouterr().err == "sassl pretrain: --seed must be an integer >= 0, got -1\n"


@pytest.mark.parametrize("name", PRESETS)
def test_settings_are_told_in_groups_and_are_those_of_the_method(name):
    config = PRESETS[name].changed(style={"p": 0.5, "alpha": [0.1, 0.3]}, seed=4)
    lines = str(config).splitlines()
    groups: dict[str, str] = {}
    for line in lines:
        title, text = line[:11].strip(), line[11:]
        last = title or list(groups)[-1]
        groups[last] = f"{groups.get(last, '')} {text}".strip()
    names = ["method:", "backbone:", "optimizer:", "schedule:", "data:", "views:", "style:", "start:"]
    assert list(groups) == names
    assert max(map(len, lines)) <= 110
    flat = config.flat()
    row = METHODS[config.method.name]
    own = "; ".join(f"{one.name}={json.dumps(flat[one.name])}" for one in dataclasses.fields(row.settings))
    assert groups["method:"] == f"{config.method.name}; {own}"
    assert groups["views:"].split(";")[0] == row.recipe.__name__
    assert groups["style:"] == "style.p=0.5; style.alpha=[0.1, 0.3]"
    assert groups["start:"] == "seed=4; init=null"
    # Each setting once, under the name that --set takes.
    told = [one.split("=")[0] for text in groups.values() for one in text.split("; ") if "=" in one]
    parts = {f"views.{one}" for one in flat.pop("views")} | {f"style.{one}" for one in flat.pop("style")}
    assert sorted(told) == sorted((set(flat) - {"method", "arch", "optimizer"}) | parts)


@pytest.mark.parametrize("option", ["--data", "--monitor"])
def test_a_folder_that_is_not_there_is_told_before_all_else(option, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "a.png").touch()
    given = {"--data": str(tmp_path / "photos"), "--out": str(tmp_path / "run"), "--style": "off"}
    for path, told in (("none", "there is no such folder"), ("a.png", "a file, where a folder of images is expected")):
        words = {**given, option: str(tmp_path / path)}
        assert main(["pretrain", "simclr", *(word for pair in words.items() for word in pair)]) == 1
        assert capsys.readouterr().err == f"sassl pretrain: {option} {tmp_path / path}: {told}\n"
    assert not (tmp_path / "run").exists()


SMALL = ["--arch", "resnet18", "--batch-size", "2", "--input-size", "16", "--style", "off", "--threads", "1"]
SMALL += ["--set", "small_stem=true", "--set", "hidden_dim=8", "--set", "dim=4"]


def test_a_run_is_named_by_its_folder(tmp_path, monkeypatch, capsys):
    data, run = coloured(tmp_path, {"train": 2, "other": 2}) / "train", tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    # Before a preset's name, --resume is the option alone.
    words = ["pretrain", "--resume", "simclr", "--data", "train", "--out", "run", "--epochs", "1", *SMALL]
    assert main(words) == 0
    assert json.loads((run / "run.json").read_text()) == {"data": str(data)}
    capsys.readouterr()
    monkeypatch.chdir(data)
    assert main(["pretrain", "--resume", str(run), "--threads", "1"]) == 0
    said = capsys.readouterr()
    assert f"data: {data}, as recorded in {run}\n" in said.err
    assert f"{run}: 1 epochs, loss " in said.out
    # The newest checkpoint of the folder.
    assert main(["export", str(run), "--out", str(tmp_path / "b.safetensors")]) == 0
    assert "resnet18, simclr, 1 epochs" in capsys.readouterr().out
    last = max(run.glob("checkpoint-*"))
    assert main(["export", str(last), "--out", str(tmp_path / "c.safetensors")]) == 0
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "c.safetensors").read_bytes()
    # Other data are told, and recorded once they are used.
    capsys.readouterr()
    assert (
        main(["pretrain", "--resume", str(run), "--data", str(tmp_path / "other"), "--dry-run", "--threads", "1"]) == 0
    )
    assert f"data: {tmp_path / 'other'}, where the run before had {data}\n" in capsys.readouterr().err
    # A run of before this was recorded.
    (run / "run.json").unlink()
    for words, told in (
        ([str(run)], "--data is missing; the run has not recorded it"),
        ([str(last)], f"--resume {last}: a file; give the run's folder, whose newest checkpoint is used"),
        (
            [str(run), "--out", str(tmp_path)],
            f"--resume {run} and --out {tmp_path} are different folders; give one of them",
        ),
        ([], "--out is missing; name the run's folder, as in: sassl pretrain --resume run"),
        ([str(tmp_path / "none")], f"{tmp_path / 'none'}: has no run to resume; start one with a preset"),
    ):
        assert main(["pretrain", "--resume", *words]) == 1
        assert capsys.readouterr().err.startswith(f"sassl pretrain: {told}")
    assert main(["pretrain", "--resume", str(run), "--data", str(data), "--threads", "1"]) == 0
    assert json.loads((run / "run.json").read_text()) == {"data": str(data)}
    # What others have under that name stays theirs.
    (run / "run.json").write_text("[1]")
    assert main(["pretrain", "--resume", str(run), "--data", str(data), "--threads", "1"]) == 1
    assert "run.json: not of a run, which would write its own there" in capsys.readouterr().err
    assert (run / "run.json").read_text() == "[1]"


def test_an_empty_folder_has_nothing_to_export(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "b.safetensors")]) == 1
    assert "there is no checkpoint in it" in capsys.readouterr().err


def test_a_missing_package_has_a_remedy_for_a_clone_too():
    """`pip install 'sassl[demo]'` would get another copy, where the package came from a clone."""
    paths = (ROOT / "python" / "sassl").rglob("*.py")
    assert not [path for path in paths if re.search(r"pip install ['\"]sassl", path.read_text())]


@pytest.mark.parametrize("package", ["matplotlib", "PIL"])
def test_a_missing_package_is_named(package, monkeypatch):
    if package == "PIL":
        monkeypatch.setitem(sys.modules, "PIL.Image", None)
        with pytest.raises(ImportError, match=r"needs Pillow: install it, or the extra sassl\[demo\]"):
            image_files.pillow()
    else:
        for name in [
            name for name in sys.modules if name.startswith(("matplotlib", "sassl.figure", "sassl.pretraining.figure"))
        ]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError, match=r"needs matplotlib; install it, or the extra sassl\[demo\]"):
            History([{"epoch": 1, "loss": 1.0}]).plot()

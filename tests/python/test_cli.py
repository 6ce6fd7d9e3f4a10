"""The command line: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import shared
from PIL import Image
from sassl import StyleBank, Stylizer, pictures
from sassl.cli import main


@pytest.fixture
def folder(batch, tmp_path):
    for i, name in enumerate(["a.png", "b.jpg", "deep/c.webp"]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(batch[i]).save(path)
    return tmp_path / "photos"


def test_stylize_writes_a_view_for_each_picture(folder, tmp_path, capsys):
    out = tmp_path / "views"
    assert main(["stylize", str(folder), "--out", str(out), "--seed", "3"]) == 0
    names = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert names == ["a.png", "b.jpg", "deep/c.webp"]
    assert "3 of 3 pictures" in capsys.readouterr().out
    view = pictures.read(out / "a.png")
    assert view.shape == pictures.read(folder / "a.png").shape
    assert main(["stylize", str(folder / "*.png"), "--out", str(tmp_path / "again"), "--seed", "3"]) == 0
    assert np.array_equal(pictures.read(tmp_path / "again" / "a.png"), view)
    assert main(["stylize", str(folder), "--out", str(tmp_path / "same"), "--beta", "0", "--format", "png"]) == 0
    assert np.array_equal(pictures.read(tmp_path / "same" / "a.png"), pictures.read(folder / "a.png"))
    assert np.array_equal(pictures.read(tmp_path / "same" / "b.png"), pictures.read(folder / "b.jpg"))


def test_one_bad_file_neither_stops_nor_hides(folder, tmp_path, capsys):
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:100])
    Image.new("RGB", (7, 9)).save(folder / "tiny.png")
    out = tmp_path / "views"
    assert main(["stylize", str(folder), "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "3 of 5 pictures" in said.out
    assert [line.split(":")[0] for line in said.err.splitlines() if "failed" in line] == ["failed", "failed"]
    assert "broken.png" in said.err
    assert "tiny.png" in said.err
    assert not list(out.rglob("*.part*"))
    assert len([p for p in out.rglob("*") if p.is_file()]) == 3


def test_bank_and_styles(folder, tmp_path, capsys):
    bank = tmp_path / "bank.safetensors"
    assert main(["bank", str(folder), "--out", str(bank)]) == 0
    assert len(StyleBank.load(bank)) == 3
    for styles in (bank, folder, folder / "a.png"):
        assert main(["stylize", str(folder / "b.jpg"), "--out", str(tmp_path / "o"), "--styles", str(styles)]) == 0
    (folder / "broken.png").write_bytes(b"no picture")
    assert main(["bank", str(folder), "--out", str(tmp_path / "part.safetensors")]) == 1
    assert "broken.png" in capsys.readouterr().err


def test_demo_shows_what_sassl_does(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    sheet = pictures.read(tmp_path / "demo" / "contact_sheet.png")
    assert sheet.shape[1] > 1500
    assert len(list((tmp_path / "demo").glob("*_view*.png"))) == 15
    assert "contact_sheet.png" in capsys.readouterr().out


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "instruction set" in out
    assert Stylizer().space in out


def test_info_says_what_is_wrong_with_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("SASSL_THREADS", "x")
    assert main(["info"]) == 1
    assert "SASSL_THREADS = x: a number from 1 up" in capsys.readouterr().err


def test_convert_magentas_pair(tmp_path, capsys):
    predictor = shared("weights/magenta_mobile_predictor_int8.tflite")
    transformer = shared("weights/magenta_mobile_transformer_f16.tflite")
    out = tmp_path / "mobile.safetensors"
    call = ["convert", "--predictor", str(predictor), "--transformer", str(transformer), "--out", str(out)]
    assert main(call) == 0
    assert Stylizer(out).dim == 100
    assert Stylizer(out).name == "mobile"


@pytest.mark.parametrize(
    ("call", "phrase"),
    [
        ("stylize nowhere --out {0}", "nowhere: no such file"),
        ("stylize {0}/photos/a.png --out {0}/photos", "overwritten by its own view"),
        ("stylize {0}/photos/a.png --out {0} --model full", '"full"'),
        ("stylize {0}/photos/a.png --out {0} --styles {0}/none", "none"),
        ("stylize {0}/photos/a.png --out {0} --p 2", "p = 2"),
        ("stylize {0}/photos/a.png --out {0} --threads 0", "threads = 0"),
        ("stylize {0}/photos/a.png --out {0} --seed -1", "--seed = -1"),
        ("bank {0}/photos --out {0}/bank.pt", ".safetensors"),
        ("convert --predictor {0}/p --transformer {0}/t --out {0}/m.safetensors", "/p: No such file"),
    ],
)
def test_errors_are_one_line(call, phrase, folder, tmp_path, capsys):
    assert main(call.format(tmp_path).split()) == 1
    said = capsys.readouterr().err
    assert phrase in said
    assert said.count("\n") == 1
    assert said.startswith(f"sassl {call.split()[0]}: ")


@pytest.mark.parametrize(
    "call", ["", "dream", "stylize", "stylize a --out b --alpha 2", "stylize a --out b --beta 0.3,0.1"]
)
def test_wrong_calls(call, capsys):
    with pytest.raises(SystemExit) as stop:
        main(call.split())
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err

"""The command line: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import gzip
import os
import shlex
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import sassl
from conftest import coloured, shared
from PIL import Image
from sassl import StyleBank, Stylizer, cli, evaluation
from sassl._sassl import color_profile
from sassl.cli import main, pretrain, stylize
from sassl.images import pixels


@pytest.fixture
def folder(batch, tmp_path):
    for i, name in enumerate(["a.png", "b.jpg", "deep/c.webp"]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(batch[i]).save(path)
    return tmp_path / "photos"


def test_stylize_writes_a_view_for_each_image(folder, tmp_path, capsys):
    out = tmp_path / "views"
    assert main(["stylize", str(folder), "--out", str(out), "--seed", "3"]) == 0
    names = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert names == ["a.png", "b.jpg", "deep/c.webp"]
    assert "3 of 3 images" in capsys.readouterr().out
    view = pixels(out / "a.png")
    assert view.shape == pixels(folder / "a.png").shape
    assert main(["stylize", str(folder / "*.png"), "--out", str(tmp_path / "again"), "--seed", "3"]) == 0
    assert np.array_equal(pixels(tmp_path / "again" / "a.png"), view)
    assert main(["stylize", str(folder), "--out", str(tmp_path / "same"), "--beta", "0", "--format", "png"]) == 0
    assert np.array_equal(pixels(tmp_path / "same" / "a.png"), pixels(folder / "a.png"))
    assert np.array_equal(pixels(tmp_path / "same" / "b.png"), pixels(folder / "b.jpg"))


def test_one_bad_file_neither_stops_nor_hides(folder, tmp_path, capsys):
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:100])
    Image.new("RGB", (7, 9)).save(folder / "tiny.png")
    out = tmp_path / "views"
    assert main(["stylize", str(folder), "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "3 of 5 images" in said.out
    assert [line.split(":")[0] for line in said.err.splitlines() if "failed" in line] == ["failed", "failed"]
    assert "broken.png" in said.err
    assert "tiny.png" in said.err
    assert not list(out.rglob("*.part*"))
    assert len([p for p in out.rglob("*") if p.is_file()]) == 3


def test_files_are_read_as_the_loader_reads_them(folder, photo, tmp_path, capsys):
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(deep).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(folder / "turned.png", exif=exif)
    (folder / "notes.txt").write_text("")
    Image.fromarray(photo).save(folder / "film.gif")
    call = ["stylize", str(folder), "--beta", "0", "--out"]
    assert main([*call, str(tmp_path / "upright")]) == 0
    assert "left out: 2 other files" in capsys.readouterr().err
    assert np.array_equal(pixels(tmp_path / "upright" / "turned.png"), np.rot90(photo, -1))
    assert np.array_equal(pixels(tmp_path / "upright" / "deep.png"), pixels(folder / "deep.png"))
    assert main([*call, str(tmp_path / "stored"), "--no-exif"]) == 0
    assert np.array_equal(pixels(tmp_path / "stored" / "turned.png"), photo)
    assert main(["stylize", str(folder / "film.gif"), "--out", str(tmp_path / "film")]) == 0
    assert (tmp_path / "film" / "film.png").exists()
    assert main(["bank", str(folder), "--out", str(tmp_path / "b.safetensors")]) == 0
    assert "left out: 2 other files" in capsys.readouterr().err


def test_profiles_are_kept_or_the_loss_is_said(folder, tmp_path, capsys):
    colours, inks = bytes(16) + b"RGB " + bytes(108), bytes(16) + b"CMYK" + bytes(108)
    image = Image.fromarray(pixels(folder / "a.png"))
    for suffix in ("png", "jpg", "webp"):
        image.save(folder / f"profile.{suffix}", icc_profile=colours)
    image.convert("CMYK").save(folder / "inks.jpg", icc_profile=inks)
    out = tmp_path / "views"
    assert main(["stylize", str(folder), "--out", str(out)]) == 0
    for suffix in ("png", "jpg", "webp"):
        assert color_profile((out / f"profile.{suffix}").read_bytes()) == colours
    assert color_profile((out / "inks.jpg").read_bytes()) is None
    assert "1 views have lost the image's ICC profile" in capsys.readouterr().err


def test_bank_and_styles(folder, tmp_path, capsys):
    bank = tmp_path / "bank.safetensors"
    assert main(["bank", str(folder), "--out", str(bank)]) == 0
    assert len(StyleBank.load(bank)) == 3
    for styles in (bank, folder, folder / "a.png"):
        assert main(["stylize", str(folder / "b.jpg"), "--out", str(tmp_path / "o"), "--styles", str(styles)]) == 0
    # As `StyleBank.from_images`: all of them, or an error that names the file.
    (folder / "broken.png").write_bytes(b"no image")
    assert main(["bank", str(folder), "--out", str(tmp_path / "part.safetensors")]) == 1
    assert "broken.png" in capsys.readouterr().err
    assert not (tmp_path / "part.safetensors").exists()


FULL = """
import resource, sys
from sassl.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_leaves_no_part_of_an_image(folder, tmp_path):
    Image.new("L", (9, 9)).save(folder / "small.png")
    out = tmp_path / "views"
    for call in (["stylize", folder, "--out", out], ["bank", folder, "--out", out / "bank.safetensors"]):
        done = subprocess.run([sys.executable, "-c", FULL, *map(str, call)], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert "File too large" in done.stderr
        assert [path.name for path in out.rglob("*") if path.is_file()] == ["small.png"]
        if call[0] == "stylize":
            assert "1 of 4 images stylized" in done.stdout
            assert done.stderr.count("failed: ") == 3


def test_a_view_is_not_stylized_again(folder, tmp_path, capsys):
    for _ in range(2):
        assert main(["stylize", str(folder), "--out", str(folder / "views")]) == 0
        assert "3 of 3 images" in capsys.readouterr().out
    assert main(["stylize", str(folder / "**" / "*.png"), "--out", str(folder / "views")]) == 0
    said = capsys.readouterr()
    assert "1 of 1 images" in said.out
    assert f"1 images are skipped: they are in {folder / 'views'}" in said.err
    # What lies there is stylized where it is asked for by name.
    assert main(["stylize", str(folder / "views"), "--out", str(tmp_path / "twice")]) == 0
    assert "3 of 3 images" in capsys.readouterr().out
    inner = folder / "photos"
    inner.mkdir()
    (folder / "b.jpg").rename(inner / "c.jpg")
    assert main(["stylize", str(folder), "--out", str(tmp_path)]) == 1
    assert "would be written among the images of" in capsys.readouterr().err


def test_gray_stays_gray(folder, tmp_path):
    for name in ("gray.png", "gray.jpg"):
        Image.open(folder / "a.png").convert("L").save(folder / name)
    gray = np.asarray(Image.open(folder / "gray.png"), np.uint16) * 257
    Image.fromarray(gray).save(folder / "sixteen.png")
    assert main(["stylize", str(folder), "--out", str(tmp_path / "views")]) == 0
    modes = {"gray.png": "L", "gray.jpg": "L", "sixteen.png": "L", "a.png": "RGB", "b.jpg": "RGB"}
    for name, mode in modes.items():
        with Image.open(tmp_path / "views" / name) as view:
            assert view.mode == mode


def test_names_that_are_no_unicode(folder, tmp_path, capsys):
    name = os.fsdecode(b"na\xffme.png")
    try:
        (folder / "a.png").rename(folder / name)
    except OSError:
        pytest.skip("DID NOT RUN: this system has no such names")
    out = tmp_path / os.fsdecode(b"vi\xfews")
    assert main(["stylize", str(folder), "--out", str(out)]) == 0
    assert (out / name).exists()
    assert main(["bank", str(folder), "--out", str(tmp_path / os.fsdecode(b"b\xff.safetensors"))]) == 0
    assert "b\\udcff.safetensors: 3 styles" in capsys.readouterr().out
    names = StyleBank.load(tmp_path / os.fsdecode(b"b\xff.safetensors")).names
    assert sum(text.endswith("na\\udcffme.png") for text in names) == 1
    (folder / name).write_bytes(b"no image")
    assert main(["stylize", str(folder), "--out", str(out)]) == 1
    assert "na\\udcffme.png" in capsys.readouterr().err


def test_results_that_nobody_reads_or_that_find_no_room():
    run = [sys.executable, "-m", "sassl", "info"]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0
    process.stderr.close()
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        assert done.stderr == "sassl info: standard output: No space left on device\n"


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "instruction set" in out
    assert Stylizer().space in out


def test_info_says_what_is_wrong_with_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("SASSL_THREADS", "x")
    assert main(["info"]) == 1
    assert "SASSL_THREADS must be an integer in [1, 1024], or unset, got x" in capsys.readouterr().err


def test_convert_magentas_pair(tmp_path, capsys):
    predictor = shared("weights/magenta_mobile_predictor_int8.tflite")
    transformer = shared("weights/magenta_mobile_transformer_f16.tflite")
    out = tmp_path / "mobile.safetensors"
    call = ["convert", str(predictor), str(transformer), "--out", str(out)]
    assert main(call) == 0
    assert Stylizer(out).dim == 100
    assert Stylizer(out).name == "mobile"


def test_models_side_by_side(folder, tmp_path, capsys):
    out = tmp_path / "models.png"
    photo = str(folder / "a.png")
    call = ["compare-models", photo, "--styles", photo, "--models", "lite", "lite", "--out", str(out)]
    assert main(call) == 0
    with Image.open(out) as sheet:
        assert sheet.width > 4 * 224
    said = capsys.readouterr().out
    assert said.count("lite ") == 2
    assert "ms a view" in said


def test_the_preset_of_stylized_imagenet_wants_adain(folder, tmp_path, capsys):
    photo = str(folder / "a.png")
    call = ["stylize", photo, "--out", str(tmp_path / "out"), "--preset", "stylized-imagenet"]
    assert main(call) == 1
    assert "--model must be AdaIN for stylized-imagenet" in capsys.readouterr().err
    assert main([*call, "--alpha", "0.5"]) == 1
    assert "--alpha must be 1 with --preset stylized-imagenet" in capsys.readouterr().err
    assert main([*call, "--p", "0"]) == 1
    assert "--p must be 1 with --preset stylized-imagenet" in capsys.readouterr().err


@pytest.mark.parametrize("call", [["stylize", "", "--out", "views"], ["bank", "", "--out", "bank.safetensors"]])
def test_an_empty_name_is_not_the_folder_one_is_in(call, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(call) == 1
    assert "an empty string is not a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "phrase"),
    [
        ("stylize nowhere --out {0}", "nowhere: no such file"),
        ("stylize {0}/photos/a.png --out {0}/photos", "overwritten by its own view"),
        ("stylize {0}/photos {0}/deep/c.webp --out {0}", "deep/c.webp: would be overwritten by the view of"),
        ("stylize {0}/photos --out {0}/photos/a.png", "a.png: a file; views go to a folder"),
        ("pretrain --resume --data {0}/photos --out {0}/none", "none: has no run to resume"),
        ("stylize {0}/photos/a.png --out {0} --model full", '"full"'),
        ("stylize {0}/photos/a.png --out {0} --styles {0}/none", "none"),
        ("stylize {0}/photos/a.png --out {0} --p 2", "--p must be in [0, 1]"),
        ("stylize {0}/photos/a.png --out {0} --threads 0", "--threads must be an integer in [1, 1024], got 0\n"),
        ("stylize {0}/photos/a.png --out {0} --seed -1", "--seed must be an integer >= 0, got -1"),
        ("bank {0}/photos --out {0}/bank.pt", ".safetensors"),
        (
            "stylize {0}/photos/a.png --out {0} --styles batch",
            "--styles must not be batch, as images are stylized one at a time",
        ),
        (
            "stylize {0}/photos/a.png --out {0} --styles none",
            '--styles none: no such folder, image or bank file; or give "default"\n',
        ),
        (
            "pretrain simclr --data {0} --out {0}/r --style none",
            '--style none: no such folder, image or bank file; or give "default"',
        ),
        (
            "compare-models {0}/photos --styles {0}/photos --models x --out {0}/x.png",
            '--models must be "lite" or the path of a .safetensors file',
        ),
        ("bank {0}/photos --out {0}/none/bank.safetensors", "there is no folder {0}/none; make it first"),
        (
            "compare-models {0}/photos --styles {0}/photos --out {0}/x.gif",
            "--out must be a file whose name ends in .jpg or",
        ),
        ("convert {0}/p {0}/t --out {0}/m.safetensors", "/p: No such file"),
        ("convert {0}/p {0}/t --out lite", "--out must be a file whose name ends in .safetensors, got lite"),
        ("compare-models {0}/photos --styles {0}/photos --alpha 2 --out {0}/x.png", "--alpha "),
        ("bank {0}/photos --split train --out {0}/b.safetensors", "--split is only for a --dataset, got train"),
        (
            "pretrain simclr --data {0}/photos --out {0}/r --threads 0",
            "--threads must be an integer in [1, 1024], got 0\n",
        ),
        ("pretrain simclr --data {0}/photos --out {0}/r --epochs 0", "--epochs must be an integer >= 1, got 0"),
        (
            "embed {0}/m.safetensors --data {0}/photos --out {0}/f.npy",
            "--out must be a file whose name ends in .npz, got {0}/f.npy",
        ),
        ("convert {0}/p {0}/t.safetensors --out {0}/t.safetensors", "would overwrite {0}/t.safetensors"),
    ],
)
def test_errors_are_one_line(call, phrase, folder, tmp_path, capsys):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.webp").write_bytes((folder / "deep" / "c.webp").read_bytes())
    assert main(call.format(tmp_path).split()) == 1
    said = capsys.readouterr().err
    assert phrase.format(tmp_path) in said
    assert said.count("\n") == 1
    assert said.startswith(f"sassl {call.split()[0]}: ")


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ("--keep 0", "sassl pretrain: --keep must be an integer >= 1, got 0"),
        ("--monitor {0}/val --monitor-every 0", "sassl pretrain: --monitor-every must be an integer >= 1, got 0"),
        # It is said as it was given.
        ("--set epochs=0", "sassl pretrain: epochs must be an integer >= 1, got 0"),
    ],
)
def test_errors_of_a_run_speak_of_its_options(options, phrase, tmp_path, capsys):
    coloured(tmp_path, {"val": 1})
    call = "pretrain simclr --arch resnet18 --style off --data {0}/val --out {0}/run " + options
    assert main(call.format(tmp_path).split()) == 1
    assert capsys.readouterr().err.splitlines()[-1] == phrase


@pytest.mark.parametrize(
    "call",
    [
        "",
        "dream",
        "stylize",
        "stylize a --out b --alpha 2",
        "stylize a --out b --beta 0.3,0.1",
        "eval",
        "eval knn c --data d --lr 1",
        "eval linear c --data d --k 3",
        "eval logistic c --data d --epochs 3",
        "eval trees c --data d",
    ],
)
def test_wrong_calls(call, capsys):
    with pytest.raises(SystemExit) as stop:
        main(call.split())
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_want_of_memory_is_one_line(folder, tmp_path, monkeypatch, capsys):
    def read(path, **_):
        raise MemoryError(f"{path}: not enough memory: 9 bytes are needed")

    monkeypatch.setattr(stylize, "pixels", read)
    assert main(["stylize", str(folder / "a.png"), "--out", str(tmp_path / "views")]) == 1
    said = capsys.readouterr()
    assert "0 of 1 images" in said.out
    assert said.err.count("not enough memory") == said.err.count("\n") == 1


def test_the_command_that_goes_on_is_whole():
    given = "pretrain simclr --data 'my photos' --out run --on-error report --keep 3 --log csv --time-limit 3:00:00 --log wandb"
    told = pretrain.again(cli.parser("pretrain").parse_args(shlex.split(given)))
    assert shlex.join(told) == (
        "sassl pretrain --data 'my photos' --out run --resume --on-error report --keep 3 --time-limit 3:00:00 "
        "--log csv --log wandb"
    )


def test_an_image_that_is_named_twice_is_stylized_once(folder, tmp_path, capsys):
    assert main(["stylize", str(folder), str(folder / "a.png"), "--out", str(tmp_path / "views")]) == 0
    assert "3 of 3 images" in capsys.readouterr().out


def test_a_gray_profile_is_not_written_where_there_is_no_gray(folder, tmp_path, capsys):
    profile = bytes(16) + b"GRAY" + bytes(108)
    Image.new("L", (40, 40), 99).save(tmp_path / "gray.png", icc_profile=profile)
    for suffix, kept in (("png", True), ("webp", False)):
        assert main(["stylize", str(tmp_path / "gray.png"), "--out", str(tmp_path / "views"), "--format", suffix]) == 0
        assert (color_profile((tmp_path / "views" / f"gray.{suffix}").read_bytes()) == profile) == kept
        assert ("1 views have lost" in capsys.readouterr().err) != kept


def test_a_word_is_a_word_where_a_folder_has_its_name(folder, tmp_path, monkeypatch):
    (tmp_path / "default").mkdir()
    Image.open(folder / "a.png").save(tmp_path / "default" / "a.png")
    monkeypatch.chdir(tmp_path)
    for out, styles in (("one", []), ("two", ["--styles", str(tmp_path / "default")])):
        assert main(["stylize", str(folder / "a.png"), "--out", out, *styles]) == 0
    one, two = (next((tmp_path / out).rglob("a.png")).read_bytes() for out in ("one", "two"))
    monkeypatch.chdir(folder)
    assert main(["stylize", str(folder / "a.png"), "--out", str(tmp_path / "three")]) == 0
    assert one == next((tmp_path / "three").rglob("a.png")).read_bytes() != two


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["dream"]])
def test_nothing_is_imported_before_it_is_used(words):
    code = f"""
import sys
from sassl.cli import main
try:
    main({words!r})
except SystemExit:
    pass
known = {{"numpy", "ctypes", "torch", "torchvision", "PIL", "tqdm"}}
print("imported:", *sorted({{name.split(".")[0] for name in sys.modules}} & known), *(n for n in sys.modules if "sassl." in n))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("imported:"))
    assert line == "imported: sassl.cli sassl._sassl"


def test_every_command_has_its_module_and_its_help(capsys):
    for command in cli.COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert f"usage: sassl {command}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(command in said for command in cli.COMMANDS)


@pytest.mark.parametrize(
    ("module", "how"),
    [
        ("argparse", "raise KeyboardInterrupt"),
        ("numpy", "raise KeyboardInterrupt"),
        ("sassl.transforms.plain", "raise KeyboardInterrupt"),
        ("sassl._sassl", "os.kill(os.getpid(), signal.SIGINT)"),
        ("sassl.bank", "os.kill(os.getpid(), signal.SIGINT)"),
        # An exception in its midst would make numpy say that it is broken.
        ("numpy._core.multiarray", "os.kill(os.getpid(), signal.SIGINT)"),
    ],
)
def test_an_interrupt_while_modules_are_imported_is_quiet(module, how):
    code = f"""
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            {how}

sys.meta_path.insert(0, Finder())
sys.argv = ["sassl", "stylize", "a.png", "--out", "b"]
from sassl.cli import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "sassl stylize: interrupted\n")


def test_features_as_a_file(tmp_path, capsys):
    coloured(tmp_path, {"val": 3})
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
    model.save(tmp_path / "model.safetensors")
    call = [
        "embed",
        str(tmp_path / "model.safetensors"),
        "--data",
        str(tmp_path / "val"),
        "--out",
        str(tmp_path / "f.npz"),
    ]
    assert main(call) == 0
    assert "features of 6 images, 512 values each" in capsys.readouterr().out
    expected = evaluation.extract(model, tmp_path / "val")
    with np.load(tmp_path / "f.npz") as found:
        assert np.array_equal(found["features"], expected.features)
        assert found["targets"].tolist() == [0, 0, 0, 1, 1, 1]
        assert found["classes"].tolist() == ["blue", "red"]
        assert [name.split("/")[-2:] for name in found["names"]] == [
            [c, f"{i}.png"] for c in ("blue", "red") for i in range(3)
        ]
    (tmp_path / "val" / "blue" / "1.png").write_bytes(b"no image")
    assert main(call) == 1
    assert "1.png" in capsys.readouterr().err
    assert main([*call, "--on-error", "report"]) == 0
    assert "1 of 6 images could not be read" in capsys.readouterr().err
    with np.load(tmp_path / "f.npz") as found:
        assert len(found["names"]) == len(found["features"]) == 5
        assert not any(name.endswith("blue/1.png") for name in found["names"])


def test_a_single_file_packed_by_gzip_is_named(tmp_path, capsys):
    pair = [tmp_path / "predictor.tflite.gz", tmp_path / "archive.tar.gz"]
    pair[0].write_bytes(gzip.compress(bytes(3000)))
    with tarfile.open(pair[1], "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    out = ["--out", str(tmp_path / "m.safetensors")]
    assert main(["convert", str(pair[0]), *out]) == 1
    assert (
        f"{pair[0]}: is a single file compressed by gzip, not an archive; decompress it first: "
        in capsys.readouterr().err
    )
    assert main(["convert", str(pair[1]), *out]) == 1
    assert "compressed by gzip" not in capsys.readouterr().err
    # What is damaged is told as before.
    for damaged in (pair[0].read_bytes()[:9], b"\x1f\x8b" + bytes(50)):
        pair[0].write_bytes(damaged)
        assert main(["convert", str(pair[0]), *out]) == 1
        assert "compressed by gzip" not in capsys.readouterr().err

"""Style as configuration: what settings tell of it, how it is rebuilt, what a run's folder keeps, and weights to begin with."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import sassl
from PIL import Image
from sassl import StyleBank
from sassl.cli import main
from sassl.data import Arrays, TwoViewLoader
from sassl.pretraining import Config, Pretraining
from sassl.transforms import MoCoV2Transform, SimCLRTransform, Views
from sassl.transforms.operations import HorizontalFlip, Normalize, RandomResizedCrop
from sassl.transforms.plain import SASSL

SMALL = {"small_stem": True, "input_size": 16, "dim": 8, "hidden_dim": 8}


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 24, 20, 3), dtype=np.uint8)


def simclr(**options):
    return sassl.SimCLR("resnet18", **{**SMALL, **options})


def fit(model, out, epochs=1, **options):
    return model.fit(Arrays(images(8)), epochs, batch_size=8, out=out, quiet=True, **options)


@pytest.fixture
def folder(tmp_path):
    """Two paintings."""
    path = tmp_path / "paintings"
    path.mkdir()
    for i, image in enumerate(images(2, 7)):
        Image.fromarray(image).save(path / f"{i}.png")
    return path


def sources(folder):
    """All that `styles` takes, with what a configuration calls it."""
    bank = StyleBank.from_images(folder)
    bank.save(folder.parent / "bank.safetensors")
    gaussian = StyleBank.default().gaussian(3)
    gaussian.save(folder.parent / "gaussian.safetensors")
    file, bell = (str(folder.parent / f"{name}.safetensors") for name in ("bank", "gaussian"))
    return [
        ("default", "default"),
        ("batch", "batch"),
        (folder, str(folder)),
        (file, file),
        (bell, bell),
        (StyleBank.load(file), file),
        (StyleBank.default(), "default"),
        (bank, None),
        (gaussian, None),
        (bank.vectors[0], None),
        (list(images(2, 7)), None),
    ]


def vectors(style):
    styles = style.styles
    if styles is None:
        return None
    return styles.vectors if isinstance(styles, StyleBank) else np.concatenate([styles.mean[None], styles.axes])


def test_every_style_is_told_and_rebuilt(folder):
    for given, name in sources(folder):
        style = SASSL(0.5, (0.1, 0.2), (0.3, 0.4), given, precision="exact")
        told = json.loads(json.dumps(style.describe()))
        assert (told["styles"], told["p"], told["alpha"], told["precision"]) == (name, 0.5, [0.1, 0.2], "exact")
        assert (told["checksum"] is None) == (given == "batch" if isinstance(given, str) else False)
        again = SASSL.from_description(told, styles=None if name is not None else given)
        assert again.describe() == told
        assert np.array_equal(vectors(again), vectors(style))
        if name is None:
            with pytest.raises(ValueError, match=f"the styles with checksum {told['checksum']} have no name"):
                SASSL.from_description(told)
            with pytest.raises(ValueError, match=r"the checksum was \w{8} and is \w{8} now"):
                SASSL.from_description(told, styles=list(images(1, 9)))


def test_style_takes_the_same_everywhere(folder):
    for given, name in sources(folder):
        recipe = MoCoV2Transform(16, style=given).style
        method = simclr(style=given)
        assert recipe.p == 0.8
        assert recipe.describe() == method.config.data.style == SASSL(styles=given).describe()
        assert method.config.data.style["styles"] == name
    assert SimCLRTransform(16, style=None).style is None
    for make in (lambda: simclr(style=3), lambda: SimCLRTransform(style=3)):
        with pytest.raises(TypeError, match="styles must be 'default', 'batch', a folder"):
            make()


def test_a_runs_folder_keeps_what_no_name_tells(folder, tmp_path):
    for i, (given, name) in enumerate(sources(folder)[i] for i in (2, 7, 8, 9)):
        run = tmp_path / str(i)
        model = fit(simclr(style=SASSL(styles=given)), run)
        kept = run / "styles.safetensors"
        assert kept.exists() == (name is None)
        config = Config.load(run / "config.json")
        again = Pretraining.from_config(config, styles=kept if name is None else None)
        assert again.config.data.style == model.config.data.style
        assert np.array_equal(vectors(again.transform.style), vectors(model.transform.style))
        if name is None:
            with pytest.raises(ValueError, match=r"as the file styles\.safetensors of the run's folder"):
                Pretraining.from_config(config)


def test_a_run_goes_on_with_its_styles_and_with_no_others(folder, tmp_path):
    straight = fit(simclr(style=list(images(2, 7))), None, 2)
    model = simclr(style=list(images(2, 7)))
    with pytest.raises(RuntimeError, match="as asked"):
        fit(model, tmp_path / "run", 2, on_epoch=lambda *_: (_ for _ in ()).throw(RuntimeError("as asked")))
    with pytest.raises(
        ValueError, match=r"style must be .* as in the run in .*, got .*; give that, or start another run"
    ):
        fit(simclr(style=list(images(2, 8))), tmp_path / "run", 2, resume=True)
    # A checkpoint finds them beside it, wherever the folder lies now.
    shutil.move(tmp_path / "run", tmp_path / "moved")
    (last,) = (tmp_path / "moved").glob("checkpoint-*")
    shutil.copytree(tmp_path / "moved", tmp_path / "lost")
    loaded = fit(Pretraining.load(last), tmp_path / "moved", 2, resume=True)
    assert [row["loss"] for row in loaded.history] == [row["loss"] for row in straight.history]
    # Without them it is measured and not trained: it never goes on without style.
    (tmp_path / "lost" / "styles.safetensors").unlink()
    bare = Pretraining.load(tmp_path / "lost" / last.name)
    assert bare.encode(images(3)).shape == (3, 512)
    with pytest.raises(ValueError, match="required, because the styles with checksum"):
        fit(bare, None)
    assert main(["pretrain", "--data", str(folder), "--out", str(tmp_path / "lost"), "--resume"]) == 1


def test_names_may_change_and_contents_may_not(folder, tmp_path):
    bank = tmp_path / "bank.safetensors"
    StyleBank.from_images(folder).save(bank)
    fit(simclr(style=bank), tmp_path / "run")
    config = Config.load(tmp_path / "run" / "config.json")
    moved = bank.rename(tmp_path / "moved.safetensors")
    with pytest.raises(FileNotFoundError, match=r"bank\.safetensors"):
        Pretraining.from_config(config)
    assert fit(Pretraining.from_config(config, styles=moved), tmp_path / "run", resume=True).history
    assert Config.load(tmp_path / "run" / "config.json").data.style["styles"] == str(moved)
    other = StyleBank.from_images(images(2, 9))
    with pytest.raises(ValueError, match=r"styles = StyleBank.*: the checksum was \w+ and is \w+ now"):
        Pretraining.from_config(config, styles=other)
    other.save(bank)
    with pytest.raises(ValueError, match=r"styles = .*bank.safetensors'.*: the checksum was \w+ and is \w+ now"):
        Pretraining.from_config(config)
    with pytest.raises(ValueError, match=r"style must be .* as in the run in"):
        fit(simclr(style=bank), tmp_path / "run", resume=True)
    assert fit(simclr(style=moved), tmp_path / "run", resume=True).history


def test_a_file_of_another_stays(tmp_path):
    (tmp_path / "styles.safetensors").write_text("of another")
    with pytest.raises(FileExistsError, match=r"styles\.safetensors: not of a run"):
        fit(simclr(style=list(images(2, 7))), tmp_path)
    assert (tmp_path / "styles.safetensors").read_text() == "of another"
    assert not (tmp_path / "config.json").exists()
    # A bank of another is no run's either.
    other = StyleBank.from_images(images(3, 9))
    other.save(tmp_path / "styles.safetensors", exact=True)
    with pytest.raises(FileExistsError, match=r"styles\.safetensors: not of a run"):
        fit(simclr(style=list(images(2, 7))), tmp_path)
    np.testing.assert_array_equal(StyleBank.load(tmp_path / "styles.safetensors").vectors, other.vectors)
    assert fit(simclr(style="default"), tmp_path).history


def test_a_run_that_ended_before_its_first_checkpoint_begins_anew(tmp_path):
    first, second = (list(images(2, seed)) for seed in (7, 9))
    for style in (first, first, second):
        with pytest.raises(ZeroDivisionError):
            fit(simclr(style=style), tmp_path, on_step=lambda *_: 1 / 0)
    assert fit(simclr(style=second), tmp_path).history
    assert StyleBank.load(tmp_path / "styles.safetensors").vectors.shape == (2, 64)


def test_lists_of_operations_are_settings_too(tmp_path):
    style = SASSL(styles=list(images(2, 7)))
    right = [RandomResizedCrop(16), HorizontalFlip(), Normalize()]
    views = Views([right[0], style, *right[1:]], right)
    own = {name: value for name, value in SMALL.items() if name != "input_size"}
    model = fit(sassl.SimCLR("resnet18", views=views, **own), tmp_path / "run", 2)
    assert (model.config.data.input_size, model.config.data.style) == (16, None)
    config = Config.load(tmp_path / "run" / "config.json")
    assert config == model.run
    again = fit(Pretraining.from_config(config, styles=tmp_path / "run" / "styles.safetensors"), None, 2)
    assert [row["loss"] for row in again.history] == [row["loss"] for row in model.history]
    # What differs is told alone.
    for changed, message in (
        (
            [*right[:1], HorizontalFlip(p=0.25), right[2]],
            r"views\[1\]\[1\] must be \{[^{}]*0.5\} as in the run in \S+, got \{[^{}]*0.25\};",
        ),
        (right[:2], r"views\[1\]\[2\] must be \{'kind': 'normalize'[^{}]*\} as in the run in \S+, got no operation;"),
    ):
        other = sassl.SimCLR("resnet18", views=Views(views.views[0], changed), **own)
        with pytest.raises(ValueError, match=f"^{message} give that"):
            fit(other, tmp_path / "run", 2, resume=True)
    # The same by a loader of them, which the settings of the run tell.
    loader = TwoViewLoader(Arrays(images(8)), views, 8)
    taking = sassl.SimCLR("resnet18", input_size=16, **own).fit(loader, 2, quiet=True)
    assert taking.run.data.views == model.run.data.views
    assert [row["loss"] for row in taking.history] == [row["loss"] for row in model.history]
    with pytest.raises(ValueError, match=r"style=.* must be given to the views, which have their own"):
        sassl.SimCLR("resnet18", views=views, style="default")
    three = TwoViewLoader(Arrays(images(16)), Views(right, right, right), 8)
    with pytest.raises(ValueError, match=r"views must be two of one size for simclr, got sizes .*"):
        taking.fit(three, 1, quiet=True)
    two = Views([right[0], style], [right[0], SASSL(styles=list(images(1, 3)))])
    with pytest.raises(
        ValueError, match="views must have at most one style source in memory, got 2; save each as a bank file"
    ):
        fit(simclr(input_size=None, views=two), tmp_path / "two")


def test_a_probability_may_go_by_the_epoch():
    style = SASSL(p=[(0, 0.0), (2, 1.0)])
    side = [RandomResizedCrop(16), Normalize()]
    views = Views([side[0], style, side[1]], side, output="numpy")
    loader, plain = (TwoViewLoader(Arrays(images(16)), one, 16) for one in (views, Views(side, side, output="numpy")))
    changed = []
    for epoch in range(4):
        loader.set_epoch(epoch)
        plain.set_epoch(epoch)
        one, other = (next(iter(batches))[0][0] for batches in (loader, plain))
        changed.append(int((one != other).any((1, 2, 3)).sum()))
    assert changed[0] == 0
    assert 2 <= changed[1] <= 14
    assert changed[2:] == [16, 16], changed
    assert Views.from_description(json.loads(json.dumps(views.describe()))).describe() == views.describe()
    with pytest.raises(
        ValueError, match=r"p must be a probability here, .* knows the epoch, got \[\(0.0, 0.0\), \(2.0, 1.0\)\]"
    ):
        style(images(1)[0])
    with pytest.raises(ValueError, match="increasing epochs"):
        Views([side[0], SASSL(p=[(2, 0.0), (0, 1.0)])])


def test_weights_to_begin_with_are_settings_too(folder, tmp_path, capsys):
    file = tmp_path / "net.safetensors"
    simclr(seed=5).export_backbone(file)
    model = fit(simclr(init=file), tmp_path / "run")
    assert (model.config.init["source"], simclr().config.init) == (str(file), None)
    config = Config.load(tmp_path / "run" / "config.json")
    assert config.init == model.config.init
    again = Pretraining.from_config(config)
    assert again.config.init == simclr(init=file).config.init
    assert np.array_equal(again.state_dict()["conv1.weight"], simclr(seed=5).state_dict()["conv1.weight"])
    # A run that goes on has its weights in its checkpoint.
    with pytest.raises(ValueError, match=r"init must be \{'source'.* as in the run in .*, got None"):
        fit(simclr(), tmp_path / "run", 1, resume=True)
    simclr(seed=6).export_backbone(file)
    with pytest.raises(ValueError, match=r"init .*net.safetensors' does not hold the weights that the settings name"):
        Pretraining.from_config(config)
    file.unlink()
    call = ["pretrain", "--data", str(folder), "--out", str(tmp_path / "run"), "--resume"]
    assert main(call) == 1
    assert "images" in capsys.readouterr().err
    with pytest.raises(ValueError, match="init names no file, as the weights"):
        Pretraining.from_config(simclr(init=simclr(seed=5).state_dict()).config)


def test_the_command_begins_with_weights_and_keeps_styles(folder, tmp_path, capsys):
    simclr(seed=5).export_backbone(tmp_path / "net.safetensors")
    out = tmp_path / "run"
    call = ["pretrain", "simclr", "--arch", "resnet18", "--data", str(folder), "--out", str(out), "--epochs", "1"]
    call += [
        "--batch-size",
        "2",
        "--input-size",
        "16",
        "--set",
        "small_stem=true",
        "--set",
        "dim=8",
        "--set",
        "hidden_dim=8",
    ]
    call += ["--style", str(folder), "--set", "style.p=0.5", "--init", str(tmp_path / "net.safetensors")]
    assert main(call) == 0, capsys.readouterr().err
    told = Config.load(out / "config.json")
    assert (told.data.style["p"], told.data.style["styles"]) == (0.5, str(folder))
    assert told.init["source"] == str(tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").unlink()
    (out / "backbone.safetensors").unlink()
    assert main(["pretrain", "--data", str(folder), "--out", str(out), "--resume"]) == 0, capsys.readouterr().err


def test_the_command_gives_other_styles_to_the_same_settings(folder, tmp_path, capsys):
    style = SASSL(p=0.25, alpha=(0.0, 0.9), styles=folder, precision="exact")
    fit(simclr(style=style), tmp_path / "run")
    config = str(tmp_path / "run" / "config.json")
    call = ["pretrain", "--config", config, "--data", str(folder), "--batch-size", "2", "--style"]
    assert main([*call, "batch", "--out", str(tmp_path / "batch")]) == 0, capsys.readouterr().err
    told = Config.load(tmp_path / "batch" / "config.json").data.style
    assert told == {**style.describe(), "styles": "batch", "checksum": None}
    assert main([*call, "off", "--out", str(tmp_path / "off")]) == 0, capsys.readouterr().err
    assert Config.load(tmp_path / "off" / "config.json").data.style is None

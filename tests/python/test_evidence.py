"""The program of the evidence: cells run, skip and survive kills bit for bit; arms differ in style alone; reports add up."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, need
from PIL import Image
from sassl.data import TwoViewLoader
from sassl.pretraining import Pretraining

PROGRAM = ROOT / "examples" / "evidence"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(PROGRAM)
    import color_transfer
    import corruptions
    import images
    import report
    import run
    import study

#: Three classes of ImageNet that are categories of the cue-conflict set too.
CLASSES = {"n02132136": (200, 60, 60), "n01855672": (60, 200, 60), "n02123045": (60, 60, 200)}
NONE, PAPER, COLOR = (f"simclr_{arm}_quick_32px_seed0" for arm in ("none", "paper", "color"))


def painted(path, colour, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.clip(rng.integers(-60, 60, (32, 32, 3)) + np.array(colour), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Made-up images of three classes, two of CIFAR-10's, and some with two cues."""
    root, rng = tmp_path_factory.mktemp("evidence"), np.random.default_rng(0)
    for name, colour in CLASSES.items():
        for part, n in (("train", 12), ("val", 5)):
            for i in range(n):
                painted(root / "tiny" / part / name / f"{i}.png", colour, rng)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            for i in range(3):
                painted(root / "cifar" / part / name / f"{i}.png", rng.integers(40, 200, 3), rng)
    for shape in ("bear", "bird", "cat"):
        for texture in ("bear", "bird", "cat"):
            painted(root / "cues" / shape / f"{shape}1-{texture}1.png", rng.integers(40, 200, 3), rng)
    return root


def options(folder, out, cells):
    given = {"data": "tiny", "cifar10": "cifar", "cue-conflict": "cues"}
    paths = [word for name, value in given.items() for word in (f"--{name}", folder / value)]
    own = ["--cells", cells, "--out", out / "runs", "--results", out / "results", "--threads", 1, "--quiet"]
    return [str(word) for word in (*paths, *own)]


def called(arguments, capsys):
    """What the program prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *arguments])
        assert run.main() == 0
    return capsys.readouterr().out


def lasting(result):
    """The part of a result that does not depend on time and place."""
    return {name: value for name, value in result.items() if name not in ("cost", "made")}


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """Two arms, run without a stop."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *options(folder, out, f"{NONE},{PAPER}")])
        assert run.main() == 0
    return out


def test_a_result_is_complete(finished):
    found = {name: json.loads((finished / "results" / f"{name}.json").read_text()) for name in (NONE, PAPER)}
    for name, one in found.items():
        assert one["cell"]["name"] == name
        assert [point["epoch"] for point in one["curve"]] == [1, 2]
        measures = {(line["set"], line["metric"], line["protocol"]): line for line in one["measures"]}
        assert {key[0] for key in measures} == {"val", "CIFAR-10 subset", "cue conflict", "val, corrupted"}
        assert {"top1", "shape_bias", "shape_accuracy", "texture_accuracy", "mean_error"} == {
            key[1] for key in measures
        }
        assert measures["val", "top1", "linear probe"]["value"] == one["curve"][-1]["linear"]
        errors = measures["val, corrupted", "mean_error", "corruption error"]["errors"]
        assert {name: len(own) for name, own in errors.items()} == dict.fromkeys(corruptions.CORRUPTIONS, 5)
        assert len(one["loss"]) == len(one["cost"]["seconds_by_epoch"]) == 2
        assert one["settings"]["backbone"]["width"] == 0.125
        assert one["data"]["train"]["images"] == 30
        assert "examples/evidence/run.py --data" in one["made"]["command"]
    assert found[NONE]["settings"]["data"]["style"] is None
    assert found[PAPER]["settings"]["data"]["style"]["p"] == 0.8
    assert found[NONE]["weights"] != found[PAPER]["weights"]


def test_a_finished_cell_is_skipped_and_listed(folder, finished, capsys):
    file = finished / "results" / f"{NONE}.json"
    before = file.stat().st_mtime_ns
    assert f"{NONE}: has a result" in called(options(folder, finished, NONE), capsys)
    assert file.stat().st_mtime_ns == before
    listed = called([*options(folder, finished, f"{NONE},{COLOR}"), "--list"], capsys).splitlines()
    assert [line.split()[:2] for line in listed] == [[NONE, "finished"], [COLOR, "color"]]


KILL = """
import os, signal, sys
sys.path.insert(0, {program!r})
import measure, run, sassl.pretraining
what, at = {what!r}, {at}
kind, name = (measure, "curve") if what == "measure" else (sassl.pretraining.Native, "step")
original, calls = getattr(kind, name), [0]
def killed(*arguments):
    calls[0] += 1
    if calls[0] == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
setattr(kind, name, killed)
run.main()
"""


# After an epoch's checkpoint and before its measures; in the midst of the second epoch.
@pytest.mark.parametrize(("what", "at"), [("measure", 1), ("step", 5)])
def test_a_cell_that_was_killed_resumes_bit_identically(what, at, folder, finished, tmp_path, capsys):
    if not hasattr(os, "fork"):
        pytest.skip("DID NOT RUN: no SIGKILL here")
    arguments = options(folder, tmp_path, PAPER)
    code = KILL.format(program=str(PROGRAM), what=what, at=at)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "results").exists()
    called(arguments, capsys)
    ours, theirs = (json.loads((out / "results" / f"{PAPER}.json").read_text()) for out in (tmp_path, finished))
    assert lasting(ours) == lasting(theirs)
    last = "checkpoint-00002-0000000.safetensors"
    states = [Pretraining.load(out / "runs" / PAPER / last).engine.state() for out in (tmp_path, finished)]
    assert states[0].keys() == states[1].keys()
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_a_time_limit_stops_with_a_checkpoint(folder, tmp_path, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *options(folder, tmp_path, NONE), "--time-limit", "0.0001"])
        assert run.main() == 75
    assert "start the same command again" in capsys.readouterr().out
    assert run.checkpoints_of(tmp_path / "runs" / NONE)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("method", study.RECIPES)
def test_arms_share_first_weights_crops_and_all_draws_but_those_of_style(method, folder):
    arms = study.ARMS if method == "simclr" else ("none", "paper", "color")
    models = {arm: study.build(study.Cell(method, arm, "quick", 32), threads=1) for arm in arms}
    first = models["none"].engine.state()
    plain = list(TwoViewLoader(folder / "tiny" / "train", models["none"].transform, 12, seed=5, output="numpy"))
    for arm, model in models.items():
        state = model.engine.state()
        assert all(np.array_equal(state[name], first[name]) for name in first), arm
        batches = list(TwoViewLoader(folder / "tiny" / "train", model.transform, 12, seed=5, output="numpy"))
        assert [batch[2] for batch in batches] == [batch[2] for batch in plain]
        right = [np.array_equal(ours[0][1], theirs[0][1]) for ours, theirs in zip(batches, plain, strict=True)]
        assert all(right), arm
        left = np.concatenate(
            [(ours[0][0] == theirs[0][0]).all((1, 2, 3)) for ours, theirs in zip(batches, plain, strict=True)]
        )
        # Views that style left out are those of the arm without style.
        if arm in ("none", "warm-up"):
            assert left.all()
        elif arm == "p-1":
            assert not left.any()
        else:
            assert 0 < left.sum() < 36, arm


def test_crops_and_colors_of_the_arms_have_the_same_parameters():
    drawn = {}
    for arm in ("none", "paper", "color", "jackson"):
        transform = study.build(study.Cell("simclr", arm, "quick", 32), threads=1).transform
        views = transform.replace(generator=np.random.default_rng(3)).sample(32, 32)
        drawn[arm] = [{name: one[name] for name in one if name not in ("sassl", "color_transfer")} for one in views]
    assert {"random_resized_crop", "color_jitter", "horizontal_flip"} <= drawn["none"][0].keys()
    assert all(own == drawn["none"] for own in drawn.values())


def test_cells_have_names_and_a_plan():
    primary = [cell for cell in study.CELLS.values() if cell.is_primary]
    assert len(primary) == 12
    assert {(cell.method, cell.side) for cell in primary} == {("simclr", 64)}
    for cell in study.CELLS.values():
        assert cell.reference.name in study.CELLS
        assert study.SIZES[cell.size].measured[-1] == study.SIZES[cell.size].epochs
    assert {cell.size for cell in study.select(None)} == {"full", "short"}
    with pytest.raises(ValueError, match="no cell matches"):
        study.select("nothing*")
    for method, size in {(cell.method, cell.size) for cell in study.CELLS.values()}:
        model = study.build(study.Cell(method, "none", size), threads=1)
        assert model.config.schedule.epochs == study.SIZES[size].epochs
        model.engine.check_batch(model.config.data.batch_size)
    warm_up = study.style_of(study.ARMS["warm-up"], 20)
    assert warm_up.p == [[0, 0.0], [4, 0.0], [8, 0.8]] or warm_up.p == [(0, 0.0), (4, 0.0), (8, 0.8)]


def loops(image, target):
    """Reinhard et al. 2001, equations 4 to 9 and 12, pixel by pixel."""
    a, b, c = 1 / math.sqrt(3), 1 / math.sqrt(6), 1 / math.sqrt(2)

    def lab(pixel):
        red, green, blue = (x / 255 for x in pixel.tolist())
        cones = (
            0.3811 * red + 0.5783 * green + 0.0402 * blue,
            0.1967 * red + 0.7244 * green + 0.0782 * blue,
            0.0241 * red + 0.1288 * green + 0.8444 * blue,
        )
        long, middle, short = (math.log10(max(x, 1 / 255)) for x in cones)
        return a * (long + middle + short), b * (long + middle - 2 * short), c * (long - middle)

    def statistics(pixels):
        found = []
        for column in zip(*pixels, strict=True):
            mean = math.fsum(column) / len(column)
            found.append((mean, math.sqrt(math.fsum((x - mean) ** 2 for x in column) / len(column))))
        return found

    ours, theirs = ([lab(pixel) for pixel in one.reshape(-1, 3)] for one in (image, target))
    back = np.linalg.inv([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
    made = []
    for pixel in ours:
        moved = [
            (x - m) * (s_target / s) + m_target
            for x, (m, s), (m_target, s_target) in zip(pixel, statistics(ours), statistics(theirs), strict=True)
        ]
        light, alpha, beta = a * moved[0], b * moved[1], c * moved[2]
        cones = [10 ** (light + alpha + beta), 10 ** (light + alpha - beta), 10 ** (light - 2 * alpha)]
        made.append([255 * min(1, max(0, x)) for x in back @ cones])
    return np.array(made).reshape(image.shape)


def test_color_transfer_is_reinhards(photo):
    image, target = photo[:6, :7], photo[40:47, 30:35]
    found = color_transfer.transfer(image, target)
    assert found.dtype == np.uint8
    # Half a level is rounding.
    assert np.abs(found - loops(image, target)).max() <= 0.5 + 1e-6
    assert np.abs(color_transfer.transfer(image, image).astype(int) - image).max() <= 2
    flat = np.full((4, 4, 3), 90, np.uint8)
    moved = color_transfer.transfer(flat, target)
    assert (moved == moved[0, 0]).all()


def test_the_operation_takes_the_colors_of_the_styled_view(photo):
    operation = color_transfer.ColorTransfer()
    image = np.ascontiguousarray(photo[:32, :32])
    block = color_transfer._block((0.1, 0.3), (0.1, 0.3), "default")
    styled = block.apply(image[None], block.sample(11, 1))[0]
    made = operation(image, 11)
    assert np.array_equal(made, operation(image, 11))
    assert not np.array_equal(made, operation(image, 12))
    ours, theirs = (color_transfer.to_lab(one) for one in (made, styled))
    np.testing.assert_allclose(ours.mean(1), theirs.mean(1), atol=0.02)
    np.testing.assert_allclose(ours.std(1), theirs.std(1), atol=0.02)


def test_corruptions_grow_and_repeat(photo):
    batch = np.stack([photo[:32, :32], photo[32:, 40:72]])
    for name in corruptions.CORRUPTIONS:
        made = [corruptions.corrupted(batch, name, severity) for severity in range(1, 6)]
        assert all(one.shape == batch.shape and one.dtype == np.uint8 for one in made)
        changes = [np.abs(one.astype(int) - batch).mean() for one in made]
        assert changes[0] > 0, name
        assert changes == sorted(changes), name
        assert np.array_equal(made[2], corruptions.corrupted(batch, name, 3))


def made_up(arm, seed, top1):
    """A result of a primary cell."""
    cell = study.Cell("simclr", arm, "full", seed=seed)
    line = {"set": "val", "school": "", "protocol": "linear probe", "metric": "top1", "value": top1, "seed": 0}
    own = {"model": arm, "checkpoint": cell.name, "weights": cell.name, "pretraining_seed": seed}
    return {
        "cell": {**vars(cell), "name": cell.name, "title": arm},
        "measures": [{**line, **own}],
        "curve": [{"epoch": epoch, "linear": top1 - gap, "knn": top1 - 9} for epoch, gap in ((90, 0.2), (100, 0.0))],
        "cost": {"seconds_per_step": 0.5, "seconds_by_epoch": [0.5] * 100, "memory_mib_by_epoch": [300] * 100},
        "made": {"command": "python run.py"},
    }


def test_the_interval_is_students_on_paired_differences(tmp_path):
    need("scipy")
    from scipy import stats

    rng = np.random.default_rng(0)
    none = 40 + rng.normal(0, 1, 6)
    paper = none + rng.normal(0.5, 1, 6)
    for arm, values in (("none", none), ("paper", paper)):
        for seed, top1 in enumerate(values.tolist()):
            one = made_up(arm, seed, top1)
            run.write(tmp_path / f"{one['cell']['name']}.json", one)
    results = report.load(tmp_path)
    assert len(results) == 12
    found = report.compared(results).rows[0].differences["paper"]
    low, high = stats.t.interval(0.95, 5, (paper - none).mean(), stats.sem(paper - none))
    np.testing.assert_allclose([found.value - found.half, found.value + found.half], [low, high], rtol=1e-9)
    text = report.report(results, tmp_path)
    assert f"95 % interval {low:+.2f} to {high:+.2f} (6 pairs)" in text
    assert "after 100: level." in text
    few = {name: one for name, one in results.items() if one["cell"]["seed"] < 4}
    assert "(4 pairs). The plan has 6 pairs: this is unfinished, and no result yet." in report.report(few, tmp_path)
    assert {"curves.png", "difference.png"} <= {path.name for path in tmp_path.iterdir()}


def test_results_of_real_cells_are_reported(finished, tmp_path):
    text = report.report(report.load(finished / "results"), tmp_path, ["quick"])
    assert "| simclr | SASSL as in the paper | 32 | 0 |" in text
    assert f"- `{NONE}`: `python examples/evidence/run.py --data" in text
    assert report.report({}, tmp_path).endswith("None yet.\n")


def test_archives_are_unpacked_once(folder, tmp_path):
    import shutil

    archive = shutil.make_archive(str(tmp_path / "tiny"), "tar", folder / "tiny")
    found = images.find(tmp_path / "tiny.tar", tmp_path / "scratch")
    assert archive.endswith("tiny.tar")
    assert found.cifar10 is None
    assert found.cue_conflict is None
    file = found.train / "n02132136" / "0.png"
    before = file.stat().st_mtime_ns
    assert images.find(tmp_path / "tiny.tar", tmp_path / "scratch") == found
    assert file.stat().st_mtime_ns == before
    assert found.describe() == images.find(folder / "tiny", tmp_path).describe()
    few = found.first(2)
    assert few.train.labels() == [0, 0, 1, 1, 2, 2]
    assert [few.train.name(i) for i in (0, 1)] == ["n01855672/0.png", "n01855672/1.png"]
    assert found.first(None) == found
    with pytest.raises(FileNotFoundError, match=r"expected train/<class>"):
        images.find(folder / "cifar" / "train", tmp_path)

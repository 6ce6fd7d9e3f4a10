"""Results side by side: means, pairs and intervals against numpy and scipy, tables that render, files that are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import sassl
import transfer_layouts as layouts
from conftest import need
from PIL import Image
from sassl import evaluation
from sassl.cli import main
from sassl.evaluation.comparison.intervals import paired, t_quantile, unpaired

#: What a line of `sassl eval transfer` has beside what a test is about.
REST = {"school": "fold1", "protocol": "linear", "metric": "top1", "train": 9, "val": 9, "test": 9, "differences": []}


def line(value, run=0, name="dtd", seed=0, arm="a", **more):
    told = {"checkpoint": f"{arm}/{run}", "weights": f"{arm}{run}", "pretraining_seed": run, "set": name, "seed": seed}
    return {**told, **REST, "value": value, **more}


def robust(value, run=0, name="ImageNet-C", metric="mce", arm="a", **more):
    told = {"checkpoint": f"{arm}/{run}", "weights": f"{arm}{run}", "pretraining_seed": run, "set": name}
    return {**told, "n": 4, "c": 1.0, "mean_error": 50.0, metric: value, **more}


def write(path: Path, *lines) -> Path:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    return path


def row_of(compared, name, protocol="linear"):
    (row,) = (row for row in compared.rows if row.measurement[0] == name and row.measurement[2] == protocol)
    return row


@pytest.mark.parametrize("freedom", [1, 1.3, 2, 2.71, 3, 4.5, 9, 29, 123.4, 1e5])
def test_students_quantile_is_scipys(freedom):
    need("scipy")
    from scipy.stats import t

    for level in (0.5, 0.8, 0.95, 0.99):
        assert t_quantile(freedom, level) == pytest.approx(t.ppf((1 + level) / 2, freedom), rel=1e-8)


@pytest.mark.parametrize("n", [(2, 2), (3, 5), (10, 4)])
def test_intervals_are_scipys(n):
    need("scipy")
    from scipy import stats

    rng = np.random.default_rng(sum(n))
    ours, theirs = rng.normal(60, 1, n[0]), rng.normal(62, 3, n[1])
    found, expected = unpaired(ours.tolist(), theirs.tolist()), stats.ttest_ind(ours, theirs, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert (found.value - found.half, found.value + found.half) == pytest.approx((low, high), rel=1e-8)
    assert (found.n, found.basis) == (n, f"Welch, {n[0]} and {n[1]}")
    few = min(n)
    found, expected = paired((ours[:few] - theirs[:few]).tolist()), stats.ttest_rel(ours[:few], theirs[:few])
    low, high = expected.confidence_interval(0.95)
    assert (found.value - found.half, found.value + found.half) == pytest.approx((low, high), rel=1e-8)
    assert (found.n, found.basis) == ((few,), f"{few} pairs")


def test_too_few_for_an_interval():
    assert (paired([2.0]).value, paired([2.0]).half, paired([2.0]).basis) == (2, None, "one pair: no interval")
    found = unpaired([3.0, 5.0], [1.0])
    assert (found.value, found.half, found.basis) == (3, None, "unpaired, 2 and 1: no interval")
    # Values that are all equal.
    assert (unpaired([3.0, 3.0], [1.0, 1.0]).half, paired([2.0, 2.0]).half) == (0, 0)


def test_draws_are_averaged_before_checkpoints(tmp_path):
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(50, 5, (2, 3, 4))
    for name, values in (("with", ours), ("without", theirs)):
        lines = [line(values[run, seed], run, seed=seed, arm=name) for run in range(3) for seed in range(4)]
        # The order of lines means nothing.
        write(tmp_path / f"{name}.jsonl", *(lines[i] for i in rng.permutation(len(lines))))
    compared = evaluation.compare([tmp_path / "without.jsonl", tmp_path / "with.jsonl"])
    assert (compared.arms, compared.reference) == (("without", "with"), "without")
    (row,) = compared.rows
    for name, values in (("with", ours), ("without", theirs)):
        one = row.arms[name]
        assert (one.mean, one.sd) == pytest.approx((values.mean(), values.mean(1).std(ddof=1)))
        assert (one.n, one.draws) == (3, (4, 4))
    apart = ours.mean(1) - theirs.mean(1)
    assert row.differences.keys() == {"with"}
    found = row.differences["with"]
    # 4.302653 is t at 97.5 % with 2 degrees of freedom.
    assert found.value == pytest.approx(apart.mean())
    assert found.half == pytest.approx(4.302653 * apart.std(ddof=1) / np.sqrt(3), rel=1e-6)
    other = evaluation.compare([tmp_path / "without.jsonl", tmp_path / "with.jsonl"], reference="with")
    assert other.rows[0].differences["without"].value == pytest.approx(-found.value)
    cell = f"{ours.mean():.1f} ± {ours.mean(1).std(ddof=1):.1f} (3 \N{MULTIPLICATION SIGN} 4)"
    assert cell in str(compared).splitlines()[1]


def test_pairs_have_seeds_and_draws_in_common(tmp_path):
    a = write(tmp_path / "a.jsonl", *(line(v, run) for run, v in ((0, 10), (1, 20), (2, 40))))
    b = write(tmp_path / "b.jsonl", *(line(v, run, arm="b") for run, v in ((2, 41), (1, 23), (3, 90))))
    c = write(tmp_path / "c.jsonl", *(line(v, run, arm="c") for run, v in ((7, 11), (8, 13))))
    d = write(tmp_path / "d.jsonl", line(12, 0, arm="d"))
    found = evaluation.compare([a, b, c, d]).rows[0].differences
    assert (found["b"].value, found["b"].n) == (2, (2,))
    assert found["c"].basis == "Welch, 2 and 3"
    assert found["c"].value == pytest.approx(12 - 70 / 3)
    # One pair, where the reference has three: all of them.
    assert (found["d"].value, found["d"].basis) == (pytest.approx(12 - 70 / 3), "unpaired, 1 and 3: no interval")
    one = write(tmp_path / "one.jsonl", line(10, 0))
    found = evaluation.compare([one, d]).rows[0].differences
    assert (found["d"].value, found["d"].basis) == (2, "one pair: no interval")
    # Evaluation draws: those of both arms alone are paired.
    a = write(tmp_path / "a.jsonl", *(line(10 + seed, run, seed=seed) for run in (0, 1) for seed in (0, 1, 2)))
    b = write(tmp_path / "b.jsonl", *(line(20, run, seed=seed, arm="b") for run in (0, 1) for seed in (2, 3)))
    row = evaluation.compare([a, b]).rows[0]
    assert (row.differences["b"].value, row.differences["b"].n) == (8, (2,))
    assert (row.arms["a"].mean, row.partial, row.best()) == (11, {"b"}, set())
    # Seeds that are not known.
    old = [{key: x for key, x in line(v, v).items() if key != "pretraining_seed"} for v in (1, 3)]
    compared = evaluation.compare([write(tmp_path / "old.jsonl", *old), c])
    assert compared.rows[0].differences["c"].basis == "Welch, 2 and 2"
    assert "old: results without a pretraining seed, which cannot be paired." in compared.notes


def sets(tmp_path):
    """Two arms of three seeds: DTD in two schools, cars but in one checkpoint, food in one arm, and kappa."""
    values = np.random.default_rng(1).normal(60, 4, (2, 3, 4))
    paths = []
    for arm, own in zip(("base_line", "style"), values, strict=True):
        lines = []
        for run, (first, second, cars, grade) in enumerate(own):
            lines += [line(first, run, arm=arm), line(second, run, arm=arm, school="fold2")]
            lines += [line(grade / 100, run, "retinopathy", arm=arm, metric="kappa")]
            if run < 2 or arm == "style":
                lines += [line(cars, run, "cars", arm=arm)]
            if arm == "style":
                lines += [line(99, run, "food101", arm=arm)]
            lines += [line(10.0, run, arm=arm, protocol="knn")]
        paths.append(write(tmp_path / f"{arm}.jsonl", *lines))
    return paths, values


def test_the_mean_is_over_sets_that_all_arms_have(tmp_path):
    paths, values = sets(tmp_path)
    compared = evaluation.compare(paths)
    mean = row_of(compared, "mean")
    assert mean.sets == 2
    # A set counts once, and a checkpoint without cars not at all.
    each = (values[:, :, :2].mean(2) + values[:, :, 2]) / 2
    base, style = mean.arms["base_line"], mean.arms["style"]
    assert (base.mean, base.n) == (pytest.approx(each[0, :2].mean()), 2)
    assert (style.mean, style.sd, style.n) == (pytest.approx(each[1].mean()), pytest.approx(each[1].std(ddof=1)), 3)
    apart = (each[1] - each[0])[:2]
    found = mean.differences["style"]
    assert (found.value, found.n) == (pytest.approx(apart.mean()), (2,))
    assert found.half == pytest.approx(12.7062047 * apart.std(ddof=1) / np.sqrt(2), rel=1e-6)
    food = row_of(compared, "food101")
    assert (food.arms["base_line"], food.differences["style"], food.best()) == (None, None, set())
    assert "Not in the mean, because not every arm has it: food101 fold1 linear top1." in compared.notes
    assert "Not in the mean, which is of values in per cent: retinopathy fold1 linear kappa." in compared.notes
    assert any("because they lack a set: 1 of 3 checkpoints of base_line." in note for note in compared.notes)
    # The means of cars are not over the same seeds, which its difference is.
    cars = row_of(compared, "cars")
    assert (cars.partial, mean.partial, food.partial) == ({"style"}, {"style"}, set())
    assert cars.differences["style"].value == pytest.approx((values[1, :2, 2] - values[0, :2, 2]).mean())
    assert any(
        note.startswith("cars fold1 linear top1: the difference of style is over pairs only") for note in compared.notes
    )
    assert cars.best() == mean.best() == set()
    # Of one set there is no mean.
    assert [row.measurement[0] for row in compared.rows if row.measurement[2] == "knn"] == ["dtd"]
    told = {text.split()[0]: text for text in str(compared).splitlines() if text}
    assert re.search(
        r"kappa +0\.\d{3} ± 0\.\d{3} \(3\) +0\.\d{3} ± 0\.\d{3} \(3\) +[+-]?0\.\d{3} ± ", told["retinopathy"]
    )
    assert re.search(r"top-1 +- +99\.0 ± 0\.0 \(3\) +-$", told["food101"])


def test_tables_of_markdown_and_latex(tmp_path):
    paths, _ = sets(tmp_path)
    compared = evaluation.compare(paths)
    lines = compared.markdown().splitlines()
    table = [text for text in lines if text.startswith("|")]
    columns = {len(re.findall(r"(?<!\\)\|", text)) for text in table}
    assert columns == {8}
    assert set(table[1]) == set("|-: ")
    assert len(table) == 2 + len(compared.rows)
    assert r"base\_line" in table[0]
    bold = next(text for text in table if text.startswith("| dtd | fold1 | linear"))
    best = max(compared.rows[0].arms, key=lambda arm: compared.rows[0].arms[arm].mean)
    assert re.findall(r"\*\*(.*?)\*\*", bold) == [
        re.search(rf"{compared.rows[0].arms[best].mean:.1f} ± [\d.]+ \(3\)", bold).group()
    ]
    assert lines[lines.index("") + 1].startswith("- Mean ± standard deviation")

    text = compared.latex()
    body = [one for one in text.splitlines() if not one.startswith("%")]
    assert body[0] == r"\begin{tabular}{llllrrr}"
    assert (body[1], body[-2], body[-1]) == (r"\toprule", r"\bottomrule", r"\end{tabular}")
    rows = [one for one in body if one.endswith(r" \\")]
    assert len(rows) == 1 + len(compared.rows)
    assert {len(re.findall(r"(?<!\\)&", one)) for one in rows} == {6}
    plain = re.sub(r"\\[{}]", "", "\n".join(body))
    assert plain.count("{") == plain.count("}")
    assert not re.search(r"(?<!\\)[_#%]", plain)
    assert plain.count("$") % 2 == 0
    assert "\n".join(body).isascii()
    assert r"base\_line" in rows[0]
    assert sum(r"\textbf" in one for one in rows) == 3
    # A rule before the mean.
    assert body[body.index(next(one for one in rows if one.startswith("mean of 2 sets"))) - 1] == r"\midrule"


def test_names_with_signs_of_markdown_and_latex(tmp_path):
    a = write(tmp_path / "a.jsonl", *(line(v, v, model=name) for v, name in ((1, "x|y_z"), (2, "50%&{a}"))))
    compared = evaluation.compare([a])
    assert compared.arms == ("x|y_z", "50%&{a}")
    table = [text for text in compared.markdown().splitlines() if text.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", text)) for text in table} == {8}
    assert r"x|y\_z & 50\%\&\{a\} & 50\%\&\{a\} $-$ x|y\_z \\" in compared.latex()


def test_robustness_results_are_rows(tmp_path):
    a = [*(robust(v, run) for run, v in ((0, 80.0), (1, 82.0))), line(50, 0), line(50, 1)]
    b = [*(robust(v, run, arm="b") for run, v in ((0, 79.0), (1, 80.0))), line(51, 0, arm="b"), line(51, 1, arm="b")]
    for own, arm in ((a, "a"), (b, "b")):
        bias = {"shape_accuracy": 30.0, "texture_accuracy": 20.0}
        own += [robust(60.0 + (arm == "b"), run, "cue-conflict", "shape_bias", arm, **bias) for run in (0, 1)]
        own += [robust(40.0, 0, "ImageNet-V2", "top1", arm, variant=v) for v in ("top-images", "threshold0.7")]
    compared = evaluation.compare([write(tmp_path / "a.jsonl", *a), write(tmp_path / "b.jsonl", *b)])
    robustness = [row for row in compared.rows if row.measurement.protocol == "robustness"]
    assert [(row.measurement.set, row.measurement.school, row.measurement.metric) for row in robustness] == [
        ("ImageNet-C", "", "mce"),
        ("ImageNet-C", "", "mean_error"),
        *(("cue-conflict", "", metric) for metric in ("shape_bias", "shape_accuracy", "texture_accuracy")),
        ("ImageNet-V2", "top-images", "top1"),
        ("ImageNet-V2", "threshold0.7", "top1"),
    ]
    mce, _, bias, *_ = robustness
    assert (mce.differences["b"].value, mce.best()) == (-1.5, {"b"})
    assert (bias.differences["b"].value, bias.differences["b"].half, bias.best()) == (1, 0, {"b"})
    assert "mCE ↓" in str(compared)
    # Errors and biases have no mean.
    assert not any(row.sets > 1 for row in compared.rows)
    # A part of the corruptions has no mCE.
    part = [{**one, "mce": None} for one in b if one["set"] == "ImageNet-C"]
    compared = evaluation.compare([tmp_path / "a.jsonl", write(tmp_path / "b.jsonl", *part)])
    assert compared.rows[0].arms["b"] is compared.rows[0].differences["b"] is None
    assert f"{tmp_path / 'b.jsonl'}: line 1: ImageNet-C robustness mce is not defined and left out." in compared.notes


def test_what_is_an_arm(tmp_path):
    one = write(tmp_path / "one.jsonl", line(1, 0), line(2, 1))
    assert evaluation.compare([one]).arms == ("a/0", "a/1")
    compared = evaluation.compare([one], by="file")
    (row,) = compared.rows
    assert (compared.arms, row.arms["one"].mean, row.differences) == (("one",), 1.5, {})
    models = [line(v, run, arm=m, model=m) for m, run, v in (("a", 0, 1), ("b", 0, 2), ("a", 1, 3), ("b", 1, 6))]
    compared = evaluation.compare([write(tmp_path / "models.jsonl", *models)])
    assert (compared.arms, compared.rows[0].differences["b"].value) == (("a", "b"), 2)
    split = [write(tmp_path / f"{i}.jsonl", *models[i::2]) for i in range(2)]
    assert evaluation.compare(split, by="model").rows == compared.rows
    assert evaluation.compare({"a": split[0], "b": [split[1]]}).rows == compared.rows
    # Files of one name are told by their folders.
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "r.jsonl", line(1, 0))
    found = evaluation.compare([tmp_path / "x" / "r.jsonl", tmp_path / "y" / "r.jsonl"])
    assert found.arms == (str(tmp_path / "x" / "r"), str(tmp_path / "y" / "r"))
    # Several files of an arm.
    parts = [write(tmp_path / f"s{run}.jsonl", line(run, run, arm="s")) for run in range(2)]
    found = evaluation.compare({"s": parts, "one": one})
    assert (found.arms, found.rows[0].arms["s"].n, found.rows[0].differences["one"].n) == (("s", "one"), 2, (2,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"a\.jsonl: holds no results"),
        ("\n \n", r"a\.jsonl: holds no results"),
        ("[1]\n", r"line 1: is not a result of sassl eval: not a JSON object"),
        (json.dumps(line(1)) + "\n{", r"line 2: is not a result of .*: Expecting property name"),
        (b"\xff\n", r"line 1: is not a result"),
        (json.dumps({"checkpoint": "a", "set": "dtd"}), r"line 1: is not a result .*: 'school' is missing"),
        (json.dumps({"checkpoint": "a", "set": "cue-conflict"}), r"line 1: .*: 'shape_bias' is missing"),
        (json.dumps(line("1")), r"'value' must be a finite value or null, got '1'"),
        (json.dumps(line(float("nan"))), r"'value' must be a finite value or null, got nan"),
        (json.dumps(line(True)), r"'value' must be a finite value or null, got True"),
        (json.dumps(line(1, pretraining_seed="0")), r"'pretraining_seed' must be an integer, got '0'"),
        (json.dumps(line(1, name=3)), r"'set' must be a string, got 3"),
        (json.dumps(line(1, metric="f1")), r"metric 'f1' is not one of top1, "),
    ],
)
def test_a_file_that_is_no_results_is_named(tmp_path, text, said):
    path = tmp_path / "a.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=said) as raised:
        evaluation.compare([path])
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("lines", "others", "said"),
    [
        (
            [line(1), line(2)],
            [],
            r"a\.jsonl: line 2: dtd fold1 linear top1 of this checkpoint, evaluation seed 0, is in .*line 1",
        ),
        (
            [robust(1.0), robust(2.0)],
            [],
            r"a\.jsonl: line 2: ImageNet-C robustness mce of this checkpoint, evaluation seed 0",
        ),
        (
            [line(1), line(2, weights="other")],
            [],
            r"line 2: the arm a has another checkpoint of pretraining seed 0, in .*line 1; give each its own arm",
        ),
        (
            [line(1)],
            [line(1, test=8)],
            r"b\.jsonl: line 1: test of dtd fold1 linear top1 is 8, but 9 in .*a\.jsonl: line 1",
        ),
        (
            [line(1)],
            [line(1, seed=1, differences=["train: 3 images"])],
            r"b\.jsonl: line 1: differences of dtd fold1 linear top1 is True, but False in",
        ),
        (
            [line(1, protocol="finetune", recipe="kornblith", finetuning={})],
            [line(1, protocol="finetune", recipe="ssl-transfer", finetuning={})],
            r"recipe of dtd fold1 finetune top1 is 'ssl-transfer', but 'kornblith' in",
        ),
        (
            [robust(1.0)],
            [robust(1.0, c=2.0)],
            r"c of ImageNet-C robustness mce is 2\.0, but 1\.0 in .*; measure both alike",
        ),
    ],
)
def test_nothing_is_mixed_silently(tmp_path, lines, others, said):
    files = [write(tmp_path / "a.jsonl", *lines), *([write(tmp_path / "b.jsonl", *others)] if others else [])]
    with pytest.raises(ValueError, match=said):
        evaluation.compare(files, by="file")


def test_wrong_calls(tmp_path):
    a = write(tmp_path / "a.jsonl", line(1))
    for call, said in (
        (lambda: evaluation.compare([]), r"results must be different files, at least one, got \[\]"),
        (lambda: evaluation.compare([a, a]), "results must be different files"),
        (lambda: evaluation.compare(str(a)), "results must be a list of files, or a dict of arms, got"),
        (lambda: evaluation.compare([a], by="seed"), "by must be one of 'file', 'model'.*, got 'seed'"),
        (lambda: evaluation.compare([a], by="model"), "line 1: the result does not name its model"),
        (lambda: evaluation.compare([a], reference="b"), "reference must be .*'a/0'.*, got 'b'"),
        (
            lambda: evaluation.compare([a]).save(tmp_path / "a.csv"),
            r"a\.csv: the name must end in \.txt, \.md, \.tex",
        ),
        (lambda: evaluation.compare([a]).plot(), "no two arms have a measurement in common"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(FileNotFoundError):
        evaluation.compare([tmp_path / "nowhere.jsonl"])


def test_sets_that_are_not_as_published_are_told(tmp_path):
    part = {"differences": ["3 classes, where 47 are published"]}
    a = write(tmp_path / "a.jsonl", line(1, **part, resize="96 to 96"))
    b = write(tmp_path / "b.jsonl", line(1, **part, resize="224 to 224"))
    notes = evaluation.compare([a, b]).notes
    assert notes[-2:] == (
        "dtd: 3 classes, where 47 are published.",
        "dtd: images were resized 96 to 96 in a, 224 to 224 in b.",
    )


def test_a_forest_plot(tmp_path):
    need("matplotlib")
    paths, _ = sets(tmp_path)
    compared = evaluation.compare(paths)
    figure = compared.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    # Per cent and kappa are not on one axis.
    shares, grades = figure.axes
    drawn = [row for row in compared.rows if row.differences["style"] is not None]
    for axes, rows in (
        (shares, [row for row in drawn if row.metric.is_share]),
        (grades, [row_of(compared, "retinopathy")]),
    ):
        assert [text.get_text().split()[0].rstrip(",") for text in axes.get_yticklabels()] == [
            row.measurement.set for row in rows
        ]
        for row, (point, _, (bar,)) in zip(rows, axes.containers, strict=True):
            found = row.differences["style"]
            assert point.get_xdata()[0] == pytest.approx(found.value)
            ends = bar.get_segments()[0][:, 0]
            assert ends == pytest.approx([found.value - found.half, found.value + found.half])
    assert [text.get_text() for text in figure.legends[0].texts] == ["style - base_line"]


def test_the_command(tmp_path, capsys):
    need("matplotlib")
    (a, b), _ = sets(tmp_path)
    call = ["compare", str(a), str(b)]
    assert main(call) == 0
    compared = evaluation.compare([a, b])
    assert capsys.readouterr().out == f"{compared}\n"
    for name, made in (
        ("table.md", compared.markdown()),
        ("table.tex", compared.latex()),
        ("table.txt", str(compared)),
    ):
        assert main([*call, "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_text() == f"{made}\n"
        assert capsys.readouterr().out == f"{compared}\n{tmp_path / name}: the table\n"
    assert main([*call, "--format", "latex", "--reference", "style", "--out", str(tmp_path / "a.svg")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(evaluation.compare([a, b], reference="style").latex())
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert main(["compare", f"x={a}", f"y={b}", "--by", "file"]) == 0
    assert "y - x" in capsys.readouterr().out
    for words, told in (
        ([*call, str(tmp_path)], f"{tmp_path} is a run, but {a} has results; compare runs with runs"),
        (
            [*call, "--out", str(tmp_path / "a.csv")],
            "a file whose name ends in .png or .svg or .pdf or .txt or .md or .tex",
        ),
        ([*call, "--reference", "x"], "--reference must be 'base_line' or 'style', got 'x'"),
        (["compare", f"x={a}", str(b)], "x=... names an arm, and other inputs do not; name all arms or none"),
        (
            ["compare", str(tmp_path), str(tmp_path / "x"), "--format", "latex"],
            "--format is for .jsonl files",
        ),
        (["compare", str(tmp_path / "nowhere.jsonl")], "nowhere.jsonl: No such file or directory"),
    ):
        assert main(words) == 1
        said = capsys.readouterr()
        assert told in said.err
        assert said.err.count("\n") == 1


def test_help_fits_a_screen(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert len(capsys.readouterr().out.splitlines()) <= 30


def test_what_the_evaluation_writes_is_compared(tmp_path, capsys):
    layouts.dtd(tmp_path / "data")
    out = tmp_path / "results.jsonl"
    for seed in (3, 4):
        path = tmp_path / f"{seed}.safetensors"
        sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2, seed=seed).save(path)
        call = ["eval", "transfer", str(path), "--data", str(tmp_path / "data"), "--out", str(out)]
        assert main([*call, "--counts", "any", "--protocol", "knn"]) == 0
    assert [json.loads(text)["pretraining_seed"] for text in out.read_text().splitlines()] == [3, 4]
    capsys.readouterr()
    assert main(["compare", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split()[4:6] == [str(tmp_path / "3.safetensors"), str(tmp_path / "4.safetensors")]
    assert said[1].split()[:4] == ["dtd", "fold1", "knn", "top-1"]
    assert said[1].endswith("(unpaired, 1 and 1: no interval)")


PROTOCOLS = {
    "knn": ["--k", "3"],
    "linear": ["--epochs", "2"],
    "logistic": ["--c", "1", "10"],
    "augmented": ["--epochs", "1", "--batch-size", "8", "--lr", "1"],
}


def test_results_of_each_protocol_are_compared(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split, n in (("train", 10), ("val", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"{i}.png")
    small = {"width": 0.125, "small_stem": True, "input_size": 16, "dim": 8, "hidden_dim": 8, "threads": 1}
    files = {arm: tmp_path / f"{arm}.jsonl" for arm in ("without", "with")}
    for arm, path in files.items():
        for seed in (0, 1):
            checkpoint = tmp_path / f"{arm}{seed}.safetensors"
            sassl.SimCLR("resnet18", seed=seed, temperature=0.5 if arm == "with" else 0.1, **small).save(checkpoint)
            for protocol, own in PROTOCOLS.items():
                words = ["eval", protocol, str(checkpoint), "--data", str(tmp_path / "photos"), "--threads", "1", *own]
                for _ in range(2):
                    assert main([*words, "--results", str(path)]) == 0
        # A result that is computed again takes the place of the first.
        found = [json.loads(text) for text in path.read_text().splitlines()]
        assert [one["protocol"] for one in found] == 2 * [*PROTOCOLS]
        assert {one["set"] for one in found} == {"photos"}
        assert all(one["value"] == one["top1"] and (one["train"], one["test"]) == (20, 8) for one in found)
    compared = evaluation.compare([*files.values()])
    assert [row.measurement.protocol for row in compared.rows] == [*PROTOCOLS]
    assert all(row.differences["with"].is_paired for row in compared.rows), [row.differences for row in compared.rows]
    words = ["eval", "knn", str(tmp_path / "with0.safetensors"), "--data", str(tmp_path / "photos"), "--k", "5"]
    other = tmp_path / "other.jsonl"
    assert main([*words, "--results", str(other)]) == 0
    with pytest.raises(ValueError, match="settings"):
        evaluation.compare([files["without"], other])
    capsys.readouterr()
    for path, error in ((tmp_path, "a folder"), (tmp_path / "none" / "a.jsonl", "there is no folder")):
        assert main([*words, "--results", str(path)]) == 1
        assert f"--results {path}: {error}" in capsys.readouterr().err

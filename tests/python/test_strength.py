"""The curve of strength against distances that are computed here, and its figure."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sassl
from conftest import coloured
from PIL import Image
from sassl import StyleBank, Stylizer, evaluation
from sassl.cli import main
from sassl.data import Arrays
from sassl.evaluation import Preprocessing
from sassl.transforms import SASSL

RULE = Preprocessing(32, resize=36, normalize={"mean": [0.5] * 3, "std": [0.25] * 3})


def features(batch: np.ndarray) -> np.ndarray:
    """Means of 4x4 cells, and how much they vary."""
    cells = batch.reshape(len(batch), 3, 8, 4, 8, 4)
    return np.concatenate([cells.mean((3, 5)), cells.std((3, 5))], axis=1).reshape(len(batch), -1)


def images(photo: np.ndarray, n: int = 6) -> Arrays:
    """Parts of a photograph, of two classes."""
    parts = [photo[y : y + 40, x : x + 40] for y, x in zip(range(0, 24, 4), range(0, 40, 6), strict=False)]
    return Arrays(np.stack(parts[:n]), [i % 2 for i in range(n)])


def test_distances_are_those_of_views_made_one_by_one(photo):
    data, model = images(photo), Stylizer("lite")
    found = evaluation.strength(
        features, data, SASSL(model=model), alpha=[0.3, 1.0], beta=[0.0, 0.5], preprocessing=RULE
    )
    drawn = SASSL(model=model).block.sample(0, 6)
    vectors = StyleBank.default().vectors[drawn.style]
    mean, std = (np.float32(RULE.normalize[name][0]) for name in ("mean", "std"))

    def directions(seen: np.ndarray) -> np.ndarray:
        made = features((seen.transpose(0, 3, 1, 2) / np.float32(255) - mean) / std).astype(np.float64)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    # Resized to 36 and the middle cut out, by Pillow.
    small = [np.asarray(Image.fromarray(data[i][0]).resize((36, 36), Image.BILINEAR))[2:34, 2:34] for i in range(6)]
    seen = np.stack(small)
    at = directions(seen)
    for i, alpha in enumerate(found["alpha"]):
        for j, beta in enumerate(found["beta"]):
            views = np.stack([model.stylize(seen[k : k + 1], vectors[k], alpha, beta)[0] for k in range(6)])
            cosines = directions(views) @ at.T
            assert found["moved"][i][j] == pytest.approx(1 - np.diagonal(cosines).mean(), abs=1e-6)
            assert found["kept"][i][j] == pytest.approx(100 * (cosines.argmax(1) == np.arange(6)).mean())
            assert found["levels"][i][j] == pytest.approx(np.abs(views.astype(int) - seen).mean())
    distances = 1 - at @ at.T
    pairs = [(a, b) for a in range(6) for b in range(6) if a != b]
    assert found["another_image"] == pytest.approx(np.mean([distances[pair] for pair in pairs]), rel=1e-5)
    same = np.mean([distances[a, b] for a, b in pairs if (a - b) % 2 == 0])
    assert found["same_class"] == pytest.approx(same, rel=1e-5)
    assert found["relative"][1][1] == pytest.approx(found["moved"][1][1] / found["another_image"])
    # Without style nothing moves; more of it moves more.
    assert (found["moved"][1][0], found["kept"][1][0], found["levels"][1][0]) == (pytest.approx(0, abs=1e-12), 100, 0)
    assert found["moved"][1][1] > found["moved"][0][1] > 0
    assert found["style"]["styles"] == "default"
    assert "alpha" not in found["style"]


def test_draws_are_keyed(photo):
    data, style = images(photo), SASSL()
    settings = {"alpha": [1.0], "beta": [1.0], "preprocessing": RULE}
    first = evaluation.strength(features, data, style, **settings)
    assert evaluation.strength(features, data, style, batch_size=2, **settings) == first
    assert evaluation.strength(features, data, style, seed=1, **settings)["moved"] != first["moved"]
    assert evaluation.strength(features, data, style, n=3, **settings)["n"] == 3
    # Styles of the other images; one class alone has no distance within it to tell.
    single = Arrays(np.stack([data[i][0] for i in range(6)]))
    found = evaluation.strength(features, single, "batch", **settings)
    assert (found["same_class"], found["style"]["styles"]) == (None, "batch")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": [0.1, 1.5]}, r"alpha must be values in \[0, 1\], got \[0.1, 1.5\]"),
        ({"beta": []}, r"beta must be values in \[0, 1\], got \[\]"),
        ({"beta": ["much"]}, r"beta must be values in \[0, 1\], got 'much'"),
        ({"n": 1}, "n must be an integer >= 2, got 1"),
        ({"style": None}, "style must be a SASSL, or its styles, got None"),
        (
            {"preprocessing": Preprocessing((32, 40), normalize=None)},
            "the size of preprocessing must be a square of at least 8 pixels, got",
        ),
        (
            {"preprocessing": Preprocessing(4, normalize=None)},
            "the size of preprocessing must be a square of at least 8 pixels, got",
        ),
    ],
)
def test_what_cannot_be_is_said(photo, settings, message):
    with pytest.raises(ValueError, match=message):
        evaluation.strength(features, images(photo), **{"style": "default", "preprocessing": RULE, **settings})


def test_data_without_distances_is_refused(photo):
    with pytest.raises(ValueError, match="data must have at least 2 images for distances between them, got 1"):
        evaluation.strength(features, images(photo, 1), preprocessing=RULE)
    with pytest.raises(ValueError, match="the model has the same features for all 6 images of the data"):
        evaluation.strength(lambda batch: np.ones((len(batch), 4)), images(photo), preprocessing=RULE)


def test_a_figure_and_its_numbers(tmp_path, capsys):
    coloured(tmp_path, {"val": 3})
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
    model.save(tmp_path / "model.safetensors")
    call = ["eval", "strength", str(tmp_path / "model.safetensors"), "--data", str(tmp_path / "val")]
    call += ["--alpha", "0.2", "1", "--beta", "0", "0.5", "--n", "5"]
    assert main([*call, "--out", str(tmp_path / "curve.png")]) == 0
    told = capsys.readouterr().out
    assert f"{tmp_path / 'curve.png'}: 5 images of 16 pixels; relative = 1 is the distance to another image" in told
    found = json.loads((tmp_path / "curve.json").read_text())
    expected = evaluation.strength(model, tmp_path / "val", alpha=[0.2, 1], beta=[0, 0.5], n=5)
    assert {name: found[name] for name in expected} == expected
    assert (found["model"], found["arch"]) == (call[2], "resnet18")
    with Image.open(tmp_path / "curve.png") as figure:
        assert figure.size[0] > 600
    (tmp_path / "val" / "blue" / "1.png").write_bytes(b"no image")
    assert main([*call, "--n", "6", "--out", str(tmp_path / "curve.png")]) == 1
    assert "1.png" in capsys.readouterr().err
    assert main([*call, "--out", str(tmp_path / "curve.txt")]) == 1
    assert "a file whose name ends in .png or .svg or .pdf" in capsys.readouterr().err

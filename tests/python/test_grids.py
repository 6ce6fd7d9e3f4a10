"""Figures of images: amplified differences against numpy, grids, captions of draws, and sizes of JPEGs."""

from __future__ import annotations

import io
import runpy

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from sassl import grids
from sassl._sassl import StyleParams
from sassl.grids import Row


def flat(value, shape=(16, 16)):
    return np.full((*shape, 3), value, np.uint8)


def test_a_difference_is_numpys_around_mid_gray():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 9, 7, 3), np.uint8)
    for gain in (1, 8, 0.5, 2.5):
        expected = np.clip(np.round(128 + gain * (a.astype(np.float64) - b)), 0, 255)
        assert np.array_equal(grids.difference(a, b, gain), expected)
    assert (grids.difference(a, a) == 128).all()
    # Three levels brighter and darker, by the usual gain; then what is clipped.
    assert (grids.difference(flat(103), flat(100)) == 128 + 3 * grids.GAIN).all()
    assert (grids.difference(flat(97), flat(100)) == 128 - 3 * grids.GAIN).all()
    assert (grids.difference(flat(255), flat(0)) == 255).all()
    assert (grids.difference(flat(0), flat(255)) == 0).all()
    with pytest.raises(ValueError, match=r"image must have the shape of original, \(8, 8, 3\), got \(9, 7, 3\)"):
        grids.difference(a, flat(0, (8, 8)))


def test_a_grid_places_images_and_writes_around_them():
    red, green = flat((255, 0, 0), (40, 40)), flat((0, 255, 0), (20, 40))
    plain = np.asarray(grids.grid([Row([red, green]), Row([green])], height=40))
    assert plain.shape == (8 + 2 * 48, 8 + 48 + 88, 3)
    assert (plain[8:48, 8:48] == (255, 0, 0)).all()
    assert (plain[8:48, 56:136] == (0, 255, 0)).all()
    assert (plain[56:96, 8:88] == (0, 255, 0)).all()
    assert (plain[:8] == 255).all()
    assert (plain[48:56] == 255).all()
    told = np.asarray(grids.grid([Row([red, red], ["a", ""], "title")], height=40))
    rows, columns = np.nonzero((told[..., 1] > 0) & (told[..., 1] < 200))
    assert len(rows), "text is written"
    top = told.shape[0] - 40 - 18 - 8
    assert (told[top : top + 40, 8:48] == (255, 0, 0)).all()
    below = rows > top + 40
    assert (rows[~below] < top).all()
    assert below.any()
    assert columns[below].max() < 48, "the second image has no caption"


def test_captions_stay_below_their_image():
    long = "a caption of several words and a-word-that-is-longer-than-the-image-is-wide"
    sheet = np.asarray(grids.grid([Row([flat(0, (60, 60))] * 2, [long, ""])], height=60))
    text = (sheet[68:] < 200).any(-1)
    assert text[:, 8:68].any()
    assert not text[:, 68:].any()


def test_what_no_grid_can_be_made_of():
    for rows in ([], [Row([])]):
        with pytest.raises(ValueError, match="at least one image"):
            grids.grid(rows)
    with pytest.raises(ValueError, match="captions must have length 2, one for each image, got 1"):
        grids.grid([Row([flat(0), flat(0)], ["a"])])


def test_captions_come_from_the_draws():
    params = StyleParams([True, False], [0.123, 0.2], [0.3, 0.25], [4, 5])
    assert grids.drawn(params) == ["alpha 0.12, beta 0.30, style 4", "not applied"]
    assert grids.drawn(params, ["-"] * 4 + ["paintings/night.jpg", "-"])[0] == "alpha 0.12, beta 0.30, night"
    vectors = StyleParams([True], [0.5], [1], np.zeros((1, 3), np.float32))
    assert grids.drawn(vectors) == ["alpha 0.50, beta 1.00"]
    full = grids.full_strength(params)
    assert full.apply.tolist() == [True, False]
    assert full.alpha.tolist() == full.beta.tolist() == [1.0, 1.0]
    assert full.style.tolist() == [4, 5]


def test_rows_of_strengths_show_view_difference_and_full_strength():
    views, full = [flat(101), flat(100)], [flat(7), flat(9)]
    shown, changed, strong = grids.strengths(views, [flat(100)] * 2, full, ["a", "b"], "left", gain=4)
    assert (shown.title, shown.captions) == ("left", ["a", "b"])
    assert changed.title.startswith("difference x 4")
    assert [int(image.mean()) for image in changed.images] == [132, 128]
    assert "alpha = beta = 1" in strong.title
    assert strong.images is full


def test_a_jpeg_keeps_to_its_size(photo):
    image = Image.fromarray(photo).resize((400, 320))
    best, small = grids.jpeg(image, 10**6), grids.jpeg(image, 12_000)
    assert len(small) <= 12_000 < len(best)
    with Image.open(io.BytesIO(small)) as read:
        assert (read.format, read.size) == ("JPEG", (400, 320))
    with pytest.raises(ValueError, match="400x320 pixels does not fit into 100 bytes"):
        grids.jpeg(image, 100)


def test_the_figure_in_the_readme_is_what_its_script_draws():
    folder = ROOT / "docs" / "images"
    assert "](docs/images/sassl.jpg)" in (ROOT / "README.md").read_text()
    kept = (folder / "sassl.jpg").read_bytes()
    assert len(kept) <= 150_000
    drawn = runpy.run_path(str(folder / "make.py"))["figure"]()
    kept, drawn = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32) for data in (kept, drawn))
    assert kept.shape == drawn.shape
    # What JPEG and another instruction set change; each image by itself, as another style or strength would change one.
    for x in range(8, kept.shape[1], 232):
        image = np.s_[8:232, x : x + 224]
        assert np.abs(kept[image] - drawn[image]).mean() < 4, "run docs/images/make.py"

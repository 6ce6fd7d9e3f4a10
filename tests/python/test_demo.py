"""The contact sheet of `sassl demo`: what is on it, photographs and styles of one's own, and what is left where it fails."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from PIL import Image
from sassl import StyleBank, Stylizer, demo, grids
from sassl.cli import main
from sassl.images import pixels


@pytest.fixture
def own(photo, tmp_path):
    """A folder of six photographs, one of them in a subfolder, and one of two styles."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    (tmp_path / "styles").mkdir()
    for i, name in enumerate("abcde"):
        Image.fromarray(np.roll(photo, 8 * i, 1)).save(tmp_path / "photos" / f"{name}.png")
    Image.fromarray(photo[::-1]).save(tmp_path / "photos" / "more" / "f.jpg")
    for name in ("mosaic", "moss"):
        Image.fromarray(demo.styles()[name]).save(tmp_path / "styles" / f"{name}.png")
    return tmp_path


@pytest.fixture
def rows(monkeypatch):
    """The rows of the last sheet."""
    seen = []
    real = grids.grid

    def grid(given, **options):
        seen[:] = given
        return real(given, **options)

    monkeypatch.setattr(grids, "grid", grid)
    return seen


def _photo_of(view):
    return view.with_name(f"{view.name.rpartition('_')[0]}_photo.png")


def test_it_works_at_once_on_what_packages_carry(tmp_path, rows, capsys):
    assert main(["demo", "--out", str(tmp_path / "new" / "demo")]) == 0
    sheet = tmp_path / "new" / "demo" / "contact_sheet.jpg"
    assert sheet.stat().st_size <= 600_000
    with Image.open(sheet) as image:
        assert image.format == "JPEG"
        assert image.width > 5 * 224
    assert len(list(sheet.parent.glob("*_photo.png"))) == 5
    assert len(list(sheet.parent.glob("*_view*.png"))) == 10
    assert len(list(sheet.parent.glob("*_stylized.png"))) == 5
    told = capsys.readouterr().out
    assert f"{sheet}: the contact sheet" in told
    same = [a.name for a in sorted(sheet.parent.glob("*_view*.png")) if np.array_equal(pixels(a), pixels(_photo_of(a)))]
    assert f"not applied, as p = 0.8: {', '.join(same)}\n" in told
    titles = [row.title for row in rows]
    assert titles[:2] == ["photographs", "styles"]
    assert "alpha = 0.2, beta = 0.2" in titles[2]
    assert sum(title.startswith("difference x 8") for title in titles) == 3
    assert sum("full strength" in title and "alpha = beta = 1" in title for title in titles) == 1
    # The row at full strength is T's output in the style above it.
    photo, style, full = (rows[i].images[0] for i in (0, 1, 4))
    model = Stylizer()
    painted = model.transfer(photo[None], model.encode(style[None])[0])[0]
    assert np.abs(painted * 255 - full).max() <= 0.51
    assert np.abs(rows[2].images[0].astype(int) - photo).mean() < 10 < np.abs(full.astype(int) - photo).mean()
    assert np.array_equal(rows[3].images[0], grids.difference(rows[2].images[0], photo))


def test_what_is_not_applied_is_said_of_the_draws(own, rows):
    call = ["demo", str(own / "photos" / "a.png"), "--out", str(own / "out")]
    # Views that differ by nothing are applied all the same, where their draw says so.
    assert main([*call, "--p", "1", "--beta", "0"]) == 0
    drawn = [row.captions[0] for row in rows if row.title.startswith("SASSL")]
    assert len(drawn) == 2
    assert all(text.startswith("alpha 0.") and "beta 0.00, style " in text for text in drawn)
    assert (rows[-1].images[0] == 128).all()
    assert main([*call, "--p", "0"]) == 0
    assert [row.captions[0] for row in rows if row.title.startswith("SASSL")] == ["not applied"] * 2
    assert (rows[-1].images[0] == 128).all()


def test_own_photographs_and_own_styles(own, rows, capsys):
    call = ["demo", str(own / "photos"), "--styles", str(own / "styles"), "--p", "1"]
    assert main([*call, "--alpha", "0.4,0.8", "--beta", "0.5", "--seed", "3", "--out", str(own / "out")]) == 0
    assert "the first 5 of 6 photographs are shown" in capsys.readouterr().err
    photos, styles, fixed, _, full, first, *_ = rows
    assert photos.captions == list("abcde")
    assert styles.captions == ["mosaic", "moss", "mosaic", "moss", "mosaic"]
    assert "alpha = 0.6, beta = 0.5" in fixed.title
    assert all(text.split(", ")[1:] in (["beta 0.50", "mosaic"], ["beta 0.50", "moss"]) for text in first.captions)
    model = Stylizer()
    z = StyleBank.from_images(own / "styles").vectors
    for i, image in enumerate(photos.images):
        assert np.array_equal(image, demo.square(pixels(own / "photos" / f"{'abcde'[i]}.png")))
        assert np.array_equal(full.images[i], model.stylize(image[None], z[i % 2], 1.0, 1.0)[0])
        assert np.array_equal(pixels(own / "out" / f"{i + 1}_{'abcde'[i]}_photo.png"), image)
        assert np.array_equal(pixels(own / "out" / f"{i + 1}_{'abcde'[i]}_view1.png"), first.images[i])
        assert np.array_equal(pixels(own / "out" / f"{i + 1}_{'abcde'[i]}_stylized.png"), full.images[i])
    before = first.images[0]
    assert main([*call, "--alpha", "0.4,0.8", "--beta", "0.5", "--seed", "4", "--out", str(own / "out")]) == 0
    assert not np.array_equal(rows[5].images[0], before), "another seed draws others"


def test_photographs_of_one_name_and_a_bank_of_styles(own, rows):
    folder = own / "photos"
    (folder / "more" / "f.jpg").rename(folder / "more" / "a.jpg")
    bank = own / "bank.safetensors"
    StyleBank.from_images(own / "styles").save(bank)
    inputs = [str(folder / "a.png"), str(folder / "more" / "a.jpg")]
    assert main(["demo", *inputs, "--styles", str(bank), "--out", str(own / "out")]) == 0
    assert [path.name for path in sorted((own / "out").glob("*view1.png"))] == ["1_a_view1.png", "2_a_view1.png"]
    assert rows[0].title == "photographs"
    assert set(rows[1].captions) <= {"mosaic", "moss"}
    StyleBank.load(bank).gaussian(1).save(own / "gaussian.safetensors")
    assert main(["demo", *inputs, "--styles", str(own / "gaussian.safetensors"), "--out", str(own / "out")]) == 0


def test_a_sheet_of_noise_is_small_enough(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), np.uint8)
    for i, image in enumerate(noise):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    assert main(["demo", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "contact_sheet.jpg").stat().st_size <= 600_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "--styles", "nowhere"], "--styles nowhere: no such folder, image or bank file"),
        (["photos", "--styles", "empty"], "empty: no image in this folder"),
        (["empty"], "empty: no image in this folder"),
        (["nowhere.png"], "nowhere.png: no such file or folder"),
        (["photos/a.png", "broken"], "broken.png"),
        (["photos", "--styles", "broken"], "broken.png"),
        (["photos", "--p", "1.5"], "--p must be in [0, 1], got 1.5"),
        (["photos", "--seed", "-1"], "--seed must be an integer >= 0, got -1"),
        (["photos", "--out", "photos/a.png"], "--out photos/a.png: a file"),
    ],
)
def test_nothing_is_left_behind_where_it_fails(own, monkeypatch, capsys, words, message):
    (own / "empty").mkdir()
    (own / "broken").mkdir()
    (own / "broken" / "broken.png").write_bytes(b"no image")
    monkeypatch.chdir(own)
    before = sorted(own.rglob("*"))
    assert main(["demo", *words, *([] if "--out" in words else ["--out", "new/demo"])]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(own.rglob("*")) == before


def test_a_full_disk_leaves_what_was_there(own, monkeypatch, capsys):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(demo, "write_file", full)
    call = ["demo", str(own / "photos" / "a.png"), "--out"]
    assert main([*call, str(own / "new" / "demo")]) == 1
    assert "contact_sheet.jpg: No space left on device" in capsys.readouterr().err
    assert not (own / "new").exists()
    (own / "there").mkdir()
    (own / "there" / "mine.txt").write_text("mine")
    assert main([*call, str(own / "there")]) == 1
    assert [path.name for path in (own / "there").iterdir()] == ["mine.txt"]

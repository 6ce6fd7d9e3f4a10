"""Folders of Painter by Numbers, DTD and WikiArt as they come out of their archives: which images become styles."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sassl import StyleBank, styles
from sassl.cli import main


def image(path: Path, colour: int = 0) -> Path:
    """A small image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((9, 9, 3), colour, np.uint8)).save(path)
    return path


def below(root: Path, paths: list[Path]) -> list[str]:
    """Their names below a root."""
    return [path.relative_to(root).as_posix() for path in paths]


@pytest.fixture
def paintings(tmp_path):
    for name in ("train/1.jpg", "train/3917.jpg", "test/20153.jpg"):
        image(tmp_path / "painter-by-numbers" / name)
    (tmp_path / "painter-by-numbers" / "train" / "3917.jpg").write_bytes(b"damaged")
    image(tmp_path / "painter-by-numbers" / "replacements_for_corrupted_files" / "train" / "3917.jpg")
    return tmp_path / "painter-by-numbers"


@pytest.fixture
def textures(tmp_path):
    folder = tmp_path / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for partition, order in ((1, (1, 2, 3)), (10, (2, 3, 1))):
        for split, n in zip(("train", "val", "test"), order, strict=True):
            names = [f"{kind}/{kind}_000{n}.jpg" for kind in ("banded", "waffled")]
            (folder / "labels" / f"{split}{partition}.txt").write_text("\n".join(names) + "\n")
            for name in names:
                image(folder / "images" / name, 20 * n)
    # So it lies in the archive.
    (folder / "images" / "waffled" / ".directory").touch()
    return folder


#: As ArtGAN's lists have them: UTF-8 that was once read as Latin-1.
ACCENTS = ("Symbolism/arnold-bã¶cklin_war-1896.jpg", "Impressionism/joaquã\xadn-sorolla_my-family-1901.jpg")


@pytest.fixture
def artgan(tmp_path):
    names = ["Ukiyo_e/hiroshige_moon.jpg", "Post_Impressionism/vincent-van-gogh_ears-of-wheat-1890(1).jpg"]
    for name in names:
        image(tmp_path / "wikiart" / name)
    (tmp_path / "wikiart_csv").mkdir()
    (tmp_path / "wikiart_csv" / "style_train.csv").write_bytes(f"{names[1]},20\r\n{ACCENTS[0]},24\r\n".encode())
    (tmp_path / "wikiart_csv" / "style_val.csv").write_bytes(f"{names[0]},26\r\n{ACCENTS[1]},12\r\n".encode())
    return tmp_path / "wikiart"


def test_replacements_stand_in_for_damaged_paintings(paintings):
    better = "replacements_for_corrupted_files/train/3917.jpg"
    for root in (paintings, paintings.parent, str(paintings)):
        assert below(paintings, styles.painter_by_numbers(root)) == ["train/1.jpg", better, "test/20153.jpg"]
    assert below(paintings, styles.painter_by_numbers(paintings, "train")) == ["train/1.jpg", better]
    assert below(paintings, styles.painter_by_numbers(paintings, "test")) == ["test/20153.jpg"]
    assert len(StyleBank.from_images(styles.painter_by_numbers(paintings))) == 3


def test_paintings_to_train_are_enough_unless_others_are_asked_for(paintings):
    (paintings / "test").rename(paintings / "elsewhere")
    assert len(styles.painter_by_numbers(paintings)) == 2
    for split in ("test", "train+test"):
        with pytest.raises(FileNotFoundError, match="test"):
            styles.painter_by_numbers(paintings, split)


def test_a_split_of_textures_is_that_of_its_partition(textures):
    for root in (textures, textures.parent, textures.parents[1]):
        assert below(textures / "images", styles.dtd(root, "train")) == [
            "banded/banded_0001.jpg",
            "waffled/waffled_0001.jpg",
        ]
    assert below(textures / "images", styles.dtd(root, "test", 10)) == [
        "banded/banded_0001.jpg",
        "waffled/waffled_0001.jpg",
    ]
    assert not {*styles.dtd(root, "train+val")} & {*styles.dtd(root, "test")}
    assert len(styles.dtd(root)) == len({*styles.dtd(root)}) == 6


@pytest.mark.parametrize("spelling", ["NFC", "NFD", "unzip"])
def test_names_with_accents_are_found(spelling, artgan):
    for name in ACCENTS:
        codes = "".join(c if ord(c) < 128 else f"#U{ord(c):04x}" for c in name)
        image(artgan / (codes if spelling == "unzip" else unicodedata.normalize(spelling, name)))
    for root in (artgan, artgan.parent):
        train, val = styles.wikiart(root, "train"), styles.wikiart(root, "val")
        assert [path.parent.name for path in (*train, *val)] == [
            *("Post_Impressionism", "Symbolism"),
            *("Ukiyo_e", "Impressionism"),
        ]
        assert sorted(styles.wikiart(root)) == sorted((*train, *val))
    assert len(StyleBank.from_images(train)) == 2


def test_a_split_of_wikiart_needs_its_list(artgan):
    (artgan.parent / "wikiart_csv").rename(artgan.parent / "lists")
    assert len(styles.wikiart(artgan)) == 2
    with pytest.raises(FileNotFoundError, match=r"no style_val\.csv in .*; unpack ArtGAN's wikiart_csv\.zip there"):
        styles.wikiart(artgan, "val")


def test_what_is_wrong_is_named(tmp_path, textures, artgan):
    (tmp_path / "empty").mkdir()
    for find, phrase in (
        (styles.painter_by_numbers, "no train or test in .*; unpack Kaggle's train.zip and test.zip there"),
        (styles.dtd, "no labels in .*; unpack dtd-r1.0.1.tar.gz there"),
        (styles.wikiart, r"no \*/\*_\*\.jpg in .*; unpack ArtGAN's wikiart.zip there"),
    ):
        with pytest.raises(FileNotFoundError, match=phrase):
            find(tmp_path / "empty")
        with pytest.raises(ValueError, match=r"split must be \"train\", .*, got 'valid'"):
            find(tmp_path, "valid")
    with pytest.raises(ValueError, match=r"partition must be an integer in \[1, 10\], got 11"):
        styles.dtd(textures, "train", 11)
    (textures / "images" / "banded" / "banded_0001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"banded_0001\.jpg: named in .*train1\.txt, but missing"):
        styles.dtd(textures, "train")
    with pytest.raises(FileNotFoundError, match=r"my-family-1901\.jpg: named in .*style_val\.csv, but missing"):
        styles.wikiart(artgan, "val")


def test_on_the_command_line(paintings, textures, tmp_path, capsys):
    out = str(tmp_path / "bank.safetensors")
    assert main(["bank", str(tmp_path), "--dataset", "dtd", "--split", "train", "--out", out]) == 0
    assert StyleBank.load(out).names == [str(path) for path in styles.dtd(textures, "train")]
    assert main(["bank", str(paintings), "--dataset", "painter-by-numbers", "--out", out]) == 0
    assert len(StyleBank.load(out)) == 3
    capsys.readouterr()
    for wrong, phrase in (
        (["--split", "train"], "--split is only for a --dataset, got train"),
        ([str(paintings), "--dataset", "dtd"], "--dataset dtd must have one folder, got "),
        (["--dataset", "dtd", "--split", "all"], '--split must be "train"'),
    ):
        assert main(["bank", str(tmp_path), *wrong, "--out", out]) == 1
        assert phrase in capsys.readouterr().err

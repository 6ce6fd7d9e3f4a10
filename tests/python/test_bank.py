"""StyleBank: images to vectors, files, pickles."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image
from sassl import StyleBank, Stylizer


def test_the_default_bank_is_lites():
    bank = StyleBank.default()
    assert len(bank) >= 1000
    assert bank.space == Stylizer().space
    assert bank.vectors.shape == (len(bank), Stylizer().dim)
    assert "default" in repr(bank)


def test_a_folder_becomes_a_bank_and_a_file(batch, tmp_path):
    styles = tmp_path / "styles"
    (styles / "deeper").mkdir(parents=True)
    names = ["a.png", "b.PNG", "deeper/c.webp"]
    for name, image in zip(names, batch, strict=False):
        Image.fromarray(image).save(styles / name, lossless=True)
    (styles / "notes.txt").write_text("no image")
    seen = []
    bank = StyleBank.from_images(styles, progress=lambda items: seen.extend(items) or items)
    assert [str(path) for path in seen] == bank.names == [str(styles / name) for name in names]
    assert np.allclose(bank.vectors, Stylizer().encode(batch[:3]), atol=1e-6)
    bank.save(tmp_path / "bank.safetensors")
    loaded = StyleBank.load(tmp_path / "bank.safetensors")
    assert (loaded.names, loaded.space, loaded.dim) == (bank.names, bank.space, bank.dim)
    assert np.array_equal(loaded.vectors, bank.vectors.astype(np.float16))
    for one in (bank, loaded, StyleBank.default()):
        again = pickle.loads(pickle.dumps(one))
        assert np.array_equal(again.vectors, one.vectors)
        assert again.space == one.space
        assert again.names == one.names


def test_images_of_any_size_and_kind(photo):
    bank = StyleBank.from_images([photo, Image.fromarray(photo[:30]).convert("L"), photo[:9, :9]])
    assert bank.names == ["image 0", "image 1", "image 2"]
    assert np.allclose(bank.vectors[0], Stylizer().encode(photo[None])[0])


def test_large_sets_are_encoded_in_parts(photo, monkeypatch):
    monkeypatch.setattr("sassl.bank._PIXELS", 2 * photo[..., 0].size)
    images = [np.roll(photo, i, axis=1) for i in range(5)] + [photo[:40]]
    vectors = StyleBank.from_images(iter(images), progress=False).vectors
    assert np.array_equal(vectors, [Stylizer().encode(image[None])[0] for image in images])


def test_vectors_become_a_bank():
    model = Stylizer()
    vectors = np.random.default_rng(0).normal(size=(3, model.dim))
    bank = StyleBank.from_vectors(vectors, model, "abc")
    assert (len(bank), bank.space, bank.names) == (3, model.space, ["a", "b", "c"])
    assert len(StyleBank.from_vectors(vectors[0])) == 1
    with pytest.raises(ValueError, match=r"style vectors must have shape \(n, 64\) or \(64,\), got \(3, 5\)"):
        StyleBank.from_vectors(vectors[:, :5])
    with pytest.raises(ValueError, match="finite"):
        StyleBank.from_vectors(vectors * np.nan)


def test_a_pickle_notices_that_its_file_has_changed(tmp_path):
    path = tmp_path / "bank.safetensors"
    StyleBank.from_vectors(np.zeros((2, 64))).save(path)
    pickled = pickle.dumps(StyleBank.load(path))
    StyleBank.from_vectors(np.ones((2, 64))).save(path)
    with pytest.raises(ValueError, match="changed since it was pickled"):
        pickle.loads(pickled)


def test_a_gaussian_has_the_banks_moments():
    bank = StyleBank.default()
    gaussian = bank.gaussian(20)
    assert np.allclose(gaussian.mean, bank.vectors.mean(0), atol=1e-4)
    covariance = np.cov(bank.vectors.T)
    values = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    assert np.allclose((gaussian.axes**2).sum(1), values[:20], rtol=1e-3)


def test_a_gaussian_of_few_styles_says_what_they_span():
    vectors = np.random.default_rng(0).standard_normal((21, 64))
    assert StyleBank.from_vectors(vectors).gaussian().rank == 20
    few = StyleBank.from_vectors(vectors[:5])
    with pytest.raises(
        ValueError, match=r"takes 20 axes .* but 5 style vectors of dimension 64 span 4; give rank=4, or more styles"
    ):
        few.gaussian()
    assert few.gaussian(rank=4).rank == 4
    with pytest.raises(ValueError, match=r"rank must be in \[1, 4\] for 5 style vectors of length 64, got 20"):
        few.gaussian(20)
    with pytest.raises(ValueError, match="1 style vectors of dimension 64 span 0; give more styles"):
        StyleBank.from_vectors(vectors[:1]).gaussian()


def test_what_is_wrong_is_named(tmp_path, photo):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no image in this folder"):
        StyleBank.from_images(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="absent"):
        StyleBank.load(tmp_path / "absent")
    with pytest.raises(ValueError, match="at least one image"):
        StyleBank.from_images([])
    large = np.ones((2, 64), np.float32)
    large[1, 5] = 70_000
    with pytest.raises(
        ValueError, match=r"vectors\[1, 5\] must be in \[-65504, 65504\], the range of float16, got 70000; use float32"
    ):
        StyleBank.from_vectors(large).save(tmp_path / "large.safetensors")
    assert not (tmp_path / "large.safetensors").exists()
    broken = tmp_path / "styles" / "broken.png"
    broken.parent.mkdir()
    Image.fromarray(photo).save(broken)
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"broken\.png: .*cannot be decoded"):
        StyleBank.from_images(broken.parent)
    with pytest.raises(ValueError, match="image 0: images must be at least 8x8"):
        StyleBank.from_images([photo[:4]])
    (tmp_path / "text.safetensors").write_text("hello, I am no bank at all")
    with pytest.raises(ValueError, match=r"text\.safetensors"):
        StyleBank.load(tmp_path / "text.safetensors")

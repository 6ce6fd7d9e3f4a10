"""Reading and writing pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sassl import pictures


def test_pictures_are_read_upright(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    path = tmp_path / "turned.png"
    Image.fromarray(photo).save(path, exif=exif)
    assert np.array_equal(pictures.read(path), np.rot90(photo, -1))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P"])
def test_every_mode_becomes_rgb(photo, tmp_path, suffix, mode):
    supported = {"png": {"RGB", "L", "RGBA", "P"}, "jpg": {"RGB", "L", "CMYK"}, "webp": {"RGB", "RGBA"}}
    if mode not in supported[suffix]:
        mode = "RGB"
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(photo).convert(mode).save(path)
    out = pictures.read(path)
    assert (out.shape, out.dtype) == (photo.shape, np.uint8)


def test_writing_is_all_or_nothing(photo, tmp_path):
    path = tmp_path / "picture.png"
    pictures.write(path, photo)
    assert np.array_equal(pictures.read(path), photo)
    with pytest.raises(ValueError, match=r"\.gif"):
        pictures.write(tmp_path / "picture.gif", photo)
    with pytest.raises(OSError, match="absent"):
        pictures.write(tmp_path / "absent" / "picture.png", photo)
    with pytest.raises(TypeError):
        pictures.write(tmp_path / "other.png", np.zeros((3, 3, 9), np.complex64))
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]
    # A link is replaced, not followed; a name may be as long as the system allows.
    link, long = tmp_path / "link.png", tmp_path / f"{'n' * 251}.png"
    link.symlink_to(path)
    for file in (link, long):
        pictures.write(file, 255 - photo)
        assert np.array_equal(pictures.read(file), 255 - photo)
    assert not link.is_symlink()
    assert np.array_equal(pictures.read(path), photo)
    pictures.write(path, photo[..., :1])
    with Image.open(path) as gray:
        assert np.array_equal(np.asarray(gray), photo[..., 0])
    assert len(list(tmp_path.iterdir())) == 3


def test_find(photo, tmp_path):
    for name in ("b.jpg", "a.PNG", "deep/c.webp", "deep/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    names = [str(p.relative_to(tmp_path)) for p in pictures.find([tmp_path])]
    assert names == ["a.PNG", "b.jpg", "deep/c.webp"]
    assert [p.name for p in pictures.find([tmp_path / "*.jpg", tmp_path / "b.jpg"])] == ["b.jpg"]
    with pytest.raises(FileNotFoundError, match=r"\*\.bmp"):
        pictures.find([tmp_path / "*.bmp"])


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"")
    root = tmp_path / "root"
    root.mkdir()
    try:
        (root / "link").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "back").symlink_to(root)
    except OSError:
        pytest.skip("DID NOT RUN: this system makes no links")
    assert [p.name for p in pictures.find([root])] == ["a.png"]


def test_more_than_8_bits_are_refused(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(path)
    with pytest.raises(OSError, match="no 8-bit colours"):
        pictures.read(path)


def test_whatever_pillow_raises_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (9, 9)).save(path)

    def stumble(*_):
        raise KeyError("chunk")

    monkeypatch.setattr(Image.Image, "convert", stumble)
    with pytest.raises(OSError, match=r"a\.png: not a readable picture"):
        pictures.read(path)

"""Reading and writing pictures."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sassl import pictures
from sassl._sassl import color_profile
from sassl.transforms.recipes import pixels


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
    for suffix in pictures.WRITABLE:
        path = tmp_path / f"profile{suffix}"
        pictures.write(path, photo, b"a profile")
        assert color_profile(path.read_bytes()) == b"a profile"


def test_find(photo, tmp_path):
    for name in ("b.jpg", "a.PNG", "deep/c.webp", "deep/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    for hidden in (".b.jpg", ".cache/a.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"")
    left_out = Counter()
    names = [str(p.relative_to(tmp_path)) for p in pictures.find([tmp_path], left_out)]
    assert left_out == {"hidden": 2, "other": 1}
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


def test_16_bits_are_scaled(tmp_path):
    gray = np.arange(0, 65536, 5, np.uint16).reshape(-1, 4)[:3276]
    want = np.floor(gray / 257 + 0.5).astype(np.uint8)
    path = tmp_path / "deep.png"
    Image.fromarray(gray).save(path)
    floats = np.float32(gray / 65535)
    for made in (
        pictures.read(path),
        *(pictures.rgb(image) for image in (Image.open(path), Image.fromarray(gray.astype(np.int32)))),
        pictures.rgb(Image.fromarray(gray.astype(">u2"))),
        pictures.rgb(Image.fromarray(floats)),
    ):
        assert np.array_equal(made, np.repeat(want[:, :, None], 3, 2))
    for beyond in (
        Image.fromarray(gray.astype(np.int32) * 2),
        Image.fromarray(floats - 1),
        Image.fromarray(floats * np.nan),
    ):
        with pytest.raises(ValueError, match=f"style: values from .* in PIL mode '{beyond.mode}', where 0 is black"):
            pictures.rgb(beyond, "style")


def test_pil_images_are_taken_as_they_are(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(photo).save(path, exif=exif)
    upright = np.rot90(photo, -1)
    assert np.array_equal(pixels(path), upright)
    assert np.array_equal(pixels(path.read_bytes()), upright)
    assert np.array_equal(pixels(Image.open(path)), photo)
    assert np.array_equal(pictures.read(path, exif=False), photo)


def test_a_broken_file_is_named(photo, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"a\.png: .*cannot be decoded"):
        pictures.read(path)
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        pictures.read(tmp_path / "absent.png")

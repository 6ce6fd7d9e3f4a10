"""Finding and writing image files."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sassl import image_files
from sassl._sassl import color_profile
from sassl.images import pixels


def test_writing_is_all_or_nothing(photo, tmp_path):
    path = tmp_path / "image.png"
    image_files.write(path, photo)
    assert np.array_equal(pixels(path), photo)
    with pytest.raises(ValueError, match=r"\.gif"):
        image_files.write(tmp_path / "image.gif", photo)
    with pytest.raises(OSError, match="absent"):
        image_files.write(tmp_path / "absent" / "image.png", photo)
    with pytest.raises(TypeError):
        image_files.write(tmp_path / "other.png", np.zeros((3, 3, 9), np.complex64))
    assert [p.name for p in tmp_path.iterdir()] == ["image.png"]
    # A link is replaced, not followed; a name may be as long as the system allows.
    link, long = tmp_path / "link.png", tmp_path / f"{'n' * 251}.png"
    link.symlink_to(path)
    for file in (link, long):
        image_files.write(file, 255 - photo)
        assert np.array_equal(pixels(file), 255 - photo)
    assert not link.is_symlink()
    assert np.array_equal(pixels(path), photo)
    image_files.write(path, photo[..., :1])
    with Image.open(path) as gray:
        assert np.array_equal(np.asarray(gray), photo[..., 0])
    assert len(list(tmp_path.iterdir())) == 3
    for suffix in image_files.WRITABLE:
        path = tmp_path / f"profile{suffix}"
        image_files.write(path, photo, b"a profile")
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
    names = [str(p.relative_to(tmp_path)) for p in image_files.find([tmp_path], left_out)]
    assert left_out == {"hidden": 2, "other": 1}
    assert names == ["a.PNG", "b.jpg", "deep/c.webp"]
    assert [p.name for p in image_files.find([tmp_path / "*.jpg", tmp_path / "b.jpg"])] == ["b.jpg"]
    with pytest.raises(FileNotFoundError, match=r"\*\.bmp"):
        image_files.find([tmp_path / "*.bmp"])


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
    assert [p.name for p in image_files.find([root])] == ["a.png"]

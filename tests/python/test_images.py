"""Any image as the core takes it: the kinds that there are, and what is said of all others."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl import StyleBank
from sassl.data import Objects
from sassl.images import pixels, unpack
from sassl.transforms import MoCoV2Transform


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P"])
def test_every_mode_becomes_rgb(photo, tmp_path, suffix, mode):
    supported = {"png": {"RGB", "L", "RGBA", "P"}, "jpg": {"RGB", "L", "CMYK"}, "webp": {"RGB", "RGBA"}}
    if mode not in supported[suffix]:
        mode = "RGB"
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(photo).convert(mode).save(path)
    out = pixels(path)
    assert (out.shape, out.dtype) == (photo.shape, np.uint8)


def test_16_bits_are_scaled(tmp_path):
    gray = np.arange(0, 65536, 5, np.uint16).reshape(-1, 4)[:3276]
    want = np.floor(gray / 257 + 0.5).astype(np.uint8)
    path = tmp_path / "deep.png"
    Image.fromarray(gray).save(path)
    floats = np.float32(gray / 65535)
    for made in (
        pixels(path),
        *(pixels(image) for image in (Image.open(path), Image.fromarray(gray.astype(np.int32)))),
        pixels(Image.fromarray(gray.astype(">u2"))),
        pixels(Image.fromarray(floats)),
    ):
        assert np.array_equal(made, np.repeat(want[:, :, None], 3, 2))
    for beyond in (
        Image.fromarray(gray.astype(np.int32) * 2),
        Image.fromarray(floats - 1),
        Image.fromarray(floats * np.nan),
    ):
        with pytest.raises(
            ValueError, match=f"style must have values in .* in PIL mode '{beyond.mode}', from black to white, got"
        ):
            pixels(beyond, "style")


def test_pil_images_are_taken_as_they_are(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(photo).save(path, exif=exif)
    upright = np.rot90(photo, -1)
    assert np.array_equal(pixels(path), upright)
    assert np.array_equal(pixels(path.read_bytes()), upright)
    assert np.array_equal(pixels(Image.open(path)), photo)
    assert np.array_equal(pixels(path, exif=False), photo)


def test_a_broken_file_is_named(photo, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"a\.png: .*cannot be decoded"):
        pixels(path)
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        pixels(tmp_path / "absent.png")


def test_every_kind_gives_the_same_pixels(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    path = tmp_path / "photo.png"
    for kind in (photo, np.asfortranarray(photo), Image.fromarray(photo), path, str(path), path.read_bytes()):
        assert np.array_equal(pixels(kind), photo)
    gray = photo[..., :1]
    assert np.array_equal(pixels(gray), np.repeat(gray, 3, 2))
    transparent = np.dstack([photo, np.full(photo.shape[:2], 7, np.uint8)])
    assert np.array_equal(pixels(Image.fromarray(transparent)), photo)


def test_tensors_give_the_same_pixels(photo):
    need("torch")
    import torch

    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    assert np.array_equal(pixels(tensor), photo)
    assert np.array_equal(pixels(tensor[:1]), np.repeat(photo[..., :1], 3, 2))
    assert np.array_equal(StyleBank.from_images([tensor]).vectors, StyleBank.from_images([photo]).vectors)
    with pytest.raises(
        ValueError, match=r"image must be a uint8 tensor \(3, H, W\) or \(1, H, W\), got float32 of shape"
    ):
        pixels(tensor / 255)
    with pytest.raises(TypeError, match="must be a dense tensor"):
        pixels(tensor.to_sparse())


@pytest.mark.parametrize(
    ("image", "error", "told"),
    [
        (3, TypeError, "must be a PIL image, a path, bytes, a uint8 array or tensor, got int"),
        (None, TypeError, "got NoneType"),
        (
            np.zeros((9, 9, 3)),
            ValueError,
            r"must be a uint8 array \(H, W, 3\) or \(H, W, 1\), got float64 of shape \(9, 9, 3\)",
        ),
        (np.zeros((2, 9, 9, 3), np.uint8), ValueError, r"got uint8 of shape \(2, 9, 9, 3\)"),
        (np.zeros((9, 9, 2), np.uint8), ValueError, r"got uint8 of shape \(9, 9, 2\)"),
        (Image.new("LAB", (9, 9)), ValueError, "must have one of the PIL modes 1, L, LA, P"),
    ],
)
def test_what_is_no_image_is_told_alike_by_every_door(image, error, told):
    doors = {
        "photo": lambda: pixels(image, "photo"),
        "image": lambda: MoCoV2Transform()(image),
        r"images\[1\]": lambda: StyleBank.from_images([np.zeros((9, 9, 3), np.uint8), image]),
    }
    for name, door in doors.items():
        with pytest.raises(error, match=f"{name} .*{told}"):
            door()
    with pytest.raises(ValueError, match=told) as raised:
        Objects([(image, 0)])[0]
    assert isinstance(raised.value.__cause__, error)
    if not (isinstance(image, np.ndarray) and image.shape[-1] == 3):
        with pytest.raises(error, match="photo must "):
            unpack(image, "photo")

"""Operations on one image against torchvision on PIL images, to the bit where a bit is a bit."""

import io
import struct
import zlib

import numpy as np
import pytest
from conftest import need
from PIL import Image, ImageEnhance, ImageFilter
from sassl._sassl import info
from sassl.transforms import functional as F

need("torchvision")

import torch  # noqa: E402
import torchvision.transforms.functional as tv  # noqa: E402


@pytest.fixture(params=["scalar", "portable", "avx2", "avx512"])
def path(request, monkeypatch):
    """A path through the kernels, forced."""
    if request.param not in info()["supported"]:
        pytest.skip(f"DID NOT RUN: this machine has no {request.param}")
    monkeypatch.setenv("SASSL_ISA", request.param)


@pytest.fixture(scope="module", params=[(33, 47), (64, 129), (224, 224), (23, 12)])
def image(request):
    """Colours of every kind: noise, and smooth."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*request.param, 3), np.uint8)
    half = request.param[0] // 2
    image[half:] = (np.add.outer(np.arange(request.param[0] - half), np.arange(request.param[1])) % 256)[..., None]
    image[half:, :, 1] //= 2
    return image


@pytest.mark.parametrize("factor", [0.0, 0.2, 0.61, 1.0, 1.37, 1.8])
def test_colours_are_pillows_to_the_bit(image, factor, path):
    pil = Image.fromarray(image)
    for ours, theirs in (
        (F.adjust_brightness, ImageEnhance.Brightness),
        (F.adjust_contrast, ImageEnhance.Contrast),
        (F.adjust_saturation, ImageEnhance.Color),
    ):
        assert np.array_equal(ours(image, factor), np.asarray(theirs(pil).enhance(factor))), (ours, factor)
    hue = factor / 1.8 - 0.5
    assert np.array_equal(F.adjust_hue(image, hue), np.asarray(tv.adjust_hue(pil, hue)))
    assert np.array_equal(F.grayscale(image), np.asarray(tv.to_grayscale(pil, 3)))
    assert np.array_equal(F.solarize(image, int(factor * 100)), np.asarray(tv.solarize(pil, int(factor * 100))))
    assert np.array_equal(F.hflip(image), image[:, ::-1])
    assert np.array_equal(F.vflip(image), image[::-1])


def test_hue_of_every_colour():
    levels = np.arange(256, dtype=np.uint8)
    for red in range(0, 256, 3):
        image = np.stack(np.meshgrid(np.uint8(red), levels, levels, indexing="ij"), -1)[0]
        expected = np.asarray(tv.adjust_hue(Image.fromarray(image), 0.05))
        assert np.array_equal(F.adjust_hue(image, 0.05), expected), red


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_blur_is_torchvisions_within_a_grey_level(image, sigma, path):
    taps = min(23, 2 * min(image.shape[:2]) - 1)
    expected = tv.gaussian_blur(torch.from_numpy(image).permute(2, 0, 1), taps, sigma).permute(1, 2, 0).numpy()
    got = F.gaussian_blur(image, taps, sigma)
    assert np.abs(got.astype(int) - expected).max() <= 1
    assert (got != expected).mean() < 1e-3


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.77, 1.0, 1.999, 2.0, 3.3, 40.0])
def test_boxes_are_pillows_to_the_bit(image, sigma, path):
    expected = Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma))
    assert np.array_equal(F.gaussian_blur(image, None, sigma), expected)


@pytest.mark.parametrize("size", [(224, 224), (32, 32), (96, 64), (7, 300)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resized_crop_is_pillows_to_the_bit(size, interpolation):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (375, 500, 3), np.uint8)
    image[100:] = np.asarray(Image.fromarray(image[:9, :12]).resize((500, 275), Image.Resampling.BICUBIC))
    mode = getattr(tv.InterpolationMode, interpolation.upper())
    for top, left, height, width in [(0, 0, 375, 500), (13, 57, 200, 301), (300, 480, 75, 20), (5, 5, 1, 1)]:
        expected = tv.resized_crop(Image.fromarray(image), top, left, height, width, list(size), mode)
        got = F.resized_crop(image, top, left, height, width, size, interpolation)
        assert np.array_equal(got, expected), (top, left, height, width)


def test_arguments_as_other_packages_have_them(image):
    for threshold in (0, 0.5, 127.5, 128.0, 255.2, 256):
        assert np.array_equal(F.solarize(image, threshold), tv.solarize(Image.fromarray(image), threshold)), threshold
    assert np.array_equal(F.gaussian_blur(image, "pillow", 1.5), F.gaussian_blur(image, None, 1.5))
    crop = (image, 1, 2, 20, 9, (16, 17))
    bicubic, bilinear = F.resized_crop(*crop, "bicubic"), F.resized_crop(*crop)
    for mode in (tv.InterpolationMode.BICUBIC, Image.Resampling.BICUBIC, 3, np.int64(3)):
        assert np.array_equal(F.resized_crop(*crop, mode), bicubic)
    for mode in (tv.InterpolationMode.BILINEAR, Image.Resampling.BILINEAR, 2):
        assert np.array_equal(F.resized_crop(*crop, mode), bilinear)


@pytest.mark.parametrize("angle", [0, 90, 180, 270, -90, 450, 30, 12.7, -133.3, 359.9])
def test_rotate_is_pillows_to_the_bit(image, angle):
    for one in (image, np.ascontiguousarray(image[: min(image.shape[:2]), : min(image.shape[:2])])):
        expected = np.asarray(tv.rotate(Image.fromarray(one), angle))
        assert np.array_equal(F.rotate(one, angle), expected)


def test_normalize_is_torchvisions_to_the_bit(image):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = tv.normalize(tv.to_tensor(Image.fromarray(image)), mean, std).numpy()
    assert np.array_equal(F.normalize(image, mean, std), expected)


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def test_decode(tmp_path, image):
    pil = Image.fromarray(image)
    assert np.array_equal(F.decode(encoded(pil, format="PNG")), image)
    assert np.array_equal(F.decode(encoded(pil, format="WEBP", lossless=True)), image)
    for kind in ("BMP", "TIFF", "PPM"):
        assert np.array_equal(F.decode(encoded(pil, format=kind)), image), kind
    (tmp_path / "photo.jpg").write_bytes(encoded(pil.resize((80, 60)), format="JPEG", quality=90))
    expected = np.asarray(Image.open(tmp_path / "photo.jpg"))
    assert np.abs(F.decode(tmp_path / "photo.jpg").astype(int) - expected).mean() < 1


def test_the_least_size_is_a_number_of_pixels():
    for least in (0, -1, 65_536):
        with pytest.raises(ValueError, match=rf"min_size must be an integer in \[1, 65535\] or None, got {least}"):
            F.decode(b"", least)


def test_decode_of_unusual_images():
    photo = Image.fromarray(np.add.outer(np.arange(60), 2 * np.arange(90)).astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    upright = F.decode(encoded(photo, format="JPEG", exif=exif, quality=95))
    assert upright.shape == (90, 60, 3)
    assert np.abs(upright.astype(int) - np.rot90(np.asarray(photo), -1)).max() < 8
    for mode in ("L", "CMYK"):
        jpeg = encoded(photo.convert(mode), format="JPEG", quality=95)
        assert np.abs(F.decode(jpeg).astype(int) - np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))).max() < 8
    deep = Image.fromarray(np.full((4, 5), 0x80FF, np.uint16))  # 128.49 of 255
    assert (F.decode(encoded(deep, format="PNG")) == 128).all()
    assert F.decode(encoded(photo.convert("RGBA"), format="PNG")).shape == (60, 90, 3)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "<bytes>: the file is empty"),
        (b"\0" * 100, "not one of JPEG, PNG, WebP"),
        (b"no image at all, but text", "not one of JPEG, PNG, WebP"),
        (b"GIF89a" + b"\0" * 30, "<bytes>: .*cannot be decoded"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 30, "cannot be decoded"),
        ("cut.png", "cut.png: .*cannot be decoded"),
        ("cut.jpg", "cut.jpg: .*cannot be decoded"),
        ("wide.png", "wide.png: .*too large"),
    ],
)
def test_what_is_no_image(tmp_path, file, words):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    if isinstance(file, str):
        kind = {"png": "PNG", "jpg": "JPEG"}[file[-3:]]
        whole = encoded(Image.new("L", (70_000, 1)) if file == "wide.png" else photo, format=kind)
        (tmp_path / file).write_bytes(whole if file == "wide.png" else whole[: len(whole) // 2])
        file = tmp_path / file
    with pytest.raises(ValueError, match=words):
        F.decode(file)


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "BMP", "PPM"])
@pytest.mark.parametrize("least", [None, 1000])
def test_bombs_are_refused_before_memory_is_asked_for(kind, least):
    file = encoded(
        Image.new("RGB", (64, 64)), format=kind.replace("progressive", "JPEG"), progressive=kind == "progressive"
    )
    large = 60_000
    if kind == "PPM":
        file = file.replace(b"64 64", b"60000 60000")
    elif kind == "BMP":
        file = file[:18] + struct.pack("<ii", large, large) + file[26:]
    elif kind == "PNG":
        header = b"IHDR" + struct.pack(">II", large, large) + file[24:29]
        file = file[:12] + header + struct.pack(">I", zlib.crc32(header)) + file[33:]
    else:
        at = file.index(b"\xff\xc2" if kind == "progressive" else b"\xff\xc0") + 5
        file = file[:at] + struct.pack(">HH", large, large) + file[at + 4 :]
    with pytest.raises(ValueError, match="too large"):
        F.decode(file, least)


def test_what_cameras_append_to_a_jpeg_is_let_be():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}):
        file = encoded(photo, format="JPEG", **options)
        trailer = np.random.default_rng(1).bytes(20_000) + b"\xff\xd9\xff\xda\xff\xda"
        assert np.array_equal(F.decode(file + trailer), F.decode(file)), options
        for cut in (len(file) - 2, len(file) // 2, 200):
            with pytest.raises(ValueError, match="ends too early"):
                F.decode(file[:cut])


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        F.decode(tmp_path / "gone.jpg")


def test_bad_values(image):
    with pytest.raises(ValueError, match="kernel_size must be odd, got 4"):
        F.gaussian_blur(image, 4, 1.0)
    with pytest.raises(ValueError, match="kernel_size must be an integer >= 0, got -1"):
        F.gaussian_blur(image, -1, 1.0)
    with pytest.raises(ValueError, match="top must be an integer >= 0, got -2"):
        F.resized_crop(image, -2, 0, 1, 1, (5, 5))
    with pytest.raises(ValueError, match=r"size\[1\] must be .*, got -5"):
        F.resized_crop(image, 0, 0, 1, 1, (5, -5))
    for threshold in (-1, 256.5, float("nan")):
        with pytest.raises(ValueError, match=r"threshold must be in \[0, 256\], got"):
            F.solarize(image, threshold)
    for taps in ("box", [3, 3], 3.5):
        with pytest.raises(ValueError, match=r'kernel_size must be an odd integer, "pillow" or None, got'):
            F.gaussian_blur(image, taps, 1.0)
    with pytest.raises(ValueError, match="angle must be a finite number of degrees, got inf"):
        F.rotate(image, float("inf"))
    with pytest.raises(ValueError, match=r"kernel_size must be at most .*, got 999"):
        F.gaussian_blur(image, 999, 1.0)
    with pytest.raises(ValueError, match="sigma must be > 0 and <= 1e4, got 0"):
        F.gaussian_blur(image, 3, 0.0)
    with pytest.raises(ValueError, match="factor must be a finite number >= 0, got -1"):
        F.adjust_contrast(image, -1.0)
    with pytest.raises(ValueError, match=r"factor must be in \[-0\.5, 0\.5\], got 0\.6"):
        F.adjust_hue(image, 0.6)
    with pytest.raises(ValueError, match=r"crop must be within the image of .*, got 10x10 at"):
        F.resized_crop(image, image.shape[0] - 9, 0, 10, 10, (5, 5))
    for mode in ("nearest", tv.InterpolationMode.NEAREST):
        with pytest.raises(ValueError, match='interpolation must be "bilinear" or "bicubic", got "nearest"'):
            F.resized_crop(image, 0, 0, 1, 1, (5, 5), mode)
    for mode in (None, 0, 3.0, Image.Resampling.LANCZOS):
        with pytest.raises(ValueError, match=r'interpolation must be "bilinear" or "bicubic", got'):
            F.resized_crop(image, 0, 0, 1, 1, (5, 5), mode)
    with pytest.raises(ValueError, match="image must have shape"):
        F.hflip(image[..., :2])
    with pytest.raises(TypeError, match="float64"):
        F.hflip(image / 255.0)

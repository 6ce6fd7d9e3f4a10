"""JPEG against Pillow with libjpeg-turbo 3.1 or later, to the bit: pixels, reduced sizes, and what is refused."""

from __future__ import annotations

import io
import random
from functools import cache

import numpy as np
import pytest
from conftest import shared
from PIL import Image, UnidentifiedImageError, features
from sassl._sassl import info
from sassl.transforms import functional as F


@pytest.fixture(scope="module", autouse=True)
def libjpeg_turbo() -> None:
    version = features.version_feature("libjpeg_turbo") or "none"
    if version == "none" or tuple(map(int, version.split(".")[:2])) < (3, 1):
        pytest.skip(f"DID NOT RUN: Pillow has libjpeg-turbo {version}, and only from 3.1 on these pixels")


@pytest.fixture(params=["scalar", "portable", "avx2", "avx512vnni"])
def path(request, monkeypatch) -> None:
    """A path through the kernels, forced."""
    if request.param not in info()["supported"]:
        pytest.skip(f"DID NOT RUN: this machine has no {request.param}")
    monkeypatch.setenv("SASSL_ISA", request.param)


def photographs() -> list[Image.Image]:
    from skimage import data
    from sklearn.datasets import load_sample_image

    arrays = [load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    arrays += [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.immunohistochemistry()]
    return [Image.fromarray(array) for array in arrays]


def encoded(rng: random.Random, photo: Image.Image, longest: int) -> bytes:
    """A part of a photograph, encoded in some way."""
    width, height = (rng.randint(1, min(longest, side)) for side in photo.size)
    left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
    mode = rng.choices(["RGB", "L", "CMYK"], [8, 1, 1])[0]
    options: dict[str, object] = {"quality": rng.randint(5, 100), "optimize": rng.random() < 0.3}
    if rng.random() < 0.4:
        options["progressive"] = True
    if mode == "RGB":
        kind = rng.choice([{"subsampling": n} for n in ("4:4:4", "4:2:2", "4:2:0", "4:2:0")] + [{"keep_rgb": True}])
        options.update(kind)
    if rng.random() < 0.3:
        options[rng.choice(["restart_marker_rows", "restart_marker_blocks"])] = rng.randint(1, 9)
    file = io.BytesIO()
    photo.crop((left, top, left + width, top + height)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@cache
def made(count: int, longest: int) -> list[bytes]:
    rng, photos = random.Random(longest), photographs()
    return [encoded(rng, rng.choice(photos), longest) for _ in range(count)]


def by_pillow(file: bytes, least: int | None = None) -> np.ndarray | None:
    try:
        with Image.open(io.BytesIO(file)) as image:
            if least is not None:
                image.draft(None, (least, least))
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, UnidentifiedImageError):
        return None


def by_sassl(file: bytes, least: int | None = None) -> np.ndarray | None:
    try:
        return F.decode(file, least)
    except ValueError:
        return None


def agree(file: bytes, least: int | None = None) -> bool:
    theirs, ours = by_pillow(file, least), by_sassl(file, least)
    if theirs is None or ours is None:
        return theirs is ours
    return np.array_equal(theirs, ours)


def test_a_hundred_files_of_every_kind():
    for number, file in enumerate(made(100, 500)):
        assert by_sassl(file) is not None, number
        assert agree(file), number


def test_every_path_of_the_kernels(path):
    for number, file in enumerate(made(60, 150)):
        assert all(agree(file, least) for least in (None, 1, 16, 33)), number


def test_reduced_images_are_those_of_draft():
    reduced = set()
    for number, file in enumerate(made(100, 500)):
        width, height = Image.open(io.BytesIO(file)).size
        shorter = min(width, height)
        for reduction in (1, 2, 4, 8):
            # Just this reduction, and just not.
            for least in {max(shorter // reduction, 1), shorter // reduction + 1}:
                ours = F.decode(file, least)
                reduced.add(-(-height // len(ours)))
                assert agree(file, least), (number, least)
    assert {1, 2, 4, 8} <= reduced


def test_natural_photographs():
    import tarfile

    with tarfile.open(shared("data/photos_original.tar")) as archive:
        files = [archive.extractfile(member).read() for member in archive if member.name.endswith(".jpg")]
    for number, file in enumerate(files):
        assert all(agree(file, least) for least in (None, 100)), number


def damaged(rng: random.Random, file: bytes) -> bytes:
    """Bits flipped, bytes cut, zeroed, doubled, lost, an end put after a cut, and bytes after the end."""
    out = bytearray(file)
    scan = file.index(b"\xff\xda") if rng.random() < 0.8 else 0
    for _ in range(rng.choice([1, 1, 2, 5])):
        if len(out) < scan + 8:
            break
        at = rng.randrange(scan, len(out))
        stretch = slice(at, at + rng.randint(1, 60))
        kind = rng.randrange(7)
        if kind == 0:
            for _ in range(rng.choice([1, 3, 10])):
                out[rng.randrange(scan, len(out))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at:]
        elif kind == 2:
            out[at:] = b"\xff\xd9"
        elif kind == 3:
            out[stretch] = bytes(len(out[stretch]))
        elif kind == 4:
            out[at:at] = out[stretch]
        elif kind == 5:
            del out[stretch]
        else:
            out += rng.randbytes(50)
    return bytes(out)


def test_damaged_files(path):
    rng, counts = random.Random(0), {"decoded": 0, "refused": 0}
    for number in range(300):
        file, least = damaged(rng, rng.choice(made(60, 150))), rng.choice([None, None, 8, 16, 32])
        assert agree(file, least), number
        counts["refused" if by_sassl(file) is None else "decoded"] += 1
    assert min(counts.values()) > 50


def test_long_scans() -> None:
    """Scans of which most is far from the end, where codes and values are looked up together: whole ones and damaged ones."""
    rng, noise = random.Random(1), np.random.default_rng(1).integers(0, 256, (150, 170, 3), np.uint8)
    images, files = [Image.fromarray(noise), *(photo.crop((20, 30, 240, 250)) for photo in photographs())], []
    for image in images:
        for subsampling in ("4:4:4", "4:2:2", "4:2:0", None):
            options = {} if subsampling is None else {"subsampling": subsampling}
            for quality, optimize, restarts in ((100, False, 0), (95, True, 0), (98, False, rng.choice([1, 7, 50]))):
                file = io.BytesIO()
                options |= {"quality": quality, "optimize": optimize, "restart_marker_blocks": restarts}
                image.convert("RGB" if subsampling else "L").save(file, "JPEG", **options)
                files.append(file.getvalue())
    assert all(agree(file) for file in files)
    for number in range(400):
        file = bytearray(damaged(rng, rng.choice(files)))
        # A mark somewhere, or a byte that is none.
        if number % 2 and len(file) > 2000:
            at = rng.randrange(700, len(file))
            file[at : at + 2] = bytes([0xFF, rng.choice([0, 0xD0, 0xD3, 0xD9, 0xFF, 0x12])])
        assert agree(bytes(file)), number


def segments(file: bytes) -> list[bytes]:
    """The start, each segment up to that of the first scan, and the rest."""
    parts, at = [file[:2]], 2
    while file[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(file[at + 2 : at + 4], "big")
        parts.append(file[at:end])
        at = end
    return [*parts, file[at:]]


def segment(mark: int, data: bytes) -> bytes:
    return bytes([0xFF, mark]) + (len(data) + 2).to_bytes(2, "big") + data


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe" + bytes([0, 100, 0, 0, 0, 0, transform]))


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    photographs()[1].crop((200, 90, 270, 150)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def with_segment(file: bytes, new: bytes, before: int = 1) -> bytes:
    parts = segments(file)
    return b"".join([*parts[:before], new, *parts[before:]])


def in_scan(file: bytes, new: bytes) -> bytes:
    """With these bytes in the middle of the first scan's data."""
    at = file.index(b"\xff\xda")
    at = (at + len(file)) // 2
    while file[at - 1] == 0xFF or file[at] == 0xFF:
        at += 1
    return file[:at] + new + file[at:]


def odd_files() -> dict[str, tuple[bytes, bool]]:
    """Files that decoders disagree about, and whether Pillow reads them."""
    plain, progressive = jpeg(quality=85), jpeg(quality=85, progressive=True)
    cmyk = jpeg("CMYK")
    frame = plain.index(b"\xff\xc0")
    height = plain[frame + 5 : frame + 7]
    scans, tables = progressive.split(b"\xff\xda"), progressive.split(b"\xff\xc4")
    without_adobe = b"".join(part for part in segments(cmyk) if part[:2] != b"\xff\xee")
    two = plain[:frame] + segment(0xC0, plain[frame + 4 : frame + 9] + b"\2" + plain[frame + 10 : frame + 16])
    restarts = jpeg(restart_marker_blocks=2)
    end = segments(plain)[-1][:-2]
    return {
        "JFIF wins over Adobe's transform 0": (with_segment(plain, adobe(0), 2), True),
        "Adobe's transform 0 without JFIF": (plain[:2] + adobe(0) + plain[20:], True),
        "an unknown transform": (with_segment(plain, adobe(7), 2), True),
        "four components with transform 1": (with_segment(without_adobe, adobe(1)), True),
        "four components without Adobe": (without_adobe, True),
        "DNL beside a height": (plain[:-2] + segment(0xDC, height) + b"\xff\xd9", True),
        "a short JFIF segment": (plain[:2] + segment(0xE0, b"JFIF\0\1") + plain[20:], False),
        "a short Adobe segment": (with_segment(plain, segment(0xEE, b"Adobe\0"), 2), False),
        "two components": (two + plain[plain.index(b"\xff\xc4") :], False),
        "progressive without Huffman tables": (
            b"".join(part for part in segments(progressive) if part[:2] != b"\xff\xc4"),
            False,
        ),
        "a second start": (with_segment(plain, b"\xff\xd8"), False),
        "a second frame": (with_segment(plain, plain[frame : frame + 19]), False),
        "a frame after the scan": (plain[:-2] + b"\xff\xc2", False),
        "a foreign segment in a scan": (in_scan(plain, segment(0xE5, b"abcdef")), True),
        "a mark that there is not": (with_segment(plain, b"\xff\x03"), False),
        "restarts without an interval": (in_scan(plain, b"\xff\xd0"), True),
        "an interval without restarts": (with_segment(plain, segment(0xDD, b"\0\2")), True),
        "an interval of 0": (with_segment(restarts, segment(0xDD, b"\0\0"), 2), True),
        "a scan twice": (b"\xff\xda".join([*scans[:3], scans[2], *scans[3:]]), True),
        "scans in another order": (b"\xff\xc4".join([*tables[:5], tables[6], tables[5], *tables[7:]]), True),
        "bytes after the end": (plain + bytes(range(256)), True),
        "a whole file after the end": (plain + plain, True),
        "no end": (plain[:-2], False),
        "half": (plain[: len(plain) // 2], False),
        "nothing after the header of the scan": (plain[: len(plain) - len(end)], False),
    }


@pytest.mark.parametrize("name", odd_files())
def test_odd_files(name):
    file, reads = odd_files()[name]
    assert agree(file)
    assert (by_pillow(file) is not None) == reads


def test_lossless_and_twelve_bits_are_refused_by_name():
    file = jpeg()
    at = file.index(b"\xff\xc0")
    with pytest.raises(ValueError, match="lossless JPEG is not supported; convert it to PNG"):
        F.decode(file[: at + 1] + b"\xc3" + file[at + 2 :])
    with pytest.raises(ValueError, match="JPEG of 12 bits and 3 components is not supported; convert it"):
        F.decode(file[: at + 4] + b"\x0c" + file[at + 5 :])


def test_more_scans_than_any_image_needs_are_refused():
    *head, last = jpeg("L", progressive=True).split(b"\xff\xda")
    last = last[:-2]
    assert F.decode(b"\xff\xda".join([*head, *[last] * 400]) + b"\xff\xd9").shape == (60, 70, 3)
    with pytest.raises(ValueError, match="More than 500 scans"):
        F.decode(b"\xff\xda".join([*head, *[last] * 600]) + b"\xff\xd9")


def test_a_size_that_the_bytes_cannot_fill_is_refused():
    file = jpeg()
    at = file.index(b"\xff\xc0") + 5
    with pytest.raises(ValueError, match=r"bytes cannot encode 10000x9000 pixels"):
        F.decode(file[:at] + (9000).to_bytes(2, "big") + (10_000).to_bytes(2, "big") + file[at + 4 :])

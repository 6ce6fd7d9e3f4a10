"""Image files to pixels, against Pillow: what it refuses is refused, what it gives is given, upright, in RGB."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from conftest import GOLDEN
from PIL import Image, ImageOps
from sassl.transforms import functional as F

sys.path.append(str(GOLDEN / "pictures"))

import file_parts as parts

EXPECTED = json.loads((GOLDEN / "pictures" / "expected.json").read_text())
#: What a process of its own may take.
MOST_MEMORY = 2 << 30

DECODE = f"""
import hashlib, json, resource, sys
from pathlib import Path
from sassl.transforms import functional as F

resource.setrlimit(resource.RLIMIT_AS, ({MOST_MEMORY}, {MOST_MEMORY}))
for path in map(Path, sys.argv[1:]):
    found = []
    for file in (path, path.read_bytes()):
        try:
            image = F.decode(file)
            found.append([list(image.shape), hashlib.sha256(image.tobytes()).hexdigest()])
        except ValueError as error:
            found.append(str(error))
    print(json.dumps(found))
"""


def decoded_apart(paths):
    """From its path and from its bytes: [shape, hash], or the error; in a process with little memory."""
    done = subprocess.run([sys.executable, "-c", DECODE, *map(str, paths)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def golden():
    return dict(zip(EXPECTED, decoded_apart(GOLDEN / "pictures" / name for name in EXPECTED), strict=True))


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_images(golden, name):
    want, (from_path, from_bytes) = EXPECTED[name], golden[name]
    refusal = want.get("may_refuse")
    if isinstance(from_path, str):
        assert want["outcome"] == "refused" or refusal is not None, from_path
        assert from_path.startswith(str(GOLDEN / "pictures" / name))
        assert from_bytes.startswith("<bytes>: ")
        if refusal:
            assert refusal in from_path
            assert "cannot be decoded" not in from_path
            assert "large" not in from_path
        return
    assert want["outcome"] != "refused"
    (width, height), tolerance = want["size"], want.get("tolerance", 0)
    assert from_path[0] == [height, width, 3]
    # Within the tolerance, ours are the very ones.
    assert from_path[1] == want["sha256"], f"{want['why']} (within {tolerance})"
    assert from_bytes == from_path


def pillow(data):
    """Upright, in RGB, gray of 16 bits scaled; None where it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
            if image.mode.startswith("I"):
                gray = (np.asarray(image, np.int64) * 255 + 32767) // 65535
                return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
            return np.asarray(image.convert("RGB"))
    except Exception:
        return None


def ours(data, **options):
    try:
        return F.decode(data, **options)
    except ValueError as error:
        return str(error)


def same(data):
    """That both refuse, or that both give the same pixels."""
    made, want = ours(data), pillow(data)
    if isinstance(made, str):
        assert want is None, made
    else:
        assert want is not None
        assert np.array_equal(made, want)
    return made


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(stored, orientation):
    """The image upright, by numpy's words."""
    if orientation in (5, 6, 7, 8):
        stored = stored.transpose(1, 0, 2)
    flips = {2: (0, 1), 3: (1, 1), 4: (1, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}.get(orientation, (0, 0))
    return stored[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]


@pytest.fixture(scope="module")
def small(photo):
    """A photograph of odd sides."""
    return np.ascontiguousarray(photo[:23, :37])


PREFIX = b"Exif\0\0"
EXIF = {
    "short": lambda n: parts.exif(n),
    "big-endian": lambda n: parts.exif(n, endian="MM"),
    "long": lambda n: parts.exif(n, kind=4),
    "big-endian long": lambda n: parts.exif(n, endian="MM", kind=4),
    "two shorts": lambda n: parts.exif(n, count=2),
    "two longs": lambda n: parts.exif(n, kind=4, count=2),
    "big-endian two longs": lambda n: parts.exif(n, endian="MM", kind=4, count=2),
    "signed": lambda n: parts.exif(n, kind=8),
    "signed long": lambda n: parts.exif(n, endian="MM", kind=9),
    "signed byte": lambda n: parts.exif(n, kind=6),
    "float": lambda n: parts.exif(n, kind=11),
    "byte, which is none": lambda n: parts.exif(n, kind=1),
    "more entries than there are": lambda n: parts.exif(n, entries=4000),
    "twice, the first counts": lambda n: parts.exif(n, more=[(0x0112, 3, 1, 1)] if n == 1 else [(0x0112, 4, 1, 9)]),
    "cut": lambda n: parts.exif(n)[:-4],
    "after one whose value is beyond": lambda n: parts.exif(n, more=[(0x010E, 4, 2, 3), (0x0100, 3, 1, 7)]),
    "no directory": lambda n: b"II*\0\xff\xff\xff\xff",
    "empty": lambda n: b"",
}


def jpeg_with(jpeg, *segments):
    made = b"".join(b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data for data in segments)
    return jpeg[:2] + made + jpeg[2:]


def xmp_segment(packet):
    return b"http://ns.adobe.com/xap/1.0/\0" + packet


def text(kind, key, value):
    """A text of a PNG: plain, packed, international, or international and packed."""
    if kind == "tEXt":
        return parts.chunk(b"tEXt", key + b"\0" + value)
    if kind == "zTXt":
        return parts.chunk(b"zTXt", key + b"\0\0" + zlib.compress(value))
    packed = kind == "packed iTXt"
    body = key + (b"\0\1\0en\0k\0" if packed else b"\0\0\0en\0k\0") + (zlib.compress(value) if packed else value)
    return parts.chunk(b"iTXt", body)


def hexadecimal(tiff):
    data = PREFIX + tiff
    return f"\nexif\n{len(data):8}\n{data[:20].hex()}\n{data[20:].hex()}\n".encode()


def check_turned(data, told=None):
    """That ours is the stored image, turned as Pillow would (or as told, where Pillow raises an error)."""
    stored = ours(data, exif=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        orientation = Image.open(io.BytesIO(data)).getexif().get(0x0112, 1) if told is None else told
    made = ours(data)
    assert np.array_equal(made, turned(stored, orientation)), orientation
    return orientation if orientation in range(1, 9) else 1


@pytest.mark.parametrize("form", EXIF)
def test_exif_in_every_container(small, form):
    image = Image.fromarray(small)
    jpeg, webp = saved(image, "JPEG"), saved(image, "WEBP", lossless=True)
    seen = set()
    for n in range(10):
        exif = EXIF[form](n)
        broken = 1 if form == "no directory" else None
        for prefix in (PREFIX, 2 * PREFIX):
            seen.add(check_turned(jpeg_with(jpeg, prefix + exif), broken))
        for prefix in (b"", PREFIX, 2 * PREFIX):
            chunk = (b"EXIF", prefix + exif)
            seen.add(check_turned(parts.webp_with(webp, 37, 23, chunk, flags=8), broken))
            assert check_turned(parts.webp_with(webp, 37, 23, chunk, flags=0)) == 1
        for prefix in (b"", PREFIX):
            chunk = parts.chunk(b"eXIf", prefix + exif)
            seen.add(check_turned(parts.png(small, 8, 2, before=[chunk]), broken))
            seen.add(check_turned(parts.png(small, 8, 2, after=[chunk]), broken))
    turns = not (form in ("no directory", "empty") or "which is none" in form)
    assert (seen == set(range(1, 9))) == turns or "beyond" in form or "twice" in form, seen


def test_exif_in_parts_and_other_texts(small):
    image = Image.fromarray(small)
    jpeg, webp = saved(image, "JPEG"), saved(image, "WEBP", lossless=True)
    for n in range(1, 9):
        exif, other = parts.exif(n, more=[(0x010F, 4, 1, 3)]), n % 8 + 1
        packets = parts.xmp(n), parts.xmp(n, element=True)
        for data in (
            jpeg_with(jpeg, PREFIX + exif[:16], PREFIX + exif[16:]),
            jpeg_with(jpeg, PREFIX + exif, PREFIX + parts.exif(other)),
            jpeg_with(jpeg, PREFIX + exif, xmp_segment(parts.xmp(other))),
            *(jpeg_with(jpeg, xmp_segment(packet)) for packet in packets),
            *(parts.webp_with(webp, 37, 23, (b"XMP ", packet), flags=4) for packet in packets),
            *(parts.png(small, 8, 2, after=[parts.png_xmp(packet)]) for packet in packets),
            *(
                parts.png(small, 8, 2, before=[text(kind, b"Raw profile type exif", hexadecimal(exif))])
                for kind in ("tEXt", "zTXt", "iTXt", "packed iTXt")
            ),
            *(
                parts.png(small, 8, 2, after=[text(kind, b"XML:com.adobe.xmp", packets[0])])
                for kind in ("tEXt", "zTXt", "iTXt", "packed iTXt")
            ),
            parts.png(small, 8, 2, before=[text("tEXt", b"exif", exif)]),
            # Of two, the last counts, and a chunk before a text.
            parts.png(small, 8, 2, before=[parts.chunk(b"eXIf", parts.exif(other)), parts.chunk(b"eXIf", exif)]),
            parts.png(
                small,
                8,
                2,
                before=[
                    parts.chunk(b"eXIf", exif),
                    text("tEXt", b"Raw profile type exif", hexadecimal(parts.exif(other))),
                ],
            ),
        ):
            assert check_turned(data) == n
        assert check_turned(parts.webp_with(webp, 37, 23, (b"XMP ", packets[0]), flags=0)) == 1
        # EXIF that says nothing true keeps XMP from being asked; EXIF without the tag does not.
        assert check_turned(jpeg_with(jpeg, PREFIX + parts.exif(9), xmp_segment(packets[0]))) == 1
        without = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
        assert check_turned(jpeg_with(jpeg, PREFIX + without, xmp_segment(packets[0]))) == n
    digits = parts.png(small, 8, 2, before=[text("tEXt", b"Raw profile type exif", b"\nexif\n  8\nno digits")])
    assert np.array_equal(ours(digits), small)


def test_tiff_is_turned_either_way(small):
    for n in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = n
        data = saved(Image.fromarray(small), "TIFF", exif=tags)
        same(data)
        assert np.array_equal(ours(data, exif=False), turned(small, n))


def test_png_is_as_strict_as_pillow(small):
    whole = parts.png(small, 8, 2, before=[parts.chunk(b"gAMA", struct.pack(">I", 45455))], pieces=3)
    text_after = parts.png(small, 8, 2, after=[text("tEXt", b"Author", b"nobody")])
    end, pixels = whole.rindex(b"IEND") - 4, whole.index(b"IDAT")

    def changed(data, at):
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    stream = parts.png_data(small, 8)

    def with_stream(*pieces):
        header = parts.png_header(37, 23, 8, 2, False)
        body = b"".join(parts.chunk(b"IDAT", piece) for piece in pieces)
        return b"\x89PNG\r\n\x1a\n" + header + body + parts.chunk(b"IEND")

    given = {
        "no IEND": whole[:end],
        "a part of IEND": whole[: end + 6],
        "checksum of pixels' chunk": changed(whole, end - 1),
        "checksum after the pixels": changed(text_after, text_after.rindex(b"IEND") - 5),
        "bytes after the stream": with_stream(stream + b"more"),
        "bytes after the stream, apart": with_stream(stream, b"more"),
        "no Adler's sum": with_stream(stream[:-4]),
        "bytes after the file": whole + b"more",
        "an empty chunk of pixels": with_stream(b"", stream[:50], b"", stream[50:]),
        "a line too many": with_stream(zlib.compress(parts.png_rows(small, 8) + bytes(112))),
        "a chunk of pixels cut after the stream": with_stream(stream + bytes(20))[:-30],
    }
    refused = {
        "checksum before the pixels": changed(whole, pixels - 5),
        "Adler's sum": with_stream(stream[:-1] + bytes([stream[-1] ^ 1])),
        "cut in the pixels": whole[:-40],
        "cut in a text": text_after[: text_after.rindex(b"tEXt") + 8],
        "a chunk without a name": whole[: pixels - 4] + b"\0\0\0\0\1\2\3\4\0\0\0\0" + whole[pixels - 4 :],
        "a short header": whole[:8] + parts.chunk(b"IHDR", bytes(5)) + whole[33:],
        "a short gamma": parts.png(small, 8, 2, before=[parts.chunk(b"gAMA", b"\0\0")]),
        "no pixels": whole[: pixels - 4] + parts.chunk(b"IEND"),
        "another chunk among the pixels": with_stream(stream[:50])[:-12]
        + text("tEXt", b"a", b"b")
        + parts.chunk(b"IDAT", stream[50:])
        + parts.chunk(b"IEND"),
    }
    for what, data in given.items():
        assert np.array_equal(same(data), small), what
    for what, data in refused.items():
        assert isinstance(same(data), str), what


PNG_KINDS = [(0, 1), (0, 2), (0, 4), (3, 1), (3, 2), (3, 4), (3, 8), *((c, d) for c in (0, 2, 4, 6) for d in (8, 16))]


@pytest.mark.parametrize(("colour", "depth"), PNG_KINDS)
def test_png_of_every_kind(small, colour, depth):
    rng = np.random.default_rng(0)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    samples = rng.integers(0, 1 << depth, (23, 37, channels))
    table = rng.integers(0, 256, 3 << min(depth, 8), np.uint8).tobytes()
    key = {0: 2, 2: 6, 3: 1 << min(depth, 8)}.get(colour)
    for interlaced in (False, True):
        for before in ([], [parts.chunk(b"tRNS", bytes(key))] if key else []):
            before = [parts.chunk(b"PLTE", table), *before] if colour == 3 else before
            assert not isinstance(same(parts.png(samples, depth, colour, interlaced=interlaced, before=before)), str)


@pytest.mark.parametrize("size", [(1, 1), (23, 37), (64, 48), (15, 130)])
def test_webp(photo, size):
    image = Image.fromarray(np.resize(photo, (*size, 3)))
    layer = image.copy()
    layer.putalpha(Image.linear_gradient("L").resize(image.size))
    for kind in (image, layer):
        for options in ({"quality": 30}, {"quality": 90}, {"lossless": True}, {"lossless": True, "exact": True}):
            whole = saved(kind, "WEBP", **options)
            assert not isinstance(same(whole), str)
            assert isinstance(same(whole[:-3]), str)
            assert not isinstance(same(whole + b"more"), str)
    frames = saved(layer, "WEBP", save_all=True, append_images=[image.rotate(90)], lossless=True, exact=True)
    assert not isinstance(same(frames), str)


def gif(frame, *, screen=(30, 40), at=(0, 0), transparent=None, local=None, interlaced=False):
    """A GIF whose pixels are packed by codes that are never longer than nine bits."""
    height, width = frame.shape
    out = b"GIF89a" + struct.pack("<HHBBB", *screen[::-1], 0xF7, 3, 0) + bytes(range(256)) * 3
    if transparent is not None:
        out += bytes([0x21, 0xF9, 4, 1, 0, 0, transparent, 0])
    flags = (0x40 if interlaced else 0) | (0x87 if local else 0)
    out += b"," + struct.pack("<HHHHB", at[1], at[0], width, height, flags) + (local or b"") + b"\x08"
    order = (
        [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
        if interlaced
        else slice(None)
    )
    bits, n = 0, 0
    codes = [
        code
        for i, value in enumerate(frame[order].ravel().tolist())
        for code in ([256] if i % 200 == 0 else []) + [value]
    ]
    for code in [*codes, 257]:
        bits, n = bits | code << n, n + 9
    data = bits.to_bytes(-(-n // 8), "little")
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return out + blocks + b"\0;"


def test_gif_gives_its_first_frame(small, tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (11, 13))
    local = np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes()
    for screen, at in (((11, 13), (0, 0)), ((30, 40), (5, 7)), ((8, 9), (2, 3))):
        for transparent in (None, 9):
            for more in ({}, {"interlaced": True}, {"local": local}):
                data = gif(frame, screen=screen, at=at, transparent=transparent, **more)
                assert not isinstance(same(data), str), (screen, transparent, more)
    assert isinstance(ours(gif(frame)[:-60]), str)
    frames = [Image.fromarray(small).quantize(64), Image.fromarray(small[::-1]).quantize(64)]
    path = tmp_path / "named.jpg"
    path.write_bytes(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert np.array_equal(F.decode(path), pillow(path.read_bytes()))


TIFF_MODES = ("L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")
TIFF_KINDS = {
    "raw": ("1", *TIFF_MODES),
    "tiff_lzw": ("1", *TIFF_MODES),
    "tiff_adobe_deflate": ("1", *TIFF_MODES),
    "packbits": ("1", *TIFF_MODES),
    "group4": ("1",),
}


def of_mode(image, mode):
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 250 + 99)
    if mode in ("LA", "RGBA"):
        image = image.copy()
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


@pytest.mark.parametrize("compression", TIFF_KINDS)
def test_tiff(small, compression):
    for mode in TIFF_KINDS[compression]:
        data = saved(of_mode(Image.fromarray(small), mode), "TIFF", compression=compression)
        assert not isinstance(same(data), str), mode


def test_tiff_that_is_not_read_is_named(small):
    image = Image.fromarray(small)
    for data in (
        saved(image, "TIFF", compression="jpeg"),
        saved(image.convert("1"), "TIFF", compression="group3"),
        saved(image.convert("YCbCr"), "TIFF"),
    ):
        said = ours(data)
        assert said.startswith("<bytes>: TIFF ")
        assert "convert it to PNG or JPEG" in said
        assert "cannot be decoded" not in said
        assert "large" not in said


def test_tiff_of_rare_kinds(small):
    tifffile = pytest.importorskip("tifffile", reason="DID NOT RUN: tifffile is not installed")
    rng = np.random.default_rng(0)

    def tiff(array, *, bigtiff=False, byteorder="<", **options):
        out = io.BytesIO()
        with tifffile.TiffWriter(out, bigtiff=bigtiff, byteorder=byteorder) as file:
            file.write(array, software=False, metadata=None, **options)
        return out.getvalue()

    layer = np.concatenate([small, rng.integers(0, 256, (23, 37, 1), np.uint8)], 2)
    wide = rng.integers(0, 65536, (23, 37, 3), np.uint16)
    ramp = rng.integers(0, 65536, (3, 256), np.uint16)
    tiles = {"tile": (16, 32)}
    for byteorder in "<>":
        for bigtiff in (False, True):
            options = {"byteorder": byteorder, "bigtiff": bigtiff}
            made = {
                "planes": tiff(small.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", **options),
                "tiles": tiff(small, photometric="rgb", **tiles, **options),
                "packed tiles": tiff(small, photometric="rgb", compression="zlib", predictor=True, **tiles, **options),
                "strips": tiff(small, photometric="rgb", rowsperstrip=5, **options),
                "premultiplied": tiff(layer, photometric="rgb", extrasamples=["assocalpha"], **options),
                "transparent": tiff(layer, photometric="rgb", extrasamples=["unassalpha"], **options),
                "unspecified": tiff(layer, photometric="rgb", extrasamples=["unspecified"], **options),
                "16 bits": tiff(wide, photometric="rgb", **options),
                "16 bits of gray": tiff(wide[:, :, 0], photometric="minisblack", **options),
                "inverted": tiff(small[:, :, 0], photometric="miniswhite", **options),
                "palette": tiff(small[:, :, 0], photometric="palette", colormap=ramp, **options),
                "inks": tiff(layer, photometric="separated", **options),
            }
            for what, data in made.items():
                if bigtiff and byteorder == ">":
                    # Pillow knows no such ones.
                    assert not isinstance(ours(data), str), what
                else:
                    assert not isinstance(same(data), str), what
            planes = tiff(small.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", **tiles, **options)
            assert f"{'BigTIFF' if bigtiff else 'TIFF'} with tiles for each channel is not supported" in ours(planes)
    floats = rng.random((23, 37), np.float32)
    made = ours(tiff(floats, photometric="minisblack"))
    assert np.array_equal(made[:, :, 0], np.floor(floats * 255 + 0.5).astype(np.uint8))
    assert "floats outside [0, 1]" in ours(tiff(3 * floats, photometric="minisblack"))
    assert "TIFF with 32 bits" in ours(tiff(wide[:, :, 0].astype(np.uint32), photometric="minisblack"))


def test_bmp_and_pnm(small):
    rng = np.random.default_rng(0)
    image = Image.fromarray(small)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        assert not isinstance(same(saved(image.convert(mode), "BMP")), str)
    indices = rng.integers(0, 5, (23, 37)) ** 3
    palette = [tuple(color) for color in rng.integers(0, 256, (256, 3)).tolist()]
    assert not isinstance(same(parts.bmp(37, 23, 8, 1, parts.rle8(indices), palette=palette)), str)
    assert isinstance(same(saved(image, "BMP")[:-500]), str)
    for mode in ("1", "L", "RGB"):
        assert not isinstance(same(saved(image.convert(mode), "PPM")), str)
    for most in (1, 7, 100, 255, 300, 1000, 65535):
        for magic, channels in ((b"P5", 1), (b"P6", 3)):
            samples = rng.integers(0, most + 1, (5, 7, channels))
            body = samples.astype(np.uint8 if most < 256 else ">u2").tobytes()
            made, want = ours(magic + b"\n7 5\n%d\n" % most + body), np.broadcast_to(samples * 255 / most, (5, 7, 3))
            assert not isinstance(made, str), (most, made)
            assert np.abs(made - want).max() <= 0.5 + 1e-9 + (most > 255) * 0.01, most
    plain = b"P3\n# a comment\n2 1\n255\n1 2 3  250 251 252\n"
    assert ours(plain).tolist() == [[[1, 2, 3], [250, 251, 252]]]


def test_what_is_no_image_is_named():
    names = {
        "AVIF": b"\0\0\0 ftypavif\0\0\0\0",
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "JPEG XL": b"\xff\x0a\xfa\x7f",
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
        "Photoshop": b"8BPS\0\1",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "PDF": b"%PDF-1.7",
        "HTML": b"<!DOCTYPE html><html>",
        "Git LFS": b"version https://git-lfs.github.com/spec/v1\n",
        "a ZIP archive": b"PK\x03\x04",
        "not one of JPEG, PNG, WebP, GIF, BMP, TIFF or PNM": b"hello",
        "the file is empty": b"",
    }
    for name, data in names.items():
        said = ours(data)
        assert name in said
        assert "cannot be decoded" not in said
        assert "large" not in said
    for suffix in ("\n", "  "):
        assert "HTML" in ours(f"{suffix}<html><body>404".encode())


def test_claims_are_checked_before_memory_is_taken(tmp_path):
    def png(width, height, depth=8, colour=2):
        header = parts.png_header(width, height, depth, colour, False)
        return b"\x89PNG\r\n\x1a\n" + header + parts.chunk(b"IDAT", zlib.compress(bytes(4096))) + parts.chunk(b"IEND")

    def tiff(*entries):
        body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
        return b"II*\0\x08\0\0\0" + body + bytes(100)

    size = [(256, 4, 1, 13000), (257, 4, 1, 13000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    strip = [(273, 4, 1, 8), (279, 4, 1, 169_000_000)]
    webp = saved(Image.new("RGB", (4, 4)), "WEBP", lossless=True)
    claims = {
        "png.png": png(13000, 13000),
        "deep.png": png(13000, 13000, 16, 6),
        "wide.png": png(2**31 - 1, 1),
        "chunk.png": png(9, 9)[:33] + struct.pack(">I", 0xFFFFFFF0) + b"eXIfII*\0",
        "canvas.webp": parts.webp_with(webp, 13000, 13000, flags=0),
        "frame.webp": parts.webp_with(webp, 13000, 13000, (b"ANMF", b"\xff" * 16), flags=2),
        "riff.webp": webp[:4] + struct.pack("<I", 0xFFFFFFF0) + webp[8:],
        "gif.gif": gif(np.zeros((1, 1), int), screen=(65535, 65535)),
        "frame.gif": gif(np.zeros((1, 1), int)).replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 13000, 13000), 1),
        "bmp.bmp": parts.bmp(13000, 13000, 24, 0, bytes(64)),
        "rle.bmp": parts.bmp(13000, 13000, 8, 1, b"\0\1", palette=[(0, 0, 0)] * 256),
        "ppm.ppm": b"P6\n13000 13000\n255\n" + bytes(64),
        "pgm.pgm": b"P5\n4000000000 1\n255\n" + bytes(64),
        "strip.tif": tiff(*size, *strip),
        "strips.tif": tiff(*size, (273, 4, 2**32 - 1, 8), (279, 4, 2**32 - 1, 8), (278, 4, 1, 1)),
        "tile.tif": tiff(*size, (322, 4, 1, 2**31 - 16), (323, 4, 1, 2**31 - 16), (324, 4, 1, 8), (325, 4, 1, 9)),
        "samples.tif": tiff(*size[:-1], (277, 3, 1, 65535), *strip),
    }
    for name, data in claims.items():
        (tmp_path / name).write_bytes(data)
    for name, found in zip(claims, decoded_apart(tmp_path / name for name in claims), strict=True):
        assert all(isinstance(one, str) for one in found), (name, found)


def test_large_images_of_few_bytes_are_bounded_by_what_they_declare(tmp_path):
    # One colour takes no bits in WebP: such a file is whole, and 700 MB of pixels are within the limits.
    path = tmp_path / "even.webp"
    Image.new("RGB", (9000, 9000), (7, 8, 9)).save(path, lossless=True)
    assert path.stat().st_size < 1 << 18
    want = hashlib.sha256(np.full((9000, 9000, 3), (7, 8, 9), np.uint8).tobytes()).hexdigest()
    assert decoded_apart([path]) == [2 * [[[9000, 9000, 3], want]]]


def test_a_tiff_whose_tags_contradict_each_other():
    """The decoder takes the last of a tag that stands twice: a tile of 2^32 columns would take all memory."""
    tags = [
        (256, 4, 1), (257, 4, 1), (258, 3, 64), (259, 3, 8), (262, 3, 1), (277, 3, 1), (277, 3, 65535), (317, 3, 3),
        (322, 4, 16), (322, 4, 0xFFFFFFFF), (323, 4, 1), (324, 4, 8), (325, 4, 500), (339, 3, 3),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<I", 508) + bytes(500)
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    with pytest.raises(ValueError, match="TIFF"):
        F.decode(head + struct.pack("<H", len(tags)) + entries + bytes(4))

"""Makes the pictures beside this file, which pin down what a decoder must do, and their expected.json.

    pip install pillow numpy scikit-image tifffile imagecodecs
    apt-get install libjpeg-turbo-progs
    python tests/golden/pictures/make_pictures.py FOLDER

`expected.json` says of each what must come out. The rule: what Pillow refuses is refused; what it gives is given, upright, in
RGB, transparency dropped, gray of 16 bits scaled to 8; and where libjpeg-turbo's `djpeg` warns, it is counted as damaged.

    outcome      "pixels", "damaged" or "refused"
    size         width and height, upright
    sha256       of the uint8 RGB bytes, (H, W, 3), for a tolerance of 0
    tolerance    the greatest difference of a byte to what Pillow gives
    may_refuse   an error is right too if it has this word
    why          what the picture is

Made with Pillow 13.0.0 and its libjpeg-turbo 3.2.0; the photographs are those of scikit-image.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from file_parts import bmp, chunk, exif, png, png_header, png_xmp, raw_profile, riff, riff_chunks, rle8, webp_with, xmp
from jpeg_parts import (
    ADOBE,
    APP0,
    APP1,
    APP14,
    EOI,
    SOS,
    cjpeg,
    encode,
    frame,
    index,
    insert,
    intervals,
    on_scan,
    put_together,
    take_apart,
    ycc,
)
from PIL import Image, ImageOps

PHOTOS = os.path.join(os.path.dirname(importlib.util.find_spec("skimage").origin), "data")


def photo(name, box, size):
    """A part (left, top, right, bottom) of one of scikit-image's photographs at a size."""
    return Image.open(os.path.join(PHOTOS, name)).convert("RGB").resize(size, Image.Resampling.LANCZOS, box=box)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(array, **options):
    out = io.BytesIO()
    big = {k: options.pop(k) for k in ("bigtiff", "byteorder") if k in options}
    with tifffile.TiffWriter(out, **big) as f:
        f.write(array, software=False, metadata=None, **options)
    return out.getvalue()


def script(text):
    """A file of scans for cjpeg and jpegtran."""
    path = os.path.join(tempfile.gettempdir(), "scans.txt")
    with open(path, "w") as f:
        f.write(text)
    return path


def flip(scan, at, bits=0x55, count=1):
    """Some bytes of a scan changed, markers neither made nor lost."""
    scan = bytearray(scan)
    for i in range(int(at * len(scan)), len(scan)):
        if count and scan[i] != 0xFF and scan[i - 1] != 0xFF and scan[i] ^ bits != 0xFF:
            scan[i] ^= bits
            count -= 1
    return bytes(scan)


def cmyk(image):
    """Ink as files of the field hold it: 255 is none. Four planes."""
    colour = 255 - np.asarray(image).astype(int)
    black = colour.min(axis=2) // 2
    return [255 - (colour[:, :, i] - black) for i in range(3)] + [255 - black]


def face(w, h):
    return photo("astronaut.png", (130, 10, 330, 10 + 200 * h / w), (w, h))


def cup(w, h):
    return photo("coffee.png", (120, 40, 520, 40 + 400 * h / w), (w, h))


def cat(w, h):
    return photo("chelsea.png", (110, 30, 350, 30 + 240 * h / w), (w, h))


def rocket(w, h):
    return photo("rocket.jpg", (180, 60, 480, 60 + 300 * h / w), (w, h))


def suit(w, h):
    return photo("astronaut.png", (140, 250, 480, 250 + 340 * h / w), (w, h))


def pictures():
    """(name, bytes, why, options) of each."""
    made = []

    def add(name, data, why, **options):
        made.append((name, data, why, options))

    # JPEG: samplings and sizes
    add("j01-444-1x1.jpg", cjpeg(face(1, 1), "-sample", "1x1", "-quality", "90"), "one pixel, 4:4:4")
    add(
        "j02-420-17x33.jpg",
        cjpeg(face(17, 33), "-sample", "2x2", "-quality", "92"),
        "4:2:0, odd sides: smooth upsampling at the edges",
    )
    add(
        "j03-422-7x5-second-after.jpg",
        cjpeg(cup(7, 5), "-sample", "2x1", "-quality", "95") + b"SEFT\0\1" + cjpeg(cat(24, 16)),
        (
            "4:2:2; after its end some bytes and a whole second JPEG (phones append films and "
            "previews): the first alone counts"
        ),
    )
    add(
        "j04-440-61x47.jpg",
        cjpeg(cat(61, 47), "-sample", "1x2", "-quality", "85", "-optimize"),
        "4:4:0: smooth upsampling downwards; Huffman tables of its own",
    )
    add(
        "j05-411-restarts.jpg",
        cjpeg(cup(101, 67), "-sample", "4x1", "-quality", "85", "-restart", "3B"),
        "4:1:1 and a restart after each third MCU",
    )
    add(
        "j06-sampling-3x1.jpg",
        cjpeg(suit(79, 53), "-sample", "3x1", "-quality", "85"),
        "luma sampled 3x1: chroma is repeated, not smoothed",
    )
    add(
        "j07-chroma-finer-than-luma.jpg",
        cjpeg(cat(58, 45), "-sample", "1x2,2x1", "-quality", "85"),
        "factors 1x2, 2x1, 1x1: luma is the one to be widened",
    )
    add(
        "j08-gray-sampled-2x2.jpg",
        cjpeg(cat(43, 37), "-grayscale", "-sample", "2x2", "-quality", "9"),
        (
            "one component with factors 2x2 (a scan of one component has no MCU of four blocks); "
            "16-bit quantisation tables, so SOF1"
        ),
    )

    # Progressive, scans apart, arithmetic
    progressive = cjpeg(face(120, 90), "-progressive", "-quality", "80")
    parts = take_apart(progressive)
    cut = index(parts, SOS, 4)
    add(
        "j09-progressive-four-scans.jpg",
        put_together([*parts[:cut], [EOI, b"", b""]]),
        (
            "the first 4 of 10 scans, then EOI: no warning; where coefficients are missing, "
            "libjpeg-turbo smooths across blocks"
        ),
    )
    cut = index(parts, SOS, 8)
    half = [*parts[cut][:2], parts[cut][2][: len(parts[cut][2]) // 2]]
    add(
        "j10-progressive-cut-in-scan.jpg",
        put_together([*parts[:cut], half, [EOI, b"", b""]]),
        "the ninth scan ends in its middle, then EOI",
    )
    add(
        "j11-scan-for-each-component.jpg",
        cjpeg(cup(117, 75), "-sample", "2x2", "-quality", "85", "-scans", script("0;\n1;\n2;\n")),
        "baseline, not interleaved, 4:2:0, odd sides: scans of Y, Cb, Cr",
    )
    add(
        "j12-chroma-scan-first.jpg",
        cjpeg(suit(88, 64), "-sample", "2x1", "-quality", "85", "-restart", "5B", "-scans", script("1,2;\n0;\n")),
        "baseline, 4:2:2: Cb and Cr in one scan, then Y; restarts",
    )
    add(
        "j13-arithmetic.jpg",
        cjpeg(suit(96, 64), "-arithmetic", "-sample", "2x1", "-quality", "85"),
        "arithmetic coding, sequential, 4:2:2",
    )

    # Damage inside
    restarts = cjpeg(cup(128, 96), "-sample", "2x2", "-quality", "85", "-restart", "4B")

    def lose(scan):
        p = intervals(scan)
        del p[9:11]
        return b"".join(p)

    add("j14-restart-lost.jpg", on_scan(restarts, lose), "one restart marker and the four MCUs before it are gone")

    def swap(scan):
        p = intervals(scan)
        p[11], p[15] = p[15], p[11]
        return b"".join(p)

    add("j15-restarts-out-of-order.jpg", on_scan(restarts, swap), "two restart markers have changed places")
    natural = cjpeg(suit(128, 96), "-sample", "2x2", "-quality", "85")
    add(
        "j16-bytes-damaged.jpg",
        on_scan(natural, lambda scan: flip(scan, 0.2, 0x0F, 2)),
        "two bytes of the scan are changed: a Huffman code that does not exist, then on",
    )

    def mark(scan):
        at = len(scan) * 2 // 5
        return scan[:at] + b"\xff\xe5\0\x06\1\2\3\4" + scan[at:]

    add(
        "j17-marker-in-scan.jpg",
        on_scan(natural, mark),
        (
            "a segment APP5 stands in the middle of the scan's data: what follows it in the scan is "
            "gray, as libjpeg leaves it"
        ),
    )

    # Ends and beginnings
    whole = cjpeg(cat(90, 60), "-quality", "80")
    add(
        "j18-bytes-before.jpg",
        b"\r\n\r\n" + whole,
        "four bytes stand before SOI: Pillow, djpeg and torchvision all refuse",
    )
    add(
        "j19-no-end.jpg",
        whole[:-2],
        (
            "nothing but EOI is missing: Pillow and torchvision refuse; djpeg gives the whole picture "
            "and warns; refused by the rule 'what Pillow refuses'"
        ),
    )
    add(
        "j20-cut.jpg",
        whole[: len(whole) * 3 // 5],
        (
            "ends in the middle of its scan: Pillow and torchvision refuse; djpeg fills the rest with "
            "gray and warns; refused by the same rule"
        ),
    )
    parts = take_apart(cjpeg(cat(48, 40), "-quality", "80"))
    sof = frame(parts)
    sof[1] = sof[1][:1] + b"\0\0" + sof[1][3:]
    parts[index(parts, SOS) + 1 : index(parts, SOS) + 1] = [[0xDC, (40).to_bytes(2, "big"), b""]]
    add(
        "j21-height-0-dnl.jpg",
        put_together(parts),
        "height 0 in the frame, the true one in DNL after the scan: nobody reads it",
    )

    # Precision, tables, colours
    twelve = np.asarray(cat(40, 32)).astype(np.uint16) * 16 + 7
    add(
        "j22-12-bit.jpg",
        imagecodecs.jpeg8_encode(twelve, bitspersample=12, level=85),
        "12 bits a sample: Pillow, djpeg and torchvision refuse",
    )
    add(
        "j23-lossless.jpg",
        imagecodecs.jpeg8_encode(np.asarray(rocket(40, 32)), lossless=True, predictor=1),
        (
            "lossless (SOF3): Pillow's libjpeg-turbo 3 reads it, torchvision's and djpeg 2.1 refuse; "
            "a refusal that says so is right too"
        ),
        may_refuse="lossless",
    )
    c, m, y, k = cmyk(cup(72, 48))
    add(
        "j24-cmyk-adobe.jpg",
        encode([c, m, y, k], [(1, 1)] * 4, before=[(APP14, ADOBE + b"\0")]),
        "CMYK, Adobe's marker with transform 0; 255 is no ink; to RGB by Pillow's integers",
    )
    # YCCK is YCbCr of what C, M, Y leave of 255.
    colour = ycc(Image.fromarray((255 - np.stack([c, m, y], 2)).astype(np.uint8)))
    add(
        "j25-ycck-420.jpg",
        encode([*colour, k], [(2, 2), (1, 1), (1, 1), (2, 2)], before=[(APP14, ADOBE + b"\2")]),
        "YCCK, Adobe's marker with transform 2, chroma halved both ways",
    )
    planes = [np.asarray(p) for p in rocket(64, 48).split()]
    add(
        "j26-rgb-adobe.jpg",
        encode(planes, [(1, 1)] * 3, before=[(APP14, ADOBE + b"\0")]),
        "three components that are RGB: Adobe's marker with transform 0, no JFIF",
    )
    add(
        "j27-no-huffman-tables.jpg",
        encode(ycc(cat(72, 48)), [(2, 1), (1, 1), (1, 1)], before=[(APP0, b"AVI1\0\0\0\0\0\0\0\0\0\0")], tables=False),
        "a frame of a Motion JPEG film: no DHT, the standard's tables are meant; 4:2:2",
    )

    # Orientation
    add(
        "j28-exif-6-big-endian.jpg",
        insert(progressive, (APP1, b"Exif\0\0" + exif(6, endian="MM", more=[(0x011A, 4, 1, 72)])), after=APP0),
        "JFIF, then EXIF (big-endian): orientation 6; progressive, 4:2:0",
    )
    add(
        "j29-exif-broken.jpg",
        insert(whole, (APP1, b"Exif\0\0" + exif(8, entries=4000)), after=APP0),
        "the directory claims 4,000 entries and holds one, which is orientation 8: it counts",
    )

    # PNG
    wide = np.asarray(face(40, 30)).astype(np.int64) * 257 + np.arange(120).reshape(1, 40, 3) * 31 % 200 - 100
    wide = wide.clip(0, 65535)
    add(
        "p30-rgb-16-bit.png",
        png(wide, 16, 2, interlaced=True),
        "16 bits a colour, interlaced; Pillow drops the lower byte, others round",
        tolerance=1,
    )
    add(
        "p31-gray-16-bit.png",
        png(wide[:, :, 1], 16, 0),
        (
            "16-bit gray is scaled to 8 bits, rounded (Pillow's own convert would cut it at 255); "
            "dropping the lower byte is right too"
        ),
        tolerance=1,
    )
    gray = np.asarray(cat(45, 29).convert("L"))
    add(
        "p32-gray-2-bit-interlaced.png",
        png(gray >> 6, 2, 0, interlaced=True),
        "2-bit gray, interlaced: 0, 85, 170, 255",
    )
    few = cup(50, 38).quantize(16, dither=Image.Dither.NONE)
    table = few.getpalette()[:48]
    add(
        "p33-palette-4-bit-transparent.png",
        png(np.asarray(few), 4, 3, before=[chunk(b"PLTE", bytes(table)), chunk(b"tRNS", bytes([0, 64, 128, 255, 0]))]),
        "4-bit palette with transparent entries: transparency is dropped, colours stay",
    )
    alpha = (np.arange(33)[None, :] * 255 // 32 * np.ones((27, 1), int)).astype(int)
    small = np.asarray(cat(33, 27).convert("L")).astype(int)
    add(
        "p34-gray-alpha-exif-8.png",
        png(np.stack([small, alpha], 2), 8, 4, after=[chunk(b"eXIf", b"Exif\0\0" + exif(8))], pieces=3),
        (
            "gray and alpha (dropped), three IDAT; chunk eXIf after them (ImageMagick writes it "
            "there) and with the prefix that belongs to JPEG: orientation 8"
        ),
    )
    add(
        "p35-raw-profile-exif-3.png",
        png(np.asarray(rocket(44, 36)), 8, 2, before=[raw_profile(exif(3, endian="MM"))]),
        "orientation 3 in the text 'Raw profile type exif' (compressed, hexadecimal)",
    )
    add(
        "p36-xmp-5.png",
        png(np.asarray(rocket(36, 44)), 8, 2, after=[png_xmp(xmp(5))]),
        "orientation 5 in XMP alone, after the pixels",
    )
    add(
        "p37-60000x60000.png",
        b"\x89PNG\r\n\x1a\n"
        + png_header(60000, 60000, 8, 2, False)
        + chunk(b"IDAT", zlib.compress(bytes(4096), 9))
        + chunk(b"IEND"),
        "claims 60000x60000 pixels in 83 bytes",
    )

    # WebP
    lossy = saved(cup(77, 51), "WEBP", quality=80)
    add(
        "w38-exif-6-prefixed.webp",
        webp_with(lossy, 77, 51, (b"EXIF", b"Exif\0\0" + exif(6)), flags=8),
        "lossy, odd sides; EXIF with the prefix that belongs to JPEG: orientation 6",
    )
    layer = Image.merge("RGBA", [*cat(52, 40).split(), Image.linear_gradient("L").resize((52, 40))])
    lossless = saved(layer, "WEBP", lossless=True, exact=True)
    add(
        "w39-lossless-alpha-exif-7.webp",
        webp_with(lossless, 52, 40, (b"EXIF", exif(7, endian="MM")), flags=24),
        "lossless with alpha (dropped); EXIF without prefix: orientation 7",
    )
    tiny = riff_chunks(saved(Image.new("RGB", (4, 4), (200, 30, 90)), "WEBP", lossless=True))[0]
    claim = riff((b"VP8X", bytes([8, 0, 0, 0, 3, 0, 0, 3, 0, 0])), tiny) + b"EXIF" + struct.pack("<I", 0xFFFFFFF0)
    add(
        "w40-exif-of-4-gb.webp",
        (claim + exif(6) + bytes(96))[:96],
        ("96 bytes whose EXIF chunk claims 4 GB: read as Pillow reads it, or refused in any words; never reserved"),
        may_refuse="",
    )

    # TIFF, BMP, GIF, AVIF
    few = suit(56, 40).quantize(64, dither=Image.Dither.NONE)
    ramp = np.array(few.getpalette()[:192] + [0] * 576).reshape(256, 3).T.astype(np.uint16) * 257
    add(
        "t41-palette.tif",
        tiff(np.asarray(few), photometric="palette", colormap=ramp, compression="packbits", byteorder=">"),
        "palette, big-endian, PackBits",
        may_refuse="TIFF",
    )
    add(
        "t42-big-planar-tiles.tif",
        tiff(
            np.asarray(cup(70, 50)).transpose(2, 0, 1),
            photometric="rgb",
            planarconfig="separate",
            tile=(32, 32),
            compression="lzw",
            predictor=True,
            bigtiff=True,
        ),
        "BigTIFF, a plane a colour, tiles, LZW with predictor",
        may_refuse="BigTIFF",
    )
    few = rocket(53, 41).quantize(200, dither=Image.Dither.NONE)
    flat = np.where(np.asarray(few) % 3 == 0, 0, np.asarray(few))
    add(
        "b43-rle8.bmp",
        bmp(53, 41, 8, 1, rle8(flat), palette=[tuple(few.getpalette()[i : i + 3]) for i in range(0, 600, 3)]),
        "BMP, RLE8 with runs and literal stretches",
    )
    first, second = (p(60, 44).quantize(128, dither=Image.Dither.NONE) for p in (cat, cup))
    add(
        "g44-gif-named.jpg",
        saved(first, "GIF", save_all=True, append_images=[second], duration=100),
        "an animated GIF whose name says JPEG (SUN397 has GIFs named so): the first frame",
        may_refuse="GIF",
    )
    add(
        "a45.avif",
        saved(cup(80, 56), "AVIF", quality=85, subsampling="4:4:4", speed=8),
        "AVIF, 4:4:4; decoders round its colours differently",
        tolerance=3,
        may_refuse="AVIF",
    )
    return made


def rgb(image):
    """Upright, three colours of eight bits. Sixteen bits of gray are scaled, where Pillow's own `convert` cuts them at 255."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        gray = (np.asarray(image, np.int64) * 255 + 32767) // 65535
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def pillow(data):
    """Its pixels, or None where it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return rgb(Image.open(io.BytesIO(data)))
    except Exception:
        return None


def warns(data):
    done = subprocess.run(["djpeg", "-pnm"], input=data, capture_output=True, check=False)
    return done.returncode in (0, 2) and bool(done.stderr)


def expected(data, why, tolerance=0, may_refuse=None):
    made = {"why": why, "outcome": "refused"}
    pixels = pillow(data)
    if pixels is not None:
        made["outcome"] = "damaged" if data[:2] == b"\xff\xd8" and warns(data) else "pixels"
        made["size"] = [pixels.shape[1], pixels.shape[0]]
        made["sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()
    if tolerance:
        made["tolerance"] = tolerance
    if may_refuse is not None:
        made["may_refuse"] = may_refuse
    return made


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    files = {}
    for name, data, why, options in pictures():
        (folder / name).write_bytes(data)
        files[name] = expected(data, why, **options)
    (folder / "expected.json").write_text(json.dumps(files, indent=1, ensure_ascii=False) + "\n")

"""EXIF, XMP, PNG, WebP and BMP written byte by byte, so that each oddity is the file's and not a tool's."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def exif(orientation, *, endian="II", kind=3, count=1, more=(), entries=None):
    """A TIFF header and its first directory. Kind 3 is SHORT, 4 LONG; `more`: further (tag, kind, count, value).

    Two LONGs do not fit into the directory and stand behind it.
    """
    e = "<" if endian == "II" else ">"
    fields = sorted([*more, (0x0112, kind, count, orientation)])
    out = endian.encode() + struct.pack(e + "HI", 42, 8)
    out += struct.pack(e + "H", len(fields) if entries is None else entries)
    behind = len(out) + 12 * len(fields) + 4
    for tag, kind, count, value in fields:
        forms = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i", 11: "f"}
        packed = struct.pack(e + forms[kind], value) if (kind, count) != (4, 2) else struct.pack(e + "I", behind)
        out += struct.pack(e + "HHI", tag, kind, count) + packed
    return out + b"\0\0\0\0" + (struct.pack(e + "II", orientation, 1) if count == 2 else b"")


def xmp(orientation, *, element=False):
    inside = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else ""
    attribute = "" if element else f' tiff:Orientation="{orientation}"'
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{attribute}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


# --- PNG
def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width, height, depth, colour, interlaced):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced)))


def png_rows(samples, depth):
    """Filtered lines, the five filters in turn. samples: (H, W, channels)."""
    height, width, channels = samples.shape
    flat = samples.reshape(height, width * channels)
    if depth == 16:
        packed = flat.astype(">u2").tobytes()
        lines = np.frombuffer(packed, np.uint8).reshape(height, -1)
    elif depth == 8:
        lines = flat.astype(np.uint8)
    else:
        bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        lines = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    step = max(1, channels * depth // 8)
    out, above = bytearray(), np.zeros(lines.shape[1], int)
    for y, line in enumerate(lines.astype(int)):
        left = np.concatenate([np.zeros(step, int), line])[: len(line)]
        corner = np.concatenate([np.zeros(step, int), above])[: len(line)]
        p = left + above - corner
        pa, pb, pc = abs(p - left), abs(p - above), abs(p - corner)
        paeth = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, above, corner))
        kind = y % 5
        guess = [0, left, above, (left + above) // 2, paeth][kind]
        out += bytes([kind]) + ((line - guess) & 255).astype(np.uint8).tobytes()
        above = line
    return bytes(out)


def png_data(samples, depth, interlaced=False):
    samples = samples if samples.ndim == 3 else samples[:, :, None]
    if not interlaced:
        return zlib.compress(png_rows(samples, depth), 9)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in passes]
    return zlib.compress(b"".join(png_rows(part, depth) for part in parts if part.size), 9)


def png(samples, depth, colour, *, interlaced=False, before=(), after=(), pieces=1):
    """colour: 0 gray, 2 RGB, 3 palette, 4 gray + alpha, 6 RGBA. before/after: chunks around the pixels."""
    data = png_data(samples, depth, interlaced)
    size = -(-len(data) // pieces)
    body = b"".join(chunk(b"IDAT", data[i : i + size]) for i in range(0, len(data), size))
    height, width = samples.shape[:2]
    header = png_header(width, height, depth, colour, interlaced)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + body + b"".join(after) + chunk(b"IEND")


def raw_profile(tiff, name=b"exif"):
    """EXIF in a PNG's compressed text: its length, and hexadecimal digits."""
    data = b"Exif\0\0" + tiff
    digits = data.hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    text = f"\n{name.decode()}\n{len(data):8}\n{lines}\n".encode()
    return chunk(b"zTXt", b"Raw profile type " + name + b"\0\0" + zlib.compress(text, 9))


def png_xmp(packet):
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


# --- WebP
def riff(*chunks):
    padded = (name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    body = b"WEBP" + b"".join(padded)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def riff_chunks(webp):
    out, at = [], 12
    while at + 8 <= len(webp):
        name, size = webp[at : at + 4], struct.unpack("<I", webp[at + 4 : at + 8])[0]
        out.append((name, webp[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return out


def webp_with(webp, width, height, *chunks, flags):
    """The extended form: VP8X before the picture, the chunks after it. flags: 8 EXIF, 4 XMP, 16 alpha."""
    picture = [c for c in riff_chunks(webp) if c[0] in (b"ALPH", b"VP8 ", b"VP8L")]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff((b"VP8X", bytes([flags, 0, 0, 0]) + size), *picture, *chunks)


# --- BMP
def bmp(width, height, bits, compression, data, *, palette=(), masks=()):
    tables = b"".join(struct.pack("<I", mask) for mask in masks) + b"".join(bytes([b, g, r, 0]) for r, g, b in palette)
    start = 14 + 40 + len(tables)
    fields = (40, width, height, 1, bits, compression, len(data), 2835, 2835, len(palette), 0)
    header = struct.pack("<IiiHHIIiiII", *fields)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + tables + data


def rle8(indices):
    """Runs, literal stretches with their padding, and ends of lines, from the bottom up."""
    out = bytearray()
    for line in indices[::-1].tolist():
        at = 0
        while at < len(line):
            run = 1
            while at + run < len(line) and run < 255 and line[at + run] == line[at]:
                run += 1
            if run >= 3 or len(line) - at < 3:
                out += bytes([run, line[at]])
                at += run
                continue
            end = at + 3
            while end < len(line) and end - at < 255 and line[end : end + 3] != 3 * [line[end]]:
                end += 1
            out += bytes([0, end - at, *line[at:end]]) + b"\0" * ((end - at) % 2)
            at = end
        out += b"\0\0"
    return bytes(out) + b"\0\1"

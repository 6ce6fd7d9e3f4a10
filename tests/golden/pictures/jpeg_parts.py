"""JPEG files taken apart, put together, damaged; and a small baseline encoder for what no tool writes."""

from __future__ import annotations

import io
import re
import subprocess

import numpy as np
from PIL import Image

SOI, EOI, SOS, DQT, DHT, DRI, COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
APP0, APP1, APP14 = 0xE0, 0xE1, 0xEE
ADOBE = b"Adobe\0\x64\0\0\0\0"  # and one byte: 0 as it is, 1 YCbCr, 2 YCCK


def ppm(image):
    out = io.BytesIO()
    image.save(out, "PPM")
    return out.getvalue()


def tool(*command, data):
    done = subprocess.run(command, input=data, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode()}")
    return done.stdout


def cjpeg(image, *options):
    return tool("cjpeg", *options, data=ppm(image))


def take_apart(jpeg):
    """[[marker, payload, data of the scan that follows]]: SOI and EOI have no payload."""
    parts, at = [], 0
    while at < len(jpeg):
        marker = jpeg[at + 1]
        if marker in (SOI, EOI):
            parts.append([marker, b"", b""])
            at += 2
            if marker == EOI:
                break
            continue
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        payload, scan = jpeg[at + 4 : end], b""
        if marker == SOS:
            after = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.S).search(jpeg, end)
            scan, end = jpeg[end : after.start()], after.start()
        parts.append([marker, payload, scan])
        at = end
    return parts


def segment(marker, payload=b"", scan=b""):
    if marker in (SOI, EOI):
        return bytes([0xFF, marker])
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload + scan


def put_together(parts):
    return b"".join(segment(*part) for part in parts)


def index(parts, marker, nth=0):
    return [i for i, part in enumerate(parts) if part[0] == marker][nth]


def frame(parts):
    """The start of frame."""
    return next(part for part in parts if 0xC0 <= part[0] <= 0xCF and part[0] not in (0xC4, 0xC8, 0xCC))


def insert(jpeg, *new, after=SOI):
    """With segments (marker, payload) after the first such marker."""
    parts = take_apart(jpeg)
    at = index(parts, after) + 1
    parts[at:at] = [[marker, payload, b""] for marker, payload in new]
    return put_together(parts)


def on_scan(jpeg, change, nth=0):
    """With the data of its nth scan changed."""
    parts = take_apart(jpeg)
    part = parts[index(parts, SOS, nth)]
    part[2] = change(part[2])
    return put_together(parts)


def intervals(scan):
    """[data, marker, data, marker ... data]: markers are the restarts."""
    return re.split(rb"(\xff[\xd0-\xd7])", scan)


# --- a baseline encoder: any number of components, any sampling, any order of scans, any numbers of components and tables
ZIGZAG = sorted(range(64), key=lambda k: (k // 8 + k % 8, (k // 8 if (k // 8 + k % 8) % 2 else k % 8)))
DCT = np.array(
    [[np.sqrt((1 if u == 0 else 2) / 8) * np.cos((2 * x + 1) * u * np.pi / 16) for x in range(8)] for u in range(8)]
)


def standard(quality):
    """Annex K's tables as libjpeg writes them: {0, 1: quantisation in zigzag order}, {class * 16 + number: payload}."""
    parts = take_apart(cjpeg(Image.new("RGB", (16, 16)), "-quality", str(quality)))
    quant, huffman = {}, {}
    for marker, payload, _ in parts:
        while marker == DQT and payload:
            quant[payload[0]], payload = list(payload[1:65]), payload[65:]
        while marker == DHT and payload:
            n = sum(payload[1:17])
            huffman[payload[0]], payload = payload[1 : 17 + n], payload[17 + n :]
    return quant, huffman


def codes(table):
    out, code, at = {}, 0, 16
    for length in range(1, 17):
        for _ in range(table[length - 1]):
            out[table[at]] = (code, length)
            code, at = code + 1, at + 1
        code <<= 1
    return out


class Bits:
    def __init__(self):
        self.text = []

    def put(self, value, length):
        if length:
            self.text.append(format(value, f"0{length}b"))

    def bytes(self):
        text = "".join(self.text)
        text += "1" * (-len(text) % 8)
        return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\x00")


def number(bits, value):
    size = int(abs(value)).bit_length()
    bits.put(value if value > 0 else value + (1 << size) - 1, size)


def over(n, parts):
    """The quotient, rounded up."""
    return -(-n // parts)


def encode(planes, sampling, *, quality=80, ids=None, scans=None, restart=0, before=(), tables=True, sof=0xC0):
    """`planes`: (H, W) each, in the file's own colours; `sampling`: (h, v) each; `scans`: lists of components."""
    height, width = planes[0].shape
    n = len(planes)
    ids = ids or list(range(1, n + 1))
    quant, huffman = standard(quality)
    use = [0 if i in (0, 3) else 1 for i in range(n)]
    most_h, most_v = max(h for h, _ in sampling), max(v for _, v in sampling)
    across, down = over(width, 8 * most_h), over(height, 8 * most_v)
    blocks, own = [], []
    for plane, (h, v), q in zip(planes, sampling, use, strict=True):
        rows, columns = down * 8 * v, across * 8 * h
        y = np.minimum(((np.arange(rows) + 0.5) * most_v / v).astype(int), height - 1)
        x = np.minimum(((np.arange(columns) + 0.5) * most_h / h).astype(int), width - 1)
        smooth = np.asarray(plane, float)
        if (h, v) != (most_h, most_v):  # the mean of what one sample stands for
            ky, kx = max(1, round(most_v / v)), max(1, round(most_h / h))
            padded = np.pad(smooth, ((ky // 2, ky - 1 - ky // 2), (kx // 2, kx - 1 - kx // 2)), mode="edge")
            smooth = np.mean([padded[i : i + height, j : j + width] for i in range(ky) for j in range(kx)], axis=0)
        samples = smooth[y][:, x] - 128
        tiled = samples.reshape(rows // 8, 8, columns // 8, 8).transpose(0, 2, 1, 3)
        coefficients = np.rint(
            (DCT @ tiled @ DCT.T).reshape(rows // 8, columns // 8, 64)[:, :, ZIGZAG] / np.array(quant[q])
        )
        blocks.append(coefficients.astype(int))
        own.append((over(over(height * v, most_v), 8), over(over(width * h, most_h), 8)))

    def block(bits, coefficients, q, last):
        dc, ac = codes(huffman[q]), codes(huffman[16 + q])
        difference = int(coefficients[0]) - last
        bits.put(*dc[abs(difference).bit_length()])
        number(bits, difference) if difference else None
        run = 0
        nonzero = np.flatnonzero(coefficients[1:])
        for k in range(1, (nonzero[-1] + 2) if len(nonzero) else 1):
            value = int(coefficients[k])
            if value == 0:
                run += 1
                continue
            while run > 15:
                bits.put(*ac[0xF0])
                run -= 16
            bits.put(*ac[run * 16 + abs(value).bit_length()])
            number(bits, value)
            run = 0
        if not len(nonzero) or nonzero[-1] < 62:
            bits.put(*ac[0])
        return int(coefficients[0])

    out = [[SOI, b"", b""], *[[m, p, b""] for m, p in before]]
    for q in sorted(set(use)):
        out.append([DQT, bytes([q]) + bytes(quant[q]), b""])
    listed = b"".join(bytes([i, h << 4 | v, q]) for i, (h, v), q in zip(ids, sampling, use, strict=True))
    out.append([sof, bytes([8]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([n]) + listed, b""])
    for q in sorted(set(use)) if tables else ():
        out += [[DHT, bytes([q]) + huffman[q], b""], [DHT, bytes([16 + q]) + huffman[16 + q], b""]]
    if restart:
        out.append([DRI, restart.to_bytes(2, "big"), b""])
    for scan in scans or [list(range(n))]:
        single = len(scan) == 1
        rows, columns = own[scan[0]] if single else (down, across)
        data, bits, last, done = [], Bits(), dict.fromkeys(scan, 0), 0
        for r in range(rows):
            for c in range(columns):
                if restart and done and done % restart == 0:
                    data += [bits.bytes(), bytes([0xFF, 0xD0 + (done // restart - 1) % 8])]
                    bits, last = Bits(), dict.fromkeys(scan, 0)
                done += 1
                for i in scan:
                    h, v = (1, 1) if single else sampling[i]
                    for y in range(v):
                        for x in range(h):
                            last[i] = block(bits, blocks[i][r * v + y, c * h + x], use[i], last[i])
        listed = b"".join(bytes([ids[i], use[i] << 4 | use[i]]) for i in scan)
        out.append([SOS, bytes([len(scan)]) + listed + b"\0\x3f\0", b"".join(data) + bits.bytes()])
    return put_together([*out, [EOI, b"", b""]])


def ycc(image):
    return [np.asarray(plane) for plane in image.convert("YCbCr").split()]

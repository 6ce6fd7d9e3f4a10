"""`sassl convert`: convert a third-party style network to a model file."""

from __future__ import annotations

import argparse
import gzip
import tarfile
import zlib
from pathlib import Path

from .._sassl import Stylizer, convert
from ..terminal import printable, say
from .options import check_out


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    sub.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="files of F and T, in one or separate: a TensorFlow checkpoint or SavedModel (folder or .tar.gz), .tflite, "
        ".onnx, TensorFlow.js, or the .pth files of AdaIN or styleaug",
    )
    sub.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    sub.add_argument("--name", help="the model's name (default: that of --out)")
    sub.add_argument(
        "--as-is",
        action="store_true",
        help="feed InceptionV3 images at their own size, at least 43 pixels, instead of a shorter side of 256",
    )
    sub.add_argument("--any-pair", action="store_true", help="also accept an F and a T that do not belong together")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    check_out(args.out, ".safetensors")
    taken = next((path for path in args.paths if Path(path).resolve() == args.out.resolve()), None)
    if taken is not None:
        raise ValueError(f"--out {args.out} would overwrite {taken}, which is to be converted")
    for path in map(Path, args.paths):
        if is_packed_file(path):
            raise ValueError(
                f"{path}: is a single file compressed by gzip, not an archive; decompress it first: gunzip -k {path}"
            )
    name = args.name or printable(args.out.stem)
    convert(args.paths, args.out, name, as_is=args.as_is, any_pair=args.any_pair)
    model = Stylizer(args.out)
    say(f"{args.out}: {model.name}, z of {model.dim} values, space {model.space}, {model.licence}; {model.provenance}")
    return 0


def is_packed_file(path: Path) -> bool:
    """Return whether a file is gzip-packed but not a tar archive; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            if file.read(2) != b"\x1f\x8b":
                return False
        with gzip.open(path) as unpacked:
            start = unpacked.read(tarfile.BLOCKSIZE)
    except (OSError, EOFError, zlib.error):
        return False
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return True
    return False

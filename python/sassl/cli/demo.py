"""`sassl demo`: the contact sheet, with photographs from Python packages and generated styles, or with your own."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

from .. import demo, grids, image_files
from ..bank import StyleBank
from ..images import Array, pixels
from ..terminal import printable, say, tell
from ..transforms.plain import SASSL
from .options import model, strengths, tell_left_out
from .styling import style_files, transform


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    sub.add_argument(
        "inputs",
        nargs="*",
        metavar="PHOTO",
        help=f"images, folders or patterns, the first {demo.PHOTOGRAPHS} of which are shown "
        "(default: photographs from scikit-learn and scikit-image)",
    )
    sub.add_argument("--out", type=Path, default=Path("demo"), help="folder to write to (default: %(default)s)")
    sub.add_argument("--p", type=float, default=0.8, help="probability for each image (default: %(default)s)")
    strengths(sub)
    model(sub)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if os.path.lexists(args.out) and not args.out.is_dir():
        raise NotADirectoryError(f"--out {args.out}: a file; the contact sheet goes to a folder")
    left_out: Counter[str] = Counter()
    paths = image_files.find(args.inputs, left_out) if args.inputs else []
    photos = [(printable(path.stem), _square(path, args)) for path in paths[: demo.PHOTOGRAPHS]]
    sassl = transform(args, args.p)
    written, plain = demo.run(args.out, sassl, photos or list(demo.photographs().items()), _styles(args, sassl))
    say(f"{written[0]}: the contact sheet; next to it each photograph, fully stylized, and {demo.DRAWS} views of it")
    if plain:
        say(f"not applied, as p = {sassl.p:g}: {', '.join(path.name for path in plain)}")
    if len(paths) > len(photos):
        tell(f"the first {len(photos)} of {len(paths)} photographs are shown")
    tell_left_out(left_out)
    return 0


def _square(path: Path, args: argparse.Namespace) -> Array:
    """Return the centre square of an image file."""
    return demo.square(pixels(path, exif=args.exif))


def _styles(args: argparse.Namespace, sassl: SASSL) -> list[demo.Style]:
    """Return the styles to show: by default, the demo's own patterns.

    If --styles names images, the first few are shown. If it names a bank file or a Gaussian file, styles are drawn from it.
    """
    if args.styles == "default":
        return [demo.Style(name, sassl.stylizer.encode(image[None])[0], image) for name, image in demo.styles().items()]
    files = style_files(args)
    if files is not None and isinstance(sassl.styles, StyleBank):
        some = zip(files[: demo.PHOTOGRAPHS], sassl.styles.vectors, strict=False)
        return [demo.Style(printable(path.stem), z, _square(path, args)) for path, z in some]
    # A bank or a Gaussian has only vectors.
    params = sassl.block.sample(args.seed, demo.PHOTOGRAPHS)
    names = grids.style_names(params, getattr(sassl.styles, "names", None))
    return [demo.Style(name, z) for name, z in zip(names, sassl.block.vectors(params), strict=True)]

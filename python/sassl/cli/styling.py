"""The model, the style bank and the transform that the style options describe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .. import image_files
from .._sassl import Stylizer
from ..bank import StyleBank
from ..transforms.plain import SASSL
from .options import check_styles, checked_seed


def model_of(args: argparse.Namespace) -> Stylizer:
    """Return the style network that the options describe."""
    return Stylizer(args.model, threads=args.threads, precision=args.precision)


def style_files(args: argparse.Namespace) -> list[Path] | None:
    """Return the style images if --styles is a folder or an image; None if it is something else."""
    given = args.styles
    is_images = given != "default" and (
        Path(given).is_dir() or Path(given).suffix.lower() in (*image_files.SUFFIXES, ".gif")
    )
    return image_files.find([given]) if is_images else None


def transform(args: argparse.Namespace, p: float) -> SASSL:
    """Return the transform that the options describe; `p` is the probability of stylizing an image."""
    stylizer = model_of(args)
    styles: Any = args.styles
    if styles == "batch":
        raise ValueError(
            "--styles must not be batch, as images are stylized one at a time; give a folder of styles, which may be theirs"
        )
    check_styles("--styles", styles, "default")
    files = style_files(args)
    if files is not None:
        styles = StyleBank.from_images(files, stylizer, exif=args.exif)
    generator = np.random.default_rng(checked_seed(args.seed))
    return SASSL(p, args.alpha, args.beta, styles, stylizer, generator=generator)

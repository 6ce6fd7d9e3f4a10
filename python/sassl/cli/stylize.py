"""`sassl stylize`: write a stylized view of each image."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .. import image_files
from .._sassl import color_profile
from ..images import pixels
from ..terminal import message, progress, say, tell
from .options import checked_seed, model, part_of, shard, strengths, tell_left_out
from .styling import transform

#: The preset in which every view is AdaIN's output itself (alpha = beta = p = 1).
STYLIZED_IMAGENET = "stylized-imagenet"


def add(sub: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    sub.add_argument("inputs", nargs="+", help="images, folders or patterns")
    sub.add_argument("--out", type=Path, required=True, help="folder to write to; folders keep their structure")
    sub.add_argument("--p", type=float, help="probability for each image (default: 1)")
    sub.add_argument(
        "--format",
        choices=["png", "jpg", "webp"],
        help="format of the output (default: that of the input, PNG for formats that are only read)",
    )
    sub.add_argument(
        "--preset",
        choices=[STYLIZED_IMAGENET],
        help="alpha = beta = p = 1, as in Stylized-ImageNet (Geirhos et al. 2019); for --model AdaIN and --styles of paintings",
    )
    sub.add_argument(
        "--skip-existing",
        action="store_true",
        help="skip images whose view exists, whatever its settings, to resume after an interruption",
    )
    strengths(sub)
    shard(sub)
    model(sub)
    # None: not given.
    sub.set_defaults(alpha=None, beta=None)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if os.path.lexists(args.out) and not args.out.is_dir():
        raise NotADirectoryError(f"--out {args.out}: a file; views go to a folder")
    settle(args)
    checked_seed(args.seed)
    sassl = transform(args, args.p)
    if args.preset and sassl.stylizer.dim != 1024:
        raise ValueError(
            f"--model must be AdaIN for {STYLIZED_IMAGENET}, got {args.model}; `sassl convert` creates it from its .pth files"
        )
    left_out: Counter[str] = Counter()
    jobs = part_of(outputs(args.inputs, args.out, args.format, left_out), args.shard)
    if args.skip_existing:
        jobs = [(source, target) for source, target in jobs if not target.exists()]
    failed: list[str] = []
    profiles_lost = 0
    for source, target in progress(jobs, "image"):
        try:
            image, gray = pixels(source, exif=args.exif), image_files.is_gray(source)
            params = sassl.block.sample(args.seed, 1, index=stream(target.relative_to(args.out)))
            view = sassl.apply_params(image[..., :1] if gray else image, params)
            profile = color_profile(source.read_bytes())
            # A profile for other colours, such as inks, does not describe the view's; WebP has no gray.
            own = b"GRAY" if gray and target.suffix.lower() != ".webp" else b"RGB "
            fits = profile is None or profile[16:20] == own
            target.parent.mkdir(parents=True, exist_ok=True)
            image_files.write(target, view, profile if fits else None)
            profiles_lost += not fits
        except (ValueError, OSError, MemoryError) as error:
            text = message(error)
            failed.append(text if str(source) in text else f"{source}: {text}")
    say(f"{len(jobs) - len(failed)} of {len(jobs)} images stylized: {args.out}")
    tell_left_out(left_out)
    if profiles_lost:
        tell(f"{profiles_lost} views have lost the image's ICC profile, which is for other colours than theirs")
    return report(failed)


def stream(name: Path) -> int:
    """Return the index of an image's random stream: a hash of the path of its view below --out.

    Views therefore do not depend on shards or on other files.
    """
    return int.from_bytes(hashlib.sha256(os.fsencode(name.as_posix())).digest()[:8], "little")


def settle(args: argparse.Namespace) -> None:
    """Set p, alpha and beta where they are not given: to the preset's values, or to the defaults without a preset."""
    one = (1.0, 1.0)
    for name, usual, preset in (("p", 1.0, 1.0), ("alpha", (0.1, 0.3), one), ("beta", (0.1, 0.3), one)):
        given = getattr(args, name)
        if args.preset and given not in (None, preset):
            raise ValueError(f"--{name} must be 1 with --preset {args.preset}, got {given}; leave one of them out")
        if given is None:
            setattr(args, name, preset if args.preset else usual)


def outputs(inputs: Sequence[str], out: Path, suffix: str | None, left_out: Counter[str]) -> list[tuple[Path, Path]]:
    """Return each image once, with its output path.

    The output path is `out` followed by the image's path relative to the first input that contains the image.

    Args:
        inputs: images, folders or patterns.
        out: the folder for views.
        suffix: the suffix of views, without a dot; None: the image's own suffix if views can be written with it, else png.
        left_out: updated in place: the number of files in the inputs that are left out, by kind.

    Raises:
        ValueError: two views would have the same path; a view would overwrite an image; a view would be among the images.
    """
    taken: dict[Path, Path] = {}
    named: set[Path] = set()
    originals: dict[Path, Path] = {}
    views = out.resolve()
    for item in inputs:
        root = Path(item) if Path(item).is_dir() else None
        found = image_files.find([item], left_out)
        sources = [source for source in found if is_below(item, views) or not is_below(source, views)]
        if len(sources) < len(found):
            tell(f"{item}: {len(found) - len(sources)} images are skipped: they are in {out}, where views are written")
        for source in sources:
            if source.absolute() in named:
                continue
            target = out / (source.relative_to(root) if root else source.name)
            if suffix or target.suffix.lower() not in image_files.WRITABLE:
                target = target.with_suffix(f".{suffix or 'png'}")
            if taken.setdefault(target, source) != source:
                raise ValueError(
                    f"{source} and {taken[target]} would both be written to {target}; stylize them separately"
                )
            named.add(source.absolute())
            originals[source.resolve()] = source
            if root is not None and is_below(root, views) and is_below(target, root.resolve()):
                raise ValueError(
                    f"{source}: its view would be written among the images of {root}; choose another --out"
                )
    for target, source in taken.items():
        lost = originals.get(target.resolve())
        if lost is not None:
            whose = "its own view" if lost == source else f"the view of {source}"
            raise ValueError(f"{lost}: would be overwritten by {whose}; choose another --out")
    return [(source, target) for target, source in taken.items()]


def is_below(path: str | Path, folder: Path) -> bool:
    """Return whether a path is this folder or is inside it, following links."""
    return Path(path).resolve().is_relative_to(folder)


def report(failed: list[str]) -> int:
    """Print the failures, and return the exit code: 1 if there are any, else 0."""
    for line in failed:
        tell(f"failed: {line}")
    return 1 if failed else 0

"""`sassl stylize`: a view of each image, and where it goes."""

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

#: T's own output in the style alone, by AdaIN.
STYLIZED_IMAGENET = "stylized-imagenet"


def add(sub: argparse.ArgumentParser) -> None:
    """Its options."""
    sub.add_argument("inputs", nargs="+", help="images, folders or patterns")
    sub.add_argument("--out", type=Path, required=True, help="folder to write to; folders keep their structure")
    sub.add_argument("--p", type=float, help="probability for each image (default: 1)")
    sub.add_argument(
        "--format",
        choices=["png", "jpg", "webp"],
        help="of the output (default: as the input, PNG for what is only read)",
    )
    sub.add_argument(
        "--preset",
        choices=[STYLIZED_IMAGENET],
        help="alpha = beta = p = 1, as Stylized-ImageNet was made (Geirhos et al. 2019); --model is AdaIN, --styles paintings",
    )
    sub.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out images whose view is there, whatever settings it was made with: to go on after a stop",
    )
    strengths(sub)
    shard(sub)
    model(sub)
    # None: not given.
    sub.set_defaults(alpha=None, beta=None)


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    if os.path.lexists(args.out) and not args.out.is_dir():
        raise NotADirectoryError(f"--out {args.out}: a file; views go to a folder")
    settle(args)
    checked_seed(args.seed)
    sassl = transform(args, args.p)
    if args.preset and sassl.stylizer.dim != 1024:
        raise ValueError(
            f"--model {args.model}: {STYLIZED_IMAGENET} is made with AdaIN; `sassl convert` makes it of its .pth files"
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
            # A profile of other colours, such as inks, does not tell of the view's; WebP has no gray.
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
        tell(f"{profiles_lost} views have lost the image's ICC profile, which is of other colours than theirs")
    return report(failed)


def stream(name: Path) -> int:
    """The random stream of an image, by its name below --out: views are the same in any shard, and whatever else is there."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name.as_posix())).digest()[:8], "little")


def settle(args: argparse.Namespace) -> None:
    """p, alpha and beta where they are not given: the usual ones, or the preset's."""
    one = (1.0, 1.0)
    for name, usual, preset in (("p", 1.0, 1.0), ("alpha", (0.1, 0.3), one), ("beta", (0.1, 0.3), one)):
        given = getattr(args, name)
        if args.preset and given not in (None, preset):
            raise ValueError(f"--{name}: --preset {args.preset} has 1; leave one of them out")
        if given is None:
            setattr(args, name, preset if args.preset else usual)


def outputs(inputs: Sequence[str], out: Path, suffix: str | None, left_out: Counter[str]) -> list[tuple[Path, Path]]:
    """Each image, once, and where it goes: below `out`, as it lies below the folder that was named first."""
    taken: dict[Path, Path] = {}
    named: set[Path] = set()
    originals: dict[Path, Path] = {}
    views = out.resolve()
    for item in inputs:
        root = Path(item) if Path(item).is_dir() else None
        found = image_files.find([item], left_out)
        sources = [source for source in found if is_below(item, views) or not is_below(source, views)]
        if len(sources) < len(found):
            tell(f"{item}: {len(found) - len(sources)} images are left out: they lie in {out}, where views go")
        for source in sources:
            if source.absolute() in named:
                continue
            target = out / (source.relative_to(root) if root else source.name)
            if suffix or target.suffix.lower() not in image_files.WRITABLE:
                target = target.with_suffix(f".{suffix or 'png'}")
            if taken.setdefault(target, source) != source:
                raise ValueError(f"{source} and {taken[target]} would both be written to {target}; stylize them apart")
            named.add(source.absolute())
            originals[source.resolve()] = source
            if root is not None and is_below(root, views) and is_below(target, root.resolve()):
                raise ValueError(f"{source}: its view would lie among the images of {root}; choose another --out")
    for target, source in taken.items():
        lost = originals.get(target.resolve())
        if lost is not None:
            whose = "its own view" if lost == source else f"the view of {source}"
            raise ValueError(f"{lost}: would be overwritten by {whose}; choose another --out")
    return [(source, target) for target, source in taken.items()]


def is_below(path: str | Path, folder: Path) -> bool:
    """Whether it is this folder or lies in it, links followed."""
    return Path(path).resolve().is_relative_to(folder)


def report(failed: list[str]) -> int:
    """Lists what failed, and gives the exit code."""
    for line in failed:
        tell(f"failed: {line}")
    return 1 if failed else 0

"""The command line: `sassl demo | stylize | bank | convert | pretrain | eval | export | info`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, cuda, evaluation, image_files, pretraining
from ._sassl import Stylizer, color_profile, convert, info
from .bank import StyleBank
from .data import ImageFolder
from .data.classes import numbered
from .images import pixels
from .terminal import progress, say, tell
from .transforms.plain import SASSL


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code is 0, 1 where something failed, 2 for a wrong call."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except BrokenPipeError:
        # Who reads has had enough, as `head` has. Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        tell(f"sassl {args.command}: interrupted{error}")
        return 130
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        tell(f"sassl {args.command}: {message(error)}")
        return 1


def message(error: BaseException) -> str:
    """An error in one line, the file first where there is one."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    top = argparse.ArgumentParser(prog="sassl", description="Style augmentations for self-supervised learning.")
    top.add_argument("--version", action="version", version=f"sassl {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    def model(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--model", default="lite", help='"lite" or a .safetensors file (default: %(default)s)')
        sub.add_argument("--threads", type=int, help="images at a time (default: all cores)")
        sub.add_argument(
            "--precision",
            choices=("fast", "exact"),
            default="fast",
            help="fast: convolutions in bytes where the CPU can (default); exact: in float32",
        )

    def exif(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--exif",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="turn pictures upright as their EXIF says (default), or take them as they are stored",
        )

    def strengths(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--alpha", type=strength, default=(0.1, 0.3), metavar="A", help="feature blending, 0.2 or 0.1,0.3 (default)"
        )
        sub.add_argument(
            "--beta",
            type=strength,
            default=(0.1, 0.3),
            metavar="B",
            help="pixel interpolation, 0.2 or 0.1,0.3 (default)",
        )
        exif(sub)
        sub.add_argument("--styles", default="default", help='"default", a folder of images, one image, or a bank file')
        sub.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")

    sub = command("demo", demo, "Show what SASSL does: a contact sheet of photographs, styles, T's output and views.")
    sub.add_argument("--out", type=Path, default=Path("demo"), help="folder to write to (default: %(default)s)")
    strengths(sub)
    model(sub)

    sub = command(
        "stylize",
        stylize,
        "Stylize pictures: files, folders or glob patterns, each with a draw of its own. Gray ones stay gray, transparency is "
        "dropped. What lies in --out already is left out where a folder around it is searched.",
    )
    sub.add_argument("inputs", nargs="+", help="pictures, folders or patterns")
    sub.add_argument("--out", type=Path, required=True, help="folder to write to; folders keep their structure")
    sub.add_argument("--p", type=float, default=1.0, help="probability for each picture (default: %(default)s)")
    sub.add_argument(
        "--format",
        choices=["png", "jpg", "webp"],
        help="of the output (default: as the input, PNG for what is only read)",
    )
    strengths(sub)
    model(sub)

    sub = command(
        "bank",
        bank,
        "Encode a set of style images, once, into a bank file: all of them, or an error that names the file.",
    )
    sub.add_argument("inputs", nargs="+", help="pictures, folders or patterns")
    sub.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    exif(sub)
    model(sub)

    sub = command("convert", run_convert, "Convert Magenta's TFLite pair to a model file.")
    sub.add_argument("--predictor", required=True, help="style_predict .tflite")
    sub.add_argument("--transformer", required=True, help="style_transfer .tflite, float32, float16 or int8")
    sub.add_argument("--out", required=True, help="the .safetensors file to write")
    sub.add_argument("--name", help="the model's name (default: that of the file)")

    sub = command("pretrain", pretrain, "Pretrain a ResNet by MoCo v2, BYOL or SimCLR, with style on the left view.")
    names = ", ".join(pretraining.PRESETS)
    sub.add_argument("preset", nargs="?", choices=tuple(pretraining.PRESETS), metavar="preset", help=f"one of {names}")
    sub.add_argument("--demo", action="store_true", help="a small run on scikit-learn's digits, of about a minute")
    sub.add_argument(
        "--config", type=Path, help="a JSON file of settings, as config.json of a run, in the place of a preset"
    )
    sub.add_argument("--data", help="a folder of images, or a pattern of WebDataset's shards")
    sub.add_argument("--out", type=Path, help="folder for settings, log, checkpoints, backbone")
    sub.add_argument("--epochs", type=int, help="of the whole run, those before --resume too (default: the preset's)")
    sub.add_argument("--arch", choices=("resnet18", "resnet34", "resnet50", "resnet101"), help="default: the preset's")
    sub.add_argument("--batch-size", type=int, help="default: the preset's")
    sub.add_argument("--input-size", type=int, help="side of the views (default: the preset's)")
    sub.add_argument(
        "--style",
        help='"default" (which it is without --config), a folder, an image, a bank file, "batch", or "off"',
    )
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of sassl.pretraining.Config, or views.NAME of its recipe, or style.NAME of SASSL; several times",
    )
    sub.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint, to the bit; settings are the run's"
    )
    sub.add_argument(
        "--monitor", metavar="DIR", help="labelled images: accuracies of the features while they are learnt"
    )
    sub.add_argument(
        "--monitor-every", type=int, metavar="N", help="after each N epochs (default: as often as is cheap)"
    )
    sub.add_argument(
        "--on-error",
        choices=("raise", "report"),
        default="raise",
        help="of an image that cannot be read: end, or take another one and tell (default: %(default)s)",
    )
    sub.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="beside the one after each epoch")
    sub.add_argument("--keep", type=int, default=2, help="checkpoints that stay (default: %(default)s)")
    sub.add_argument("--tensorboard", action="store_true", help="write scalars for TensorBoard into the folder")
    sub.add_argument("--threads", type=int, help="of a step and of the loader (default: all cores)")

    sub = command(
        "eval", evaluate, "Accuracy of a checkpoint's features, learnt from DATA/train, measured on DATA/val."
    )
    sub.add_argument(
        "how",
        choices=("knn", "linear", "logistic"),
        help="nearest neighbours, a linear probe by SGD, or by L-BFGS over a grid of penalties",
    )
    sub.add_argument("checkpoint", type=Path)
    sub.add_argument(
        "--data", type=Path, required=True, help="a folder with train and val, a folder for each class in both"
    )
    sub.add_argument(
        "--k", type=int, default=200, help="neighbours, or all where they are fewer (default: %(default)s)"
    )
    sub.add_argument(
        "--on-error",
        choices=("raise", "report"),
        default="raise",
        help="of an image that cannot be read: end, or leave it out and tell (default: %(default)s)",
    )
    sub.add_argument("--lr", type=float, default=0.1, help="of the probe, for a batch of 256 (default: %(default)s)")
    sub.add_argument("--epochs", type=int, default=90, help="of the probe (default: %(default)s)")

    sub = command("export", export, "Write a checkpoint's backbone under torchvision's names.")
    sub.add_argument("checkpoint", type=Path)
    sub.add_argument("--out", type=Path, required=True, help="a .safetensors or .pth file")

    command("info", run_info, "Tell the version, this machine's instruction sets, and the embedded models.")
    return top


def strength(text: str) -> tuple[float, float]:
    """A number, or a range low,high."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 <= n <= 1 for n in numbers) or numbers != sorted(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is no number in [0, 1], nor a range such as 0.1,0.3")
    return numbers[0], numbers[-1]


def transform(args: argparse.Namespace, p: float) -> SASSL:
    """The transform that the options describe."""
    stylizer = Stylizer(args.model, threads=args.threads, precision=args.precision)
    styles: Any = args.styles
    is_word = styles in ("default", "batch")
    if not is_word and (Path(styles).is_dir() or Path(styles).suffix.lower() in (*image_files.SUFFIXES, ".gif")):
        styles = StyleBank.from_images(styles if Path(styles).is_dir() else [styles], stylizer, exif=args.exif)
    generator = np.random.default_rng(checked_seed(args.seed))
    return SASSL(p, args.alpha, args.beta, styles, stylizer, generator=generator)


def checked_seed(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"--seed = {seed}: at least 0")
    return seed


def demo(args: argparse.Namespace) -> int:
    from . import demo as sheet

    written = sheet.run(args.out, transform(args, 0.8), lambda items: progress(items, "photograph"))
    say(f"{written[0]}: the contact sheet, and {len(written) - 1} views beside it")
    return 0


def stylize(args: argparse.Namespace) -> int:
    if os.path.lexists(args.out) and not args.out.is_dir():
        raise NotADirectoryError(f"--out = {args.out}: a file; views go to a folder")
    sassl = transform(args, args.p)
    left_out: Counter[str] = Counter()
    jobs = outputs(args.inputs, args.out, args.format, left_out)
    failed: list[str] = []
    profiles_lost = 0
    for source, target in progress(jobs, "picture"):
        try:
            picture, gray = pixels(source, exif=args.exif), image_files.is_gray(source)
            view = sassl(picture[..., :1] if gray else picture)
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
    say(f"{len(jobs) - len(failed)} of {len(jobs)} pictures stylized: {args.out}")
    tell_left_out(left_out)
    if profiles_lost:
        tell(f"{profiles_lost} views have lost the picture's ICC profile, which is of other colours than theirs")
    return report(failed)


def tell_left_out(left_out: Counter[str]) -> None:
    """How many files of the folders are no pictures."""
    if left_out:
        tell("left out: " + ", ".join(f"{n} {kind} files" for kind, n in left_out.items()))


def outputs(inputs: Sequence[str], out: Path, suffix: str | None, left_out: Counter[str]) -> list[tuple[Path, Path]]:
    """Each picture, once, and where it goes: below `out`, as it lies below the folder that was named first."""
    taken: dict[Path, Path] = {}
    named: set[Path] = set()
    originals: dict[Path, Path] = {}
    views = out.resolve()
    for item in inputs:
        root = Path(item) if Path(item).is_dir() else None
        found = image_files.find([item], left_out)
        sources = [source for source in found if is_below(item, views) or not is_below(source, views)]
        if len(sources) < len(found):
            tell(f"{item}: {len(found) - len(sources)} pictures are left out: they lie in {out}, where views go")
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
                raise ValueError(f"{source}: its view would lie among the pictures of {root}; choose another --out")
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


def bank(args: argparse.Namespace) -> int:
    if args.out.suffix != ".safetensors":
        raise ValueError(f"--out = {args.out}: a bank is a .safetensors file")
    stylizer = Stylizer(args.model, threads=args.threads, precision=args.precision)
    left_out: Counter[str] = Counter()
    made = StyleBank.from_images(image_files.find(args.inputs, left_out), stylizer, exif=args.exif)
    made.save(args.out)
    say(f"{args.out}: {len(made)} styles of space {made.space}")
    tell_left_out(left_out)
    return 0


def run_convert(args: argparse.Namespace) -> int:
    convert(args.predictor, args.transformer, args.out, args.name or Path(args.out).stem)
    model = Stylizer(args.out)
    say(f"{args.out}: {model.name}, z of {model.dim} numbers, space {model.space}, {model.licence}")
    return 0


def pretrain(args: argparse.Namespace) -> int:
    if args.demo:
        from .pretraining import demo as digits

        usual = parser().parse_args(["pretrain", "--demo"])
        given = [
            name for name, value in vars(args).items() if name not in ("out", "threads") and value != vars(usual)[name]
        ]
        if given:
            raise ValueError(f"--demo takes --out and --threads alone, and not {given[0].replace('_', '-')}")
        digits.run(args.out or Path("pretrain-demo"), args.threads)
        return 0
    for name in ("data", "out"):
        if getattr(args, name) is None:
            raise ValueError(f"--{name} is missing")
    if args.monitor_every is not None and args.monitor is None:
        raise ValueError("--monitor-every is of a --monitor, which is missing")
    before = args.out / "config.json"
    if args.resume and args.preset is None and args.config is None and before.exists():
        args.config = before
    elif args.resume and args.preset is None and args.config is None:
        raise FileNotFoundError(f"{args.out}: has no run to go on with; begin one by a preset, without --resume")
    if (args.preset is None) == (args.config is None):
        raise ValueError("expected either a preset or --config, as in: sassl pretrain simclr --data photos --out run")
    model = pretraining.Pretraining.from_config(configuration(args), threads=args.threads)
    tell(str(model.config))
    backbone = args.out / "backbone.safetensors"
    if not args.resume and os.path.lexists(backbone):
        raise FileExistsError(f"{backbone}: would be overwritten at the end; choose another folder")
    monitor = None if args.monitor is None else pretraining.Monitor(args.monitor, args.monitor_every)
    try:
        model.fit(
            args.data,
            out=args.out,
            resume=args.resume,
            keep=args.keep,
            checkpoint_every=args.checkpoint_every,
            on_error=args.on_error,
            monitor=monitor,
            tensorboard=args.tensorboard,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"; to go on: {shlex.join(again(args))}") from None
    model.export_backbone(backbone)
    say(f"{args.out}: {len(model.history)} epochs, loss {model.history[-1]['loss']:.4g}; backbone.safetensors")
    return 0


def again(args: argparse.Namespace) -> list[str]:
    """The command that goes on with a run: its settings are in its folder, the other options are given once more."""
    words = ["sassl", "pretrain", "--data", str(args.data), "--out", str(args.out), "--resume"]
    usual = vars(parser().parse_args(["pretrain"]))
    for name in ("monitor", "monitor_every", "on_error", "checkpoint_every", "keep", "threads"):
        if getattr(args, name) != usual[name]:
            words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return [*words, "--tensorboard"] if args.tensorboard else words


def configuration(args: argparse.Namespace) -> pretraining.Config:
    """The settings that the options of `pretrain` describe."""
    config = pretraining.PRESETS[args.preset] if args.config is None else pretraining.Config.load(args.config)
    style = config.style
    if args.style is not None or args.config is None:
        style = None if args.style == "off" else pretraining.describe(SASSL(p=0.8, styles=args.style or "default"))
    changes: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {"views": dict(config.views), "style": dict(style or {})}
    for name, value in (setting(text) for text in args.set):
        part, dot, own = name.partition(".")
        if dot and part in parts:
            if part == "style" and style is None:
                raise ValueError(f"--set {name}: there is no style to set; give --style")
            parts[part][own] = value
        elif name in ("method", "style", "views"):
            remedy = {"method": "it is the preset's", "style": "give --style, or --set style.NAME=VALUE"}
            raise ValueError(f"--set {name}: {remedy.get(name, 'give --set views.NAME=VALUE')}")
        else:
            changes[name] = value
    pretraining.config.check_names(changes)
    for name in ("arch", "epochs", "batch_size", "input_size"):
        if getattr(args, name) is not None:
            changes[name] = getattr(args, name)
    return replace(config, **{**changes, "views": parts["views"], "style": None if style is None else parts["style"]})


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON where it is that: 0.1, 3, true; else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def evaluate(args: argparse.Namespace) -> int:
    folders = [args.data / "train", args.data / "val"]
    if not all(folder.is_dir() for folder in folders):
        raise FileNotFoundError(f"{args.data}: expected the folders train and val in it")
    model = pretraining.Pretraining.load(args.checkpoint)
    known, asked = (ImageFolder(folder) for folder in folders)
    numbered(asked, known.classes)
    train, test = (evaluation.read(model, images, on_error=args.on_error) for images in (known, asked))
    for folder, features in zip(folders, (train, test), strict=True):
        if features.left_out:
            tell(f"{folder}: {evaluation.left_out(features)}")
    chosen = ""
    if args.how == "knn":
        found = evaluation.knn(train, test, k=args.k)
    elif args.how == "linear":
        found = evaluation.linear_probe(train, test, lr=args.lr, epochs=args.epochs)
    else:
        found = evaluation.logistic_probe(train, test)
        chosen = f", C = {found['c']:.3g}"
    say(f"{args.checkpoint}: {args.how}, top-1 {found['top1']:.1f} %, top-5 {found['top5']:.1f} %{chosen}")
    return 0


def export(args: argparse.Namespace) -> int:
    model = pretraining.Pretraining.load(args.checkpoint)
    model.export_backbone(args.out)
    say(f"{args.out}: {model.config.arch}, {model.config.method}, {len(model.history)} epochs")
    return 0


def run_info(args: argparse.Namespace) -> int:
    about = info()
    say(f"sassl {about['version']}")
    say(f"instruction set: {about['isa']} (this machine runs {', '.join(about['supported'])})")
    if not about["multiplies_bytes"]:
        say("  precision fast is as exact: this instruction set does not multiply bytes (avx2 and avx512vnni do)")
    if about["isa"] in ("portable", "scalar"):
        say("  without AVX2 or AVX-512 the kernels run several times slower")
    say(f"cores: {about['cores']}, threads: {about['threads']}")
    print_cuda(cuda.info())
    for name in about["models"]:
        model = Stylizer(name)
        say(f"model {name}: z of {model.dim} numbers, space {model.space}, {model.licence}; {model.provenance}")
    default = StyleBank.default()
    say(f"default bank: {len(default)} styles, space {default.space}")
    return 0


def print_cuda(about: dict[str, Any]) -> None:
    """What `sassl info` tells of GPUs."""
    devices = about["devices"]
    if isinstance(devices, str):
        say(f"GPU: none; {devices}")
        return
    for i, (name, arch) in enumerate(devices):
        say(f"GPU {i}: {name}, compute capability {arch / 10}, driver for CUDA {about['driver']}")
    say(f"  NVRTC: {about['nvrtc']}; compiled kernels: {about['kernels'] or 'not kept'}")


if __name__ == "__main__":
    sys.exit(main())

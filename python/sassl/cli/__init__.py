"""The command line, `sassl demo | stylize | bank | ...`: each command has a module, imported when the command is called."""

from __future__ import annotations

import sys

# A local name, so that typing need not be imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from . import bank, compare, compare_models, convert, demo, embed, evaluate, export, info, pretrain, stylize  # noqa: F401

#: For each command, its module here and its help. In the module, `add(parser)` adds options; `run(args)` returns the exit code.
COMMANDS = {
    "demo": ("demo", "Show what SASSL does: a contact sheet of photographs, styles, fully stylized images and views."),
    "stylize": (
        "stylize",
        "Stylize images: files, folders or glob patterns, with a random draw for each. Gray images stay gray, transparency is "
        "dropped. If --out is inside a searched folder, the images in it are skipped.",
    ),
    "bank": (
        "bank",
        "Encode style images into a bank file; an image that cannot be read is an error.",
    ),
    "convert": ("convert", "Convert a third-party style network to a model file."),
    "compare-models": (
        "compare_models",
        "Compare networks on the same photographs and styles: output, cost of a view, and how far it moves in gray levels.",
    ),
    "pretrain": ("pretrain", "Pretrain a backbone by MoCo v2, BYOL, SimCLR or SimSiam, with style on the left view."),
    "compare": (
        "compare",
        "Compare runs of pretraining: the settings that differ, their results, and their curves in one figure. Or compare "
        "results of sassl eval: mean and standard deviation over seeds, differences with 95-percent "
        "intervals.",
    ),
    "eval": (
        "evaluate",
        "Evaluate the features of models: runs, checkpoints, timm's, torchvision's and weights files.",
    ),
    "embed": ("embed", "Write a model's features of images, with their classes and names, into an .npz file."),
    "export": (
        "export",
        "Write a checkpoint's backbone under torchvision's names, and print what torchvision needs to load it.",
    ),
    "info": ("info", "Print the version, this machine's instruction sets, and the embedded models."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code.

    Exit codes are 0 on success, 1 on failure, 2 for a usage error, 130 for Ctrl-C, and 75 for a run that should be resumed.
    """
    words = sys.argv[1:] if argv is None else [*argv]
    command = next((word for word in words if not word.startswith("-")), "")
    title = f"sassl {command}" if command in COMMANDS else "sassl"
    args = None
    # All imports are inside, where Ctrl-C and errors are handled.
    try:
        args = parser(command).parse_args(words) if argv is not None else _alone(title, command, words)
        # A command may start other processes with the same arguments.
        args.words = words
        return int(args.run(args))
    except BrokenPipeError:
        import os

        # The reader has closed the pipe, as `head` does. Python would report an error when it flushes on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        _tell(f"{title}: {str(error) or 'interrupted'}")
        # A run to be resumed has its own exit code.
        return int(getattr(error, "exit_code", 130))
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        from ..terminal import message
        from .options import as_typed

        # An error of another rank is reported on that rank.
        if not hasattr(error, "rank"):
            _tell(f"{title}: {as_typed(message(error), vars(args) if args is not None else {})}")
        return 1


def parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands. Only `command` has options, because other commands' modules are not imported."""
    import argparse

    from .. import __version__

    top = argparse.ArgumentParser(prog="sassl", description="Style augmentations for self-supervised learning.")
    top.add_argument("--version", action="version", version=f"sassl {__version__}")
    # Without a command, print the help and exit with an error.
    top.set_defaults(run=lambda _: top.exit(2, top.format_help()))
    commands = top.add_subparsers(dest="command", metavar="command")
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        if name == command:
            from importlib import import_module

            found = import_module(f".{module}", __name__)
            found.add(sub)
            sub.set_defaults(run=found.run)
    return top


def _alone(title: str, command: str, words: list[str]) -> argparse.Namespace:
    """Parse the arguments. Ctrl-C during parsing ends the process at once.

    Otherwise, some imports would swallow the KeyboardInterrupt, and others would report it as a broken package.
    """
    import os
    import signal

    def end(*_: object) -> None:
        # Do not import anything during another import.
        try:
            os.write(2, f"{title}: interrupted\n".encode())
        finally:
            os._exit(130)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return parser(command).parse_args(words)
    signal.signal(signal.SIGINT, end)
    try:
        return parser(command).parse_args(words)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _tell(text: str) -> None:
    from ..terminal import tell

    tell(text)

"""The command line, `sassl demo | stylize | bank | ...`: a row and a module for each command, imported when it is called."""

from __future__ import annotations

import sys

# typing's own, without importing it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from . import bank, compare, compare_models, convert, demo, embed, evaluate, export, info, pretrain, stylize  # noqa: F401

#: A command, its module here, and what it does. The module has `add(parser)`, its options, and `run(args)`, the exit code.
COMMANDS = {
    "demo": ("demo", "Show what SASSL does: a contact sheet of photographs, styles, T's output and views."),
    "stylize": (
        "stylize",
        "Stylize images: files, folders or glob patterns, each with a draw of its own. Gray ones stay gray, transparency is "
        "dropped. What lies in --out already is left out where a folder around it is searched.",
    ),
    "bank": (
        "bank",
        "Encode a set of style images, once, into a bank file: all of them, or an error that names the file.",
    ),
    "convert": ("convert", "Convert a style network of others to a model file."),
    "compare-models": (
        "compare_models",
        "Show what networks make of the same photographs and styles, what a view costs, and how far it moves in grey levels.",
    ),
    "pretrain": ("pretrain", "Pretrain a backbone by MoCo v2, BYOL, SimCLR or SimSiam, with style on the left view."),
    "compare": (
        "compare",
        "Compare runs of pretraining: the settings that differ, their results, and their curves in one figure. Or compare "
        "results of sassl eval transfer and robustness: mean and standard deviation over seeds, differences with 95-percent "
        "intervals.",
    ),
    "eval": (
        "evaluate",
        "Measure the features of models: runs, checkpoints, timm's, torchvision's and files of weights.",
    ),
    "embed": ("embed", "Write a model's features of images, with their classes and names, into an .npz file."),
    "export": (
        "export",
        "Write a checkpoint's backbone under torchvision's names, and say what torchvision needs for it.",
    ),
    "info": ("info", "Tell the version, this machine's instruction sets, and the embedded models."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code is 0, 1 where something failed, 2 for a wrong call, 130 for Ctrl-C, 75 to be run again."""
    words = sys.argv[1:] if argv is None else [*argv]
    command = next((word for word in words if not word.startswith("-")), "")
    title = f"sassl {command}" if command in COMMANDS else "sassl"
    args = None
    # Whatever is imported is imported here, where Ctrl-C and errors are heard.
    try:
        args = parser(command).parse_args(words) if argv is not None else _alone(title, command, words)
        # A command may start others of itself.
        args.words = words
        return int(args.run(args))
    except BrokenPipeError:
        import os

        # Who reads has had enough, as `head` has. Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        _tell(f"{title}: {str(error) or 'interrupted'}")
        # A run that is to go on has its own.
        return int(getattr(error, "exit_code", 130))
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        from ..terminal import message
        from .options import as_typed

        # Another rank's error is told there.
        if not hasattr(error, "rank"):
            _tell(f"{title}: {as_typed(message(error), vars(args) if args is not None else {})}")
        return 1


def parser(command: str = "") -> argparse.ArgumentParser:
    """All commands by name, and the options of this one, whose module is imported."""
    import argparse

    from .. import __version__

    top = argparse.ArgumentParser(prog="sassl", description="Style augmentations for self-supervised learning.")
    top.add_argument("--version", action="version", version=f"sassl {__version__}")
    # No command at all: the help, as an error of the call.
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
    """The options that are given; Ctrl-C meanwhile ends the process, which is a program that has done nothing yet.

    As an exception it would get lost in some imports, and others would say that they are broken.
    """
    import os
    import signal

    def end(*_: object) -> None:
        # Nothing is imported in the midst of an import.
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

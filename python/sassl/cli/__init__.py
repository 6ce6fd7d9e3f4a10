"""The command line, `sassl demo | stylize | bank | convert | ...`: a module for each command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..terminal import message, tell
from . import bank, compare_models, convert, demo, evaluate, export, info, pretrain, stylize


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


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    top = argparse.ArgumentParser(prog="sassl", description="Style augmentations for self-supervised learning.")
    top.add_argument("--version", action="version", version=f"sassl {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for module in (demo, stylize, bank, convert, compare_models, pretrain, evaluate, export, info):
        module.add(commands)
    return top

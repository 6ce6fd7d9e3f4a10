"""`sassl pretrain`: start a run from a preset or a settings file, or resume a run."""

from __future__ import annotations

import argparse
import os
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from .. import pretraining
from ..data.webdataset import is_shard
from ..pretraining import demo
from ..pretraining.folder import data_of, has_checkpoint
from ..pretraining.loggers import chosen
from ..pretraining.stopping import seconds_of
from ..pretraining.weights import usage
from ..terminal import say, tell
from . import several
from .options import check_styles
from .pretrain_options import add, preset_table
from .pretrain_settings import configuration, kept_styles, printed


def usual() -> dict[str, Any]:
    """Return the default of each option."""
    sub = argparse.ArgumentParser()
    add(sub)
    return vars(sub.parse_args([]))


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if args.list_presets:
        say(preset_table())
        say(
            "\nlr by linear: for a batch of 256, growing linearly with it; by sqrt: for one image, growing by its root."
        )
        return 0
    if args.demo:
        return run_demo(args)
    told = resumed(args) if args.resume else ""
    if args.print_config:
        check_source(args)
        check_styles("--style", args.style, "default", "batch", "off")
        say(printed(args))
        return 0
    check(args)
    if args.devices is not None and (processes := started(args)) > 1:
        from ..pretraining.torch import devices

        if args.arch is not None:
            # An unknown name is reported once, and not by each process.
            pretraining.Backbone.of(args.arch)
        return devices.launch(processes, args.words)
    check_styles("--style", args.style, "default", "batch", "off")
    model = begin(args)
    is_first = model.engine.ranks.rank == 0
    if told and is_first:
        tell(told)
    if args.dry_run:
        # Report now what would end the run later.
        chosen(args.log, args.out or "")
        seconds_of(args.time_limit)
        found = pretraining.dry_run(model, args.data, on_error=args.on_error)
        if is_first:
            say(str(found))
        return 0
    return learn(args, model)


def resumed(args: argparse.Namespace) -> str:
    """Fill in --out and --data for a call with --resume; return a line about the data, or "" if there is nothing to report.

    --resume RUN is short for --resume --out RUN; with --out, the word after --resume may be a preset's name.
    """
    named, args.resume = args.resume, True
    if named is not True and args.out is None:
        args.out = Path(named)
        if args.out.is_file():
            raise NotADirectoryError(
                f"--resume {named}: a file; give the run's folder, whose newest checkpoint is used"
            )
    elif named is not True and args.preset is None and named in pretraining.PRESETS:
        args.preset = named
    elif named is not True and Path(named) != args.out:
        raise ValueError(f"--resume {named} and --out {args.out} are different folders; give one of them")
    if args.out is None:
        raise ValueError("--out is missing; name the run's folder, as in: sassl pretrain --resume run")
    known = data_of(args.out)
    if args.data is None:
        args.data = known
        return "" if known is None else f"data: {known}, as recorded in {args.out}"
    if known is None or known == os.path.abspath(args.data):
        return ""
    return f"data: {args.data}, where the run before had {known}"


def check(args: argparse.Namespace) -> None:
    """Raise an error for missing, invalid or incompatible options; for a resumed run, fill in --config from its folder."""
    if args.out is None and not args.dry_run:
        raise ValueError("--out is missing")
    if args.monitor_every is not None and args.monitor is None:
        raise ValueError("--monitor-every requires --monitor")
    check_source(args)
    if args.data is None:
        raise ValueError(f"--data is missing{'; the run has not recorded it' if args.resume else ''}")
    check_images("--data", args.data)
    check_images("--monitor", args.monitor)


def check_images(option: str, given: str | None) -> None:
    """Raise an error unless the value is a pattern of shards, an existing folder, or None."""
    if given is None or is_shard(given) or Path(given).is_dir():
        return
    if Path(given).exists():
        raise NotADirectoryError(f"{option} {given}: a file, where a folder of images is expected")
    raise FileNotFoundError(f"{option} {given}: there is no such folder")


def check_source(args: argparse.Namespace) -> None:
    """Raise an error unless exactly one source of settings is given: a preset or --config.

    With --resume, both may be missing; --config is then filled in from the run's folder.
    """
    if args.resume and args.preset is None and args.config is None:
        args.config = args.out / "config.json"
        if not args.config.exists():
            raise FileNotFoundError(f"{args.out}: has no run to resume; start one with a preset, without --resume")
    if (args.preset is None) == (args.config is None):
        raise ValueError("give either a preset or --config, as in: sassl pretrain simclr --data photos --out run")


def learn(args: argparse.Namespace, model: pretraining.Pretraining) -> int:
    """Train the model, and export its backbone; return the exit code."""
    is_first = model.engine.ranks.rank == 0
    if is_first:
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
            loggers=args.log,
            time_limit=args.time_limit,
        )
    except KeyboardInterrupt as error:
        if not is_first:
            # Rank 0 reports it.
            return int(getattr(error, "exit_code", 130))
        raise type(error)(f"{str(error) or 'interrupted'}; to resume: {shlex.join(again(args))}") from None
    if not is_first:
        return 0
    model.export_backbone(backbone)
    say(f"{args.out}: {len(model.history)} epochs, loss {model.history[-1]['loss']:.4g}; backbone.safetensors")
    for line in usage(model, backbone):
        say(line)
    return 0


def started(args: argparse.Namespace) -> int:
    """Return the number of processes to start for --devices; it is 1 if a launcher has already started this process."""
    if args.engine == "native":
        raise ValueError(
            f"--devices must be 1 for the native engine, which is one process, got {args.devices}; give --engine torch"
        )
    return several.count(args.devices, args.engine)


def begin(args: argparse.Namespace) -> pretraining.Pretraining:
    """Create the model that the options describe. If the run resumes from a checkpoint, ignore the setting `init`."""
    goes_on = args.resume and has_checkpoint(args.out)
    config = configuration(args)
    own = {"threads": args.threads, "engine": maker(args)}
    model = pretraining.Pretraining.from_config(config, styles=kept_styles(args), init=not goes_on, **own)
    if args.init is not None:
        model.load_backbone(args.init)
    return model


def maker(args: argparse.Namespace) -> Any:
    """Return the name of the engine; if engine options are given, a function that builds the engine with them."""
    if args.views is not None and args.engine != "torch":
        raise ValueError(f"--views {args.views} is only for --engine torch, not for {args.engine}")
    if args.checkpointing and args.engine != "torch":
        raise ValueError(f"--checkpointing is only for --engine torch, not for {args.engine}")
    names, defaults = ("views", "accumulate", "checkpointing"), usual()
    how = {name: value for name in names if (value := getattr(args, name)) != defaults[name]}
    return partial(pretraining.ENGINES[args.engine], **how) if how else args.engine


def run_demo(args: argparse.Namespace) -> int:
    """Run `sassl pretrain --demo`; raise a ValueError for options other than --out and --threads."""
    own = ("demo", "out", "threads")
    given = [name for name, value in usual().items() if name not in own and getattr(args, name) != value]
    if given:
        raise ValueError(f"--demo takes only --out and --threads, not {given[0].replace('_', '-')}")
    demo.run(args.out or Path("pretrain-demo"), args.threads)
    return 0


def again(args: argparse.Namespace) -> list[str]:
    """Return the command that resumes a run. Settings are omitted, because the run's folder has them."""
    words = ["sassl", "pretrain", "--data", str(args.data), "--out", str(args.out), "--resume"]
    defaults = usual()
    names = ("monitor", "monitor_every", "on_error", "checkpoint_every", "keep", "time_limit", "threads", "engine")
    for name in (*names, "devices", "views", "accumulate"):
        if getattr(args, name) != defaults[name]:
            words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    words += ["--checkpointing"] if args.checkpointing else []
    return words + [word for name in args.log for word in ("--log", name)]

"""Conversion of the options of `sassl pretrain` to the settings of a run, and the settings as text."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from pathlib import Path
from typing import Any

from .. import pretraining
from ..pretraining import config_files, view_settings
from ..pretraining.folder import STYLES
from ..pretraining.view_settings import LISTS
from ..transforms.plain import SASSL


def kept_styles(args: argparse.Namespace) -> Path | None:
    """Return the file of styles next to --config; None if there is no such file.

    The file holds the styles of a run whose settings do not name styles.
    """
    kept = None if args.config is None else args.config.parent / STYLES
    return None if kept is None or not kept.exists() else kept


def printed(args: argparse.Namespace) -> str:
    """Return the settings as YAML for --config. A comment lists the recipe's keyword arguments that are not set."""
    config = configuration(args)
    config = view_settings.with_styles(config, view_settings.make(config, styles=kept_styles(args)))
    text = config_files.text(config.nested(), ".yaml")
    if LISTS in config.data.views:
        return text
    recipe = pretraining.METHODS[config.method.name].recipe
    fields = (
        one for one in dataclasses.fields(recipe) if one.name not in _NO_VIEWS and one.name not in config.data.views
    )
    usual = "; ".join(f"{one.name} = {json.dumps(_default(one))}" for one in fields)
    told = f"data.views may also have these keywords of {recipe.__name__}, shown with their defaults: {usual}"
    return text + textwrap.fill(told, 100, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


#: Fields of a recipe that are not keys of data.views.
_NO_VIEWS = ("input_size", "style", "generator", "output", "dtype", "channels_last")


def _default(field: Any) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def configuration(args: argparse.Namespace) -> pretraining.Config:
    """Return the settings that the options of `pretrain` describe."""
    config = pretraining.PRESETS[args.preset] if args.config is None else pretraining.Config.load(args.config)
    style = config.data.style
    if args.style is not None or args.config is None:
        # Other styles leave the strength and the network of the settings unchanged.
        kept = {name: value for name, value in (style or {}).items() if name not in ("styles", "checksum", "space")}
        style = None if args.style == "off" else SASSL(styles=args.style or "default", **kept).describe()
    changes: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {"views": dict(config.data.views), "style": dict(style or {})}
    if args.arch is None or args.arch == config.backbone.name:
        parts["arch"] = dict(config.backbone.settings.get("arch_settings", {}))
    else:
        parts["arch"] = {}
    if args.style is not None and LISTS in config.data.views:
        raise ValueError(
            f"--style {args.style} cannot be set: the views of {args.config} are lists of operations with their own styles"
        )
    for name, value in (setting(text) for text in args.set):
        part, dot, own = name.partition(".")
        if dot and part in parts:
            if part == "style" and style is None:
                raise ValueError(f"--set {name} requires a style; give --style")
            if part == "views" and LISTS in config.data.views:
                raise ValueError(f"--set {name} is not possible: the views of {args.config} are lists of operations")
            parts[part][own] = value
            if name in ("style.styles", "style.model"):
                # The checksum and the space belong to the replaced value.
                parts[part] = {key: one for key, one in parts[part].items() if key not in ("checksum", "space")}
        elif name in ("method", "style", "views", "init"):
            remedy = {
                "method": "the preset determines it",
                "style": "give --style, or --set style.NAME=VALUE",
                "init": "give --init",
            }
            raise ValueError(f"--set {name} is not possible; {remedy.get(name, 'give --set views.NAME=VALUE')}")
        else:
            changes[name] = value
    for name in ("arch", "epochs", "batch_size", "input_size", "seed"):
        if getattr(args, name) is not None:
            changes[name] = getattr(args, name)
    if parts["arch"]:
        changes["arch_settings"] = parts["arch"]
    return config.changed(**changes, views=parts["views"], style=None if style is None else parts["style"])


def setting(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE. JSON such as `0.1` or `true` is parsed; `0.3,0.5` becomes a list; anything else is a string."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set must be NAME=VALUE, got {text}")
    for candidate in (value, f"[{value}]"):
        try:
            return name, json.loads(candidate)
        except ValueError:
            continue
    return name, value

"""Conversion between the views of a run and their description in the run's settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from ..arguments import plain
from ..transforms.operations import OPERATIONS
from ..transforms.plain import SASSL, identity
from ..transforms.recipes import TwoViewTransform
from ..transforms.style_sources import Source
from ..transforms.views import STYLE, UNKNOWN, Views
from .config import METHODS, Config

#: A key of `Data.views`. With this key, `Data.views` is a description of `Views`; without it, keywords of a recipe.
LISTS = "views"
#: The output format that engines require of views.
_FORM: dict[str, Any] = {"output": "numpy", "dtype": "float32", "channels_last": True}


def make(config: Config, *, style: SASSL | None = None, styles: Any = None, bare: bool = False) -> Views:
    """Build the transform of a run's views from the settings.

    Args:
        config: the settings of the run.
        style: a `SASSL` for the recipe; None: the style that the settings describe, if any.
        styles: the styles, or the path of a styles file, such as `styles.safetensors` in the run's folder. Required if the
            settings describe a style without naming its source, or if the named file no longer exists; else None.
        bare: whether to leave out the style that the settings describe, and unregistered operations, such as functions. The
            deterministic part of the views is complete without them.

    Raises:
        TypeError: the recipe, an operation or `SASSL` has no such setting.
        ValueError: a setting is invalid; the styles differ from the styles of the settings.
        OSError: the styles cannot be found.
    """
    views = config.data.views
    if LISTS in views:
        if style is not None:
            raise ValueError("style must be left out for views that are lists of operations; put a SASSL among them")
        described = {name: value for name, value in views.items() if name not in _FORM}
        if bare:
            described[LISTS] = [[one for one in view if one["kind"] in OPERATIONS] for view in described[LISTS]]
        return Views.from_description(described, styles=styles, **_FORM)
    if style is None and config.data.style is not None and not bare:
        try:
            style = SASSL.from_description(config.data.style, styles=styles)
        except TypeError as error:
            raise TypeError(f"style {config.data.style!r} is invalid: {_told(error)}") from None
    known = {**views, "normalize": None} if views.get("normalize") == UNKNOWN else views
    recipe = METHODS[config.method.name].recipe
    try:
        made: Views = recipe(input_size=config.data.input_size, **known, style=style, **_FORM)
    except TypeError as error:
        raise TypeError(f"views {views!r} are invalid: {_told(error)}") from None
    return made


def told(transform: Views, config: Config) -> Config:
    """Return a copy of `config` with a description of the views of `transform`.

    Raises:
        ValueError: the transform does not yield two views of the same size.
    """
    if isinstance(transform, TwoViewTransform):
        keywords = transform.keywords(METHODS[config.method.name].recipe)
        apart = ("input_size", "style", "generator", "min_decode_size", *_FORM)
        views = {name: plain(value) for name, value in keywords.items() if name not in apart}
        if transform.min_decode_size is not None:
            views["min_decode_size"] = transform.min_decode_size
        style = None if transform.style is None else transform.style.describe()
        return config.changed(input_size=transform.input_size, views=views, style=style)
    sizes = [shape[-2:] if not transform.channels_last else shape[:2] for shape in transform.shapes]
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        raise ValueError(f"views must be two of one size for {config.method.name}, got sizes {sizes}")
    views = {name: value for name, value in transform.describe().items() if name not in _FORM}
    height, width = transform.size
    return config.changed(input_size=height if height == width else (height, width), views=views, style=None)


def for_engine(transform: Views) -> Views:
    """Return a copy of a transform with the output format that engines take."""
    return transform.replace(**_FORM)


def with_styles(config: Config, transform: Views) -> Config:
    """Return the settings with the checksums of their styles filled in."""
    if LISTS in config.data.views:
        return told(transform, config)
    return config if config.data.style is None else config.changed(style=transform.styles[0].describe())


def compared(config: Config) -> dict[str, Any]:
    """The settings to compare between runs, as a flat dict. Checksums replace paths, since files may have moved."""
    flat = config.flat()
    if config.data.style is not None:
        flat["style"] = identity(config.data.style)
    if LISTS in config.data.views:
        lists = [[identity(one) for one in view] for view in config.data.views[LISTS]]
        flat["views"] = {**config.data.views, LISTS: lists}
    if config.init is not None:
        flat["init"] = config.init["checksum"]
    return flat


def first_apart(here: dict[str, Any], there: dict[str, Any]) -> tuple[str, str, str] | None:
    """Find the first operation in which two descriptions of views differ.

    Returns:
        The operation's position, such as "views[0][2]", and the operation in each description, as text. None if all
        operations agree, or if either description has no lists of operations.
    """
    if LISTS not in here or LISTS not in there:
        return None
    pairs: Iterable[tuple[Any, Any]] = zip_longest(here[LISTS], there[LISTS], fillvalue=[])
    for i, (view, other) in enumerate(pairs):
        for k, (one, its) in enumerate(zip_longest(view, other)):
            if one != its:
                ours, theirs = ("no operation" if text is None else repr(text) for text in (one, its))
                return f"views[{i}][{k}]", ours, theirs
    return None


def unnamed(transform: Views) -> Source:
    """The style source without a name, such as images in memory; None if all style sources have names.

    A source without a name has to be stored in the run's folder.

    Raises:
        ValueError: there are several sources without a name.
    """
    described = ((style.describe(), style.styles) for style in transform.styles)
    found = {one["checksum"]: styles for one, styles in described if one["styles"] is None}
    if len(found) > 1:
        raise ValueError(
            f"views must have at most one style source in memory, got {len(found)}; save each as a bank file, and give these"
        )
    return next(iter(found.values()), None)


def kept(config: Config) -> set[str]:
    """The checksums of the styles that the settings do not name."""
    lists = config.data.views.get(LISTS, [])
    described = [config.data.style or {}, *(one for view in lists for one in view if one["kind"] == STYLE)]
    return {one["checksum"] for one in described if one.get("checksum") and one.get("styles", "") is None}


def _told(error: TypeError) -> str:
    """Reword the message of an error about an unexpected keyword, since the keyword was a key of a dict."""
    return re.sub(r"\S*__init__\(\) got an unexpected keyword argument", "there is no", str(error))

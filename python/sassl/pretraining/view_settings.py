"""The views of a run: made of its settings, and told in them."""

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

#: The key by which `Data.views` is a description of `Views`, and not a recipe's keywords.
LISTS = "views"
#: The form in which an engine takes views.
_FORM: dict[str, Any] = {"output": "numpy", "dtype": "float32", "channels_last": True}


def make(config: Config, *, style: SASSL | None = None, styles: Any = None, bare: bool = False) -> Views:
    """The transform that the settings tell.

    Args:
        config: of the run.
        style: the recipe's, made already; None: as the settings tell.
        styles: what styles were that no name in the settings tells, as the run's folder keeps them.
        bare: without style, and without operations that are not known here, functions among them, for a machine that need not
            have them: for what is not random of the views.

    Raises:
        TypeError: a setting that a recipe, an operation or `SASSL` does not have.
        ValueError: a setting that cannot be; other styles than those of the settings.
        OSError: styles that are not there.
    """
    views = config.data.views
    if LISTS in views:
        if style is not None:
            raise ValueError("style: these views are lists of operations, in which a SASSL stands")
        described = {name: value for name, value in views.items() if name not in _FORM}
        if bare:
            described[LISTS] = [[one for one in view if one["kind"] in OPERATIONS] for view in described[LISTS]]
        return Views.from_description(described, styles=styles, **_FORM)
    if style is None and config.data.style is not None and not bare:
        try:
            style = SASSL.from_description(config.data.style, styles=styles)
        except TypeError as error:
            raise TypeError(f"style = {config.data.style!r}: {_told(error)}") from None
    known = {**views, "normalize": None} if views.get("normalize") == UNKNOWN else views
    recipe = METHODS[config.method.name].recipe
    try:
        made: Views = recipe(input_size=config.data.input_size, **known, style=style, **_FORM)
    except TypeError as error:
        raise TypeError(f"views = {views!r}: {_told(error)}") from None
    return made


def told(transform: Views, config: Config) -> Config:
    """These settings with the views of a transform.

    Raises:
        ValueError: not two views of one size.
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
        raise ValueError(f"views: of sizes {sizes}; {config.method.name} takes two of one size")
    views = {name: value for name, value in transform.describe().items() if name not in _FORM}
    height, width = transform.size
    return config.changed(input_size=height if height == width else (height, width), views=views, style=None)


def for_engine(transform: Views) -> Views:
    """The same views as an engine takes them."""
    return transform.replace(**_FORM)


def with_styles(config: Config, transform: Views) -> Config:
    """These settings with what their styles are now: checksums, where none were given."""
    if LISTS in config.data.views:
        return told(transform, config)
    return config if config.data.style is None else config.changed(style=transform.styles[0].describe())


def compared(config: Config) -> dict[str, Any]:
    """The settings by name, without the names of files, which may have moved: their checksums are among them."""
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
    """Where two descriptions of lists part, and what stands there: a name and two texts; None for others."""
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
    """The styles that no name tells, which a run's folder keeps; None where there are none.

    Raises:
        ValueError: several.
    """
    described = ((style.describe(), style.styles) for style in transform.styles)
    found = {one["checksum"]: styles for one, styles in described if one["styles"] is None}
    if len(found) > 1:
        raise ValueError(
            f"views: {len(found)} different styles in memory; save each as a bank file, and give the files"
        )
    return next(iter(found.values()), None)


def kept(config: Config) -> set[str]:
    """The checksums of styles that no name in the settings tells."""
    lists = config.data.views.get(LISTS, [])
    described = [config.data.style or {}, *(one for view in lists for one in view if one["kind"] == STYLE)]
    return {one["checksum"] for one in described if one.get("checksum") and one.get("styles", "") is None}


def _told(error: TypeError) -> str:
    """An unexpected keyword's error, in the words of those who gave it in a dict."""
    return re.sub(r"\S*__init__\(\) got an unexpected keyword argument", "there is no", str(error))

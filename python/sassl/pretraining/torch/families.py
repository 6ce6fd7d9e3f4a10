"""Third-party backbones in settings: `timm:NAME`, `torchvision:NAME`, and modules that the caller passes.

The settings of these backbones are JSON values:

- a timm or torchvision model has `arch_settings`, the keyword arguments of the function that builds the model;
- a module has `features`, its feature dimension.

A model's feature dimension is determined on torch's "meta" device if possible, with shapes but no weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from ...arguments import whole
from ..settings import FAMILIES


def _of(family: str) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    def told(name: str, settings: dict[str, Any]) -> dict[str, Any]:
        given = _only("arch_settings", f"{family}:{name}", settings, {})
        if not isinstance(given, dict):
            raise ValueError(f"arch_settings must be a dict of keywords for {family}:{name}, got {given!r:.100}")
        features = _features(family, name, json.dumps(given, sort_keys=True))
        return _told(features, {"arch_settings": given})

    return told


def _module(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    features = whole("features", _only("features", name, settings, None), 1)
    return _told(features, {"features": features})


def _only(name: str, arch: str, settings: dict[str, Any], default: Any) -> Any:
    """The value of the setting `name`, the only setting that `arch` accepts."""
    if unknown := settings.keys() - {name}:
        raise ValueError(
            f"{min(unknown)}={settings[min(unknown)]!r:.100} is not a setting of {arch}, which has only {name}"
        )
    return settings.get(name, default)


def _told(features: int, settings: dict[str, Any]) -> dict[str, Any]:
    # The stride of the stem is unknown; a trial pass before the first step detects images that are too small.
    return {"features": features, "stem_stride": 1, "least_side": 1, "settings": settings}


@lru_cache(maxsize=64)
def _features(family: str, name: str, settings: str) -> int:
    """The feature dimension of a model.

    Raises:
        ImportError: the family's package or torch is not installed.
        ValueError: there is no such model, or the model does not accept the settings.
    """
    for package in ("torch", family):
        if find_spec(package) is None:
            raise ImportError(
                f'arch="{family}:{name}" requires {package}, which is not installed: pip install {family}'
            )
    from .foreign import features

    return features(family, name, json.loads(settings))


FAMILIES.update({"timm": _of("timm"), "torchvision": _of("torchvision"), "module": _module})

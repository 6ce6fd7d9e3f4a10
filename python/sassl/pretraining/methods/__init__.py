"""The methods, a file each: its settings, the recipe of its views, its presets, its class. A file here is a method."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)

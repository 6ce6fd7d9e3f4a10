"""The methods, one per file: settings, recipe of the views, presets and class.

Each file is imported here, and registers its method.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)

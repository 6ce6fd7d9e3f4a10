"""The methods as torch modules, one per file. All files of this folder are imported; other packages call `register`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .base import METHODS as METHODS
from .base import Forward as Forward
from .base import Method as Method
from .base import register as register

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)

"""The settings of a run, and the table of methods.

The settings are grouped by the component that reads them.
"""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from .._sassl import write_file
from ..arguments import choice, whole, wrong
from ..transforms.operations import size
from . import config_files
from .history import TITLES
from .settings import OPTIMIZERS, SGD, Backbone, Data, MethodSettings, OptimizerSettings, Schedule

#: The maximum number of values in the heads or the queue: 4 GiB in float32, and several times as much during training.
_MOST = 2**30


@dataclass(frozen=True)
class Config:
    """The settings of a run. They are printed, saved with the run, and compared when the run resumes.

    The engine reads `method`, `backbone`, `optimizer` and `seed`; the training loop reads `schedule` and `data`. In JSON,
    `method`, `backbone` and `optimizer` are objects with "name" and settings: `{"method": {"name": "byol", "dim": 256, ...}}`.

    Attributes:
        init: the source of the backbone's initial weights. None: drawn from `seed`. Else a dict with two entries: "source", the
            path of the weights' file, or None for a state dict; and "checksum", the CRC-32 of the weights in hexadecimal.
    """

    method: MethodSettings
    backbone: Backbone = field(default_factory=lambda: Backbone("resnet50"))
    optimizer: OptimizerSettings = field(default_factory=SGD)
    schedule: Schedule = field(default_factory=Schedule)
    data: Data = field(default_factory=Data)
    seed: int = 0
    init: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        whole("seed", self.seed)
        if self.init is not None and not (isinstance(self.init, dict) and self.init.keys() == {"source", "checksum"}):
            raise wrong("init", self.init, 'None, or a dict of "source" and "checksum"')
        for one, kind in (
            (self.method, MethodSettings),
            (self.backbone, Backbone),
            (self.optimizer, OptimizerSettings),
            (self.schedule, Schedule),
            (self.data, Data),
        ):
            if not isinstance(one, kind):
                raise TypeError(f"config must have a {kind.__name__}, got {one!r:.100}")
        if min(size(self.data.input_size, "input_size")) < self.backbone.least_side:
            expected = f"at least {self.backbone.least_side} pixels, for {self.backbone.name}"
            raise wrong("input_size", self.data.input_size, expected)
        for names, n in self.method.memory(self.backbone.features).items():
            if n > _MOST:
                told = ", ".join(f"{name}={getattr(self.method, name)}" for name in names)
                raise ValueError(
                    f"{told} must give at most {_MOST:,} values, got {n:,}, {4 * n / 2**30:,.0f} GiB, and several times that "
                    "in training"
                )

    def changed(self, **settings: Any) -> Config:
        """Return a copy with some settings replaced, under the names of `flat()`: `config.changed(arch="resnet18", lr=0.1)`.

        A new `optimizer` keeps the settings that both optimizers have. A new `arch` keeps the settings that both backbones
        have, unless the new backbone is a module, or a model of timm or torchvision.

        Raises:
            TypeError: this method, backbone or optimizer has no such setting; or `arch` is neither a name nor a module.
            ValueError: a setting is invalid.
        """
        made = self._with_parts(settings)
        parts: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            if name in ("arch", "optimizer"):
                continue
            part = next((part for part, own in made._names().items() if name in own), None)
            if part is None:
                raise made._no_such(name, value)
            parts.setdefault(part, {})[name] = value
        changes: dict[str, Any] = parts.pop("", {})
        if own := parts.pop("backbone", None):
            changes["backbone"] = replace(made.backbone, settings={**made.backbone.settings, **own})
        return replace(made, **changes, **{part: replace(getattr(made, part), **own) for part, own in parts.items()})

    def with_module(self, arch: Any) -> Config:
        """Return a copy with the module `arch`; if `arch` is None, return `self`.

        Settings record only the class of a module, so settings from a file lack the module.

        Raises:
            ValueError: the backbone of the settings is built by name, rather than given as a module.
        """
        if arch is None:
            return self
        if self.backbone.family != "module":
            raise ValueError(
                f"arch must be left out, as the settings are of {self.backbone.name}, which is built by its name"
            )
        return replace(self, backbone=replace(self.backbone, module=arch))

    def _with_parts(self, settings: dict[str, Any]) -> Config:
        """Return a copy with the backbone and the optimizer that `settings` name, if any."""
        made = self
        if "arch" in settings and settings["arch"] != made.backbone.name:
            backbone = Backbone.of(settings["arch"], settings.get("features"))
            if backbone.family is None:
                kept = {name: x for name, x in made.backbone.settings.items() if name in backbone.settings}
                backbone = replace(backbone, settings={**backbone.settings, **kept})
            made = replace(made, backbone=backbone)
        if "optimizer" in settings and settings["optimizer"] != made.optimizer.name:
            kind = OPTIMIZERS[choice("optimizer", settings["optimizer"], OPTIMIZERS)]
            own = {one.name for one in fields(kind)}
            shared = {name: value for name, value in asdict(made.optimizer).items() if name in own}
            made = replace(made, optimizer=kind(**shared))
        return made

    def _names(self) -> dict[str, list[str]]:
        """The names of the settings by part; the key "" has the names outside all parts."""
        names = {part: [one.name for one in fields(getattr(self, part))] for part in ("method", "optimizer")}
        names |= {part: [one.name for one in fields(getattr(self, part))] for part in ("schedule", "data")}
        return {**names, "backbone": list(self.backbone.settings), "": ["seed", "init"]}

    def _no_such(self, name: str, value: Any) -> TypeError:
        """The error for an unknown setting."""
        method = METHODS[self.method.name].kind.__name__
        for who, kinds in (
            (method, {row.kind.__name__: row.settings for row in METHODS.values()}),
            (self.optimizer.name, OPTIMIZERS),
        ):
            if others := [other for other, kind in kinds.items() if name in {one.name for one in fields(kind)}]:
                return TypeError(f"{name}={value!r} is not a setting of {who}, but of {' and '.join(others)}")
        known = [one for one in self.flat() if one != "method"]
        near = get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        if "arch_settings" in known:
            meant += f"a keyword of {self.backbone.name} goes into arch_settings={{{name!r}: ...}}; "
        who = f"{method} on {self.backbone.name} by {self.optimizer.name}"
        return TypeError(f"{name}={value!r} is not a setting of {who}; {meant}there are {', '.join(known)}")

    def flat(self) -> dict[str, Any]:
        """All settings in one flat dict, under the names that the methods' constructors and `--set` take."""
        return {
            "method": self.method.name,
            **asdict(self.method),
            "arch": self.backbone.name,
            **self.backbone.settings,
            "optimizer": self.optimizer.name,
            **asdict(self.optimizer),
            **asdict(self.schedule),
            **asdict(self.data),
            "seed": self.seed,
            "init": self.init,
        }

    def nested(self) -> dict[str, Any]:
        """The settings as nested dicts, in the form of `config.json`."""
        return {
            "method": {"name": self.method.name, **asdict(self.method)},
            "backbone": {"name": self.backbone.name, **self.backbone.settings},
            "optimizer": {"name": self.optimizer.name, **asdict(self.optimizer)},
            "schedule": asdict(self.schedule),
            "data": asdict(self.data),
            "seed": self.seed,
            "init": self.init,
        }

    @classmethod
    def of(cls, nested: Any) -> Config:
        """Build settings from nested dicts, as `nested` returns them; missing settings take their defaults.

        Raises:
            TypeError, ValueError: a part or a setting is unknown or invalid, or the method is missing.
        """
        if not isinstance(nested, dict) or not isinstance(nested.get("method"), dict):
            raise ValueError('the settings must be an object with "method", an object with a name, and others')
        given = {name: dict(part) if isinstance(part, dict) else part for name, part in nested.items()}
        kinds: dict[str, dict[str, Any]] = {
            "method": {name: row.settings for name, row in METHODS.items()},
            "optimizer": dict(OPTIMIZERS),
        }
        for part, known in kinds.items():
            if part in given:
                name = choice(f"{part}.name", _object(part, given[part]).pop("name", None), known)
                given[part] = _made(known[name], name, given[part], f"{part}.")
        if "backbone" in given:
            given["backbone"] = Backbone(_object("backbone", given["backbone"]).pop("name", None), given["backbone"])
        for part, kind in (("schedule", Schedule), ("data", Data)):
            if part in given:
                given[part] = _made(kind, part, _object(part, given[part]), f"{part}.")
        made: Config = _made(cls, "config", given)
        return made

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Config:
        """Read settings from a .yaml, .yml, .toml or JSON file, such as the config.json of a run's folder.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is malformed, a setting is unknown or invalid, or the method is missing; the error names the
                key.
            ImportError: the package for the format is not installed: PyYAML for YAML; tomli for TOML on Python 3.10.
        """
        settings = config_files.read(path)
        try:
            return cls.of(settings)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the settings atomically, as YAML to a .yaml or .yml file, else as JSON.

        Raises:
            ValueError: the suffix is .toml, a format that has no null.
            ImportError: the suffix is .yaml or .yml, and PyYAML is not installed.
        """
        write_file(path, config_files.text(self.nested(), Path(path).suffix).encode())

    def core(self) -> str:
        """The settings as JSON, in the form that the native trainer takes."""
        return json.dumps(self.nested())

    @property
    def peak_lr(self) -> float:
        """The peak learning rate after scaling by the batch size."""
        n = self.data.batch_size
        return self.schedule.lr * {"linear": n / 256, "sqrt": n**0.5, "none": 1.0}[self.schedule.scaling]

    def __str__(self) -> str:
        """The settings grouped by part, under the names that `--set` takes."""
        views, style = self.data.views, self.data.style
        own = {name: value for name, value in self.backbone.settings.items() if name != "arch_settings"}
        keywords = self.backbone.settings.get("arch_settings", {})
        groups: dict[str, tuple[str | None, dict[str, Any]]] = {
            "method": (self.method.name, asdict(self.method)),
            "backbone": (self.backbone.name, {**own, **_under("arch", keywords)}),
            "optimizer": (self.optimizer.name, asdict(self.optimizer)),
            "schedule": (None, asdict(self.schedule)),
            "data": (None, {"batch_size": self.data.batch_size, "input_size": self.data.input_size}),
            "views": (METHODS[self.method.name].recipe.__name__, _under("views", views)),
            "style": ("off" if style is None else None, _under("style", style or {})),
            "start": (None, {"seed": self.seed, "init": self.init}),
        }
        if isinstance(views.get("views"), list):
            kinds = " | ".join(", ".join(one["kind"] for one in view) for view in views["views"])
            groups["views"] = (f"lists of operations: {kinds}", {})
        lines = []
        for title, (name, settings) in groups.items():
            told = [f"{one}={json.dumps(value)}" for one, value in settings.items()]
            text = "; ".join([*([] if name is None else [name]), *told])
            lines += textwrap.wrap(f"{title + ':':<11}{text}", 110, subsequent_indent=" " * 11, break_long_words=False)
        return "\n".join(lines)


def _under(part: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": value for name, value in settings.items()}


def _object(name: str, value: Any) -> dict[str, Any]:
    """Return a part of the settings; raise a ValueError if it is not a dict."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, got {value!r}")
    return value


def _made(kind: Any, name: str, settings: dict[str, Any], place: str = "") -> Any:
    """Build a part of the settings; a TypeError or ValueError names the offending setting, with the prefix `place`."""
    known = [one.name for one in fields(kind)]
    if unknown := [one for one in settings if one not in known]:
        near = get_close_matches(str(unknown[0]), known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise TypeError(f"{place}{unknown[0]} is not a setting of {name}; {meant}there are {', '.join(known)}")
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{place}{error}") from None


class Method(NamedTuple):
    """The entry of a method in `METHODS`."""

    #: The type of the method's settings.
    settings: type[MethodSettings]
    #: The recipe of the method's views, a class of `sassl.transforms`.
    recipe: type[Any]
    #: Published settings by name, without style; the preset with the method's name is the default.
    presets: dict[str, Config]
    #: The method's class, a subclass of `Pretraining`.
    kind: type[Any]


#: All methods, by name; each file of `methods/` registers its method.
METHODS: dict[str, Method] = {}
#: The published settings of all methods, by name. Presets have no style; the argument `style` adds style. A preset with the
#: name of its method is meant for a single machine.
PRESETS: dict[str, Config] = {}


def method_class(name: str) -> type[Any] | None:
    """The method's class with this name, such as "MoCoV2"; None if no method has such a class."""
    return next((row.kind for row in METHODS.values() if row.kind.__name__ == name), None)


def register(method: Method) -> None:
    """Register a method of this or another package, with its presets and plot titles."""
    METHODS[method.settings.name] = method
    TITLES.update(method.settings.watches)
    PRESETS.update(method.presets)

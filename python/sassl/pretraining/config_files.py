"""Settings files: YAML, TOML and JSON are read, YAML and JSON are written. The suffix determines the format."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: The suffixes of YAML and TOML; files with any other suffix are JSON.
_YAML, _TOML = (".yaml", ".yml"), (".toml",)
#: A subset of YAML 1.2's core schema. As in JSON, 1e-4 is a number; `off` is a string. PyYAML itself follows YAML 1.1.
_SCHEMA = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
}


def read(path: str | os.PathLike[str]) -> Any:
    """Read a settings file as nested dicts.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not in the format of its suffix, or a key occurs twice.
        ImportError: the package that reads the format is missing.
    """
    data, suffix = Path(path).read_bytes(), Path(path).suffix.lower()
    kind, parse = (
        ("YAML", _parse_yaml)
        if suffix in _YAML
        else ("TOML", _parse_toml)
        if suffix in _TOML
        else ("JSON", _parse_json)
    )
    try:
        return parse(data.decode())
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: is not {kind}: {error}") from None


def text(settings: dict[str, Any], suffix: str) -> str:
    """Serialize settings in the format of a suffix, such as ".yaml".

    Raises:
        ValueError: the format is TOML, which has no null.
        ImportError: the package that writes the format is missing.
    """
    if suffix.lower() in _TOML:
        raise ValueError(
            f"the suffix must be .yaml or .json, as TOML cannot express settings that are null, got {suffix}"
        )
    if suffix.lower() not in _YAML:
        return json.dumps(settings, indent=2) + "\n"
    dumper = _with_schema(_pyyaml().SafeDumper)
    dumper.ignore_aliases = lambda *_: True
    dumper.add_representer(list, _represent_list)
    written: str = _pyyaml().dump(settings, Dumper=dumper, sort_keys=False, allow_unicode=True, width=100)
    return written


def _parse_json(data: str) -> Any:
    return json.loads(data, object_pairs_hook=_once)


def _parse_toml(data: str) -> Any:
    try:
        import tomllib
    except ImportError:
        # Python 3.10.
        try:
            import tomli as tomllib  # type: ignore[no-redef]
        except ImportError:
            raise ImportError("TOML is read with tomli: install it, or the extra sassl[config]") from None
    return tomllib.loads(data)


def _parse_yaml(data: str) -> Any:
    yaml = _pyyaml()
    loader = _with_schema(yaml.SafeLoader)
    loader.add_constructor("tag:yaml.org,2002:map", _construct_map)
    try:
        return yaml.load(data, Loader=loader)
    except yaml.MarkedYAMLError as error:
        where = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ValueError(f"{where}{error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _pyyaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise ImportError("YAML is read and written with PyYAML: install pyyaml, or the extra sassl[config]") from None
    return yaml


def _with_schema(kind: Any) -> Any:
    """Derive a class from a PyYAML loader or dumper; the new class resolves values by `_SCHEMA`."""
    made = type(kind.__name__, (kind,), {"yaml_implicit_resolvers": {}})
    for tag, (pattern, first) in _SCHEMA.items():
        made.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})\Z"), first)  # type: ignore[attr-defined]
    return made


def _construct_map(loader: Any, node: Any) -> dict[Any, Any]:
    pairs = [
        (loader.construct_object(key, deep=True), loader.construct_object(one, deep=True)) for key, one in node.value
    ]
    return _once(pairs)


def _represent_list(dumper: Any, items: list[Any]) -> Any:
    """Write a list on one line, unless it contains non-empty lists or dicts."""
    flow = not any(isinstance(one, (dict, list)) and one for one in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


def _once(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} is given twice")
        found[name] = value
    return found

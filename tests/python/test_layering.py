"""The order of `python/sassl/`: who may import whom, that no imports form a circle, and that files stay readable.

Every import counts: at the top of a module, within a function, and under `if TYPE_CHECKING`. A name that a package hands on
counts as an import of the module that defines it, and of the package, whose `__init__` runs. Packages that a module itself
lies in do not count. Neither does the root, `sassl/__init__.py`, which imports what it hands on only when it is asked for it.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "python" / "sassl"
CORE = "sassl._sassl"

#: A module or package may import those named beside it, and nothing else of sassl.
MAY_USE = {
    "_sassl": set(),
    "reference": set(),
    "arguments": set(),
    "terminal": set(),
    "progress": {"terminal"},
    "images": {"_sassl"},
    "image_files": {"images", "_sassl"},
    "styles": {"image_files", "arguments"},
    "bank": {"image_files", "images", "terminal", "arguments", "_sassl"},
    "cuda": {"_sassl"},
    "figure": {"_sassl"},
    "transforms": {"bank", "cuda", "image_files", "images", "arguments", "_sassl"},
    "grids": {"transforms", "image_files", "images", "arguments", "_sassl"},
    "data": {"transforms", "images", "arguments", "_sassl"},
    "distributed": {"data"},
    "evaluation": {"distributed", "data", "transforms", "figure", "images", "progress", "arguments", "_sassl"},
    "pretraining": {
        "evaluation",
        "distributed",
        "data",
        "transforms",
        "figure",
        "grids",
        "progress",
        "terminal",
        "arguments",
        "_sassl",
    },
    "models": {"pretraining", "evaluation", "transforms", "terminal", "arguments", "_sassl"},
    "demo": {"transforms", "grids", "image_files", "images", "_sassl"},
    "notebook": {"demo", "transforms", "bank", "grids", "images", "arguments", "_sassl"},
    "__init__": {"notebook", "models", "pretraining", "evaluation", "data", "transforms", "bank", "styles", "_sassl"},
    "cli": {
        "__init__",
        "demo",
        "notebook",
        "models",
        "pretraining",
        "evaluation",
        "distributed",
        "data",
        "transforms",
        "cuda",
        "figure",
        "bank",
        "styles",
        "grids",
        "image_files",
        "images",
        "terminal",
        "_sassl",
    },
    "__main__": {"cli"},
}
#: Packages that import by name what they declare under `if TYPE_CHECKING`: in `__getattr__`, or each of their own files.
LAZY = {"sassl", "sassl.cli", "sassl.transforms", "sassl.pretraining.methods", "sassl.pretraining.torch.methods"}

Edges = dict[str, set[str]]


def sources() -> dict[str, str]:
    """Each module with its text; a package by its own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


class Imports:
    """What each of these modules imports of the others."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._trees = {name: ast.parse(text) for name, text in texts.items()}
        self._packages = {name for name in texts if any(other.startswith(f"{name}.") for other in texts)}
        self._names = {*texts, CORE}
        self.edges: Edges = {name: self._of(name) for name in texts}

    def _of(self, module: str) -> set[str]:
        found: set[str] = set()
        for node in ast.walk(self._trees[module]):
            if isinstance(node, ast.Import):
                own = [alias.name for alias in node.names if alias.name.split(".")[0] == "sassl"]
                assert "sassl" not in own, f"{module}: `import sassl` does not tell what is used; name the module"
                for name in own:
                    found |= {name, *self._run(module, name)}
            elif isinstance(node, ast.ImportFrom) and (base := self._base(module, node)):
                found |= self._run(module, base)
                for alias in node.names:
                    found |= self._defined(base, alias.name)
        return found - {module}

    def _base(self, module: str, node: ast.ImportFrom) -> str | None:
        """The absolute name of what `from ... import` names; None where that is not ours."""
        if node.level == 0:
            return node.module if (node.module or "").split(".")[0] == "sassl" else None
        above = module.split(".") if module in self._packages else module.split(".")[:-1]
        above = above[: len(above) - node.level + 1]
        return ".".join([*above, *([node.module] if node.module else [])])

    def _run(self, module: str, name: str) -> set[str]:
        """The packages whose `__init__` runs when a module imports this one."""
        parts = name.split(".")
        packages = {".".join(parts[:n]) for n in range(2, len(parts) + 1)} & self._packages
        return {package for package in packages if not f"{module}.".startswith(f"{package}.")}

    def _defined(self, base: str, name: str) -> set[str]:
        """The module that defines a name of `base`, and those on the way to it that are no packages."""
        if f"{base}.{name}" in self._names:
            return {f"{base}.{name}"}
        assert base in self._names, f"{base}: no such module"
        assert name != "*", f"{base}: `import *` does not tell what is used"
        for node in ast.walk(self._trees[base]) if base != CORE else ():
            if isinstance(node, ast.ImportFrom) and (further := self._base(base, node)):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return self._defined(further, alias.name) | ({base} - self._packages)
        return {base}


def circles(edges: Edges) -> list[list[str]]:
    """Sets of modules each of which reaches all of the others."""
    reached: Edges = {}
    for start in edges:
        found: set[str] = set()
        ahead = [start]
        while ahead:
            new = edges.get(ahead.pop(), set()) - found
            found |= new
            ahead += new
        reached[start] = found
    together = {tuple(sorted(b for b in reached[a] if a in reached.get(b, ()))) for a in edges if a in reached[a]}
    return [list(circle) for circle in sorted(together)]


def room(module: str) -> str:
    """A module's row in `MAY_USE`."""
    return module.split(".")[1] if "." in module else "__init__"


def test_no_imports_form_a_circle():
    assert circles(Imports(sources()).edges) == []


def test_imports_point_downwards():
    # The table itself has an order: a row names only rows above it.
    for i, (name, used) in enumerate(MAY_USE.items()):
        assert used <= set(list(MAY_USE)[:i]), name
    edges = Imports(sources()).edges
    assert {room(module) for module in edges} | {"_sassl"} == set(MAY_USE)
    used: Edges = {name: set() for name in MAY_USE}
    for module, targets in edges.items():
        used[room(module)] |= {room(target) for target in targets} - {room(module)}
    assert used == MAY_USE


def test_only_lazy_packages_import_by_name():
    for module, text in sources().items():
        for node in ast.walk(ast.parse(text)):
            name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            if name in ("import_module", "__import__") and module not in LAZY:
                (what,) = node.args
                assert isinstance(what, ast.Constant), f"{module}: {ast.unparse(node)}"
                assert not what.value.startswith((".", "sassl")), f"{module}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "back",
    [
        "from .upper import thing",
        "from sassl.upper import thing",
        "import sassl.upper",
        "def f():\n    from . import upper",
        "if TYPE_CHECKING:\n    from .upper import thing",
        # By way of the root, and of a package or a module that hands it on.
        "from . import handed",
        "from .package import handed",
        "import sassl.package.other",
        "from .package import other",
        "from .package.other import handed",
    ],
)
def test_a_circle_is_found_however_it_is_closed(back):
    package = {"sassl.package": "from .other import handed", "sassl.package.other": "from ..upper import handed"}
    rest = {"sassl": "from .package import handed", "sassl.upper": "from .lower import below\nhanded = thing = 1"}
    assert circles(Imports({**rest, **package, "sassl.lower": "below = 1"}).edges) == []
    (found,) = circles(Imports({**rest, **package, "sassl.lower": back}).edges)
    assert {"sassl.lower", "sassl.upper"} <= set(found)


def test_modules_of_a_package_do_not_import_it():
    texts = {"sassl": "", "sassl.package": "from .a import x\ny = 1", "sassl.package.a": "from . import b\nx = 1"}
    assert circles(Imports({**texts, "sassl.package.b": ""}).edges) == []
    assert circles(Imports({**texts, "sassl.package.b": "from . import y"}).edges) == [
        ["sassl.package", "sassl.package.a", "sassl.package.b"]
    ]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_says_what_it_is_and_can_be_read_at_a_sitting(path: Path):
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no docstring"
    assert len(text.splitlines()) <= 400
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            assert lines <= 60, f"{node.name} has {lines} lines beside its docstring"

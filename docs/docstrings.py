"""Prepares the package for the manual's API pages.

Each parameter and exception has an entry of its own, classes with `__new__` have a signature, `#:` comments are docstrings, and
fields without a docstring are left to the signature and the docstring of their class. Long values are not shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe

SECTION = re.compile(r"^(?:Args|Attributes|Raises):\n(?:(?: .*)?\n)*(?: .*)?", re.MULTILINE)
#: An entry for several names: "    alpha, beta: ranges." and the lines that continue it.
GROUP = re.compile(r"^ {4}(\w+(?:, \w+)+)(:.*(?:\n {5,}.*)*)", re.MULTILINE)
LONGEST_VALUE = 240


def separated(docstring: str) -> str:
    """The docstring with an entry for each name, so that each is shown with its type and default."""

    def entries(group: re.Match[str]) -> str:
        return "\n".join(f"    {name}{group[2]}" for name in group[1].split(", "))

    return SECTION.sub(lambda section: GROUP.sub(entries, section[0]), docstring)


def comment(item: griffe.Object) -> str:
    """The lines above an attribute that begin with `#:`."""
    lines: list[str] = []
    if isinstance(item.filepath, Path) and item.filepath.suffix == ".py" and item.lineno:
        above = item.filepath.read_text(encoding="utf-8").splitlines()[: item.lineno - 1]
        while above and above[-1].lstrip().startswith("#:"):
            lines.insert(0, above.pop().lstrip()[2:].strip())
    return "\n".join(lines)


class Docstrings(griffe.Extension):
    """Changes what griffe has read of a package, before pages are made of it."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        # Dataclasses first: their signatures are built from the fields.
        griffe.DataclassesExtension().on_package(pkg=pkg)
        self.prepare(pkg)

    def prepare(self, item: griffe.Object) -> None:
        """Prepares an object and its members."""
        if item.is_attribute and not item.docstring and (text := comment(item)):
            item.docstring = griffe.Docstring(text, parent=item)
        if isinstance(item, griffe.Attribute) and len(str(item.value)) > LONGEST_VALUE:
            item.value = None
        if item.docstring:
            item.docstring.value = separated(item.docstring.value)
        members = [member for member in item.members.values() if isinstance(member, griffe.Object)]
        for member in members:
            self.prepare(member)
        if isinstance(item, griffe.Class):
            self.sign(item)
            for member in members:
                if "__init__" in item.members and member.is_attribute and not member.docstring:
                    item.del_member(member.name)

    def sign(self, item: griffe.Class) -> None:
        """The signature of `__new__` becomes that of the class."""
        constructor = item.members.get("__new__")
        if isinstance(constructor, griffe.Function) and "__init__" not in item.members:
            constructor.name, constructor.returns = "__init__", None
            item.set_member("__init__", constructor)
            item.del_member("__new__")

"""Prepares the package for the manual's API pages: an entry for each parameter, and signatures of classes with `__new__`."""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"^(?:Args|Attributes):\n(?:(?: .*)?\n)*(?: .*)?", re.MULTILINE)
#: An entry for several names: "    alpha, beta: ranges." and the lines that continue it.
GROUP = re.compile(r"^ {4}(\w+(?:, \w+)+)(:.*(?:\n {5,}.*)*)", re.MULTILINE)


def separated(docstring: str) -> str:
    """The docstring with an entry for each name, so that each is shown with its type and default."""

    def entries(group: re.Match[str]) -> str:
        return "\n".join(f"    {name}{group[2]}" for name in group[1].split(", "))

    return SECTION.sub(lambda section: GROUP.sub(entries, section[0]), docstring)


class Docstrings(griffe.Extension):
    """Changes what griffe has read of a package, before pages are made of it."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        self.prepare(pkg)

    def prepare(self, item: griffe.Object) -> None:
        """Prepares an object and its members."""
        if item.docstring:
            item.docstring.value = separated(item.docstring.value)
        if item.is_class and "__new__" in item.members and "__init__" not in item.members:
            constructor = item.members["__new__"]
            if isinstance(constructor, griffe.Function):
                constructor.name, constructor.returns = "__init__", None
                item.set_member("__init__", constructor)
                item.del_member("__new__")
        for member in list(item.members.values()):
            if isinstance(member, griffe.Object):
                self.prepare(member)

"""What a reader gives: the files of a split with their classes; and checks that all readers share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..._sassl import list_images


class Want(NamedTuple):
    """What is asked of a reader."""

    #: "train", "val" or "test".
    split: str
    #: The name of a way to split the set.
    school: str
    #: Of what is drawn.
    seed: int = 0


class Listing(NamedTuple):
    """Images of a split, by name, with the numbers of their classes."""

    folder: Path
    #: Paths below the folder, with forward slashes; or what `image` takes.
    names: list[str]
    targets: list[int]
    classes: list[str]
    #: Gives an image by its name, where images are no files of their own.
    image: Callable[[str], Any] | None = None
    #: In what the set is not the published one.
    notes: tuple[str, ...] = ()

    def take(self, rows: Iterable[int]) -> Listing:
        """The images of these numbers."""
        rows = list(rows)
        return self._replace(names=[self.names[i] for i in rows], targets=[self.targets[i] for i in rows])


Reader = Callable[[Path, Want], Listing]


def files_below(folder: Path) -> list[str]:
    """Images below a folder, sorted, as paths from it on with forward slashes; hidden files are left out.

    Raises:
        OSError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    start = len(os.path.join(os.fspath(folder), ""))
    # By parts of the path, as on any system; "a b/1" comes after "a/1".
    return sorted((path[start:].replace(os.sep, "/") for path in list_images(folder)[0]), key=lambda x: x.split("/"))


def class_names(folder: Path) -> list[str]:
    """The folders of classes, hidden ones left out, in the order of their names.

    Raises:
        OSError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    found = (entry.name for entry in os.scandir(folder) if entry.is_dir())
    return sorted(name for name in found if not name.startswith(".") and name != "__MACOSX")


def class_folders(folder: Path, classes: Sequence[str] | None = None) -> Listing:
    """`folder/<class>/.../image`, classes in the order of their names.

    Args:
        folder: holds a folder for each class.
        classes: those that there may be, in the order of their numbers; None: all folders.

    Raises:
        ValueError: images beside the folders of classes; a class that is not among those.
    """
    names = files_below(folder)
    own = [name.partition("/")[0] for name in names]
    for name, first in zip(names, own, strict=True):
        if name == first:
            raise ValueError(f"{folder}: {name} lies in no folder of a class; sort the images into folders of classes")
    found = class_names(folder) if classes is None else list(classes)
    return Listing(folder, names, numbers(folder, own, found), found)


def numbers(place: Path, labels: Iterable[str], classes: Sequence[str]) -> list[int]:
    """The number of each label among the classes.

    Raises:
        ValueError: a label that is none of them.
    """
    known = {name: number for number, name in enumerate(classes)}
    try:
        return [known[label] for label in labels]
    except KeyError as error:
        raise ValueError(
            f"{place}: class {error.args[0]!r} is none of the set's {len(known)} classes; it is of another version"
        ) from None


def apart(place: Path, parts: Mapping[str, Iterable[str]], what: str = "image") -> None:
    """Whether nothing is in two lists, or in one of them twice.

    Raises:
        ValueError: something is.
    """
    known: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if name in known:
                where = f"twice in {part}" if known[name] == part else f"in {known[name]} and in {part}"
                raise ValueError(f"{place}: {what} {name} is {where}; they are of different versions, or damaged")
            known[name] = part


def checked_files(place: Path, names: Sequence[str], folder: Path, there: Iterable[str]) -> None:
    """Whether the files that a list names are there.

    Raises:
        ValueError: some are not.
    """
    known = set(there)
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"{place}: {len(missing)} of the {len(names)} images that it names are not in {folder}, the first is "
            f"{missing[0]}; images are missing, or the list is of another version"
        )


def text_lines(path: Path) -> list[str]:
    """The lines of a list that are not empty.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, or there is no line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such list")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: no text; it is damaged") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ValueError(f"{path}: the list is empty")
    return found

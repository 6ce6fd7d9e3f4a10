"""Arguments and results of readers, and functions that readers share.

A reader lists the images of a split with their classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..._sassl import list_images


class Want(NamedTuple):
    """A request to a reader, for a split of a set."""

    #: "train", "val" or "test".
    split: str
    #: The name of the school: the way to split the set.
    school: str
    #: Seed of the random draws.
    seed: int = 0


class Listing(NamedTuple):
    """Images of a split, by name, with their class indices."""

    folder: Path
    #: Paths relative to the folder, with forward slashes; or, if images are not separate files, the arguments of `image`.
    names: list[str]
    targets: list[int]
    classes: list[str]
    #: A function that returns an image by its name, if images are not separate files.
    image: Callable[[str], Any] | None = None
    #: Differences from the published set, in words.
    notes: tuple[str, ...] = ()

    def take(self, rows: Iterable[int]) -> Listing:
        """Return a listing of the images with these indices."""
        rows = list(rows)
        return self._replace(names=[self.names[i] for i in rows], targets=[self.targets[i] for i in rows])


Reader = Callable[[Path, Want], Listing]


def files_below(folder: Path) -> list[str]:
    """Return the sorted relative paths of the images below a folder, with forward slashes. Hidden files are left out.

    Raises:
        OSError: the folder does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    start = len(os.path.join(os.fspath(folder), ""))
    # Sorted by path components, so that the order is the same on any system: "a b/1" follows "a/1".
    return sorted((path[start:].replace(os.sep, "/") for path in list_images(folder)[0]), key=lambda x: x.split("/"))


def class_names(folder: Path) -> list[str]:
    """Return the sorted names of class folders, without hidden folders.

    Raises:
        OSError: the folder does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    found = (entry.name for entry in os.scandir(folder) if entry.is_dir())
    return sorted(name for name in found if not name.startswith(".") and name != "__MACOSX")


def class_folders(folder: Path, classes: Sequence[str] | None = None) -> Listing:
    """List `folder/<class>/.../image`, with classes sorted by name.

    Args:
        folder: a folder with a subfolder for each class.
        classes: names of the allowed classes, by index; None: all folders are classes.

    Raises:
        ValueError: images next to the class folders; a class that is not allowed.
    """
    names = files_below(folder)
    own = [name.partition("/")[0] for name in names]
    for name, first in zip(names, own, strict=True):
        if name == first:
            raise ValueError(f"{folder}: {name} is in no class folder; sort the images into class folders")
    found = class_names(folder) if classes is None else list(classes)
    return Listing(folder, names, numbers(folder, own, found), found)


def numbers(place: Path, labels: Iterable[str], classes: Sequence[str]) -> list[int]:
    """Return the index of each label in `classes`; error messages start with `place`.

    Raises:
        ValueError: an unknown label.
    """
    known = {name: number for number, name in enumerate(classes)}
    try:
        return [known[label] for label in labels]
    except KeyError as error:
        raise ValueError(
            f"{place}: class {error.args[0]!r} is not one of the set's {len(known)} classes; it is of another version"
        ) from None


def apart(place: Path, parts: Mapping[str, Iterable[str]], what: str = "image") -> None:
    """Check that no name occurs twice in the lists `parts`, in one list or in two; error messages start with `place`.

    Raises:
        ValueError: a name is repeated.
    """
    known: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if name in known:
                where = f"twice in {part}" if known[name] == part else f"in {known[name]} and in {part}"
                raise ValueError(f"{place}: {what} {name} is {where}; they are of different versions, or damaged")
            known[name] = part


def checked_files(place: Path, names: Sequence[str], folder: Path, there: Iterable[str]) -> None:
    """Check that the files `names`, as listed in `place`, are all among the files `there` of the folder.

    Raises:
        ValueError: files are missing.
    """
    known = set(there)
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"{place}: {len(missing)} of the {len(names)} images that it names are not in {folder}, the first is "
            f"{missing[0]}; images are missing, or the list is of another version"
        )


def text_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a text file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not text, or is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such list")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text; it is damaged") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ValueError(f"{path}: the list is empty")
    return found

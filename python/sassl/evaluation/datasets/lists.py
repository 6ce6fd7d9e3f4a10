"""Sets with published lists of their splits: DTD, Food-101, SUN397.

A "school" is one of the published ways to split a set.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

from .draws import held_out
from .listing import Listing, Want, apart, checked_files, files_below, numbers, text_lines

_DTD = ("train", "val", "test")


def dtd(folder: Path, want: Want) -> Listing:
    """List `images/<class>/*.jpg`, split by `labels/{train,val,test}{1..10}.txt`; the schools are "fold1" to "fold10"."""
    fold = want.school.removeprefix("fold")
    lists = {split: folder / "labels" / f"{split}{fold}.txt" for split in _DTD}
    names = {split: text_lines(path) for split, path in lists.items()}
    apart(folder / "labels", {lists[split].name: names[split] for split in _DTD})
    there = files_below(folder / "images")
    for split in _DTD:
        checked_files(lists[split], names[split], folder / "images", there)
    classes = sorted({name.partition("/")[0] for name in there})
    return _sorted(folder / "images", names[want.split], classes)


def food(folder: Path, want: Want) -> Listing:
    """List `images/<class>/*.jpg`, split by `meta/{train,test}.json`.

    Val is a tenth of train, or a fifth in the school "ssl-transfer".
    """
    lists = {split: folder / "meta" / f"{split}.json" for split in ("train", "test")}
    known = {split: _classes_to_names(path) for split, path in lists.items()}
    names = {split: [f"{name}.jpg" for own in found.values() for name in own] for split, found in known.items()}
    apart(folder / "meta", {lists[split].name: names[split] for split in names})
    there = files_below(folder / "images")
    for split, path in lists.items():
        checked_files(path, names[split], folder / "images", there)
    if set(known["train"]) != set(known["test"]):
        (name, *_) = sorted(set(known["train"]) ^ set(known["test"]))
        raise ValueError(
            f"{folder / 'meta'}: class {name} is in only one of train.json and test.json; they do not match"
        )
    classes = sorted(known["train"])
    if want.split == "test":
        return _sorted(folder / "images", names["test"], classes)
    share = Fraction(1, 5) if want.school == "ssl-transfer" else Fraction(1, 10)
    return held_out(_sorted(folder / "images", names["train"], classes), want.split, share, want.seed)


def _classes_to_names(path: Path) -> dict[str, list[str]]:
    """Return the contents of a list of Food-101: for each class, the names of its images.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file has other contents.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such list")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); it is damaged") from None
    fits = isinstance(found, dict) and all(isinstance(own, list) for own in found.values())
    if not fits or not all(isinstance(name, str) and name.startswith(f"{c}/") for c in found for name in found[c]):
        raise ValueError(f"{path}: must hold classes with a list of names each, class/number; it is of another version")
    return found


def sun(folder: Path, want: Want) -> Listing:
    """List `<letter>/<class>[/<sub>]/sun_*.jpg`, split by `Training_01.txt` and so on. Schools are "fold1" to "fold10".

    The name of a class is the path after the letter, such as `church/outdoor`; classes are in the order of `ClassName.txt`. Val
    is a fifth of train.
    """
    fold = int(want.school.removeprefix("fold"))
    lists = {split: _partition(folder, f"{split}_{fold:02}.txt") for split in ("Training", "Testing")}
    names = {split: [line.lstrip("/") for line in text_lines(path)] for split, path in lists.items()}
    apart(folder, {lists[split].name: names[split] for split in names})
    there = files_below(folder)
    for split, path in lists.items():
        checked_files(path, names[split], folder, there)
    classes = [_behind_letter(line.strip("/")) for line in text_lines(folder / "ClassName.txt")]

    def listing(split: str) -> Listing:
        own = sorted(names[split])
        labels = (_behind_letter(name.rpartition("/")[0]) for name in own)
        return Listing(folder, own, numbers(lists[split], labels, classes), classes)

    if want.split == "test":
        return listing("Testing")
    return held_out(listing("Training"), want.split, Fraction(1, 5), want.seed)


def _partition(folder: Path, name: str) -> Path:
    """Return the path of a split list from the separate archive Partitions.zip.

    Raises:
        FileNotFoundError: the list is missing.
    """
    places = [folder / "Partitions" / name, folder / name, folder.parent / "Partitions" / name]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"{places[0]}: there is no such list; it is in Partitions.zip, beside SUN397's archive on its page"
    )


def _behind_letter(name: str) -> str:
    return name.partition("/")[2]


def _sorted(folder: Path, names: list[str], classes: list[str]) -> Listing:
    own = sorted(names)
    return Listing(folder, own, numbers(folder, (name.partition("/")[0] for name in own), classes), classes)

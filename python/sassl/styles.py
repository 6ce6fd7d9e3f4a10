"""The style images of Painter by Numbers, DTD and WikiArt where their archives were unpacked: lists of paths.

bank = sassl.StyleBank.from_images(sassl.styles.dtd("data", split="train"))
"""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

from . import image_files
from .arguments import whole

Root = str | os.PathLike[str]


def painter_by_numbers(root: Root, split: str | None = None) -> list[Path]:
    """The paintings of Kaggle's Painter by Numbers, 79,433 to train and 23,817 to test.

    Ten files of these archives are damaged, and replacements_for_corrupted_files.zip has others for them. They are taken
    from a folder of that name beside `train/` and `test/`, unless they were unpacked over the damaged ones.

    Args:
        root: the folder of `train/` and `test/`, or the one above `painter-by-numbers/`.
        split: "train", "test" or "train+test"; None: what is there of them.

    Raises:
        ValueError: another split.
        FileNotFoundError: no such folder, or no image in it.

    Source: https://www.kaggle.com/c/painter-by-numbers/data
    """
    parts = _parts(split, ("train", "test"))
    base = _base(root, ("painter-by-numbers", ""), parts, "Kaggle's train.zip and test.zip")
    images = []
    for part in parts:
        if split is not None or (base / part).is_dir():
            better = {path.name: path for path in (base / "replacements_for_corrupted_files" / part).glob("*.jpg")}
            images += [better.get(path.name, path) for path in image_files.find([base / part])]
    return images


def dtd(root: Root, split: str | None = None, partition: int = 1) -> list[Path]:
    """The Describable Textures Dataset (Cimpoi et al. 2014), 1,880 images in each split of each partition.

    Args:
        root: the folder of `images/` and `labels/`, or one above, such as the `root` of torchvision's `DTD`.
        split: "train", "val" or "test", or more than one, "train+val"; None: all. Where a backbone is evaluated on DTD too,
            "train" or "train+val" keep the images of its test out of the bank.
        partition: which of the ten, from 1 up.

    Raises:
        ValueError: another split or partition.
        FileNotFoundError: no such folder; an image that a split names is not there.

    Source: https://www.robots.ox.ac.uk/~vgg/data/dtd/
    """
    parts, partition = _parts(split, ("train", "val", "test")), whole("partition", partition, 1, 10)
    base = _base(root, ("dtd/dtd", "dtd", ""), ["labels"], "dtd-r1.0.1.tar.gz")
    return _listed([base / "labels" / f"{part}{partition}.txt" for part in parts], base / "images")


def wikiart(root: Root, split: str | None = None) -> list[Path]:
    """WikiArt as ArtGAN distributes it (Tan et al. 2019), 81,446 paintings in 27 styles.

    Args:
        root: the folder of `Baroque/` and other styles, or the one above `wikiart/`.
        split: "train", "val" or "train+val", as `style_train.csv` and `style_val.csv` of wikiart_csv.zip have them, which lie
            beside the styles or one above, or in a folder `wikiart_csv` there; None: all images, without these files. Names
            with accents are found however they were unpacked.

    Raises:
        ValueError: another split.
        FileNotFoundError: no such folder or file; an image that a split names is not there.

    Source: https://github.com/cs-chan/ArtGAN/tree/master/WikiArt%20Dataset
    """
    parts = _parts(split, ("train", "val"))
    base = _base(root, ("wikiart", ""), ["*/*_*.jpg"], "ArtGAN's wikiart.zip")
    if split is None:
        return image_files.find([base])
    names = [f"style_{part}.csv" for part in parts]
    places = ("", "wikiart_csv", "..", "../wikiart_csv")
    return _listed([_base(base, places, [name], "ArtGAN's wikiart_csv.zip") / name for name in names], base)


#: What `sassl bank --dataset` takes.
DATASETS = {"painter-by-numbers": painter_by_numbers, "dtd": dtd, "wikiart": wikiart}


def _parts(split: str | None, known: tuple[str, ...]) -> list[str]:
    """The splits that an argument means."""
    parts = list(known) if split is None else split.split("+")
    if not set(parts) <= set(known) or len(parts) != len(set(parts)):
        every = ", ".join(f'"{name}"' for name in known)
        several = "+".join(known[:2])
        raise ValueError(f'split = {split!r}: there are {every}, several as in "{several}", and None for all')
    return parts


def _base(root: Root, places: tuple[str, ...], patterns: list[str], archive: str) -> Path:
    """The first of these places below a root that has something of one of these patterns."""
    bases = [Path(root, place) for place in places]
    for base in bases:
        if any(next(base.glob(pattern), None) for pattern in patterns):
            return base
    where = " or ".join(map(str, bases))
    raise FileNotFoundError(
        f"{root}: no {' or '.join(patterns)} in {where}; unpack {archive} there, or name its folder"
    )


def _listed(lists: list[Path], folder: Path) -> list[Path]:
    """The images below a folder that these files name, one a line and perhaps its class behind it."""
    found = {_spelling(path.relative_to(folder).as_posix()): path for path in image_files.find([folder], Counter())}
    images = []
    for file in lists:
        with open(file, encoding="utf-8-sig", errors="replace", newline="") as lines:
            names = [row[0] for row in csv.reader(lines) if row]
        missing = [name for name in names if _spelling(name) not in found]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise FileNotFoundError(
                f"{folder / missing[0]}{more}: named in {file}, and not there; unpack the archive again, or take the lines out"
            )
        images += [found[_spelling(name)] for name in names]
    return images


def _spelling(name: str) -> str:
    """One spelling of a name: macOS takes accents apart, and unzip writes `#U00e9` where it knows no UTF-8."""
    return unicodedata.normalize("NFC", re.sub("#U([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), name))

"""Find the style images of Painter by Numbers, DTD and WikiArt in their unpacked archives.

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
    """Return the paths of the paintings of Kaggle's Painter by Numbers: 79,433 for training and 23,817 for test.

    Ten files in Kaggle's archives are damaged; replacements_for_corrupted_files.zip contains replacements. Unpack the
    replacements over the damaged files, or into a folder `replacements_for_corrupted_files/` beside `train/` and `test/`.

    Args:
        root: the folder that contains `train/` and `test/`; or its parent, if the folder is called `painter-by-numbers`.
        split: "train", "test" or "train+test"; None: every split whose folder exists.

    Raises:
        ValueError: an unknown split.
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
    """Return the paths of the Describable Textures Dataset (Cimpoi et al. 2014): 1,880 images in each split of a partition.

    Args:
        root: the folder that contains `images/` and `labels/`; or a folder that contains it as `dtd/` or `dtd/dtd/`, such as
            the `root` of torchvision's `DTD`.
        split: "train", "val" or "test", or several, such as "train+val"; None: all. If a backbone is also evaluated on DTD,
            use "train" or "train+val" to keep the test images out of the bank.
        partition: one of the ten partitions, 1 to 10.

    Raises:
        ValueError: an unknown split or partition.
        FileNotFoundError: no such folder; an image of the split is missing.

    Source: https://www.robots.ox.ac.uk/~vgg/data/dtd/
    """
    parts, partition = _parts(split, ("train", "val", "test")), whole("partition", partition, 1, 10)
    base = _base(root, ("dtd/dtd", "dtd", ""), ["labels"], "dtd-r1.0.1.tar.gz")
    return _listed([base / "labels" / f"{part}{partition}.txt" for part in parts], base / "images")


def wikiart(root: Root, split: str | None = None) -> list[Path]:
    """Return the paths of WikiArt as ArtGAN distributes it (Tan et al. 2019): 81,446 paintings in 27 styles.

    Args:
        root: the folder that contains `Baroque/` and the other styles; or its parent, if the folder is called `wikiart`.
        split: "train", "val" or "train+val", as listed by `style_train.csv` and `style_val.csv` of wikiart_csv.zip. The CSV
            files may be in the folder that contains `Baroque/`, in its parent, or in a subfolder `wikiart_csv` of either. None:
            all images; the CSV files are not needed. Names with accents are matched whatever program unpacked the archive.

    Raises:
        ValueError: an unknown split.
        FileNotFoundError: no such folder or file; an image of the split is missing.

    Source: https://github.com/cs-chan/ArtGAN/tree/master/WikiArt%20Dataset
    """
    parts = _parts(split, ("train", "val"))
    base = _base(root, ("wikiart", ""), ["*/*_*.jpg"], "ArtGAN's wikiart.zip")
    if split is None:
        return image_files.find([base])
    names = [f"style_{part}.csv" for part in parts]
    places = ("", "wikiart_csv", "..", "../wikiart_csv")
    return _listed([_base(base, places, [name], "ArtGAN's wikiart_csv.zip") / name for name in names], base)


#: The choices of `sassl bank --dataset`.
DATASETS = {"painter-by-numbers": painter_by_numbers, "dtd": dtd, "wikiart": wikiart}


def _parts(split: str | None, known: tuple[str, ...]) -> list[str]:
    """Return the parts of an argument `split`, such as "train+val"; for None, return all of `known`."""
    parts = list(known) if split is None else split.split("+")
    if not set(parts) <= set(known) or len(parts) != len(set(parts)):
        every = ", ".join(f'"{name}"' for name in known)
        several = "+".join(known[:2])
        raise ValueError(f'split must be {every}, several as in "{several}", or None for all, got {split!r}')
    return parts


def _base(root: Root, places: tuple[str, ...], patterns: list[str], archive: str) -> Path:
    """Return the first folder of `places` in `root` that contains a file or folder matching one of `patterns`."""
    bases = [Path(root, place) for place in places]
    for base in bases:
        if any(next(base.glob(pattern), None) for pattern in patterns):
            return base
    where = " or ".join(map(str, bases))
    raise FileNotFoundError(
        f"{root}: no {' or '.join(patterns)} in {where}; unpack {archive} there, or pass its folder"
    )


def _listed(lists: list[Path], folder: Path) -> list[Path]:
    """Return the images below a folder that are named in text files.

    Each line of the files `lists` names one image, optionally followed by a comma and a class.
    """
    found = {_spelling(path.relative_to(folder).as_posix()): path for path in image_files.find([folder], Counter())}
    images = []
    for file in lists:
        with open(file, encoding="utf-8-sig", errors="replace", newline="") as lines:
            names = [row[0] for row in csv.reader(lines) if row]
        missing = [name for name in names if _spelling(name) not in found]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise FileNotFoundError(
                f"{folder / missing[0]}{more}: named in {file}, but missing; unpack the archive again, or remove the lines"
            )
        images += [found[_spelling(name)] for name in names]
    return images


def _spelling(name: str) -> str:
    """Normalize a name: macOS decomposes accents, and unzip without UTF-8 writes `#U00e9`."""
    return unicodedata.normalize("NFC", re.sub("#U([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), name))

"""CIFAR and STL-10: files of fixed-size records, one per image."""

from __future__ import annotations

import os
from pathlib import Path

from .._sassl import Source
from ..arguments import flag
from .base import File, Images


class CIFAR(Images):
    """CIFAR-10 or CIFAR-100, unpacked from the authors' archives (https://www.cs.toronto.edu/~kriz/cifar.html).

    Args:
        root: the folder of the binary version (`data_batch_1.bin` ... `test_batch.bin`; for CIFAR-100, `train.bin` and
            `test.bin`), or of the Python version (`data_batch_1` ...; `train` and `test`). Only images and classes are
            read from pickles of the Python version; no code in the pickles is executed. CIFAR-100 has its 100 fine classes.
        train: True: the training set; False: the test set.

    Raises:
        FileNotFoundError: no such file in the folder.
        ValueError: a file that is damaged or of another format.
    """

    def __init__(self, root: File, train: bool = True) -> None:
        folder, train = Path(os.fsdecode(root)), flag("train", train)
        ten = [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]
        hundred = ["train" if train else "test"]
        for layout, names in (("cifar10", ten), ("cifar100", hundred)):
            binary = [folder / f"{name}.bin" for name in names]
            if binary[0].exists():
                self.core = Source.records(layout, list(binary))
                return
            if (folder / names[0]).is_file():
                self.core = Source.pickles(layout, [folder / name for name in names])
                return
        raise FileNotFoundError(f"{folder}: neither {ten[0]}[.bin] (CIFAR-10) nor {hundred[0]}[.bin] (CIFAR-100)")


class STL10(Images):
    """STL-10, unpacked from the authors' binary archive (https://cs.stanford.edu/~acoates/stl10/).

    Args:
        root: the folder of `unlabeled_X.bin`, `train_X.bin`, `train_y.bin` and so on.
        split: "unlabeled", "train", "test", or "train+unlabeled". Classes are 0 to 9, and -1 for unlabeled images.

    Raises:
        OSError: a missing file.
        ValueError: an unknown split; a damaged file.
    """

    def __init__(self, root: File, split: str = "unlabeled") -> None:
        folder, splits = Path(os.fsdecode(root)), split.split("+")
        if not set(splits) <= {"unlabeled", "train", "test"}:
            raise ValueError(f'split must be "unlabeled", "train", "test" or "train+unlabeled", got {split!r}')
        files = [folder / f"{name}_X.bin" for name in splits]
        targets: list[int] = []
        for name, file in zip(splits, files, strict=True):
            count = file.stat().st_size // (3 * 96 * 96)
            labels = folder / f"{name}_y.bin"
            known = labels.read_bytes() if name != "unlabeled" else b"\0" * count
            if len(known) != count:
                raise ValueError(f"{labels}: {len(known)} classes for {count} images; the file is damaged")
            if name != "unlabeled" and known and not 1 <= min(known) <= max(known) <= 10:
                raise ValueError(
                    f"{labels}: classes must be from 1 to 10, got {min(known)} to {max(known)}; the file is damaged"
                )
            targets += [label - 1 for label in known]
        self.core = Source.records("stl10", list(files), targets)

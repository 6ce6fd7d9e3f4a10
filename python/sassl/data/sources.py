"""Where a loader's images come from: folders, lists, arrays, CIFAR, STL-10, WebDataset's shards, datasets of others."""

from __future__ import annotations

import glob
import itertools
import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._sassl import Source
from ..arguments import choice, flag, whole
from ..images import pixels

if TYPE_CHECKING:
    from typing_extensions import Self

#: Keys of a class in a dataset's dicts.
_TARGETS = ("label", "fine_label", "labels", "cls")

File = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Images:
    """Images by number, each with a class: what the sources of this module share.

    `len(images)`, `images[i]` -> ((H, W, 3) uint8, class), `images.name(i)`, `images.classes`. They pickle as their
    arguments, and are listed anew where they are loaded. Names that are no Unicode are as `os.fsdecode` gives them.
    """

    core: Source
    #: Names of the classes, in the order of their numbers; None where they have none.
    classes: list[str] | None = None
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        images = super().__new__(cls)
        images._arguments = arguments, named
        return images

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), *self._arguments)

    def __len__(self) -> int:
        return len(self.core)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index = {index}: there are {len(self)} images")
        return self.core.get(index % len(self))

    def name(self, index: int) -> str:
        """The path of an image, or its place in a file."""
        return self.core.name(index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images)"


class ImageFolder(Images):
    """`root/<class>/**/image.jpg`, as torchvision's `ImageFolder`; or images in `root` itself, of one class.

    Args:
        root: the folder. Images are what torchvision's `IMG_EXTENSIONS` names: JPEG, PNG, WebP, BMP, TIFF, PPM and PGM files.
            Names that begin with a dot and `__MACOSX` are left out, and so are other files; `repr` gives their numbers.
        exif: whether images are turned upright, as their EXIF orientation says; False: as torchvision's `ImageFolder` does.

    Raises:
        OSError: it cannot be read.
        ValueError: no image; a class without one; images beside the folders of classes; classes that differ in case alone.
    """

    classes: list[str]

    def __init__(self, root: File, exif: bool = True) -> None:
        self.root = os.fsdecode(root)
        self.core = Source.folder(self.root, flag("exif", exif))
        self.classes = self.core.classes

    def __repr__(self) -> str:
        return f"ImageFolder({self.root!r}, {len(self)} images, {len(self.classes)} classes{_left_out(self.core)})"


class Files(Images):
    """A list of paths, or of the bytes of files.

    Args:
        files: JPEG, PNG, WebP, BMP, TIFF or PNM; bytes are what a file holds, or its path where there is such a file.
        targets: a class for each; None: 0 for all.
        exif: whether images are turned upright, as their EXIF orientation says; False: as torchvision's `ImageFolder` does.

    Raises:
        ValueError: not one class a file, or one that is no whole number.
        TypeError: neither paths nor bytes.
    """

    def __init__(self, files: Sequence[File], targets: Sequence[int] | None = None, exif: bool = True) -> None:
        if not isinstance(files, (list, tuple, np.ndarray)):
            raise TypeError(f"files: expected a list of paths or of bytes, got {type(files).__name__}")
        files = list(files)
        classes, exif = _targets(targets, len(files)), flag("exif", exif)
        contents = [isinstance(file, bytes) and not _exists(file) for file in files]
        if files and all(contents):
            self.core = Source.python(lambda i: (files[i], classes[i]), len(files), "files", exif)
            return
        for i, file in enumerate(files):
            if contents[i] or not isinstance(file, (str, bytes, os.PathLike)):
                raise TypeError(f"files[{i}]: expected a path, or bytes as all of them, got {type(file).__name__}")
        self.core = Source.files([os.fsdecode(file) for file in files], classes, exif)


class Arrays(Images):
    """Images of one size in an array; it is read as it is, not copied. A `numpy.memmap` pickles as its path.

    Args:
        images: (N, H, W, 3) uint8.
        targets: a class for each; None: 0 for all.

    Raises:
        TypeError: no array.
        ValueError: another shape or dtype; not one class an image, or one that is no whole number.
    """

    def __init__(self, images: NDArray[np.uint8], targets: Sequence[int] | None = None) -> None:
        if not isinstance(images, np.ndarray):
            raise TypeError(f"images: expected an array (N, H, W, 3) of uint8, got {type(images).__name__}")
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(f"images: expected (N, H, W, 3) uint8, got {images.shape} {images.dtype}")
        classes = _targets(targets, len(images))
        self._place, self._targets = _place(images), classes
        self.core = Source.python(lambda i: (images[i], classes[i]), len(images), "arrays")

    def __reduce__(self) -> tuple[Any, ...]:
        return super().__reduce__() if self._place is None else (_mapped, (type(self), self._place, self._targets))


class CIFAR(Images):
    """CIFAR-10 or CIFAR-100, as their authors distribute them (https://www.cs.toronto.edu/~kriz/cifar.html), unpacked.

    Args:
        root: the folder of `data_batch_1.bin` ... `test_batch.bin` or, for CIFAR-100, `train.bin` and `test.bin`; or of the
            Python version's `data_batch_1` ... or `train` and `test`, of which only images and classes are read: nothing that
            they name is called. Classes of CIFAR-100 are the fine ones.
        train: the training set, or else the test set.

    Raises:
        FileNotFoundError: no such file in the folder.
        ValueError: a file that is damaged, or holds something else.
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
    """STL-10, its binary files (https://cs.stanford.edu/~acoates/stl10/), unpacked.

    Args:
        root: the folder of `unlabeled_X.bin`, `train_X.bin`, `train_y.bin` and so on.
        split: "unlabeled", "train", "test", or "train+unlabeled". Classes count from 0; those of unlabeled images are -1.

    Raises:
        OSError: a file is missing.
        ValueError: another split; a file that is damaged.
    """

    def __init__(self, root: File, split: str = "unlabeled") -> None:
        folder, splits = Path(os.fsdecode(root)), split.split("+")
        if not set(splits) <= {"unlabeled", "train", "test"}:
            raise ValueError(f'split = {split!r}: there are "unlabeled", "train", "test" and "train+unlabeled"')
        files = [folder / f"{name}_X.bin" for name in splits]
        targets: list[int] = []
        for name, file in zip(splits, files, strict=True):
            count = file.stat().st_size // (3 * 96 * 96)
            labels = folder / f"{name}_y.bin"
            known = labels.read_bytes() if name != "unlabeled" else b"\0" * count
            if len(known) != count:
                raise ValueError(f"{labels}: {len(known)} classes for {count} images; it is damaged")
            if name != "unlabeled" and known and not 1 <= min(known) <= max(known) <= 10:
                raise ValueError(
                    f"{labels}: classes from {min(known)} to {max(known)}, and not from 1 to 10; it is damaged"
                )
            targets += [label - 1 for label in known]
        self.core = Source.records("stl10", list(files), targets)


class WebDataset(Images):
    """Shards of WebDataset: tar files in which `<key>.jpg` (png, webp) and `<key>.cls` stand side by side.

    They are listed once, so that an epoch is shuffled as a whole and any image can be read at any time. As in the package
    webdataset, a key is what stands before the first dot of a file's name: `a.v2.jpg` is no image, but the file `v2.jpg` of the
    sample `a`. Such files are left out, and so are those of samples without an image, hidden ones and `__MACOSX`; `repr` gives
    their numbers. A class is the whole number in a `.cls`, and 0 for all where there is none: `.json` is not read.

    Args:
        shards: paths, or a pattern such as "train-*.tar" or "train-{000..012}.tar"; what exists by its own name is none.
        on_error: "raise", or "report": of a damaged shard, take what can be read, be it nothing; `damaged` tells.
        exif: whether images are turned upright, as their EXIF orientation says; False: as torchvision's `ImageFolder` does.

    Raises:
        OSError: a shard is missing or cannot be read.
        TypeError: no paths.
        ValueError: a shard that is damaged, compressed or without an image; a class that is no whole number or stands beside no
            image; two images of one key; images with a class beside others without.
    """

    def __init__(self, shards: File | Sequence[File], on_error: str = "raise", exif: bool = True) -> None:
        choice("on_error", on_error, ("raise", "report"))
        if isinstance(shards, (str, bytes, os.PathLike)):
            found = _matching(os.fsdecode(shards))
        else:
            if not isinstance(shards, (list, tuple)) or not shards:
                raise TypeError(f"shards = {shards!r}: expected a path, a pattern, or a list of at least one path")
            found = [os.fsdecode(shard) for shard in shards]
        self.core = Source.shards(list(found), on_error == "report", flag("exif", exif))

    def __repr__(self) -> str:
        classes = "" if self.core.has_classes else ", without classes"
        return f"WebDataset({len(self)} images{classes}{_left_out(self.core)})"

    @property
    def damaged(self) -> list[tuple[str, str]]:
        """Shards of which only a part is here, and why."""
        return self.core.damaged


class Objects(Images):
    """Anything with `len` and `[index]`: a Hugging Face dataset, or one of torch.

    Args:
        dataset: gives for a number a dict, or a tuple (image, class, ...), or an image. Images are PIL images, paths, bytes,
            arrays (H, W, 3) or (H, W) or tensors (3, H, W) of uint8, or dicts of "bytes" and "path" as Hugging Face's
            `Image(decode=False)` has them, which are the fastest: decoding then is native.
        image, target: keys of dicts; None: the first of "image", "img", "jpg", "png", and of "label", "fine_label", "labels",
            "cls"; without a class it is 0.
        exif: whether images that come as files are turned upright, as their EXIF orientation says.

    `classes` are the dataset's own `classes` (torchvision), or names of a Hugging Face `ClassLabel`. What the dataset raises
    is the `__cause__` of an error that names the image; KeyboardInterrupt and MemoryError are raised as they are.

    Raises:
        TypeError: no `len` or no `[index]`.
        KeyError: no such key.
    """

    def __init__(self, dataset: Any, image: str | None = None, target: str | None = None, exif: bool = True) -> None:
        if isinstance(dataset, dict):
            names = ", ".join(map(repr, dataset))
            raise TypeError(
                f"source: expected images by number, got {type(dataset).__name__} of {names}; take one of them"
            )
        count = _length(dataset)
        first = dataset[0] if count else ()
        if isinstance(first, dict):
            image = _key(first, image, ("image", "img", "jpg", "png"), "image")
            target = _key(first, target, (*_TARGETS, None), "target")

        def get(index: int) -> tuple[Any, int]:
            item = dataset[index]
            if isinstance(item, dict):
                raw, label = item[image], item[target] if target is not None else 0
            else:
                raw, label = item[:2] if isinstance(item, (tuple, list)) else (item, 0)
            if isinstance(raw, dict):
                raw = raw["path"] if raw.get("bytes") is None else raw["bytes"]
            if isinstance(raw, np.ndarray) and raw.ndim == 2:
                raw = raw[..., None]
            if isinstance(raw, os.PathLike):
                raw = os.fsdecode(raw)
            if not isinstance(raw, (bytes, str)):
                raw = pixels(raw, f"source[{index}]")
            return raw, whole(f"source[{index}]: class", label, -(2**63))

        self.classes = class_names(dataset, target)
        self.core = Source.python(get, count, "source", flag("exif", exif))


def _make(kind: type[Images], arguments: tuple[Any, ...], named: dict[str, Any]) -> Images:
    return kind(*arguments, **named)


def as_images(source: Any) -> Images:
    """The source that an argument means.

    Raises:
        TypeError: it means none.
    """
    if isinstance(source, Images):
        return source
    if isinstance(source, (str, bytes, os.PathLike)):
        return WebDataset(source) if _is_shard(source) else ImageFolder(source)
    if isinstance(source, np.ndarray):
        return Arrays(source)
    if isinstance(source, (list, tuple)) and source and isinstance(source[0], (str, bytes, os.PathLike)):
        return WebDataset(source) if all(map(_is_shard, source)) else Files(source)
    return Objects(source)


def numbered(images: Images, classes: Sequence[str] | None) -> NDArray[np.int64] | None:
    """The number that each of the images' classes has among these names; None where `classes` is None.

    Raises:
        ValueError: images whose classes have no names; a class that is not among these; a name that stands there twice.
    """
    if classes is None:
        return None
    own = images.classes
    if own is None:
        raise ValueError(f"classes: those of {images!r} have no names, but numbers alone; leave `classes` out")
    numbers = {name: number for number, name in enumerate(classes)}
    if len(numbers) != len(classes):
        raise ValueError(f"classes = {list(classes[:10])}: a name stands there twice, and tells no class")
    unknown = [name for name in own if name not in numbers]
    if unknown:
        raise ValueError(f"class {unknown[0]!r}: not among the training images' {', '.join(classes[:10])}")
    return np.array([numbers[name] for name in own], np.int64)


def class_names(dataset: Any, target: str | None = None) -> list[str] | None:
    """Names of the classes that a dataset of others has, in the order of their numbers; None where it has none.

    They are a Hugging Face dataset's `ClassLabel`, torchvision's `classes`, or timm's `class_to_idx`, also of a `Subset`, a
    `ConcatDataset` or a `LightlyDataset`. A `target_transform` makes other numbers, of which no name is known.

    Args:
        dataset: the dataset.
        target: the key of the class, of a Hugging Face dataset.
    """
    if getattr(dataset, "target_transform", None) is not None:
        return None
    kinds = {kind.__name__ for kind in type(dataset).__mro__}
    if kinds & {"Subset", "LightlyDataset"}:
        return class_names(dataset.dataset, target)
    if "ConcatDataset" in kinds:
        first, *others = (class_names(part, target) for part in dataset.datasets)
        return first if all(names == first for names in others) else None
    columns, numbers = (
        getattr(dataset, "features", None),
        getattr(getattr(dataset, "reader", dataset), "class_to_idx", None),
    )
    if isinstance(columns, dict):
        key = next((key for key in (target, *_TARGETS) if key in columns), None)
        found = getattr(columns.get(key), "names", None)
    else:
        found = getattr(dataset, "classes", None)
        if found is None and isinstance(numbers, dict) and sorted(numbers.values()) == list(range(len(numbers))):
            found = sorted(numbers, key=numbers.__getitem__)
    if not isinstance(found, (list, tuple)) or not all(isinstance(name, (str, tuple)) for name in found):
        return None
    # torchvision's ImageNet has several names for a class.
    names = [name if isinstance(name, str) else ", ".join(map(str, name)) for name in found]
    return names if names and len(set(names)) == len(names) else None


def _targets(targets: Sequence[int] | None, n: int) -> list[int]:
    classes = [0] * n if targets is None else [whole(f"targets[{i}]", x, -(2**63)) for i, x in enumerate(targets)]
    if len(classes) != n:
        raise ValueError(f"targets: expected one for each of {n} images, got {len(classes)}")
    return classes


def _key(item: dict[str, Any], given: str | None, usual: tuple[str | None, ...], what: str) -> str | None:
    for key in usual if given is None else (given,):
        if key is None or key in item:
            return key
    raise KeyError(f"{what} = {given!r}: the dataset has {', '.join(map(repr, item))}; name one of them")


def _length(dataset: Any) -> int:
    """How many items it has, if it gives them by number."""
    expected = f"source: expected something with len() and [index], got {type(dataset).__name__}"
    if not hasattr(dataset, "__getitem__"):
        raise TypeError(f"{expected}; make a list of it")
    try:
        return len(dataset)
    # Data sets of streams have a len that says no.
    except (TypeError, NotImplementedError, AttributeError) as error:
        raise TypeError(f"{expected}; make a list of it") from error


def _left_out(core: Source) -> str:
    """How much of a folder or of shards is not here."""
    counts = ((core.hidden, "hidden"), (core.others, "other"))
    return "".join(f", {n} {what} files left out" for n, what in counts if n)


def _is_shard(path: Any) -> bool:
    if not isinstance(path, (str, bytes, os.PathLike)) or (isinstance(path, bytes) and not _exists(path)):
        return False
    return os.fsdecode(path).lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))


def _exists(path: bytes) -> bool:
    """Whether bytes are the path of a file, and not what a file holds."""
    return len(path) < 4096 and b"\0" not in path and os.path.exists(path)


def _matching(pattern: str) -> list[str]:
    """The files that a pattern means; what exists under its own name is none."""
    if os.path.exists(pattern):
        return [pattern]
    found: list[str] = []
    for path in _braces(pattern):
        some = [path] if os.path.exists(path) else sorted(glob.glob(path))
        if not some:
            raise FileNotFoundError(f"{path}: no such file, and no file matches it as a pattern")
        found += some
    return found


def _braces(pattern: str) -> list[str]:
    """A shell's `{000..012}` and `{a,b}`, in order."""
    parts = re.split(r"\{(\d+\.\.\d+|[^{}]*,[^{}]*)\}", pattern)
    choices = []
    for i, part in enumerate(parts):
        first, _, last = part.partition("..")
        if i % 2 == 0:
            choices.append([part])
        elif "," in part:
            choices.append(part.split(","))
        else:
            step = 1 if int(first) <= int(last) else -1
            is_padded = any(len(end) > 1 and end[0] == "0" for end in (first, last))
            width = max(len(first), len(last)) if is_padded else 0
            choices.append([f"{n:0{width}}" for n in range(int(first), int(last) + step, step)])
    return ["".join(chosen) for chosen in itertools.product(*choices)]


#: In a file: path, offset, shape, strides.
Place = tuple[str, int, tuple[int, ...], tuple[int, ...]]


def _place(images: NDArray[np.uint8]) -> Place | None:
    """Where a file holds what a `numpy.memmap`, or a part of one, shows; None: nowhere."""
    mapped = getattr(images, "_mmap", None)
    if not isinstance(images, np.memmap) or mapped is None or images.filename is None or images.mode == "c":
        return None
    # The mapping begins at a page. A part of a memmap keeps the whole one's offset, and its own address.
    begin = images.offset - images.offset % mmap.ALLOCATIONGRANULARITY
    address = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    offset = begin + images.__array_interface__["data"][0] - address
    return os.path.abspath(os.fsdecode(images.filename)), offset, images.shape, images.strides


def _mapped(kind: type[Arrays], place: Place, targets: list[int]) -> Arrays:
    path, offset, shape, strides = place
    images = kind(np.ndarray(shape, np.uint8, np.memmap(path, np.uint8, "r"), offset, strides), targets)
    images._place = place
    return images

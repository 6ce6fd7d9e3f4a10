"""StyleBank: the styles i_s, as vectors z with the id of the predictor that made them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import image_files, terminal
from ._sassl import Bank, Gaussian, Stylizer
from .arguments import flag
from .images import pixels

if TYPE_CHECKING:
    from PIL.Image import Image

    AnyImage = str | os.PathLike[str] | bytes | Image | NDArray[np.uint8]

#: Pixels that `from_images` encodes at a time: enough to keep all threads busy, and little memory.
_PIXELS = 2**23
#: Axes of a Gaussian.
_RANK = 20


class StyleBank:
    """Style vectors of one style space (Algorithm 1: z_s = F(i_s), computed once for an external set of styles).

    Args:
        vectors: (n, dim) finite numbers.
        space: the id of the model that made them, `Stylizer.space`.
        names: what each was made from, or None; bytes of a file's name that are no UTF-8 stand there as \\udcff and the like.

    Raises:
        ValueError: vectors of another shape, not finite, or names that are not one a vector.

    A bank from a file is read whole, and may be overwritten meanwhile; forked workers share it, and it pickles as its path.
    """

    def __init__(self, vectors: ArrayLike, space: str, names: Iterable[str] | None = None) -> None:
        self._core = Bank(vectors, space, None if names is None else [terminal.printable(name) for name in names])
        self._path: str | None = None

    @classmethod
    def _wrap(cls, core: Bank, path: str | None) -> StyleBank:
        bank = cls.__new__(cls)
        bank._core, bank._path = core, path
        return bank

    @classmethod
    def default(cls) -> StyleBank:
        """The bank inside the package, of the space of the model `lite`."""
        return cls._wrap(Bank.default(), "")

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> StyleBank:
        """A bank that `save` or `sassl bank` wrote, read whole.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no bank, or damaged.
        """
        return cls._wrap(Bank.load(file), os.path.abspath(file))

    @classmethod
    def from_vectors(
        cls,
        vectors: ArrayLike,
        model: str | os.PathLike[str] | Stylizer = "lite",
        names: Iterable[str] | None = None,
    ) -> StyleBank:
        """The bank of vectors that this model's `encode` gave.

        Args:
            vectors: (n, dim) or (dim,) finite numbers.
            model: "lite", a .safetensors file, or a `Stylizer`.
            names: what each was made from, or None.

        Raises:
            ValueError: vectors of another shape, or not finite; names that are not one a vector.
        """
        stylizer = model if isinstance(model, Stylizer) else Stylizer(model)
        array = np.asarray(vectors, np.float32)
        if array.ndim not in (1, 2) or array.shape[-1] != stylizer.dim:
            dim = stylizer.dim
            raise ValueError(f"style vectors: expected (n, {dim}) or ({dim},), got the shape {array.shape}")
        return cls(np.atleast_2d(array), stylizer.space, names)

    @classmethod
    def from_images(
        cls,
        images: str | os.PathLike[str] | Iterable[AnyImage],
        model: str | os.PathLike[str] | Stylizer = "lite",
        *,
        exif: bool = True,
        progress: Callable[[Iterable[Any]], Iterable[Any]] | Literal[False] | None = None,
    ) -> StyleBank:
        """The bank of a set of images.

        Args:
            images: a folder (searched with its subfolders), or any of paths, bytes of files, PIL images, and uint8 arrays
                (H, W, 3) or tensors (3, H, W).
            model: whose F encodes them, each at its own size; F resizes.
            exif: whether files are turned upright, as `sassl.transforms.functional.decode` tells; PIL images are taken as they
                are.
            progress: wraps the iteration; None: a bar on a terminal where tqdm is installed; False: nothing.

        Raises:
            OSError: no image in the folder, or a file that cannot be read; nothing is skipped.
            ValueError: no image at all, a file that is none or is damaged, one below 8x8 pixels.
        """
        stylizer = model if isinstance(model, Stylizer) else Stylizer(model)
        items: Iterable[Any] = image_files.find([images]) if isinstance(images, (str, os.PathLike)) else images
        read = _read(terminal.progress(items, "style") if progress is None else (progress or iter)(items), exif)
        names: list[str] = []
        vectors: list[NDArray[np.float32]] = []
        for (height, width, _), same_size in groupby(read, key=lambda item: item[1].shape):
            while some := list(islice(same_size, max(1, _PIXELS // max(1, height * width)))):
                try:
                    vectors.append(stylizer.encode(np.stack([image for _, image in some])))
                except (ValueError, MemoryError) as error:
                    raise type(error)(f"{some[0][0]}: {error}") from None
                names += [name for name, _ in some]
        if not names:
            raise ValueError("images = []: a bank needs at least one image")
        return cls(np.concatenate(vectors), stylizer.space, names)

    @classmethod
    def concatenate(cls, banks: Iterable[StyleBank]) -> StyleBank:
        """The styles of several banks, one after the other; names where all have them.

        Raises:
            ValueError: no bank; banks of different style spaces.
        """
        banks = list(banks)
        if not banks:
            raise ValueError("banks = []: expected at least one")
        for bank in banks:
            if bank.space != banks[0].space:
                raise ValueError(f"{bank!r}: of another style space than {banks[0]!r}; make all with one model")
        names = [bank.names for bank in banks]
        joined = [name for some in names for name in some or ()]
        vectors = np.concatenate([bank.vectors for bank in banks])
        return cls(vectors, banks[0].space, None if None in names else joined)

    def save(self, file: str | os.PathLike[str], *, exact: bool = False) -> None:
        """Writes the bank as a .safetensors file: the whole file, or nothing.

        Args:
            file: where.
            exact: in float32, as the vectors are in memory; else in float16, which halves the file.

        Raises:
            OSError: the system refuses.
            ValueError: a number that float16 cannot hold.
        """
        self._core.save(file, flag("exact", exact))

    def gaussian(self, rank: int | None = None) -> Gaussian:
        """A Gaussian along the bank's main axes: a source of new styles. (Noise in each dimension is not a style.)

        Args:
            rank: how many axes; None: 20.

        Raises:
            ValueError: more axes than the vectors span, which are one fewer than the vectors, and `dim` at most.
        """
        most = min(self.dim, len(self) - 1)
        if rank is None and most < _RANK:
            remedy = f"give rank={most}, or more styles" if most else "give more styles"
            raise ValueError(
                f"gaussian() takes {_RANK} axes where no rank is given, and {len(self)} style vectors of {self.dim} span "
                f"{most}; {remedy}"
            )
        return self._core.gaussian(_RANK if rank is None else rank)

    @property
    def core(self) -> Bank:
        """The core's bank, from which `sassl.transforms.SASSL` draws."""
        return self._core

    @property
    def source(self) -> str | None:
        """ "default"; the path of the file that it was read from; None: made in memory."""
        return "default" if self._path == "" else self._path

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(n, dim) float32; a copy."""
        return self._core.vectors

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._core.dim

    @property
    def space(self) -> str:
        """The id of the model that made the vectors."""
        return self._core.space

    @property
    def names(self) -> list[str] | None:
        """What each vector was made from, where that is known."""
        return self._core.names

    def __len__(self) -> int:
        return len(self._core)

    def __repr__(self) -> str:
        origin = {None: "in memory", "": "default"}.get(self._path, f"{self._path!r}")
        return f"StyleBank({origin}, {len(self)} styles, dim={self.dim}, space={self.space!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path == "":
            return StyleBank.default, ()
        if self._path is not None and Path(self._path).exists():
            return _load, (self._path, self.space, _checksum(self))
        return StyleBank, (self.vectors, self.space, self.names)


def _load(path: str, space: str, checksum: int) -> StyleBank:
    """A bank file that must still hold what it held when the bank was pickled."""
    bank = StyleBank.load(path)
    if bank.space != space or _checksum(bank) != checksum:
        raise ValueError(f"{path}: the bank in this file has changed since it was pickled; make the transform again")
    return bank


def _checksum(bank: StyleBank) -> int:
    return zlib.crc32(bank.vectors.tobytes())


def _read(items: Iterable[AnyImage], exif: bool) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Each image with its name, one at a time."""
    for i, item in enumerate(items):
        name = str(item) if isinstance(item, (str, os.PathLike)) else getattr(item, "filename", "") or f"image {i}"
        yield name, pixels(item, f"images[{i}]", exif=exif)

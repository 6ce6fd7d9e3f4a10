"""StyleBank: style vectors with the id of the style predictor that computed them."""

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

#: Approximate number of pixels that `from_images` encodes at a time: enough to keep all threads busy without much memory.
_PIXELS = 2**23
#: Default number of axes of `StyleBank.gaussian`.
_RANK = 20


class StyleBank:
    """Style vectors of one style space (Algorithm 1: z_s = F(i_s), computed once for an external set of styles).

    Args:
        vectors: (n, dim) finite floats.
        space: id of the model that computed the vectors, `Stylizer.space`.
        names: name of each vector, such as the path of its image; or None. Bytes of a file name that are not valid UTF-8 are
            escaped, as in \\udcff.

    Raises:
        ValueError: vectors that are not finite or have another shape; a number of names that differs from the number of
            vectors.

    `load` reads the whole file into memory; the file may be overwritten afterwards. Forked workers share this memory.

    A loaded bank is pickled as the path of its file and a checksum. Unpickling fails if the file has changed. If the file no
    longer exists when the bank is pickled, the vectors themselves are pickled.
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
        """Return the bank included in the package; its vectors are in the style space of the model "lite"."""
        return cls._wrap(Bank.default(), "")

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> StyleBank:
        """Read a bank that `save` or `sassl bank` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not a bank, or is damaged.
        """
        return cls._wrap(Bank.load(file), os.path.abspath(file))

    @classmethod
    def from_vectors(
        cls,
        vectors: ArrayLike,
        model: str | os.PathLike[str] | Stylizer = "lite",
        names: Iterable[str] | None = None,
    ) -> StyleBank:
        """Create a bank from vectors that `Stylizer.encode` returned.

        Args:
            vectors: (n, dim) or (dim,) finite floats.
            model: the model that computed the vectors: "lite", a .safetensors file, or a `Stylizer`.
            names: name of each vector, or None.

        Raises:
            ValueError: vectors that are not finite or have another shape; a number of names that differs from the number of
                vectors.
        """
        stylizer = model if isinstance(model, Stylizer) else Stylizer(model)
        array = np.asarray(vectors, np.float32)
        if array.ndim not in (1, 2) or array.shape[-1] != stylizer.dim:
            dim = stylizer.dim
            raise ValueError(f"style vectors must have shape (n, {dim}) or ({dim},), got {array.shape}")
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
        """Encode a set of images as a bank.

        Args:
            images: a folder, searched with its subfolders; or an iterable of paths, bytes of files, PIL images, uint8 arrays
                (H, W, 3) and uint8 tensors (3, H, W).
            model: "lite", a .safetensors file, or a `Stylizer`. Each image is passed to the predictor F at its original size.
            exif: rotate files upright, as in `sassl.transforms.functional.decode`; PIL images are used as they are.
            progress: function that wraps the iterable of images, such as `tqdm`. None: a bar in a terminal or notebook, if
                tqdm is installed. False: no bar.

        Raises:
            OSError: no image in the folder; a file that cannot be read (unreadable files are not skipped).
            ValueError: no image at all, a file that is damaged or not an image, or an image below 8x8 pixels.
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
            raise ValueError("images must contain at least one image, got []")
        return cls(np.concatenate(vectors), stylizer.space, names)

    @classmethod
    def concatenate(cls, banks: Iterable[StyleBank]) -> StyleBank:
        """Concatenate banks; the result has names only if every bank has names.

        Raises:
            ValueError: no bank; banks of different style spaces.
        """
        banks = list(banks)
        if not banks:
            raise ValueError("banks must contain at least one bank, got []")
        for bank in banks:
            if bank.space != banks[0].space:
                raise ValueError(
                    f"{bank!r} is of another style space than {banks[0]!r}; build all banks with one model"
                )
        names = [bank.names for bank in banks]
        joined = [name for some in names for name in some or ()]
        vectors = np.concatenate([bank.vectors for bank in banks])
        return cls(vectors, banks[0].space, None if None in names else joined)

    def save(self, file: str | os.PathLike[str], *, exact: bool = False) -> None:
        """Write the bank to a .safetensors file, atomically.

        Args:
            file: path of the file.
            exact: write float32, as in memory; False: float16, which halves the size of the file.

        Raises:
            OSError: the file cannot be written.
            ValueError: a value is outside the range of float16, and `exact` is False.
        """
        self._core.save(file, flag("exact", exact))

    def gaussian(self, rank: int | None = None) -> Gaussian:
        """Fit a Gaussian to the vectors along their principal axes; new styles can be sampled from the Gaussian.

        Independent noise in each dimension would not give plausible styles.

        Args:
            rank: number of principal axes; None: 20.

        Raises:
            ValueError: a rank below 1 or above min(n - 1, dim), the number of axes that n vectors can span.
        """
        most = min(self.dim, len(self) - 1)
        if rank is None and most < _RANK:
            remedy = f"give rank={most}, or more styles" if most else "give more styles"
            raise ValueError(
                f"gaussian() takes {_RANK} axes if no rank is given, but {len(self)} style vectors of dimension {self.dim} "
                f"span {most}; {remedy}"
            )
        return self._core.gaussian(_RANK if rank is None else rank)

    @property
    def core(self) -> Bank:
        """The compiled bank that `sassl.transforms.SASSL` draws from."""
        return self._core

    @property
    def source(self) -> str | None:
        """ "default", the path of the file that the bank was read from, or None if it was created in memory."""
        return "default" if self._path == "" else self._path

    @property
    def vectors(self) -> NDArray[np.float32]:
        """A copy of the vectors, (n, dim) float32."""
        return self._core.vectors

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self._core.dim

    @property
    def space(self) -> str:
        """The id of the model that computed the vectors."""
        return self._core.space

    @property
    def names(self) -> list[str] | None:
        """The name of each vector, or None."""
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
    """Restore a pickled bank from its file; raise a ValueError if the file has changed since the bank was pickled."""
    bank = StyleBank.load(path)
    if bank.space != space or _checksum(bank) != checksum:
        raise ValueError(f"{path}: the bank in this file has changed since it was pickled; create the transform again")
    return bank


def _checksum(bank: StyleBank) -> int:
    return zlib.crc32(bank.vectors.tobytes())


def _read(items: Iterable[AnyImage], exif: bool) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the name and the pixels of each image."""
    for i, item in enumerate(items):
        name = str(item) if isinstance(item, (str, os.PathLike)) else getattr(item, "filename", "") or f"image {i}"
        yield name, pixels(item, f"images[{i}]", exif=exif)

"""StyleBank: the styles i_s, as vectors z with the id of the predictor that made them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._sassl import Bank, Gaussian, Stylizer

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = str | os.PathLike[str] | Image | NDArray[np.uint8]


class StyleBank:
    """Style vectors of one style space (Algorithm 1: z_s = F(i_s), computed once for an external set of styles).

    Args:
        vectors: (n, dim) finite numbers.
        space: the id of the model that made them, `Stylizer.space`.
        names: what each was made from, or None.

    Raises:
        ValueError: vectors of another shape, not finite, or names that are not one a vector.

    A bank from a file is memory-mapped: DataLoader workers share it, and it pickles as its path.
    """

    def __init__(self, vectors: ArrayLike, space: str, names: Iterable[str] | None = None) -> None:
        self._core = Bank(vectors, space, None if names is None else list(names))
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
        """A bank that `save` or `sassl bank` wrote, memory-mapped.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no bank, or damaged.
        """
        return cls._wrap(Bank.load(file), str(file))

    @classmethod
    def from_images(
        cls,
        images: str | os.PathLike[str] | Iterable[Picture],
        model: str | os.PathLike[str] | Stylizer = "lite",
        *,
        progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
    ) -> StyleBank:
        """The bank of a set of images.

        Args:
            images: a folder (searched with its subfolders), or any of paths, PIL images and (H, W, 3) uint8 arrays.
            model: whose F encodes them, at F's own size.
            progress: wraps the iteration, as `tqdm` does.

        Raises:
            OSError: no image in the folder, or one that cannot be read; nothing is skipped.
            ValueError: an image below 8x8 pixels.
        """
        from . import pictures

        stylizer = model if isinstance(model, Stylizer) else Stylizer(model)
        items: list[Any] = pictures.find([images]) if isinstance(images, (str, os.PathLike)) else list(images)
        if not items:
            raise ValueError("images = []: a bank needs at least one image")
        vectors, names = [], []
        for i, item in enumerate(progress(items) if progress else items):
            is_path = isinstance(item, (str, os.PathLike))
            name = str(item) if is_path else getattr(item, "filename", "") or f"image {i}"
            picture = pictures.read(item) if is_path else pictures.rgb(item)
            try:
                vectors.append(stylizer.encode(picture[None])[0])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            names.append(name)
        return cls(np.stack(vectors), stylizer.space, names)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the bank as a .safetensors file of float16: the whole file, or nothing."""
        self._core.save(file)

    def gaussian(self, rank: int = 20) -> Gaussian:
        """A Gaussian along the bank's `rank` main axes: a source of new styles. (Noise in each dimension is not a style.)"""
        return self._core.gaussian(rank)

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
            return _load, (os.path.abspath(self._path), self.space)
        return StyleBank, (self.vectors, self.space, self.names)


def _load(path: str, space: str) -> StyleBank:
    """A bank file that must still be of the space it was pickled with."""
    bank = StyleBank.load(path)
    if bank.space != space:
        raise ValueError(f"{path}: its style space was {space} when the bank was pickled, and is {bank.space} now")
    return bank

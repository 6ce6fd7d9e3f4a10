"""TwoViewLoader: batches of views, prefetched by native threads."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from typing import Any

from .._sassl import Draws, Loader, info
from ..arguments import choice, flag, whole, wrong
from ..transforms.views import Views
from . import ranks
from .halves import HalfViews
from .identity import differences, of_recipe
from .sources import as_images

#: For each `output` with half-finished views, the core's name for the results of the threads.
_HALVES = {"crops": "crops", "images": "regions"}


class TwoViewLoader:
    """Batches of two views, or of as many as the transform has, prefetched by native threads.

    Args:
        source: a source of `sassl.data`; or a folder (`ImageFolder`), "shards-*.tar" (`WebDataset`), a list of paths or bytes
            (`Files`), an array (`Arrays`), a Hugging Face or torch dataset (`Objects`).
        transform: a recipe of `sassl.transforms` or other `Views`, with its style. With `SASSL(styles="batch")`, each style is
            another image of the same global batch. This rank then also decodes and encodes images of other ranks.
        batch_size: images per batch on this rank, as in torch's DataLoader. The global batch, of all ranks together, has
            `batch_size * world_size` images.
        shuffle: shuffle all images in every epoch.
        drop_last: leave out the last global batch if it is smaller than the others. False: divide this batch among the ranks,
            and repeat images from the start of the epoch so that all ranks have the same number of images.
        seed: seed of the order and of all draws.
        rank, world_size: the process's rank and the number of ranks. The rows of each global batch are divided among the ranks,
            in rank order. None: the values of an initialized torch.distributed process group; else RANK and WORLD_SIZE in the
            environment; else 0 and 1.
        threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
        prefetch: number of batches that are computed in advance, in addition to the next one.
        on_error: treatment of images that cannot be read. "raise": raise an error that names the image; iteration may continue
            with the next batch. "report": use the next readable image instead, and count the unreadable image in `report`; 100
            unreadable images in a row raise an error.
        on_damage: treatment of images that libjpeg-turbo decodes with a warning, because a few bytes are lost. "use": use the
            image as far as it can be decoded, as Pillow does, and count it in `report`; an epoch that finds new damaged images
            ends with one warning. "replace": use the next readable image instead, as for `on_error`. "raise": raise an error.
        collate: "lightly": ([left, right], targets, names); "solo-learn": [indices, [left, right], targets].
        output: type of the views, "torch" or "numpy" (neither copies the views); None: the type that the transform specifies.
            "crops" or "images": half-finished views (`HalfViews`), to be finished on a GPU from crops or from decoded images.
            The draws and the loader's state do not depend on `output`.
        pin_memory: put batches into torch's page-locked memory.

    Raises:
        TypeError: a transform that is not `Views`; an unsupported source.
        ValueError: a value outside its range (the message names it); a rank without a world size.

    The batches of N ranks with `batch_size` B / N, concatenated, are bit-identical to the batches of a single loader with
    `batch_size` B. This includes styles of the batch and replaced images.

    The first `iter` starts epoch 0, and each further `iter` starts the next epoch; `set_epoch` selects another epoch. A pickle
    keeps the loader's position in the epoch.

    Views are arrays or tensors (B, 3, H, W) of the transform's dtype, targets are int64, names are a list.

    Threads stop soon after the iteration ends, whether normally or by a break, an error or Ctrl-C. The end of the iteration
    does not wait for images that are still being read.
    """

    def __init__(
        self,
        source: Any,
        transform: Views,
        batch_size: int = 256,
        *,
        shuffle: bool = True,
        drop_last: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        threads: int | None = None,
        prefetch: int = 2,
        on_error: str = "raise",
        on_damage: str = "use",
        collate: str = "lightly",
        output: str | None = None,
        pin_memory: bool = False,
    ) -> None:
        self._settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if not isinstance(transform, Views):
            name = type(transform).__name__
            raise TypeError(f"transform must be a recipe such as sassl.transforms.MoCoV2Transform, got {name}")
        choice("collate", collate, ("lightly", "solo-learn"))
        choice("output", output, (None, "torch", "numpy", *_HALVES))
        batch_size, prefetch = whole("batch_size", batch_size, 1), whole("prefetch", prefetch)
        self._rank, self._world_size = ranks.share(rank, world_size)
        seed = whole("seed", seed, most=2**64 - 1)
        shuffle, drop_last = flag("shuffle", shuffle), flag("drop_last", drop_last)
        threads = None if threads is None else whole("threads", threads, 1, 1024)
        self.source, self.transform = as_images(source), transform
        self.output = output or transform.output
        if flag("pin_memory", pin_memory) and self.output == "numpy":
            raise ValueError('output must be "torch" with pin_memory=True, got "numpy"')
        if pin_memory:
            _check_pinning()
        self._collate, self._pin_memory = collate, pin_memory
        self._order: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle}
        self._order |= {"drop_last": drop_last, "seed": seed}
        self._core = Loader(
            self.source.core,
            transform.core,
            **self._order,
            rank=self._rank,
            world_size=self._world_size,
            threads=threads,
            prefetch=prefetch,
            on_error=on_error,
            on_damage=on_damage,
            min_decode_size=transform.min_decode_size,
            makes=_HALVES.get(self.output, "views"),
        )
        # The identity that a state must match, computed on first use: there may be many files.
        self._identity: dict[str, dict[str, Any]] | None = None
        self._epoch, self._batch, self._chosen = -1, 0, False
        self._told = 0
        # The pass that advances this loader's position.
        self._current: Any = None

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self._core)

    @property
    def batch_size(self) -> int:
        """The number of images per batch on this rank."""
        return int(self._order["batch_size"])

    @property
    def drop_last(self) -> bool:
        """True if a smaller last batch is left out."""
        return bool(self._order["drop_last"])

    @property
    def rank(self) -> int:
        """The rank, from 0, which selects the rows of each global batch."""
        return self._rank

    @property
    def world_size(self) -> int:
        """The number of ranks that share each global batch."""
        return self._world_size

    @property
    def epoch(self) -> int:
        """The epoch of the last `iter`, or the epoch that `set_epoch` has selected since; -1 before the first `iter`."""
        return self._epoch

    @property
    def on_error(self) -> str:
        """The treatment of images that cannot be read: "raise" or "report"."""
        return self._settings["on_error"]

    @property
    def report(self) -> dict[str, tuple[str, int]]:
        """Unreadable and damaged images: name -> (reason, number of reads). Prefetched batches are included."""
        return {name: (why, count) for name, (why, count, _) in self._core.report.items()}

    @property
    def damaged(self) -> list[str]:
        """Names of the images in `report` that were used despite their damage; other images in `report` were replaced."""
        return [name for name, (_, _, used) in self._core.report.items() if used]

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Make the next `iter` start at a batch of an epoch, both counted from 0."""
        self._epoch, self._batch = whole("epoch", epoch), whole("batch", batch, 0, len(self))
        self._chosen = True

    def state_dict(self) -> dict[str, Any]:
        """The position in the epoch, after the last batch that was returned; a dict of JSON values.

        The state is the same on every rank and independent of the number of ranks: `batch_size` is the size of the global
        batch, and `batch` counts global batches. A run may therefore resume on a different number of ranks. The state also
        identifies the data (`Images.identity`), the recipe, and the kernels that computed the views.
        """
        place = {"kernels": info()["isa"], "epoch": self._epoch, "batch": self._batch}
        return {**self._global_order(), **self._known(), **place}

    def _global_order(self) -> dict[str, Any]:
        return {**self._order, "batch_size": self.batch_size * self._world_size}

    def _known(self) -> dict[str, dict[str, Any]]:
        if self._identity is None:
            self._identity = {"data": self.source.identity(), "views": of_recipe(self.transform)}
        return self._identity

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Make the next `iter` resume from a state.

        A warning is issued if other kernels computed the state's views, because kernels differ in the rounding of styled views.

        Args:
            state: a state returned by `state_dict`, on any rank and with any number of ranks.
            strict: False: accept other data or another recipe, with a warning that states the difference. A run can then
                resume after an image was deleted, for example. It resumes at the same batch of the same epoch, but in the order
                of the current images. Some images of the epoch may therefore be repeated, and others left out.

        Raises:
            ValueError: a state of other data or another recipe (if `strict`), or with another global batch size, `shuffle`,
                `drop_last` or `seed`; the message states the difference.
        """
        if not isinstance(state, dict):
            raise wrong("state", state, "a dict returned by state_dict()")
        order, known = self._global_order(), self._known()
        for name in [*order, *known]:
            if name not in state:
                raise ValueError(f"state[{name!r}] is missing; pass a dict returned by state_dict()")
        for name, value in order.items():
            if state[name] != value:
                raise ValueError(self._other_order(name, state[name], value))
        told = [f"{name}: {text}" for name, here in known.items() if (text := differences(state[name], here))]
        if told and flag("strict", strict):
            remedy = "restore them, or accept the difference with load_state_dict(state, strict=False)"
            raise ValueError(f"state is of other {'; '.join(told)}; {remedy}")
        epoch = whole("state['epoch']", state.get("epoch"), -1)
        batch = whole("state['batch']", state.get("batch"), 0, len(self) if strict else 2**63 - 1)
        if told:
            warnings.warn(
                f"state is of other {'; '.join(told)}; the loader continues with the current ones", stacklevel=2
            )
        if (was := state.get("kernels")) != (now := info()["isa"]):
            warnings.warn(
                f"state: its views were computed by kernels for {was!r}, and the next ones by kernels for {now!r}, which round "
                f"differently; SASSL_ISA={was} selects the same kernels if the processor supports them",
                stacklevel=2,
            )
        self._epoch, self._batch = epoch, min(batch, len(self))
        # After a finished epoch, `iter` starts the next one.
        self._chosen = epoch >= 0 and batch < len(self)

    def _other_order(self, name: str, was: Any, value: Any) -> str:
        """The error message for a state that differs from this loader in the setting `name`."""
        if name != "batch_size" or not isinstance(was, int):
            return f"state[{name!r}] must be {value!r} for this loader, got {was!r}; create it with the same setting"
        each, rest = divmod(was, self._world_size)
        own = f"{value}, as in this loader" + (f" on {self._world_size} ranks" if self._world_size > 1 else "")
        remedy = f"set batch_size={each}" if rest == 0 else f"use a number of ranks that divides {was}"
        return f"state['batch_size'], of all ranks together, must be {own}, got {was}; {remedy}"

    def __iter__(self) -> Iterator[Any]:
        self._check_share()
        if not self._chosen:
            self._epoch, self._batch = self._epoch + 1, 0
        self._chosen = False
        batches = _Batches(self, self._epoch, self._batch)
        self._current = weakref.ref(batches)
        return batches

    def _check_share(self) -> None:
        """Raise a ValueError if the rank or the world size in the process group differs from this loader's.

        A loader that was created before the process group may be rank 0 of 1, so that all ranks would see the same images.
        """
        found = ranks.group() if self._settings["rank"] is None else None
        if found not in (None, (self._rank, self._world_size)):
            raise ValueError(
                f"rank={self._rank} and world_size={self._world_size} were found when the loader was created, but the process "
                f"group has rank {found[0]} of {found[1]}; create the loader after init_process_group, or pass rank and "
                "world_size"
            )

    def _tell(self) -> None:
        """Warn once about damaged images that were used since the last warning."""
        damaged = self.damaged
        new, self._told = len(damaged) - self._told, len(damaged)
        if new <= 0:
            return
        try:
            line = f"{new} damaged images were used as far as they could be decoded, one of them {damaged[0]}"
            warnings.warn(f"{line}; see `report` for all of them, and `on_damage` to replace them", stacklevel=3)
        except Warning:
            raise
        # The warning cannot be written, because stderr is closed or not a file; that must not end the epoch.
        except Exception:
            pass

    def _finish(self, arrays: list[Any], indices: Any, targets: Any, names: list[str], draws: Draws) -> Any:
        halves = self.output in _HALVES
        if self.output == "torch" or (halves and self.transform.output == "torch"):
            import torch

            indices, targets = map(torch.from_numpy, (indices, targets))
            arrays = arrays if halves else [*map(torch.from_numpy, arrays)]
        views: Any = HalfViews(self.transform, arrays[0], draws) if halves else arrays
        if self._collate == "lightly":
            return views, targets, names
        return [indices, views, targets]

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": {**self._settings, "source": self.source}, "state": self.state_dict()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        self.__init__(**pickled["settings"])  # type: ignore[misc]
        self.load_state_dict(pickled["state"])

    def __repr__(self) -> str:
        plan = {**self._order, "rank": self._rank, "world_size": self._world_size}
        told = ", ".join(f"{name}={value!r}" for name, value in plan.items())
        return f"TwoViewLoader({self.source!r}, {type(self.transform).__name__}, {told})"


class _Batches:
    """An iterator over one epoch. Deleting the iterator stops the threads."""

    def __init__(self, loader: TwoViewLoader, epoch: int, batch: int) -> None:
        self._loader, self._first = loader, batch
        self._core = loader._core.start(epoch, batch, loader._pin_memory)
        # Also at interpreter exit, after which threads can no longer call Python.
        self._close = weakref.finalize(self, self._core.close)

    def __iter__(self) -> _Batches:
        return self

    def __len__(self) -> int:
        """The number of batches left."""
        return len(self._loader) - self._first - self._core.taken

    def __next__(self) -> Any:
        try:
            made = self._core.next()
        except KeyboardInterrupt:
            self._close()
            raise
        except Exception:
            self._count()
            raise
        if made is None:
            self._close()
            self._loader._tell()
            raise StopIteration
        self._count()
        return self._loader._finish(*made)

    def close(self) -> None:
        """Stop the threads, as deleting the iterator does."""
        self._close()

    def _count(self) -> None:
        current = self._loader._current
        if current is not None and current() is self and not self._loader._chosen:
            self._loader._batch = self._first + self._core.taken


def _check_pinning() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ValueError("pin_memory=True requires a CUDA device, but torch finds none; remove pin_memory")

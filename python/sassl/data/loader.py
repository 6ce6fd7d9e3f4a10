"""Batches of views, made ahead by native threads."""

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

#: The halves that threads make, by the `output` that leaves something to be made.
_HALVES = {"crops": "crops", "images": "regions"}


class TwoViewLoader:
    """Batches of two views, or of as many as the transform makes, by native threads that work ahead.

    Args:
        source: a source of this module; or a folder (`ImageFolder`), "shards-*.tar" (`WebDataset`), a list of paths or bytes
            (`Files`), an array (`Arrays`), a Hugging Face or torch dataset (`Objects`).
        transform: a recipe of `sassl.transforms` or other `Views`, with its style. Of `SASSL(styles="batch")`, each style is
            another image of the same batch, of all ranks together: what lies on another rank is decoded and encoded here too.
        batch_size: images in a batch on this rank, as in torch's DataLoader. A batch of all ranks together, the global batch,
            has `batch_size * world_size`.
        shuffle: a new order in every epoch, of all images.
        drop_last: leave out the last global batch if it is smaller; False: it is divided among ranks, which repeat images from
            the beginning of the epoch to have as many.
        seed: of the order and of all draws.
        rank, world_size: which rows of each global batch this process has: those of the ranks lie one after the other. None: as
            an initialised torch.distributed process group says; else RANK and WORLD_SIZE in the environment; else 0 of 1.
        threads: how many; None: the environment variable SASSL_THREADS, else all cores.
        prefetch: batches made ahead of the one that is waited for.
        on_error: "raise": an image that cannot be read is an error with its name, and iteration may go on after its batch;
            "report": the next good image takes its place, and `report` counts it; 100 bad ones in a row are an error.
        on_damage: of an image that libjpeg-turbo decodes with a warning (a few bytes are lost, the rest is there). "use": it is
            taken as far as it could be decoded, as Pillow gives it, `report` counts it, and a warning tells once of each pass
            that met new ones; "replace": the next good image takes its place, as for `on_error`; "raise": it is an error.
        collate: "lightly": ([left, right], targets, names); "solo-learn": [indices, [left, right], targets].
        output: "torch" or "numpy"; None: the transform's, else torch where it is installed. Nothing is copied. "crops" and
            "images": in the place of the views `HalfViews`, of which a GPU makes the rest, of crops or of decoded images. The
            draws and the state are the same.
        pin_memory: page-locked memory of torch for what is given.

    Raises:
        ValueError: a number outside its range, with its name; a rank without a world size.

    N loaders of `batch_size` B / N give, one after the other, the batches that one loader of B gives alone, to the bit: styles
    of the batch and images that stand in for others included. Each `iter` is the next epoch, from 0 on: `set_epoch` chooses
    another. Views are arrays or tensors (B, 3, H, W) of the transform's dtype, targets int64, names a list. Threads end soon
    after the iteration, also on break, on an error and on Ctrl-C, and none of these waits for an image that is being read. It
    pickles with its place in the epoch.
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
            raise TypeError(f"transform: expected a recipe such as sassl.transforms.MoCoV2Transform, got {name}")
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
            raise ValueError('pin_memory = True: page-locked memory is torch\'s; give output="torch"')
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
        # The identity that a state must agree with, made when it is first asked for: files may be many.
        self._identity: dict[str, dict[str, Any]] | None = None
        self._epoch, self._batch, self._chosen = -1, 0, False
        self._told = 0
        # The pass that moves this loader's place.
        self._current: Any = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._core)

    @property
    def batch_size(self) -> int:
        """Images in a batch on this rank."""
        return int(self._order["batch_size"])

    @property
    def drop_last(self) -> bool:
        """Whether a smaller last batch is left out."""
        return bool(self._order["drop_last"])

    @property
    def rank(self) -> int:
        """Which rows of each global batch these are, from 0."""
        return self._rank

    @property
    def world_size(self) -> int:
        """Among how many ranks each global batch is divided."""
        return self._world_size

    @property
    def epoch(self) -> int:
        """The epoch of the last `iter`, or the one that `set_epoch` chose; -1 before the first."""
        return self._epoch

    @property
    def on_error(self) -> str:
        """How images that cannot be read are treated: "raise" or "report"."""
        return self._settings["on_error"]

    @property
    def report(self) -> dict[str, tuple[str, int]]:
        """What could not be read, or is damaged: its name, why, how often it was met, also in batches made ahead."""
        return {name: (why, count) for name, (why, count, _) in self._core.report.items()}

    @property
    def damaged(self) -> list[str]:
        """Those of `report` that were used all the same; the others were replaced."""
        return [name for name, (_, _, used) in self._core.report.items() if used]

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """The next `iter` is this epoch, from this batch on."""
        self._epoch, self._batch = whole("epoch", epoch), whole("batch", batch, 0, len(self))
        self._chosen = True

    def state_dict(self) -> dict[str, Any]:
        """Where it is: within an epoch, after the batch that was handed out last. It survives JSON.

        The state is that of the global batch, and the same on every rank: it knows neither ranks nor how many there are, and
        goes on with any number of them. `batch_size` in it is that of the global batch, and `batch` counts global batches. It
        also holds what the data are (`Images.identity`), what the recipe is, and which kernels made the views.
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
        """The next `iter` goes on there. A state of other kernels, whose styled views round differently, gives a warning.

        Args:
            state: what `state_dict` gave, here or on another rank, of as many ranks or of others.
            strict: False: other data and another recipe are taken with a warning that says what differs. So a run goes on after
                an image has gone: at the same batch of the same epoch, whose order is that of the images that are there now, so
                that some of the epoch may come again, and others not at all.

        Raises:
            ValueError: a state of other data, another recipe or another order; what differs is said.
        """
        if not isinstance(state, dict):
            raise wrong("state", state, "what state_dict() gave")
        order, known = self._global_order(), self._known()
        for name in [*order, *known]:
            if name not in state:
                raise ValueError(f"state[{name!r}]: missing; give what state_dict() gave")
        for name, value in order.items():
            if state[name] != value:
                raise ValueError(self._other_order(name, state[name], value))
        told = [f"{name}: {text}" for name, here in known.items() if (text := differences(state[name], here))]
        if told and flag("strict", strict):
            remedy = "give them as they were, or go on with these by load_state_dict(state, strict=False)"
            raise ValueError(f"state: of other {'; '.join(told)}; {remedy}")
        epoch = whole("state['epoch']", state.get("epoch"), -1)
        batch = whole("state['batch']", state.get("batch"), 0, len(self) if strict else 2**63 - 1)
        if told:
            warnings.warn(f"state: of other {'; '.join(told)}; the loader goes on with these", stacklevel=2)
        if (was := state.get("kernels")) != (now := info()["isa"]):
            warnings.warn(
                f"state: its views were made by kernels of {was!r}, and go on by those of {now!r}, which round differently; "
                f"SASSL_ISA={was} takes the same where the processor has them",
                stacklevel=2,
            )
        self._epoch, self._batch = epoch, min(batch, len(self))
        # An epoch that is over is followed by the next one.
        self._chosen = epoch >= 0 and batch < len(self)

    def _other_order(self, name: str, was: Any, value: Any) -> str:
        """The error for a state of another order."""
        if name != "batch_size" or not isinstance(was, int):
            return f"state[{name!r}] = {was!r}: this loader has {value!r}; make it as it was"
        each, rest = divmod(was, self._world_size)
        own = f"this loader has {value}" + (f" on {self._world_size} ranks" if self._world_size > 1 else "")
        remedy = f"give batch_size={each}" if rest == 0 else f"take a number of ranks that divides {was}"
        return f"state['batch_size'] = {was}, of all ranks together: {own}; {remedy}"

    def __iter__(self) -> Iterator[Any]:
        self._check_share()
        if not self._chosen:
            self._epoch, self._batch = self._epoch + 1, 0
        self._chosen = False
        batches = _Batches(self, self._epoch, self._batch)
        self._current = weakref.ref(batches)
        return batches

    def _check_share(self) -> None:
        """A process group that came after the loader would have all ranks see the same images."""
        found = ranks.group() if self._settings["rank"] is None else None
        if found not in (None, (self._rank, self._world_size)):
            raise ValueError(
                f"rank = {self._rank}, world_size = {self._world_size}: found when the loader was made, and the process group "
                f"has rank {found[0]} of {found[1]}; make the loader after init_process_group, or give rank and world_size"
            )

    def _tell(self) -> None:
        """One line on damaged images that were used since the last one."""
        damaged = self.damaged
        new, self._told = len(damaged) - self._told, len(damaged)
        if new <= 0:
            return
        try:
            line = f"{new} damaged images were used as far as they could be decoded, one of them {damaged[0]}"
            warnings.warn(f"{line}; `report` names all, and `on_damage` may replace them", stacklevel=3)
        except Warning:
            raise
        # Nobody listens: stderr is closed, or no file. It ends no epoch.
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
    """One pass: an iterator that ends its threads when it is let go."""

    def __init__(self, loader: TwoViewLoader, epoch: int, batch: int) -> None:
        self._loader, self._first = loader, batch
        self._core = loader._core.start(epoch, batch, loader._pin_memory)
        # Also at the interpreter's end, when threads could no longer call Python.
        self._close = weakref.finalize(self, self._core.close)

    def __iter__(self) -> _Batches:
        return self

    def __len__(self) -> int:
        """Batches that are left."""
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
        """Ends its threads; letting go of the iterator does so too."""
        self._close()

    def _count(self) -> None:
        current = self._loader._current
        if current is not None and current() is self and not self._loader._chosen:
            self._loader._batch = self._first + self._core.taken


def _check_pinning() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ValueError("pin_memory = True: torch finds no CUDA device to copy to; leave it out")

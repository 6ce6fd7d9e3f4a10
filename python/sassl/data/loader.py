"""Batches of two views, made ahead by native threads."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from typing import Any

from .._sassl import Loader
from ..arguments import choice, flag, whole, wrong
from ..transforms.two_views import TwoViewTransform
from .sources import as_images


class TwoViewLoader:
    """Batches of two views, made ahead by native threads.

    Args:
        source: a source of this module; or a folder (`ImageFolder`), "shards-*.tar" (`WebDataset`), a list of paths or bytes
            (`Files`), an array (`Arrays`), a Hugging Face or torch dataset (`Objects`).
        transform: a recipe of `sassl.transforms`, with its style. Of `SASSL(styles="batch")`, each style is another image of
            the same batch.
        batch_size: images in a batch.
        shuffle: a new order in every epoch, of all images.
        drop_last: leave out the last batch if it is smaller, and what does not divide among ranks; False: ranks repeat images
            from the beginning to have as many.
        seed: of the order and of all draws.
        rank, world_size: which share of the images this process takes.
        threads: how many; None: the environment variable SASSL_THREADS, else all cores.
        prefetch: batches made ahead of the one that is waited for.
        on_error: "raise": an image that cannot be read is an error with its name, and iteration may go on after its batch;
            "report": the next good image takes its place, and `report` counts it; 100 bad ones in a row are an error.
        on_damage: of an image that libjpeg-turbo decodes with a warning (a few bytes are lost, the rest is there). "use": it is
            taken as far as it could be decoded, as Pillow gives it, `report` counts it, and a warning tells once of each pass
            that met new ones; "replace": the next good image takes its place, as for `on_error`; "raise": it is an error.
        collate: "lightly": ([left, right], targets, names); "solo-learn": [indices, [left, right], targets].
        output: "torch" or "numpy"; None: the transform's, else torch where it is installed. Nothing is copied.
        pin_memory: page-locked memory for views, of torch.

    Raises:
        ValueError: a number outside its range, with its name.

    Each `iter` is the next epoch, from 0 on: `set_epoch` chooses another. Views are arrays or tensors (B, 3, H, W) of the
    transform's dtype, targets int64, names a list. Threads end soon after the iteration, also on break, on an error and on
    Ctrl-C, and none of these waits for an image that is being read. It pickles with its place in the epoch.
    """

    def __init__(
        self,
        source: Any,
        transform: TwoViewTransform,
        batch_size: int = 256,
        *,
        shuffle: bool = True,
        drop_last: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        threads: int | None = None,
        prefetch: int = 2,
        on_error: str = "raise",
        on_damage: str = "use",
        collate: str = "lightly",
        output: str | None = None,
        pin_memory: bool = False,
    ) -> None:
        self._settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if not isinstance(transform, TwoViewTransform):
            name = type(transform).__name__
            raise TypeError(f"transform: expected a recipe such as sassl.transforms.MoCoV2Transform, got {name}")
        choice("collate", collate, ("lightly", "solo-learn"))
        choice("output", output, (None, "torch", "numpy"))
        batch_size, world_size = whole("batch_size", batch_size, 1), whole("world_size", world_size, 1)
        rank, prefetch = whole("rank", rank), whole("prefetch", prefetch)
        seed = whole("seed", seed, most=2**64 - 1)
        shuffle, drop_last = flag("shuffle", shuffle), flag("drop_last", drop_last)
        threads = None if threads is None else whole("threads", threads, 1, 1024)
        self.source, self.transform = as_images(source), transform
        self.output = output or transform.output
        if flag("pin_memory", pin_memory) and self.output != "torch":
            raise ValueError('pin_memory = True: page-locked memory is torch\'s; give output="torch"')
        if pin_memory:
            _check_pinning()
        self._collate, self._pin_memory = collate, pin_memory
        order: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last, "seed": seed}
        order |= {"rank": rank, "world_size": world_size}
        self._core = Loader(
            self.source.core,
            transform._core,
            **order,
            threads=threads,
            prefetch=prefetch,
            on_error=on_error,
            on_damage=on_damage,
            min_decode_size=transform._settings["min_decode_size"],
        )
        # What a state must agree with.
        self._plan = {"images": len(self.source), **order}
        self._epoch, self._batch, self._chosen = -1, 0, False
        self._told = 0
        # The pass that moves this loader's place.
        self._current: Any = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._core)

    @property
    def epoch(self) -> int:
        """The epoch of the last `iter`, or the one that `set_epoch` chose; -1 before the first."""
        return self._epoch

    @property
    def report(self) -> dict[str, tuple[str, int]]:
        """What could not be read, or is damaged: its name, why, how often it was met, also in batches made ahead."""
        return {name: (why, count) for name, (why, count, _) in self._core.report.items()}

    @property
    def damaged(self) -> list[str]:
        """Those of `report` that were used all the same; the others were replaced."""
        return [name for name, (_, _, used) in self._core.report.items() if used]

    def set_epoch(self, epoch: int) -> None:
        """The next `iter` is this epoch, from its beginning."""
        self._epoch, self._batch, self._chosen = whole("epoch", epoch), 0, True

    def state_dict(self) -> dict[str, Any]:
        """Where it is: within an epoch, after the batch that was handed out last."""
        return {**self._plan, "source": self._fingerprint(), "epoch": self._epoch, "batch": self._batch}

    def _fingerprint(self) -> int:
        return self.source.core.fingerprint()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next `iter` goes on there.

        Raises:
            ValueError: a state of another source (its length and the names of its files), order or share.
        """
        if not isinstance(state, dict):
            raise wrong("state", state, "what state_dict() gave")
        for name, value in {**self._plan, "source": self._fingerprint()}.items():
            if name not in state or state[name] != value:
                got = repr(state[name]) if name in state else "missing"
                raise ValueError(f"state[{name!r}] = {got}: this loader has {value!r}; make it as it was")
        epoch = whole("state['epoch']", state.get("epoch"), -1)
        batch = whole("state['batch']", state.get("batch"), 0, len(self))
        self._epoch, self._batch = epoch, batch
        # An epoch that is over is followed by the next one.
        self._chosen = epoch >= 0 and batch < len(self)

    def __iter__(self) -> Iterator[Any]:
        if not self._chosen:
            self._epoch, self._batch = self._epoch + 1, 0
        self._chosen = False
        batches = _Batches(self, self._epoch, self._batch)
        self._current = weakref.ref(batches)
        return batches

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

    def _finish(self, left: Any, right: Any, indices: Any, targets: Any, names: list[str]) -> Any:
        if self.output == "torch":
            import torch

            left, right, indices, targets = map(torch.from_numpy, (left, right, indices, targets))
        if self._collate == "lightly":
            return [left, right], targets, names
        return [indices, [left, right], targets]

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": {**self._settings, "source": self.source}, "state": self.state_dict()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        self.__init__(**pickled["settings"])  # type: ignore[misc]
        self.load_state_dict(pickled["state"])

    def __repr__(self) -> str:
        plan = ", ".join(f"{name}={value!r}" for name, value in self._plan.items() if name != "images")
        return f"TwoViewLoader({self.source!r}, {type(self.transform).__name__}, {plan})"


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

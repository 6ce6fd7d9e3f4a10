"""Pretraining: MoCo v2, BYOL and SimCLR with style, from a folder of images to a backbone under torchvision's names.

    import sassl

    model = sassl.SimCLR("resnet18", style=sassl.transforms.SASSL(p=0.8), input_size=64, small_stem=True)
    model.fit("photos", epochs=100, batch_size=256, out="run")  # resume=True goes on, to the bit
    features = model.encode(images)
    model.export_backbone("resnet18.safetensors")  # torchvision.models.resnet18().load_state_dict(...)

Everything between two views and changed weights is native; only the loop over batches is here.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ._sassl import Trainer, checkpoint_metadata, cosine_momentum, cosine_rate, write_tensors
from .arguments import choice, flag, number, whole, wrong
from .data import TwoViewLoader
from .transforms import recipes
from .transforms.plain import SASSL


@dataclass(frozen=True)
class Config:
    """What a run is: printed, saved with it, and compared when it goes on.

    Each method reads what is its own: `queue_size`, `splits`, `symmetric` and `mlp` are MoCo's, `layers` SimCLR's. `lr` is
    for a batch of 256, or of one image where `scaling` is "sqrt"; `encoder_momentum` is m of MoCo or tau of BYOL.
    """

    method: str
    arch: str = "resnet50"
    small_stem: bool = False
    zero_init_residual: bool = False
    dim: int = 128
    hidden_dim: int = 2048
    layers: int = 2
    temperature: float = 0.1
    queue_size: int = 65_536
    splits: int = 1
    symmetric: bool = False
    mlp: bool = True
    encoder_momentum: float = 0.999
    encoder_momentum_schedule: str = "constant"
    optimizer: str = "sgd"
    nesterov: bool = False
    eta: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 1e-4
    exclude_bias_and_norm: bool = False
    lr: float = 0.03
    scaling: str = "linear"
    warmup_epochs: int = 0
    schedule_by: str = "step"
    seed: int = 0

    def __post_init__(self) -> None:
        choice("encoder_momentum_schedule", self.encoder_momentum_schedule, ("constant", "cosine"))
        choice("scaling", self.scaling, ("linear", "sqrt", "none"))
        choice("schedule_by", self.schedule_by, ("step", "epoch"))
        whole("warmup_epochs", self.warmup_epochs)
        for name in ("small_stem", "zero_init_residual", "symmetric", "mlp", "nesterov", "exclude_bias_and_norm"):
            flag(name, getattr(self, name))
        if not 0 <= number("encoder_momentum", self.encoder_momentum) <= 1:
            raise wrong("encoder_momentum", self.encoder_momentum, "a number from 0 to 1")
        if not 0 < number("lr", self.lr) < float("inf"):
            raise wrong("lr", self.lr, "a number above 0")

    def core(self) -> str:
        """What the native trainer is made of, as JSON."""
        loop = (
            "encoder_momentum",
            "encoder_momentum_schedule",
            "lr",
            "scaling",
            "warmup_epochs",
            "schedule_by",
        )
        return json.dumps({name: value for name, value in asdict(self).items() if name not in loop})

    def peak_lr(self, batch_size: int) -> float:
        """The largest learning rate, for this batch."""
        factor = {"linear": batch_size / 256, "sqrt": batch_size**0.5, "none": 1.0}[self.scaling]
        return self.lr * factor


#: The published settings, for ResNet-50 on ImageNet; each with its source.
PRESETS = {
    # facebookresearch/moco `main_moco.py`: 200 or 800 epochs, batch 256.
    "moco-v2": Config("moco-v2", temperature=0.2, splits=8, schedule_by="epoch"),
    # Grill et al. 2020, section 3.3 and table 24: 1000 epochs, batch 4096.
    "byol": Config(
        "byol",
        dim=256,
        hidden_dim=4096,
        encoder_momentum=0.996,
        encoder_momentum_schedule="cosine",
        optimizer="lars",
        weight_decay=1.5e-6,
        exclude_bias_and_norm=True,
        lr=0.2,
        warmup_epochs=10,
    ),
    # Chen et al. 2020, sections 2.2 and B: 100 to 1000 epochs, batch 4096; the root rule of table B.1 for smaller ones.
    "simclr": Config(
        "simclr",
        zero_init_residual=True,
        optimizer="lars",
        weight_decay=1e-6,
        exclude_bias_and_norm=True,
        lr=0.075,
        scaling="sqrt",
        warmup_epochs=10,
    ),
}


class Pretraining:
    """What the three methods share; they differ in their preset and in the recipe of their views.

    Args:
        arch: "resnet18", "resnet34", "resnet50" or "resnet101".
        style: a `SASSL` for the left view, or None.
        input_size: side of the views, or (height, width).
        views: more keywords for the recipe of the views, as `cj_strength` or `normalize`.
        threads: of a step; None: the environment variable SASSL_THREADS, else all cores.
        settings: fields of `Config` that differ from the method's preset.

    Raises:
        TypeError: a setting that `Config` does not have.
        ValueError: a setting that cannot be.
    """

    _preset: ClassVar[str]
    _recipe: ClassVar[type[recipes.TwoViewTransform]]

    def __init__(
        self,
        arch: str = "resnet50",
        *,
        style: SASSL | None = None,
        input_size: int | tuple[int, int] = 224,
        views: dict[str, Any] | None = None,
        threads: int | None = None,
        **settings: Any,
    ) -> None:
        known = [field.name for field in fields(Config) if field.name not in ("method", "arch")]
        for name in settings:
            if name not in known:
                raise TypeError(f"{name} = {settings[name]!r}: no such setting; there are {', '.join(known)}")
        #: The settings of the run.
        self.config = replace(PRESETS[self._preset], arch=arch, **settings)
        #: How views are made of images.
        self.transform = self._recipe(
            **{"input_size": input_size, "style": style, "output": "numpy", "channels_last": True, **(views or {})}
        )
        self._threads = threads
        self._trainer = Trainer(self.config.core(), threads=threads)
        #: A dict for each epoch: epoch, loss, lr, images a second, and what the method watches.
        self.history: list[dict[str, float]] = []

    def fit(
        self,
        data: Any,
        epochs: int,
        *,
        batch_size: int = 256,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        keep: int = 2,
        on_epoch: Callable[[Pretraining, dict[str, float]], object] | None = None,
        quiet: bool = False,
    ) -> Pretraining:
        """Pretrains.

        Args:
            data: a folder, or whatever a `TwoViewLoader` takes; a `TwoViewLoader`; or any iterable of batches whose first
                element is [left views, right views], (N, 3, H, W) or (N, H, W, 3) of floats, of one length in each epoch.
            epochs: of the whole run, those before a resume too.
            batch_size: images of a batch, where the loader is made here.
            out: a folder for `config.json`, `log.csv` and the checkpoints, one after each epoch.
            resume: go on from the folder's last checkpoint, to the bit if the data is a `TwoViewLoader` or what makes one.
            keep: how many checkpoints stay.
            on_epoch: called with this object and the epoch's row of the history.
            quiet: no line after each epoch.

        Raises:
            ValueError: settings, batches or a checkpoint that do not fit; a loss that is not finite.
            FileExistsError: the folder has a run already, and `resume` is not asked for; or another process is at it.
            KeyboardInterrupt: Ctrl-C or SIGTERM, after a last checkpoint.
        """
        epochs, keep = whole("epochs", epochs, 1), whole("keep", keep, 1)
        loader = data if _is_batches(data) else self._loader(data, whole("batch_size", batch_size, 1))
        batches = len(loader)
        total, warmup = epochs * batches, min(self.config.warmup_epochs, epochs - 1) * batches
        folder = None if out is None else _Folder(Path(out), resume, self.config)
        start, place = 0, 0
        try:
            if folder is not None and resume and folder.last() is not None:
                start, place = self._resume(folder, loader)
            with _stopping() as asked:
                for epoch in range(start, epochs):
                    self._epoch(loader, epoch, place, (total, warmup, batches), folder, asked, quiet)
                    place = 0
                    if folder is not None:
                        folder.log(self.history)
                        folder.checkpoint(self._trainer, epoch + 1, 0, self.history, keep)
                    if on_epoch is not None:
                        on_epoch(self, self.history[-1])
        finally:
            if folder is not None:
                folder.close()
        return self

    def _loader(self, data: Any, batch_size: int) -> TwoViewLoader:
        return TwoViewLoader(
            data, self.transform, batch_size, seed=self.config.seed, threads=self._threads, output="numpy"
        )

    def _epoch(
        self,
        loader: Any,
        epoch: int,
        place: int,
        steps: tuple[int, int, int],
        folder: _Folder | None,
        asked: list[int],
        quiet: bool,
    ) -> None:
        total, warmup, batches = steps
        native = isinstance(loader, TwoViewLoader)
        if native and place == 0:
            loader.set_epoch(epoch)
        sums: dict[str, float] = {}
        images, began = 0, time.perf_counter()
        done = place
        for batch in loader if native or place == 0 else _skip(loader, place):
            left, right = (_numbers(view) for view in batch[0])
            step = epoch * batches + done
            lr, momentum = self._rates(len(left), step, total, warmup, batches)
            try:
                loss, watched = self._trainer.step(left, right, lr, momentum)
            except ValueError as error:
                last = folder.last() if folder is not None else None
                after = f"; the last checkpoint is {last}" if last is not None else ""
                raise ValueError(f"epoch {epoch}, batch {done}: {error}{after}") from None
            done += 1
            images += len(left)
            for name, value in {"loss": loss, "lr": lr, **watched}.items():
                sums[name] = sums.get(name, 0.0) + value
            if asked:
                if folder is not None:
                    folder.checkpoint(self._trainer, epoch, done, self.history, 2**31)
                raise KeyboardInterrupt
        if done == place:
            raise ValueError(f"epoch {epoch}: the data gave no batch")
        seconds = time.perf_counter() - began
        means = {name: value / (done - place) for name, value in sums.items()}
        self.history.append({"epoch": epoch + 1, **means, "images_per_second": images / seconds})
        if not quiet:
            row = self.history[-1]
            told = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
            print(f"epoch {epoch + 1}: {told}", file=sys.stderr, flush=True)

    def _rates(self, batch: int, step: int, total: int, warmup: int, batches: int) -> tuple[float, float]:
        """The learning rate and the encoder's momentum of a step."""
        config = self.config
        at = step // batches * batches if config.schedule_by == "epoch" else step
        lr = cosine_rate(config.peak_lr(batch), warmup, total, at)
        if config.encoder_momentum_schedule == "constant":
            return lr, config.encoder_momentum
        return lr, cosine_momentum(config.encoder_momentum, total, step)

    def _resume(self, folder: _Folder, loader: Any) -> tuple[int, int]:
        path = folder.last()
        assert path is not None
        metadata = self._trainer.load(path)
        self.history = json.loads(metadata["history"])
        epoch, place = int(metadata["epoch"]), int(metadata["batch"])
        if place and isinstance(loader, TwoViewLoader):
            loader.load_state_dict({**loader.state_dict(), "epoch": epoch, "batch": place})
        return epoch, place

    def encode(self, images: NDArray[np.float32], batch_size: int = 256) -> NDArray[np.float32]:
        """Features by the backbone, its norms as after training.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W) of floats, normalized as the views are.
            batch_size: images at a time.

        Returns:
            (N, features) float32.
        """
        array = _numbers(images)
        parts = [self._trainer.encode(array[i : i + batch_size]) for i in range(0, len(array), batch_size)]
        return np.concatenate(parts) if parts else np.empty((0, self._trainer.features), np.float32)

    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """The backbone's tensors under torchvision's names, in its order of axes."""
        return self._trainer.backbone()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything, settings too: the whole file, or nothing."""
        self._trainer.save(path, _metadata(self.config, len(self.history), 0, self.history))

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> Pretraining:
        """What `save` or `fit` wrote.

        Args:
            path: a checkpoint.
            options: `style`, `input_size`, `views` and `threads`, which checkpoints do not hold.

        Raises:
            OSError: it cannot be read.
            ValueError: no checkpoint, a damaged one, or one of another method.
        """
        config = json.loads(checkpoint_metadata(path)["config"])
        kinds = {kind._preset: kind for kind in (MoCoV2, BYOL, SimCLR)}
        kind = kinds[config.pop("method")]
        if not issubclass(kind, cls):
            raise ValueError(f"{os.fspath(path)}: a checkpoint of {kind.__name__}, not of {cls.__name__}")
        model = kind(**config, **options)
        model.history = json.loads(model._trainer.load(path)["history"])
        return model

    def export_backbone(self, path: str | os.PathLike[str]) -> None:
        """Writes the backbone under torchvision's names: .safetensors, or .pth where torch is installed.

        `torchvision.models.resnet18().load_state_dict(..., strict=False)` then misses fc.weight and fc.bias alone.

        Raises:
            ValueError: another suffix.
            ImportError: .pth without torch.
        """
        file = Path(path)
        if file.suffix == ".safetensors":
            write_tensors(file, self.state_dict(), {"format": "pt", "arch": self.config.arch})
        elif file.suffix == ".pth":
            import torch

            part = file.with_name(f".{file.name}.{os.getpid()}.part")
            torch.save({name: torch.from_numpy(tensor) for name, tensor in self.state_dict().items()}, part)
            os.replace(part, file)
        else:
            raise wrong("path", os.fspath(path), "a .safetensors or .pth file")

    def __repr__(self) -> str:
        given = {name: value for name, value in asdict(self.config).items() if name != "method"}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


class MoCoV2(Pretraining):
    __doc__ = "MoCo v2 (Chen et al. 2020, arXiv 2003.04297).\n\n" + (Pretraining.__doc__ or "").split("\n\n", 1)[1]
    _preset, _recipe = "moco-v2", recipes.MoCoV2Transform


class BYOL(Pretraining):
    __doc__ = "BYOL (Grill et al. 2020, arXiv 2006.07733).\n\n" + (Pretraining.__doc__ or "").split("\n\n", 1)[1]
    _preset, _recipe = "byol", recipes.BYOLTransform


class SimCLR(Pretraining):
    __doc__ = "SimCLR (Chen et al. 2020, arXiv 2002.05709).\n\n" + (Pretraining.__doc__ or "").split("\n\n", 1)[1]
    _preset, _recipe = "simclr", recipes.SimCLRTransform


class _Folder:
    """A run's folder: one process at a time, files that are whole."""

    def __init__(self, path: Path, resume: bool, config: Config) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = path / "running"
        try:
            self._held = os.open(self._lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            holder = self._lock.read_text() or "unknown"
            if holder.isdigit() and _is_alive(int(holder)):
                raise FileExistsError(f"{path}: process {holder} is at this run; choose another folder") from None
            # Its process was killed.
            self._lock.unlink(missing_ok=True)
            self._held = os.open(self._lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(self._held, str(os.getpid()).encode())
        try:
            self._begin(resume, config)
        except BaseException:
            self.close()
            raise

    def _begin(self, resume: bool, config: Config) -> None:
        settings = self.path / "config.json"
        if self.last() is not None and not resume:
            raise FileExistsError(
                f"{self.path}: has a run; resume=True goes on with it, another folder begins a new one"
            )
        if settings.exists() and resume:
            before = json.loads(settings.read_text())
            for name, value in asdict(config).items():
                if before.get(name) != value:
                    raise ValueError(f"{name} = {value!r}: the run in {self.path} has {before.get(name)!r}")
        _write(settings, json.dumps(asdict(config), indent=2) + "\n")

    def last(self) -> Path | None:
        """The newest checkpoint."""
        return max(self.path.glob("checkpoint-*.safetensors"), default=None)

    def checkpoint(self, trainer: Trainer, epoch: int, batch: int, history: Any, keep: int) -> None:
        config = Config(**json.loads((self.path / "config.json").read_text()))
        name = f"checkpoint-{epoch:05}-{batch:07}.safetensors"
        trainer.save(self.path / name, _metadata(config, epoch, batch, history))
        for old in sorted(self.path.glob("checkpoint-*.safetensors"))[:-keep]:
            old.unlink(missing_ok=True)

    def log(self, history: list[dict[str, float]]) -> None:
        with (part := self.path / f".log.{os.getpid()}.part").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(history[-1]), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(history)
        os.replace(part, self.path / "log.csv")

    def close(self) -> None:
        os.close(self._held)
        self._lock.unlink(missing_ok=True)


def _metadata(config: Config, epoch: int, batch: int, history: Any) -> dict[str, str]:
    parts = {"config": asdict(config), "history": history}
    return {"epoch": str(epoch), "batch": str(batch), **{name: json.dumps(part) for name, part in parts.items()}}


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text)
    os.replace(part, path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_batches(data: Any) -> bool:
    """Whether these are batches already: a loader, ours or torch's, or a list of ([left, right], ...)."""
    if isinstance(data, TwoViewLoader) or (hasattr(data, "__iter__") and hasattr(data, "batch_size")):
        return True
    if not isinstance(data, (list, tuple)) or not data or not isinstance(data[0], (list, tuple)):
        return False
    views = data[0][0]
    return isinstance(views, (list, tuple)) and len(views) == 2 and all(np.ndim(view) == 4 for view in views)


def _skip(loader: Iterable[Any], n: int) -> Iterator[Any]:
    for i, batch in enumerate(loader):
        if i >= n:
            yield batch


def _numbers(views: Any) -> NDArray[np.float32]:
    """Views of numpy or torch as float32."""
    array = np.asarray(views)
    if array.dtype.kind != "f":
        raise ValueError(f"views: expected floats, got {array.dtype}; the recipe's dtype is float32")
    return array.astype(np.float32, copy=False)


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Signals that ask for an end are kept until the step is done; a second one is not."""
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        # Signals are the main thread's.
        before = {}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""The base class of the methods: a model that is built from settings, is trained on images, and computes features."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..._sassl import checkpoint_metadata
from ...arguments import choice, flag, whole, wrong
from ...data import TwoViewLoader
from ...data.classes import class_names
from ...transforms.plain import as_style
from ...transforms.views import UNKNOWN, Views
from .. import batches, view_settings
from ..config import METHODS, Config
from ..encoding import Encoding
from ..engines import ENGINES, Maker
from ..folder import STYLES, Folder, metadata
from ..history import History
from ..loggers import chosen
from ..loop import Loop
from ..monitor import Monitor
from ..shared_folder import shared
from ..stopping import Stopping, seconds_of
from ..weights import Weights, named

Callback = Callable[["Pretraining", dict[str, float]], object]


class Pretraining(Encoding, Weights):
    """The base class of `MoCoV2`, `BYOL`, `SimCLR` and `SimSiam`, which differ in settings, presets and the recipe of views."""

    #: The method's name, in `METHODS`.
    name: ClassVar[str]

    def __init__(
        self,
        arch: Any = None,
        *,
        preset: str | None = None,
        style: Any = None,
        input_size: int | tuple[int, int] | None = None,
        views: dict[str, Any] | Views | None = None,
        init: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        threads: int | None = None,
        engine: str | Maker = "native",
        **settings: Any,
    ) -> None:
        """Create the model with its backbone, heads and optimizer.

        Args:
            arch: name of a backbone, such as "resnet18" or "vgg11_bn"; None: the preset's. With engine="torch", also a timm or
                torchvision model, such as "timm:vit_small_patch16_224" or "torchvision:resnet50" (with its keywords in
                `arch_settings`), or a torch.nn.Module that maps images (N, 3, H, W) to features (N, `features`); a copy of the
                module is trained.
            preset: the name of one of this method's presets in `PRESETS`; None: the preset with the method's own name.
            style: the style of the left view: a `SASSL`, or a value of its argument `styles`, such as "default" or a folder;
                None: no style. Styles without a name, such as images in memory, are stored in the run's folder.
            input_size: side of the views in pixels, or (height, width); None: the preset's.
            views: further keywords for the recipe of the views, such as `cj_strength` or `normalize`; or a
                `sassl.transforms.Views` of two lists of operations, which may contain a `SASSL`.
            init: initial weights of the backbone, as `load_backbone` takes them; None: drawn from `seed`.
            threads: the number of threads for a step; None: the environment variable SASSL_THREADS, else all cores.
            engine: the engine that computes the steps: a name in `sassl.pretraining.engines.ENGINES`, or a callable that builds
                an `Engine` from a `Config` and a number of threads.
            settings: changes to the preset, under the names of `config.flat()`: settings of the method, the backbone, the
                optimizer, the schedule and the data.

        Raises:
            TypeError: this method, backbone or optimizer has no such setting.
            ValueError: the value of a setting is invalid.
        """
        if type(self) is Pretraining:
            raise TypeError(
                f"Pretraining is the base of {', '.join(row.kind.__name__ for row in METHODS.values())}; create one of these"
            )
        presets = METHODS[self.name].presets
        base = presets[choice("preset", self.name if preset is None else preset, presets)]
        if not isinstance(views, (dict, Views, type(None))):
            raise wrong("views", views, "a dict, or Views")
        given = {"arch": arch, "input_size": input_size}
        config = base.changed(**settings, **{name: value for name, value in given.items() if value is not None})
        style = as_style(style)
        if isinstance(views, Views):
            for name, value in (("style", style), ("input_size", input_size)):
                if value is not None:
                    raise ValueError(f"{name}={value!r} must be given to the views, which have their own")
            transform = view_settings.for_engine(views)
            config = view_settings.told(transform, config)
        else:
            described = None if style is None else style.describe()
            config = config.changed(views={**base.data.views, **(views or {})}, style=described)
            transform = view_settings.make(config, style=style)
        self._begin(config, transform, threads, engine)
        if init is not None:
            self.load_backbone(init)

    def _begin(self, config: Config, transform: Views, threads: int | None, engine: str | Maker) -> None:
        #: The settings of the model.
        self.config = config
        #: The settings of the last run: `config` with the arguments of `fit` and the views of its data.
        self.run = config
        self._views = transform
        #: The transform of the last run's views.
        self.transform = transform
        #: The folder of the checkpoint that the model was loaded from, in which styles are looked up.
        self._origin: Path | None = None
        self._threads = threads
        #: The engine that computes the steps.
        self.engine = (ENGINES[choice("engine", engine, ENGINES)] if isinstance(engine, str) else engine)(
            config, threads
        )
        #: A list with a dict for each epoch: epoch, loss, lr, images per second, the method's metrics, a monitor's accuracies.
        self.history = History()

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        styles: Any = None,
        init: bool = True,
        arch: Any = None,
        threads: int | None = None,
        engine: str | Maker = "native",
    ) -> Pretraining:
        """Build a model, including its style, from settings; `Pretraining.from_config` accepts settings of any method.

        Args:
            config: the settings.
            styles: the styles, or the path of their file, such as `styles.safetensors` in a run's folder, if the settings do
                not name them or their file has moved.
            init: whether to load the initial weights that the settings name; False for a run that resumes from its checkpoint.
            arch: the module, if the backbone is one, since settings record only its class.
            threads, engine: as in the constructor.

        Raises:
            ValueError: the settings are invalid, or belong to another method; the files of styles or weights have changed.
            OSError: a folder or file of styles or weights does not exist.
        """
        config, transform = config.with_module(arch), view_settings.make(config, styles=styles)
        model = cls._made(view_settings.with_styles(config, transform), transform, threads, engine)
        if init and config.init is not None:
            model.load_backbone(named(config.init))
            if model.config.init != config.init:
                raise ValueError(
                    f"init {config.init['source']!r} does not hold the weights that the settings name; start anew"
                )
        return model

    @classmethod
    def _made(cls, config: Config, transform: Views, threads: int | None, engine: str | Maker) -> Pretraining:
        kind = METHODS[config.method.name].kind
        if not issubclass(kind, cls):
            raise ValueError(f"method {config.method.name!r} is of {kind.__name__}, not of {cls.__name__}")
        model: Pretraining = kind.__new__(kind)
        model._begin(config, transform, threads, engine)
        return model

    def fit(
        self,
        data: Any,
        epochs: int | None = None,
        *,
        batch_size: int | None = None,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        keep: int = 2,
        checkpoint_every: int | None = None,
        on_error: str = "raise",
        monitor: Any = None,
        loggers: Any = (),
        time_limit: Any = None,
        on_epoch: Callback | None = None,
        on_step: Callback | None = None,
        quiet: bool = False,
    ) -> Pretraining:
        """Pretrain from the current weights.

        Args:
            data: a folder, or other images that a `TwoViewLoader` takes; a `TwoViewLoader`; or any iterable of batches whose
                first element is [left views, right views], float arrays (N, 3, H, W) or (N, H, W, 3). The first batch of such
                an iterable is checked against `input_size` and `normalize` of `views`, by which `sassl.evaluation` preprocesses
                images; `views={"normalize": "not known"}` accepts any values. An epoch has `len(data)` batches: if `data`
                yields more, they are ignored, and if it yields fewer, the epoch ends early, both with a warning.
            epochs: total epochs of the run, including those before a resume; None: those of `config`, which `fit` leaves
                unchanged (the attribute `run` has the settings of the last run). On a resume, a larger number prolongs the run;
                this is printed, and recorded in `run.json`.
            batch_size: images per batch over all ranks, by which the learning rate is scaled, even for a smaller last batch;
                None: that of `data` if it yields batches, else that of `config`.
            out: a folder for `config.json`, `log.csv` and the checkpoints, one after each epoch; None: nothing is written.
            resume: whether to resume from the folder's last checkpoint, or start a new run if there is none; bit-exact if
                `data` is a `TwoViewLoader`, or images, from which `fit` creates one.
            keep: how many of the newest checkpoints to keep.
            checkpoint_every: the interval, in steps, of additional checkpoints for long epochs; None: no additional ones.
            on_error: as in `TwoViewLoader`: "raise", or "report", which replaces an unreadable image by another and prints a
                line.
            monitor: labelled images or a `Monitor`, which measures the accuracy of the features after some epochs. A failed
                measurement is printed, and the run continues, unless an image is unreadable and `on_error` is "raise". Classes
                that do not match those of the training images raise a ValueError before the run begins.
            loggers: additional logging: a name, such as "tensorboard", "csv" (a row every tenth step), "wandb" or "mlflow", a
                `sassl.pretraining.Logger`, or a list of these. Failures during the run are printed, and the run continues.
            time_limit: the maximum duration of this call, in Slurm's format ("3:50:00"; "30" means minutes) or as a
                `timedelta`; the run ends with a checkpoint after the last step that fits. None: no limit.
            on_epoch: called with this object and the epoch's row in the history.
            on_step: called with this object and the values of the step: step and epoch, counted from 1, loss, lr, and more.
            quiet: whether to print only failures: no progress bar, and no other lines.

        Raises:
            TypeError, ValueError: an argument is invalid; the batches or the checkpoint do not match the settings; the loss is
                not finite.
            FileExistsError: the folder has a run already and `resume` is false; another process uses it; or a name that the run
                needs is taken by another file.
            OSError: the first or the last checkpoint cannot be written; the model is intact, and `save` can write it elsewhere.
                If another checkpoint cannot be written, this is printed, earlier ones are kept, and the run continues.
            Requeue: the time limit or SIGUSR1 has ended the run; a subclass of KeyboardInterrupt.
            KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP has ended the run, after a last checkpoint if there is a folder.
                Signals that are ignored (nohup), or for which the caller has set a handler, are left alone. Such a handler
                cannot use this object during a step: let it set a flag, and check the flag in `on_step`.
        """
        keep = whole("keep", keep, 1)
        if checkpoint_every is not None:
            whole("checkpoint_every", checkpoint_every, 1)
        stopping = Stopping(seconds_of(time_limit))
        _check_folder(out, resume=flag("resume", resume), time_limit=time_limit)
        asked = chosen(loggers, out)
        _check_callable(on_epoch=on_epoch, on_step=on_step)
        config, loader, transform = self.prepared(data, epochs, batch_size, on_error)
        if monitor is not None:
            monitor = monitor if isinstance(monitor, Monitor) else Monitor(monitor)
            self._begin_monitor(monitor, config, loader, on_error)
        ranks, styles = self.engine.ranks, view_settings.unnamed(transform)
        path = os.path.abspath(os.fsdecode(data)) if isinstance(data, (str, bytes, os.PathLike)) else None
        folder = None if out is None else shared(ranks, lambda: Folder(Path(out), resume, config, styles, path))
        try:
            self.run, self.transform = config, transform
            loop = Loop(
                self,
                config,
                loader,
                folder=folder,
                keep=keep,
                checkpoint_every=checkpoint_every,
                monitor=monitor,
                loggers=asked,
                stopping=stopping,
                on_epoch=on_epoch,
                on_step=on_step,
                quiet=quiet or ranks.rank > 0,
            )
            loop.run(resume)
        except Exception as error:
            ranks.lost(error)
            raise
        finally:
            if folder is not None:
                folder.close()
        return self

    def prepared(
        self, data: Any, epochs: int | None, batch_size: int | None, on_error: str
    ) -> tuple[Config, Any, Views]:
        """Return a run's settings, its batches, and the transform of their views; arguments and errors are those of `fit`."""
        config = self._planned(data, epochs, batch_size)
        loader = self._loader(data, config, on_error)
        if isinstance(data, TwoViewLoader):
            return view_settings.told(data.transform, config), loader, data.transform
        return config, loader, self._views

    def _planned(self, data: Any, epochs: int | None, batch_size: int | None) -> Config:
        """Return the settings with the epochs and the batch size of a run, after checking these against the data."""
        epochs = self.config.schedule.epochs if epochs is None else whole("epochs", epochs, 1)
        made = batches.is_batches(data)
        if made:
            batches.check_length(data, epochs)
        ranks = self.engine.ranks.world_size
        if batch_size is None:
            batch_size = ranks * batches.batch_size(data) if made else self.config.data.batch_size
        batch_size = whole("batch_size", batch_size, 1)
        batches.check_sizes(data if made else None, batch_size, self.engine.check_batch, ranks)
        return self.config.changed(epochs=epochs, batch_size=batch_size)

    def _loader(self, data: Any, config: Config, on_error: str) -> Any:
        """Return the data if they are batches, else a loader of their images."""
        if batches.is_batches(data):
            if on_error != "raise":
                raise ValueError(f"on_error={on_error!r} must be given to your own loader")
            return data
        if config.data.views.get("normalize") == UNKNOWN:
            raise wrong("normalize", UNKNOWN, "a dict or None for views that are computed here")
        if self._origin is not None:
            kept = self._origin / STYLES
            self._views = view_settings.make(self.config, styles=kept if kept.exists() else None)
            self._origin = None
        # The engine's ranks count, whatever this process's group or environment is.
        ranks = self.engine.ranks
        own: dict[str, Any] = {
            "seed": config.seed,
            "threads": self.engine.threads,
            "output": "numpy",
            "rank": ranks.rank,
            "world_size": ranks.world_size,
            **self.engine.loading(self._views),
        }
        return TwoViewLoader(data, self._views, config.data.batch_size // ranks.world_size, **own, on_error=on_error)

    def _begin_monitor(self, monitor: Monitor, config: Config, loader: Any, on_error: str) -> None:
        if isinstance(loader, TwoViewLoader):
            monitor.begin(loader.source.classes, loader.on_error)
        else:
            monitor.begin(class_names(getattr(loader, "dataset", None)), on_error)
        if config.data.views.get("normalize") == UNKNOWN:
            raise ValueError(
                f"monitor must be left out with normalize={UNKNOWN!r}, as no image can be normalized like the views"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint with the complete state and the settings, atomically."""
        self.engine.save(path, metadata(self.run, self.history, len(self.history)))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        style: Any = None,
        arch: Any = None,
        threads: int | None = None,
        engine: str | Maker | None = None,
    ) -> Pretraining:
        """Load a checkpoint that `save` or `fit` wrote; `Pretraining.load` accepts those of any method.

        Args:
            path: the checkpoint.
            style: a style for later calls to `fit`, as in the constructor, instead of the checkpoint's. None: `fit` uses the
                style in the checkpoint's settings, with the styles of `styles.safetensors` next to it if there is such a file.
                The style and unregistered operations are not needed before `fit`.
            arch: the module, if the backbone is one; the checkpoint's weights are loaded into a copy.
            threads, engine: as in the constructor; any engine with the same tensors can load a checkpoint. With `engine=None`:
                "native", or "torch" for timm's and torchvision's models and for modules.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not a checkpoint, is damaged, or belongs to another method.
        """
        config = Config.of(json.loads(checkpoint_metadata(path)["config"])).with_module(arch)
        engine = engine or ("native" if config.backbone.family is None else "torch")
        style = as_style(style)
        if style is not None:
            config = config.changed(style=style.describe())
        try:
            model = cls._made(config, view_settings.make(config, style=style, bare=True), threads, engine)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None
        if style is None:
            model._origin = Path(path).parent
        model.history = History(json.loads(model.engine.load(path)["history"]))
        return model

    def __repr__(self) -> str:
        given = {name: value for name, value in self.config.flat().items() if name != "method"}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _check_folder(out: Any, **needing: Any) -> None:
    for name, value in needing.items():
        if value and out is None:
            raise ValueError(f"{name}={value!r} requires a folder; give out")


def _check_callable(**callbacks: Any) -> None:
    for name, callback in callbacks.items():
        if callback is not None and not callable(callback):
            raise TypeError(f"{name} must be a function, got {type(callback).__name__}")

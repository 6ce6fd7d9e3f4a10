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
    """The base class of `MoCoV2`, `BYOL`, `SimCLR` and `SimSiam`. They differ in settings, presets and recipe of the views."""

    #: The method's key in `METHODS`.
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
            arch: name of a backbone, such as "resnet18" or "vgg11_bn"; None: the preset's. With engine="torch", also one of:
                - A timm or torchvision model, such as "timm:vit_small_patch16_224" or "torchvision:resnet50". The setting
                  `arch_settings` holds keywords of the model.
                - A torch.nn.Module that maps images (N, 3, H, W) to features (N, `features`). A copy of the module is trained.
            preset: the name of one of this method's presets in `PRESETS`; None: the preset with the method's own name.
            style: the style of the left view: a `SASSL`, or a value for the argument `styles` of `SASSL`, such as "default" or
                a folder. None: no style. Styles without a name, such as images in memory, are stored in the run's folder.
            input_size: side of the views in pixels, or (height, width); None: the preset's.
            views: further keywords for the recipe of the views, such as `cj_strength` or `normalize`; or a
                `sassl.transforms.Views` of two lists of operations. The lists may contain a `SASSL`.
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
        #: The settings of the last run: `config` with the epochs, batch size and views of the call to `fit`.
        self.run = config
        self._views = transform
        #: The transform of the last run's views.
        self.transform = transform
        #: The folder of the loaded checkpoint, if `fit` has yet to look up styles in that folder; else None.
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
        """Build a model, including the style, from settings. `Pretraining.from_config` accepts settings of any method.

        Args:
            config: the settings.
            styles: the styles, or the path of a styles file, such as `styles.safetensors` in a run's folder. Required if the
                settings describe a style without naming its source, or if the named file has moved; else None.
            init: whether to load the initial weights that the settings name; False for a run that resumes from its checkpoint.
            arch: the module, if the backbone is a module, since settings record only a module's class.
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
            data: the training data, one of:
                - A folder, or other images that a `TwoViewLoader` takes.
                - A `TwoViewLoader`.
                - An iterable of batches ([left views, right views], ...) of float arrays (N, 3, H, W) or (N, H, W, 3). The
                  first batch is checked against `input_size` and the setting `normalize` of the views, since `sassl.evaluation`
                  preprocesses images by these settings. A model that was created with
                  `views={"normalize": "not known"}` accepts batches of any values.
                An epoch has `len(data)` batches. Further batches are ignored, with a warning. If `data` yields fewer batches,
                the epoch ends early, with a warning; with several ranks, this raises a ValueError.
            epochs: total epochs of the run, including the epochs before a resume; None: as in `config`. On a resume, a larger
                value prolongs the run; this is printed, and recorded in `run.json`. `fit` does not change `config`: the
                attribute `run` has the settings of the last run.
            batch_size: images per batch over all ranks. The learning rate is scaled by this value, even for a smaller last
                batch. None: the batch size of `data` if `data` yields batches, else as in `config`.
            out: a folder for `config.json`, `log.csv` and the checkpoints, one after each epoch; None: nothing is written.
            resume: whether to resume from the folder's last checkpoint. If there is no checkpoint, a new run starts. Resuming
                is bit-exact, unless the caller provides the batches without a `TwoViewLoader`.
            keep: how many of the newest checkpoints to keep.
            checkpoint_every: the interval, in steps, of additional checkpoints for long epochs; None: none.
            on_error: as in `TwoViewLoader`: "raise", or "report", which replaces an unreadable image by another and prints a
                line.
            monitor: a `Monitor`, or labelled images for a `Monitor`, to measure the accuracy of the features after some epochs.
                A failed measurement is printed, and the run continues. An unreadable image ends the run if `on_error` is
                "raise". A class that is not a class of the training images raises a ValueError before the run begins.
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
            FileExistsError: the folder has a run already, and `resume` is false; another process uses the folder; or another
                file has a name that the run needs.
            OSError: the first or the last checkpoint cannot be written. The model is intact, and `save` can write it elsewhere.
                If any other checkpoint cannot be written, this is printed, earlier checkpoints are kept, and the run continues.
            Requeue: the time limit or SIGUSR1 has ended the run; a subclass of KeyboardInterrupt.
            KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP has ended the run, after a last checkpoint if there is a folder.
                Signals that are ignored, as under nohup, or for which the caller has installed a handler, are left alone.
                Such a handler cannot use this object during a step: let it set a flag, and check the flag in `on_step`.
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
        """Return the settings, the batches and the view transform of a run; arguments and errors are as in `fit`."""
        config = self._planned(data, epochs, batch_size)
        loader = self._loader(data, config, on_error)
        if isinstance(data, TwoViewLoader):
            return view_settings.told(data.transform, config), loader, data.transform
        return config, loader, self._views

    def _planned(self, data: Any, epochs: int | None, batch_size: int | None) -> Config:
        """Return the settings with a run's epochs and batch size, after checking both against the data."""
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
        """Return the data if they are batches, else a loader of the images."""
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
        # The ranks are always the engine's, whatever this process's group or environment is.
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
        """Load a checkpoint from `save` or `fit`. `Pretraining.load` accepts checkpoints of any method.

        Args:
            path: the checkpoint.
            style: a style for later calls to `fit`, as in the constructor. It replaces the style in the checkpoint's settings.
                None: `fit` uses the style in the checkpoint's settings. The styles are read from `styles.safetensors` next to
                the checkpoint if this file exists. The style and unregistered operations are not needed before `fit`.
            arch: the module, if the backbone is a module. The checkpoint's weights are loaded into a copy of the module.
            threads, engine: as in the constructor. Any engine with the same tensors can load a checkpoint. With `engine=None`:
                "torch" for a module or a model of timm or torchvision, else "native".

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

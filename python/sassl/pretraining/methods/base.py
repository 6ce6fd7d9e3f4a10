"""What the methods share: an object made of settings, fitted to images, asked for features."""

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
    """A pretraining method; `MoCoV2`, `BYOL`, `SimCLR` and `SimSiam` differ in settings, presets and recipe of views."""

    #: The method's, in `METHODS`.
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
        """Create the model: its backbone, its heads and its optimizer.

        Args:
            arch: name of a backbone, such as "resnet18" or "vgg11_bn"; None: the preset's. With engine="torch" also a foreign
                model, such as "timm:vit_small_patch16_224" or "torchvision:resnet50" (`arch_settings` holds its keywords), or a
                torch.nn.Module from images (N, 3, H, W) to features (N, `features`), of which a copy is trained.
            preset: a name in `PRESETS`, of this method; None: the method's own name.
            style: for the left view: a `SASSL`, or its `styles`, such as "default" or a folder; None: no style. Styles without
                a name, such as images in memory, are kept in the run's folder.
            input_size: side of the views in pixels, or (height, width); None: the preset's.
            views: further keywords for the recipe of the views, such as `cj_strength` or `normalize`; or two lists of
                operations as `sassl.transforms.Views`, which may hold a `SASSL`.
            init: initial weights of the backbone, as `load_backbone` takes them; None: drawn from `seed`.
            threads: threads of a step; None: the environment variable SASSL_THREADS, else all cores.
            engine: the engine that computes the steps: a name in `sassl.pretraining.engines.ENGINES`, or a callable that builds
                an `Engine` from a `Config` and a number of threads.
            settings: changes to the preset, by the names of `config.flat()`: those of the method, the backbone, the optimizer,
                the schedule and the data.

        Raises:
            TypeError: a setting that this method, backbone or optimizer does not have.
            ValueError: an invalid value of a setting.
        """
        if type(self) is Pretraining:
            raise TypeError(
                f"Pretraining: what {', '.join(row.kind.__name__ for row in METHODS.values())} share; make one"
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
                    raise ValueError(f"{name} = {value!r}: the views have their own; give it to them")
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
        #: The settings it was made of.
        self.config = config
        #: Those of the last run, which are `config` with what `fit` was told and the views of the data it was given.
        self.run = config
        self._views = transform
        #: How the views of the last run were made.
        self.transform = transform
        #: The folder of the checkpoint that it was loaded from, whose styles are looked for when views are made.
        self._origin: Path | None = None
        self._threads = threads
        #: What takes the steps.
        self.engine = (ENGINES[choice("engine", engine, ENGINES)] if isinstance(engine, str) else engine)(
            config, threads
        )
        #: A dict for each epoch: epoch, loss, lr, images a second, what the method watches, a monitor's accuracies.
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
        """As these settings say, its style too; called on `Pretraining`, of any method.

        Args:
            config: the settings.
            styles: those that no name in the settings tells, as the file `styles.safetensors` of a run's folder; or those whose
                file lies elsewhere now.
            init: whether the backbone takes the weights that the settings name; False, for a run that goes on from its
                checkpoint.
            arch: the module, where the settings name its class.
            threads, engine: as in the constructor.

        Raises:
            ValueError: settings that cannot be, or of another method; styles or weights that are not what they were.
            OSError: a folder or file of styles or of weights that is not there.
        """
        config, transform = config.with_module(arch), view_settings.make(config, styles=styles)
        model = cls._made(view_settings.with_styles(config, transform), transform, threads, engine)
        if init and config.init is not None:
            model.load_backbone(named(config.init))
            if model.config.init != config.init:
                raise ValueError(
                    f"init = {config.init['source']}: not the weights that the settings tell of; begin anew"
                )
        return model

    @classmethod
    def _made(cls, config: Config, transform: Views, threads: int | None, engine: str | Maker) -> Pretraining:
        kind = METHODS[config.method.name].kind
        if not issubclass(kind, cls):
            raise ValueError(f"method = {config.method.name!r}: of {kind.__name__}, not of {cls.__name__}")
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
        """Pretrains, from the weights that there are.

        Args:
            data: a folder, or whatever a `TwoViewLoader` takes; a `TwoViewLoader`; or any iterable of batches whose first
                element is [left views, right views], (N, 3, H, W) or (N, H, W, 3) of floats. Of others' batches the first is
                compared with `input_size` and with `normalize` of `views`, by which `sassl.evaluation` makes its images;
                `views={"normalize": "not known"}` takes any numbers. An epoch has `len` batches: what comes beyond them is
                left out, and a warning tells; where fewer come, too.
            epochs: of the whole run, those before a resume too; None: as `config` says, which stays as it is: `run` has the
                settings of the last run. More than the run had before prolong it: a line tells, and `run.json` records it.
            batch_size: images of a batch, by which the learning rate is scaled, also of a smaller last one; None: the data's
                own, or as `config` says.
            out: a folder for `config.json`, `log.csv` and the checkpoints, one after each epoch.
            resume: go on from the folder's last checkpoint, or begin where there is none yet; to the bit if the data is a
                `TwoViewLoader` or what makes one.
            keep: how many checkpoints stay.
            checkpoint_every: steps after which there is one too, for long epochs.
            on_error: as of a `TwoViewLoader`: "raise", or "report": another image for one that cannot be read, and a line.
            monitor: labelled images or a `Monitor`: accuracies of the features after an epoch. What goes wrong there is told in
                a line, and the run goes on; classes that do not fit are an error before it begins.
            loggers: what else is told of the run: a name, as "tensorboard", "csv" (points of steps), "wandb" or "mlflow", a
                `sassl.pretraining.Logger`, or a list of these. One that fails later is told in a line, and the run goes on.
            time_limit: from now, as Slurm has it ("3:50:00"; "30" are minutes), or a `timedelta`: the run ends with a
                checkpoint after the last step that fits.
            on_epoch: called with this object and the epoch's row of the history.
            on_step: called with this object and what the step gave: step and epoch, counted from 1, loss, lr, and more.
            quiet: neither a progress bar nor lines, save those on what fails.

        Raises:
            TypeError, ValueError: settings, batches or a checkpoint that do not fit; a loss that is not finite.
            FileExistsError: the folder has a run already, and `resume` is not asked for; another process is at it; or a name
                that the run needs is another's file.
            OSError: the first checkpoint or the last one that cannot be written; this object is whole, and `save` writes it
                elsewhere. Of those between a line tells, those before them stay, and the run goes on.
            Requeue: the time limit or SIGUSR1; a KeyboardInterrupt too.
            KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP, after a last checkpoint if there is a folder. Signals that
                are ignored (nohup) or have a handler of the caller's are left alone. Such a handler cannot use this object
                during a step: let it set a flag, and look at the flag in `on_step`.
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
        """A run's settings, its batches, and how their views are made; the arguments are those of `fit`, and its errors."""
        config = self._planned(data, epochs, batch_size)
        loader = self._loader(data, config, on_error)
        if isinstance(data, TwoViewLoader):
            return view_settings.told(data.transform, config), loader, data.transform
        return config, loader, self._views

    def _planned(self, data: Any, epochs: int | None, batch_size: int | None) -> Config:
        """These settings with the run's own epochs and size of a batch, which the data can have."""
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
        """The data itself, if it is batches; else a loader that makes them."""
        if batches.is_batches(data):
            if on_error != "raise":
                raise ValueError(f"on_error = {on_error!r}: of a loader that is made here; give it to yours")
            return data
        if config.data.views.get("normalize") == UNKNOWN:
            raise wrong("normalize", UNKNOWN, "a dict or None, for views that are made here")
        if self._origin is not None:
            kept = self._origin / STYLES
            self._views = view_settings.make(self.config, styles=kept if kept.exists() else None)
            self._origin = None
        # By the engine's ranks, whatever group or environment this process is in.
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
            raise ValueError(f"monitor: normalize = {UNKNOWN!r}: no image can be made as the views are; leave it out")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything, settings too: the whole file, or nothing."""
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
        """What `save` or `fit` wrote; called on `Pretraining`, of any method.

        Args:
            path: a checkpoint.
            style: in the place of the checkpoint's own, as in the constructor, for a `fit` that goes on. None: a `fit` takes
                what the settings name, or `styles.safetensors` beside the checkpoint; nothing else needs it, nor operations
                that are not known here.
            arch: the module, where the checkpoint is of one; it takes the checkpoint's weights.
            threads, engine: as in the constructor; a checkpoint is any engine's that has the same tensors. None: "native", or
                "torch" for a backbone that it alone has.

        Raises:
            OSError: it cannot be read.
            ValueError: no checkpoint, a damaged one, or one of another method.
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
            raise ValueError(f"{name} = {value!r}: needs a folder; give out")


def _check_callable(**callbacks: Any) -> None:
    for name, callback in callbacks.items():
        if callback is not None and not callable(callback):
            raise TypeError(f"{name}: expected a function, got {type(callback).__name__}")

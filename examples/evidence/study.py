"""The study as data: arms, methods, sizes and cells. A cell is a run: a method, an arm, a size, a resolution and a seed.

All cells with the same seed share the initial weights, the order of the images, the crops and all other random draws: each
operation has its own random stream, so that arms differ only in style. Nothing was tuned for an arm; docs/evidence.md has the
plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import sassl
from color_transfer import ColorTransfer
from sassl.pretraining import METHODS, PRESETS, Pretraining
from sassl.transforms import IMAGENET_NORMALIZE, SASSL, Views


@dataclass(frozen=True)
class Arm:
    """An experimental condition: the style, or another operation, that the left view receives after its crop.

    Attributes:
        title: the title in tables.
        style: keywords of `SASSL`; None: no style. A tuple as `p` consists of pairs (fraction of the run, probability).
        operation: an operation in place of `SASSL`; None: no such operation.
        gaussian: True: styles are drawn from a Gaussian fitted to the default bank, as in Jackson et al. 2019. False: they are
            drawn from the bank.
    """

    title: str
    style: dict[str, Any] | None = None
    operation: Any = None
    gaussian: bool = False


@dataclass(frozen=True)
class Size:
    """The size of a run.

    Attributes:
        epochs: the number of epochs. The learning rate decays to 0 by the last epoch, so a short run is not the start of a
            longer run.
        measured: the epochs after which the linear probe and kNN are measured.
        width: the factor for ResNet-18's channels.
        batch_size: images per batch.
        images: training images per class; None: all.
        settings: changes to the settings of every method.
    """

    epochs: int
    measured: tuple[int, ...]
    width: float = 0.25
    batch_size: int = 128
    images: int | None = 215
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """The settings of a method: a sassl preset, with changes for 64-pixel images and ImageNet's stem."""

    preset: str
    views: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)


ARMS = {
    # The two arms of the primary comparison.
    "none": Arm("without style"),
    "paper": Arm("SASSL as in the paper", {}),
    # Exploratory: which part of SASSL has an effect.
    "beta-1": Arm("the stylized view alone (beta = 1)", {"beta": 1.0}),
    "in-batch": Arm("styles of the same batch", {"styles": "batch"}),
    "color": Arm("color transfer only", operation=ColorTransfer(p=0.8)),
    "jackson": Arm("strength of Jackson et al. 2019", {"alpha": 0.5, "beta": 1.0}, gaussian=True),
    "warm-up": Arm("p rises from 0.2 to 0.4 of the run", {"p": ((0, 0.0), (0.2, 0.0), (0.4, 0.8))}),
    # Exploratory: the strength of SASSL.
    "p-0.4": Arm("p = 0.4", {"p": 0.4}),
    "p-1": Arm("p = 1", {"p": 1.0}),
    "alpha-0.5": Arm("alpha from 0.4 to 0.6", {"alpha": (0.4, 0.6)}),
    "alpha-1": Arm("alpha = 1", {"alpha": 1.0}),
    "beta-0.5": Arm("beta from 0.4 to 0.6", {"beta": (0.4, 0.6)}),
    "beta-0.8": Arm("beta from 0.7 to 0.9", {"beta": (0.7, 0.9)}),
}

#: The exploratory curves: for each setting of SASSL, a dict from value to arm. A range is represented by its midpoint.
SWEEPS = {
    "p": {0.0: "none", 0.4: "p-0.4", 0.8: "paper", 1.0: "p-1"},
    "alpha": {0.2: "paper", 0.5: "alpha-0.5", 1.0: "alpha-1"},
    "beta": {0.0: "none", 0.2: "paper", 0.5: "beta-0.5", 0.8: "beta-0.8", 1.0: "beta-1"},
}

_VIEWS = {"min_scale": 0.2, "normalize": IMAGENET_NORMALIZE}
RECIPES = {
    "simclr": Recipe("simclr-cifar10", _VIEWS, {"temperature": 0.2, "dim": 128}),
    # Batch-norm statistics over 32 images, as on each of the paper's devices.
    "moco-v2": Recipe("moco-v2-cifar10", _VIEWS, {"mlp": True, "splits": 4}),
    "byol": Recipe("byol-cifar10", _VIEWS),
}

SIZES = {
    "full": Size(100, (5, 10, 20, 40, 60, 80, 90, 100)),
    "short": Size(25, (5, 10, 15, 20, 25)),
    # For a GPU, with `--engine torch --train-only`; the checkpoints are then measured on CPUs.
    "large": Size(100, (100,), width=1.0, batch_size=256, images=None),
    # For trying the program, in seconds.
    "quick": Size(2, (1, 2), width=0.125, batch_size=8, images=10, settings={"warmup_epochs": 0}),
}

#: The seeds of the primary comparison.
SEEDS = range(6)


@dataclass(frozen=True)
class Cell:
    """A run with its measures, identified by a method, an arm, a size, the side of images in pixels, and a seed."""

    method: str
    arm: str
    size: str
    side: int = 64
    seed: int = 0

    @property
    def name(self) -> str:
        """The name of the cell, of its folder and of its file of results."""
        return f"{self.method}_{self.arm}_{self.size}_{self.side}px_seed{self.seed}"

    @property
    def reference(self) -> Cell:
        """The cell without style to which this cell is compared."""
        return Cell(self.method, "none", self.size, self.side, self.seed)

    @property
    def is_primary(self) -> bool:
        """True if the cell belongs to the primary comparison, which was fixed in advance."""
        return self.size == "full"


def _cells() -> Iterator[Cell]:
    """Yield all cells in the order in which they run: the primary ones, seed by seed, then the exploratory ones."""
    for seed in SEEDS:
        for arm in ("none", "paper"):
            yield Cell("simclr", arm, "full", seed=seed)
    for arm in ARMS:
        yield Cell("simclr", arm, "short")
    for method in ("moco-v2", "byol"):
        for arm in ("none", "paper"):
            yield Cell(method, arm, "short")
    for side in (32, 96):
        for arm in ("none", "paper"):
            yield Cell("simclr", arm, "short", side)
    for seed in range(3):
        for arm in ("none", "paper"):
            yield Cell("simclr", arm, "large", seed=seed)
    for method in RECIPES:
        for arm in ARMS:
            yield Cell(method, arm, "quick", 32)


CELLS = {cell.name: cell for cell in _cells()}


def select(pattern: str | None) -> list[Cell]:
    """The cells whose names match one of the comma-separated patterns in `pattern`; None: all "full" and "short" cells.

    Raises:
        ValueError: no cell matches.
    """
    if pattern is None:
        return [cell for cell in CELLS.values() if cell.size in ("full", "short")]
    found = [cell for name, cell in CELLS.items() if any(fnmatchcase(name, one) for one in pattern.split(","))]
    if not found:
        raise ValueError(f"--cells {pattern}: no cell matches; --list shows the cells")
    return found


def style_of(arm: Arm, epochs: int) -> SASSL | None:
    """The `SASSL` of an arm in a run of this number of epochs; None: the arm has no style."""
    if arm.style is None:
        return None
    given = dict(arm.style)
    if isinstance(given.get("p"), tuple):
        given["p"] = [(epochs * at, p) for at, p in given["p"]]
    if arm.gaussian:
        given["styles"] = sassl.StyleBank.default().gaussian()
    return SASSL(**given)


def build(cell: Cell, *, threads: int | None = None, engine: Any = "native") -> Pretraining:
    """Build the untrained model of a cell. The model depends only on the cell and on this file."""
    arm, size, recipe = ARMS[cell.arm], SIZES[cell.size], RECIPES[cell.method]
    keywords = {**PRESETS[recipe.preset].data.views, **recipe.views}
    views: Any = keywords
    own: dict[str, Any] = {"style": style_of(arm, size.epochs), "input_size": cell.side}
    if arm.operation is not None:
        # A custom operation is put where the recipe would put SASSL: after the crop of the left view.
        made = METHODS[cell.method].recipe(input_size=cell.side, **keywords, output="numpy", channels_last=True)
        (crop, *rest), right = made.views
        views, own = Views([crop, arm.operation, *rest], right, output="numpy", channels_last=True), {}
    settings = {"warmup_epochs": 4, "schedule_by": "step", **recipe.settings, **size.settings}
    return METHODS[cell.method].kind(
        "resnet18",
        preset=recipe.preset,
        width=size.width,
        small_stem=False,
        epochs=size.epochs,
        batch_size=size.batch_size,
        seed=cell.seed,
        views=views,
        threads=threads,
        engine=engine,
        **own,
        **settings,
    )

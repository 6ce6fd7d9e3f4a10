"""`sassl pretrain --demo`: SimCLR on small images of textured shapes, with SASSL and without, from the same seeds."""

from __future__ import annotations

import os
from pathlib import Path

from .. import evaluation, grids
from ..data import Arrays
from ..terminal import say
from ..transforms.plain import SASSL
from .folder import check_free
from .history import plot
from .methods.base import Pretraining
from .methods.simclr import SimCLR
from .monitor import Monitor
from .patterns import patterns

#: The numbers of training images, of test images, of images per batch, and of neighbors of the kNN classifier.
_TRAIN, _TEST, _BATCH, _K = 1536, 512, 128, 20
#: The sheet of views: the number of images, the height of each image in pixels, and the maximum file size in bytes.
_SHOWN, _HEIGHT, _MOST_BYTES = 8, 96, 600_000
#: The two runs, called arms: a dict from a run's folder to the run's style.
ARMS: dict[str, SASSL | None] = {"without-style": None, "with-sassl": SASSL(p=0.8)}
#: Epochs of each run; both runs together take less than two minutes on two cores.
EPOCHS = 18


def run(out: Path, threads: int | None = None, epochs: int = EPOCHS) -> dict[str, dict[str, float]]:
    """Pretrain SimCLR without and with style, and evaluate both models.

    The runs, their curves and a sheet of augmented views are written to a folder.

    Args:
        out: the folder, which is created.
        threads: number of threads; None: all cores.
        epochs: number of epochs of each run.

    Returns:
        Top-1 accuracies in per cent. The outer keys are "untrained" and the keys of `ARMS`; the inner keys are "kNN" and
        "linear probe".

    Raises:
        FileExistsError: the folder has a run or a result already.
    """
    curves, sheet = out / "curves.png", out / "views.jpg"
    backbones = {arm: out / arm / "backbone.safetensors" for arm in ARMS}
    for folder in (out, *(out / arm for arm in ARMS)):
        check_free(folder, "choose another --out")
    for path in (curves, sheet, *backbones.values()):
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists already; choose another --out")
    train, test = patterns(_TRAIN, seed=0), patterns(_TEST, seed=1)
    models = {arm: _simclr(style, threads) for arm, style in ARMS.items()}
    found = {"untrained": _evaluate(next(iter(models.values())), train, test)}
    for arm, model in models.items():
        say(f"{arm}: {epochs} epochs of {len(train)} images")
        model.fit(train, epochs, batch_size=_BATCH, out=out / arm, keep=1, monitor=Monitor(test, every=2, k=_K))
        model.export_backbone(backbones[arm])
        found[arm] = _evaluate(model, train, test)
    plot({arm: model.history for arm, model in models.items()}, curves, "the demo")
    views = grids.of_views(models["with-sassl"].transform, [train[i][0] for i in range(_SHOWN)])
    sheet.write_bytes(grids.jpeg(grids.grid(views, height=_HEIGHT), _MOST_BYTES))
    _report(found, curves, sheet)
    return found


def _simclr(style: SASSL | None, threads: int | None) -> Pretraining:
    """Build a SimCLR model. The initial weights, crops and color changes do not depend on `style`."""
    return SimCLR(
        "resnet18",
        preset="simclr-cifar10",
        style=style,
        small_stem=False,
        width=0.25,
        hidden_dim=256,
        dim=64,
        temperature=0.2,
        schedule_by="step",
        warmup_epochs=1,
        views={"min_scale": 0.35},
        threads=threads,
    )


def _evaluate(model: Pretraining, train: Arrays, test: Arrays) -> dict[str, float]:
    bank, queries = (evaluation.extract(model, images) for images in (train, test))
    return {
        "kNN": evaluation.knn(bank, queries, k=_K)["top1"],
        "linear probe": evaluation.linear_probe(bank, queries, epochs=30)["top1"],
    }


def _report(found: dict[str, dict[str, float]], curves: Path, sheet: Path) -> None:
    width = max(map(len, found))
    say(f"{'top-1 accuracy, %':{width}}  {'kNN':>12}  {'linear probe':>12}")
    for arm, values in found.items():
        say(f"{arm:{width}}  " + "  ".join(f"{value:12.1f}" for value in values.values()))
    say(
        "A run this short, from one seed, cannot show which of the two is better.\n"
        "The paper (arXiv 2312.01187) compares them on ImageNet."
    )
    say(f"{curves}: the curves; {sheet}: views with style; {curves.parent}/*/backbone.safetensors: the two ResNet-18")

"""`sassl pretrain --demo`: SimCLR on scikit-learn's digits, each at a place of its own in a larger image.

Without style: gray digits of 20 pixels have no texture to change.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .. import evaluation, image_files
from ..data import Arrays
from ..terminal import say
from .folder import check_free
from .methods.simclr import SimCLR
from .monitor import Monitor

_SIDE, _DIGIT = 32, 20


def digits() -> tuple[Arrays, Arrays]:
    """1,397 images to learn from and 400 to judge by, (32, 32, 3) uint8: digits of 20x20 pixels on black.

    In the middle they would be told apart by their pixels alone.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the demo's digits come with: pip install 'sassl[demo]'") from None
    pil = image_files.pillow().Image
    data, rng = load_digits(), np.random.default_rng(0)
    made = np.zeros((len(data.images), _SIDE, _SIDE, 3), np.uint8)
    for image, digit in zip(made, data.images, strict=True):
        large = pil.fromarray((digit * 15.9).astype(np.uint8)).resize((_DIGIT, _DIGIT), pil.Resampling.BILINEAR)
        y, x = rng.integers(0, _SIDE - _DIGIT + 1, 2)
        image[y : y + _DIGIT, x : x + _DIGIT] = np.asarray(large)[..., None]
    order = rng.permutation(len(made))
    made, targets = made[order], data.target[order]
    return Arrays(made[:-400], targets[:-400].tolist()), Arrays(made[-400:], targets[-400:].tolist())


def run(out: Path, threads: int | None = None) -> dict[str, dict[str, float]]:
    """Pretrains for about a minute on two cores, and writes the run's folder and a plot.

    Returns:
        Accuracies in per cent, "before" and "after".
    """
    check_free(out, "give another --out")
    plot, backbone = out / "history.png", out / "backbone.safetensors"
    for path in (plot, backbone):
        if os.path.lexists(path):
            raise FileExistsError(f"{path}: would be overwritten at the end; choose another folder")
    train, test = digits()
    model = SimCLR(
        "resnet18",
        preset="simclr-cifar10",
        small_stem=False,
        hidden_dim=256,
        dim=64,
        temperature=0.2,
        schedule_by="step",
        warmup_epochs=1,
        # A digit in a mirror is none.
        views={"hf_prob": 0.0, "min_scale": 0.35, "random_gray_scale": 0.0},
        threads=threads,
    )

    def judge() -> dict[str, float]:
        known, asked = (evaluation.extract(model, images) for images in (train, test))
        linear = evaluation.linear_probe(known, asked, epochs=30)
        return {"nearest neighbours": evaluation.knn(known, asked, k=20)["top1"], "linear probe": linear["top1"]}

    before = judge()
    model.fit(train, 30, batch_size=128, out=out, monitor=Monitor(test, every=2, k=20))
    found = {"before": before, "after": judge()}
    model.history.plot(plot)
    model.export_backbone(backbone)
    for name in before:
        say(f"{name}: {before[name]:.1f} % before, {found['after'][name]:.1f} % after")
    say(f"{plot}: the run; {backbone}: ResNet-18 under torchvision's names")
    return found

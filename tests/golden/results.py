"""What a build computes, to the bit: a line for each result, with the hash of its numbers, on each instruction set.

For changes that are to change no result: `python tests/golden/results.py > before`, build anew, and
`python tests/golden/results.py | diff before -`. Hashes are not kept, because they differ between machines' instruction sets.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sassl
from PIL import Image
from sassl import StyleBank, Stylizer, evaluation
from sassl._sassl import info
from sassl.evaluation import Features
from sassl.pretraining import Rates
from sassl.transforms import SASSL, BYOLTransform, MoCoV2Transform, SimCLRTransform
from sassl.transforms import functional as F
from sklearn.datasets import load_sample_image

HERE = Path(__file__).parent
PHOTO = load_sample_image("china.jpg")[100:353, 200:507].copy()
METHODS = {
    "moco-v2": (sassl.MoCoV2, {"queue_size": 16, "splits": 2, "dim": 16}),
    "byol": (sassl.BYOL, {"hidden_dim": 32, "dim": 16}),
    "simclr": (sassl.SimCLR, {"hidden_dim": 32, "dim": 16}),
}

Result = tuple[str, Any]


def images() -> Iterator[Result]:
    """Decoding, and what `sassl.transforms.functional` has."""
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        file = io.BytesIO()
        Image.fromarray(PHOTO).save(file, "JPEG", quality=90, subsampling=subsampling)
        yield f"decode {subsampling}", F.decode(file.getvalue())
        yield f"decode {subsampling}, at least 64", F.decode(file.getvalue(), 64)
    for interpolation in ("bilinear", "bicubic"):
        part = F.resized_crop(PHOTO, 3, 5, 200, 250, (97, 131), interpolation)
        yield f"resized_crop {interpolation}", part
    yield "adjust_hue", F.adjust_hue(PHOTO, 0.13)
    yield "adjust_saturation", F.adjust_saturation(PHOTO, 1.3)
    yield "gaussian_blur", F.gaussian_blur(PHOTO, 23, 1.3)
    yield "gaussian_blur, boxes", F.gaussian_blur(PHOTO, "pillow", 1.3)


def views() -> Iterator[Result]:
    """Both views of the three recipes."""
    for recipe in (MoCoV2Transform, SimCLRTransform, BYOLTransform):
        for style in (None, SASSL(p=1.0)):
            generator = np.random.default_rng(0)
            transform = recipe(96, style=style, rr_prob=0.5, generator=generator, output="numpy")
            for draw in range(4):
                for side, view in zip(("left", "right"), transform(PHOTO), strict=True):
                    yield f"{recipe.__name__}{' with style' * (style is not None)}, draw {draw}, {side}", view


def styles() -> Iterator[Result]:
    """Algorithm 1 and its networks."""
    batch = np.stack([PHOTO[:96, :112], PHOTO[-96:, -112:], np.full((96, 112, 3), 77, np.uint8)])
    for path in ("lite", *sorted(HERE.glob("small_*.safetensors"))):
        for precision in ("fast", "exact"):
            model = Stylizer(path, threads=1, precision=precision)
            z = StyleBank.default().vectors[:3] if path == "lite" else np.linspace(-1, 1, model.dim, dtype=np.float32)
            name = f"{Path(path).stem} {precision}"
            yield f"{name}, encode", model.encode(batch)
            yield f"{name}, transfer", model.transfer(batch, z)
            yield f"{name}, stylize", model.stylize(batch, z, 0.3, 0.3)


def training() -> Iterator[Result]:
    """Losses, features and everything that a checkpoint holds, after three steps."""
    rng = np.random.default_rng(1)
    for name, (method, own) in METHODS.items():
        model = method("resnet18", small_stem=True, input_size=16, threads=2, seed=3, **own)
        losses = []
        for _ in range(3):
            left, right = rng.standard_normal((2, 8, 3, 16, 16), np.float32)
            report = model.engine.step(left, right, Rates(0.05, 0.05, 0.99))
            losses.append(report.loss)
        yield f"{name}, losses", np.float32(losses)
        yield f"{name}, features", report.features
        state = model.engine.state()
        yield f"{name}, state", np.concatenate([state[part].ravel() for part in sorted(state)])


def probes() -> Iterator[Result]:
    """What features are worth."""
    rng = np.random.default_rng(2)
    classes = np.arange(300) % 7
    made = (rng.standard_normal((300, 64)) + 0.3 * rng.standard_normal((7, 64))[classes]).astype(np.float32)
    train, test = (Features(made[part], classes[part]) for part in (slice(0, 200), slice(200, 300)))
    for name, judge, settings in (
        ("knn", evaluation.knn, {"k": 20}),
        ("linear_probe", evaluation.linear_probe, {"epochs": 5}),
        ("logistic_probe", evaluation.logistic_probe, {}),
    ):
        found = judge(train, test, **settings)
        yield name, np.array(sorted(found[key] for key in ("top1", "top5", "c") if key in found))


def main() -> None:
    for isa in info()["supported"]:
        os.environ["SASSL_ISA"] = isa
        for part in (images, views, styles, training, probes):
            for name, result in part():
                digest = hashlib.sha256(np.ascontiguousarray(result).tobytes()).hexdigest()[:16]
                print(f"{isa}: {name}: {digest}", flush=True)


if __name__ == "__main__":
    main()

"""Views on a GPU: a step fed by a loader, and the same augmentations by kornia; `torch_engine.py` measures them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from PIL import Image
from sassl.data import TwoViewLoader
from sassl.pretraining import Rates, Torch
from sassl.transforms import SASSL, SimCLRTransform

RATES = Rates(0.01, 0.01, 0.999)


def photographs(n: int = 64, height: int = 375, width: int = 500) -> list[bytes]:
    """Generate JPEGs of the size of ImageNet's, with as much detail as photographs."""
    rng, files = np.random.default_rng(0), []
    for _ in range(n):
        layers = [Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)) for size in (5, 20, 80)]
        arrays = [np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC), np.float32) for layer in layers]
        image = 0.6 * arrays[0] + 0.25 * arrays[1] + 0.15 * arrays[2]
        buffer = io.BytesIO()
        Image.fromarray(image.astype(np.uint8)).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


class Fed:
    """SimCLR's step on a loader's views of JPEGs in memory, styled with p = 0.8; `wait` is the share of time without a batch.

    The host runs ahead of the GPU, and may wait for a batch while the GPU has work: `wait` is an upper bound of the GPU's wait.
    """

    def __init__(self, where: str, config: Any, views: list[torch.Tensor], device: torch.device) -> None:
        self._engine: Any = Torch(device=str(device), precision="bf16", views=where)(config)
        side, batch = views[0].shape[-1], len(views[0])
        transform = SimCLRTransform(side, style=SASSL(p=0.8), output="numpy", channels_last=True)
        files = photographs()
        given = self._engine.loading(transform)
        self._batches = self._endless(TwoViewLoader(files * -(-4 * batch // len(files)), transform, batch, **given))
        self._calls, self._began, self._waited = 0, 0.0, 0.0

    @staticmethod
    def _endless(loader: Any) -> Any:
        while True:
            yield from loader

    def __call__(self) -> None:
        # The first calls, which compile kernels or find full buffers, are not counted.
        if self._calls == 3:
            self._began, self._waited = time.perf_counter(), 0.0
        began = time.perf_counter()
        batch = next(self._batches)
        self._waited += time.perf_counter() - began
        self._engine.step(*self._engine.views(batch), RATES)
        self._calls += 1

    @property
    def wait(self) -> float:
        """The share of the time since the first calls."""
        return self._waited / max(time.perf_counter() - self._began, 1e-9)


def alone(views: list[torch.Tensor], device: torch.device) -> dict[str, Callable[[], object]]:
    """Return both views of a batch of crops by sassl, including the copy, with and without style; and by kornia, on the GPU."""
    side, batch = views[0].shape[-1], len(views[0])
    calls: dict[str, Callable[[], object]] = {}
    files = photographs()
    for name, style in (("sassl", None), ("sassl, style p=0.8", SASSL(p=0.8))):
        transform = SimCLRTransform(side, style=style)
        pinned = device.type == "cuda"
        loader = TwoViewLoader(files * -(-batch // len(files)), transform, batch, output="crops", pin_memory=pinned)
        half, _, _ = next(iter(loader))
        calls[name] = lambda half=half: half.finish(device)
    if find_spec("kornia") is None:
        print("kornia: DID NOT RUN, it is not installed")
        return calls
    import kornia.augmentation as K

    taps = 2 * (side // 20) + 1
    steps = torch.nn.Sequential(
        K.RandomHorizontalFlip(0.5),
        K.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((taps, taps), (0.1, 2.0), p=0.5),
    )
    crops = [torch.rand(batch, 3, side, side, device=device) for _ in range(2)]
    calls["kornia"] = lambda: [steps(one) for one in crops]
    return calls

"""What all tests share: real photographs, small networks, and a loud word for what cannot run here."""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SHARED = ROOT.parent / "shared"
#: What a history tells of time, which is another one in each run.
TIMES = ("images_per_second", "data_wait", "views_seconds", "step_seconds")

# What runs in a shell's background, or under nohup, ignores these signals, and so do the programs that it starts.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of progress come by the clock: no test gets them because the machine is busy."""
    monkeypatch.setattr("sassl.progress._FIRST", 3600.0)


def need(module: str) -> None:
    """Skips the test, saying so, where a framework is missing."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"DID NOT RUN: {module} is not installed", allow_module_level=True)


def events(folder: Path):
    """What TensorBoard reads in a folder; without TensorFlow, beside which torch's Triton cannot be loaded."""
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return read


def shared(name: str) -> Path:
    """A file beside the checkout, which a fresh clone has not."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"DID NOT RUN: {path.name} is not there")
    return path


def coloured(root: Path, splits: dict[str, int], shape: tuple[int, int] = (24, 40)) -> Path:
    """A folder for each split with so many red images and as many blue ones, in a folder for each class."""
    rng = np.random.default_rng(0)
    for split, n in splits.items():
        for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                image = np.clip(rng.integers(-20, 20, (*shape, 3)) + np.array(colour), 0, 255).astype(np.uint8)
                Image.fromarray(image).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A real photograph, (64, 80, 3) uint8."""
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[::6, ::8][:64, :80])


@pytest.fixture(scope="session")
def batch(photo: np.ndarray) -> np.ndarray:
    """Four different images, (4, 40, 44, 3) uint8."""
    return np.stack([photo[y : y + 40, x : x + 44] for y, x in [(0, 0), (20, 5), (3, 30), (24, 36)]])

"""Parts that others add without a change of the package: an operation, a recipe, a method, a backbone, an engine.

docs/contributing.md names the files of each part; these tests are such files of somebody else.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from conftest import ROOT
from sassl import evaluation
from sassl.data import Arrays, TwoViewLoader
from sassl.pretraining import METHODS, PRESETS, Config, Method, MethodSettings, Pretraining, register
from sassl.pretraining.config import Data, Schedule
from sassl.pretraining.engines import Engine, Report
from sassl.pretraining.settings import BACKBONES, Backbone
from sassl.transforms import MoCoV2Transform, Views
from sassl.transforms.operations import OPERATIONS, ColorJitter, HorizontalFlip, PythonOperation, RandomResizedCrop
from sassl.transforms.recipes import TwoViewTransform


@dataclass(frozen=True)
class Noise(PythonOperation):
    """Numbers from -amount to amount, added to all pixels."""

    kind = "noise"
    amount: int = 8

    def __call__(self, image, seed):
        rng = np.random.default_rng(seed)
        drawn = rng.integers(-self.amount, self.amount, image.shape, endpoint=True)
        return np.clip(image + drawn, 0, 255).astype(np.uint8)


@dataclass(frozen=True, repr=False, eq=False)
class MildTransform(MoCoV2Transform):
    """MoCo v2's views without gray ones, and with less colour."""

    cj_strength: float = 0.5
    random_gray_scale: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PullSettings(MethodSettings):
    """The settings of a method that draws two views together."""

    name = "pull"
    watches: ClassVar[dict[str, str]] = {"apart": "distance of the views"}
    strength: float = 1.0

    def check(self):
        if not self.strength > 0:
            raise ValueError(f"strength must be a number > 0, got {self.strength}")

    def memory(self, features):
        return {}


class Pull(Pretraining):
    """The method's class."""

    name = PullSettings.name


class Linear(Engine):
    """An engine that knows one backbone, a linear map of pixels, and one method."""

    name, threads = "linear", 1

    def __init__(self, config, threads=None):
        assert isinstance(config.method, PullSettings)
        self.strength, n = np.float32(config.method.strength), 3 * config.data.input_size**2
        drawn = np.random.default_rng(config.seed).normal(0, n**-0.5, (config.backbone.features, n))
        self.weight = drawn.astype(np.float32)

    @property
    def features(self):
        return len(self.weight)

    def check_batch(self, batch):
        pass

    def step(self, left, right, rates):
        apart = (left - right).reshape(len(left), -1)
        z, features = apart @ self.weight.T, self.encode(left)
        self.weight = self.weight - self.strength * np.float32(1e-3 * rates.lr / len(z)) * (z.T @ apart)
        return Report(float((z**2).mean()), {"apart": float(np.abs(apart).mean())}, features)

    def encode(self, images):
        return images.reshape(len(images), -1) @ self.weight.T

    def backbone(self):
        return {"weight": self.weight}

    def load_backbone(self, state):
        self.weight = state["weight"]

    def state(self):
        return self.backbone()

    def load_state(self, state):
        self.load_backbone(state)


def linear(settings):
    """The backbone `linear`, as a configuration knows it."""
    unknown = settings.keys() - {"width"}
    if unknown:
        raise ValueError(f"backbone.{min(unknown)}: linear has width alone")
    width = settings.get("width", 8)
    return {"features": width, "stem_stride": 1, "least_side": 1, "settings": {"width": width}}


@pytest.fixture(autouse=True)
def added(monkeypatch):
    """All parts, for the time of a test."""
    monkeypatch.setitem(OPERATIONS, Noise.kind, Noise)
    monkeypatch.setitem(BACKBONES, "linear", linear)
    for table in (METHODS, PRESETS):
        for name in ("pull",):
            monkeypatch.setitem(table, name, None)
    schedule, data = Schedule(epochs=2, lr=0.1), Data(batch_size=8, input_size=16)
    preset = Config(PullSettings(), backbone=Backbone("linear"), schedule=schedule, data=data)
    register(Method(PullSettings, MildTransform, {"pull": preset}, Pull))


def images(n):
    rng = np.random.default_rng(n)
    colour = np.where((np.arange(n) % 2)[:, None], [200, 40, 40], [40, 40, 200])[:, None, None]
    pixels = np.clip(rng.integers(-30, 30, (n, 20, 24, 3)) + colour, 0, 255).astype(np.uint8)
    return Arrays(pixels, (np.arange(n) % 2).tolist())


def test_an_operation_stands_in_lists_draws_replays_and_is_rebuilt():
    plain = [RandomResizedCrop(16), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.1)]
    noisy = [*plain[:2], Noise(amount=40, p=0.5), *plain[2:]]
    options = {"dtype": "uint8", "channels_last": True, "output": "numpy"}
    views = Views(noisy, plain, **options)
    made = list(TwoViewLoader(images(16), views, 8, seed=3))
    rebuilt = Views.from_description(json.loads(json.dumps(views.describe())), output="numpy")
    again = list(TwoViewLoader(images(16), rebuilt, 8, seed=3))
    assert all(np.array_equal(a, b) for x, y in zip(made, again, strict=True) for a, b in zip(x[0], y[0], strict=True))
    # Without it all others draw what they drew: views that it left out are those of the list without it, to the bit.
    without = list(TwoViewLoader(images(16), Views(plain, plain, **options), 8, seed=3))
    pairs = zip(made, without, strict=True)
    equal = np.concatenate([(x[0][0] == y[0][0]).all((1, 2, 3)) for x, y in pairs])
    assert 2 <= equal.sum() <= 14
    assert all(np.array_equal(x[0][1], y[0][1]) for x, y in zip(made, without, strict=True))


def test_an_error_of_an_operation_in_python_keeps_its_type_and_its_line_in_a_loader():
    @dataclass(frozen=True)
    class Broken(PythonOperation):
        kind = "broken"

        def __call__(self, image, seed):
            raise KeyError("mine")

    views = Views([RandomResizedCrop(8), Broken()], [RandomResizedCrop(8)])
    with pytest.raises(KeyError, match="mine") as raised:
        next(iter(TwoViewLoader(np.zeros((4, 9, 9, 3), np.uint8), views, 4)))
    assert raised.traceback[-1].name == "__call__"
    if sys.version_info >= (3, 11):
        assert "raised for arrays[" in raised.value.__notes__[0]


def test_a_method_an_engine_a_backbone_and_a_recipe_plug_in(tmp_path):
    def stop(_, row):
        raise RuntimeError("as asked")

    straight = Pull(engine=Linear, width=12).fit(images(32), quiet=True)
    with pytest.raises(RuntimeError, match="as asked"):
        Pull(engine=Linear, width=12).fit(images(32), out=tmp_path, on_epoch=stop, quiet=True)
    # Its settings are read back from the folder as those of any method.
    config = Config.load(tmp_path / "config.json")
    assert config == Pull(engine=Linear, width=12).config
    assert (config.backbone.features, config.flat()["width"], config.flat()["strength"]) == (12, 12, 1.0)
    resumed = Pretraining.from_config(config, engine=Linear)
    assert isinstance(resumed, Pull)
    assert isinstance(resumed.transform, MildTransform)
    resumed.fit(images(32), out=tmp_path, resume=True, monitor=images(12), quiet=True)
    assert np.array_equal(straight.engine.weight, resumed.engine.weight)
    assert {"loss", "apart", "knn_top1"} <= resumed.history[-1].keys()
    train, test = (evaluation.extract(resumed, images(n)) for n in (40, 20))
    assert evaluation.knn(train, test, k=5)["top1"] > 90
    # Engines that do not know a part say so, by its name.
    with pytest.raises(ValueError, match=r'backbone must be one of "resnet18", .*, got "linear"'):
        Pull()
    with pytest.raises(TypeError, match="wide=3 is not a setting of Pull on linear by sgd; did you mean width"):
        Pull(engine=Linear, wide=3)
    with pytest.raises(ValueError, match="strength must be a number > 0, got 0"):
        Pull(engine=Linear, strength=0)


def test_the_same_views_serve_methods_of_the_package(tmp_path):
    side = [RandomResizedCrop(16), Noise(p=0.5), HorizontalFlip()]
    views, sizes = Views(side, side), {"batch_size": 8, "quiet": True}
    own = {"small_stem": True, "dim": 8, "hidden_dim": 8}
    kind = METHODS["simclr"].kind
    run = kind("resnet18", views=views, **own).fit(images(16), 1, out=tmp_path, **sizes)
    again = Pretraining.from_config(Config.load(tmp_path / "config.json")).fit(images(16), **sizes)
    assert run.history[-1]["loss"] == again.history[-1]["loss"]
    assert run.run.data.views["views"][0][1] == {"kind": "noise", "amount": 8, "p": 0.5}


def test_a_checkpoint_needs_no_operation_of_its_views(tmp_path, monkeypatch):
    views = Views([RandomResizedCrop(16), Noise(), lambda image: image[::-1]], [RandomResizedCrop(16)])
    own = {"small_stem": True, "dim": 8, "hidden_dim": 8, "views": views}
    run = METHODS["simclr"].kind("resnet18", **own).fit(images(16), 1, batch_size=8, out=tmp_path, quiet=True)
    monkeypatch.delitem(OPERATIONS, "noise")
    loaded = Pretraining.load(tmp_path / "checkpoint-00001-0000000.safetensors")
    pictures = [image for image, _ in images(4)]
    np.testing.assert_array_equal(loaded.encode(pictures), run.encode(pictures))
    # Its views are made no other way: neither without the operation nor with another one.
    with pytest.raises(ValueError, match=r"kind must be one of the operations .*, got 'noise'"):
        loaded.fit(images(16), 1, batch_size=8, quiet=True)


def test_the_manual_names_the_files_of_each_part():
    text = (ROOT / "docs" / "contributing.md").read_text().split("## Adding parts")[1].split("\n## ")[0]
    parts = re.findall(r"^- \*\*(.+?)\*\*", text, re.MULTILINE)
    assert {f"a {part}" for part in ("recipe", "backbone", "method")} < set(parts)
    for path in re.findall(r"`((?:src|python|tests|examples)/[^`]+)`", text):
        known = re.split(r"[<*]", path)[0]
        assert (ROOT / known).exists() or (ROOT / known).parent.exists(), path


def test_a_recipe_is_one_class():
    assert issubclass(MildTransform, TwoViewTransform)
    mild = MildTransform(16, output="numpy")
    assert mild.keywords() == {"input_size": 16, "output": "numpy"}
    assert (
        mild.describe()["views"][0]
        == MoCoV2Transform(16, cj_strength=0.5, random_gray_scale=0.0).describe()["views"][0]
    )

"""Features that are kept: a model sees each image once, whatever protocol, split, seed or head asks for it."""

from __future__ import annotations

import os

import numpy as np
import pytest
import transfer_layouts as layouts
from conftest import coloured, need
from sassl.data import Arrays, ImageFolder
from sassl.evaluation import Cache, Preprocessing, extract, few_shot, knn, logistic_probe, reading, robustness, transfer

need("scipy")

RULE = Preprocessing(8, normalize=None)


class Model:
    """Colours as features; it counts the images that it sees."""

    def __init__(self, fails_at=None):
        self.seen, self.fails_at = 0, fails_at

    def __call__(self, images):
        self.seen += len(images)
        if self.fails_at is not None and self.seen > self.fails_at:
            raise RuntimeError("stopped")
        return np.concatenate([images.mean((2, 3)), images.std((2, 3))], 1)

    def again(self):
        """How many images it has seen since the last time."""
        seen, self.seen = self.seen, 0
        return seen


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return layouts.everything(tmp_path_factory.mktemp("sets"))


def test_another_protocol_seed_or_number_of_shots_costs_no_call_of_the_model(root, tmp_path):
    model, settings = Model(), {"counts": "any", "size": 8, "cache": tmp_path, "weights": "a"}

    def calls(name, **more):
        transfer.evaluate(model, name, root, **settings, **more)
        return model.again()

    for name, n in (("food101", 48), ("cifar10", 120)):
        assert calls(name) == n
        assert calls(name, protocol="knn") == 0
        assert calls(name, seed=1) == 0
        assert calls(name, protocol="knn", school="ssl-transfer") == 0
    # The list of 10 % names all images of the small ImageNet.
    assert calls("imagenet_10pct") == 36 + 6
    for name in ("imagenet_1pct", "imagenet_1shot", "imagenet_10shot"):
        assert [calls(name, protocol=by, seed=seed) for by in ("linear", "knn") for seed in (0, 1)] == [0] * 4, name
    # Other weights, and another rule, are other features.
    transfer.evaluate(model, "food101", root, **{**settings, "weights": "b"})
    assert model.again() == 48
    assert calls("food101", normalize={"mean": [0.5] * 3, "std": [0.5] * 3}) == 48


def test_plain_folders_heads_and_shots_share_features(tmp_path):
    folder, model = coloured(tmp_path / "photos", {"train": 12, "val": 5}), Model()
    cache = Cache(tmp_path / "features", "a")

    def read(part, **more):
        return extract(model, folder / part, preprocessing=RULE, **more)

    fresh = [read(part) for part in ("train", "val")]
    assert model.again() == 34
    kept = [read(part, cache=cache) for part in ("train", "val")]
    assert model.again() == 34
    for one, other in zip(fresh, kept, strict=True):
        assert np.array_equal(one.features, other.features)
        assert np.array_equal(one.targets, other.targets)
        assert one.classes == other.classes
    assert logistic_probe(*kept) == logistic_probe(*(read(part, cache=cache) for part in ("train", "val")))
    assert knn(*kept) == knn(*fresh)
    few_shot(*kept, shots=(1, 3), draws=2)
    judge = robustness.Probe(model, read("train", cache=cache), preprocessing=RULE, cache=cache)
    (answers,) = judge.answers([ImageFolder(folder / "val")])
    assert (answers.given == answers.targets).all()
    # By another way to the same folder, and some of its images.
    link = ImageFolder(os.path.relpath(folder / "val"))
    assert np.array_equal(extract(model, link, preprocessing=RULE, cache=cache).features, kept[1].features)
    blue = sorted((folder / "val/blue").iterdir())
    assert np.array_equal(extract(model, blue, preprocessing=RULE, cache=cache).features, kept[1].features[:5])
    assert model.again() == 0


def test_an_image_that_has_changed_is_read_again(tmp_path):
    folder, model = coloured(tmp_path / "photos", {"train": 4}) / "train", Model()
    settings = {"preprocessing": RULE, "cache": Cache(tmp_path / "features", "a")}
    before = extract(model, folder, **settings)
    assert model.again() == 8
    first, second = folder / "blue/0.png", folder / "red/0.png"
    first.write_bytes(second.read_bytes())
    os.utime(first, (1, 1))
    after = extract(model, folder, **settings)
    assert model.again() == 1
    assert not np.array_equal(before.features[0], after.features[0])
    assert np.array_equal(before.features[1:], after.features[1:])
    os.utime(second, (2, 2))
    assert np.array_equal(extract(model, folder, **settings).features, after.features)
    assert model.again() == 1


def test_images_in_memory_are_known_by_their_pixels(tmp_path):
    images, model = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8), Model()
    settings = {"preprocessing": RULE, "cache": Cache(tmp_path, "a")}
    found = extract(model, Arrays(images, list(range(9))), **settings)
    assert model.again() == 9
    some = extract(model, Arrays(images[[7, 2, 2]], [1, 0, 0]), **settings)
    assert model.again() == 0
    assert np.array_equal(some.features, found.features[[7, 2, 2]])
    assert some.targets.tolist() == [1, 0, 0]
    extract(model, Arrays(255 - images), **settings)
    assert model.again() == 9


def test_work_that_was_stopped_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SPAN", 8)
    folder, cache = coloured(tmp_path / "photos", {"train": 15}) / "train", Cache(tmp_path / "features", "a")
    settings = {"preprocessing": RULE, "batch_size": 4}
    with pytest.raises(RuntimeError, match="stopped"):
        extract(Model(fails_at=22), folder, cache=cache, **settings)
    model = Model()
    found = extract(model, folder, cache=cache, **settings)
    # Two spans of eight were whole.
    assert model.again() == 30 - 16
    assert np.array_equal(found.features, extract(model, folder, **settings).features)


def test_images_that_cannot_be_read_are_looked_at_again(tmp_path):
    folder, cache = coloured(tmp_path / "photos", {"train": 3}) / "train", Cache(tmp_path / "features", "a")
    good = (folder / "red/1.png").read_bytes()
    (folder / "red/1.png").write_bytes(good[:100])
    settings = {"preprocessing": RULE, "cache": cache}
    with pytest.raises(ValueError, match=r"red/1.png"):
        extract(Model(), folder, **settings)
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 6 images could not be read and are left out"):
            found = extract(Model(), folder, on_error="report", **settings)
        assert list(found.left_out) == ["red/1.png"]
        assert found.targets.tolist() == [0, 0, 0, 1, 1]
    (folder / "red/1.png").write_bytes(good)
    model = Model()
    assert len(extract(model, folder, **settings).targets) == 6
    assert model.again() == 1
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="data must have at least one readable image, got none of 6"):
        extract(Model(), folder, on_error="report", **settings)


def test_a_cache_that_is_damaged_or_cannot_be(tmp_path):
    images = Arrays(np.zeros((3, 8, 8, 3), np.uint8))
    extract(Model(), images, preprocessing=RULE, cache=Cache(tmp_path / "features", "a"))
    (path,) = (tmp_path / "features").rglob("*.npz")
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[good.index(b"features.npy") + 200] ^= 1
    told = r"npz: does not hold features, or is damaged \(.*\); delete it, and the features of its images are computed again"
    for data in (b"", b"nothing", good[:-30], bytes(flipped)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=told):
            extract(Model(), images, preprocessing=RULE, cache=Cache(tmp_path / "features", "a"))
    path.unlink()
    model = Model()
    extract(model, images, preprocessing=RULE, cache=Cache(tmp_path / "features", "a"))
    assert model.again() == 3
    with pytest.raises(ValueError, match=r"weights must be a string that identifies the model's weights, .*, got None"):
        Cache(tmp_path, None)
    with pytest.raises(ValueError, match=r"cache must be a folder for features, .*, got"):
        Cache(path, "a")

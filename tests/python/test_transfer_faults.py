"""What may be wrong with a set of transfer: one clear error for each; and MATLAB's files against scipy's reader."""

from __future__ import annotations

import json
import re
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import transfer_layouts as layouts
from conftest import need
from sassl.evaluation.datasets import load, matlab

need("scipy")

from scipy.io import loadmat, savemat  # noqa: E402


def rewritten(path: Path, change) -> Path:
    path.write_text(change(path.read_text()))
    return path


def fails(name: str, root: Path, words: str, split: str = "train", error: type = ValueError, **settings) -> None:
    with pytest.raises(error, match=words) as caught:
        load(name, root, split, counts="any", **settings)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(root)), "an error names the place first"


def test_a_list_of_another_version(tmp_path):
    layouts.dtd(tmp_path)
    rewritten(tmp_path / "dtd/dtd/labels/val1.txt", lambda text: text.replace("banded_0004", "banded_0099"))
    fails(
        "dtd", tmp_path, r"val1.txt: 1 of the 9 images that it names are not in .*banded_0099.jpg; .* another version"
    )
    layouts.dtd(tmp_path)
    rewritten(tmp_path / "dtd/dtd/labels/val1.txt", lambda text: text.replace("banded_0004", "banded_0001"))
    fails("dtd", tmp_path, r"image banded/banded_0001.jpg is in .*train1.txt and in .*val1.txt")
    rewritten(tmp_path / "dtd/dtd/labels/train1.txt", lambda text: text + text)
    fails("dtd", tmp_path, r"is twice in .*train1.txt")
    rewritten(tmp_path / "dtd/dtd/labels/train1.txt", lambda text: "\n")
    fails("dtd", tmp_path, r"train1.txt: the list is empty")
    (tmp_path / "dtd/dtd/labels/train1.txt").write_bytes(b"\xff\xfe\x00")
    fails("dtd", tmp_path, r"train1.txt: is not text")


def test_imagenets_list_of_another_school(tmp_path):
    layouts.imagenet(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"imagenet_1pct: 1percent.txt: SHA-256 \w{8}..., where 71e82a48... is published; .* another version",
    ):
        load("imagenet_1pct", tmp_path)
    path = rewritten(tmp_path / "imagenet/10percent.txt", lambda text: text + "n01440764_99.JPEG\n")
    fails("imagenet_10pct", tmp_path, r"10percent.txt: 1 of the 37 images that it names are not in .*n01440764_99")
    path.unlink()
    fails("imagenet_10pct", tmp_path, r"is not there; expected .*10percent.txt", error=FileNotFoundError)


def test_imagenets_val_without_folders_of_classes(tmp_path):
    layouts.imagenet(tmp_path)
    layouts.image(tmp_path / "imagenet/val/ILSVRC2012_val_00000009.JPEG")
    fails("imagenet", tmp_path, "ILSVRC2012_val_00000009.JPEG is in no class folder", "test")
    (tmp_path / "imagenet/val/ILSVRC2012_val_00000009.JPEG").unlink()
    layouts.image(tmp_path / "imagenet/val/n09999999/ILSVRC2012_val_00000009.JPEG")
    fails("imagenet", tmp_path, "class 'n09999999' is not one of the set's 3 classes", "test")


def test_folders_that_are_no_classes_of_imagenet(tmp_path):
    layouts.imagenet(tmp_path)
    for part in ("train", "val"):
        (tmp_path / "imagenet" / part / "n01484850").rename(tmp_path / "imagenet" / part / "shark")
    for name in ("imagenet", "imagenet_1shot"):
        with pytest.raises(ValueError, match="1 folders are none of the 1,000 wnids, such as shark"):
            load(name, tmp_path)


def test_fewer_images_than_shots(tmp_path):
    layouts.imagenet(tmp_path, n=9)
    fails("imagenet_10shot", tmp_path, "class n01440764 has 9 images, fewer than the 10 that are drawn of each class")
    layouts.imagenet(tmp_path)
    layouts.shot_lists(tmp_path)
    rewritten(tmp_path / "imagenet/10shot.txt", lambda text: text.split("\n", 1)[1])
    fails("imagenet_10shot", tmp_path, "10shot.txt: names 9 images of class n01440764, not 10")
    layouts.caltech101(tmp_path)
    (tmp_path / "caltech101/101_ObjectCategories/accordion/image_0001.jpg").unlink()
    for split in ("train", "val", "test"):
        fails("caltech101", tmp_path, "class accordion has 30 images, fewer than the 31", split)


def test_caltech_without_background(tmp_path):
    layouts.caltech101(tmp_path)
    for path in (tmp_path / "caltech101/101_ObjectCategories/BACKGROUND_Google").iterdir():
        path.unlink()
    path.parent.rmdir()
    fails("caltech101", tmp_path, 'no BACKGROUND_Google, .* or give school="torchvision"')
    assert len(load("caltech101", tmp_path, school="torchvision", counts="any")) == 50


def test_cars_without_classes_of_the_test(tmp_path):
    layouts.cars(tmp_path, test=False)
    words = "the devkit's cars_test_annos.mat has no classes of the test; get cars_test_annos_withlabels.mat"
    fails("cars", tmp_path, words, "test", FileNotFoundError)
    assert load("cars", tmp_path, "val", counts="any").school == "kornblith"
    # The devkit's file under the other name.
    top = tmp_path / "stanford_cars"
    (top / "cars_test_annos_withlabels.mat").write_bytes((top / "devkit/cars_test_annos.mat").read_bytes())
    fails("cars", tmp_path, f"rows without fname and class; {words}", "test")


def test_classes_out_of_range(tmp_path):
    layouts.cars(tmp_path)
    layouts.annotations(tmp_path / "stanford_cars/devkit/cars_train_annos.mat", [(0, "00001.jpg"), (3, "00002.jpg")])
    fails("cars", tmp_path, "class 0 of 00001.jpg is not from 1 to 3")
    layouts.flowers102(tmp_path)
    labels = loadmat(tmp_path / "flowers-102/imagelabels.mat")["labels"]
    labels[0, 0] = 103
    savemat(tmp_path / "flowers-102/imagelabels.mat", {"labels": labels})
    fails("flowers102", tmp_path, "class 103 of image_00001.jpg is not from 1 to 102")
    savemat(tmp_path / "flowers-102/imagelabels.mat", {"labels": labels[:, :200]})
    fails("flowers102", tmp_path, "trnid has images from 1 to 304, and imagelabels.mat has classes of 200")
    savemat(tmp_path / "flowers-102/imagelabels.mat", {"names": labels})
    fails("flowers102", tmp_path, "imagelabels.mat: holds names, but not labels")


def test_flowers_in_two_splits(tmp_path):
    layouts.flowers102(tmp_path)
    ids = {name: np.arange(1, 307)[None] for name in ("trnid", "valid", "tstid")}
    savemat(tmp_path / "flowers-102/setid.mat", ids)
    fails("flowers102", tmp_path, r"setid.mat: image 1 is in trnid and in valid")


def test_retinopathy(tmp_path):
    layouts.retinopathy(tmp_path)
    top = tmp_path / "diabetic-retinopathy-detection"
    train, test = top / "trainLabels.csv", top / "retinopathy_solution.csv"
    good = {path: path.read_text() for path in (train, test)}

    def broken(path: Path, old: str, new: str, words: str, split: str = "train") -> None:
        for one, text in good.items():
            one.write_text(text.replace(old, new) if one == path else text)
        with pytest.raises(ValueError, match=words):
            load("retinopathy", tmp_path, split, counts="any")

    broken(train, "10_left,0", "10_left,5", "trainLabels.csv: level 5 of 10_left is not from 0 to 4")
    broken(test, "46_left,1,Private", "46_left,1,Public", "patient 46 is in the val split and in the test split")
    broken(test, "46_left", "10_left", "image 10_left is in the train split and in the test split")
    broken(train, "10_left", "10_both", r"train: 1 of 40 images that .* are missing, the first is 10_both")
    broken(
        train,
        "image,level",
        "id_code,diagnosis",
        "has columns id_code, diagnosis, not image and level; is it APTOS 2019",
    )
    broken(test, "Public", "Secret", "no row whose Usage is Public")
    test.unlink()
    fails("retinopathy", tmp_path, "is not there; expected .*retinopathy_solution.csv", error=FileNotFoundError)


def test_food_and_sun(tmp_path):
    layouts.food101(tmp_path)
    path = tmp_path / "food-101/meta/test.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "pizza": []}))
    fails("food101", tmp_path, "class pizza is in only one of train.json and test.json")
    path.write_text(json.dumps({"waffles": ["apple_pie/200"]}))
    fails("food101", tmp_path, "test.json: must hold classes with a list of names each")
    path.write_text("{")
    fails("food101", tmp_path, "test.json: is not JSON")
    layouts.sun397(tmp_path)
    rewritten(tmp_path / "SUN397/ClassName.txt", lambda text: text.replace("/a/abbey\n", ""))
    fails("sun397", tmp_path, "Training_01.txt: class 'abbey' is not one of the set's 2 classes")
    (tmp_path / "SUN397/Partitions/Testing_01.txt").unlink()
    fails("sun397", tmp_path, "Testing_01.txt: there is no such list; it is in Partitions.zip", error=FileNotFoundError)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "mnist"}, "name must be one of 'imagenet', "),
        ({"split": "training"}, "split must be one of 'train', 'val' or 'test', got 'training'"),
        ({"school": "vtab"}, "school must be one of 'fold1', "),
        ({"counts": "few"}, "counts must be 'published' or 'any', got 'few'"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
    ],
)
def test_settings(tmp_path, settings, words):
    layouts.dtd(tmp_path)
    with pytest.raises(ValueError, match=re.escape(words)):
        load(**{"name": "dtd", "root": tmp_path, "counts": "any", **settings})


def plain(value):
    """What scipy gives, in our types."""
    if value.dtype.names:
        return [{name: plain(one[name]) for name in value.dtype.names} for one in value.reshape(-1, order="F")]
    if value.dtype == object:
        return [plain(one) for one in value.reshape(-1, order="F")]
    if value.dtype.kind == "U":
        return str(value[0]) if value.size else ""
    return value


def same(a, b) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    return a == b if isinstance(a, str) else a.shape == b.shape and np.array_equal(a, b)


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_files_are_scipys(tmp_path, compressed):
    cells = np.empty((2, 3), object)
    for i in range(6):
        cells[i % 2, i // 2] = "é" * i if i % 2 else np.arange(i, dtype=[np.float32, np.int64, np.uint8][i // 2])
    values = {
        "numbers": np.random.default_rng(0).normal(size=(3, 4, 2)),
        **{
            name: np.arange(-3 if name[0] == "i" else 0, 4).astype(name)
            for name in ("int8", "uint16", "int32", "uint64", "float32")
        },
        "cells": cells,
        "one": {"field": "text", "deeper": {"x": np.eye(2)}},
        "empty": np.empty((0, 3)),
        "flag": np.array([[True, False]]),
    }
    path = tmp_path / "a.mat"
    savemat(path, values, do_compression=compressed)
    layouts.annotations(tmp_path / "b.mat", [(3, "00001.jpg"), (196, "00002.jpg")])
    for file in (path, tmp_path / "b.mat"):
        expected = {name: plain(value) for name, value in loadmat(file).items() if not name.startswith("__")}
        found = matlab.load(file)
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert same(value, found[name]), (name, value, found[name])


def test_damaged_matlab_files(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    layouts.annotations(path, [(3, "00001.jpg")] * 3)
    data = path.read_bytes()
    for cut in range(1, len(data), 7):
        path.write_bytes(data[:cut])
        # A part of a tag is no element; a file without any has no variables.
        if 128 <= cut < 136:
            assert matlab.load(path) == {}
            continue
        with pytest.raises(ValueError, match=re.escape(f"{path}: ")):
            matlab.load(path)
    raw = zlib.decompress(data[136:])
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(raw)
        for place in rng.integers(0, min(len(raw), 400), 2):
            changed[place] = rng.integers(0, 256)
        path.write_bytes(data[:128] + bytes(changed))
        # It may still be a file; any other error would be ours.
        with suppress(ValueError):
            matlab.load(path)
    # What says that it is a gigabyte, and is none.
    path.write_bytes(data[:128] + struct.pack("<II", 14, 1 << 30) + raw[8:])
    with pytest.raises(ValueError, match="goes beyond the end"):
        matlab.load(path)
    monkeypatch.setattr(matlab, "_MOST", 1 << 16)
    bomb = zlib.compress(struct.pack("<II", 14, 1 << 20) + bytes(1 << 20))
    path.write_bytes(data[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(ValueError, match="cut off, or larger than"):
        matlab.load(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(126) + b"IM")
    with pytest.raises(ValueError, match="is not a MATLAB file of version 5; save it with -v7"):
        matlab.load(path)


def test_csv_with_a_mark_of_its_encoding(tmp_path):
    layouts.retinopathy(tmp_path)
    path = tmp_path / "diabetic-retinopathy-detection/trainLabels.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load("retinopathy", tmp_path, counts="any")) == 40

"""Small folders in the layouts that the authors of the transfer sets publish: a function for each layout."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def image(path: Path, seed: int = 0, mode: str = "RGB") -> None:
    """A small JPEG, or what the suffix says, of a colour that is its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = np.random.default_rng(seed).integers(0, 256, 3)
    noise = np.random.default_rng(seed + 1).integers(-9, 9, (10, 14, 3))
    Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).convert(mode).save(path, "JPEG")


def text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def imagenet(root: Path, n: int = 12) -> None:
    top = root / "imagenet"
    for c, wnid in enumerate(("n01440764", "n01443537", "n01484850")):
        for i in range(n):
            image(top / "train" / wnid / f"{wnid}_{10 + i}.JPEG", c)
        for i in range(2):
            image(top / "val" / wnid / f"ILSVRC2012_val_{c * 2 + i + 1:08}.JPEG", c)
    names = [path.name for path in sorted((top / "train").rglob("*.JPEG"))]
    text(top / "imagenet_subsets" / "1percent.txt", names[::-2])
    text(top / "10percent.txt", names[::-1])


def shot_lists(root: Path) -> None:
    top = root / "imagenet"
    by_class = [[path.name for path in sorted(folder.iterdir())] for folder in sorted((top / "train").iterdir())]
    text(top / "1shot.txt", [names[3] for names in by_class])
    text(top / "10shot.txt", [name for names in by_class for name in names[1:11]])
    text(top / "tune.txt", [names[0] for names in by_class])


SPECIES = (
    "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris",
    "00001_Animalia_Annelida_Polychaeta_Sabellida_Sabellidae_Sabella_spallanzanii",
    "00002_Plantae_Tracheophyta_Magnoliopsida_Fagales_Fagaceae_Quercus_robur",
)


def inat2021(root: Path, species: tuple[str, ...] = SPECIES) -> None:
    for part, n in (("train", 20), ("train_mini", 10), ("val", 2)):
        for c, name in enumerate(species):
            for i in range(n):
                image(root / "inat2021" / part / name / f"{c:02}{i:02}-{part}.jpg", c)


def retinopathy(root: Path) -> None:
    top = root / "diabetic-retinopathy-detection"
    rows: dict[str, list[list[object]]] = {"train": [], "test": []}
    for part, patients in (("train", range(10, 30)), ("test", range(40, 50))):
        for patient in patients:
            for eye in ("left", "right"):
                name, level = f"{patient}_{eye}", patient % 5
                image(top / part / f"{name}.jpeg", level)
                usage = ["Public" if patient < 45 else "Private"] if part == "test" else []
                rows[part].append([name, level, *usage])
    for file, part, head in (("trainLabels", "train", []), ("retinopathy_solution", "test", ["Usage"])):
        with (top / f"{file}.csv").open("w", newline="") as out:
            csv.writer(out).writerows([["image", "level", *head], *rows[part]])


def dtd(root: Path) -> None:
    top = root / "dtd" / "dtd"
    for c, name in enumerate(("banded", "zigzagged", "dotted")):
        for i in range(9):
            image(top / "images" / name / f"{name}_{i:04}.jpg", c)
    for fold in (1, 10):
        for s, split in enumerate(("train", "val", "test")):
            names = [
                f"{name}/{name}_{(s * 3 + i + fold) % 9:04}.jpg"
                for name in ("banded", "dotted", "zigzagged")
                for i in range(3)
            ]
            text(top / "labels" / f"{split}{fold}.txt", names)


def food101(root: Path) -> None:
    top, lists = root / "food-101", {"train": {}, "test": {}}
    for c, name in enumerate(("waffles", "apple_pie")):
        for split, numbers in (("train", range(100, 120)), ("test", range(200, 204))):
            lists[split][name] = [f"{name}/{i}" for i in numbers]
            for i in numbers:
                image(top / "images" / name / f"{i}.jpg", c)
    for split, found in lists.items():
        (top / "meta").mkdir(exist_ok=True)
        (top / "meta" / f"{split}.json").write_text(json.dumps(found))
    text(top / "meta" / "classes.txt", ["apple_pie", "waffles"])


def cifar(root: Path, count: int, binary: bool = False) -> None:
    kinds = {10: ("batches-py", "batches-bin"), 100: ("python", "binary")}
    folder = root / f"cifar-{count}-{kinds[count][binary]}"
    folder.mkdir()
    files = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"] if count == 10 else ["train", "test"]
    for f, file in enumerate(files):
        labels = np.arange(20) % 10
        data = np.random.default_rng(f).integers(0, 256, (20, 3072), dtype=np.uint8)
        if binary:
            columns = labels[:, None] if count == 10 else np.stack([labels // 5, labels], 1)
            (folder / f"{file}.bin").write_bytes(np.hstack([columns.astype(np.uint8), data]).tobytes())
            continue
        key = {10: {b"labels": labels.tolist()}, 100: {b"fine_labels": labels.tolist(), b"coarse_labels": [0] * 20}}[
            count
        ]
        (folder / file).write_bytes(pickle.dumps({b"data": data, **key}, 2))


SCENES = ("a/abbey", "c/church/indoor", "c/church/outdoor")


def sun397(root: Path) -> None:
    top = root / "SUN397"
    lists: dict[str, list[str]] = {"Training": [], "Testing": []}
    for c, scene in enumerate(SCENES):
        for i in range(16):
            # Some are no JPEGs, whatever they are called.
            image(top / scene / f"sun_{c}{i:02}.jpg", c, "L" if i == 3 else "RGB")
            if i < 15:
                lists["Training" if i < 10 else "Testing"].append(f"/{scene}/sun_{c}{i:02}.jpg")
    Image.new("P", (8, 9)).save(top / "a/abbey/sun_000.jpg", "GIF")
    text(top / "ClassName.txt", [f"/{scene}" for scene in SCENES])
    for split, names in lists.items():
        text(top / "Partitions" / f"{split}_01.txt", names)
        text(top / "Partitions" / f"{split}_02.txt", names)


def annotations(path: Path, rows: list[tuple[int, str]], labelled: bool = True) -> None:
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", *(["class"] if labelled else []), "fname"]
    made = np.empty((1, len(rows)), [(field, object) for field in fields])
    for i, (label, name) in enumerate(rows):
        values = [np.array([[n]], np.uint16) for n in (5, 300, 7, 9)]
        made[0, i] = (*values, *([np.array([[label]], np.uint8)] if labelled else []), name)
    savemat(path, {"annotations": made}, do_compression=True)


CARS = ("AM General Hummer SUV 2000", "Acura RL Sedan 2012", "smart fortwo Convertible 2012")


def cars(root: Path, nested: bool = False, test: bool = True) -> None:
    top = root / "stanford_cars"
    (top / "devkit").mkdir(parents=True)
    made = {
        "train": [(1 + i % 3, f"{i + 1:05}.jpg") for i in range(24)],
        "test": [(3 - i % 3, f"{i + 1:05}.jpg") for i in range(6)],
    }
    for split, rows in made.items():
        for label, name in rows:
            image(top / f"cars_{split}" / (f"cars_{split}" if nested else "") / name, label)
    names = np.empty((1, 3), object)
    names[0] = CARS
    savemat(top / "devkit" / "cars_meta.mat", {"class_names": names})
    annotations(top / "devkit" / "cars_train_annos.mat", made["train"])
    annotations(top / "devkit" / "cars_test_annos.mat", made["test"], labelled=False)
    if test:
        annotations(top / "cars_test_annos_withlabels.mat", made["test"])


def caltech101(root: Path) -> None:
    for c, (name, n) in enumerate((("BACKGROUND_Google", 31), ("Faces", 34), ("accordion", 31))):
        for i in range(n):
            image(
                root / "caltech101" / "101_ObjectCategories" / name / f"image_{i + 1:04}.jpg",
                c,
                "L" if i == 2 else "RGB",
            )


def flowers102(root: Path) -> None:
    top = root / "flowers-102"
    labels = np.array([1 + i // 3 for i in range(306)], np.uint8)
    for i in range(306):
        image(top / "jpg" / f"image_{i + 1:05}.jpg", i)
    savemat(top / "imagelabels.mat", {"labels": labels[None]}, do_compression=True)
    ids = {
        name: np.arange(first, 307, 3, dtype=np.uint16)[None]
        for name, first in (("trnid", 1), ("valid", 2), ("tstid", 3))
    }
    savemat(top / "setid.mat", ids)


def everything(root: Path) -> Path:
    """All sets in one folder, as `sassl eval transfer` finds them."""
    imagenet(root)
    inat2021(root)
    retinopathy(root)
    dtd(root)
    food101(root)
    cifar(root, 10)
    cifar(root, 100)
    sun397(root)
    cars(root)
    caltech101(root)
    flowers102(root)
    return root

"""The sets of transfer on small folders in their published layouts, against torchvision's readers."""

from __future__ import annotations

import dataclasses
import pickle
import re
import shutil
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import transfer_layouts as layouts
from conftest import ROOT, need
from sassl.evaluation import datasets
from sassl.evaluation.datasets import DATASETS, load
from sassl.evaluation.datasets.cifar import CLASSES
from sassl.evaluation.datasets.draws import held_out
from sassl.evaluation.datasets.listing import Listing

need("scipy")


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Path:
    return layouts.everything(tmp_path_factory.mktemp("sets"))


def names(split) -> list[str]:
    return [split.name(i) for i in range(len(split))]


def targets(split) -> list[int]:
    return [split[i][1] for i in range(len(split))]


SPLITS = [
    (name, school, split)
    for name, row in DATASETS.items()
    for school, how in row.schools.items()
    for split in how.splits
]
#: Lists that the small folders have not: they are made where they are tested.
ABSENT = {"tfds", *(f"fold{n}" for n in range(2, 11))}
THERE = [one for one in SPLITS if one[1] not in ABSENT or one[0] == "retinopathy"]
# A hundredth of 36 images is none.
THERE.remove(("imagenet", "ilsvrc2012", "val"))


@pytest.mark.parametrize(("name", "school", "split"), THERE)
def test_every_split_of_every_set_is_read(everything, name, school, split):
    images = load(name, everything, split, school=school, counts="any")
    assert (images.dataset.name, images.school, images.split) == (name, school, split)
    assert names(images) == sorted(names(images)) or name.startswith("cifar")
    for image, target in (images[i] for i in range(len(images))):
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        assert 0 <= target < len(images.classes)
    for other in (one for one in THERE if one[:2] == (name, school) and one[2] != split):
        assert not set(names(images)) & set(names(load(name, everything, other[2], school=school, counts="any")))
    again = pickle.loads(pickle.dumps(images))
    assert names(again) == names(images)
    assert again.identity() == images.identity()
    # Of the patients that are held out no number is published.
    if (school, split) in (("kaggle", "train"), ("kaggle", "val")):
        assert images.differences == ()
        return
    with pytest.raises(ValueError, match=r"where \S+ (are|is) published"):
        load(name, everything, split, school=school)


def test_what_is_there_is_found(everything, tmp_path):
    assert list(datasets.found(everything)) == list(DATASETS)
    layouts.dtd(tmp_path)
    assert datasets.found(tmp_path) == {"dtd": tmp_path / "dtd" / "dtd"}
    # The folder of the set itself does, too.
    assert len(load("dtd", tmp_path / "dtd" / "dtd", counts="any")) == 9


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_missing_is_said_with_how_to_get_it(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"is not there; expected .* in a folder .*(https://|mirrors)"):
        load(name, tmp_path)


def test_the_page_has_the_table():
    page = (ROOT / "docs" / "transfer.md").read_text()
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.count("|") == 8}
    for name, row in DATASETS.items():
        numbers = [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", rows[name].split("|", 3)[3])]
        (school, how) = next((s, h) for s, h in row.schools.items() if h.needs is None)
        assert numbers[: 1 + len(how.images)] == [row.classes, *how.images.values()], name
        assert f"`{school}`" in rows[name]
        assert f"`{row.metric}`" in rows[name]
    for school in {school for row in DATASETS.values() for school in row.schools if not school.startswith("fold")}:
        assert f"`{school}`" in page, school


def basenames(folder: Path, reader) -> set[tuple[str, str]]:
    """Files and names of classes, as torchvision's data set has them."""
    files = getattr(reader, "_image_files", None) or [path for path, *_ in getattr(reader, "_samples", ())]
    labels = getattr(reader, "_labels", None) or [label for _, label in reader._samples]
    return {
        (str(Path(file).relative_to(folder)), reader.classes[label]) for file, label in zip(files, labels, strict=True)
    }


def own(folder: Path, *splits) -> set[tuple[str, str]]:
    found = [
        (str(Path(name).relative_to(folder)), split.classes[target])
        for split in splits
        for name, target in zip(names(split), targets(split), strict=True)
    ]
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_dtd_is_torchvisions(everything, split):
    need("torchvision")
    from torchvision.datasets import DTD

    for fold in (1, 10):
        images = load("dtd", everything, split, school=f"fold{fold}", counts="any")
        theirs = DTD(everything, split, partition=fold)
        assert own(everything, images) == basenames(everything, theirs)
        assert images.classes == theirs.classes


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("name", "reader"), [("food101", "Food101"), ("cars", "StanfordCars")])
def test_food_and_cars_are_torchvisions(everything, name, reader, split):
    need("torchvision")
    import torchvision.datasets

    theirs = getattr(torchvision.datasets, reader)(everything, split)
    splits = [split] if split == "test" else ["train", "val"]
    images = [load(name, everything, one, counts="any") for one in splits]
    assert own(everything, *images) == basenames(everything, theirs)
    assert images[0].classes == list(theirs.classes)


def test_sun_is_torchvisions_where_it_is_split(everything):
    need("torchvision")
    from torchvision.datasets import SUN397

    theirs = SUN397(everything)
    images = [load("sun397", everything, split, counts="any") for split in ("train", "val", "test")]
    assert own(everything, *images) < basenames(everything, theirs)
    assert images[0].classes == theirs.classes == ["abbey", "church/indoor", "church/outdoor"]
    assert [len(split) for split in images] == [24, 6, 15]


def test_flowers_are_torchvisions(everything, monkeypatch):
    need("torchvision")
    from torchvision.datasets import Flowers102

    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)
    for split in ("train", "val", "test"):
        theirs, images = Flowers102(everything, split), load("flowers102", everything, split, counts="any")
        expected = {(Path(f).name, label) for f, label in zip(theirs._image_files, theirs._labels, strict=True)}
        assert set(zip((Path(name).name for name in names(images)), targets(images), strict=True)) == expected


def test_inaturalist_is_torchvisions(everything, tmp_path):
    need("torchvision")
    from torchvision.datasets import INaturalist

    for part, there in (("2021_valid", "val"), ("2021_train_mini", "train_mini")):
        shutil.copytree(everything / "inat2021" / there, tmp_path / part)
    theirs = INaturalist(tmp_path, version="2021_valid")
    expected = {(theirs.all_categories[label], file): label for label, file in theirs.index}
    images = load("inat2021_mini", tmp_path, "test", counts="any")
    got = {
        (Path(name).parent.name, Path(name).name): target
        for name, target in zip(names(images), targets(images), strict=True)
    }
    assert got == expected


def test_caltech_is_torchvisions_in_its_school(everything):
    need("torchvision")
    from torchvision.datasets import Caltech101

    theirs = Caltech101(everything)
    expected = Counter(
        (theirs.categories[label], f"image_{index:04}.jpg") for label, index in zip(theirs.y, theirs.index, strict=True)
    )
    images = [
        load("caltech101", everything, split, school="torchvision", counts="any") for split in ("train", "val", "test")
    ]
    assert images[0].classes == theirs.categories
    assert Counter((Path(name).parent.name, Path(name).name) for one in images for name in names(one)) == expected
    assert [Counter(targets(one)) for one in images] == [{0: 25, 1: 25}, {0: 5, 1: 5}, {0: 4, 1: 1}]
    with_background = load("caltech101", everything, "test", counts="any")
    assert with_background.classes == ["BACKGROUND_Google", "Faces", "accordion"]


@pytest.mark.parametrize("count", [10, 100])
def test_both_versions_of_cifar_are_one(tmp_path, count):
    binary, python = tmp_path / "binary", tmp_path / "python"
    for root, is_binary in ((binary, True), (python, False)):
        root.mkdir()
        layouts.cifar(root, count, is_binary)
    for split in ("train", "val", "test"):
        first, second = (load(f"cifar{count}", root, split, counts="any") for root in (binary, python))
        assert names(first) == names(second)
        assert targets(first) == targets(second)
        assert all(np.array_equal(first[i][0], second[i][0]) for i in range(len(first)))
    assert len(CLASSES[count]) == len(set(CLASSES[count])) == count
    assert CLASSES[count] == sorted(CLASSES[count])


def test_the_published_sizes_are_those_of_the_draw():
    # Cars: 8,144 images of 196 classes, 1,650 of which choose; the sizes of classes are made up.
    rng = np.random.default_rng(0)
    for name, school, row in ((n, s, r) for n, r in DATASETS.items() for s in r.schools):
        how = row.schools[school].images
        if (
            "val" not in row.schools[school].drawn
            or "val" not in how
            or row.classes > 1000
            or name.startswith("caltech")
        ):
            continue
        n = how["train"] + how["val"]
        if n > 130_000:
            continue
        labels = np.arange(n) % row.classes if name != "cars" else np.r_[np.arange(196), rng.integers(0, 196, n - 196)]
        listing = Listing(Path(), [str(i) for i in range(n)], labels.tolist(), ["?"] * row.classes)
        share = Fraction(how["val"], n)
        val, train = (held_out(listing, split, share, 0) for split in ("val", "train"))
        assert (len(train.names), len(val.names)) == (how["train"], how["val"]), name
        exact = Counter(labels.tolist())
        assert all(abs(count - exact[label] * share) < 1 for label, count in Counter(val.targets).items())


def test_a_draw_is_the_seeds_and_no_folders(tmp_path):
    def listing(order):
        return Listing(tmp_path, [f"a/{i}" for i in order], [0] * len(order), ["a"])

    drawn = [set(held_out(listing(order), "val", Fraction(1, 4), 0).names) for order in (range(40), range(39, -1, -1))]
    assert drawn[0] == drawn[1]
    assert drawn[0] != set(held_out(listing(range(40)), "val", Fraction(1, 4), 1).names)
    # A value that must not change between versions: results would be of other images.
    assert sorted(drawn[0]) == ["a/12", "a/17", "a/18", "a/19", "a/25", "a/26", "a/28", "a/32", "a/35", "a/37"]


def test_shots_are_by_seed_or_by_list(everything, tmp_path):
    drawn = [names(load("imagenet_1shot", everything, seed=seed, counts="any")) for seed in range(3)]
    assert drawn[0] == names(load("imagenet_1shot", everything, counts="any"))
    assert len({tuple(one) for one in drawn}) > 1
    layouts.imagenet(tmp_path)
    layouts.shot_lists(tmp_path)
    for count in (1, 10):
        images = load(f"imagenet_{count}shot", tmp_path, counts="any")
        assert (images.school, len(images)) == ("tfds", 3 * count)
        val = load(f"imagenet_{count}shot", tmp_path, "val", counts="any")
        assert [Path(name).name.endswith("_10.JPEG") for name in names(val)] == [True] * 3
    assert load("imagenet_1shot", tmp_path, school="drawn", counts="any").school == "drawn"


def test_published_counts_pass(everything, monkeypatch):
    row = DATASETS["cars"]
    school = dataclasses.replace(row.schools["kornblith"], images={"train": 19, "val": 5, "test": 6})
    small = dataclasses.replace(row, classes=3, schools={"kornblith": school})
    monkeypatch.setitem(DATASETS, "cars", small)
    assert load("cars", everything).differences == ()
    monkeypatch.setitem(DATASETS, "cars", dataclasses.replace(small, classes=4))
    with pytest.raises(ValueError, match="cars: 3 classes, where 4 are published; another version"):
        load("cars", everything)


def test_a_nested_mirror_of_cars_is_read(everything, tmp_path):
    layouts.cars(tmp_path, nested=True)
    for split in ("train", "val", "test"):
        flat, nested = (load("cars", root, split, counts="any") for root in (everything, tmp_path))
        assert [Path(name).name for name in names(nested)] == [Path(name).name for name in names(flat)]


def test_retinopathy_keeps_patients_apart(everything):
    images = [
        load("retinopathy", everything, split, school="kaggle", counts="any") for split in ("train", "val", "test")
    ]
    patients = [{Path(name).name.partition("_")[0] for name in names(one)} for one in images]
    assert [len(one) for one in patients] == [18, 2, 10]
    assert not patients[0] & patients[1]
    assert not (patients[0] | patients[1]) & patients[2]
    assert all(
        target == int(Path(name).name.partition("_")[0]) % 5
        for name, target in zip(names(images[0]), targets(images[0]), strict=True)
    )


def test_rules_of_resizing():
    whole = DATASETS["dtd"].preprocessing(224, normalize=None)
    assert (whole.size, whole.resize, whole.interpolation) == (224, 224, "bicubic")
    assert DATASETS["imagenet_1pct"].preprocessing(224, normalize=None).resize == 256
    # All of the shorter side is seen: a frame at the border stays.
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:3] = 255
    assert whole(frame)[:, 0].mean() > 0.9
    assert DATASETS["imagenet"].preprocessing(224, normalize=None)(frame)[:, 0].mean() < 0.1


def test_a_set_of_others_is_a_row(tmp_path, monkeypatch):
    # As their code does it, with public names alone.
    def pets(folder: Path, want: datasets.Want) -> datasets.Listing:
        files = sorted(path.name for path in (folder / want.split).iterdir())
        return datasets.Listing(folder / want.split, files, [int(name[0]) for name in files], ["cat", "dog"])

    school = datasets.School(text="official", images={"train": 4, "test": 2}, splits=("train", "test"))
    row = datasets.Dataset(
        name="pets",
        title="Pets",
        classes=2,
        schools={"official": school},
        folders=("pets",),
        holds=("train", "test"),
        source="From us.",
        reader=pets,
    )
    monkeypatch.setitem(DATASETS, "pets", row)
    for split, n in (("train", 4), ("test", 2)):
        for i in range(n):
            layouts.image(tmp_path / "pets" / split / f"{i % 2}{i}.jpg")
    assert datasets.found(tmp_path) == {"pets": tmp_path / "pets"}
    assert targets(load("pets", tmp_path)) == [0, 0, 1, 1]
    (tmp_path / "pets" / "test" / "20.jpg").write_bytes((tmp_path / "pets" / "test" / "00.jpg").read_bytes())
    with pytest.raises(ValueError, match=r"class 2 of 20.jpg must be in \[0, 2\)"):
        load("pets", tmp_path, "test")

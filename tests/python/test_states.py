"""The loader over several ranks, and its states: the global batch is what counts; nothing knows how many ranks there are."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl.data import Arrays, Files, ImageFolder, Objects, TwoViewLoader, WebDataset
from sassl.transforms import SASSL, SimCLRTransform

#: Of all ranks together.
BATCH = 8


def recipe(**options):
    return SimCLRTransform(**{"input_size": 24, "output": "numpy", "dtype": "uint8", **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty-seven images in three classes; two cannot be read."""
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("flower.jpg")
    root = tmp_path_factory.mktemp("folder")
    for i in range(37):
        place = root / f"class_{i % 3}" / ("deep" if i % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[i * 9 : i * 9 + 40 + i, i * 12 : i * 12 + 70 - i]).save(place / f"{i:02}.png")
    for bad in ("class_0/deep/27.png", "class_1/deep/13.png"):
        (root / bad).write_bytes(b"no image")
    return root


def loaders(n, source, transform=None, **options):
    """A loader for each of n ranks."""
    options = {"seed": 3, "on_error": "report", "threads": 2, **options}
    return [
        TwoViewLoader(source, transform or recipe(), BATCH // n, rank=rank, world_size=n, **options)
        for rank in range(n)
    ]


def union(made):
    """The rows of all ranks' batches, one after the other, from what each rank made."""
    together = []
    for batches in zip(*made, strict=True):
        left, right, targets, names = [], [], [], []
        for views, classes, called in batches:
            left, right = [*left, *views[0]], [*right, *views[1]]
            targets, names = [*targets, *classes], [*names, *called]
        together.append((left, right, targets, names))
    return together


def assert_same(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for part, same in zip(one, other, strict=True):
            assert len(part) == len(same)
            assert all(map(np.array_equal, part, same))


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("styles", [None, "default", "batch"])
def test_the_ranks_batches_are_those_of_one(folder, n, styles):
    for position in ("after_crop", "before_crop") if styles == "batch" else ("after_crop",):
        style = None if styles is None else SASSL(p=0.8, styles=styles)
        transform = recipe(style=style, style_position=position)
        (one,) = loaders(1, folder, transform)
        many = loaders(n, folder, transform)
        for _ in range(2):
            whole = list(one)
            assert len(whole) == 4
            assert_same(union([list(loader) for loader in many]), union([whole]))
        # Both images that cannot be read have a stand-in, and another in each epoch.
        assert len(one.report) == 2


@pytest.mark.parametrize("styles", [None, "batch"])
def test_a_last_batch_that_does_not_divide_is_filled(folder, styles):
    transform = recipe(style=None if styles is None else SASSL(p=1.0, styles=styles))
    (one,) = loaders(1, folder, transform, drop_last=False)
    whole = union([list(one)])
    many = union([list(loader) for loader in loaders(4, folder, transform, drop_last=False)])
    assert [len(targets) for _, _, targets, _ in many] == [8, 8, 8, 8, 8]
    assert [len(targets) for _, _, targets, _ in whole] == [8, 8, 8, 8, 5]
    # What is more are the epoch's first images again.
    assert many[-1][3][5:] == whole[0][3][:3]
    if styles is None:
        assert all(map(np.array_equal, many[-1][0][5:], whole[0][0][:3]))
    many[-1] = tuple(part[:5] for part in many[-1])
    assert_same(many, whole)


@pytest.mark.parametrize("styles", [None, "batch"])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (1, 4), (2, 4), (4, 1)])
def test_a_state_goes_on_with_other_ranks(folder, before, after, styles):
    transform = recipe(style=None if styles is None else SASSL(p=0.8, styles=styles))
    (one,) = loaders(1, folder, transform)
    one.set_epoch(1)
    whole = [list(one), list(one)]
    interrupted = loaders(before, folder, transform)
    for loader in interrupted:
        loader.set_epoch(1)
        list(itertools.islice(loader, 3))
    states = [json.loads(json.dumps(loader.state_dict())) for loader in interrupted]
    # Of whichever rank: they are the same.
    assert all(state == states[0] for state in states)
    assert not {"rank", "world_size"} & set(states[0])
    assert (states[0]["batch_size"], states[0]["epoch"], states[0]["batch"]) == (BATCH, 1, 3)
    resumed = loaders(after, folder, transform)
    for loader in resumed:
        loader.load_state_dict(states[-1])
    assert_same(union([list(loader) for loader in resumed]), union([whole[0][3:]]))
    assert_same(union([list(loader) for loader in resumed]), union([whole[1]]))


def test_a_last_batch_of_fewer_images_than_ranks():
    """All ranks but the first have rows that are filled, and their styles are of the image that the first one has."""
    from sassl import StyleBank

    images = np.random.default_rng(1).integers(0, 256, (9, 24, 24, 3), np.uint8)
    plain = {"min_scale": 1.0, "cj_prob": 0, "random_gray_scale": 0, "gaussian_blur": 0, "hf_prob": 0}
    options = {"drop_last": False, "shuffle": False}
    made = [
        list(loader)[1] for loader in loaders(4, images, recipe(style=SASSL(p=1.0, styles="batch"), **plain), **options)
    ]
    content = [list(loader)[1] for loader in loaders(4, images, recipe(**plain), **options)]
    bank = StyleBank.from_images([content[0][0][0][0].transpose(1, 2, 0)])
    expected = [
        list(loader)[1] for loader in loaders(4, images, recipe(style=SASSL(p=1.0, styles=bank), **plain), **options)
    ]
    for rank in range(4):
        assert made[rank][1].tolist() == [0]
        assert made[rank][2] == [f"arrays[{[8, 0, 1, 2][rank]}]"]
        assert np.array_equal(made[rank][0][0], expected[rank][0][0])
        assert not np.array_equal(made[rank][0][0], content[rank][0][0]) or rank == 0


def test_a_state_of_another_batch_says_what_to_give(folder):
    state = loaders(1, folder)[0].state_dict()
    loader = TwoViewLoader(folder, recipe(), 8, seed=3, rank=1, world_size=2)
    with pytest.raises(
        ValueError,
        match=r"state\['batch_size'\], of all ranks together, must be 16, .* on 2 ranks, got 8; set batch_size=4",
    ):
        loader.load_state_dict(state)
    loader = TwoViewLoader(folder, recipe(), 3, seed=3, rank=1, world_size=3)
    with pytest.raises(ValueError, match="use a number of ranks that divides 8"):
        loader.load_state_dict(state)
    with pytest.raises(
        ValueError, match=r"batch_size must be at most the source's 37 images, .*, got 10 \(40 on 4 ranks\)"
    ):
        TwoViewLoader(folder, recipe(), 10, rank=0, world_size=4)


def test_the_share_comes_from_the_environment(folder, monkeypatch):
    make = lambda **options: TwoViewLoader(folder, recipe(), 4, **options)  # noqa: E731
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (make().rank, make().world_size) == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        ValueError, match="RANK is missing, while WORLD_SIZE is set in the environment; pass rank and world_size"
    ):
        make()
    monkeypatch.setenv("RANK", "1")
    assert repr(make()).endswith("seed=0, rank=1, world_size=2)")
    assert (make(rank=0, world_size=3).rank, make(rank=0, world_size=3).world_size) == (0, 3)
    for name, value, message in (
        ("RANK", "2", r"RANK must be in \[0, WORLD_SIZE - 1\], with WORLD_SIZE=2, got 2"),
        ("RANK", "one", "RANK must be an integer >= 0, got 'one'"),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(ValueError, match="world_size is missing, while rank is given"):
        make(rank=0)


GROUP = """
import os, sys
import torch.distributed as dist
from sassl.data import TwoViewLoader
from sassl.transforms import SimCLRTransform

rank, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
early = TwoViewLoader(folder, SimCLRTransform(16), 4, on_error="report")
given = TwoViewLoader(folder, SimCLRTransform(16), 4, on_error="report", rank=0, world_size=1)
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
loader = TwoViewLoader(folder, SimCLRTransform(16), 4, on_error="report")
names = [name for *_, names in loader for name in names]
shares = [None, None]
dist.all_gather_object(shares, names)
assert (loader.rank, loader.world_size, len(names)) == (rank, 2, 16), loader
# An image that stands in for another may come twice.
assert len(set(shares[0]) & set(shares[1])) <= 2
assert len(list(given)) == 9
try:
    iter(early)
except ValueError as error:
    assert f"the process group has rank {rank} of 2; create the loader after init_process_group" in str(error), error
else:
    raise AssertionError("every rank would have had all images")
dist.destroy_process_group()
"""


def test_the_share_is_the_process_groups(folder):
    need("torch")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    arguments = [[sys.executable, "-W", "ignore", "-c", GROUP, str(rank), port, str(folder)] for rank in range(2)]
    ranks = [subprocess.Popen(one, stderr=subprocess.PIPE, text=True, env=environment) for one in arguments]
    told = [process.communicate(timeout=120)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], told


def encoded(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def test_states_know_their_data(folder, tmp_path):
    same = tmp_path / "same"
    shutil.copytree(folder, same)
    make = lambda source, **options: TwoViewLoader(source, recipe(**options), 8, on_error="report")  # noqa: E731
    loader = make(folder)
    next(iter(loader))
    state = json.loads(json.dumps(loader.state_dict()))
    other = make(same)
    # Wherever it lies.
    other.load_state_dict(state)
    assert other.state_dict() == state
    image = same / "class_2" / "02.png"
    content = image.read_bytes()
    image.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match=r"of other data: bytes = .*, here .*; files have other sizes; restore them"):
        make(same).load_state_dict(state)
    image.rename(image.with_name("x.png"))
    image.with_name("x.png").write_bytes(content)
    with pytest.raises(ValueError, match="of other data: the images have other names"):
        make(same).load_state_dict(state)
    image.with_name("x.png").unlink()
    gone = make(same)
    with pytest.raises(ValueError, match=r"of other data: images = 37, here 36; .*strict=False"):
        gone.load_state_dict(state)
    assert gone.epoch == -1
    with pytest.warns(UserWarning, match="of other data: images = 37, here 36; .*continues with the current ones"):
        gone.load_state_dict(state, strict=False)
    assert len(list(gone)) == 3
    assert gone.epoch == 0
    with pytest.raises(ValueError, match="exif = True, here False"):
        make(ImageFolder(folder, exif=False)).load_state_dict(state)
    # Another order is refused all the same.
    with pytest.raises(ValueError, match=r"state\['seed'\] must be 1 for this loader, got 0"):
        TwoViewLoader(folder, recipe(), 8, seed=1).load_state_dict(state, strict=False)


def test_states_know_arrays_and_bytes():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 12, 12, 3), np.uint8)
    changed = images.copy()
    changed[7, 3, 3, 1] ^= 1
    files, others = [encoded(image) for image in images], [encoded(image) for image in changed]
    for source, same, other, more in (
        (images, np.asfortranarray(images), changed, images[:, :11]),
        (files, list(files), others, files[:-1]),
    ):
        state = TwoViewLoader(source, recipe(), 4).state_dict()
        TwoViewLoader(same, recipe(), 4).load_state_dict(state)
        with pytest.raises(ValueError, match="the pixels differ"):
            TwoViewLoader(other, recipe(), 4).load_state_dict(state)
        with pytest.raises(ValueError, match=r"shape = 20x12x12x3, here 20x11x12x3|images = 20, here 19"):
            TwoViewLoader(more, recipe(), 4).load_state_dict(state)


def test_states_know_the_recipe(folder, batch):
    make = lambda transform: TwoViewLoader(folder, transform, 8, on_error="report")  # noqa: E731
    state = make(recipe(style=SASSL(styles=list(batch)))).state_dict()
    # Threads, generators and what views come as change no view.
    same = recipe(style=SASSL(styles=list(batch), threads=1), generator=np.random.default_rng(3))
    make(same).load_state_dict(state)
    cases = [
        (recipe(style=SASSL(styles=list(batch)), cj_prob=0.5), "color_jitter = .*p=0.8, here .*p=0.5"),
        (recipe(), r"views\[0\] = random_resized_crop, sassl, .*, here random_resized_crop, rotation, .*"),
        (recipe(style=SASSL(p=0.5, styles=list(batch))), "sassl = p=0.8, .*, here p=0.5, "),
        (recipe(style=SASSL(styles=list(batch[:3]))), r"sassl = .*checksum=\w{8}, .*, here .*checksum=\w{8}, "),
        (recipe(style=SASSL(styles=list(255 - batch))), r"sassl = .*checksum=\w{8}, .*, here .*checksum=\w{8}, "),
        (recipe(style=SASSL(styles="batch")), r"sassl = .*checksum=\w{8}, .*, here .*checksum=None, "),
    ]
    for transform, message in cases:
        with pytest.raises(ValueError, match=f"state is of other views: .*{message}"):
            make(transform).load_state_dict(state)
    with pytest.warns(UserWarning, match="color_jitter = .*p=0.8, here .*p=0.5; the loader continues"):
        make(cases[0][0]).load_state_dict(state, strict=False)


def test_a_state_of_other_kernels_warns(folder):
    loader = TwoViewLoader(folder, recipe(), 8)
    state = loader.state_dict()
    program = f"""
import json, sys, warnings
from sassl.data import TwoViewLoader
from sassl.transforms import SimCLRTransform
loader = TwoViewLoader({str(folder)!r}, SimCLRTransform(24, output="numpy", dtype="uint8"), 8)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    loader.load_state_dict(json.loads(sys.argv[1]))
print(*(warning.message for warning in told), loader.state_dict()["kernels"], sep="\\n")
"""
    for isa, lines in ((state["kernels"], 1), ("scalar", 2)):
        environment = {**os.environ, "SASSL_ISA": isa}
        arguments = [sys.executable, "-c", program, json.dumps(state)]
        done = subprocess.run(arguments, env=environment, timeout=60, capture_output=True, text=True, check=True)
        *told, kernels = done.stdout.splitlines()
        assert kernels == isa
        assert len(told) + 1 == lines
        for line in told:
            assert line.startswith(
                f"state: its views were computed by kernels for {state['kernels']!r}, and the next ones by kernels for "
            )


def test_names_are_those_of_lightly(folder, tmp_path):
    need("lightly")
    import torch
    import torchvision
    from lightly.data import LightlyDataset

    dataset = LightlyDataset(str(folder))
    names = dataset.get_filenames()
    source = ImageFolder(folder)
    assert [source.name(i) for i in range(37)] == names
    assert names[0] == "class_0/00.png"
    assert ImageFolder(os.path.join(folder, "")).name(36) == names[36]
    whole = torchvision.datasets.ImageFolder(str(folder))
    parts = torch.utils.data.ConcatDataset([torch.utils.data.Subset(whole, [3, 1]), dataset.dataset])
    for others, expected in ((dataset, names), (whole, names), (parts, [names[3], names[1], *names])):
        source = Objects(others)
        assert [source.name(i) for i in range(len(source))] == expected
    for source in (dataset, folder):
        *_, called = next(iter(TwoViewLoader(source, recipe(), 4, shuffle=False)))
        assert called == names[:4]
    numbered = LightlyDataset.from_torch_dataset(torchvision.datasets.FakeData(3))
    assert [Objects(numbered).name(i) for i in range(3)] == numbered.get_filenames() == ["0", "1", "2"]
    own = LightlyDataset.from_torch_dataset(whole, index_to_filename=lambda _, i: f"{i}.png")
    assert Objects(own).name(5) == "5.png"


def test_names_within_files(folder, tmp_path):
    import tarfile

    image = folder / "class_2" / "02.png"
    for shard in ("a/0.tar", "b/1.tar"):
        (tmp_path / shard).parent.mkdir()
        with tarfile.open(tmp_path / shard, "w") as tar:
            tar.add(image, "x.png")
    one, two = WebDataset(tmp_path / "a" / "0.tar"), WebDataset([tmp_path / "a" / "0.tar", tmp_path / "b" / "1.tar"])
    assert one.name(0).startswith("0.tar#")
    assert [two.name(i).partition("#")[0] for i in range(2)] == ["a/0.tar", "b/1.tar"]
    assert Files([image]).name(0) == image.as_posix()
    assert Arrays(np.zeros((1, 9, 9, 3), np.uint8)).name(0) == "arrays[0]"
    # Where data lie changes no identity.
    shutil.copy(image, tmp_path / "b")
    assert Files([image]).identity() == ImageFolder(tmp_path / "b").identity()

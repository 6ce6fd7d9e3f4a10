"""The loader and its sources: what a batch holds depends on seed, epoch and index alone; nothing hangs, nothing is lost."""

from __future__ import annotations

import errno
import io
import itertools
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import time

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl import StyleParams
from sassl.data import CIFAR, STL10, Arrays, Files, ImageFolder, Objects, TwoViewLoader, WebDataset
from sassl.transforms import MoCoV2Transform, SimCLRTransform, functional
from sassl.transforms.plain import SASSL


def recipe(**options):
    return SimCLRTransform(**{"input_size": 24, "output": "numpy", "dtype": "uint8", **options})


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def images():
    """Twenty-three images of different sizes."""
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")
    return [np.ascontiguousarray(photo[i * 9 : i * 9 + 40 + i, i * 20 : i * 20 + 70 - i]) for i in range(23)]


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    for i, image in enumerate(images):
        place = root / f"class_{i % 3}" / ("deep" if i % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:02}.png").write_bytes(encoded(image))
    (root / "class_0" / "notes.txt").write_text("no image")
    return root


def batches(loader, epoch=None):
    if epoch is not None:
        loader.set_epoch(epoch)
    return list(loader)


def by_name(made):
    """Left view, right view and target of each image."""
    rows = itertools.chain(*(zip(names, *views, targets, strict=True) for views, targets, names in made))
    return {name: item for name, *item in rows}


def equal(some, others):
    return some.keys() == others.keys() and all(all(map(np.array_equal, some[name], others[name])) for name in some)


def test_results_depend_neither_on_threads_nor_on_batches(folder):
    style = SASSL(p=0.8)
    make = lambda **options: TwoViewLoader(folder, recipe(style=style), drop_last=False, seed=3, **options)  # noqa: E731
    first = by_name(batches(make(batch_size=4, threads=1), 2))
    assert len(first) == 23
    for threads, size, prefetch in ((2, 4, 2), (3, 7, 0), (8, 23, 1), (2, 1, 5)):
        other = by_name(batches(make(batch_size=size, threads=threads, prefetch=prefetch), 2))
        assert equal(first, other), (threads, size)
    assert not equal(first, by_name(batches(make(batch_size=4), 1)))


def test_views_are_the_transforms(folder, images):
    transform = recipe(style=SASSL(p=1.0))
    loader = TwoViewLoader(folder, transform, 5, shuffle=False, drop_last=False, seed=11)
    made = batches(loader, 4)
    names = [name for *_, names in made for name in names]
    assert [os.path.basename(name) for name in names] == sorted(
        (os.path.basename(name) for name in names), key=lambda name: (int(name[:2]) % 3, int(name[:2]) % 2, name)
    )
    views = by_name(made)
    for index, name in enumerate(names):
        image, target = loader.source[index]
        number = int(os.path.basename(name)[:2])
        assert np.array_equal(image, images[number])
        assert target == number % 3 == views[name][2]
        params = transform.core.sample(11, *image.shape[:2], epoch=4, index=index)
        assert all(map(np.array_equal, transform.apply_params(image, params), views[name][:2]))


def test_order_shares_and_epochs(images):
    arrays = Arrays(np.stack([np.full((9, 9, 3), i, np.uint8) for i in range(23)]), range(23))
    make = lambda **options: TwoViewLoader(arrays, recipe(), 4, **options)  # noqa: E731
    targets = lambda loader: np.concatenate([t for _, t, _ in loader]).tolist()  # noqa: E731
    loader = make(drop_last=False)
    first, second = targets(loader), targets(loader)
    assert sorted(first) == sorted(second) == list(range(23))
    assert first != second
    assert (loader.epoch, len(loader)) == (1, 6)
    loader.set_epoch(0)
    assert targets(loader) == first
    assert targets(make(drop_last=False, seed=1)) != first
    assert targets(make(shuffle=False)) == list(range(20))
    shares = [targets(make(drop_last=False, rank=rank, world_size=4)) for rank in range(4)]
    assert {len(share) for share in shares} == {6}
    assert set(itertools.chain(*shares)) == set(range(23))
    # Rows of each global batch of 16, and of the last one of 7, which is filled.
    assert shares[1] == [*first[4:8], *first[18:20]]
    assert shares[3] == [*first[12:16], first[22], first[0]]
    shares = [targets(make(rank=rank, world_size=4)) for rank in range(4)]
    assert [len(share) for share in shares] == [4] * 4
    assert len(set(itertools.chain(*shares))) == 16


@pytest.mark.parametrize("styles", ["default", "batch"])
def test_resumes_in_the_middle_of_an_epoch_to_the_byte(folder, styles):
    make = lambda: TwoViewLoader(folder, recipe(style=SASSL(styles=styles)), 4, seed=5)  # noqa: E731
    loader = make()
    whole = [batches(loader), batches(loader)]
    for epoch, done in ((0, 1), (1, 3), (1, 5), (0, 5)):
        interrupted = make()
        interrupted.set_epoch(epoch)
        for _ in itertools.islice(interrupted, done):
            pass
        state = pickle.loads(pickle.dumps(interrupted.state_dict()))
        resumed = make()
        resumed.load_state_dict(state)
        rest = batches(resumed)
        expected = whole[epoch][done:] if done < 5 else whole[epoch + 1] if epoch == 0 else rest
        assert len(rest) == len(expected)
        for (views, targets, names), (others, other_targets, other_names) in zip(rest, expected, strict=True):
            assert names == other_names
            assert np.array_equal(targets, other_targets)
            assert all(map(np.array_equal, views, others))
        assert resumed.epoch == epoch + (done == 5)
    with pytest.raises(ValueError, match=r"state\['seed'\] must be .* for this loader, got 5"):
        TwoViewLoader(folder, recipe(), 4, seed=6).load_state_dict(state)


@pytest.mark.parametrize("position", ["after_crop", "before_crop"])
def test_styles_of_the_batch(folder, position):
    style = SASSL(p=1.0, styles="batch")
    transform = recipe(style=style, style_position=position, cj_prob=0, random_gray_scale=0, gaussian_blur=0, hf_prob=0)
    plain = recipe(cj_prob=0, random_gray_scale=0, gaussian_blur=0, hf_prob=0)
    options = {"shuffle": False, "seed": 9}
    ((left, right), _, _), *_ = TwoViewLoader(folder, transform, 6, threads=2, **options)
    ((content, other), _, _), *_ = TwoViewLoader(folder, plain, 6, **options)
    assert np.array_equal(right, other)
    content = content.transpose(0, 2, 3, 1)
    images = [ImageFolder(folder)[i][0] for i in range(6)]
    stylizer = style.stylizer
    if position == "after_crop":
        z = stylizer.encode(np.ascontiguousarray(content))
    else:
        z = np.concatenate([stylizer.encode(image[None]) for image in images])
    # A draw of the batch is the number of one of its images.
    drawn_styles = [left["sassl"] for left, _ in transform.core.sample_batch(9, 6, 100, 100)]
    for i, params in enumerate(drawn_styles):
        (j,) = params.style
        assert i != j
        one = StyleParams(params.apply, params.alpha, params.beta, z[j : j + 1])
        if position == "after_crop":
            expected = style.apply_params(np.ascontiguousarray(content[i]), one)
        else:
            styled = style.apply_params(images[i], one)
            drawn = plain.core.sample(9, *styled.shape[:2], index=i)
            expected = plain.apply_params(styled, drawn)[0].transpose(1, 2, 0)
        assert np.array_equal(expected, left[i].transpose(1, 2, 0)), i


def shard(path, images, first=0):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT if first else tarfile.GNU_FORMAT) as tar:
        for i, image in enumerate(images):
            key = f"{'long/' * 30 * (i % 2)}sample{first + i:03}"
            for suffix, data in (("json", b"{}"), ("png", encoded(image)), ("cls", str(first + i).encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def test_sources_give_their_images(images, folder, tmp_path):
    shards = [shard(tmp_path / "a-0.tar", images[:12]), shard(tmp_path / "a-1.tar", images[12:], 12)]
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name)
    objects = [{"img": Image.fromarray(image), "label": i} for i, image in enumerate(images)]
    raw = [{"image": {"bytes": encoded(image), "path": None}, "label": i} for i, image in enumerate(images)]
    sources = {
        "paths": Files(paths, range(23)),
        "bytes": Files([encoded(image) for image in images], range(23)),
        "shards": WebDataset(shards),
        "pattern": WebDataset(str(tmp_path / "a-*.tar")),
        "PIL": Objects(objects),
        "raw": Objects(raw),
        "pairs": Objects(list(zip(images, range(23), strict=True))),
    }
    for name, source in sources.items():
        assert len(source) == 23, name
        for i in (0, 1, 7, 12, 22, -1):
            image, target = source[i]
            assert np.array_equal(image, images[i]), name
            assert target == i % 23, name
        assert len(list(TwoViewLoader(source, recipe(), 5))) == 4, name
    assert len(TwoViewLoader(str(tmp_path / "a-*.tar"), recipe(), 5)) == 4
    assert repr(ImageFolder(folder)).endswith("23 images, 3 classes, 1 other files left out)")
    assert ImageFolder(folder).classes == ["class_0", "class_1", "class_2"]
    assert "#" in sources["shards"].name(3)


def test_some_of_the_images(images, folder):
    rows = [7, 22, 0]
    for source in (
        ImageFolder(folder),
        Files([encoded(image) for image in images], range(23)),
        Arrays(np.stack([i[:40, :40] for i in images])),
    ):
        some = pickle.loads(pickle.dumps(source.take(rows)))
        assert (len(some), some.classes) == (3, source.classes)
        for i, row in enumerate(rows):
            assert np.array_equal(some[i][0], source[row][0])
            assert (some[i][1], some.name(i), some.file(i)) == (source[row][1], source.name(row), source.file(row))
        whole = by_name(batches(TwoViewLoader(source, recipe(), 23, shuffle=False)))
        assert len(whole) == 23
        # A view is of the seed and the place in the source; the first of both is another image.
        assert list(by_name(batches(TwoViewLoader(some, recipe(), 3, shuffle=False)))) == [source.name(i) for i in rows]
    with pytest.raises(ValueError, match=r"rows\[1\] must be an integer in \[0, 22\], got 23"):
        ImageFolder(folder).take([3, 23])


def test_cifar_and_stl10(tmp_path):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (20, 3, 32, 32), np.uint8)
    labels = rng.integers(0, 10, 20, np.uint8)
    ten, python, hundred, stl = (tmp_path / name for name in ("ten", "python", "hundred", "stl"))
    for place in (ten, python, hundred, stl):
        place.mkdir()
    for i in range(5):
        part = slice(4 * i, 4 * i + 4)
        records = np.concatenate([labels[part, None], data[part].reshape(4, -1)], 1)
        (ten / f"data_batch_{i + 1}.bin").write_bytes(records.tobytes())
        batch = {b"data": data[part].reshape(4, -1), b"labels": labels[part].tolist()}
        (python / f"data_batch_{i + 1}").write_bytes(pickle.dumps(batch, 2))
    (hundred / "test.bin").write_bytes(
        np.concatenate([labels[:, None] * 0 + 7, labels[:, None], data.reshape(20, -1)], 1).tobytes()
    )
    for source in (CIFAR(ten), CIFAR(python), CIFAR(hundred, train=False)):
        assert len(source) == 20
        for i in (0, 5, 19):
            image, target = source[i]
            assert np.array_equal(image, data[i].transpose(1, 2, 0))
            assert target == labels[i]
    images = rng.integers(0, 256, (6, 3, 96, 96), np.uint8)
    (stl / "train_X.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
    (stl / "train_y.bin").write_bytes(bytes([1, 10, 3, 4, 5, 6]))
    image, target = STL10(stl, "train")[1]
    assert np.array_equal(image, images[1].transpose(1, 2, 0))
    assert target == 9
    with pytest.raises(FileNotFoundError, match="neither data_batch_1"):
        CIFAR(tmp_path)
    with pytest.raises(FileNotFoundError):
        STL10(stl)
    (ten / "data_batch_3.bin").write_bytes(b"x" * 3000)
    with pytest.raises(ValueError, match=r"data_batch_3.bin: 3000 bytes are not a multiple of the record size, 3073"):
        CIFAR(ten)
    (python / "data_batch_2").write_bytes(pickle.dumps({b"data": os.system}))
    with pytest.raises(
        ValueError, match=r"data_batch_2: not a readable batch of CIFAR: .*system does not belong to CIFAR"
    ):
        CIFAR(python)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_cifar_of_every_protocol(tmp_path, protocol, order):
    data = np.asarray(np.random.default_rng(protocol).integers(0, 256, (7, 3072), np.uint8), order=order)
    for keys, module in ((bytes, b"numpy.core"), (str, b"numpy._core")):
        key = (lambda name: name.encode()) if keys is bytes else (lambda name: name)
        batch = {key("filenames"): [key("a.png")] * 7, key("data"): data, key("fine_labels"): [*range(93, 100)]}
        batch[key("coarse_labels")] = [1] * 7
        written = pickle.dumps(batch, protocol)
        for name in (b"multiarray", b"numeric"):
            for old in (b"numpy.core.", b"numpy._core."):
                new = module + b"." + name
                # In protocol 4 and above a name stands after its length.
                at = old + name
                written = written.replace(bytes([0x8C, len(at)]) + at, bytes([0x8C, len(new)]) + new)
                written = written.replace(b"c" + at + b"\n", b"c" + new + b"\n")
        (tmp_path / "train").write_bytes(written)
        source = CIFAR(tmp_path)
        assert len(source) == 7
        assert source.name(6) == "train#6"
        for i in (0, 6):
            assert source[i][1] == 93 + i
            assert np.array_equal(source[i][0], data[i].reshape(3, 32, 32).transpose(1, 2, 0))


def test_cifar_that_is_something_else(tmp_path):
    good = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2]}
    cases = [
        ({**good, b"data": np.array([[os.getpid, 1]], object)}, "does not belong to CIFAR|array of O8"),
        ({**good, b"data": np.zeros((2, 3072), np.float32)}, "an array of f4"),
        ({**good, b"data": np.zeros((2, 3071), np.uint8)}, "2x3071"),
        ({**good, b"labels": [1]}, "and 1 classes"),
        ({**good, b"labels": [1, 10]}, "class 10 of 10"),
        ({**good, b"labels": [1, b"cat"]}, "not an integer"),
        ({b"data": good[b"data"]}, 'no list under "labels"'),
        ([1, 2], 'no array under "data"'),
    ]
    for batch, message in cases:
        (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, 2))
        with pytest.raises(ValueError, match=f"test_batch: not a readable batch of CIFAR: .*({message})"):
            CIFAR(tmp_path, train=False)
    # A tuple of what stands below an open mark; and one of more items than any call takes.
    cases = ((b"NN(\x86t.", "a tuple of nothing"), (b"N(" + 9 * b"N" + b"tb.", "too many arguments"))
    for data, message in cases:
        (tmp_path / "test_batch").write_bytes(data)
        with pytest.raises(ValueError, match=f"test_batch: not a readable batch of CIFAR: .*{message}"):
            CIFAR(tmp_path, train=False)
    with open(tmp_path / "test_batch", "wb") as sparse:
        sparse.truncate(2**33)
    with pytest.raises(ValueError, match="more than a batch of CIFAR has"):
        CIFAR(tmp_path, train=False)


def test_classes_that_cannot_be(tmp_path, images):
    with pytest.raises(ValueError, match=r"targets\[1\] must be an integer, got 1.9"):
        Arrays(np.zeros((2, 9, 9, 3), np.uint8), [0, 1.9])
    with pytest.raises(ValueError, match=r"targets\[0\] must be an integer, got 'cat'"):
        Files(["a.png"], ["cat"])
    for label in ("cat", None, 1.9):
        with pytest.raises(ValueError, match=r"^source\[0\]: class must be an integer, got "):
            Objects([(images[0], label)])[0]
    record = bytes([77]) + bytes(3072)
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(record)
    with pytest.raises(ValueError, match=r"data_batch_1.bin#0: class 77 of 10"):
        CIFAR(tmp_path)[0]
    (tmp_path / "train_X.bin").write_bytes(bytes(3 * 96 * 96))
    (tmp_path / "train_y.bin").write_bytes(b"\0")
    with pytest.raises(ValueError, match=r"train_y.bin: classes must be from 1 to 10, got 0 to 0"):
        STL10(tmp_path, "train")


def test_folders_hold_what_torchvisions_do(tmp_path, images):
    for kind in ("BMP", "TIFF", "PPM", "WEBP", "GIF"):
        Image.fromarray(images[0]).save(tmp_path / f"{kind}.{kind.lower()}", kind)
    source = ImageFolder(tmp_path)
    assert [os.path.basename(source.name(i)) for i in range(len(source))] == [
        "BMP.bmp",
        "PPM.ppm",
        "TIFF.tiff",
        "WEBP.webp",
    ]
    assert all(source[i][0].shape == images[0].shape for i in range(4))
    assert "1 other file" in repr(source)


def test_large_jpegs_are_decoded_at_a_part_of_their_size(tmp_path, images):
    large = Image.fromarray(images[0]).resize((700, 500), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=95)
    reduced = functional.decode(tmp_path / "large.jpg", 100)
    assert reduced.shape == (125, 175, 3)
    make = lambda source, **options: list(TwoViewLoader(source, recipe(**options), 1))  # noqa: E731
    ((views, _, _),) = make(tmp_path, min_decode_size=100)
    ((expected, _, _),) = make([reduced])
    assert all(map(np.array_equal, views, expected))
    transform = recipe(min_decode_size=100, generator=np.random.default_rng(0))
    other = recipe(generator=np.random.default_rng(0))
    assert all(map(np.array_equal, transform(tmp_path / "large.jpg"), other(reduced)))


def test_hidden_files_are_left_out_by_every_reader(tmp_path, images):
    from sassl import StyleBank, image_files

    root = tmp_path / "photos"
    for name in (
        "a.png",
        "b.png",
        "._a.png",
        ".ipynb_checkpoints/a.png",
        "__MACOSX/a.png",
        "notes.txt",
        "deep/.c/c.png",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(images[0]) if name.endswith(("a.png", "b.png")) else b"none")
    with pytest.warns(UserWarning, match="photos: 4 hidden files or folders left out"):
        assert [path.name for path in image_files.find([root])] == ["a.png", "b.png"]
    with pytest.warns(UserWarning, match="4 hidden"):
        assert len(StyleBank.from_images(root)) == 2
    (tmp_path / "set").mkdir()
    root.rename(tmp_path / "set" / "cat")
    source = ImageFolder(tmp_path / "set")
    assert len(source) == 2
    assert repr(source).endswith("2 images, 1 classes, 4 hidden files left out, 1 other files left out)")
    names = ("./a.png", "._a.png", "__MACOSX/._b.png", ".hidden/c.png", "b.png")
    shards = WebDataset(packed(tmp_path / "a.tar", images[0], *names))
    assert repr(shards) == "WebDataset(2 images, without classes, 3 hidden files left out)"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="DID NOT RUN: names are Unicode here")
def test_names_that_are_no_unicode(tmp_path, images):
    root = os.fsencode(tmp_path) + b"/caf\xe9"
    for name in (b"cl\xe9", b"cl\xe8"):
        os.makedirs(root + b"/" + name)
        with open(root + b"/" + name + b"/\xff.png", "wb") as file:
            file.write(encoded(images[0]))
    folder = ImageFolder(root)
    assert folder.classes == [os.fsdecode(name) for name in (b"cl\xe8", b"cl\xe9")]
    first = os.fsdecode(root + b"/cl\xe8/\xff.png")

    class Path(os.PathLike):
        def __fspath__(self):
            return os.fsencode(first)

    from pathlib import Path as StrPath

    within = os.fsdecode(b"cl\xe8/\xff.png")
    named = [(folder, within), (ImageFolder(os.fsdecode(root)), within)]
    named += [(Files([file]), first) for file in (first, os.fsencode(first), Path(), StrPath(first))]
    named += [(Objects([(file, 0)]), "source[0]") for file in (first, Path())]
    for source, name in named:
        assert np.array_equal(source[0][0], images[0])
        assert source.name(0) == name
        *_, names = next(iter(TwoViewLoader(source, recipe(), 1, shuffle=False)))
        assert names == [name]
    with open(first, "wb") as file:
        file.write(b"no image")
    loader = TwoViewLoader(folder, recipe(), 1, on_error="report")
    list(loader)
    assert list(loader.report) == [within]
    os.remove(first)
    with pytest.raises(FileNotFoundError) as error:
        Files([first])[0]
    assert error.value.filename == first
    shard = packed(tmp_path / "a.tar", images[0], "a.png")
    os.rename(shard, root + b"/\xff.tar")
    assert WebDataset(root + b"/\xff.tar").name(0) == os.fsdecode(b"\xff.tar#512")


def test_exif_is_a_switch(tmp_path, images):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(images[0]).save(tmp_path / "a.png", exif=exif)
    data = (tmp_path / "a.png").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "a.png")
    turned = np.rot90(images[0], -1)
    makes = [
        lambda **options: ImageFolder(tmp_path, **options),
        lambda **options: Files([tmp_path / "a.png"], **options),
        lambda **options: Files([data], **options),
        lambda **options: WebDataset(tmp_path / "a.tar", **options),
        lambda **options: Objects([{"image": {"bytes": data, "path": None}}], **options),
    ]
    for make in makes:
        for options, expected in (({}, turned), ({"exif": True}, turned), ({"exif": False}, images[0])):
            source = make(**options)
            assert np.array_equal(source[0][0], expected)
            again = pickle.loads(pickle.dumps(source))
            assert np.array_equal(again[0][0], expected)
            ((left, _), _, _) = next(iter(TwoViewLoader(source, recipe(), 1)))
            ((other, _), _, _) = next(iter(TwoViewLoader([np.ascontiguousarray(expected)], recipe(), 1)))
            assert np.array_equal(left, other)
        with pytest.raises(ValueError, match="exif must be True or False, got 1"):
            make(exif=1)


def packed(path, image, *names):
    with tarfile.open(path, "w") as tar:
        for name in names:
            data = b"3" if name.endswith("cls") else encoded(image)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.png", "a.cls", "a.webp"), "a.webp is another image of one sample"),
        (("a.png", "a.png"), "a.png is another image"),
        (("a.png", "a.cls", "a.cls"), "a.cls is another class"),
        (("a.png", "a.cls", "b.cls", "b.json"), "b.cls is not beside an image"),
        (("a.png", "a.cls", "b.png"), "b has no class, and others do"),
        (("a.png", "b.png", "b.cls"), "b has a class, and others have none"),
    ],
)
def test_samples_that_are_no_samples(tmp_path, images, names, message):
    path = packed(tmp_path / "a.tar", images[0], *names)
    with pytest.raises(ValueError, match=f"a.tar: {message}"):
        WebDataset(path)
    part = WebDataset([path], on_error="report")
    assert message in part.damaged[0][1]


def test_keys_end_at_the_first_dot(tmp_path, images):
    names = ("x/a.b.v1.png", "x/a.b.json", "a.png", "a.json", "a.seg.png", "c.json", "readme", "d.e.cls")
    source = WebDataset(packed(tmp_path / "a.tar", images[0], *names))
    # a.b.v1.png is v1.png of the sample a, and so no image; c, a.b and d have none at all; readme has no suffix.
    assert repr(source) == "WebDataset(1 images, without classes, 6 other files left out)"
    with pytest.raises(ValueError, match=r"no image in this shard: no <key>.jpg"):
        WebDataset(packed(tmp_path / "b.tar", images[0], "a.v1.png"))


def test_paths_of_shards(tmp_path, images):
    for i in range(8, 13):
        packed(tmp_path / f"s-{i:03}.tar", images[0], *(f"{i}{j}.png" for j in range(i)))
    odd = tmp_path / "[0]{1,2}"
    odd.mkdir()
    packed(odd / "a[1].tar", images[0], "a.png")
    count = lambda source: len(TwoViewLoader(source, recipe(), 1).source)  # noqa: E731
    assert count(str(tmp_path / "s-{008..010}.tar")) == count(tmp_path / "s-{010..008}.tar") == 27
    assert count(str(tmp_path / "s-0{08,12}.tar")) == 20
    assert count(str(tmp_path / "s-0{08,1[12]}.tar")) == 31
    assert count([str(tmp_path / "s-008.tar"), tmp_path / "s-009.tar"]) == 17
    assert count(odd / "a[1].tar") == count(os.fsencode(odd / "a[1].tar")) == 1
    with pytest.raises(FileNotFoundError, match=r"s-007.tar: no such file"):
        WebDataset(tmp_path / "s-{007..009}.tar")
    assert WebDataset([tmp_path / "s-009.tar"])[3][1] == 0


def test_what_is_larger_than_any_image_takes_no_memory(tmp_path):
    """Sparse files of 8 GB: what a member or its name claims is there, and is nothing."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind, name in ((tarfile.REGTYPE, "a.png"), (tarfile.GNUTYPE_LONGNAME, "././@LongLink")):
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, 2**33 - 1024 * 8
        path = tmp_path / f"{kind.decode()}.tar"
        with open(path, "wb") as file:
            file.write(member.tobuf(tarfile.GNU_FORMAT))
            file.truncate(2**33)
    with pytest.raises(ValueError, match=r"a name that is too long"):
        WebDataset(tmp_path / "L.tar")
    with pytest.raises(ValueError, match=r"#512: 8589926400 bytes exceed the memory limit"):
        WebDataset(tmp_path / "0.tar")[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_shards_that_do_not_end_as_they_should(tmp_path, images):
    data = shard(tmp_path / "a.tar", images[:6]).read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        offset = next(member.offset for member in tar if member.name.endswith("sample004.json"))
    cases = {
        "blank.tar": (data[:offset] + bytes(512) + data[offset + 512 :], "the bytes after it are ignored", 4),
        "cut.tar": (data[:offset], "without the end-of-archive marker", 4),
        "joined.tar": (data + data, "two shards concatenated", 6),
    }
    for name, (content, message, whole) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: unreadable after byte .*{message}"):
            WebDataset(tmp_path / name)
        assert len(WebDataset(tmp_path / name, on_error="report")) == whole
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        (tmp_path / "a.png").write_bytes(encoded(images[0]))
        os.link(tmp_path / "a.png", tmp_path / "b.png")
        tar.add(tmp_path / "a.png", "a.png")
        tar.add(tmp_path / "b.png", "b.png")
    with pytest.raises(ValueError, match=r"b.png is a link; pack the file itself"):
        WebDataset(tmp_path / "links.tar")


def test_the_place_is_that_of_batches_that_were_handed_out(folder):
    loader = TwoViewLoader(folder, recipe(), 4, threads=1)
    old = iter(loader)
    for _ in range(3):
        next(old)
    loader.set_epoch(0)
    current = iter(loader)
    next(current)
    next(old)
    assert loader.state_dict()["batch"] == 1
    if hasattr(os, "fork"):
        child = os.fork()
        if child == 0:
            try:
                next(current)
            except ValueError:
                os._exit(loader.state_dict()["batch"])
            os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    with pytest.raises(ValueError, match="of other data"):
        TwoViewLoader(np.zeros((23, 9, 9, 3), np.uint8), recipe(), 4, threads=1).load_state_dict(loader.state_dict())


@pytest.mark.parametrize("styles", ["default", "batch"])
def test_what_is_too_small_for_style_is_reported(images, styles):
    style = SASSL(p=1.0, styles=styles)
    source = [*images[:3], np.zeros((1, 1, 3), np.uint8), *images[3:7]]
    options = {"shuffle": False, "threads": 2}
    loader = TwoViewLoader(source, recipe(style=style, style_position="before_crop"), 4, on_error="report", **options)
    assert len(list(loader)) == 2
    assert list(loader.report) == ["source[3]"]
    with pytest.raises(ValueError, match=r"source\[3\]: images must be at least 8x8"):
        list(TwoViewLoader(source, recipe(style=style, style_position="before_crop"), 4, **options))


def test_a_compressed_shard_says_what_to_do(tmp_path, images):
    import gzip

    path = packed(tmp_path / "a.tar", images[0], "a.png")
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"it is compressed by gzip: unpack it"):
        WebDataset(tmp_path / "a.tar.gz")


def test_sources_and_loaders_pickle(folder, images, tmp_path):
    path = shard(tmp_path / "a.tar", images)
    for source in (ImageFolder(folder), WebDataset(path), Objects([(image, 3) for image in images])):
        copy = pickle.loads(pickle.dumps(source))
        assert len(copy) == 23
        assert np.array_equal(copy[7][0], source[7][0])
    loader = TwoViewLoader(folder, recipe(), 4, seed=3, threads=2)
    iterator = iter(loader)
    next(iterator)
    rest = list(pickle.loads(pickle.dumps(loader)))
    others = list(iterator)
    assert len(rest) == len(others) == 4
    for (views, targets, names), (same, same_targets, same_names) in zip(rest, others, strict=True):
        assert names == same_names
        assert np.array_equal(targets, same_targets)
        assert all(map(np.array_equal, views, same))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 99}, r"state\['batch'\] must be an integer in \[0, 5\], got 99"),
        ({"batch": 1.9}, "1.9"),
        ({"batch": -1}, "-1"),
        ({"batch": None}, "None"),
        ({"epoch": -5}, r"state\['epoch'\] must be an integer >= -1, got -5"),
        ({"seed": 9}, r"state\['seed'\] must be 0 for this loader, got 9"),
    ],
)
def test_states_that_cannot_be(folder, change, message):
    loader = TwoViewLoader(folder, recipe(), 4)
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict({**loader.state_dict(), **change})
    with pytest.raises(ValueError, match="missing"):
        loader.load_state_dict({"epoch": 0, "batch": 0})
    with pytest.raises(ValueError, match=r"state must be a dict returned by state_dict\(\), got None"):
        loader.load_state_dict(None)
    assert loader.state_dict() == TwoViewLoader(folder, recipe(), 4).state_dict()


def test_shapes_of_lightly_and_solo_learn(folder):
    need("torch")
    import torch

    transform = MoCoV2Transform(input_size=16)
    views, targets, names = next(iter(TwoViewLoader(folder, transform, 4)))
    assert [(type(view), view.shape, view.dtype) for view in views] == [
        (torch.Tensor, (4, 3, 16, 16), torch.float32)
    ] * 2
    assert (targets.dtype, len(names)) == (torch.int64, 4)
    indices, others, same = next(iter(TwoViewLoader(folder, transform, 4, collate="solo-learn")))
    assert indices.dtype == torch.int64
    assert all(map(torch.equal, views, others))
    assert torch.equal(targets, same)
    halves = next(iter(TwoViewLoader(folder, MoCoV2Transform(16, dtype="float16", channels_last=True), 4)))[0][0]
    assert (halves.dtype, halves.shape) == (torch.float16, (4, 16, 16, 3))


@pytest.fixture
def faulty(folder, tmp_path):
    """Twelve files, of which five cannot be read."""
    paths = sorted(folder.rglob("*.png"))[:12]
    whole = paths[0].read_bytes()
    bad = {"truncated.png": whole[: len(whole) // 2], "empty.jpg": b"", "text.jpg": b"no image at all"}
    bad["cut.jpg"] = encoded(np.zeros((64, 64, 3), np.uint8), "JPEG")[:-40]
    for i, (name, data) in enumerate(bad.items()):
        (tmp_path / name).write_bytes(data)
        paths[2 * i + 1] = tmp_path / name
    paths[10] = tmp_path / "vanished.png"
    return paths


def test_raise_names_the_file_and_goes_on(faulty):
    loader = TwoViewLoader(faulty, recipe(), 2, shuffle=False, threads=2)
    iterator, seen, errors = iter(loader), [], []
    for _ in range(6):
        try:
            seen += next(iterator)[2]
        except (ValueError, OSError) as error:
            errors.append(str(error))
    assert len(seen) == 2
    for name, error in zip(("truncated.png", "empty.jpg", "text.jpg", "cut.jpg", "vanished.png"), errors, strict=True):
        assert name in error
    with pytest.raises(StopIteration):
        next(iterator)
    assert loader.report == {}
    with pytest.raises(ValueError, match=r"truncated.png"):
        list(loader)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="DID NOT RUN: no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=r"pipe.jpg: not a regular file"):
        next(iter(TwoViewLoader([tmp_path / "pipe.jpg"], recipe(), 1)))
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(ValueError, match=r"pipe.tar: not a regular file"):
        WebDataset(tmp_path / "pipe.tar")
    batch = {b"data": np.zeros((1, 3072), np.uint8), b"labels": [1]}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch, 2))
    os.mkfifo(tmp_path / "data_batch_2")
    with pytest.raises(ValueError, match=r"data_batch_2: not a regular file"):
        CIFAR(tmp_path)


def test_report_replaces_and_counts(faulty):
    loader = TwoViewLoader(faulty, recipe(), 4, shuffle=False, threads=3, on_error="report", drop_last=False)
    names = [name for *_, names in loader for name in names]
    assert len(names) == 12
    good = [str(path) for i, path in enumerate(faulty) if i not in (1, 3, 5, 7, 10)]
    assert set(names) == set(good)
    assert names[1] == str(faulty[2])
    report = loader.report
    assert {os.path.basename(name): count for name, (_, count) in report.items()} == {
        "truncated.png": 1, "empty.jpg": 1, "text.jpg": 1, "cut.jpg": 1, "vanished.png": 1,
    }  # fmt: skip
    assert "empty" in report[str(faulty[3])][0]
    list(loader)
    assert {count for _, count in loader.report.values()} == {2}
    hopeless = TwoViewLoader([str(faulty[1])] * 300, recipe(), 4, on_error="report")
    with pytest.raises(ValueError, match="100 consecutive images"):
        next(iter(hopeless))


def test_folders_that_are_none(folder, tmp_path):
    with pytest.raises(FileNotFoundError):
        ImageFolder(tmp_path / "no")
    with pytest.raises(ValueError, match="no image in this folder"):
        ImageFolder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="cat: a class without images"):
        ImageFolder(tmp_path)
    (tmp_path / "cat" / "a.png").write_bytes(b"")
    (tmp_path / "b.JPG").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b.JPG: an image beside the class folders"):
        ImageFolder(tmp_path)
    os.remove(tmp_path / "b.JPG")
    (tmp_path / "Cat").mkdir(exist_ok=True)
    (tmp_path / "Cat" / "a.png").write_bytes(b"")
    if len(os.listdir(tmp_path)) == 2:
        with pytest.raises(ValueError, match="differ only in case"):
            ImageFolder(tmp_path)


def test_links_are_followed_once(folder, images, tmp_path):
    os.symlink(folder / "class_1", tmp_path / "linked")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.png").write_bytes(encoded(images[0]))
    for name in ("loop", "another"):
        os.symlink(tmp_path, tmp_path / "own" / name)
    source = ImageFolder(tmp_path)
    assert source.classes == ["linked", "own"]
    counts = np.bincount([source[i][1] for i in range(len(source))])
    assert counts.tolist() == [8, 9]


def test_shards_that_are_damaged(images, tmp_path):
    path = shard(tmp_path / "a.tar", images[:6])
    data = path.read_bytes()
    with tarfile.open(path) as tar:
        header = next(member.offset for member in tar if member.name.endswith("sample003.json"))
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(data[: header - 1024] + b"\xff" * 2048 + data[header + 1024 :])
    with pytest.raises(ValueError, match=r"damaged.tar: unreadable after byte \d+"):
        WebDataset(damaged)
    part = WebDataset(damaged, on_error="report")
    assert 2 <= len(part) <= 3
    assert np.array_equal(part[1][0], images[1])
    assert "unreadable after byte" in part.damaged[0][1]
    cut = tmp_path / "cut.tar"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut.tar: unreadable"):
        WebDataset(cut)
    packed = tmp_path / "packed.tar"
    import gzip

    packed.write_bytes(gzip.compress(data))
    with pytest.raises(ValueError, match=r"packed.tar: it is compressed by gzip"):
        WebDataset(packed)
    empty = shard(tmp_path / "empty.tar", [])
    with pytest.raises(ValueError, match=r"empty.tar: no image in this shard"):
        WebDataset([path, empty])
    both = WebDataset([path, empty], on_error="report")
    assert len(both) == 6
    assert [os.path.basename(name) for name, _ in both.damaged] == ["empty.tar"]
    with pytest.raises(FileNotFoundError, match="no file matches"):
        WebDataset(tmp_path / "b-*.tar")
    whole = WebDataset(path)
    path.write_bytes(data[:-512])
    with pytest.raises(ValueError, match="has changed since"):
        whole[0]


def test_a_source_that_raises(images):
    class Broken:
        def __len__(self):
            return 8

        def __getitem__(self, index):
            if index == 3:
                raise KeyError("no such row")
            return images[index], index

    loader = TwoViewLoader(Broken(), recipe(), 4, shuffle=False)
    with pytest.raises(ValueError, match=r"source\[3\]: KeyError: 'no such row'"):
        list(loader)
    loader = TwoViewLoader(Broken(), recipe(), 4, shuffle=False, on_error="report")
    assert [t.tolist() for _, t, _ in loader] == [[0, 1, 2, 4], [4, 5, 6, 7]]


def test_what_the_users_data_set_raises(images):
    class Broken:
        error: BaseException = KeyError("no such row")

        def __len__(self):
            return 8

        def __getitem__(self, index):
            if index == 3:
                raise self.error
            return images[index], index

    broken = Broken()
    with pytest.raises(ValueError, match=r"^source\[3\]: KeyError: 'no such row'") as raised:
        list(TwoViewLoader(broken, recipe(), 4))
    assert raised.value.__cause__ is broken.error
    assert "__getitem__" in {entry.name for entry in raised.traceback.__class__(raised.value.__cause__.__traceback__)}
    with pytest.raises(ValueError, match="no such row") as raised:
        Objects(broken)[3]
    assert raised.value.__cause__ is broken.error
    for fatal in (KeyboardInterrupt(), MemoryError(), SystemExit(3), OSError(errno.EMFILE, "Too many open files")):
        broken.error = fatal
        loader = TwoViewLoader(broken, recipe(), 4, on_error="report")
        with pytest.raises(type(fatal)):
            list(loader)
        assert loader.report == {}


@pytest.mark.skipif(sys.platform != "linux", reason="DID NOT RUN: limits are Linux's")
@pytest.mark.parametrize(
    ("limit", "least", "error"),
    [
        # Numbers below it are taken.
        ("RLIMIT_NOFILE", "3", OSError),
        ("RLIMIT_AS", "int(open('/proc/self/statm').read().split()[0]) * 4096 + (100 << 20)", MemoryError),
    ],
)
def test_a_system_that_has_nothing_left_is_no_fault_of_an_image(tmp_path, limit, least, error):
    Image.new("RGB", (9000, 9000)).save(tmp_path / "large.bmp")
    program = f"""
import resource
from sassl.data import TwoViewLoader
from sassl.transforms import SimCLRTransform
files, transform = [{os.fspath(tmp_path / "large.bmp")!r}] * 8, SimCLRTransform(16, output="numpy")
loader = TwoViewLoader(files, transform, 4, threads=1, on_error="report")
next(iter(loader))
_, most = resource.getrlimit(resource.{limit})
resource.setrlimit(resource.{limit}, ({least}, most))
try:
    next(iter(loader))
except {error.__name__} as error:
    print(type(error).__name__, error, loader.report)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(error.__name__), done.stdout
    assert "large.bmp" in done.stdout
    assert done.stdout.endswith("{}\n"), done.stdout


def test_objects_know_names_of_classes(images, folder):
    class Named:
        classes = ("cat", "dog")

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return images[index], index

    class Subset:
        dataset, indices = Named(), [1]

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return self.dataset[self.indices[index]]

    assert Objects(Named()).classes == Objects(Subset()).classes == ["cat", "dog"]
    others = (Objects([(images[0], 3)]), Files([encoded(images[0])]), Arrays(np.zeros((1, 9, 9, 3), np.uint8)))
    assert [source.classes for source in others] == [None] * 3


def test_data_sets_without_a_length(images):
    class Stream:
        def __getitem__(self, index):
            return images[index], 0

    class Unsized(Stream):
        def __len__(self):
            raise NotImplementedError("endless")

    for source in (Stream(), Unsized(), iter([1]), (x for x in ())):
        with pytest.raises(TypeError, match=r"source must have len\(\) and \[index\], got .*; convert it to a list"):
            TwoViewLoader(source, recipe(), 1)


def test_a_memmap_pickles_as_its_path(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (200, 40, 50, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for part, expected in ((mapped, images), (mapped[7:150:3], images[7:150:3]), (mapped[::-1, 3:], images[::-1, 3:])):
        source = Arrays(part, [*range(len(part))])
        written = pickle.dumps(source)
        assert len(written) < 5000
        copy = pickle.loads(pickle.dumps(pickle.loads(written)))
        assert len(copy) == len(part)
        for i in (0, 5, len(part) - 1):
            assert copy[i][1] == i
            assert np.array_equal(copy[i][0], expected[i])
    loader = pickle.loads(pickle.dumps(TwoViewLoader(mapped, recipe(), 4)))
    assert len(list(loader)) == 50
    assert len(pickle.dumps(Arrays(np.load(tmp_path / "images.npy", mmap_mode="c")))) > images.nbytes
    (tmp_path / "images.npy").write_bytes(b"short")
    with pytest.raises((TypeError, ValueError)):
        pickle.loads(written)


def test_memory_of_views_is_the_loaders_own(images):
    """Nothing that a subclass can replace gives the memory that threads write."""

    class Sharing(TwoViewLoader):
        def _allocate(self, n):
            views = np.zeros((n, 3, 24, 24), np.uint8)
            return views, views

    source = [(image, 0) for image in images]
    for (left, right), *_ in Sharing(source, recipe(), 4):
        assert left.flags.owndata
        assert right.flags.owndata
        assert not np.shares_memory(left, right)
        assert not np.array_equal(left, right)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_damage": "skip"}, 'on_damage must be "use", "replace" or "raise", got "skip"'),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": -1}, "batch_size must be an integer >= 1, got -1"),
        ({"batch_size": 2.5}, "batch_size must be an integer >= 1, got 2.5"),
        ({"rank": 0, "world_size": 0}, "world_size must be an integer >= 1, got 0"),
        ({"seed": 2**64}, rf"seed must be an integer in \[0, {2**64 - 1}\], got {2**64}"),
        ({"shuffle": "no"}, "shuffle must be True or False, got 'no'"),
        ({"threads": 100_000}, r"threads must be an integer in \[1, 1024\], got 100000"),
        ({"batch_size": 24}, "batch_size must be at most the source's 23 images, .*, got 24"),
        ({"rank": 2, "world_size": 2}, r"rank must be in \[0, world_size - 1\], with world_size=2, got 2"),
        ({"threads": 0}, r"threads must be an integer in \[1, 1024\], got 0"),
        ({"prefetch": -1}, "prefetch must be an integer >= 0, got -1"),
        ({"seed": -1}, rf"seed must be an integer in \[0, {2**64 - 1}\], got -1"),
        ({"on_error": "skip"}, 'on_error must be "raise" or "report", got "skip"'),
        ({"collate": "list"}, "collate must be 'lightly' or 'solo-learn', got 'list'"),
        ({"pin_memory": True}, 'output must be "torch" with pin_memory=True, got "numpy"'),
    ],
)
def test_settings_that_cannot_be(folder, options, message):
    with pytest.raises(ValueError, match=message):
        TwoViewLoader(folder, recipe(), **{"batch_size": 4, **options})


def test_pinned_memory(folder):
    need("torch")
    import torch

    transform = MoCoV2Transform(16)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="pin_memory=True requires a CUDA device, but torch finds none"):
            TwoViewLoader(folder, transform, 4, pin_memory=True)
        return
    views, _, _ = next(iter(TwoViewLoader(folder, transform, 4, pin_memory=True)))
    assert all(view.is_pinned() for view in views)


def test_arguments_that_cannot_be(folder):
    with pytest.raises(TypeError, match="transform must be a recipe"):
        TwoViewLoader(folder, SASSL())
    with pytest.raises(TypeError, match="dict of 'train', 'test'; pass one of them"):
        TwoViewLoader({"train": [], "test": []}, recipe())
    with pytest.raises(TypeError, match=r"source must have len\(\) and \[index\]"):
        TwoViewLoader(3, recipe())
    with pytest.raises(ValueError, match="targets must have length 1"):
        Files(["a.jpg"], [1, 2])
    for epoch in (-1, 1.5, 2**64, "a"):
        with pytest.raises(ValueError, match=f"epoch must be an integer >= 0, got {epoch!r}"):
            TwoViewLoader(folder, recipe(), 4).set_epoch(epoch)
    for files in ("/a/b.jpg", 3, np.zeros(3)):
        with pytest.raises(TypeError, match="files"):
            Files(files)
    with pytest.raises(TypeError, match="images must be an array"):
        Arrays("x")
    for shards in ([], 5):
        with pytest.raises(TypeError, match="shards must be a path, a pattern, or a list of at least one path, got "):
            WebDataset(shards)
    with pytest.raises(KeyError, match="image must be one of the dataset's 'pixels'"):
        Objects([{"pixels": 1}])


def threads_now():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else threading.active_count()


def test_threads_end_with_the_iteration(folder, images):
    loader = TwoViewLoader(folder, recipe(), 2, threads=3)
    slow = TwoViewLoader([(image, 0) for image in images], recipe(), 2, threads=3)
    list(loader)
    before = threads_now()
    for _ in range(100):
        for source in (loader, slow):
            for _ in source:
                break
            iterator = iter(source)
            del iterator
    with pytest.raises(ZeroDivisionError):
        [1 // 0 for _ in loader]
    for _ in range(100):
        if threads_now() <= before:
            break
        time.sleep(0.01)
    assert threads_now() <= before


PROGRAM = """
import sys, time
import numpy as np
from sassl.data import TwoViewLoader
from sassl.transforms import SimCLRTransform

class Slow:
    def __len__(self):
        return 1000
    def __getitem__(self, index):
        if index:
            time.sleep(0.2)
        return np.zeros((9, 9, 3), np.uint8), 0

loader = TwoViewLoader(Slow(), SimCLRTransform(16, output="numpy"), 100, threads=2)
print("ready", flush=True)
{rest}
"""


def test_ctrl_c_is_heard_while_it_waits():
    rest = "try:\n    next(iter(loader))\nexcept KeyboardInterrupt:\n    print('heard')"
    child = subprocess.Popen([sys.executable, "-c", PROGRAM.format(rest=rest)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20)
    assert (out, child.returncode) == ("heard\n", 0)
    assert time.monotonic() - began < 10


def test_the_interpreter_ends_with_an_iteration_open():
    rest = "iterator = iter(loader)\nimport threading\nthreading.Timer(0.3, lambda: None).start()"
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(rest=rest)], timeout=20, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="DID NOT RUN: no fork here")
def test_a_forked_process_is_told_and_can_start_anew(folder):
    loader = TwoViewLoader(folder, recipe(), 4)
    iterator = iter(loader)
    next(iterator)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            try:
                next(iterator)
            except ValueError as error:
                loader.set_epoch(0)
                code = 0 if "iterate over the loader anew" in str(error) and len(list(loader)) == 5 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(list(iterator)) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="DID NOT RUN: no fork here")
def test_a_process_forked_while_a_thread_waits_does_not_hang(folder):
    class Slow:
        def __len__(self):
            return 1000

        def __getitem__(self, index):
            time.sleep(0.05)
            return np.zeros((9, 9, 3), np.uint8), 0

    iterator = iter(TwoViewLoader(Slow(), recipe(), 100, threads=2))
    thread = threading.Thread(target=lambda: next(iterator, None), daemon=True)
    thread.start()
    time.sleep(0.3)
    for _ in range(5):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                iterator.close()
                del iterator
                code = 0 if len(list(TwoViewLoader(folder, recipe(), 4))) == 5 else 2
            finally:
                os._exit(code)
        for _ in range(200):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.05)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the forked process hangs")
        assert os.waitstatus_to_exitcode(status) == 0
    iterator.close()
    thread.join(10)
    assert not thread.is_alive()


FIFO = """
import os, sys, threading, time
from pathlib import Path
from sassl.data import CIFAR, TwoViewLoader
from sassl.transforms import SimCLRTransform

# Files that are there when they are listed, and do not answer when they are read.
folder = Path(sys.argv[1])
for i in range(1, 6):
    (folder / f"data_batch_{{i}}.bin").write_bytes(bytes(3073) * 4)
source = CIFAR(folder)
for i in range(1, 6):
    os.remove(folder / f"data_batch_{{i}}.bin")
    os.mkfifo(folder / f"data_batch_{{i}}.bin")
loader = TwoViewLoader(source, SimCLRTransform(16, output="numpy"), 4, threads=2)
print("ready", flush=True)
{rest}
"""

ASLEEP = PROGRAM.replace("time.sleep(0.2)", "time.sleep(15)")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="DID NOT RUN: no pipes here")
@pytest.mark.parametrize("program", [FIFO, ASLEEP], ids=["storage", "Python"])
def test_reads_that_hang_keep_nobody(program, tmp_path):
    rest = """
iterator = iter(loader)
try:
    next(iterator)
except KeyboardInterrupt:
    print("heard", flush=True)
began = time.monotonic()
iterator = iter(loader)
time.sleep(0.3)
iterator.close()
del iterator
left = iter(loader)
print(time.monotonic() - began < 0.8, flush=True)
"""
    arguments = [sys.executable, "-c", program.format(rest=rest), str(tmp_path)]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "heard\n"
    heard = time.monotonic() - began
    out, err = child.communicate(timeout=10)
    assert (out, err, child.returncode) == ("True\n", "", 0)
    assert heard < 0.5
    assert time.monotonic() - began < 5


def test_the_interpreter_ends_while_a_data_set_works():
    """A thread that comes back to an interpreter that has ended waits for the process to be gone, and does not abort it."""
    rest = "iterator = iter(loader)\ntime.sleep(0.2)\nimport atexit\natexit.register(time.sleep, 0.1)"
    program = PROGRAM.replace("threads=2", "threads=8")
    long = program.replace("time.sleep(0.2)", "[time.sleep(0.001) for _ in range(100000)]").format(rest=rest)
    # Most of its reads end while the interpreter does.
    short = program.replace("time.sleep(0.2)", "time.sleep(0.002)").replace("100,", "8,")
    for program in (long, *4 * [short.format(rest="iterator = iter(loader)\nnext(iterator)")]):
        done = subprocess.run([sys.executable, "-c", program], timeout=20, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="DID NOT RUN: no fork here")
def test_a_process_that_a_thread_forks_can_leave():
    rest = """
import os, threading
iterator = iter(loader)
def fork():
    child = os.fork()
    if child == 0:
        sys.exit(7)
    for _ in range(100):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            print("left", flush=True)
            return
        time.sleep(0.05)
    os.kill(child, 9)
for _ in range(3):
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
"""
    program = PROGRAM.format(rest=rest)
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("ready\n" + "left\n" * 3, 0), done.stderr


def test_hugging_face(images, tmp_path):
    need("datasets")
    import datasets

    rows = {"image": [Image.fromarray(image) for image in images], "label": list(range(23))}
    dataset = datasets.Dataset.from_dict(
        rows, features=datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    )
    undecoded = dataset.cast_column("image", datasets.Image(decode=False))
    for source in (dataset, undecoded):
        made = by_name(batches(TwoViewLoader(source, recipe(), 23, shuffle=False), 0))
        expected = by_name(
            batches(TwoViewLoader(list(zip(images, range(23), strict=True)), recipe(), 23, shuffle=False), 0)
        )
        assert equal(made, expected)
    labels = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    gray = [Image.fromarray(images[0][..., 0]), Image.fromarray(images[1])]
    named = datasets.Dataset.from_dict({"image": gray, "label": [1, 0]}, features=labels)
    for source in (named, named.with_format("numpy"), named.with_format("torch")):
        objects = Objects(source)
        assert objects.classes == ["cat", "dog"]
        assert [objects[i][1] for i in range(2)] == [1, 0]
        assert np.array_equal(objects[0][0], np.repeat(images[0][..., :1], 3, 2))
        assert np.array_equal(objects[1][0], images[1])


def test_lightly_dataset(folder):
    need("lightly")
    from lightly.data import LightlyDataset

    dataset = LightlyDataset(str(folder))
    views, _, names = next(iter(TwoViewLoader(dataset, recipe(), 4)))
    assert views[0].shape == (4, 3, 24, 24)
    assert len(names) == 4

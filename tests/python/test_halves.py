"""Views that are half made: what a loader gives and what is made of it are its views to the bit, and a run is the same run."""

from __future__ import annotations

import json
import pickle
import signal

import numpy as np
import pytest
import sassl
from conftest import GOLDEN, coloured, need
from sassl import cli, cuda
from sassl._sassl import Draws
from sassl.data import Arrays, HalfViews, TwoViewLoader
from sassl.pretraining import Torch
from sassl.transforms import BYOLTransform, MoCoV2Transform, SimCLRTransform, Views
from sassl.transforms.operations import Erasing, GaussianBlur, HorizontalFlip, Normalize, RandomResizedCrop
from sassl.transforms.plain import SASSL

SMALL = str(GOLDEN / "small_dense.safetensors")


@pytest.fixture(scope="module")
def images():
    """Eleven images of different sizes."""
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")
    return [np.ascontiguousarray(photo[i * 9 : i * 9 + 40 + i, i * 20 : i * 20 + 70 - i]) for i in range(11)]


def style(styles="batch"):
    return SASSL(p=0.8, styles=styles, model="lite" if styles == "default" else SMALL)


def swapped(image):
    return image[..., ::-1]


RECIPES = {
    "moco-v2": lambda: MoCoV2Transform(24, rr_prob=0.3, output="numpy"),
    "simclr, float16, channels last": lambda: SimCLRTransform(24, dtype="float16", channels_last=True, output="numpy"),
    "byol, uint8": lambda: BYOLTransform((17, 30), normalize=None, dtype="uint8", output="numpy"),
    "a bank": lambda: SimCLRTransform(24, style=style("default"), styled_view="both", output="numpy"),
    "the batch": lambda: MoCoV2Transform(24, style=style(), output="numpy"),
    "the batch, both views": lambda: MoCoV2Transform(24, style=style(), styled_view="both", output="numpy"),
    "the batch, before the crop": lambda: MoCoV2Transform(
        24, style=style(), styled_view="both", style_position="before_crop", output="numpy"
    ),
    "lists of several sizes": lambda: Views(
        [RandomResizedCrop(24), GaussianBlur(5), style(), swapped, Normalize(), Erasing(p=0.5)],
        [RandomResizedCrop((9, 14)), HorizontalFlip(), Normalize()],
        [RandomResizedCrop(24)],
        output="numpy",
    ),
}


def make(images, transform, **options):
    return TwoViewLoader(images, transform, **{"batch_size": 4, "seed": 7, "drop_last": False, **options})


@pytest.mark.parametrize("output", ["crops", "images"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_both_halves_are_the_views(images, recipe, output):
    transform = RECIPES[recipe]()
    if output == "images" and "before" in recipe:
        with pytest.raises(
            ValueError, match="views have a style before the crop, but a GPU can only stylize images of one size"
        ):
            make(images, transform, output=output)
        return
    whole, halves = make(images, transform), make(images, transform, output=output, threads=2)
    for _ in range(2):
        count = 0
        for (views, targets, names), (crops, same_targets, same_names) in zip(whole, halves, strict=True):
            assert isinstance(crops, HalfViews)
            assert (names, len(crops)) == (same_names, len(views[0]))
            assert np.array_equal(targets, same_targets)
            made = crops.finish(threads=1 + count % 3)
            for one, other in zip(made, views, strict=True):
                assert (one.dtype, one.shape) == (other.dtype, other.shape)
                assert np.array_equal(one, other)
            count += len(crops)
        assert count == len(images)
    assert halves.state_dict() == whole.state_dict()
    assert f"HalfViews({output} of a batch of {len(crops)}, " in repr(crops)


@pytest.mark.parametrize("output", ["crops", "images"])
def test_draws_and_pixels_are_values(images, output):
    transform = SimCLRTransform(16, output="numpy")
    loader = make(images, transform, output=output, shuffle=False)
    crops, _, _ = next(iter(loader))
    again = pickle.loads(pickle.dumps(crops))
    assert again.draws == crops.draws
    for view in range(2):
        assert np.array_equal(again.finish()[view], crops.finish()[view])
    for i, image in enumerate(images[:4]):
        assert crops.draws[i] == transform.core.sample(7, *image.shape[:2], index=i)
        for one, other in zip(transform.apply_params(image, crops.draws[i]), crops.finish(), strict=True):
            assert np.array_equal(one, other[i])
    with pytest.raises(IndexError):
        crops.draws[4]
    for threads in (0, 1025):
        with pytest.raises(ValueError, match=rf"threads must be an integer in \[1, 1024\], .*, got {threads}"):
            crops.finish(threads=threads)
    with pytest.raises(ValueError, match=r"pixels must have .* bytes for 1 images"):
        HalfViews(transform, crops.pixels, Draws([crops.draws[0]])).finish()
    if output == "crops":
        with pytest.raises(ValueError, match="params"):
            HalfViews(MoCoV2Transform(16, rr_prob=0.5), crops.pixels, Draws([[]] * 4)).finish()


def test_crops_take_a_quarter_of_the_memory_and_torch_takes_views(images):
    need("torch")
    import torch

    crops, targets, _ = next(iter(make(images, SimCLRTransform(32, output="torch"), output="crops")))
    assert isinstance(targets, torch.Tensor)
    left, right = crops.finish("cpu")
    assert isinstance(left, torch.Tensor)
    assert 4 * crops.pixels.nbytes == left.nbytes + right.nbytes
    indices, crops, targets = next(iter(make(images, SimCLRTransform(32), output="crops", collate="solo-learn")))
    assert (len(indices), len(crops), len(targets)) == (4, 4, 4)


def test_a_loader_goes_on_with_crops_and_is_shared_by_ranks(images):
    transform = SimCLRTransform(24, style=style("default"), output="numpy")
    rows = [views for views, _, _ in make(images, transform, drop_last=True)]
    first = make(images, transform, drop_last=True)
    iterator = iter(first)
    next(iterator)
    state = json.loads(json.dumps(first.state_dict()))
    for rank in range(2):
        loader = make(images, transform, drop_last=True, batch_size=2, rank=rank, world_size=2, output="crops")
        loader.load_state_dict(state)
        rest = [crops.finish() for crops, _, _ in loader]
        assert len(rest) == len(rows) - 1
        for made, views in zip(rest, rows[1:], strict=True):
            for one, other in zip(made, views, strict=True):
                assert np.array_equal(one, other[2 * rank : 2 * rank + 2])


def test_what_cannot_be_halved_is_told(images):
    of_batch = MoCoV2Transform(24, style=style())
    make(images, of_batch, output="crops")
    with pytest.raises(
        ValueError, match=r"world_size must be 1 for views whose second half takes styles of the batch, got 2"
    ):
        make(images, of_batch, output="crops", batch_size=2, rank=0, world_size=2)
    one = style()
    both = Views([one, RandomResizedCrop(24)], [RandomResizedCrop(24), one])
    with pytest.raises(
        ValueError, match="views must have styles of the batch only before or only after the crops in two halves"
    ):
        make(images, both, output="crops")
    with pytest.raises(ValueError, match=r"output must be .*, got 'halves'"):
        make(images, of_batch, output="halves")


@pytest.mark.parametrize("output", ["crops", "images"])
def test_the_way_of_half_made_views_to_a_gpu(images, output, monkeypatch):
    """All of it but copies and launches."""
    need("torch")
    import torch

    ran, loaded, cpu = [], [], torch.device("cpu")
    monkeypatch.setattr(cuda, "_load", lambda plan, device: loaded.append(len(plan)))
    monkeypatch.setattr(cuda, "_copied", lambda pixels, device: torch.from_numpy(pixels))
    monkeypatch.setattr(cuda, "_run", lambda plan, pixels, out, weights, styles: ran.append((len(plan), len(pixels))))
    for options in ({"style": style("default")}, {"channels_last": True, "dtype": "float16"}):
        transform = SimCLRTransform(24, **options)
        (half, _, _), *_ = make(images, transform, output=output)
        made = transform.finish_on(cpu, output == "images").apply(half.pixels, half.draws)
        assert [(tuple(view.shape), str(view.dtype)) for view in made] == [
            ((4, *shape), f"torch.{transform.dtype}") for shape in transform.shapes
        ]
        assert ran[-1][1] == half.pixels.nbytes
        assert transform.finish_on(cpu, output == "images") is transform.finish_on(cpu, output == "images")
        with pytest.raises(ValueError, match=r"pixels must have \d+ bytes for 4 images, got"):
            transform.finish_on(cpu, output == "images").apply(half.pixels[1:], half.draws)
    assert len(loaded) == 3  # The style's own kernels too.
    for view, message in (
        ([RandomResizedCrop(24), swapped], "is a Python function, which has no GPU kernel"),
        ([RandomResizedCrop(24), Erasing(p=1.0)], 'views: "erasing" changes the finished view'),
        ([RandomResizedCrop(24), style()], "takes styles of the batch, which only the first style step can on a GPU"),
    ):
        with pytest.raises(ValueError, match=message):
            Views(view, view if "first" in message else [RandomResizedCrop(24)]).finish_on(cpu)


def engine(where):
    need("torch")
    return Torch(device="cpu", views=where)


def model(engine, **settings):
    small = {"input_size": 16, "small_stem": True, "hidden_dim": 8, "dim": 8, **settings}
    return sassl.SimCLR("resnet18", engine=engine, threads=2, **small)


def test_a_run_is_the_same_wherever_its_views_are_made(tmp_path):
    folder = coloured(tmp_path, {"train": 4}) / "train"
    options = {"epochs": 1, "batch_size": 4, "quiet": True}
    told = {}
    for where in ("cpu", "split"):
        run = model(engine(where), style=style("default")).fit(folder, **options)
        told[where] = run.history[-1]["loss"]
    assert told["cpu"] == told["split"]

    # Begun one way, and gone on with another in the middle of the epoch.
    begun = model(engine("split"), style=style("default"))
    with pytest.raises(KeyboardInterrupt):
        begun.fit(folder, **options, out=tmp_path / "run", on_step=lambda *_: signal.raise_signal(signal.SIGTERM))
    run = model(engine("gpu"), style=style("default"))
    run.fit(folder, **options, out=tmp_path / "run", resume=True)
    assert run.history[-1]["loss"] == told["cpu"]


@pytest.mark.parametrize(("maker", "output"), [("native", "crops"), ("split", "images")])
def test_engines_take_a_loader_of_half_made_views(images, maker, output):
    source, losses = Arrays(np.stack([image[:40, :59] for image in images])), []
    for one in ("numpy", output):
        run = model("native" if maker == "native" else engine(maker))
        run.fit(TwoViewLoader(source, run.transform, 4, output=one), epochs=1, quiet=True)
        losses.append(run.history[-1]["loss"])
    assert losses[0] == losses[1]


def test_where_views_are_made_is_an_option():
    need("torch")
    import torch
    from sassl.pretraining.torch.views import loading

    transform, cpu, gpu = SimCLRTransform(24), torch.device("cpu"), torch.device("cuda", 0)
    assert loading(transform, None, cpu, 1) == loading(transform, "cpu", gpu, 1) == {}
    assert loading(transform, "split", cpu, 1) == {"output": "crops", "pin_memory": False}
    assert loading(transform, "gpu", cpu, 1) == {"output": "images", "pin_memory": False}
    with pytest.raises(ValueError, match="views must be one of 'cpu', 'split', 'gpu' or None, got 'all'"):
        Torch(views="all")
    of_batch = MoCoV2Transform(24, style=style())
    with pytest.raises(
        ValueError, match="world_size must be 1 for views whose second half takes styles of the batch, got 2"
    ):
        loading(of_batch, "split", cpu, 2)
    with pytest.warns(UserWarning, match="views are computed on the CPU only: world_size must be 1"):
        assert loading(of_batch, None, gpu, 2) == {}


def test_the_command_takes_where_views_are_made(tmp_path, capsys):
    need("torch")
    folder = coloured(tmp_path, {"train": 4}) / "train"
    command = ["pretrain", "simclr", "--data", str(folder), "--out", str(tmp_path / "run"), "--style", "off"]
    command += ["--arch", "resnet18", "--epochs", "1", "--batch-size", "4", "--input-size", "16", "--views", "split"]
    assert cli.main(command) == 1
    assert "--views split is only for --engine torch, not for native" in capsys.readouterr().err
    assert cli.main([*command, "--engine", "torch", "--threads", "2"]) == 0

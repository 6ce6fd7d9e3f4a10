"""SASSL in torchvision: v1 and v2, every kind of input, DataLoader workers, seeds."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import need

need("torch")
need("torchvision")

import sassl  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from sassl import images  # noqa: E402
from sassl.transforms import SASSL  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402
from torchvision import transforms as v1  # noqa: E402
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.v2 import functional  # noqa: E402


@pytest.fixture
def image(photo):
    return torch.from_numpy(photo).permute(2, 0, 1).contiguous()


def test_this_is_the_class_that_users_get():
    assert isinstance(SASSL(), v2.Transform)
    assert sassl.transforms.SASSL is SASSL


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_tensors_keep_shape_and_dtype(image, dtype, leading, channels):
    tensor = functional.to_dtype(image[:channels, :20, :24], dtype, scale=True).expand(*leading, channels, 20, 24)
    transform = SASSL(p=1.0)
    out = transform(tensor)
    assert (out.shape, out.dtype, out.device) == (tensor.shape, tensor.dtype, tensor.device)
    assert len(transform.params) == max(int(np.prod(leading)), 1)
    assert not torch.equal(out, tensor)
    assert torch.equal(SASSL(p=0.0)(tensor), tensor)


def test_pil_and_tensors_agree(photo, image):
    for seed in range(3):
        torch.manual_seed(seed)
        pil = SASSL()(Image.fromarray(photo))
        torch.manual_seed(seed)
        assert torch.equal(SASSL()(image), functional.pil_to_tensor(pil))


def test_floats_and_bytes_agree(image):
    transform = SASSL(p=1.0)
    params = transform.sample(1)
    floats = transform.apply_params(functional.to_dtype(image, torch.float32, scale=True), params)
    assert (transform.apply_params(image, params) - floats * 255).abs().max() <= 0.5 + 1e-3


def test_memory_layouts(image):
    batch = torch.stack([image, image.flip(-1)])
    torch.manual_seed(0)
    expected = SASSL()(batch)
    for variant in (
        batch.to(memory_format=torch.channels_last),
        batch.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2),
    ):
        torch.manual_seed(0)
        out = SASSL()(variant)
        assert torch.equal(out, expected)
        last = variant.is_contiguous(memory_format=torch.channels_last)
        assert out.is_contiguous(memory_format=torch.channels_last) == last


def test_rows_that_are_not_drawn_are_untouched(image):
    batch = torch.rand(64, 3, 16, 16, dtype=torch.float64)
    transform = SASSL(p=0.5)
    out = transform(batch)
    same = (out == batch).flatten(1).all(1)
    assert torch.equal(same, ~torch.from_numpy(transform.params.apply))
    assert 0 < same.sum() < 64


def test_structures(image):
    boxes = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(64, 80))
    mask = tv_tensors.Mask(torch.ones(64, 80, dtype=torch.uint8))
    sample = {"image": tv_tensors.Image(image), "others": [mask, boxes, 3, "label"], "tensor": torch.ones(2)}
    out = SASSL(p=1.0)(sample)
    assert isinstance(out["image"], tv_tensors.Image)
    assert not torch.equal(out["image"], image)
    assert out["others"][0] is mask
    assert out["others"][1] is boxes
    assert out["others"][2:] == [3, "label"]
    assert out["tensor"] is sample["tensor"]
    label = torch.tensor([1.0, 7.0])
    first, second = SASSL(p=1.0)(image, label)
    assert type(first) is torch.Tensor
    assert second is label
    # Two images of one sample share a draw.
    one, two = SASSL(p=1.0)(tv_tensors.Image(image), tv_tensors.Image(image))
    assert torch.equal(one, two)
    assert SASSL()(3) == 3
    with pytest.raises(ValueError, match=r"batches of one size, as they share their draws, got \[1, 2\]"):
        SASSL()(tv_tensors.Image(image), tv_tensors.Image(torch.stack([image, image])))


def test_arrays(photo):
    assert SASSL(p=1.0)(photo).shape == photo.shape
    assert [x.shape for x in SASSL(p=1.0)([photo, photo[:20]])] == [photo.shape, photo[:20].shape]
    with pytest.raises(TypeError, match="ToImage"):
        SASSL()({"image": photo, "label": 3})
    for unopened in ("photo.jpg", Path("photo.jpg"), b"\xff\xd8"):
        with pytest.raises(TypeError, match="image must be an image, got"):
            SASSL()(unopened)


def test_a_list_of_nothing_but_tensors_is_a_batch(image):
    transform = SASSL(p=1.0)
    images = [image, image, image[:, :40], image[None]]
    made = transform(images)
    assert [x.shape for x in made] == [x.shape for x in images]
    assert not any(map(torch.equal, made, images))
    assert len(transform.params) == 4
    mask = torch.ones(1, 64, 80, dtype=torch.uint8)
    assert transform([image, mask])[1] is mask
    first, label = transform([image, torch.ones(2)])
    assert not torch.equal(first, image)
    assert label.equal(torch.ones(2))


def test_a_video_has_one_draw(image):
    transform = SASSL(p=1.0)
    video = tv_tensors.Video(torch.stack([image, image]))
    out = transform(video)
    assert isinstance(out, tv_tensors.Video)
    assert torch.equal(out[0], out[1])
    assert len(transform.params) == 1
    # Several clips, styles of the batch: all frames of a clip have the first frame of another as their style.
    clips = tv_tensors.Video(torch.stack([video, 255 - video]))
    transform = SASSL(p=1.0, styles="batch", alpha=(1, 1))
    out = transform(clips)
    assert out.shape == clips.shape
    assert torch.equal(out[:, 0], out[:, 1])
    assert np.array_equal(transform.params.style, [1, 0])
    assert torch.equal(transform.apply_params(clips, transform.params), out)


def test_hooks_and_module_methods(image):
    transform, calls = SASSL(), []
    transform.register_forward_hook(lambda *_: calls.append(1))
    transform(image)
    transform([np.asarray(image.permute(1, 2, 0))])
    assert len(calls) == 2
    assert transform.apply(lambda module: calls.append(module)) is transform


def test_in_pipelines(photo):
    pil = Image.fromarray(photo)
    normalize = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    for pipeline in (
        v1.Compose([v1.RandomResizedCrop(32), SASSL(), v1.ToTensor(), v1.Normalize(*normalize)]),
        v1.Compose([v1.ToTensor(), v1.RandomApply([SASSL(p=1.0)]), v1.Normalize(*normalize)]),
        v2.Compose([v2.ToImage(), SASSL(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*normalize)]),
        torch.nn.Sequential(v2.ToImage(), SASSL(), v2.RandomHorizontalFlip()),
    ):
        assert torch.as_tensor(pipeline(pil)).ndim == 3
    with pytest.raises(ValueError, match="before Normalize"):
        v1.Compose([v1.ToTensor(), v1.Normalize(*normalize), SASSL()])(pil)


def test_the_older_names(image):
    transform = SASSL(p=1.0)
    params = transform._get_params([image])
    assert torch.equal(transform._transform(image, params), transform.transform(image, params))


def test_seeds_and_generators(image):
    transform = SASSL()
    runs = []
    for _ in range(2):
        torch.manual_seed(11)
        runs.append(torch.stack([transform(image) for _ in range(4)]))
    assert torch.equal(*runs)
    assert not torch.equal(runs[0][0], runs[0][1])
    own = [SASSL(generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert torch.equal(own[0](image), own[1](image))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="generator must be on the CPU, got one on meta"):
        SASSL(generator=type("Generator", (torch.Generator,), {"device": torch.device("meta")})())


def test_in_batch_styles(image):
    transform = SASSL(p=1.0, styles="batch")
    batch = torch.stack([image, image.flip(-1), 255 - image])
    transform(batch)
    assert (transform.params.style != np.arange(3)).all()


def test_copies_and_pickles(image):
    transform = SASSL(p=1.0)
    for again in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert repr(again) == repr(transform)
        params = transform.sample(1)
        assert torch.equal(again.apply_params(image, params), transform.apply_params(image, params))
    assert "p=1.0" in repr(transform)
    assert "styles='default'" in repr(transform)
    transform = SASSL(generator=torch.Generator().manual_seed(4))
    transform(image)
    again = pickle.loads(pickle.dumps(transform))
    assert torch.equal(again(image), transform(image)), "it goes on where the generator stood"


def test_gradients_do_not_pass_and_it_says_so(image):
    tensor = functional.to_dtype(image, torch.float32, scale=True).requires_grad_()
    with pytest.warns(UserWarning, match="image: requires a gradient, but the result has none"):
        assert not SASSL(p=1.0)(tensor).requires_grad
    with pytest.warns(UserWarning, match="requires a gradient"):
        images.unpack_cuda(tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SASSL(p=1.0)(tensor.detach())
        with torch.no_grad():
            SASSL(p=1.0)(tensor)


class Halved(torch.nn.Module):
    """A module that holds a transform."""

    def __init__(self, transform):
        super().__init__()
        self.transform = transform

    def forward(self, x):
        return self.transform(x * 0.5) + 1


@pytest.mark.parametrize("compiled", ["function", "module"])
def test_torch_compile_calls_it_as_it_is(image, compiled):
    graphs, transform = [], SASSL(p=1.0)
    floats = functional.to_dtype(image, torch.float32, scale=True)

    def backend(graph, _):
        graphs.append([node.target.__name__ for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    module = Halved(transform)
    out = torch.compile(module if compiled == "module" else lambda x: transform(x * 0.5) + 1, backend=backend)(floats)
    assert torch.equal(out, transform.apply_params(floats * 0.5, transform.params) + 1)
    assert graphs == [["mul"], ["add"]]


def test_modules_that_hold_it_keep_their_methods(image):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), SASSL(p=1.0, generator=torch.Generator()))
    assert module.half()[0].weight.dtype == torch.float16
    assert module.to(torch.float64).double()[0].weight.dtype == torch.float64
    assert list(module.float().share_memory().state_dict()) == ["0.weight", "0.bias"]
    assert module.apply(lambda _: None).eval().train() is module
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert again[1](image).shape == image.shape
    assert module.to("meta")[0].weight.is_meta


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [lambda x: x.to("meta"), torch.Tensor.to_sparse, lambda x: torch.nested.nested_tensor([x])],
)
def test_tensors_without_numbers_of_their_own_are_refused(change):
    tensor = change(torch.rand(3, 9, 9))
    for call in (SASSL(p=1.0), images.unpack_cuda):
        with pytest.raises(TypeError, match="image must be a dense tensor with storage of its own, got"):
            call(tensor)


def test_tracers_are_refused():
    from torch._subclasses import FakeTensorMode

    batch, transform = torch.rand(2, 3, 9, 9), SASSL(p=1.0)
    with pytest.raises(TypeError, match=r"torch\.vmap"):
        torch.vmap(images.unpack)(batch)
    with pytest.raises(TypeError, match=r"torch\.vmap"):
        torch.vmap(transform, randomness="different")(batch)
    with pytest.raises(TypeError, match=r"torch\.func"):
        torch.func.grad(lambda x: transform(x).sum())(batch)
    with pytest.raises(TypeError, match=r"torch\.export"):
        torch.export.export(Halved(transform), (batch,), strict=False)
    with FakeTensorMode(), pytest.raises(TypeError, match="FakeTensorMode"):
        transform(torch.rand(3, 9, 9))


def test_nothing_comes_back_as_nothing(image):
    transform = SASSL(p=1.0)
    for dtype in (torch.uint8, torch.float32, torch.bfloat16):
        for none in (torch.empty(0, 3, 9, 9, dtype=dtype), torch.empty(2, 0, 1, 9, 9, dtype=dtype)):
            out = transform(none)
            assert (out.shape, out.dtype, len(transform.params)) == (none.shape, dtype, 0)
    assert transform([]) == []
    assert transform(tv_tensors.Image(image[None, :][:0])).shape == (0, *image.shape)


def test_a_list_of_gray_images_is_a_batch(image):
    transform, gray = SASSL(p=1.0), image[:1]
    for made in (transform([gray, gray, gray[None]]), transform([functional.to_pil_image(gray)] * 3)):
        assert len(transform.params) == len(made) == 3
    first, mask = transform([image, gray])
    assert mask is gray
    assert not torch.equal(first, image)


class Photos(Dataset):
    """One photograph, many times."""

    def __init__(self, photo, transform):
        self.photo, self.transform = photo, transform

    def __len__(self):
        return 8

    def __getitem__(self, index):
        view = self.transform(torch.from_numpy(self.photo).permute(2, 0, 1))
        return view, torch.tensor([*self.transform.params.alpha, *self.transform.params.beta])


@pytest.mark.parametrize(
    ("context", "generator"),
    [
        ("fork", None),
        ("spawn", None),
        ("forkserver", None),
        ("fork", torch.Generator()),
        ("spawn", torch.Generator()),
        ("forkserver", torch.Generator()),
        ("fork", np.random.default_rng(0)),
    ],
)
def test_workers_differ_and_replay(photo, context, generator):
    transform = SASSL(p=1.0, generator=generator)
    # The parent has used it before it forks, with threads of its own.
    transform(torch.from_numpy(np.stack([photo] * 4)).permute(0, 3, 1, 2))
    loader = DataLoader(
        Photos(photo, transform),
        batch_size=1,
        num_workers=2,
        multiprocessing_context=context,
        generator=torch.Generator().manual_seed(3),
        persistent_workers=generator is None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        epochs = [torch.cat([draws for _, draws in loader]) for _ in range(2)]
    drawn = torch.cat(epochs)
    assert len({tuple(row) for row in drawn.tolist()}) == 16, "two images of the epochs share a draw"
    again = DataLoader(Photos(photo, SASSL(p=1.0)), num_workers=0, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(1)
    first = torch.cat([draws for _, draws in again])
    torch.manual_seed(1)
    assert torch.equal(first, torch.cat([draws for _, draws in again]))


@pytest.mark.parametrize(
    ("tensor", "phrase"),
    [
        (torch.rand(3, 7, 9), "7x9"),
        (torch.rand(3, 1, 1), "1x1"),
        (torch.rand(2, 9, 9), "1 or 3 channels"),
        (torch.rand(5, 9, 9), "1 or 3 channels"),
        (torch.rand(9, 9), "1 or 3 channels"),
        (torch.rand(3, 9, 9) - 2, "before Normalize"),
        (torch.full((3, 9, 9), torch.nan), "NaN"),
        (torch.ones(3, 9, 9, dtype=torch.int64), "int64"),
    ],
)
def test_what_is_wrong_is_named(tensor, phrase):
    with pytest.raises(ValueError, match=phrase):
        SASSL()(tensor)

"""SASSL as an augmentation of kornia."""

from __future__ import annotations

import pytest
from conftest import need

need("kornia")

import torch  # noqa: E402
from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip  # noqa: E402
from sassl.transforms import plain  # noqa: E402
from sassl.transforms.kornia import RandomSASSL  # noqa: E402


@pytest.fixture
def images(batch):
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255


def test_rows_are_those_of_the_plain_transform_and_others_stay(images):
    many = images.repeat(20, 1, 1, 1)
    aug = RandomSASSL()
    out = aug(many)
    applied = aug._params["apply"]
    assert out.shape == many.shape
    assert torch.equal(out[~applied], many[~applied])
    assert 45 < int(applied.sum()) < 78
    params = plain.StyleParams(*(aug._params[name].numpy() for name in ("apply", "alpha", "beta", "style")))
    assert torch.equal(out, plain.SASSL().apply_params(many, params))
    assert torch.equal(aug(many, params=aug._params), out)
    assert len(set(aug._params["alpha"].tolist())) == 80


def test_only_gated_rows_run(images, monkeypatch):
    seen = []
    aug = RandomSASSL(p=0.5)
    apply = type(aug._sassl).apply_params
    monkeypatch.setattr(type(aug._sassl), "apply_params", lambda self, x, p: seen.append(p) or apply(self, x, p))
    aug(torch.full((4, 3, 8, 8), 0.5))
    assert len(seen) == 1
    none = RandomSASSL(p=0.0)(images)
    assert torch.equal(none, images)


def test_seed_same_on_batch_and_containers(images):
    torch.manual_seed(1)
    first = RandomSASSL(p=1.0)(images)
    torch.manual_seed(1)
    assert torch.equal(RandomSASSL(p=1.0)(images), first)
    aug = RandomSASSL(p=1.0, same_on_batch=True)
    aug(images)
    assert len(set(aug._params["alpha"].tolist())) == 1
    out = AugmentationSequential(RandomHorizontalFlip(p=0.5), RandomSASSL(p=1.0, styles="batch"))(images)
    assert out.shape == images.shape
    one = RandomSASSL(p=1.0, keepdim=True)(images[0])
    assert one.shape == images[0].shape
    assert RandomSASSL(p=1.0)(images[0]).shape == (1, *images[0].shape)
    assert "same_on_batch=True" in repr(aug)


def test_an_empty_batch_and_one_of_halves(images):
    for same in (False, True):
        assert RandomSASSL(p=1.0, same_on_batch=same)(images[:0]).shape == images[:0].shape
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert RandomSASSL(p=1.0)(images.to(dtype)).dtype == dtype


def test_torch_compile_calls_it_as_it_is(images):
    graphs = []

    def backend(graph, _):
        graphs.append([node.target.__name__ for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    aug = RandomSASSL(p=1.0)
    out = torch.compile(lambda x: aug(x * 0.5) + 1, backend=backend)(images)
    assert out.shape == images.shape
    assert graphs[0] == ["mul"]
    assert graphs[-1] == ["add"]
    assert not {"randint", "permute", "from_numpy", "where"} & {name for graph in graphs for name in graph}


def test_what_cannot_be(images):
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\], got 2"):
        RandomSASSL(p=2.0)
    with pytest.warns(UserWarning, match="requires a gradient"):
        assert not RandomSASSL(p=1.0)(images.clone().requires_grad_()).requires_grad
    with pytest.raises(ValueError, match=r"must have floats in \[0, 1\]"):
        RandomSASSL(p=1.0)(images * 3)

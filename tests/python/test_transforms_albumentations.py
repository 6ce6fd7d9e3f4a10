"""SASSL within albumentations' pipelines."""

from __future__ import annotations

import random

import numpy as np
import pytest
from conftest import need

need("albumentations")

import albumentations as A  # noqa: E402
from sassl.transforms import plain  # noqa: E402
from sassl.transforms.albumentations import SASSL  # noqa: E402


def pipeline(seed=3, **options):
    return A.Compose([A.HorizontalFlip(p=0.5), SASSL(**options)], seed=seed)


def test_image_is_that_of_the_plain_transform(photo):
    transform = SASSL(p=1.0)
    out = transform(image=photo)["image"]
    params = plain.SASSL(p=1.0)._block.sample(transform.params["seed"], 1)
    assert np.array_equal(out, plain.SASSL(p=1.0).apply_params(photo, params))
    assert not np.array_equal(out, photo)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_shapes_and_dtypes(photo, dtype, channels):
    image = photo[..., 0] if channels is None else photo[..., :channels]
    image = image if dtype == "uint8" else (image / 255).astype(np.float32)
    out = pipeline(p=1.0)(image=image)["image"]
    assert (out.shape, out.dtype) == (image.shape, image.dtype)
    images = np.stack([image, image[::-1]])
    many = pipeline(p=1.0)(images=images)["images"]
    assert (many.shape, many.dtype) == (images.shape, images.dtype)


def test_the_images_of_a_call_share_a_draw(photo):
    transform = SASSL(p=1.0)
    images = np.stack([photo, photo[::-1], photo])
    out = transform(images=images)["images"]
    assert np.array_equal(out[0], out[2])
    params = plain.SASSL(p=1.0)._block.sample(transform.params["seed"], 1)
    assert np.array_equal(out[1], plain.SASSL(p=1.0).apply_params(images[1], params))


def test_seeds_replay_and_calls_differ(photo):
    first, again, other = pipeline(3, p=1.0), pipeline(3, p=1.0), pipeline(4, p=1.0)
    outs = [first(image=photo)["image"] for _ in range(3)]
    assert all(np.array_equal(out, again(image=photo)["image"]) for out in outs)
    assert not np.array_equal(outs[0], outs[1])
    assert not np.array_equal(outs[0], other(image=photo)["image"])


def test_p_and_masks(photo):
    transform = A.Compose([SASSL()], seed=0)
    mask = np.arange(photo[..., 0].size).reshape(photo.shape[:2])
    made = [transform(image=photo, mask=mask) for _ in range(100)]
    assert all(np.array_equal(one["mask"], mask) for one in made)
    assert 65 < sum(not np.array_equal(one["image"], photo) for one in made) < 95


def test_replays_and_serializes(photo):
    replay = A.ReplayCompose([SASSL(p=1.0)])
    made = replay(image=photo)
    assert np.array_equal(A.ReplayCompose.replay(made["replay"], image=photo)["image"], made["image"])
    back = A.from_dict(A.to_dict(pipeline(beta=(0.2, 0.4))))
    assert back.transforms[1].beta == (0.2, 0.4)


class Draws:
    """The seeds that one image after the other is given."""

    def __init__(self, photo, seed):
        self.photo, self.transform = photo, A.Compose([SASSL(p=0.7)], seed=seed)

    def __len__(self):
        return 24

    def __getitem__(self, index):
        self.transform(image=self.photo[:16, :16])
        return self.transform.transforms[0].params.get("seed", -1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_workers_and_epochs_differ_without_a_seed_and_repeat_with_one(photo):
    need("torch")
    from torch.utils.data import DataLoader

    def drawn(seed):
        loader = DataLoader(Draws(photo, seed), 1, num_workers=2, multiprocessing_context="fork")
        return [[int(x) for x in loader] for _ in range(2)]

    epochs = drawn(None)
    drawn_ = [x for epoch in epochs for x in epoch if x >= 0]
    assert 20 < len(drawn_) < 45
    assert len(set(drawn_)) == len(drawn_)
    applied = [[x >= 0 for x in epoch[worker::2]] for epoch in epochs for worker in (0, 1)]
    assert len(set(map(tuple, applied))) > 1, "whether an image is stylized is drawn apart too"
    first, second = drawn(3)
    assert first == second
    assert first[::2] == first[1::2]


def test_a_worker_draws_from_what_it_was_given(photo):
    transform = SASSL(p=0.5)
    transform.set_random_state(np.random.default_rng(1), random.Random(1))
    numbers = np.random.default_rng(1)
    transform(image=photo, force_apply=True)
    assert transform.params["seed"] == numbers.integers(2**63 - 1)


def test_what_cannot_be(photo):
    with pytest.raises(ValueError, match="alpha"):
        SASSL(alpha=(0.3, 0.1))
    with pytest.raises(ValueError, match='styles must not be "batch"'):
        SASSL(styles="batch")
    with pytest.raises(ValueError, match=r"must have floats in \[0, 1\]"):
        SASSL(p=1.0)(image=photo.astype(np.float32))

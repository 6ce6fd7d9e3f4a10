"""SASSL within tf.data, and as a layer of Keras."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import need
from sassl import StyleBank, Stylizer

need("tensorflow")

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # torchvision crashes if it is imported after TensorFlow, without sassl too; other tests of this process may need it.
    with contextlib.suppress(ImportError):
        import torchvision  # noqa: F401
    import keras
    import tensorflow as tf

from sassl.transforms import plain  # noqa: E402
from sassl.transforms.tf import SASSL, RandomSASSL  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_batches_in_map_keep_shape_and_dtype(batch):
    for images in (batch, (batch / 255).astype(np.float32), batch[..., :1]):
        dataset = tf.data.Dataset.from_tensor_slices(images).repeat(3).batch(4).map(SASSL(p=1.0), tf.data.AUTOTUNE)
        assert dataset.element_spec.shape.as_list() == [None, *images.shape[1:]]
        made = list(dataset.as_numpy_iterator())
        assert [one.shape for one in made] == [images.shape] * 3
        assert made[0].dtype == images.dtype
        assert not np.array_equal(made[0], made[1])
    single = tf.data.Dataset.from_tensor_slices(batch).map(SASSL(p=1.0))
    assert next(iter(single)).shape == batch[0].shape


def test_a_given_seed_is_the_plain_transforms(batch):
    out = SASSL()(batch, seed=7).numpy()
    params = plain.SASSL()._block.sample(7, len(batch))
    assert np.array_equal(out, plain.SASSL().apply_params(batch, params))


def test_seeds_of_a_dataset_make_parallel_calls_deterministic(batch):
    sassl = SASSL(p=0.8, threads=1)

    def run():
        images = tf.data.Dataset.from_tensor_slices(batch).repeat(10).batch(4)
        zipped = tf.data.Dataset.zip((images, tf.data.Dataset.random(seed=5, rerandomize_each_iteration=True)))
        mapped = zipped.map(lambda x, seed: sassl(x, seed=seed), num_parallel_calls=4)
        options = tf.data.Options()
        options.deterministic = True
        mapped = mapped.with_options(options)
        return [made for _ in range(2) for made in mapped.as_numpy_iterator()]

    first, second = run(), run()
    assert len({made.tobytes() for made in first}) == len(first) == 20
    assert all(map(np.array_equal, first, second))


@pytest.mark.parametrize("calls", [None, 4])
def test_global_seed_replays_and_epochs_differ(batch, calls):
    transform = SASSL(p=1.0)

    def run():
        tf.random.set_seed(3)
        mapped = tf.data.Dataset.from_tensors(batch).repeat(3).map(transform, calls).prefetch(2)
        return [made.tobytes() for _ in range(2) for made in mapped.as_numpy_iterator()]

    first, second = run(), run()
    assert len(set(first)) == len(first) == 6
    assert first == second if calls is None else set(first) == set(second)
    one, other = (tf.data.Dataset.from_tensors(batch).map(transform).get_single_element() for _ in range(2))
    assert not np.array_equal(one, other)
    traced = tf.function(transform)
    assert not np.array_equal(traced(batch), traced(batch))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_float_comes_back_as_it_was(batch, dtype):
    images = tf.cast(tf.cast(batch, tf.float32) / 255, dtype)
    out = SASSL(p=0.5)(images, seed=3)
    assert out.dtype == images.dtype
    expected = SASSL(p=0.5)(tf.cast(images, tf.float32), seed=3)
    assert np.array_equal(tf.cast(out, tf.float32), tf.cast(tf.cast(expected, dtype), tf.float32))


def test_nothing_comes_back_as_nothing(batch):
    for seed in (None, 3):
        assert SASSL()(batch[:0], seed=seed).shape == batch[:0].shape
    assert RandomSASSL()(batch[:0].astype(np.float32), training=True).shape == batch[:0].shape


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16", "float16", "mixed_float16"])
def test_layers_of_halves(batch, policy):
    floats = batch.astype(np.float32)
    out = RandomSASSL(p=1.0, seed=1, dtype=policy)(floats, training=True)
    assert out.dtype.name == policy.removeprefix("mixed_")
    expected = RandomSASSL(p=1.0, seed=1)(floats, training=True)
    assert np.abs(np.asarray(tf.cast(out, tf.float32)) - expected).max() <= 0.5
    model = keras.Sequential([RandomSASSL(dtype=policy), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(floats / 255, np.zeros((4, 1)), verbose=0)


def test_keras_seed_replays_a_layer_without_one(batch):
    def run():
        keras.utils.set_random_seed(3)
        return np.asarray(RandomSASSL(p=1.0)(batch, training=True))

    assert np.array_equal(run(), run())


DETERMINISTIC = """
import numpy as np, keras, tensorflow as tf
tf.config.experimental.enable_op_determinism()
from sassl.transforms.tf import SASSL, RandomSASSL
images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
try:
    SASSL()(images)
except RuntimeError as error:
    assert "seed" in str(error), error
keras.utils.set_random_seed(1)
mapped = tf.data.Dataset.from_tensors(images).repeat(2).map(SASSL(p=1.0), num_parallel_calls=4)
assert len({x.tobytes() for _ in range(2) for x in mapped.as_numpy_iterator()}) == 4
layer = RandomSASSL(p=1.0)
assert not np.array_equal(layer(images, training=True), layer(images, training=True))
"""


def test_deterministic_operations():
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", DETERMINISTIC], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_layer(batch):
    layer = RandomSASSL(p=1.0, seed=1)
    floats = batch.astype(np.float32)
    assert np.array_equal(layer(floats), floats)
    out = np.asarray(layer(floats, training=True))
    assert out.shape == floats.shape
    assert 1 < np.abs(out - floats).mean() < 60
    assert out.max() > 100
    again = np.asarray(RandomSASSL(p=1.0, seed=1)(floats, training=True))
    assert np.array_equal(out, again)
    assert not np.array_equal(np.asarray(layer(floats, training=True)), out)
    units = RandomSASSL(p=1.0, seed=1, value_range=(0, 1))(floats / 255, training=True)
    assert np.abs(np.asarray(units) * 255 - out).max() < 1e-3
    model = keras.Sequential([keras.Input((None, None, 3)), layer, keras.layers.GlobalAveragePooling2D()])
    assert model(floats, training=True).shape == (4, 3)
    mapped = tf.data.Dataset.from_tensors(floats).map(lambda x: layer(x, training=True))
    assert next(iter(mapped)).shape == floats.shape
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.get_config()["seed"] == 1


@pytest.mark.parametrize("styles", ["default", "batch", "vectors", "bank", "images"])
def test_models_with_any_styles_are_saved_and_loaded(batch, styles, tmp_path):
    bank = StyleBank.default()
    styles = {"vectors": bank.vectors[:3], "bank": bank, "images": list(batch)}.get(styles, styles)
    model = keras.Sequential([keras.Input((None, None, 3)), RandomSASSL(p=1.0, styles=styles, seed=1)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    floats = batch.astype(np.float32)
    assert np.allclose(model(floats, training=True), loaded(floats, training=True), atol=1e-3)


def test_a_saved_layer_computes_as_it_did(batch):
    layer = RandomSASSL(
        1.0, np.array([0.1, 0.2]), model=Stylizer("lite", precision="exact"), value_range=[0, 255], seed=1
    )
    loaded = keras.layers.deserialize(keras.layers.serialize(layer))
    floats = batch.astype(np.float32)
    assert np.array_equal(layer(floats, training=True), loaded(floats, training=True))
    assert loaded.get_config()["precision"] == "exact"
    with pytest.raises(TypeError, match="got int32"):
        layer(batch.astype(np.int32), training=True)


def test_labels_are_no_seeds(batch):
    labelled = tf.data.Dataset.from_tensor_slices((batch, [0, 1, 2, 3]))
    with pytest.raises(TypeError, match="positional argument"):
        labelled.map(SASSL())


def test_what_cannot_be(batch):
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\], got 2"):
        SASSL(p=2.0)
    with pytest.raises(ValueError, match="value_range"):
        RandomSASSL(value_range=(-1, 1))
    with pytest.raises(ValueError, match="value_range"):
        RandomSASSL(value_range=(0, 7))
    with pytest.raises(ValueError, match=r"images must have shape \(B, H, W, C\) or \(H, W, C\), got"):
        SASSL()(batch[None, None])
    with pytest.raises(TypeError, match="got string"):
        SASSL()("photo.jpg")
    with pytest.raises(ValueError, match="styles must be storable in a Keras file"):
        RandomSASSL(styles=StyleBank.default().gaussian()).get_config()
    with pytest.raises(ValueError, match="must have floats in"):
        SASSL(p=1.0)(batch.astype(np.float32))

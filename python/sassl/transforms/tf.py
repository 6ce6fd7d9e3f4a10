"""SASSL for tf.data, and as a Keras preprocessing layer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..arguments import pair, wrong
from ..bank import StyleBank
from ..images import Array
from . import plain
from .plain import Strength


class SASSL:
    """Style augmentation (SASSL, arXiv 2312.01187, Algorithm 1) for `tf.data.Dataset.map`, best after `batch`.

    Args:
        p, alpha, beta, styles, model, threads, precision: as in `sassl.transforms.SASSL`.

    Raises:
        ValueError: a value outside its range; images of another shape.
        TypeError: images of another dtype.

    Call it with images, (B, H, W, C) or (H, W, C), uint8 or floats in [0, 1], C = 1 or 3. Draws differ between images and
    between epochs. If calls are sequential, `tf.random.set_seed` before `map` makes draws reproducible. For parallel calls,
    pass an int64 scalar as the seed of each call:

        seeds = tf.data.Dataset.random(seed=1, rerandomize_each_iteration=True)
        zipped = tf.data.Dataset.zip((dataset.batch(256), seeds))
        zipped.map(lambda images, seed: sassl(images, seed=seed), num_parallel_calls=tf.data.AUTOTUNE)

    Without `rerandomize_each_iteration`, each epoch repeats the draws of the first epoch. Stylization releases the GIL, so
    other Python threads keep running.
    """

    def __init__(
        self,
        p: float = 0.8,
        alpha: Strength = (0.1, 0.3),
        beta: Strength = (0.1, 0.3),
        styles: Any = "default",
        model: Any = "lite",
        *,
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        self._plain = plain.SASSL(p, alpha, beta, styles, model, threads=threads, precision=precision)

    def __call__(self, images: Any, *, seed: Any = None) -> Any:
        images = tf.convert_to_tensor(images)
        if images.dtype != tf.uint8 and not images.dtype.is_floating:
            raise TypeError(f"images must be uint8, or floats in [0, 1], got {images.dtype.name}")
        if images.shape.rank not in (None, 3, 4):
            raise ValueError(f"images must have shape (B, H, W, C) or (H, W, C), got {images.shape}")
        if seed is None:
            out = tf.numpy_function(self._drawing(), [images], images.dtype)
        else:
            # With the seed as an input the function is pure: TensorFlow may run it anywhere, at any time.
            out = tf.numpy_function(self._stylized, [images, tf.cast(seed, tf.int64)], images.dtype, stateful=False)
        out.set_shape(images.shape)
        return out

    def _drawing(self) -> Callable[[Array], Array]:
        """Create a function that stylizes images, with a random generator of its own.

        The generator advances with each call. It is numpy's, because tf.data restarts TensorFlow's own random operations in
        each epoch.
        """
        with tf.init_scope():
            # (None, None) without a seed.
            seeds = [seed for seed in tf.compat.v1.get_seed(None) if seed is not None]
        generator = np.random.default_rng(seeds or None)
        return lambda images: self._stylized(images, generator.integers(2**63 - 1))

    def _stylized(self, images: Array, seed: Any) -> Array:
        params = self._plain.block.sample(int(seed) % 2**64, 1 if images.ndim == 3 else len(images))
        return self._plain.apply_params(images, params)

    def __repr__(self) -> str:
        return f"SASSL({self._plain.extra_repr()})"


@keras.saving.register_keras_serializable("sassl")
class RandomSASSL(keras.layers.Layer):
    """`SASSL` as a preprocessing layer for Keras' TensorFlow backend, active only during training.

    Args:
        p, alpha, beta, styles, model, precision: as in `SASSL`.
        value_range: range of floating-point inputs: (0, 255), as in Keras' own preprocessing layers, or (0, 1).
        seed: seed of the draws; None: a random seed, reproducible with `keras.utils.set_random_seed`.

    Raises:
        ValueError: another backend; a value outside its range.
    """

    def __init__(
        self,
        p: float = 0.8,
        alpha: Strength = (0.1, 0.3),
        beta: Strength = (0.1, 0.3),
        styles: Any = "default",
        model: Any = "lite",
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        precision: str | None = None,
        **options: Any,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f'the Keras backend must be "tensorflow" for this layer, got "{keras.backend.backend()}"; set KERAS_BACKEND'
            )
        low, self._high = pair("value_range", value_range)
        if low != 0 or self._high not in (1, 255):
            raise wrong("value_range", value_range, "(0, 255) or (0, 1)")
        super().__init__(**options)
        self._sassl = SASSL(p, alpha, beta, styles, model, precision=precision)
        plain = self._sassl._plain
        self._config = {
            "p": plain.p,
            "alpha": plain.alpha,
            "beta": plain.beta,
            "styles": os.fspath(styles) if isinstance(styles, (str, os.PathLike)) else plain.styles,
            "model": plain.stylizer.source,
            "value_range": (low, self._high),
            "seed": seed,
            "precision": plain.stylizer.precision,
        }
        self._seeds = keras.random.SeedGenerator(seed)
        self.supports_jit = False

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Stylize images if `training`; otherwise return them unchanged.

        The images are (B, H, W, C) or (H, W, C), of any floating-point dtype or uint8; the dtype is kept.
        """
        if not training:
            return inputs
        images = tf.convert_to_tensor(inputs)
        # Two values: the seed and a counter.
        start, count = tf.unstack(tf.cast(self._seeds.next(), tf.int64))
        seed = start * 2**32 + count
        if not images.dtype.is_floating:
            return self._sassl(images, seed=seed)
        # 16-bit floats cannot represent n / 255 exactly enough.
        wide = tf.cast(images, tf.float32) if images.dtype.size < 4 else images
        return tf.cast(self._sassl(wide / self._high, seed=seed) * self._high, images.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output: the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; styles other than a string or a path are stored as their vectors.

        Raises:
            ValueError: styles from a Gaussian, which a Keras file cannot store.
        """
        styles = self._config["styles"]
        if isinstance(styles, StyleBank):
            styles = styles.vectors.tolist()
        elif not isinstance(styles, str):
            raise ValueError(f"styles must be storable in a Keras file, got {styles!r}; pass a bank of its samples")
        return {**super().get_config(), **self._config, "styles": styles}

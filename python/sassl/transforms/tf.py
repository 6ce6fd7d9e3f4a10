"""SASSL for tf.data, and as a preprocessing layer of Keras."""

from __future__ import annotations

import os
from typing import Any

import keras
import tensorflow as tf

from ..arguments import pair, wrong
from ..bank import StyleBank
from . import plain
from .images import Array
from .plain import Range


class SASSL:
    """Style augmentation (SASSL, arXiv 2312.01187, Algorithm 1) for `tf.data.Dataset.map`, best after `batch`.

    Args:
        p, alpha, beta, styles, model, threads, precision: as those of `sassl.transforms.SASSL`.

    Raises:
        ValueError: a number outside its range; images of another shape.
        TypeError: images of another dtype.

    Call it with images, (B, H, W, C) or (H, W, C), uint8 or floats in [0, 1], C = 1 or 3; each image has a draw of its own.
    The seed is drawn in the graph, from TensorFlow's generator (`tf.random.set_seed`), or given: `seed`, an int64 scalar, for
    instance of `tf.data.Dataset.random`, makes a map with many parallel calls deterministic. Other Python threads go on.

        dataset.batch(256).map(SASSL(p=0.8), num_parallel_calls=tf.data.AUTOTUNE)
    """

    def __init__(
        self,
        p: float = 0.8,
        alpha: Range = (0.1, 0.3),
        beta: Range = (0.1, 0.3),
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
            raise TypeError(f"images: expected uint8, or floats in [0, 1], got {images.dtype.name}")
        if images.shape.rank not in (None, 3, 4):
            raise ValueError(f"images: expected (B, H, W, C) or (H, W, C), got the shape {images.shape}")
        if seed is None:
            seed = tf.random.uniform((), maxval=tf.int64.max, dtype=tf.int64)
        # With the seed as an input the function is a pure one: TensorFlow may run it anywhere, at any time.
        out = tf.numpy_function(self._stylized, [images, tf.cast(seed, tf.int64)], images.dtype, stateful=False)
        out.set_shape(images.shape)
        return out

    def _stylized(self, images: Array, seed: Array) -> Array:
        n = 1 if images.ndim == 3 else len(images)
        if n == 0:
            return images
        params = self._plain._block.sample(int(seed) % 2**64, n)
        return self._plain.apply_params(images, params)

    def __repr__(self) -> str:
        return f"SASSL({self._plain.extra_repr()})"


@keras.saving.register_keras_serializable("sassl")
class RandomSASSL(keras.layers.Layer):
    """`SASSL` as a preprocessing layer, with Keras' TensorFlow backend: active in training alone.

    Args:
        p, alpha, beta, styles, model, precision: as those of `SASSL`.
        value_range: of the floats that it is given, (0, 255) as other preprocessing layers have it, or (0, 1).
        seed: of its draws; None: others in every run.

    Raises:
        ValueError: another backend; a number outside its range.
    """

    def __init__(
        self,
        p: float = 0.8,
        alpha: Range = (0.1, 0.3),
        beta: Range = (0.1, 0.3),
        styles: Any = "default",
        model: Any = "lite",
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        precision: str | None = None,
        **options: Any,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(f'backend = "{keras.backend.backend()}": this layer runs in TensorFlow; set KERAS_BACKEND')
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
        generator = tf.random.Generator
        self._generator = generator.from_non_deterministic_state() if seed is None else generator.from_seed(seed)
        self.supports_jit = False

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Images, (B, H, W, C) or (H, W, C), in their own type."""
        if not training:
            return inputs
        images = tf.convert_to_tensor(inputs)
        seed = self._generator.uniform((), maxval=tf.int64.max, dtype=tf.int64)
        if not images.dtype.is_floating:
            return self._sassl(images, seed=seed)
        high = tf.cast(self._high, images.dtype)
        return self._sassl(images / high, seed=seed) * high

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the images."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What makes it anew: names and files by name, other styles as their vectors.

        Raises:
            ValueError: styles of a Gaussian, which a Keras file cannot hold.
        """
        styles = self._config["styles"]
        if isinstance(styles, StyleBank):
            styles = styles.vectors.tolist()
        elif not isinstance(styles, str):
            raise ValueError(f"styles = {styles!r}: a Keras file holds no Gaussian; give a bank of its samples")
        return {**super().get_config(), **self._config, "styles": styles}

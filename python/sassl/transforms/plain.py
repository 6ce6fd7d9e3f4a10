"""SASSL for PIL images, numpy arrays and, if torch is installed, tensors; needs neither torch nor torchvision."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._sassl import Block, StyleParams, Stylizer
from ..arguments import span
from ..bank import StyleBank
from ..images import Array, Restore, is_cuda, uncompiled, unpack, unpack_cuda
from . import style_sources
from .generators import check_generator, draw_seed, is_numpys, packed_generator, unpacked_generator
from .operations import Probability, probability

Range = tuple[float, float]
#: A range, or a fixed strength.
Strength = float | Range


class SASSL:
    """Style augmentation (SASSL, arXiv 2312.01187, Algorithm 1), with the paper's defaults (section 4.1).

    With probability p: z = (1 - alpha) F(image) + alpha z_style; view = (1 - beta) image + beta T(image, z). The paper
    applies it to the left view only.

    Call it with a PIL image, an array (..., H, W, C), a tensor (..., C, H, W), or a list of single images of any sizes. Arrays
    and tensors have C = 1 or 3, and are uint8 or floats. Floats must be in [0, 1]: place the transform before `Normalize`. Each
    side is at least 8 pixels. Each image of a batch or list has its own draw.

    The result has the type, dtype, size and device of the input. Images that are not stylized are returned unchanged, and so
    are empty inputs. Stylized PIL images keep their mode and alpha channel, with these exceptions: modes P and PA become RGB
    (RGBA with transparency) and mode 1 becomes L, because the original mode cannot hold the result; I;16B and other variants of
    I;16 become I;16.

    Tensors on an NVIDIA GPU are stylized on that GPU by `sassl.cuda`. This happens on torch's current stream and without
    synchronizing; therefore the range of floats is not checked. CuPy and JAX arrays (..., H, W, C) on a GPU are exchanged via
    DLPack. Tensors in a list are stylized on the CPU, whatever their device. The result has no gradient: a tensor that requires
    a gradient causes a warning. torch.compile calls the transform outside the graph. torch.vmap, torch.export, and sparse,
    nested, quantized, complex and meta tensors raise an error.

    Seeds in several processes:

    - In a torch.distributed process group, the rank is mixed into the seed of each draw, so ranks with equal seeds draw
      different values. A forked or spawned worker has the rank of the process that started it.
    - DataLoader workers: see `generator`.
    - In any other process started by multiprocessing (`Pool`, Hugging Face's `map(num_proc=)`), the index of the process among
      its parent's children is mixed in. Children that inherit one generator therefore differ. The pool decides which child
      receives which item.
    - All other copies of a transform with a `generator` repeat the same draws, because the generator is part of the copy.
      Examples are pickles and the closure of a Ray task or actor. Give each copy a generator of its own:
      `transform.generator = numpy.random.default_rng([seed, i])`.
    """

    def __init__(
        self,
        p: Probability = 0.8,
        alpha: Strength = (0.1, 0.3),
        beta: Strength = (0.1, 0.3),
        styles: Any = "default",
        model: str | os.PathLike[str] | Stylizer = "lite",
        *,
        generator: Any = None,
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        """Create the transform.

        Args:
            p: probability of stylizing an image. In `Views` used by a loader, also a schedule: a list of pairs (epoch,
                probability) with increasing epochs, linearly interpolated between them.
            alpha: coefficient of feature blending, in [0, 1]: a constant, or a range for a random value for each image.
            beta: coefficient of pixel interpolation, in [0, 1]: a constant, or a range for a random value for each image.
            styles: "default" (the bank inside the package); "batch" (another image of the same batch; a single image is its own
                style); a folder of images, or one image file; a bank or Gaussian file; a `StyleBank`; a `Gaussian`; vectors
                (n, dim) or (dim,); or a list of images (PIL images, (H, W, 3) uint8 arrays, paths).
            model: "lite", a .safetensors file, or a `Stylizer`.
            generator: a `torch.Generator` on the CPU or a `numpy.random.Generator`. None: torch's global generator if torch has
                been imported, else numpy's. A generator is pickled as its state. DataLoader workers, forked or spawned, start
                with a copy of the generator. The seed that DataLoader gives each worker is mixed into every draw, so workers
                and epochs differ. To reproduce the draws of workers, pass a seeded `generator` to the DataLoader, too.
            threads: as in `Stylizer`; not allowed if the model is a `Stylizer`, which has its own setting.
            precision: "fast" or "exact", as in `Stylizer`; not allowed if the model is a `Stylizer`.

        Raises:
            ValueError: p, alpha or beta outside [0, 1], or a reversed range; an unknown model; styles of another style space.
            TypeError: styles or a generator of an unsupported type.
            OSError: a missing folder or file; a folder without images; a file that cannot be read.
        """
        super().__init__()
        for name, value in (("threads", threads), ("precision", precision)):
            if isinstance(model, Stylizer) and value is not None:
                raise ValueError(
                    f"{name}={value!r} must be passed to the Stylizer that is passed as the model, which has its own"
                )
        check_generator(generator)
        self._p = probability(p, "a probability in [0, 1]; the paper's is 0.8")
        the_papers = "a value or a range (low, high); the paper's is (0.1, 0.3)"
        self._alpha, self._beta = span("alpha", alpha, the_papers), span("beta", beta, the_papers)
        self.generator = generator
        if not isinstance(model, Stylizer):
            model = Stylizer(model, threads=threads, precision=precision)
        self.stylizer = model
        self.styles, self._name, self._shown = style_sources.source(styles, self.stylizer)
        self._params: StyleParams | None = None
        self._kernels: dict[Any, Any] = {}
        self._block = self._make_block()

    def _make_block(self) -> Block:
        """Build the SASSL block: Algorithm 1 with these settings."""
        core = self.styles.core if isinstance(self.styles, StyleBank) else self.styles
        p = max(p for _, p in self.p) if isinstance(self.p, list) else self.p
        return Block(self.stylizer, core, p, self.alpha, self.beta)

    @property
    def block(self) -> Block:
        """The compiled block that `apply_params` runs."""
        return self._block

    @property
    def p(self) -> Any:
        """The probability for each image, or a list of pairs (epoch, probability)."""
        return self._p

    @property
    def alpha(self) -> Range:
        """The range of the coefficient of feature blending."""
        return self._alpha

    @property
    def beta(self) -> Range:
        """The range of the coefficient of pixel interpolation."""
        return self._beta

    @property
    def params(self) -> StyleParams | None:
        """The last draw; None before the first call."""
        return self._params

    def sample(self, n: int = 1) -> StyleParams:
        """Draw parameters for n images, seeded by the generator.

        Raises:
            ValueError: `p` is a list of pairs (epoch, probability).
        """
        if isinstance(self.p, list):
            raise ValueError(
                f"p must be a probability here, as only a TwoViewLoader of Views knows the epoch, got {self.p}"
            )
        self._params = self._block.sample(draw_seed(self.generator), n)
        return self._params

    def apply_params(self, image: Any, params: StyleParams) -> Any:
        """Stylize an image, batch or list of images with given parameters, as a pure function.

        Raises:
            ValueError: a number of parameters that differs from the number of images.
        """
        return uncompiled(self._apply_params, image, params)

    def __call__(self, image: Any) -> Any:
        return uncompiled(self._augment, image)

    def _augment(self, image: Any) -> Any:
        if isinstance(image, (list, tuple)):
            images = _unpack_list(image)
            return self._apply_list(images, self.sample(len(images)))
        if is_cuda(image):
            return self._apply_cuda(image, self.sample(math.prod(image.shape[:-3])))
        batch, restore = unpack(image)
        return self._apply_batch(batch, restore, self.sample(len(batch)))

    def _apply_params(self, image: Any, params: StyleParams) -> Any:
        if isinstance(image, (list, tuple)):
            return self._apply_list(_unpack_list(image), params)
        if is_cuda(image):
            return self._apply_cuda(image, params)
        return self._apply_batch(*unpack(image), params)

    def _apply_batch(self, batch: Array, restore: Restore, params: StyleParams) -> Any:
        return restore(self._block.apply(batch, params), params.apply)

    def _apply_cuda(self, image: Any, params: StyleParams) -> Any:
        batch, restore = unpack_cuda(image)
        if len(params) == len(batch) and not params.apply.any():
            return image
        return restore(self.on(batch.device).apply(batch, params), params.apply)

    def on(self, device: Any) -> Any:
        """Return the `sassl.cuda.Kernels` for a GPU. The first call loads the kernels and the styles; later calls reuse them.

        Raises:
            RuntimeError: no driver, no NVRTC, or an unsupported GPU.
        """
        import torch

        device = torch.device(device)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if device not in self._kernels:
            from ..cuda import Kernels

            styles = self.styles.vectors if isinstance(self.styles, StyleBank) else None
            self._kernels[device] = Kernels(self.stylizer, device, styles)
        return self._kernels[device]

    def _apply_list(self, images: list[tuple[Array, Restore]], params: StyleParams) -> list[Any]:
        """Stylize a list, one batch for each size and dtype; with styles="batch", styles are drawn from the whole list."""
        if len(params) != len(images):
            raise ValueError(f"params must have length {len(images)}, one for each image, got {len(params)}")
        sizes: dict[Any, list[int]] = {}
        for i, (image, _) in enumerate(images):
            sizes.setdefault((image.shape, image.dtype), []).append(i)
        batches = [(rows, np.concatenate([images[i][0] for i in rows])) for rows in sizes.values()]
        z_content = None
        if self.styles is None:
            z_content = np.empty((len(images), self.stylizer.dim), np.float32)
            for rows, batch in batches:
                z_content[rows] = self.stylizer.encode(batch)
        z = self._block.vectors(params, z_content)
        out: list[Any] = [None] * len(images)
        for rows, batch in batches:
            some = StyleParams(params.apply[rows], params.alpha[rows], params.beta[rows], z[rows])
            views = self._block.apply(batch, some)
            for k, i in enumerate(rows):
                out[i] = images[i][1](views[k : k + 1], params.apply[i : i + 1])
        return out

    def describe(self) -> dict[str, Any]:
        """The settings as JSON values, without `generator` and `threads`, for a configuration.

        Two entries are not arguments of the constructor: "checksum", the CRC-32 of the styles (None for styles of the batch),
        and "space", the id of the style space. "styles" is None for styles without a name, such as a list of images.
        `sassl.pretraining` stores unnamed styles in the run's folder.
        """
        return {
            "p": self.p,
            "alpha": list(self.alpha),
            "beta": list(self.beta),
            "styles": self._name,
            "checksum": style_sources.checksum(self.styles),
            "model": self.stylizer.source,
            "space": self.stylizer.space,
            "precision": self.stylizer.precision,
        }

    @classmethod
    def from_description(cls, described: dict[str, Any], *, styles: Any = None, generator: Any = None) -> SASSL:
        """Create a `SASSL` from its description.

        Args:
            described: a dict returned by `describe`; missing settings have their defaults.
            styles: the styles; needed if the description has no name for them, or names a file that no longer exists.
            generator: as in the constructor.

        Raises:
            ValueError: styles that are neither named nor passed; styles whose checksum differs from the description's; a model
                of another style space.
            OSError: a missing file or folder.
            TypeError: an unknown setting.
        """
        settings = dict(described)
        known = {name: settings.pop(name, None) for name in ("checksum", "space")}
        is_named = settings.get("styles", "default") is not None
        if not is_named:
            if styles is None:
                raise ValueError(
                    f"styles are required, because the styles with checksum {known['checksum']} have no name; pass them, such "
                    "as the file styles.safetensors of the run's folder"
                )
            settings["styles"] = styles
        try:
            made = cls(**settings, generator=generator)
        except FileNotFoundError:
            if not is_named or styles is None:
                raise
            made = cls(**{**settings, "styles": styles}, generator=generator)
        if not is_named:
            made._name = None
        for name, was in known.items():
            if was is not None and (now := made.describe()[name]) != was:
                where = f"styles = {made._shown}" if name == "checksum" else f"model = {made.stylizer.source!r}"
                raise ValueError(
                    f"{where}: the {name} was {was} and is {now} now; restore the original, or start again"
                )
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """The settings, as shown by `__repr__`."""
        parts = [f"p={self.p}, alpha={self.alpha}, beta={self.beta}, styles={self._shown}"]
        parts.append(f"model={self.stylizer.source!r}")
        if self.generator is not None:
            parts.append(f"generator={'numpy.random' if is_numpys(self.generator) else 'torch'}.Generator")
        if self.stylizer.threads is not None:
            parts.append(f"threads={self.stylizer.threads}")
        if self.stylizer.precision != "fast":
            parts.append(f"precision={self.stylizer.precision!r}")
        return ", ".join(parts)

    def __getstate__(self) -> dict[str, Any]:
        # Without the last draw, so that hashes of the pickle (as in Hugging Face's cache) depend only on the settings.
        state = {name: value for name, value in vars(self).items() if name not in ("_block", "_params", "_kernels")}
        return {**state, "generator": packed_generator(self.generator)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        generator = unpacked_generator(state["generator"])
        vars(self).update(state, generator=generator, _params=None, _kernels={})
        self._block = self._make_block()


def _unpack_list(images: Sequence[Any]) -> list[tuple[Array, Restore]]:
    unpacked = [unpack(image, f"images[{i}]") for i, image in enumerate(images)]
    for i, (batch, _) in enumerate(unpacked):
        if len(batch) != 1:
            raise ValueError(f"images[{i}] must be one image, got a batch of {len(batch)}; pass batches one by one")
    return unpacked


def as_style(style: Any) -> SASSL | None:
    """Convert an argument `style`: a `SASSL` or None is returned unchanged; other values are the `styles` of a new `SASSL`."""
    return style if style is None or isinstance(style, SASSL) else SASSL(styles=style)


def identity(described: dict[str, Any]) -> dict[str, Any]:
    """The entries of a description that identify the style: all except "styles" and "model", which may name files."""
    return {name: value for name, value in described.items() if name not in ("styles", "model")}

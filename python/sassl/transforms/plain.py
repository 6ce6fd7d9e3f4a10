"""SASSL for PIL images, numpy arrays and, where torch is, tensors: needs neither torch nor torchvision."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._sassl import Block, Gaussian, StyleParams, Stylizer
from ..bank import StyleBank
from .images import is_image, unpack

Range = tuple[float, float]


class SASSL:
    """Style augmentation (SASSL, arXiv 2312.01187, Algorithm 1), with the paper's defaults (section 4.1).

    With probability p: z = (1 - alpha) F(image) + alpha z_style; view = (1 - beta) image + beta T(image, z). The paper
    applies it to the left view only.

    Args:
        p: probability for each image.
        alpha: range of the feature blending, drawn for each image.
        beta: range of the pixel interpolation, drawn for each image.
        styles: "default" (the bank inside the package), "batch" (another image of the same batch), a folder of images, a
            bank file, a `StyleBank`, a `Gaussian`, vectors (n, dim) or (dim,), or a list of images.
        model: "lite", a .safetensors file, or a `Stylizer`.
        generator: a `torch.Generator` or `numpy.random.Generator`; None: torch's global generator where torch is
            imported, else numpy's.
        threads: see `Stylizer`.

    Raises:
        ValueError: p, alpha or beta outside [0, 1] or reversed; no such model; styles of another style space.
        OSError: no style in the folder, or one that cannot be read.

    Call it with a PIL image, an array (..., H, W, C), a tensor (..., C, H, W), or a list of them. Each image of a batch has
    a draw of its own. What comes back has the type, dtype, size and device of what went in (PIL: mode P as RGB, 1 as L);
    images that are not drawn come back as they are. Floats must lie in [0, 1]: it stands before Normalize. Images from 8x8
    up. CUDA tensors are computed on the CPU.
    """

    def __init__(
        self,
        p: float = 0.8,
        alpha: Range = (0.1, 0.3),
        beta: Range = (0.1, 0.3),
        styles: Any = "default",
        model: str | os.PathLike[str] | Stylizer = "lite",
        *,
        generator: Any = None,
        threads: int | None = None,
    ) -> None:
        self.p, self.alpha, self.beta = p, _range("alpha", alpha), _range("beta", beta)
        self.generator = generator
        self.stylizer = model if isinstance(model, Stylizer) else Stylizer(model, threads=threads)
        self.styles = _styles(styles, self.stylizer)
        self._described = _describe(styles)
        self._params: StyleParams | None = None
        self._block = self._make_block()

    def _make_block(self) -> Block:
        core = self.styles._core if isinstance(self.styles, StyleBank) else self.styles
        return Block(self.stylizer, core, self.p, self.alpha, self.beta)

    @property
    def params(self) -> StyleParams | None:
        """What was drawn last; None before the first call."""
        return self._params

    def sample(self, n: int = 1) -> StyleParams:
        """Draws for n images, from a seed that the generator gives."""
        self._params = self._block.sample(draw_seed(self.generator), n)
        return self._params

    def apply(self, image: Any, params: StyleParams) -> Any:
        """The image, or batch of images, with these parameters: a pure function.

        Raises:
            ValueError: not one set of parameters for each image.
        """
        batch, restore = unpack(image)
        return restore(self._block.apply(batch, params), params.apply)

    def __call__(self, image: Any) -> Any:
        if isinstance(image, (list, tuple)):
            return self._call_list(image)
        batch, restore = unpack(image)
        params = self.sample(max(len(batch), 1))
        return restore(self._block.apply(batch, params), params.apply)

    def _call_list(self, images: Sequence[Any]) -> list[Any]:
        """Images of any sizes, as one batch: a draw for each, styles from each other where `styles` is "batch"."""
        if not images:
            raise ValueError("images = []: expected at least one image")
        for i, image in enumerate(images):
            if not is_image(image):
                raise TypeError(f"images[{i}]: expected a PIL image, an array or a tensor, got {type(image).__name__}")
        unpacked = [unpack(image) for image in images]
        for i, (batch, _) in enumerate(unpacked):
            if len(batch) != 1:
                raise ValueError(
                    f"images[{i}]: expected one image, got a batch of {len(batch)}; give batches one by one"
                )
        params = self.sample(len(images))
        batch_styles = self.styles is None
        z_content = np.concatenate([self.stylizer.encode(batch) for batch, _ in unpacked]) if batch_styles else None
        z, out = self._block.vectors(params, z_content), []
        for i, (batch, restore) in enumerate(unpacked):
            chosen = params.apply[i : i + 1]
            if chosen[0]:
                batch = self.stylizer.stylize(batch, z[i], float(params.alpha[i]), float(params.beta[i]))
            out.append(restore(batch, chosen))
        return out

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"

    def describe(self) -> str:
        """The configuration, as `__repr__` shows it."""
        model = self.stylizer.source
        return f"p={self.p}, alpha={self.alpha}, beta={self.beta}, styles={self._described}, model={model!r}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_block"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._block = self._make_block()


def draw_seed(generator: Any) -> int:
    """A seed of 63 bits from a torch or numpy generator, or from the global one: so workers differ and runs replay."""
    if generator is not None and hasattr(generator, "integers"):
        return int(generator.integers(2**63 - 1))
    torch = sys.modules.get("torch")
    if torch is not None and (generator is None or isinstance(generator, torch.Generator)):
        device = "cpu" if generator is None else generator.device
        return int(torch.randint(2**63 - 1, (), generator=generator, device=device))
    if generator is not None:
        raise TypeError(f"generator: expected a torch or numpy generator, got {type(generator).__name__}")
    return int(np.random.randint(2**63 - 1, dtype=np.int64))


def _range(name: str, value: Any) -> Range:
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r}: expected a range (low, high), the paper's is (0.1, 0.3)") from None
    return low, high


def _styles(styles: Any, stylizer: Stylizer) -> StyleBank | Gaussian | None:
    if isinstance(styles, (StyleBank, Gaussian)):
        return styles
    if isinstance(styles, str) and styles in ("default", "batch"):
        return StyleBank.default() if styles == "default" else None
    if isinstance(styles, (str, os.PathLike)):
        if os.path.isdir(styles):
            return StyleBank.from_images(styles, stylizer)
        if not os.path.exists(styles):
            raise FileNotFoundError(
                f"styles = {os.fspath(styles)!r}: no such folder or bank file; or give 'default', 'batch', a StyleBank, "
                "vectors or images"
            )
        return StyleBank.load(styles)
    if isinstance(styles, (list, tuple)) and styles and is_image(styles[0]) and np.ndim(styles[0]) != 1:
        return StyleBank.from_images(styles, stylizer)
    try:
        vectors = np.atleast_2d(np.asarray(styles, np.float32))
    except (TypeError, ValueError):
        kind = type(styles).__name__
        raise TypeError(f"styles: expected a name, path, StyleBank, vectors or images, got {kind}") from None
    return StyleBank(vectors, stylizer.space)


def _describe(styles: Any) -> str:
    if isinstance(styles, (str, os.PathLike)):
        return repr(os.fspath(styles))
    if isinstance(styles, (StyleBank, Gaussian)):
        return repr(styles)
    return f"{np.shape(styles)} vectors" if isinstance(styles, np.ndarray) else f"{len(styles)} images"

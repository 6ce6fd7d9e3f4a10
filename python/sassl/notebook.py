"""Styles and views in a notebook: images that display by themselves, and sliders.

    from sassl import notebook

    notebook.show([photo, view], ["photograph", "view"])
    notebook.show([view], original=photo)  # with the difference, amplified
    notebook.compare(photo, painting)  # content, style, T's output, view, difference
    notebook.draws(SASSL(), photo)  # views, differences, and the same styles at full strength
    notebook.two_views(MoCoV2Transform(style=SASSL()), photo)
    notebook.explore(photo)  # sliders for alpha, beta, style and seed
    notebook.compare_models([photo], [painting], ["lite", "full.safetensors"])[0]  # networks side by side

Images are PIL images, paths, bytes, or uint8 arrays (H, W, 3).
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import demo, grids
from ._sassl import Stylizer
from .arguments import whole, wrong
from .bank import StyleBank
from .grids import GAIN, Row, difference, grid
from .images import Array, pixels
from .transforms.plain import SASSL
from .transforms.views import Views

if TYPE_CHECKING:
    from PIL.Image import Image


def show(
    images: Sequence[Any],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    height: int = 224,
    original: Any = None,
    gain: float = GAIN,
) -> Image:
    """Return a grid of images with captions as a PIL image; notebooks display it.

    Args:
        images: images of any sizes; each is resized to `height`.
        captions: one for each image; None: no captions.
        columns: number of images in a row; None: at most five.
        height: height of an image, in pixels.
        original: an image of the same size. Below each row of images, a row shows their amplified differences from `original`.
        gain: factor of the differences; mid-gray means no difference.

    Raises:
        ValueError: no image; a number of captions that differs from the number of images; a number of columns or a height
            below 1; an original of another size.
    """
    if not len(images):
        raise ValueError("images must contain at least one image, got []")
    columns = min(len(images), 5) if columns is None else whole("columns", columns, 1)
    texts = list(captions) if captions is not None else [""] * len(images)
    if isinstance(captions, str) or not all(isinstance(text, str) for text in texts):
        raise wrong("captions", captions, "a list of one text for each image")
    if len(texts) != len(images):
        raise ValueError(f"captions must have length {len(images)}, one for each image, got {len(texts)}")
    read = [pixels(image, f"images[{i}]") for i, image in enumerate(images)]
    rows = []
    for i in range(0, len(read), columns):
        row = Row(read[i : i + columns], texts[i : i + columns])
        rows.append(row)
        if original is not None:
            rows.append(grids.differences(row.images, [pixels(original, "original")] * len(row.images), gain))
    return grid(rows, height=height)


def compare(
    content: Any,
    style: Any,
    *,
    alpha: float = 0.2,
    beta: float = 0.2,
    model: str | Stylizer = "lite",
    height: int = 224,
    gain: float = GAIN,
) -> Image:
    """Show Algorithm 1 step by step, from content and style to the view.

    The images are: content, style, T's output with alpha = 1, T's output with the given alpha, the view, and the amplified
    difference between view and content. The style is shown only if it is an image.

    Args:
        content: an image.
        style: an image; the index of a style of the default bank; or a vector (dim,).
        alpha, beta: coefficients of feature blending and of pixel interpolation, in [0, 1].
        model: see `SASSL`.
        height: height of each image, in pixels.
        gain: factor of the difference between view and content; mid-gray means no difference.
    """
    stylizer = model if isinstance(model, Stylizer) else Stylizer(model)
    photo = pixels(content, "content")
    z, name, image = _style(style, stylizer)
    z_content = stylizer.encode(photo[None])[0]
    full, blended = (_bytes(stylizer.transfer(photo[None], (1 - a) * z_content + a * z)[0]) for a in (1.0, alpha))
    view = stylizer.stylize(photo[None], z, alpha, beta)[0]
    told = "full strength: T, alpha = 1"
    below = [(blended, f"T, alpha = {alpha:g}"), (view, f"view, beta = {beta:g}")]
    below.append((difference(view, photo, gain), f"difference x {gain:g} (gray: no change)"))
    if image is None:
        above = [(photo, "content"), (full, f"{told}, {name}")]
    else:
        above = [(photo, "content"), (image, name), (full, told)]
    return grid(
        [Row(images, captions) for images, captions in (zip(*row, strict=True) for row in (above, below))],
        height=height,
    )


class ModelReport(NamedTuple):
    """The cost and the effect of a network, from `compare_models`."""

    #: The model's name, the id of its style space, and the length of its style vectors.
    name: str
    space: str
    dim: int
    #: "fast" or "exact".
    precision: str
    #: Median time of Algorithm 1 for a 224x224 image on one thread, in milliseconds.
    milliseconds: float
    #: Mean absolute difference between view and content, in 8-bit levels.
    distance: float


def compare_models(
    contents: Sequence[Any],
    styles: Sequence[Any],
    models: Sequence[str | Stylizer] = ("lite",),
    *,
    alpha: float = 0.2,
    beta: float = 0.2,
    height: int = 224,
) -> tuple[Image, list[ModelReport]]:
    """Compare networks: an image of their outputs side by side, and a report of each network's cost and effect.

    Args:
        contents: images; each is cropped to its centre square.
        styles: images, assigned to the contents in turn.
        models: models, see `SASSL`.
        alpha, beta: strengths of the views that are timed and measured, in [0, 1].
        height: height of each image, in pixels.

    Returns:
        An image with a row for each content (content, style, and the output of each model's T), and a report for each model.

    Raises:
        ValueError: no content, no style or no model; a damaged image or model file.
        OSError: a file that cannot be read.
    """
    for name, given in (("contents", contents), ("styles", styles), ("models", models)):
        if not len(given):
            raise ValueError(f"{name} must contain at least one value, got []")
    photos = np.stack([demo.square(pixels(content, f"contents[{i}]")) for i, content in enumerate(contents)])
    paintings = [pixels(styles[i % len(styles)], f"styles[{i % len(styles)}]") for i in range(len(photos))]
    cells = [[photo, demo.square(painting)] for photo, painting in zip(photos, paintings, strict=True)]
    captions = ["content", "style"]
    reports = []
    for model in models:
        stylizer = model if isinstance(model, Stylizer) else Stylizer(model)
        z = np.concatenate([stylizer.encode(painting[None]) for painting in paintings])
        for row, stylized in zip(cells, _bytes(stylizer.transfer(photos, z)), strict=True):
            row.append(stylized)
        distance = float(np.abs(stylizer.stylize(photos, z, alpha, beta).astype(float) - photos).mean())
        alone = Stylizer(stylizer.source, threads=1, precision=stylizer.precision)
        times = []
        for _ in range(4):
            began = time.perf_counter()
            alone.stylize(photos[:1], z[:1], alpha, beta)
            times.append(1e3 * (time.perf_counter() - began))
        name = stylizer.name
        reports.append(
            ModelReport(name, stylizer.space, stylizer.dim, stylizer.precision, float(np.median(times[1:])), distance)
        )
        captions.append(f"T of {name}")
    flat = [image for row in cells for image in row]
    return show(flat, captions * len(photos), columns=len(captions), height=height), reports


def draws(transform: SASSL, image: Any, n: int = 5, *, height: int = 224, gain: float = GAIN) -> Image:
    """Show a `SASSL`'s views of an image, their amplified differences, and the same styles at full strength.

    Args:
        transform: a `SASSL`.
        image: an image.
        n: number of views.
        height: height of each view, in pixels.
        gain: factor of the differences; mid-gray means no difference.
    """
    if not isinstance(transform, SASSL):
        raise TypeError(f"transform must be a SASSL, got {type(transform).__name__}")
    n = whole("n", n, 1)
    batch = np.repeat(pixels(image)[None], n, 0)
    rows = grids.styled(transform, batch, transform.sample(n), f"views, p = {transform.p:g}", gain=gain)
    return grid(rows, height=height)


def two_views(transform: Views, image: Any, n: int = 4, *, height: int = 224, gain: float = GAIN) -> Image:
    """Show several draws of a recipe's views of an image, left views above and right views below.

    Under each row of styled views, two further rows show their amplified differences from the same views without style, and
    the same draws at full strength.

    Args:
        transform: a recipe of `sassl.transforms`.
        image: an image.
        n: number of draws.
        height: height of each view, in pixels.
        gain: factor of the differences; mid-gray means no difference.
    """
    if not isinstance(transform, Views):
        raise TypeError(f"transform must be a recipe such as MoCoV2Transform, got {type(transform).__name__}")
    return grid(grids.of_views(transform, [image] * whole("n", n, 1), gain), height=height)


def explore(
    content: Any, styles: Any = "default", *, model: str | Stylizer = "lite", height: int = 224, gain: float = GAIN
) -> Any:
    """Return sliders for alpha, beta, style and seed, with the resulting images below.

    The images are the content, the view, their amplified difference, and the view at full strength. Moving the seed's slider
    draws alpha, beta and style as `SASSL` does.

    Args:
        content: an image.
        styles: see `SASSL`; "batch" and Gaussians are not supported.
        model: see `SASSL`.
        height: height of each image, in pixels.
        gain: factor of the difference; mid-gray means no difference.

    Returns:
        An ipywidgets box, which notebooks display.

    Raises:
        ImportError: ipywidgets is missing.
        ValueError: styles that are not a bank.
    """
    try:
        import ipywidgets as widgets
    except ImportError:
        raise ImportError("the sliders need ipywidgets: install it, or the extra sassl[notebook]") from None

    sassl = SASSL(1.0, styles=styles, model=model)
    if not isinstance(sassl.styles, StyleBank):
        raise ValueError(f"styles must be a bank of styles, through which the slider goes, got {styles!r}")
    photo, vectors, stylizer = pixels(content, "content"), sassl.styles.vectors, sassl.stylizer

    def slider(name: str, value: float) -> Any:
        return widgets.FloatSlider(value, min=0, max=1, step=0.01, description=name, readout_format=".2f")

    alpha, beta = slider("alpha", 0.2), slider("beta", 0.2)
    style = widgets.IntSlider(0, min=0, max=len(vectors) - 1, description="style")
    seed = widgets.IntSlider(0, min=0, max=999, description="seed")
    shown = widgets.Image(format="jpeg")

    def draw(_: Any = None) -> None:
        z = vectors[style.value]
        view, full = (stylizer.stylize(photo[None], z, *at)[0] for at in ((alpha.value, beta.value), (1.0, 1.0)))
        images = [photo, view, difference(view, photo, gain), full]
        captions = ["content", "view", f"difference x {gain:g} (gray: no change)", "full strength: alpha = beta = 1"]
        buffer = io.BytesIO()
        show(images, captions, height=height).save(buffer, "JPEG", quality=90, subsampling=0)
        shown.value = buffer.getvalue()

    def drawn(_: Any) -> None:
        params = sassl.block.sample(seed.value, 1)
        for widget, value in ((alpha, params.alpha), (beta, params.beta), (style, params.style)):
            widget.value = value[0].item()

    for widget in (alpha, beta, style):
        widget.observe(draw, "value")
    seed.observe(drawn, "value")
    draw()
    return widgets.VBox([widgets.HBox([alpha, beta]), widgets.HBox([style, seed]), shown])


def _style(style: Any, stylizer: Stylizer) -> tuple[Array, str, Array | None]:
    """Return a style's vector, name and image; the image is None if `style` is an index or a vector."""
    if isinstance(style, (int, np.integer)):
        bank = StyleBank.default()
        return bank.vectors[whole("style", style, 0, len(bank) - 1)], f"style {style}", None
    if isinstance(style, np.ndarray) and style.ndim == 1:
        if len(style) != stylizer.dim:
            raise ValueError(f"style must have shape ({stylizer.dim},), got ({len(style)},)")
        return style, "style vector", None
    image = pixels(style, "style")
    return stylizer.encode(image[None])[0], "style", image


def _bytes(floats: Array) -> Array:
    return (floats * 255 + 0.5).astype(np.uint8)

"""Image grids with captions, amplified differences around mid-gray, and JPEGs of limited size."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import image_files
from ._sassl import StyleParams, ViewParams
from .arguments import whole
from .images import Array, pixels
from .transforms.plain import SASSL
from .transforms.views import STYLE, Views

if TYPE_CHECKING:
    from PIL.Image import Image

#: Factor by which differences are amplified: at the paper's strength a view differs from its image by about 5 of 255 levels.
GAIN = 8
#: In pixels: gap between images, margin above a title, gap between lines of text; font sizes of captions and of titles.
_GAP, _ABOVE, _LEADING, _CAPTION, _TITLE = 8, 6, 5, 13, 16
#: JPEG qualities that `jpeg` tries, best first.
_QUALITIES = range(95, 4, -5)


class Row(NamedTuple):
    """A row of a grid: images of any sizes, a caption below each, and a title above them."""

    images: Sequence[Any]
    captions: Sequence[str] = ()
    title: str = ""


def difference(image: NDArray[np.uint8], original: NDArray[np.uint8], gain: float = GAIN) -> NDArray[np.uint8]:
    """Return the amplified difference 128 + gain (image - original), clipped to [0, 255]; mid-gray means no change.

    Args:
        image, original: uint8 arrays of the same shape.
        gain: the factor; a caption should state it.

    Raises:
        ValueError: different shapes.
    """
    if image.shape != original.shape:
        raise ValueError(f"image must have the shape of original, {original.shape}, got {image.shape}")
    changed = image.astype(np.float32) - original.astype(np.float32)
    return np.clip(np.rint(128 + gain * changed), 0, 255).astype(np.uint8)


def differences(images: Sequence[Any], originals: Sequence[Any], gain: float = GAIN) -> Row:
    """Return a row of amplified differences, with the gain in its title."""
    changed = [difference(image, original, gain) for image, original in zip(images, originals, strict=True)]
    return Row(changed, (), f"difference x {gain:g} (gray: no change)")


def full_strength(params: StyleParams) -> StyleParams:
    """Return the same draws with alpha = beta = 1: a view is then the transformer's output in the drawn style."""
    ones = np.ones(len(params), np.float32)
    return StyleParams(params.apply, ones, ones, params.style)


def style_names(params: StyleParams, names: Sequence[str] | None = None) -> list[str]:
    """Return the name of each draw's style: "style 17" for index 17 if `names` is None, "" if the draws contain vectors.

    Args:
        params: the draws.
        names: names of the bank's styles, see `StyleBank.names`; folders and suffixes of file names are dropped.
    """
    if params.style.ndim > 1:
        return [""] * len(params)
    return [f"style {i}" if names is None else Path(names[i]).stem for i in params.style]


def drawn(params: StyleParams, names: Sequence[str] | None = None) -> list[str]:
    """Return a caption for each draw: its alpha, beta and style, or "not applied".

    Args:
        params: the draws.
        names: see `style_names`.
    """
    told = zip(params.apply, params.alpha, params.beta, style_names(params, names), strict=True)
    return [
        f"alpha {alpha:.2f}, beta {beta:.2f}, {name}".removesuffix(", ") if applied else "not applied"
        for applied, alpha, beta, name in told
    ]


def strengths(
    views: Sequence[Any],
    originals: Sequence[Any],
    full: Sequence[Any],
    captions: Sequence[str],
    title: str = "views",
    gain: float = GAIN,
) -> list[Row]:
    """Return three rows that make style visible: views, their amplified differences, and the same draws at full strength.

    Args:
        views: the stylized views, uint8 images (H, W, 3).
        originals: the same images without style.
        full: the same images stylized with alpha = beta = 1.
        captions: one for each view, such as the result of `drawn`.
        title: title of the views.
        gain: factor of the differences.
    """
    return [
        Row(views, captions, title),
        differences(views, originals, gain),
        Row(full, (), "full strength: the same with alpha = beta = 1"),
    ]


def styled(
    sassl: SASSL,
    batch: Array,
    params: StyleParams,
    title: str,
    captions: Sequence[str] | None = None,
    gain: float = GAIN,
) -> list[Row]:
    """Stylize images with the given draws, and return the rows of `strengths`.

    Args:
        sassl: the transform.
        batch: (N, H, W, 3) uint8.
        params: one draw for each image.
        title: title of the views.
        captions: captions of the views; None: the result of `drawn`.
        gain: factor of the differences.
    """
    views, full = (list(sassl.apply_params(batch, some)) for some in (params, full_strength(params)))
    captions = drawn(params, getattr(sassl.styles, "names", None)) if captions is None else captions
    return strengths(views, list(batch), full, captions, title, gain)


def of_views(transform: Views, images: Sequence[Any], gain: float = GAIN) -> list[Row]:
    """Return the rows of a grid that shows a recipe's views; each image is a column with its own draw.

    A view without style has one row. A view with style has the three rows of `strengths`; its differences are relative to
    the view with the same draws but without style.

    Args:
        transform: a recipe of `sassl.transforms`.
        images: images for the recipe; an image that is repeated gets a new draw each time.
        gain: factor of the differences.
    """
    columns = []
    for image in images:
        views, params = transform(image), transform.params
        plain, full = (transform.apply_params(image, [change(one) for one in params]) for change in (_plain, _full))
        columns.append((params, *([transform.to_image(view) for view in some] for some in (views, plain, full))))
    n = len(transform.shapes)
    rows: list[Row] = []
    for at, title in enumerate(["left views", "right views"] if n == 2 else [f"view {i + 1}" for i in range(n)]):
        params, views, plain, full = ([one[at] for one in some] for some in zip(*columns, strict=True))
        if STYLE in params[0]:
            captions = [text for one in params for text in drawn(one[STYLE])]
            rows += strengths(views, plain, full, captions, title, gain)
        else:
            rows.append(Row(views, (), f"{title}, without style"))
    return rows


def _plain(params: ViewParams) -> ViewParams:
    """Return the same draws without style."""
    return ViewParams({name: value for name, value in dict(params).items() if name != STYLE})


def _full(params: ViewParams) -> ViewParams:
    """Return the same draws, with alpha = beta = 1 if there is style."""
    style = {STYLE: full_strength(params[STYLE])} if STYLE in params else {}
    return ViewParams({**dict(params), **style})


def grid(rows: Iterable[Row], *, height: int = 224) -> Image:
    """Draw the rows from top to bottom on a white background; return a Pillow RGB image.

    Args:
        rows: rows with one caption for each image, or without captions.
        height: height in pixels to which each image is resized.

    Raises:
        ValueError: no image at all; a number of captions that differs from the number of images; a height below 1.
    """
    height = whole("height", height, 1)
    pil = image_files.pillow()
    from PIL import ImageDraw, ImageFont

    rows = [row for row in rows if len(row.images)]
    if not rows:
        raise ValueError("rows must contain at least one image, got none")
    caption_font, title_font = (ImageFont.load_default(size) for size in (_CAPTION, _TITLE))
    cells = [[_resized(image, height) for image in row.images] for row in rows]
    width = _GAP + max(sum(cell.width + _GAP for cell in some) for some in cells)
    width = max(
        [width, *(min(2 * height, round(title_font.getlength(row.title))) + 2 * _GAP for row in rows if row.title)]
    )
    texts: list[tuple[list[str], list[list[str]], int, int]] = []
    for row, some in zip(rows, cells, strict=True):
        captions = row.captions or [""] * len(some)
        if len(captions) != len(some):
            raise ValueError(f"captions must have length {len(some)}, one for each image, got {len(captions)}")
        wrapped = [_wrapped(text, caption_font, cell.width) for text, cell in zip(captions, some, strict=True)]
        title = _wrapped(row.title, title_font, width - 2 * _GAP)
        above = len(title) * (_TITLE + _LEADING) + (_ABOVE if title else 0)
        texts.append((title, wrapped, above, max(map(len, wrapped)) * (_CAPTION + _LEADING)))
    total = _GAP + sum(above + height + below + _GAP for _, _, above, below in texts)
    sheet = pil.Image.new("RGB", (width, total), "white")
    draw = ImageDraw.Draw(sheet)
    y = _GAP
    for some, (title, wrapped, above, below) in zip(cells, texts, strict=True):
        _write(draw, (_GAP, y + _ABOVE // 2), title, title_font, "black")
        y, x = y + above, _GAP
        for cell, lines in zip(some, wrapped, strict=True):
            sheet.paste(cell, (x, y))
            _write(draw, (x, y + height + 2), lines, caption_font, "#333333")
            x += cell.width + _GAP
        y += height + below + _GAP
    return sheet


def jpeg(image: Image, most: int) -> bytes:
    """Encode a JPEG of at most `most` bytes, at the best quality that fits.

    Raises:
        ValueError: the image does not fit even at quality 5.
    """
    for quality in _QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= most:
            return file.getvalue()
    raise ValueError(f"a JPEG of {image.width}x{image.height} pixels does not fit into {most} bytes; make it smaller")


def _resized(image: Any, height: int) -> Image:
    cell: Image = image_files.pillow().Image.fromarray(pixels(image))
    return cell.resize((max(1, round(cell.width * height / cell.height)), height)) if cell.height != height else cell


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    """Wrap a string between words and return its lines; a word that is too long for a line is truncated."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            cut = word
            while len(cut) > 1 and font.getlength(cut) > width:
                cut = cut.rstrip("…")[:-1] + "…"
            lines.append(cut)
    return lines


def _write(draw: Any, at: tuple[int, int], lines: list[str], font: Any, colour: str) -> None:
    x, y = at
    for i, line in enumerate(lines):
        draw.text((x, y + i * (font.size + _LEADING)), line, font=font, fill=colour)

"""SASSL and the recipes as transforms of Hugging Face datasets."""

from __future__ import annotations

from typing import Any

from ..images import is_image
from .plain import SASSL


class Columns:
    """A function that applies a transform to a column of images, for `set_transform` and batched `map`.

    Args:
        transform: a `SASSL`, called once with the list of all images; or a recipe such as `MoCoV2Transform`, or any other
            function of an image, called for each image.
        column: name of the column of images; the images may have different sizes.
        output: name of the resulting column; None: the name of the input column.

    Use it as `dataset.set_transform(Columns(SASSL(p=0.8)))` or `dataset.map(Columns(...), batched=True)`. The fingerprint under
    which `map` caches a result depends only on the settings of `Columns` and of the transform.

    Raises:
        TypeError: a transform that is not callable; a column that is not a list of images.
        KeyError: no such column.
    """

    def __init__(self, transform: Any, column: str = "image", output: str | None = None) -> None:
        if not callable(transform) or isinstance(transform, type):
            raise TypeError(f"transform must be a SASSL, a recipe or another function of an image, got {transform!r}")
        self.transform, self.column, self.output = transform, column, output or column

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if self.column not in batch:
            raise KeyError(f"column must be one of the dataset's {', '.join(map(repr, batch))}, got {self.column!r}")
        images = batch[self.column]
        if not isinstance(images, (list, tuple)) and getattr(images, "ndim", 0) != 4:
            kind = type(images).__name__
            raise TypeError(f"column {self.column!r} must be a list of images, got {kind}; call map with batched=True")
        if isinstance(self.transform, SASSL):
            for i, image in enumerate(images):
                if not is_image(image):
                    kind = type(image).__name__
                    raise TypeError(
                        f"{self.column}[{i}] must be an image, got {kind}; "
                        f"cast_column({self.column!r}, datasets.Image()) decodes paths and bytes"
                    )
            made = SASSL.__call__(self.transform, list(images)) if len(images) else []
        else:
            made = [self.transform(image) for image in images]
        return {**batch, self.output: made}

    def __repr__(self) -> str:
        return f"Columns({self.transform!r}, column={self.column!r}, output={self.output!r})"

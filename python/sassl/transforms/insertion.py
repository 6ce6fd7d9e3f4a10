"""SASSL within pipelines that others have made: torchvision's and timm's `Compose`, lightly's and others' two views."""

from __future__ import annotations

import copy
from typing import Any


def with_style(pipeline: Any, style: Any) -> Any:
    """A copy of a pipeline with style after its random crop (resized or not); of two views, in the left one alone.

    Args:
        pipeline: a `Compose` of torchvision (v1, v2) or timm (`timm.data.create_transform`, also its tuple with
            `separate=True`); a view of lightly; or several views, as lightly's `MultiViewTransform` and what derives from it.
        style: a `SASSL`; any other module or function of images does as well.

    Raises:
        TypeError: no function as the style.
        ValueError: no random crop in it.

    Of several views the left one is the first, `views[0]`. lightly's own examples for MoCo take `views[1]` as the query.
    """
    if not callable(style) or isinstance(style, type):
        raise TypeError(f"style: expected a SASSL or another function of an image, got {style!r}")
    pipeline = copy.deepcopy(pipeline)
    if isinstance(pipeline, tuple):
        return (with_style(pipeline[0], style), *pipeline[1:])
    steps = _steps(pipeline)
    if steps is None:
        raise ValueError(f"pipeline: expected a Compose or views of them, got {type(pipeline).__name__}")
    for i, step in enumerate(steps):
        if type(step).__name__.startswith(("RandomResizedCrop", "RandomCrop")):
            steps.insert(i + 1, style)
            return pipeline
    if steps and _steps(steps[0]) is not None:
        # Views may be one object, as lightly's are: only the first is to change.
        rest = copy.deepcopy(list(steps[1:]))
        pipeline.transforms = [with_style(steps[0], style), *rest]
        return pipeline
    names = ", ".join(type(step).__name__ for step in steps)
    raise ValueError(
        f"pipeline: expected a RandomResizedCrop or RandomCrop among its steps, which are {names}; put SASSL in by hand"
    )


def _steps(pipeline: Any) -> Any:
    """The list of a Compose, or of an object around one; a RandomChoice or RandomOrder is no pipeline."""
    inner = pipeline if hasattr(pipeline, "transforms") else getattr(pipeline, "transform", None)
    return None if type(inner).__name__.startswith("Random") else getattr(inner, "transforms", None)

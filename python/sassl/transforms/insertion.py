"""Insert SASSL into third-party pipelines: torchvision's and timm's `Compose`, and multi-view transforms of many projects."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain, repeat
from typing import Any

_BY_HAND = "insert SASSL by hand, after the left view's random crop"


def with_style(pipeline: Any, style: Any) -> Any:
    """Return a copy of a pipeline with `style` inserted after the random crop. Of several views, only the left is changed.

    Args:
        pipeline: a pipeline of one view: torchvision's `Compose` (v1, v2), or the result of `timm.data.create_transform`,
            including with `separate=True`. Or a pipeline of several views: a list of pipelines; lightly's `MultiViewTransform`
            or a subclass; or any object that computes views by calling pipelines stored in its attributes. Examples of such
            objects: solo-learn's `NCropAugmentation` and `FullTransformPipeline`, MoCo's `TwoCropsTransform`, SimCLR's
            `ContrastiveLearningViewGenerator`, DINO's `DataAugmentationDINO` and Barlow Twins' `Transform`.
        style: a `SASSL`, or any other module or function of an image.

    Returns:
        A copy of the same type. If an object calls one pipeline for several views, the copy is wrapped in a `LeftStyled`.

    Raises:
        TypeError: a style that is not callable, or is a class.
        ValueError: no `RandomResizedCrop` or `RandomCrop` in the pipeline; an object that neither is a pipeline nor calls one.

    The left view is the first, `views[0]`. Note that lightly's own examples for MoCo use `views[1]` as the query. An object
    that calls pipelines in its attributes is called once with a gray image, to find the pipeline of the first view.
    """
    if not callable(style) or isinstance(style, type):
        raise TypeError(f"style must be a SASSL or another function of an image, got {style!r}")
    return _styled(copy.deepcopy(pipeline), style)


def _styled(pipeline: Any, style: Any) -> Any:
    """Insert style into a pipeline, in place where possible; return the pipeline or its replacement."""
    if isinstance(pipeline, (list, tuple)) and pipeline:
        # The views may be one object, as in lightly: change only the first.
        rest = copy.deepcopy(pipeline[1:])
        return type(pipeline)([_styled(pipeline[0], style), *rest])
    if _transforms(pipeline) is None:
        return _styled_maker(pipeline, style)
    transforms = pipeline.transforms
    for i, transform in enumerate(transforms):
        if _is_crop(transform):
            pipeline.transforms = [*transforms[: i + 1], style, *transforms[i + 1 :]]
            return pipeline
    # A Compose applies its transforms in turn; in a list of views, only the first is the left one.
    in_order = "Compose" in type(pipeline).__name__
    for i, transform in enumerate(transforms if in_order else transforms[:1]):
        if _is_pipeline(transform):
            pipeline.transforms = [*transforms[:i], *_styled(list(transforms[i:]), style)]
            return pipeline
    names = ", ".join(type(transform).__name__ for transform in transforms)
    raise ValueError(
        f"pipeline must have a RandomResizedCrop or RandomCrop among its transforms, got {names}; {_BY_HAND}"
    )


def _styled_maker(maker: Any, style: Any) -> Any:
    """Insert style into an object that computes views by calling pipelines in its attributes."""
    parts = _parts(maker)
    calls = _calls(maker, parts) if callable(maker) else []
    if not calls:
        names = " or ".join(f"its {name}" for name in parts)
        remedy = f"give {names}" if parts else _BY_HAND
        raise ValueError(f"pipeline must be a Compose or views of them, got {type(maker).__name__}; {remedy}")
    left = calls[0]
    # Other views may use the same object.
    styled = _styled(copy.deepcopy(parts[left]), style)
    if isinstance(parts[left], (list, tuple)) or calls.count(left) == 1:
        setattr(maker, left, styled)
        return maker
    return LeftStyled(maker, left, styled)


class LeftStyled:
    """A function that calls an object to compute views, but uses a different pipeline for the first view.

    For each image, the object calls a pipeline in one of its attributes several times. `LeftStyled` replaces the first of these
    calls.

    Args:
        views: the object that computes the views.
        name: name of the attribute.
        left: the pipeline for the first call.
    """

    def __init__(self, views: Any, name: str, left: Callable[[Any], Any]) -> None:
        self.views, self.name, self.left = views, name, left

    def __call__(self, *images: Any) -> Any:
        # A copy for each call, so that neither threads nor errors disturb the count.
        pipelines = chain([self.left], repeat(getattr(self.views, self.name)))
        return _with(self.views, {self.name: lambda *image: next(pipelines)(*image)})(*images)

    def __repr__(self) -> str:
        return f"LeftStyled({self.views!r}, {self.name!r}, {self.left!r})"


def _calls(maker: Any, names: Any) -> list[str]:
    """Return the names of the attributes that an object calls to compute its views: one name for each view, in order."""
    import PIL.Image

    calls: list[tuple[str, Any]] = []

    def recorder(name: str) -> Callable[[Any], Any]:
        def record(image: Any) -> Any:
            # The input of another pipeline is not a view.
            calls[:] = [(earlier, made) for earlier, made in calls if made is not image]
            calls.append((name, image.copy()))
            return calls[-1][1]

        return record

    try:
        recorders = {name: recorder(name) for name in names}
        lists = {name: [recorder(name)] for name in names if isinstance(getattr(maker, name), (list, tuple))}
        _with(maker, {**recorders, **lists})(PIL.Image.new("RGB", (64, 64), (128, 128, 128)))
    except Exception:
        # Code after the calls may expect tensors.
        pass
    return [name for name, _ in calls]


def _with(maker: Any, attributes: dict[str, Any]) -> Any:
    """Return a shallow copy with replaced attributes, bypassing torch's check that a submodule is replaced by a module."""
    copied = copy.copy(maker)
    vars(copied).update(attributes)
    return copied


def _parts(maker: Any) -> dict[str, Any]:
    """Return the attributes that are pipelines, by name; none for torchvision's random choices, such as `RandomApply`."""
    if type(maker).__name__.startswith("Random"):
        return {}
    attributes = {**getattr(maker, "_modules", {}), **getattr(maker, "__dict__", {})}
    return {name: part for name, part in attributes.items() if _is_pipeline(part)}


def _is_pipeline(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_pipeline, value))
    if not callable(value) or isinstance(value, type):
        return False
    return _transforms(value) is not None or bool(_parts(value))


def _transforms(pipeline: Any) -> Any:
    """Return the `transforms` of a `Compose` or of a transform with several views; None for any other object.

    torchvision's random choices give None, and so do albumentations pipelines, which take no third-party transforms.
    """
    transforms = getattr(pipeline, "transforms", None)
    kind = type(pipeline)
    others = kind.__name__.startswith("Random") or kind.__module__.startswith("albumentations.")
    return transforms if isinstance(transforms, (list, tuple)) and not others else None


def _is_crop(transform: Any) -> bool:
    return type(transform).__name__.startswith(("RandomResizedCrop", "RandomCrop"))

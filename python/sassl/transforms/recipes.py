"""Two views of an image as MoCo v2, SimCLR and BYOL make them, with style on the left one: lightly's keyword names.

    from sassl.transforms import SASSL, MoCoV2Transform

    transform = MoCoV2Transform(style=SASSL(p=0.8))
    left, right = transform("photo.jpg")  # PIL, path, bytes, uint8 array (H, W, 3) or tensor (3, H, W)

Everything from decoding to normalizing is one call of the core, in Pillow's arithmetic.
"""

from __future__ import annotations

from typing import Any

from ..arguments import whole, wrong
from .plain import SASSL
from .two_views import TwoViewTransform, size

#: ImageNet's mean and standard deviation, under lightly's name.
IMAGENET_NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

#: A number for both views, or one for the left and one for the right.
Pair = float | tuple[float, float]

_ARGUMENTS = """
    Args:
        input_size: side of the views, or (height, width).
        cj_prob, cj_strength, cj_bright, cj_contrast, cj_sat, cj_hue: colour jitter: its probability, what multiplies the
            other four, and their strengths as torchvision's `ColorJitter` takes them.
        cj_form: "torchvision", or "byol": brightness is added, contrast is that of each colour, saturation is HSV's.
        min_scale: least part of the image's area in a view.
        random_gray_scale, vf_prob, hf_prob, rr_prob: probabilities of gray, of top for bottom, left for right, a rotation.
        rr_degrees: of the rotation, counter-clockwise: a range; or one number d for (-d, d); None: always 90.
        gaussian_blur, solarization_prob: probabilities; a pair is for the left view and the right one.
        kernel_size: the blur's taps, an odd number; "pillow": the boxes of Pillow's `GaussianBlur`; None: the method's own.
        sigmas: range of the blur's sigma in pixels.
        interpolation: "bilinear" or "bicubic", antialiased; or Pillow's or torchvision's constant.
        normalize: a dict of "mean" and "std"; None: numbers in [0, 1], or bytes.
        style: a `SASSL`, whose generator then is not used; None: no style. The other draws are the same with it and without.
        styled_view: "left", "right" or "both". The paper styles the left one, which is the query or online view: the first
            of the two that come back. MoCo's own code (`main_moco.py`) takes `images[0]` as the query, and so the left
            view; lightly's examples for MoCo take `views[1]` as the query and `views[0]` as the key: swap them there.
        style_position: "after_crop", or "before_crop": the whole image is stylized, which costs more.
        dtype: "float32", "float16", or "uint8" where `normalize` is None; or that type of numpy or torch.
        channels_last: (H, W, 3) instead of (3, H, W).
        output: "torch" or "numpy"; None: torch where it is installed.
        min_decode_size: for photographs of many megapixels: JPEGs are decoded at 1/2, 1/4 or 1/8 of their size, as long as no
            side is shorter than this. None: whole.
        generator: as that of `SASSL`.

    Raises:
        ValueError: a number outside its range, with its name.

    Call it with an image to get `[left, right]`: a PIL image, a path, the bytes of a JPEG, PNG or WebP file, an array (H, W, 3)
    or (H, W, 1) of uint8, a tensor (3, H, W) or (1, H, W) of uint8. A uint8 tensor (N, 3, H, W) on an NVIDIA GPU gives two
    batches there, each image with its own draws, which are those of the CPU and give the same pixels.
    """


class MoCoV2Transform(TwoViewTransform):
    __doc__ = (
        """Two views as MoCo v2 makes them (Chen et al. 2020, arXiv 2003.04297; facebookresearch/moco `main_moco.py`).

    Its blur is Pillow's, as in that code.
    """
        + _ARGUMENTS
    )

    def __init__(
        self,
        input_size: int | tuple[int, int] = 224,
        cj_prob: float = 0.8,
        cj_strength: float = 1.0,
        cj_bright: float = 0.4,
        cj_contrast: float = 0.4,
        cj_sat: float = 0.4,
        cj_hue: float = 0.1,
        cj_form: str = "torchvision",
        min_scale: float = 0.2,
        random_gray_scale: float = 0.2,
        gaussian_blur: Pair = 0.5,
        solarization_prob: Pair = 0.0,
        kernel_size: int | str | None = None,
        sigmas: tuple[float, float] = (0.1, 2.0),
        vf_prob: float = 0.0,
        hf_prob: float = 0.5,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        interpolation: str = "bilinear",
        normalize: dict[str, Any] | None = IMAGENET_NORMALIZE,
        *,
        style: SASSL | None = None,
        styled_view: str = "left",
        style_position: str = "after_crop",
        dtype: str = "float32",
        channels_last: bool = False,
        output: str | None = None,
        min_decode_size: int | None = None,
        generator: Any = None,
    ) -> None:
        super().__init__(_kernel_size(kernel_size, None), locals())


class SimCLRTransform(TwoViewTransform):
    __doc__ = (
        """Two views as SimCLR makes them (Chen et al. 2020, arXiv 2002.05709; google-research/simclr `data_util.py`).

    Numbers stay in [0, 1], without mean and deviation, as in that code; the blur's taps are a tenth of the side. For CIFAR,
    the paper takes cj_strength=0.5 and gaussian_blur=0.0 (appendix B.9).
    """
        + _ARGUMENTS
    )

    def __init__(
        self,
        input_size: int | tuple[int, int] = 224,
        cj_prob: float = 0.8,
        cj_strength: float = 1.0,
        cj_bright: float = 0.8,
        cj_contrast: float = 0.8,
        cj_sat: float = 0.8,
        cj_hue: float = 0.2,
        cj_form: str = "torchvision",
        min_scale: float = 0.08,
        random_gray_scale: float = 0.2,
        gaussian_blur: Pair = 0.5,
        solarization_prob: Pair = 0.0,
        kernel_size: int | str | None = None,
        sigmas: tuple[float, float] = (0.1, 2.0),
        vf_prob: float = 0.0,
        hf_prob: float = 0.5,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        interpolation: str = "bicubic",
        normalize: dict[str, Any] | None = None,
        *,
        style: SASSL | None = None,
        styled_view: str = "left",
        style_position: str = "after_crop",
        dtype: str = "float32",
        channels_last: bool = False,
        output: str | None = None,
        min_decode_size: int | None = None,
        generator: Any = None,
    ) -> None:
        super().__init__(_kernel_size(kernel_size, input_size), locals())


class BYOLTransform(TwoViewTransform):
    __doc__ = (
        """Two views as BYOL makes them (Grill et al. 2020, arXiv 2006.07733, table 6; deepmind-research `byol/`).

    The views differ in blur and solarization; the blur's taps are a tenth of the side. The colour jitter is that code's own:
    reimplementations in PyTorch take cj_form="torchvision".
    """
        + _ARGUMENTS
    )

    def __init__(
        self,
        input_size: int | tuple[int, int] = 224,
        cj_prob: float = 0.8,
        cj_strength: float = 1.0,
        cj_bright: float = 0.4,
        cj_contrast: float = 0.4,
        cj_sat: float = 0.2,
        cj_hue: float = 0.1,
        cj_form: str = "byol",
        min_scale: float = 0.08,
        random_gray_scale: float = 0.2,
        gaussian_blur: Pair = (1.0, 0.1),
        solarization_prob: Pair = (0.0, 0.2),
        kernel_size: int | str | None = None,
        sigmas: tuple[float, float] = (0.1, 2.0),
        vf_prob: float = 0.0,
        hf_prob: float = 0.5,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        interpolation: str = "bicubic",
        normalize: dict[str, Any] | None = IMAGENET_NORMALIZE,
        *,
        style: SASSL | None = None,
        styled_view: str = "left",
        style_position: str = "after_crop",
        dtype: str = "float32",
        channels_last: bool = False,
        output: str | None = None,
        min_decode_size: int | None = None,
        generator: Any = None,
    ) -> None:
        super().__init__(_kernel_size(kernel_size, input_size), locals())


def _kernel_size(given: int | str | None, input_size: Any) -> int | None:
    """Taps; None: Pillow's boxes. The method's own, where nothing is given: a tenth of the side, or boxes."""
    if isinstance(given, str) and given == "pillow":
        return None
    if given is None:
        return None if input_size is None else 2 * (min(size(input_size)) // 20) + 1
    if isinstance(given, str):
        raise wrong("kernel_size", given, 'an odd number, "pillow" or None')
    return whole("kernel_size", given, 1)

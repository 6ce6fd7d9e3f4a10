"""Operations on one image under torchvision's names: uint8 arrays (H, W, 3), computed with Pillow's arithmetic.

    from sassl.transforms import functional as F

    photo = F.decode("photo.jpg")
    view = F.gaussian_blur(F.resized_crop(photo, 0, 0, 300, 400, size=(224, 224)), 23, sigma=1.0)

Each function returns a new array.
"""

from .._sassl import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    decode,
    gaussian_blur,
    grayscale,
    hflip,
    normalize,
    resized_crop,
    rotate,
    solarize,
    vflip,
)

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "decode",
    "gaussian_blur",
    "grayscale",
    "hflip",
    "normalize",
    "resized_crop",
    "rotate",
    "solarize",
    "vflip",
]

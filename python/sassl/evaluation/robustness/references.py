"""Published errors of reference networks on corrupted images. The errors of other networks are divided by these errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: The 15 corruptions of the mCE (mean corruption error), by group, from hendrycks/robustness.
GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS = tuple(name for names in GROUPS.values() for name in names)
#: Four extra corruptions for validation, also from hendrycks/robustness.
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")


class Reference(NamedTuple):
    """Errors of a reference network, in per cent."""

    name: str
    #: For each corruption, the errors at severities 1 to 5, or only their mean.
    errors: Mapping[str, tuple[float, ...]]
    #: Error on uncorrupted images; None: unknown.
    clean: float | None


def _rows(text: str) -> dict[str, tuple[float, ...]]:
    """Parse errors at severities 1 to 5 (or their mean), one row per corruption, given in thousandths of a per cent."""
    rows = [tuple(int(n) / 1000 for n in row.split()) for row in text.strip().splitlines()]
    return dict(zip(CORRUPTIONS, rows, strict=True))


#: AlexNet on ImageNet-C, from hendrycks/robustness#10; the clean error is torchvision's.
ALEXNET = Reference(
    "AlexNet (hendrycks/robustness#10)",
    _rows("""
        69528 82542 93554 98138 99452
        71224 85108 93574 98182 99146
        78374 89808 94870 98720 99548
        65624 73202 85036 91364 94714
        64308 75054 88806 91622 93344
        58430 70048 82108 89750 92638
        70008 76992 80784 84198 87198
        71726 88392 86468 91870 94952
        61390 79734 88790 89942 93430
        67474 76050 84378 87260 94500
        45140 48502 54048 62166 72440
        64548 76150 88874 97760 99270
        52596 70116 55686 64076 80554
        52218 54620 73728 87092 91262
        51002 54718 57294 65458 74778
    """),
    43.478,
)
#: ResNet-18 on Tiny-ImageNet-C, from VITA-Group/AugMax: the authors of Tiny-ImageNet-C published no reference.
AUGMAX_RESNET18 = Reference(
    "ResNet-18 of AugMax, not of the set's authors (VITA-Group/AugMax)",
    _rows("""
        80370
        75970
        77580
        84260
        82740
        79070
        82120
        74970
        73810
        74330
        68000
        89390
        73080
        61210
        64520
    """),
    None,
)

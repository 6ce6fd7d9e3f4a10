"""Robustness: shape bias, and accuracy on corrupted images, sketches and newly collected images.

    from sassl.evaluation import Preprocessing, extract, robustness

    rule = Preprocessing(224, resize=256, normalize={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})
    judge = robustness.Classifier(net, preprocessing=rule)  # a network that returns ImageNet's 1,000 scores
    judge = robustness.Probe(model, extract(model, "imagenet/train"))  # a backbone with a fitted head
    print(robustness.cue_conflict(judge, "cue-conflict")["shape_bias"])

A judge predicts the classes of images: a `Classifier` or a `Probe`. A result is a dict: the number of images, values for each
category or class, the reference network if values are relative, and the names of images that could not be read. Fractions are
in per cent. Nothing is downloaded.
"""

from .categories import CATEGORIES, by_category, decisions
from .corruptions import cifar_c, corruption_error, imagenet_c, tiny_imagenet_c
from .cue_conflict import bias_difference, cue_conflict, cues, shape_bias
from .heads import Answers, Classifier, Judge, Probe
from .outlines import outlines
from .references import ALEXNET, AUGMAX_RESNET18, CORRUPTIONS, EXTRA, Reference
from .variants import accuracy, imagenet_r, imagenet_sketch, imagenet_v2, stylized_imagenet

__all__ = [
    "ALEXNET",
    "AUGMAX_RESNET18",
    "CATEGORIES",
    "CORRUPTIONS",
    "EXTRA",
    "Answers",
    "Classifier",
    "Judge",
    "Probe",
    "Reference",
    "accuracy",
    "bias_difference",
    "by_category",
    "cifar_c",
    "corruption_error",
    "cue_conflict",
    "cues",
    "decisions",
    "imagenet_c",
    "imagenet_r",
    "imagenet_sketch",
    "imagenet_v2",
    "outlines",
    "shape_bias",
    "stylized_imagenet",
    "tiny_imagenet_c",
]

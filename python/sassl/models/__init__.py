"""Models from any source, opened by name or by file, in the form that `sassl.evaluation` takes.

    import sassl

    model = sassl.open_model("run")  # a run's folder (its newest checkpoint), or a checkpoint file
    model = sassl.open_model("timm:resnet50.a1_in1k")  # with timm's weights, normalization and image size
    model = sassl.open_model("torchvision:resnet50:IMAGENET1K_V2")
    model = sassl.open_model("moco_v2_800ep.pth.tar", arch="resnet50")
    model = sassl.open_model("untrained:resnet50")  # random features, the baseline of every comparison

    train, test = (sassl.evaluation.extract(model, folder) for folder in ("photos/train", "photos/val"))
    print(model, sassl.evaluation.knn(train, test)["top1"])

Preprocessing needs no settings: a model carries its own.
"""

from .opened import OpenModel
from .opening import open_model

__all__ = ["OpenModel", "open_model"]

"""How good a backbone's features are: nearest neighbours and linear probes, on features that are computed once.

    from sassl import evaluation

    train, test = (evaluation.extract(model, folder) for folder in ("photos/train", "photos/val"))
    print(evaluation.knn(train, test))  # {"top1": ..., "top5": ..., "n": ..., "interval": ...}, in per cent
    print(evaluation.linear_probe(train, test), evaluation.logistic_probe(train, test))

The model is one of sassl's, or what `sassl.open_model` opens by name or file: timm's, torchvision's, weights of anybody. Any
other function of images in floats, as a torch module, needs the rule by which its images are made:

    rule = evaluation.Preprocessing(224, resize=256, normalize={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})
    train = evaluation.extract(net, "photos/train", preprocessing=rule)

`evaluation.augmented_probe` is the protocol by which MoCo, SimCLR and BYOL report ImageNet: a head that learns from features of
random crops.

A class of `test` is that of `train` which has its name, or its number where one of the two has no names. Images of classes that
`train` has no image of count as wrong, and a warning tells how many they are.

`evaluation.finetune` lets the whole network learn from labelled images, by the published recipes of transfer and of the 1 % and
10 % of ImageNet:

    print(evaluation.finetune(model, "photos/train", "photos/test", val="photos/val", lr=0.01, weight_decay=1e-5))

`evaluation.robustness` has shape bias and accuracy on images that are corrupted, drawn or taken anew; `evaluation.strength`
tells how far views move in feature space with alpha and beta; `evaluation.compare` compares the results of several arms.
"""

from . import comparison, datasets, finetuning, logistic, metrics, robustness, transfer
from .augmented import augmented_probe
from .cache import Cache
from .comparison import compare
from .crops import Crops
from .features import Features, encode, extract, joined, left_out, read
from .few_shot import few_shot, nearest_centroid
from .finetuning import finetune
from .linear_recipes import LINEAR_RECIPES, LinearRecipe
from .preprocessing import Preprocessing
from .probes import GRID, PENALTIES, knn, linear_probe, logistic_probe
from .protocol import Encoder
from .reading import Part, read_part
from .strength import STRENGTHS, strength

__all__ = [
    "GRID",
    "LINEAR_RECIPES",
    "PENALTIES",
    "STRENGTHS",
    "Cache",
    "Crops",
    "Encoder",
    "Features",
    "LinearRecipe",
    "Part",
    "Preprocessing",
    "augmented_probe",
    "compare",
    "comparison",
    "datasets",
    "encode",
    "extract",
    "few_shot",
    "finetune",
    "finetuning",
    "joined",
    "knn",
    "left_out",
    "linear_probe",
    "logistic",
    "logistic_probe",
    "metrics",
    "nearest_centroid",
    "read",
    "read_part",
    "robustness",
    "strength",
    "transfer",
]

"""Evaluation of a backbone's features: nearest neighbours, linear probes, transfer, fine-tuning and robustness.

    from sassl import evaluation

    train, test = (evaluation.extract(model, folder) for folder in ("photos/train", "photos/val"))
    print(evaluation.knn(train, test))  # {"top1": ..., "top5": ..., "n": ..., "interval": ...}, in per cent
    print(evaluation.linear_probe(train, test), evaluation.logistic_probe(train, test))

The model is one of sassl's own, or one opened by `sassl.open_model`: a timm or torchvision model by name, or weights from a
file. For any other function of float images, such as a torch module, give its preprocessing:

    rule = evaluation.Preprocessing(224, resize=256, normalize={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})
    train = evaluation.extract(net, "photos/train", preprocessing=rule)

`evaluation.augmented_probe` trains a head on features of random crops. MoCo, SimCLR and BYOL report their ImageNet accuracy by
this protocol.

Classes of `train` and `test` are matched by name if both sets have class names, otherwise by index. A test image whose class
has no image in `train` counts as wrong; a warning reports the number of such images.

`evaluation.finetune` trains the whole network on labelled images, by the published recipes for transfer and for 1 % and 10 % of
ImageNet:

    print(evaluation.finetune(model, "photos/train", "photos/test", val="photos/val", lr=0.01, weight_decay=1e-5))

`evaluation.robustness` measures shape bias, and accuracy on corrupted images, sketches and newly collected images;
`evaluation.strength` measures how far views move in feature space as the style strengths alpha and beta increase;
`evaluation.compare` compares the results of several arms, such as pretraining with style and without.
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

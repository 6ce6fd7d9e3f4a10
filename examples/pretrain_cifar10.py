"""SimCLR on CIFAR-10, with style on the left view: pretrain, evaluate the features, export the backbone.

    python examples/pretrain_cifar10.py cifar-10-batches-py --out run

The folder is CIFAR-10's own (python or binary version), or has the folders train and test with one folder for each class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import sassl
from sassl import evaluation

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", type=Path)
parser.add_argument("--out", type=Path, default=Path("cifar10-run"))
parser.add_argument("--epochs", type=int, default=200)
parser.add_argument("--batch-size", type=int, default=512)
parser.add_argument("--no-style", action="store_true", help="plain SimCLR, to compare with")
args = parser.parse_args()

if (args.data / "train").is_dir():
    train, test = (sassl.data.ImageFolder(args.data / part) for part in ("train", "test"))
else:
    train, test = (sassl.data.CIFAR(args.data, train=part) for part in (True, False))

# Algorithm 1: with p = 0.8, z = (1 - alpha) F(i_c) + alpha F(i_s) and i_cs = (1 - beta) i_c + beta T(i_c, z).
style = None if args.no_style else sassl.transforms.SASSL(p=0.8, alpha=(0.1, 0.3), beta=(0.1, 0.3), styles="default")

# ResNet-18 with CIFAR's stem; lightly's settings for this data.
model = sassl.SimCLR(preset="simclr-cifar10", style=style)
monitor = sassl.pretraining.Monitor(test, every=10)
model.fit(train, args.epochs, batch_size=args.batch_size, out=args.out, resume=True, monitor=monitor)
model.history.plot(args.out / "history.png")

known, asked = (evaluation.extract(model, images) for images in (train, test))
print(f"nearest neighbours: {evaluation.knn(known, asked, k=min(200, len(train)))['top1']:.1f} %")
print(f"linear probe: {evaluation.linear_probe(known, asked)['top1']:.1f} %")

model.export_backbone(args.out / "backbone.safetensors")

"""An exported backbone in torchvision: load it, and train a head on labelled images, or the whole network with --all.

    sassl pretrain simclr --data photos --arch resnet18 --out run
    python examples/finetune_torchvision.py run/backbone.safetensors photos

The folder has train and val with one folder for each class. The file describes its network and the preprocessing of images.
Needs torchvision and safetensors.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torchvision
from safetensors import safe_open
from torch import nn
from torchvision.transforms import v2

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("backbone", type=Path)
parser.add_argument("data", type=Path)
parser.add_argument("--input-size", type=int, help="side of the images (default: that of the pretraining's views)")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--lr", type=float, default=0.1, help="for a batch of 256")
parser.add_argument("--all", action="store_true", help="train the backbone too")
args = parser.parse_args()

with safe_open(args.backbone, "pt") as file:
    about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

if "stem" not in about:
    parser.error(
        f"{args.backbone}: a backbone of {about['arch']}; this program knows torchvision's ResNets, by their own names"
    )

# Images are preprocessed like the views in pretraining: the same size and normalization.
side = args.input_size or json.loads(about["input_size"])
size = side if isinstance(side, list) else [side, side]
interpolation = v2.InterpolationMode(json.loads(about["interpolation"]))
normalize = json.loads(about["normalize"])
if normalize == "not known":
    parser.error(f"{args.backbone}: it learnt from batches whose normalizing is not known; put yours into this program")
floats = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), *([v2.Normalize(**normalize)] if normalize else [])]
augmented = v2.Compose([v2.RandomResizedCrop(size, interpolation=interpolation), v2.RandomHorizontalFlip(), *floats])
# The centre of an image, 224 of 256 pixels; small images, such as CIFAR's, are used whole.
shorter = max(size) * 8 // 7 if max(size) > 64 else max(size)
plain = v2.Compose([v2.Resize(shorter, interpolation=interpolation), v2.CenterCrop(size), *floats])
train = torchvision.datasets.ImageFolder(args.data / "train", augmented)
val = torchvision.datasets.ImageFolder(args.data / "val", plain)

net = getattr(torchvision.models, about["arch"])(num_classes=len(train.classes))
if about["stem"] == "cifar":
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
missing, unexpected = net.load_state_dict(tensors, strict=False)
assert (missing, unexpected) == (["fc.weight", "fc.bias"], []), f"{args.backbone}: no backbone of {about['arch']}"

learning = net if args.all else net.fc
optimizer = torch.optim.SGD(learning.parameters(), args.lr * args.batch_size / 256, momentum=0.9, nesterov=True)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
batches = torch.utils.data.DataLoader(train, args.batch_size, shuffle=True)
for epoch in range(args.epochs):
    # The norms of a frozen backbone stay in eval mode.
    net.train(args.all)
    for images, targets in batches:
        loss = nn.functional.cross_entropy(net(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    net.eval()
    with torch.no_grad():
        right = [
            (net(images).argmax(1) == targets).float()
            for images, targets in torch.utils.data.DataLoader(val, args.batch_size)
        ]
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, top-1 {100 * torch.cat(right).mean().item():.1f} %")

"""An exported backbone in torchvision: load it, train a head on labelled images, or all of the network with --all.

    sassl pretrain simclr --data photos --arch resnet18 --out run
    python examples/finetune_torchvision.py run/backbone.safetensors photos --arch resnet18

The folder has train and val with one folder for each class. Needs torchvision and safetensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import nn
from torchvision.transforms import v2

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("backbone", type=Path)
parser.add_argument("data", type=Path)
parser.add_argument("--arch", default="resnet50")
parser.add_argument("--input-size", type=int, default=224)
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--lr", type=float, default=0.1, help="for a batch of 256")
parser.add_argument("--all", action="store_true", help="train the backbone too")
args = parser.parse_args()

# SimCLR's numbers stay in [0, 1]; a backbone of MoCo v2 or BYOL wants ImageNet's mean and deviation.
size = args.input_size
to_numbers = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
augmented = v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), *to_numbers])
plain = v2.Compose([v2.Resize(size * 8 // 7), v2.CenterCrop(size), *to_numbers])
train = torchvision.datasets.ImageFolder(args.data / "train", augmented)
val = torchvision.datasets.ImageFolder(args.data / "val", plain)

net = getattr(torchvision.models, args.arch)(num_classes=len(train.classes))
missing, unexpected = net.load_state_dict(load_file(args.backbone), strict=False)
assert (missing, unexpected) == (["fc.weight", "fc.bias"], []), "a backbone of another arch, or with CIFAR's stem"

learning = net if args.all else net.fc
optimizer = torch.optim.SGD(learning.parameters(), args.lr * args.batch_size / 256, momentum=0.9, nesterov=True)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
batches = torch.utils.data.DataLoader(train, args.batch_size, shuffle=True)
for epoch in range(args.epochs):
    # A frozen backbone keeps its norms as they are.
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

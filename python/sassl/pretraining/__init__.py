"""Pretraining: MoCo v2, BYOL and SimCLR with style, from a folder of images to a backbone under torchvision's names.

    import sassl

    model = sassl.SimCLR("resnet18", style="default", input_size=64, small_stem=True)
    model.fit("photos", epochs=100, batch_size=256, out="run")  # resume=True goes on, to the bit
    model.history.plot("run/history.png")
    features = model.encode(images)  # uint8, PIL images, paths; made as the run made its views
    model.export_backbone("resnet18.safetensors")  # torchvision.models.resnet18().load_state_dict(...)

    sassl.MoCoV2(preset="moco-v2-cifar10")  # PRESETS has the published settings

Everything between two views and changed weights is native; only the loop over batches is here.
"""

from .config import PRESETS, Config, describe
from .history import History
from .methods import BYOL, MoCoV2, Pretraining, SimCLR
from .monitor import Monitor

__all__ = ["BYOL", "PRESETS", "Config", "History", "MoCoV2", "Monitor", "Pretraining", "SimCLR", "describe"]

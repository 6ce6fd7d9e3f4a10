"""Makes `small_*.safetensors` and `small_*.npz`: little networks of the family with random weights, and what PyTorch makes of
an image in each. Run from the root of the repository, with torch: `python tests/golden/make_golden.py`.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "examples" / "distill"))

from networks import build  # noqa: E402

CNN = {"kind": "cnn", "size": 32, "channels": [5, 9], "dim": 6}
SMALL = {**CNN, "size": 64, "smallest": 32}
DOWN = [{"kernel": 3, "stride": 2, "channels": 8}, {"kernel": 3, "stride": 2, "channels": 12}]


def transformer(contract, is_separable, expand, **head):
    expand = [{"kernel": 3, "channels": n, "separable": is_separable} for n in expand]
    head = {"kernel": 9, "upsample": False, "separable": is_separable, "skip": False, **head}
    residual = {"blocks": 2, "separable": is_separable}
    return {"dim": 6, "contract": contract, "residual": residual, "expand": expand, "head": head}


NETWORKS = {
    "dense": transformer([{"kernel": 9, "stride": 1, "channels": 8}, *DOWN], False, [8, 5]),
    "separable": transformer([{"kernel": 5, "stride": 1, "channels": 8}, *DOWN], True, [8, 5], kernel=5),
    "skip": transformer(DOWN, False, [8], kernel=5, upsample=True, skip=True),
    "shuffle": transformer(DOWN, True, [16], kernel=3, upsample=True, separable=False),
}


@torch.no_grad()
def main() -> None:
    for name, spec in NETWORKS.items():
        torch.manual_seed(len(name))
        network = {"predictor": SMALL if name == "skip" else CNN, "transformer": spec}
        model = build(network).eval()
        tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
        digest = hashlib.sha256()
        # The zoom is fitted to a space that is there.
        for key in sorted(key for key in tensors if key.startswith(("predictor.conv.", "predictor.head."))):
            digest.update(key.encode() + tensors[key].numpy().tobytes())
        metadata = {
            "format": "sassl.model",
            "version": "1",
            "name": f"small_{name}",
            "space": digest.hexdigest()[:16],
            "licence": "Apache-2.0",
            "provenance": "random numbers",
            "network": json.dumps(network),
        }
        save_file(tensors, HERE / f"small_{name}.safetensors", metadata)
        arrays = {}
        for height, width in [(8, 8), (9, 23), (21, 18), (40, 44)]:
            image = torch.rand(1, 3, height, width)
            z = model.predictor(image)
            out = model.transformer(image, z)
            key = f"{height}x{width}"
            arrays[f"{key} image"] = image[0].permute(1, 2, 0).numpy()
            arrays[f"{key} z"], arrays[f"{key} out"] = z[0].numpy(), out[0].permute(1, 2, 0).numpy()
        np.savez_compressed(HERE / f"small_{name}.npz", **arrays)


if __name__ == "__main__":
    main()

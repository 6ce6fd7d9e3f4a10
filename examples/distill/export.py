"""Writes a trained student as a model file in float16, and a bank of its style vectors: `python export.py --help`.

The bank's styles are crops of the style folders, original and recoloured, and procedural images, encoded by the
student's F as stored in the file. Images cannot be recovered from the vectors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from data import find, styles
from networks import load
from safetensors.torch import save_file


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of train.py")
    parser.add_argument("--model", type=Path, required=True, help="the model file to write")
    parser.add_argument("--bank", type=Path, help="the bank file to write")
    parser.add_argument("--styles", type=Path, nargs="+", help="folders for the bank; each gets an equal share")
    parser.add_argument("--hold-out", type=Path, help="a text file of style names that the bank must not hold")
    parser.add_argument("--count", type=int, default=1200, help="style vectors (default: %(default)s)")
    parser.add_argument("--name", default="lite")
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument(
        "--provenance", default="distilled from Magenta's mobile pair; see examples/distill/MODEL_CARD.md"
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    state = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    tensors = {name: value.half().contiguous() for name, value in state["mean"].items()}
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise SystemExit(f"{args.checkpoint}: weights that are not finite in float16")
    digest = hashlib.sha256()
    # The zoom is fitted to an existing space (zoom.py).
    own = (name for name in tensors if name.startswith("predictor.") and not name.startswith("predictor.zoom."))
    for name in sorted(own):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    space = digest.hexdigest()[:16]
    origin = {"licence": args.licence, "provenance": args.provenance}
    metadata = {"format": "sassl.model", "version": "1", "name": args.name, "space": space, **origin}
    save_file(tensors, args.model, metadata | {"network": json.dumps(state["network"])})
    print(f"{args.model}: {args.model.stat().st_size:,} bytes, space {space}")
    if args.bank is None:
        return
    predictor = load(args.model)[0].predictor.eval()
    held_out = set(args.hold_out.read_text().split("\n")) if args.hold_out else set()
    sources = [[path for path in find(folder) if path.name not in held_out] for folder in args.styles]
    vectors = []
    with torch.no_grad():
        for image in styles(sources, args.count, 256, np.random.default_rng(1)):
            x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
            vectors.append(predictor(x)[0].half())
    metadata = {"format": "sassl.bank", "version": "1", "space": space, **origin}
    save_file({"vectors": torch.stack(vectors)}, args.bank, metadata)
    print(f"{args.bank}: {len(vectors)} styles, {args.bank.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

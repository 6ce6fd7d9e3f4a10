"""Accuracy on Magenta's mobile pair: T and F against LiteRT, on photographs; and the effect of `precision="fast"`.

python tests/bench/accuracy.py --weights FOLDER --photos FOLDER
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from peers import litert
from PIL import Image, ImageOps
from sassl import Stylizer, image_files
from sassl._sassl import convert
from sassl.images import pixels
from stylize import SHARED

#: alpha and beta: the paper's views, T's output with the paper's blending, and full strength.
STRENGTHS = ((0.2, 0.2), (0.2, 1.0), (1.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=SHARED, help="default: %(default)s")
    parser.add_argument("--photos", type=Path, required=True, help="folder; the first 12 are taken")
    args = parser.parse_args()
    predictor, transformer = (
        args.weights / f"magenta_mobile_{n}.tflite" for n in ("predictor_int8", "transformer_f16")
    )
    with tempfile.TemporaryDirectory() as folder:
        convert([predictor, transformer], Path(folder) / "mobile.safetensors", "mobile")
        mobile = Stylizer(Path(folder) / "mobile.safetensors", precision="exact")
        pairs = {
            "mobile": (Stylizer(Path(folder) / "mobile.safetensors"), mobile),
            "lite": (Stylizer(), Stylizer(precision="exact")),
        }
    cosines, differences, errors = [], [], []
    precision: dict[str, list[list[float]]] = {name: [] for name in pairs}
    for path in image_files.find([args.photos])[:12]:
        photo = Image.fromarray(pixels(path))
        image = np.array(ImageOps.fit(photo, (256, 256)), np.float32)[None] / 255
        z = mobile.encode(image)[0]
        theirs = np.ravel(litert(predictor, [image], 1)())
        cosines.append(z @ theirs / np.linalg.norm(z) / np.linalg.norm(theirs))
        differences.append(abs(z - theirs).mean())
        image = np.array(ImageOps.fit(photo, (384, 384)), np.float32)[None] / 255
        errors.append(abs(mobile.transfer(image, z) - litert(transformer, [image, z[None]], 1)()).max())
        image = np.array(ImageOps.fit(photo, (224, 224)), np.float32)[None] / 255
        for name, (fast, exact) in pairs.items():
            style = exact.encode(image[:, ::-1, :, ::-1].copy())
            outs = [[model.stylize(image, style, alpha, beta) for model in (fast, exact)] for alpha, beta in STRENGTHS]
            precision[name].append([-10 * np.log10(((a - b) ** 2).mean()) for a, b in outs])
    n = len(cosines)
    print(f"T(mobile fp16), 384x384, {n} photographs: largest difference {max(errors):.1e}")
    print(f"F(mobile int8), {n} photographs: cosine mean {np.mean(cosines):.5f}, least {min(cosines):.5f}")
    print(f"F(mobile int8), {n} photographs: |difference| mean {np.mean(differences):.4f}, most {max(differences):.4f}")
    print("fast against exact, 224x224, PSNR mean (least):")
    for name, values in precision.items():
        texts = [
            f"alpha {alpha}, beta {beta}: {np.mean(column):.1f} ({min(column):.1f}) dB"
            for (alpha, beta), column in zip(STRENGTHS, np.transpose(values), strict=True)
        ]
        print(f"  {name:6} {'; '.join(texts)}")


if __name__ == "__main__":
    main()

"""SimCLR's two views by NVIDIA DALI, to compare with `torch_engine.py`; written from DALI's documentation, never run.

    pip install nvidia-dali-cuda130 && python tests/bench/dali_views.py folder-of-classes --batch 256

DALI decodes and crops on the GPU, with draws for each image; a blur with a probability is computed for all images, and then
selected by a product. Its pixels differ: interpolation, colours and blur are not Pillow's. It has no style.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from nvidia.dali import fn, pipeline_def, types


def view(jpegs: Any, side: int) -> Any:
    """Build one view, (3, side, side) float."""
    images = fn.decoders.image_random_crop(
        jpegs, device="mixed", random_area=[0.08, 1.0], random_aspect_ratio=[0.75, 4 / 3]
    )
    images = fn.resize(images, resize_x=side, resize_y=side, interp_type=types.INTERP_CUBIC, antialias=True)
    jitter = fn.random.coin_flip(probability=0.8, dtype=types.FLOAT)
    # A factor of 1 if the jitter is not applied.
    factor = lambda: 1.0 + jitter * fn.random.uniform(range=[-0.8, 0.8])  # noqa: E731
    images = fn.color_twist(
        images,
        brightness=factor(),
        contrast=factor(),
        saturation=factor() * (1.0 - fn.random.coin_flip(probability=0.2, dtype=types.FLOAT)),
        hue=jitter * fn.random.uniform(range=[-72.0, 72.0]),
    )
    blurred = fn.gaussian_blur(images, window_size=2 * (side // 20) + 1, sigma=fn.random.uniform(range=[0.1, 2.0]))
    blurs = fn.random.coin_flip(probability=0.5, dtype=types.UINT8)
    images = blurred * blurs + images * (types.Constant(1, dtype=types.UINT8) - blurs)
    return fn.crop_mirror_normalize(
        images, dtype=types.FLOAT, output_layout="CHW", std=[255.0] * 3, mirror=fn.random.coin_flip(probability=0.5)
    )


@pipeline_def
def two_views(folder: str, side: int) -> Any:
    """Build both views, and the classes."""
    jpegs, labels = fn.readers.file(file_root=folder, random_shuffle=True, name="files")
    return view(jpegs, side), view(jpegs, side), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    pipeline = two_views(args.folder, args.side, batch_size=args.batch, num_threads=args.threads, device_id=0, seed=1)
    pipeline.build()
    for _ in range(3):
        pipeline.run()
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < args.seconds:
        pipeline.run()
        n += args.batch
    print(f"DALI: {n / (time.perf_counter() - began):.0f} photographs/s, both views")


if __name__ == "__main__":
    main()

"""Writes tests/golden/jpeg: small JPEGs, one for each path through the decoder, of a photograph of scikit-learn's."""

from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_image

KINDS = {
    "444": {"subsampling": 0},
    "422": {"subsampling": 1},
    "420": {"subsampling": 2},
    "420-progressive": {"subsampling": 2, "progressive": True},
    "422-restarts": {"subsampling": 1, "restart_marker_blocks": 3},
    "rgb": {"keep_rgb": True},
    "gray": {"mode": "L"},
    "gray-progressive": {"mode": "L", "progressive": True},
    "cmyk": {"mode": "CMYK"},
}

if __name__ == "__main__":
    photo = Image.fromarray(load_sample_image("flower.jpg")).crop((200, 90, 415, 279)).resize((93, 77))
    for name, options in KINDS.items():
        settings = dict(options)
        image = photo.convert(settings.pop("mode", "RGB"))
        image.save(Path(__file__).parent / "jpeg" / f"{name}.jpg", quality=80, **settings)

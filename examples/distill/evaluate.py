"""Compares a student with its teacher, on images used neither in training nor in the bank: `python evaluate.py --help`.

For pairs of an unseen photograph and an unseen style at 224x224: PSNR of T's output and of the view (beta 0.2), the style
distance |F(student) - F(teacher)| / |F(photograph) - F(teacher)| with the teacher's F on the outputs, and the energies of
four octaves of a grey Laplacian pyramid, student over teacher. `--sheet` writes the images side by side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from data import find, read
from losses import grey, octave
from networks import build, load
from PIL import Image, ImageOps
from torch import Tensor, nn

SIZE = 224


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--student", type=Path, required=True, help="a model file, or a checkpoint of train.py")
    parser.add_argument(
        "--precision", choices=["fast", "exact"], help="run a model file by sassl itself, at this precision"
    )
    parser.add_argument("--contents", type=Path, required=True)
    parser.add_argument("--styles", type=Path, nargs="+", required=True)
    parser.add_argument("--hold-out", type=Path, help="only the styles that this text file names")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="pair to begin with: 60 leaves out those that 0 looked at")
    parser.add_argument("--alphas", type=float, nargs="+", default=(0.1, 0.2, 0.3, 0.5, 1.0))
    parser.add_argument("--sheet", type=Path, help="write an image of the first pairs")
    return parser.parse_args()


class Installed:
    """A model file run by the installed sassl, with the interface of a module."""

    def __init__(self, path: Path, precision: str) -> None:
        from sassl import Stylizer

        self.stylizer = Stylizer(path, precision=precision)

    def predictor(self, image: Tensor) -> Tensor:
        return torch.from_numpy(self.stylizer.encode(image.permute(0, 2, 3, 1).contiguous().numpy()))

    def transformer(self, image: Tensor, z: Tensor) -> Tensor:
        out = self.stylizer.transfer(image.permute(0, 2, 3, 1).contiguous().numpy(), z.numpy())
        return torch.from_numpy(out).permute(0, 3, 1, 2)


def student(path: Path) -> nn.Module:
    if path.suffix == ".safetensors":
        return load(path)[0]
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = build(state["network"])
    model.load_state_dict(state["mean"])
    return model


def tensor(image: Image.Image, size: int) -> Tensor:
    fitted = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None].float() / 255


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


def energies(image: Tensor) -> np.ndarray:
    x, found = grey(image), []
    for _ in range(4):
        band, x = octave(x)
        found.append(float(band.square().mean()))
    return np.sqrt(found)


@torch.no_grad()
def main() -> None:
    args = arguments()
    teacher = load(args.teacher)[0].eval()
    model = Installed(args.student, args.precision) if args.precision else student(args.student).eval()
    names = set(args.hold_out.read_text().split("\n")) if args.hold_out else None
    styles = [p for folder in args.styles for p in find(folder) if names is None or p.name in names]
    contents = find(args.contents)
    rng = np.random.default_rng(0)
    order = [styles[i] for i in rng.permutation(len(styles))]
    pairs = [(contents[i % len(contents)], order[i % len(order)]) for i in range(args.first, args.first + args.pairs)]

    rows: dict[float, list[list[float]]] = {alpha: [] for alpha in args.alphas}
    sheet = []
    for n, (content_path, style_path) in enumerate(pairs):
        content, style_image = tensor(read(content_path), SIZE), read(style_path)
        style = tensor(style_image, teacher.predictor.size)
        z_t = teacher.predictor(content), teacher.predictor(style)
        z_s = model.predictor(content), model.predictor(style)
        row = [content, tensor(style_image, SIZE)]
        for alpha in args.alphas:
            target = teacher.transformer(content, z_t[0] + alpha * (z_t[1] - z_t[0]))
            image = model.transformer(content, z_s[0] + alpha * (z_s[1] - z_s[0]))
            f_target, f_image = teacher.predictor(target), teacher.predictor(image)
            distance = (f_image - f_target).abs().mean() / (z_t[0] - f_target).abs().mean()
            view, wanted = content + 0.2 * (image - content), content + 0.2 * (target - content)
            rows[alpha].append(
                [
                    psnr(image, target),
                    psnr(content, target),
                    psnr(view, wanted),
                    psnr(content, wanted),
                    float(distance),
                    *(energies(image) / energies(target)),
                ]
            )
            if alpha in (0.2, 1.0):
                row += [target, image]
        if n < 8:
            sheet.append(torch.cat(row, 3))
    print(f"{len(pairs)} pairs at {SIZE}x{SIZE}; photograph: the photograph itself in the student's place")
    print("alpha  PSNR  photograph  view  photograph  style distance  band energies, fine to coarse (medians)")
    for alpha, values in rows.items():
        table = np.array(values)
        mean, median = table.mean(0), np.median(table, 0)
        bands = " ".join(f"{x:.2f}" for x in median[5:])
        print(f"{alpha:5.1f} {mean[0]:5.2f} {mean[1]:11.2f} {mean[2]:5.2f} {mean[3]:11.2f} {mean[4]:15.3f}  {bands}")
    if args.sheet:
        made = (torch.cat(sheet, 2)[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
        Image.fromarray(made).save(args.sheet)
        print(f"{args.sheet}: content, style, then teacher and student at alpha 0.2 and 1.0")


if __name__ == "__main__":
    main()

"""Distils a small network from a teacher pair, on any folders of images: `python train.py --help`.

    python train.py --teacher mobile.safetensors --contents photos --styles textures paintings --out run --minutes 90

The student computes exactly Algorithm 1's blending, T(c, (1 - a) F(c) + a F(s)), and is compared with the teacher's image for
the same c, s and a. After an interruption, the same command resumes from the last checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from data import Pool, contents, find, styles
from losses import STRONG, WEIGHTS, distance
from networks import build, load, multiply_adds
from torch import Tensor, nn

LITE = {
    "predictor": {"kind": "cnn", "size": 128, "channels": [16, 24, 40, 64, 96], "dim": 64},
    "transformer": {
        "dim": 64,
        "contract": [{"kernel": 3, "stride": 2, "channels": 16}, {"kernel": 3, "stride": 2, "channels": 32}],
        "residual": {"blocks": 4, "separable": True},
        "expand": [{"kernel": 3, "channels": 16, "separable": False}],
        "head": {"kernel": 5, "upsample": True, "separable": False, "skip": True},
    },
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="a model file; `sassl convert` makes one")
    parser.add_argument("--contents", type=Path, nargs="+", required=True, help="folders of photographs")
    parser.add_argument(
        "--styles", type=Path, nargs="+", required=True, help="folders of styles; each gets an equal share"
    )
    parser.add_argument("--hold-out", type=Path, help="a text file of style names that training must not see")
    parser.add_argument("--out", type=Path, required=True, help="folder of cache, checkpoint and log")
    parser.add_argument("--network", type=Path, help="JSON description of the student; default: lite's")
    parser.add_argument("--start", type=Path, help="a model file to start from, of the same network")
    parser.add_argument("--minutes", type=float, default=90, help="of training, cache and pauses not counted")
    parser.add_argument("--steps", type=int, help="instead of --minutes")
    parser.add_argument("--pool", type=int, nargs=2, default=(5000, 9000), help="how many content and style crops")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--crop", type=int, nargs=2, default=(128, 192), help="pixels, and for the last fifth of the run"
    )
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate at its highest")
    parser.add_argument("--bf16", action="store_true", help="networks in bfloat16: faster where the machine has it")
    parser.add_argument("--weights", type=json.loads, default={}, help=f"JSON, over {json.dumps(WEIGHTS)}")
    parser.add_argument("--strong", type=json.loads, default={}, help=f"the same at alpha 1, over {json.dumps(STRONG)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


class Run:
    """A training run, whose checkpoint has the student, its running mean, the optimizer, the generator and the progress."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device = args, torch.device(args.device)
        torch.manual_seed(args.seed)
        self.network = json.loads(args.network.read_text()) if args.network else LITE
        self.teacher = load(args.teacher)[0].to(self.device, memory_format=torch.channels_last).requires_grad_(False)
        self.student = build(self.network).to(self.device, memory_format=torch.channels_last)
        if args.start:
            start, own = load(args.start)[0].state_dict(), self.student.state_dict()
            # The zoom is not trained here: zoom.py fits it at the end.
            zoom = {name: own.get(name) for name in start if name.startswith("predictor.zoom.")}
            start.update(zoom)
            self.student.load_state_dict({name: value for name, value in start.items() if value is not None})
        self.mean = copy.deepcopy(self.student).requires_grad_(False)
        decay = [p for p in self.student.parameters() if p.ndim > 1]
        others = [p for p in self.student.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": 1e-4}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.98))
        self.generator = torch.Generator().manual_seed(args.seed)
        self.step, self.seconds = 0, 0.0
        self.weights, self.strong = {**WEIGHTS, **args.weights}, {**STRONG, **args.strong}

    @property
    def checkpoint(self) -> Path:
        return self.args.out / "checkpoint.pt"

    def save(self) -> None:
        state = {
            "network": self.network,
            "student": self.student.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        write(self.checkpoint, state)

    def resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if state["network"] != self.network:
            raise SystemExit(f"{self.checkpoint}: of another network; choose another --out, or remove it")
        self.student.load_state_dict(state["student"])
        self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.step, self.seconds = state["step"], state["seconds"]

    def pools(self) -> tuple[Pool, Pool]:
        path = self.args.out / "cache.pt"
        if path.exists():
            return torch.load(path, weights_only=False)
        args, rng = self.args, np.random.default_rng(self.args.seed)
        held_out = set(args.hold_out.read_text().split("\n")) if args.hold_out else set()
        content_paths = [path for folder in args.contents for path in find(folder)]
        sources = [[path for path in find(folder) if path.name not in held_out] for folder in args.styles]
        sources.append(content_paths)
        small, size = self.network["predictor"]["size"], self.teacher.predictor.size

        @torch.no_grad()
        def encode(images: Tensor) -> Tensor:
            images = images.to(self.device).contiguous(memory_format=torch.channels_last)
            return self.teacher.predictor(images).cpu()

        def report(what: str, count: int):
            return lambda done: print(f"{what}: {done} of {count}", end="\r", flush=True)

        n_contents, n_styles = args.pool
        content = Pool(contents(content_paths, n_contents, rng), encode, small, True, report("contents", n_contents))
        style = Pool(styles(sources, n_styles, size, rng), encode, small, False, report("styles", n_styles))
        print()
        write(path, (content, style))
        return content, style

    def progress(self) -> float:
        args = self.args
        return self.step / args.steps if args.steps else self.seconds / (60 * args.minutes)

    def train(self) -> None:
        content, style = self.pools()
        log = (self.args.out / "log.csv").open("a")
        stop = []
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.append(True))
        means: dict[str, float] = {}
        while self.progress() < 1 and not stop:
            began = time.perf_counter()
            terms = self.update(content, style)
            # A pause of the whole process is not training.
            self.seconds += min(time.perf_counter() - began, 5.0)
            self.step += 1
            for name, value in terms.items():
                means[name] = value if self.step == 1 or name not in means else 0.98 * means[name] + 0.02 * value
            if self.step % 50 == 0:
                row = {"step": self.step, "minutes": self.seconds / 60, **means}
                log.write(",".join(f"{k}={v:.4g}" for k, v in row.items()) + "\n")
                log.flush()
            if self.step % 200 == 0:
                self.save()
        self.save()
        print(f"{self.step} steps, {self.seconds / 60:.1f} minutes: {self.checkpoint}")

    def update(self, content: Pool, style: Pool) -> dict[str, float]:
        args, progress = self.args, self.progress()
        rate = args.rate * min(1.0, (self.step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = max(rate, 1e-6)
        size = args.crop[0] if progress < 0.8 else args.crop[1]
        batch = max(1, round(args.batch * (args.crop[0] / size) ** 2))
        c, c_small, z_c = self.draw(content, batch)
        _, s_small, z_s = self.draw(style, batch)
        rows, columns = self.window(size, c.shape[-1])
        c = c[..., rows, columns].contiguous(memory_format=torch.channels_last)
        alpha = self.alphas(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=args.bf16):
            with torch.no_grad():
                target = self.teacher.transformer(c, z_c + alpha * (z_s - z_c)).float()
            f = self.student.predictor
            z_content, z_style = f(torch.cat([c_small, s_small])).chunk(2)
            image = self.student.transformer(c, z_content + alpha * (z_style - z_content)).float()
            strength = alpha[:, 0].square()
            terms = distance(image, target, c, strength, self.teacher.predictor, self.teacher.transformer)
        weights = {name: weak + strength * (self.strong[name] - weak) for name, weak in self.weights.items()}
        loss = sum((weights[name] * term).mean() for name, term in terms.items())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        keep = min(0.999, (self.step + 1) / (self.step + 10))
        for mean, now in zip(self.mean.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(now.detach(), 1 - keep)
        terms["psnr"] = -10 * ((image - target).square().mean((1, 2, 3)) + 1e-10).log10()
        return {name: float(term.detach().mean()) for name, term in terms.items()}

    def draw(self, pool: Pool, n: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.randint(len(pool), (n,), generator=self.generator)
        images = pool.images if pool.images is not None else pool.small
        moved = (x[rows].to(self.device) for x in (images, pool.small, pool.z))
        image, small, z = moved
        return image.float() / 255, small.float() / 255, z

    def window(self, size: int, full: int) -> tuple[slice, slice]:
        y, x = torch.randint(full - size + 1, (2,), generator=self.generator).tolist()
        return slice(y, y + size), slice(x, x + size)

    def alphas(self, n: int) -> Tensor:
        """Draw alphas: half from U(0.1, 0.3), the paper's range; half from [0, 1] with density 2 alpha."""
        u = torch.rand(n, 1, generator=self.generator)
        wide = torch.rand(n, 1, generator=self.generator) < 0.5
        return torch.where(wide, u.sqrt(), 0.1 + 0.2 * u).to(self.device)


def write(path: Path, value: object) -> None:
    """Write a file atomically."""
    part = path.with_suffix(".part")
    torch.save(value, part)
    os.replace(part, path)


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    f, t = multiply_adds(run.network, 224)
    count = sum(p.numel() for p in run.student.parameters())
    print(f"{count:,} parameters; multiply-adds at 224x224: F {f / 1e6:.1f} M, T {t / 1e6:.1f} M; on {args.device}")
    if run.checkpoint.exists():
        run.resume()
        print(f"resumed at step {run.step}, {run.seconds / 60:.1f} minutes")
    run.train()


if __name__ == "__main__":
    main()

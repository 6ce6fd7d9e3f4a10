"""The README's examples run, and its command lines are understood."""

from __future__ import annotations

import contextlib
import math
import random
import re
import shlex

import numpy as np
import pytest
from conftest import ROOT, need
from PIL import Image
from sassl import cli

TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


def test_it_is_one_screen():
    lines = TEXT.splitlines()
    assert len(lines) <= 130
    assert max(map(len, lines)) <= 160
    assert len(TEXT.split()) <= 1200


def test_the_example_of_pretraining_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = PYTHON
    namespace: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["features"].shape == (1, 512)
    # Better than views that cannot be told apart, by the loss ln(2 B - 1) and by the chance 1 / (2 B - 1).
    history, others = namespace["model"].history, 2 * 20 - 1
    loss, accuracy = (np.mean([row[name] for row in history[-10:]]) for name in ("loss", "contrastive_accuracy"))
    assert loss < math.log(others) < history[0]["loss"] - 1
    assert accuracy > 4 / others
    assert (tmp_path / "resnet18.safetensors").exists()


def test_the_changed_pipeline_styles_its_left_view(photo):
    need("torchvision")
    import torch
    from torchvision.transforms import v2

    (diff,) = re.findall(r"```diff\n(.*?)```", TEXT, re.DOTALL)
    code = "\n".join(line[1:] for line in diff.splitlines() if line[0] != "-")
    assert sum(line[0] == "+" for line in diff.splitlines()) == 3
    names = {"v2": v2, "torch": torch, "image": Image.fromarray(photo)}
    exec(compile(code, "README.md", "exec"), names)
    assert [tuple(view.shape) for view in names["views"]] == [(3, 224, 224)] * 2
    kinds = [type(step).__name__ for step in names["left"].transforms]
    assert kinds.index("SASSL") == kinds.index("RandomResizedCrop") + 1
    assert "SASSL" not in [type(step).__name__ for step in names["pipeline"].transforms]


TABLE = TEXT.split("| framework |")[1].split("\n## ")[0]
FRAMEWORKS = re.findall(r"^\| ([^|]+) \| `([^`]+)` \|$", TABLE, re.MULTILINE)

#: Type, dtype and shape of what each line makes of a photograph of 64 x 80; of the left view, where there are two.
VIEWS = {
    "MoCo, SimCLR, solo-learn, SwAV, DINO": ("Image", "None", (224, 224, 3)),
    "torchvision v1, v2": ("Image", "None", (224, 224, 3)),
    "lightly, our views": ("Tensor", "torch.float32", (3, 224, 224)),
    "lightly, its views": ("Image", "torch.float32", (3, 224, 224)),
    "timm": ("Tensor", "torch.float32", (3, 224, 224)),
    "albumentations": ("ndarray", "uint8", (64, 80, 3)),
    "kornia": ("Tensor", "torch.float32", (1, 3, 64, 80)),
    "tf.data": ("EagerTensor", "<dtype: 'uint8'>", (2, 64, 80, 3)),
    "Keras": ("EagerTensor", "<dtype: 'float32'>", (2, 64, 80, 3)),
    "Hugging Face": ("Image", "None", (64, 80, 3)),
}


class TwoCropsTransform:
    """As MoCo's `moco/loader.py` has it: two views by one pipeline."""

    def __init__(self, base_transform):
        self.base_transform = base_transform

    def __call__(self, x):
        return [self.base_transform(x), self.base_transform(x)]


def seed_all(framework):
    """Seeds what the framework draws from."""
    random.seed(0)
    np.random.seed(0)
    if framework in ("tf.data", "Keras"):
        import keras

        keras.utils.set_random_seed(0)
    else:
        import torch

        torch.manual_seed(0)


def names_of(framework, photo, folder):
    """What the line of a framework uses, or no test where the framework is missing."""
    import sassl
    from sassl.transforms import SASSL, MoCoV2Transform, with_style

    image = Image.fromarray(photo)
    names = {"SASSL": SASSL, "MoCoV2Transform": MoCoV2Transform, "with_style": with_style, "sassl": sassl}
    names |= {
        "photo": photo,
        "image": image,
        "folder": str(folder),
        "arrays": np.stack([photo, photo]).astype("float32"),
    }
    match framework.split()[0].strip(","):
        case "torchvision":
            need("torchvision")
            from torchvision.transforms import v2

            names["v2"] = v2
        case "lightly":
            need("lightly")
            import lightly.transforms
            from lightly.data import LightlyDataset

            names |= {"lightly": lightly, "LightlyDataset": LightlyDataset}
        case "MoCo":
            need("torchvision")
            from torchvision.transforms import v2

            names |= {"TwoCropsTransform": TwoCropsTransform, "augmentation": v2.Compose([v2.RandomResizedCrop(224)])}
        case "timm":
            need("timm")
            import timm.data

            names["timm"] = timm
        case "albumentations":
            need("albumentations")
            import albumentations as A

            names["A"] = A
        case "kornia":
            need("kornia")
            import torch

            names["tensors"] = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
        case "tf.data" | "Keras":
            need("tensorflow")
            with contextlib.suppress(ImportError):
                import torchvision  # noqa: F401  # before TensorFlow: see test_transforms_tf.py
            import keras
            import tensorflow as tf

            names |= {"keras": keras, "dataset": tf.data.Dataset.from_tensor_slices(np.stack([photo, photo]))}
        case "Hugging":
            need("datasets")
            import datasets

            names["hf"] = datasets.Dataset.from_dict({"image": [image]}).cast_column("image", datasets.Image())
    return names


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("framework", "line"), FRAMEWORKS)
def test_each_line_of_the_table_of_frameworks_runs(framework, line, photo, tmp_path):
    (tmp_path / "class").mkdir()
    Image.fromarray(photo).save(tmp_path / "class" / "a.png")
    names = names_of(framework, photo, tmp_path)

    def view(p=None):
        """What the line makes; with this probability of style in the place of the default."""
        seed_all(framework)
        styled = line if p is None else re.sub(r"SASSL\(\)", f"SASSL(p={p})", line)
        made = eval(styled, names)
        match framework.split()[0].strip(","):
            case "tf.data":
                return next(iter(made))
            case "Hugging":
                return names["hf"][0]["image"]
            case "albumentations":
                return made["image"]
            case "MoCo":
                return made[0]
            case "lightly":
                # Ours are (views, class, name).
                return made[0][0] if isinstance(made, tuple) else made[0]
        return made

    as_written = view()
    got = (type(as_written).__name__, str(getattr(as_written, "dtype", None)), tuple(np.shape(as_written)))
    assert got == VIEWS[framework]
    assert not hasattr(as_written, "device") or "cpu" in str(as_written.device).lower()
    plain, again, styled = (np.asarray(view(p), np.float32) for p in (0.0, 0.0, 1.0))
    assert np.array_equal(plain, again)
    assert np.isfinite(styled).all()
    assert (plain != styled).mean() > 0.3


def test_the_table_names_every_framework():
    assert len(FRAMEWORKS) == 10


@pytest.mark.parametrize("line", SHELL)
def test_command_lines_are_understood(line):
    program, *arguments = shlex.split(line, comments=True)
    assert program == "sassl"
    cli.parser(arguments[0]).parse_args(arguments)


def test_command_lines_run(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "paintings"):
        (tmp_path / folder).mkdir()
        Image.fromarray(photo).save(tmp_path / folder / "a.png")
    for line in SHELL:
        arguments = shlex.split(line, comments=True)[1:]
        # Converting needs files of others; pretraining takes long, and its commands are run by their own tests.
        if arguments[0] not in ("convert", "pretrain", "compare", "eval", "embed", "export"):
            assert cli.main(arguments) == 0
    assert (tmp_path / "views" / "a.png").exists()


def test_its_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    assert len(links) >= 10
    for link in links:
        assert (ROOT / link.split("#")[0]).exists(), link


def test_its_picture_is_small():
    (picture,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert (ROOT / picture).stat().st_size <= 150_000

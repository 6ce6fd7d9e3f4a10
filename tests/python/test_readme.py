"""The README's examples run, and its command lines are understood."""

from __future__ import annotations

import contextlib
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


def test_examples_run(tmp_path, monkeypatch):
    need("torchvision")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    assert len(PYTHON) == 5
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["views"].shape == (2, 224, 224, 3)
    assert sum(len(batch) for batch in namespace["batches"]) == 4
    assert namespace["query"].shape == namespace["key"].shape == (4, 3, 224, 224)
    assert namespace["state"]["batch"] == 2
    assert namespace["view"].shape == (224, 224, 3)
    assert namespace["features"].shape == (1, 512)
    assert (tmp_path / "resnet18.safetensors").exists()


def test_the_first_example_needs_no_torch():
    exec(compile(PYTHON[0], "README.md", "exec"), {})


TABLE = TEXT.split("## Frameworks")[1].split("\n## ")[0]
FRAMEWORKS = re.findall(r"^\| ([^|]+) \| `([^`]+)` \|", TABLE, re.MULTILINE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("framework", "line"), FRAMEWORKS)
def test_each_line_of_the_table_of_frameworks_runs(framework, line, photo, tmp_path):
    import sassl
    from sassl.transforms import SASSL, MoCoV2Transform, with_style

    picture = Image.fromarray(photo)
    (tmp_path / "class").mkdir()
    picture.save(tmp_path / "class" / "a.png")
    names = {"SASSL": SASSL, "MoCoV2Transform": MoCoV2Transform, "with_style": with_style, "sassl": sassl}
    names |= {
        "photo": photo,
        "picture": picture,
        "folder": str(tmp_path),
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

            names["hf"] = datasets.Dataset.from_dict({"image": [picture]}).cast_column("image", datasets.Image())
    made = eval(line, names)
    if framework == "tf.data":
        made = next(iter(made))
    if framework == "Hugging Face":
        made = names["hf"][0]["image"]
    assert made is not None


def test_the_table_names_every_framework():
    assert len(FRAMEWORKS) == 9


@pytest.mark.parametrize("line", SHELL)
def test_command_lines_are_understood(line):
    program, *arguments = shlex.split(line)
    assert program == "sassl"
    cli.parser().parse_args(arguments)


def test_command_lines_run(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "paintings"):
        (tmp_path / folder).mkdir()
        Image.fromarray(photo).save(tmp_path / folder / "a.png")
    for line in SHELL:
        arguments = shlex.split(line)[1:]
        # Converting needs files of others; pretraining takes long, and its commands are run by their own tests.
        if arguments[0] not in ("convert", "pretrain", "eval", "export"):
            assert cli.main(arguments) == 0
    assert (tmp_path / "views" / "a.png").exists()


def test_every_path_it_names_exists():
    for path in re.findall(r"`((?:src|python|tests|examples|\.ci)/[\w/.]*)`", TEXT):
        assert (ROOT / path).exists(), path

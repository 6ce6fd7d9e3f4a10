"""The pages of `docs/`: their commands are understood, their examples run, and what they name is there."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex

import numpy as np
import pytest
from conftest import ROOT, need
from PIL import Image
from sassl import cli
from test_loggers import data, model
from test_readme import TwoCropsTransform

PAGES = {path.stem: path.read_text() for path in (ROOT / "docs").glob("*.md")}
SHELL = [
    line[line.index("sassl ") :]
    for text in PAGES.values()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines()
    if "sassl " in line and not line.startswith("#")
]


@pytest.mark.parametrize("line", SHELL)
def test_command_lines_are_understood(line):
    _, *words = shlex.split(line.partition(" > ")[0], comments=True)
    cli.parser(words[0]).parse_args(words)


def test_the_logger_of_others_runs(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGES["pretraining"], re.DOTALL)
    names: dict[str, type] = {}
    # The class; the call beside it is of another model.
    tree = ast.parse(block)
    exec(compile(ast.Module(tree.body[:1], []), "docs", "exec"), names)
    model().fit(data(10), 1, loggers=[names["Print"]()], quiet=True)
    step, epoch = capsys.readouterr().out.splitlines()
    assert step.startswith("10 0.")
    assert epoch.startswith("1 {'epoch': 1, ")


def python(name):
    """The examples of a page."""
    return re.findall(r"```python\n(.*?)```", PAGES[name], re.DOTALL)


def test_getting_started_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python("getting-started"):
        exec(compile(block, "getting-started.md", "exec"), names)
    assert names["views"].shape == (2, 224, 224, 3)
    assert names["view"].shape == (427, 640, 3)
    assert names["query"].shape == names["key"].shape == (4, 3, 224, 224)
    assert names["state"]["batch"] == 2
    assert names["features"].shape == (1, 512)
    assert (tmp_path / "resnet18.safetensors").exists()


def test_the_block_needs_no_torch():
    exec(compile(python("getting-started")[0], "getting-started.md", "exec"), {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("section", re.findall(r"^## (.+)$", PAGES["pipelines"], re.MULTILINE))
def test_each_section_of_pipelines_runs(section, photo, tmp_path):
    text = PAGES["pipelines"].split(f"## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks or section == "On a GPU"
    names = {"photo": np.tile(photo, (6, 6, 1)), "folder": str(tmp_path)}
    (tmp_path / "class").mkdir()
    Image.fromarray(photo).save(tmp_path / "class" / "a.png")
    modules = {
        "tf.data and Keras": "tensorflow",
        "Hugging Face datasets": "datasets",
        "Lightning": "pytorch_lightning",
        "MoCo, SimCLR, solo-learn, SwAV, DINO": "torchvision",
        "Recipes, lists of operations, multi-crop": "torch",
        "On a GPU": "torch",
    }
    need(modules.get(section, section))
    if section.startswith("tf.data"):
        with contextlib.suppress(ImportError):
            import torchvision  # noqa: F401  # before TensorFlow: see test_transforms_tf.py
        import tensorflow

        names["dataset"] = tensorflow.data.Dataset.from_tensor_slices(np.stack([photo, photo]))
    elif section.startswith("Hugging"):
        import datasets

        names["hf"] = datasets.Dataset.from_dict({"image": [Image.fromarray(photo)]}).cast_column(
            "image", datasets.Image()
        )
    elif section.startswith("MoCo"):
        from torchvision.transforms import v2

        names |= {"TwoCropsTransform": TwoCropsTransform, "augmentation": v2.Compose([v2.RandomResizedCrop(224)])}
    for block in blocks:
        exec(compile(block, "pipelines.md", "exec"), names)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        assert link.startswith("http") or (ROOT / "docs" / link.split("#")[0]).exists(), link


@pytest.mark.parametrize("name", PAGES)
def test_every_path_it_names_exists(name):
    for path in re.findall(r"`((?:src|python|tests|examples|\.ci)/[\w/.]*)`", PAGES[name]):
        assert (ROOT / path).exists(), path


def test_trouble_is_told_in_these_words():
    source = "".join(path.read_text() for path in (ROOT / "python" / "sassl").rglob("*.py"))
    table = PAGES["machines"].split("## Trouble")[1]
    for words in (
        "requires NCCL, which this torch does not have",
        "give each its own",
        "must be a multiple of the number of ranks",
        "is at this run",
    ):
        assert words in table
        assert words in source, words

"""The README's examples run, and its command lines are understood."""

from __future__ import annotations

import re
import shlex

import pytest
from conftest import ROOT, need
from PIL import Image
from sassl import cli

TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


def test_examples_run():
    need("torchvision")
    namespace: dict[str, object] = {}
    assert len(PYTHON) == 3
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["views"].shape == (2, 224, 224, 3)
    assert sum(len(batch) for batch in namespace["loader"]) == 4
    assert namespace["view"].shape == (224, 224, 3)


def test_the_first_example_needs_no_torch():
    exec(compile(PYTHON[0], "README.md", "exec"), {})


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
        if arguments[0] != "convert":
            assert cli.main(arguments) == 0
    assert (tmp_path / "views" / "a.png").exists()


def test_every_path_it_names_exists():
    for path in re.findall(r"`((?:src|python|tests|examples|\.ci)/[\w/.]*)`", TEXT):
        assert (ROOT / path).exists(), path

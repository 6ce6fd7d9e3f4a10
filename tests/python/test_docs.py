"""The pages of `docs/` on pretraining: their commands are understood, their example runs, and what they name is there."""

from __future__ import annotations

import ast
import re
import shlex

import pytest
from conftest import ROOT
from sassl import cli
from test_loggers import data, model

PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("pretraining", "machines", "transfer")}
SHELL = [
    line[line.index("sassl ") :]
    for text in PAGES.values()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", SHELL)
def test_command_lines_are_understood(line):
    _, *words = shlex.split(line)
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


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    links = re.findall(r"\]\(([^)]+)\)", PAGES[name])
    assert links
    for link in links:
        assert (ROOT / "docs" / link).exists(), link


def test_trouble_is_told_in_these_words():
    source = "".join(path.read_text() for path in (ROOT / "python" / "sassl").rglob("*.py"))
    table = PAGES["machines"].split("## Trouble")[1]
    for words in (
        "this torch has no NCCL, by which GPUs send",
        "give each its own",
        "ranks divide it",
        "is at this run",
    ):
        assert words in table
        assert words in source, words

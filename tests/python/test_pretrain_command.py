"""The command line of pretraining: its help, its presets, and its settings from files and options."""

from __future__ import annotations

import argparse

import pytest
from sassl.cli import main, parser
from sassl.pretraining import PRESETS


def test_no_command_at_all_shows_the_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert "pretrain " in told
    assert "Pretrain a backbone by" in told


def test_the_help_fits_two_screens_and_has_groups(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 80
    titles = [
        "data and output:",
        "method and settings:",
        "style:",
        "engine:",
        "monitoring:",
        "checkpoints and resuming:",
    ]
    assert [line for line in lines if line in titles] == titles


def test_every_option_of_pretrain_has_a_help():
    commands = next(one for one in parser("pretrain")._actions if isinstance(one, argparse._SubParsersAction))
    for action in commands.choices["pretrain"]._actions:
        assert (action.help or "").strip(), action.option_strings


def test_presets_are_listed_with_what_they_are(capsys):
    assert main(["pretrain", "--list-presets"]) == 0
    head, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert head.split("  ")[0].strip() == "preset"
    assert [row.split()[0] for row in rows] == list(PRESETS)
    row = next(row for row in rows if row.startswith("simclr-cifar10 "))
    assert row.split() == ["simclr-cifar10", "resnet18", "32", "200", "512", "sgd", "0.12", "linear"]

"""How far long work has come: what is shown, where, and that nothing is shown where nobody asked."""

from __future__ import annotations

import re
import sys
import time

import numpy as np
import pytest
from conftest import need
from sassl import progress, terminal
from sassl.data import Arrays
from sassl.evaluation import GRID, Features, Preprocessing, extract, few_shot, knn, linear_probe, logistic_probe
from sassl.progress import Pauses, clock, shown


def features(n=40):
    rng = np.random.default_rng(0)
    targets = np.arange(n) % 2
    return Features((rng.normal(size=(n, 4)) + targets[:, None]).astype(np.float32), targets)


def test_pauses_grow_up_to_a_minute(monkeypatch):
    monkeypatch.undo()
    pauses = Pauses()
    assert not pauses.are_over()
    assert [pauses.seconds, *(pauses.next() for _ in range(6))] == [2, 4, 8, 16, 32, 60, 60]
    assert [clock(seconds) for seconds in (0, 59.6, 3599, 36_000)] == ["0:00:00", "0:01:00", "0:59:59", "10:00:00"]


def test_lines_in_a_log_go_to_stderr_and_come_while_a_step_is_taken(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_FIRST", 0.01)
    with shown(True, "work", 50, "images") as told:
        time.sleep(0.1)
        told(10)
        # A step that takes long: lines come all the same.
        time.sleep(0.4)
    with shown(True, "other work"):
        time.sleep(0.1)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0] == "work: 0 of 50 images, since 0:00:00"
    assert any(re.fullmatch(r"work: 10 of 50 images, [\d.]+ images/s, 0:00:0\d left", line) for line in lines)
    assert lines[-1] == "other work: since 0:00:00"


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    need("tqdm")
    monkeypatch.setattr(progress, "_BAR", 0.01)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with shown(True, "work", 50, "images") as told:
        told(10)
        time.sleep(0.3)
    assert re.search(r"work: +20%.* 10/50 ", capsys.readouterr().err)


def test_short_work_and_work_that_nobody_watches_show_nothing(capfd, monkeypatch):
    with shown(True, "work", 50, "images") as told:
        told(50)
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    with shown(False, "work", 50, "images") as told:
        told(1)
        time.sleep(0.05)
    with terminal.silence(), shown(True, "work", 50, "images"):
        terminal.say("a result")
        time.sleep(0.05)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("work", "what", "total", "steps"),
    [
        (
            lambda tell: logistic_probe(features(), features(), progress=tell),
            "logistic regression",
            46,
            [*range(1, 47)],
        ),
        (lambda tell: logistic_probe(features(), features(), c=1, progress=tell), "logistic regression", 1, [1]),
        (lambda tell: knn(features(), features(5000), progress=tell), "kNN", 5000, [4096, 5000]),
        (lambda tell: few_shot(features(), features(), shots=(3,), progress=tell), "3 shots", 5, [1, 2, 3, 4, 5]),
        (lambda tell: linear_probe(features(), features(), epochs=1, progress=tell), None, None, []),
        (
            lambda tell: extract(
                lambda images: images.mean((2, 3)),
                Arrays(np.zeros((7, 8, 8, 3), np.uint8)),
                preprocessing=Preprocessing(8, normalize=None),
                batch_size=3,
                progress=tell,
            ),
            "features of Arrays(7 images)",
            7,
            [3, 6, 7, 7],
        ),
    ],
)
def test_work_tells_a_function_how_much_is_done(work, what, total, steps, capfd):
    assert len(GRID) == 45
    told = []
    work(lambda *values: told.append(values))
    assert told == [(what, done, total) for done in steps]
    assert capfd.readouterr() == ("", "")


def test_neighbours_are_the_same_in_parts(monkeypatch):
    from sassl.evaluation import probes

    whole = knn(features(), features(100), k=7)
    monkeypatch.setattr(probes, "_QUERIES", 9)
    assert knn(features(), features(100), k=7) == whole

"""Images and sliders of `sassl.notebook`, and the tour: generated from its script, executed, and driven in a browser."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from conftest import ROOT, need
from PIL import Image
from sassl import StyleBank, Stylizer, grids, notebook
from sassl.transforms import MoCoV2Transform
from sassl.transforms.plain import SASSL

TOUR = ROOT / "examples" / "tour.py"


def test_show_places_every_image(photo):
    red, green = (np.full((40, 40, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0)))
    sheet = np.asarray(notebook.show([red, green, photo], columns=2, height=40))
    assert sheet.shape[2] == 3
    assert (sheet[20, 20] == (255, 0, 0)).all()
    assert (sheet[20, 70] == (0, 255, 0)).all()
    assert sheet.shape[0] == 2 * 48 + 8
    with_captions = notebook.show([red, photo], ["a", "b"], height=40)
    assert with_captions.height == 40 + 18 + 16
    with pytest.raises(ValueError, match="at least one"):
        notebook.show([])
    with pytest.raises(ValueError, match="captions must have length 2, one for each image, got 1"):
        notebook.show([red, red], ["a"])
    for options, message in (
        ({"columns": 0}, "columns must be .*, got 0"),
        ({"columns": -1}, "columns must be .*, got -1"),
        ({"height": 0}, "height must be .*, got 0"),
        ({"captions": "a"}, "captions must be .*, got 'a'"),
        ({"captions": [3]}, "captions must be a list of one text for each image, got "),
        ({"original": photo}, "image must have the shape of original"),
    ):
        with pytest.raises(ValueError, match=message):
            notebook.show([red], **options)
    with pytest.raises(ValueError, match=r"style must be an integer in \[0, .*, got 99999"):
        notebook.compare(photo, 99_999)
    with pytest.raises(ValueError, match=r"style must have shape \(.*, got"):
        notebook.compare(photo, np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="transform must be a recipe"):
        notebook.two_views(SASSL(), photo)
    with pytest.raises(TypeError, match="transform must be a SASSL"):
        notebook.draws(MoCoV2Transform(64), photo)
    with pytest.raises(ValueError, match=r"n must be .*, got 0"):
        notebook.two_views(MoCoV2Transform(64), photo, n=0)


@pytest.fixture
def rows(monkeypatch):
    """The rows of the last grid."""
    seen = []
    real = notebook.grid

    def grid(given, **options):
        seen[:] = given
        return real(seen, **options)

    monkeypatch.setattr(notebook, "grid", grid)
    return seen


def test_show_amplifies_what_differs_from_an_original(rows):
    original = np.full((40, 40, 3), 100, np.uint8)
    other = original + np.uint8((3, 0, 1))
    notebook.show([other, original, other], list("abc"), columns=2, original=original, gain=10)
    shown, changed, below, changed_below = rows
    assert (shown.captions, below.captions) == (["a", "b"], ["c"])
    assert changed.title.startswith("difference x 10")
    assert np.array_equal(shown.images, [other, original])
    assert [np.unique(image.reshape(-1, 3), axis=0).tolist() for image in changed.images] == [
        [[158, 128, 138]],
        [[128, 128, 128]],
    ]
    assert np.array_equal(changed_below.images[0], changed.images[0])


def test_compare_shows_each_step(photo, rows):
    style = photo[::-1].copy()
    notebook.compare(photo, style, beta=0.0)
    (content, shown, full), (blended, view, changed) = (row.images for row in rows)
    assert np.array_equal(content, photo)
    assert np.array_equal(shown, style)
    assert np.array_equal(view, photo)
    assert (changed == 128).all()
    model = Stylizer()
    z = model.encode(style[None])[0]
    assert np.abs(model.transfer(photo[None], z)[0] * 255 - full).max() <= 0.51
    assert not np.array_equal(full, blended)
    notebook.compare(photo, 3, beta=0.5, gain=2)
    (content, _), (_, view, changed) = (row.images for row in rows)
    assert np.array_equal(changed, np.clip(128 + 2 * (view.astype(int) - content), 0, 255))
    assert rows[0].captions[1].endswith("style 3")
    assert rows[1].captions[2].startswith("difference x 2")


def test_draws_show_views_differences_and_full_strength(photo, rows):
    def transform():
        return SASSL(0.5, generator=np.random.default_rng(0))

    notebook.draws(transform(), photo, n=6, height=64)
    again = transform()
    views = again(np.repeat(photo[None], 6, 0))
    applied = again.params.apply
    assert 0 < applied.sum() < 6
    shown, changed, full = rows
    assert np.array_equal(shown.images, views)
    assert [caption == "not applied" for caption in shown.captions] == (~applied).tolist()
    for i, view in enumerate(views):
        assert np.array_equal(changed.images[i], np.clip(128 + 8 * (view.astype(int) - photo), 0, 255))
        z = again.styles.vectors[again.params.style[i]]
        strong = again.stylizer.stylize(photo[None], z, 1.0, 1.0)[0] if applied[i] else photo
        assert np.array_equal(full.images[i], strong)


def test_two_views_show_what_the_transform_makes(photo, rows):
    def recipe(p=0.8, **options):
        return MoCoV2Transform(64, style=SASSL(p), output="numpy", generator=np.random.default_rng(0), **options)

    sheet = np.asarray(notebook.two_views(recipe(), photo, n=2, height=64))
    left, right = (view.transpose(1, 2, 0) for view in recipe(dtype="uint8", normalize=None)(photo))
    title = 27
    assert np.array_equal(sheet[8 + title : 8 + title + 64, 8:72], left)
    assert np.array_equal(sheet[-72:-8, 8:72], right)
    assert [row.title.split()[0] for row in rows] == ["left", "difference", "full", "right"]
    # What style changes is the difference from the same view without it; colours and crop are the same.
    plain = recipe(p=0.0, dtype="uint8", normalize=None)(photo)[0].transpose(1, 2, 0)
    assert np.array_equal(rows[1].images[0], np.clip(128 + 8 * (left.astype(int) - plain), 0, 255))
    strong = MoCoV2Transform(
        64,
        style=SASSL(0.8, (1, 1), (1, 1)),
        output="numpy",
        dtype="uint8",
        normalize=None,
        generator=np.random.default_rng(0),
    )
    assert np.array_equal(rows[2].images[0], strong(photo)[0].transpose(1, 2, 0))
    notebook.two_views(recipe(p=0.0), photo, n=2, height=64)
    assert rows[0].captions == ["not applied"] * 2
    assert (np.stack(rows[1].images) == 128).all()
    notebook.two_views(MoCoV2Transform(64), photo, n=1, height=64)
    assert [row.title for row in rows] == ["left views, without style", "right views, without style"]
    for options in ({"dtype": "float16"}, {"normalize": None}, {"channels_last": True}):
        one = recipe(**options)
        assert np.abs(one.to_image(one(photo)[1]).astype(int) - right).max() <= 1, options


def test_sliders_change_the_image(photo):
    need("ipywidgets")
    box = notebook.explore(photo, height=64)
    (alpha, beta), (style, seed), image = box.children[0].children, box.children[1].children, box.children[2]

    def look():
        return np.asarray(Image.open(io.BytesIO(image.value)).convert("RGB"))

    def cells():
        return [look()[8:72, x : x + 80] for x in range(8, 4 * 88, 88)]

    def is_near(image, expected):
        """As near as JPEG leaves it."""
        return np.abs(image.astype(int) - expected).mean() < 8

    content, view, changed, full = cells()
    at, strong = (SASSL().stylizer.stylize(photo[None], StyleBank.default().vectors[0], s, s)[0] for s in (0.2, 1.0))
    assert is_near(content, photo)
    assert is_near(view, at)
    assert is_near(changed, grids.difference(at, photo))
    assert is_near(full, strong)
    assert not is_near(full, photo)
    beta.value = 0.0
    assert np.abs(cells()[2].astype(int) - 128).max() <= 2
    alpha.value, beta.value = 1.0, 1.0
    assert is_near(cells()[1], strong)
    beta.value, style.value = 0.9, 17
    assert not is_near(cells()[1], at)
    assert not is_near(cells()[3], strong)
    before = (alpha.value, beta.value, style.value)
    seed.value = 5
    params = SASSL(1.0)._block.sample(5, 1)
    assert before != (alpha.value, beta.value, style.value)
    assert np.isclose(alpha.value, params.alpha[0])
    assert style.value == params.style[0]
    moves = []
    for i in range(10):
        style.value = 100 + i
        moves.append(bytes(image.value))
    assert len(set(moves)) == 10, "each move of the slider shows another view"
    with pytest.raises(ValueError, match="a bank of styles"):
        notebook.explore(photo, "batch")


@pytest.fixture(scope="module")
def executed():
    """The tour, made from its script and run."""
    for module in ("jupytext", "nbclient", "ipykernel", "ipywidgets"):
        need(module)
    import jupytext
    from nbclient import NotebookClient

    made = jupytext.read(TOUR)
    NotebookClient(made, timeout=120, resources={"metadata": {"path": str(ROOT / "examples")}}).execute()
    return made


@pytest.mark.filterwarnings("ignore")
def test_the_tour_runs_and_is_the_one_in_examples(executed):
    images = [o for cell in executed.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(images) == 6
    widgets = [
        o for cell in executed.cells for o in cell.get("outputs", []) if "widget-view+json" in str(o.get("data"))
    ]
    assert len(widgets) == 1
    kept = json.loads(TOUR.with_suffix(".ipynb").read_text())
    sources = ["".join(cell["source"]) for cell in kept["cells"]]
    assert sources == [cell.source for cell in executed.cells], "run .ci/tour"
    assert sum("image/jpeg" in o.get("data", {}) for cell in kept["cells"] for o in cell.get("outputs", [])) == 6


def test_a_slider_in_a_real_browser(tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("DID NOT RUN: no chromium here (Debian: apt install chromium)")
    for module in ("playwright", "voila", "jupytext"):
        need(module)
    import jupytext
    from playwright.sync_api import sync_playwright

    source = jupytext.read(TOUR)
    source.cells = [cell for cell in source.cells if "photographs()" in cell.source or "explore" in cell.source]
    jupytext.write(source, tmp_path / "sliders.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voila", "sliders.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    log = open(tmp_path / "voila.log", "w")  # noqa: SIM115
    server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env={**os.environ, "HOME": str(tmp_path)})
    try:
        _wait_for(f"http://127.0.0.1:{port}/static/", server)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1000, "height": 1400})
            page.goto(f"http://127.0.0.1:{port}/", timeout=60_000)
            image = page.locator("img.widget-image")
            image.wait_for(timeout=60_000)
            first = image.get_attribute("src")
            handle = page.get_by_role("slider").nth(1)
            handle.focus()
            for _ in range(40):
                handle.press("ArrowRight")
            page.wait_for_function(
                "src => document.querySelector('img.widget-image').src != src", arg=first, timeout=30_000
            )
            readout = page.locator(".widget-readout").nth(1).inner_text()
            page.wait_for_timeout(1000)
            image.screenshot(path=tmp_path / "moved.png")
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=20)
        log.close()
    assert re.fullmatch(r"0\.6\d?", readout), readout
    moved = np.asarray(Image.open(tmp_path / "moved.png").convert("RGB")).astype(int)
    quarter = moved.shape[1] // 4
    content, view = (moved[40:-60, x + 20 : x + quarter - 20] for x in (0, quarter))
    assert np.abs(content.mean() - view.mean()) > 0.1


def _wait_for(address, server):
    for _ in range(300):
        assert server.poll() is None, "voila ended"
        try:
            urllib.request.urlopen(address, timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("voila does not answer")

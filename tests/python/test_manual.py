"""The manual: it builds without a warning, and its API pages have every public name."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, need

#: The public modules, and names that are modules with a page or a section of their own.
MODULES = (
    "sassl",
    "sassl.transforms",
    "sassl.data",
    "sassl.pretraining",
    "sassl.evaluation",
    "sassl.evaluation.datasets",
    "sassl.evaluation.robustness",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The manual as HTML."""
    need("mkdocs")
    need("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


@pytest.mark.parametrize("module", MODULES)
def test_api_pages_have_every_public_name(site, module):
    pages = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    public = importlib.import_module(module).__all__
    sections = {name for name in public if f'id="{module}.{name}' in pages}
    assert set(public) - sections <= {"__version__"}


def test_every_page_is_in_the_navigation(site):
    home = (site / "index.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f'href="{page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()}"' in home, page


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert 'src="http' not in text, page
        assert not re.search('<link[^>]*rel="(stylesheet|preload|preconnect|icon)"[^>]*href="http', text), page
        assert "fonts.googleapis" not in text, page

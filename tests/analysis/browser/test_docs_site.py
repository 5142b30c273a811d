"""The documentation site: a strict build, then its pages from disk on a screen and a phone, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page

import analysis
import designspace

ROOT = Path(__file__).parents[3]
GENERATED = {"index.html", "gallery.html", "tutorial.html", "changelog.html", "reference/analysis.html"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does. Broken links and failing commands of the gallery are errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("width", [1400, 390])
def test_pages_fit_the_window_and_have_all_images(page: Page, site: Path, width: int) -> None:
    """The fixture `page` checks errors of scripts and requests to other hosts."""
    files = [file for file in site.rglob("*.html") if file.name not in ("404.html", "report.html")]
    assert {str(file.relative_to(site)) for file in files} >= GENERATED
    page.set_viewport_size({"width": width, "height": 900})
    wrong = {}
    for file in files:
        page.goto(file.as_uri())
        broken = page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)")
        content = page.evaluate("document.documentElement.scrollWidth")
        if broken or content > width:
            wrong[file.name] = (broken, content)
    assert wrong == {}


def test_search_finds_a_function(page: Page, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator(".md-search__input").click()
    page.keyboard.type("random_search_curve")
    page.locator("a.md-search-result__link[href*='analysis.random_search_curve']").first.wait_for(state="attached")


def test_the_reference_has_every_public_name(site: Path) -> None:
    modules = {"__version__", "analysis", "plots", "spaces", "sweeps", "zoo"}
    for package in (designspace, analysis):
        text = (site / "reference" / f"{package.__name__}.html").read_text()
        assert {name for name in package.__all__ if f'id="{package.__name__}.{name}"' not in text} <= modules

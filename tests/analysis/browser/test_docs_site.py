"""The documentation site: a strict build, then every page on a screen and a phone, without a network."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[3]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """No log."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does. Broken links and failing commands of the gallery are errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Address of the site on this machine."""
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def visit(page: Page, url: str) -> list[str]:
    """Problems of a page: errors, requests to other hosts, images that did not load, content wider than the window."""
    host, problems = url.split("/")[2], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if host in request.url[:40] else problems.append(request.url[:200]))
    page.goto(url)
    problems += page.evaluate(
        """() => [...document.images].filter(image => !image.naturalWidth).map(image => image.src)"""
    )
    width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return problems + [f"{width} px wide in a window of {window}"] * (width > window)


@pytest.mark.parametrize("width", [1400, 390])
def test_pages_fit_the_window_and_load_nothing_from_elsewhere(
    browser: Browser, site: Path, address: str, width: int
) -> None:
    pages = sorted(
        str(page.relative_to(site)) for page in site.rglob("*.html") if page.name not in ("404.html", "report.html")
    )
    assert {"index.html", "gallery.html", "statistics.html", "reference/analysis.html"} <= set(pages)
    problems = {}
    for name in pages:
        page = browser.new_page(viewport={"width": width, "height": 900})
        problems[name] = visit(page, address + name)
        page.close()
    assert {name: found for name, found in problems.items() if found} == {}


def test_search_finds_a_function(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(address + "index.html")
    page.locator(".md-search__input").fill("random_search_curve")
    page.locator(".md-search-result__link").first.wait_for()
    assert "reference/analysis.html" in str(page.locator(".md-search-result__link").first.get_attribute("href"))
    page.close()


def test_the_reference_has_every_public_name(site: Path) -> None:
    import analysis
    import designspace

    for module, skipped in (
        (designspace, {"__version__", "analysis", "spaces", "sweeps", "zoo"}),
        (analysis, {"plots"}),
    ):
        text = (site / "reference" / f"{module.__name__}.html").read_text()
        missing = [name for name in module.__all__ if f'id="{module.__name__}.{name}"' not in text]
        assert set(missing) == skipped

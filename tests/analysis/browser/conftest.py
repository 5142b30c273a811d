"""Headless Chromium. A missing browser skips these tests, or fails them where DESIGNSPACE_REQUIRE_BROWSER is set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox",  # required as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


TIMEOUT = 30_000
"""Milliseconds that an action or expectation may take on a busy machine."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        message = "Chromium is not installed (Debian package: chromium)"
        pytest.fail(message) if os.environ.get("DESIGNSPACE_REQUIRE_BROWSER") else pytest.skip(message)
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def problems() -> list[str]:
    """Errors and outside requests of `page`. Must be empty at the end of the test."""
    return []


@pytest.fixture
def page(browser: Browser, problems: list[str]) -> Iterator[Page]:
    """An empty page with clipboard access, 1400 x 900 pixels."""
    context = browser.new_context(
        viewport={"width": 1400, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if is_local(request.url) else problems.append(request.url))
    yield page
    context.close()
    assert problems == []


def is_local(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))

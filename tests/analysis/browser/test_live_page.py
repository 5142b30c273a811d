"""The live report in a browser while a study runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_server import make_live, serving, update
from playwright.sync_api import Browser, Page, expect


@pytest.fixture
def window(browser: Browser) -> Iterator[Page]:
    """A window too low for the page, so that it scrolls."""
    context = browser.new_context(viewport={"width": 1000, "height": 400})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def hidden_records(tmp_path: Path, make_study: Callable[..., Path]) -> Path:
    """All records of the study `tmp_path/study` but the first ten, which stay in the study."""
    study = make_study(tmp_path / "study", n=12, failures={14: "diverged", 17: "crashed"})
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    keys = [line.split('"key": "')[1].split('"')[0] for line in (study / "models.jsonl").read_text().splitlines()]
    for key in keys[10:]:
        if (record := study / "records" / f"{key}.json").exists():
            shutil.move(record, hidden / record.name)
    return hidden


def finish(hidden: Path) -> None:
    for record in hidden.iterdir():
        shutil.move(record, hidden.parent / "study" / "records" / record.name)


def test_the_page_follows_a_study_to_its_end(window: Page, hidden_records: Path) -> None:
    live = make_live([hidden_records.parent / "study"])
    update(live)
    with serving(live) as port:
        window.goto(f"http://127.0.0.1:{port}")
        expect(window.locator(".badge")).to_have_text("no worker")
        expect(window.locator("[data-fragment=progress-0] strong")).to_have_text("10 of 24")
        before = window.locator("[data-fragment=edf] img").get_attribute("src")
        finish(hidden_records)
        update(live)
        expect(window.locator("[data-fragment=progress-0] strong")).to_have_text("24 of 24")
        expect(window.locator(".badge")).to_have_text("complete")
        expect(window).to_have_title("24 of 24 · study")
        expect(window.locator("[data-fragment=failed-0] tbody tr")).to_have_count(2)
        expect(window.locator("[data-fragment=edf] img")).not_to_have_attribute("src", before or "")
        assert window.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


def test_scroll_position_and_selection_stay(window: Page, hidden_records: Path) -> None:
    live = make_live([hidden_records.parent / "study"])
    update(live)
    with serving(live) as port:
        window.goto(f"http://127.0.0.1:{port}")
        curves = window.locator("[data-fragment=curves] figcaption")
        curves.evaluate("(element) => element.scrollIntoView({block: 'center'})")
        curves.select_text()
        before = curves.bounding_box()
        finish(hidden_records)  # adds a table of failures far above
        update(live)
        expect(window.locator("[data-fragment=failed-0] tbody tr")).to_have_count(2)
        after = curves.bounding_box()
        assert before is not None
        assert after is not None
        assert abs(after["y"] - before["y"]) <= 1
        assert window.evaluate("getSelection().toString()").startswith("Learning curves of finished models")


def test_the_page_reconnects_to_a_restarted_server(window: Page, hidden_records: Path) -> None:
    live = make_live([hidden_records.parent / "study"])
    with serving(live) as port:
        window.goto(f"http://127.0.0.1:{port}")
        expect(window.locator("#connection")).to_be_hidden()
    expect(window.locator("#connection")).to_be_visible()
    finish(hidden_records)
    with serving(make_live([hidden_records.parent / "study"]), port):
        expect(window.locator("#connection")).to_be_hidden()
        expect(window.locator(".badge")).to_have_text("complete")

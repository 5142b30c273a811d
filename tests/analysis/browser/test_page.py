"""The report in a browser: with a mouse, with a keyboard, on a phone and on paper."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from designspace.cli import main


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, make_study: Callable[..., Path]) -> Path:
    """A study of two spaces with one failure, and its report."""
    folder: Path = make_study(tmp_path_factory.mktemp("browser") / "study", n=16, failures={2: "diverged"})
    assert main(["report", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def models(study: Path) -> list[dict[str, Any]]:
    """The models of the study by increasing macs."""
    rows = [json.loads(line) for line in (study / "models.jsonl").read_text().splitlines()]
    return sorted(rows, key=lambda row: row["macs"])


@pytest.fixture
def report(page: Page, study: Path) -> Page:
    """The report, open in a new page."""
    page.goto((study / "report.html").as_uri())
    return page


def overflow(page: Page) -> int:
    """Pixels by which the body is wider than the window."""
    excess: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return excess


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ("<img src='http://localhost:9/x.png'>", "http://localhost:9/x.png"),
        ("<script>undefinedName</script>", "undefinedName is not defined"),
        ("<script>console.error('broken')</script>", "broken"),
    ],
)
def test_requests_and_errors_of_a_page_are_detected(page: Page, problems: list[str], html: str, problem: str) -> None:
    page.set_content(html)
    assert any(problem in text for text in problems)
    problems.clear()


@pytest.mark.parametrize("width", [1400, 390])
def test_page_fits_the_window(report: Page, width: int) -> None:
    report.set_viewport_size({"width": width, "height": 844})
    assert overflow(report) == 0
    assert report.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_overflow_is_measured(page: Page) -> None:
    page.set_content("<body style='margin: 0'><div style='width: 1500px'>x</div>")
    assert overflow(page) == 100


def test_click_on_a_heading_sorts_the_table(report: Page) -> None:
    table = report.locator("table.sortable", has=report.get_by_role("button", name="error %")).first
    heading = table.locator("th", has_text=re.compile("^macs"))
    orders = []
    for _ in range(2):
        heading.get_by_role("button").click()
        column = heading.evaluate("(cell) => cell.cellIndex")
        cells = table.locator(f"tbody td:nth-child({column + 1})")
        orders.append([float(value) for value in cells.evaluate_all("(all) => all.map((cell) => cell.dataset.value)")])
    ascending, descending = orders
    assert ascending == sorted(ascending)
    assert descending == ascending[::-1]
    assert len(set(ascending)) > 1


def test_page_prints_on_several_sheets(report: Page) -> None:
    pdf = report.pdf(print_background=True)
    assert pdf.count(b"/Type /Page\n") > 1

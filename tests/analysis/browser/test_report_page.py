"""The report in a browser: with a mouse, with a keyboard, on a phone and on paper."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from designspace import load_spec
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


def points_from_left(page: Page) -> list[tuple[float, float]]:
    """Centers of the points of the scatter plot, in pixels of the window."""
    scatter = page.locator("#scatter")
    scatter.scroll_into_view_if_needed()
    boxes = [point.bounding_box() for point in scatter.locator("path:not(.grid)").all()]
    return sorted((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes if box)


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


def test_hover_shows_the_model_under_the_mouse(report: Page, models: list[dict[str, Any]]) -> None:
    points = points_from_left(report)
    assert len(points) == len(models)
    for point, model in ((points[0], models[0]), (points[-1], models[-1])):
        report.mouse.move(*point)
        panel = report.locator("#model")
        expect(panel.locator("h3")).to_have_text(f"{model['space']} · #{model['index']} {model['spec_id'][:8]}")
        expect(panel).to_contain_text("multiply-adds")
        expect(panel).to_contain_text("Widths: ")
        expect(panel.locator("rect")).to_have_count(model["depth"])


def test_click_copies_the_spec(report: Page, models: list[dict[str, Any]], tmp_path: Path) -> None:
    report.mouse.click(*points_from_left(report)[0])
    expect(report.locator("#model button")).to_have_text("YAML copied")
    (tmp_path / "copied.yaml").write_text(report.evaluate("navigator.clipboard.readText()"))
    assert load_spec(tmp_path / "copied.yaml").spec_id == models[0]["spec_id"]


def test_arrow_keys_and_enter_copy_a_spec(report: Page, models: list[dict[str, Any]], tmp_path: Path) -> None:
    report.locator("#scatter").focus()
    headings = []
    for _ in range(2):
        report.keyboard.press("ArrowRight")
        headings.append(report.locator("#model h3").inner_text())
    assert headings[0] != headings[1]
    report.keyboard.press("Enter")
    expect(report.locator("#model button")).to_have_text("YAML copied")
    (tmp_path / "copied.yaml").write_text(report.evaluate("navigator.clipboard.readText()"))
    assert load_spec(tmp_path / "copied.yaml").spec_id[:8] in headings[1]


def test_selected_axis_is_drawn(report: Page, models: list[dict[str, Any]]) -> None:
    report.locator("#across").select_option("depth")
    expect(report.locator("#scatter")).to_contain_text("depth (blocks)")
    report.mouse.move(*points_from_left(report)[0])
    shown = re.search(r" ([0-9a-f]{8})$", report.locator("#model h3").inner_text())
    assert shown is not None
    depths = {model["spec_id"][:8]: model["depth"] for model in models}
    assert depths[shown[1]] == min(depths.values())


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

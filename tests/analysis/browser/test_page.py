"""The report in a browser: with a mouse, with a keyboard, on a phone and on paper."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

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


@pytest.mark.parametrize("width", [1400, 1024, 390])
def test_page_fits_the_window(report: Page, width: int) -> None:
    report.set_viewport_size({"width": width, "height": 844})
    assert overflow(report) == 0
    assert report.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_tables_fit_at_1024_pixels(report: Page) -> None:
    report.set_viewport_size({"width": 1024, "height": 844})
    report.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    excess = report.locator(".scroll").evaluate_all("(all) => all.map((box) => box.scrollWidth - box.clientWidth)")
    assert len(excess) >= 5
    assert set(excess) == {0}


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
def test_first_screen_shows_answer_edf_and_cards(report: Page, width: int, height: int) -> None:
    report.set_viewport_size({"width": width, "height": height})
    for locator in (report.locator("h1"), report.locator(".edf img"), report.locator(".cards")):
        box = locator.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= height


def test_contents_stay_on_screen_and_mark_the_section(report: Page) -> None:
    report.get_by_role("navigation").get_by_role("link", name="Training").click()
    expect(report.locator("nav a.current")).to_have_text("Training")
    expect(report.get_by_role("heading", name="Training")).to_be_in_viewport()
    expect(report.get_by_role("navigation")).to_be_in_viewport()


def test_method_link_leads_to_the_definition(report: Page) -> None:
    report.locator(".edf").get_by_role("link", name="Method: matching").click()
    expect(report.get_by_text("Matching by complexity")).to_be_in_viewport()


def test_every_figure_downloads_as_svg_and_every_table_as_csv(report: Page) -> None:
    report.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    links = {"SVG": report.locator("figure a.svg"), "CSV": report.locator(".table a[download]")}
    assert links["SVG"].count() == report.locator("figure").count() > 5
    assert links["CSV"].count() == report.locator(".table").count() > 3
    for name, start in (("SVG", "<?xml"), ("CSV", "space,")):
        with report.expect_download() as download:
            links[name].first.click()
        assert download.value.suggested_filename.endswith(f".{name.lower()}")
        assert Path(download.value.path()).read_text().startswith(start)


def test_dark_scheme_has_light_text_on_a_dark_page(report: Page) -> None:
    def brightness(name: str) -> float:
        color = report.evaluate(f"getComputedStyle(document.body).{name}")
        return sum(map(int, re.findall(r"\d+", color)[:3])) / 3

    assert brightness("color") < 64 < 192 < brightness("backgroundColor")
    report.emulate_media(color_scheme="dark")
    assert brightness("backgroundColor") < 64 < 192 < brightness("color")


def test_colors_of_the_explorer_are_those_of_the_figures(report: Page) -> None:
    report.locator("#explore").scroll_into_view_if_needed()
    report.locator("#explore[data-ready]").wait_for()
    swatches = report.locator("#explore fieldset").first.locator(".explore-swatch")
    colors = swatches.evaluate_all("(all) => all.map((swatch) => getComputedStyle(swatch).backgroundColor)")
    assert colors == ["rgb(0, 114, 178)", "rgb(213, 94, 0)"]


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

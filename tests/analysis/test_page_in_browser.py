"""The report as a reader meets it: in a browser, with a mouse, on a phone and on paper."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

import analysis.report
from analysis.figures import report_figures
from analysis.findings import find
from analysis.report import write_report
from analysis.table import load_table
from designspace import load_spec

sys.path.insert(0, str(Path(__file__).parent))
from browser import Browser, find_browser


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_study):
    """A report of two spaces with its first picture only, and its findings."""
    folder = tmp_path_factory.mktemp("browser")
    findings = find(load_table(make_study(folder / "study", n=16, failures={2: "diverged"})))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis.report, "report_figures", lambda f: islice(report_figures(f), 1))
        return write_report(findings, folder / "page"), findings


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("there is no Chromium on this machine (Debian: chromium)")
    with Browser(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def opened(page, browser):
    """The page, open, with whatever is copied kept in `copied`."""
    browser.open(page[0])
    browser.run("window.copied = []; navigator.clipboard.writeText = async (text) => { copied.push(text); }; 0")
    return browser


def place_of(browser: Browser, index: int) -> tuple[float, float]:
    """Where a model of the scatter plot stands in the window."""
    left, top, width = browser.run(
        "(() => { const plot = document.getElementById('scatter'); plot.scrollIntoView({ block: 'center' });"
        " const box = plot.getBoundingClientRect(); return [box.left, box.top, box.width]; })()"
    )
    x, y = browser.run(f"places[{index}]")
    return left + x * width / 640, top + y * width / 640


def test_nothing_is_fetched_and_nothing_goes_wrong(opened):
    asked = [e["params"]["request"]["url"] for e in opened.events if e["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert not [e for e in opened.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]


def test_pointing_at_a_model_shows_it_and_a_click_copies_its_yaml(opened, page, tmp_path):
    model = page[1].models.iloc[5]
    x, y = place_of(opened, 5)
    opened.point(x, y)
    shown = opened.run("document.getElementById('model').innerText")
    assert f"{model['space']} · #{model['index']} {model['spec_id'][:8]}" in shown
    assert "multiply-adds" in shown
    assert "Widths: " in shown
    assert opened.run("document.querySelectorAll('#model rect').length") == len(model["block_widths"])
    assert opened.run("copied.length") == 0
    opened.point(x, y, click=True)
    opened.run("new Promise((done) => setTimeout(done, 50))")
    text = opened.run("copied[0]")
    (tmp_path / "copied.yaml").write_text(text)
    assert load_spec(tmp_path / "copied.yaml").spec_id == model["spec_id"]
    assert opened.run("document.querySelector('#model button').textContent") == "YAML copied"


def test_the_keyboard_does_the_same(opened):
    opened.run("document.getElementById('scatter').focus()")
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        opened("Input.dispatchKeyEvent", type="keyDown", key=key)
    opened.run("new Promise((done) => setTimeout(done, 50))")
    assert "stages:" in opened.run("copied[0]")


def test_axes_can_be_chosen(opened):
    before = opened.run("places[0][0]")
    choose = "const list = document.getElementById('across'); list.value = 'depth'"
    opened.run(f"{{ {choose}; list.dispatchEvent(new Event('change')); }}")
    assert opened.run("places[0][0]") != before
    assert "depth (blocks)" in opened.run("document.getElementById('scatter').textContent")


def test_tables_can_be_sorted(opened):
    code = """(() => {
        const tables = [...document.querySelectorAll("table.sortable")];
        const table = tables.find((one) => one.tHead.innerText.includes("error %"));
        const head = [...table.tHead.rows[0].cells].find((cell) => cell.innerText.startsWith("macs"));
        head.querySelector("button").click();
        return [...table.tBodies[0].rows].map((row) => Number(row.cells[head.cellIndex].dataset.value));
    })()"""
    ascending, descending = opened.run(code), opened.run(code)
    assert ascending == sorted(ascending)
    assert descending == ascending[::-1]
    assert len(set(ascending)) > 1


def test_it_is_readable_at_the_width_of_a_phone_and_on_paper(opened, tmp_path):
    opened.size(390, 844)
    assert opened.run("document.documentElement.scrollWidth") <= 390  # wide tables scroll by themselves
    picture = opened.screenshot(tmp_path / "phone.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (390, 844)
    printed = opened.pdf()
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000

"""The explorer in a browser, under the Content-Security-Policy of the report."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from playwright.sync_api import Locator, Page, expect

from analysis.explore import explore_html
from designspace import ModelSpec

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
COLORS = {"plain": "#009E73", "inverted": "#123456"}
N, FAILED = 24, 5


def make_models() -> pd.DataFrame:
    """Models of two spaces by increasing macs, which span two decades; the error falls; one failed."""
    index = np.arange(N)
    specs = []
    for i in index:
        stage = {"block": "bottleneck", "depth": 1 + int(i) % 3, "width": 16, "group_width": 8}
        stages = [stage, {**stage, "width": 8 * (2 + int(i)), "stride": 2, "bottleneck_ratio": 1.0 if i % 2 else 0.5}]
        specs.append({"resolution": 28, "in_channels": 1, "stages": stages, "head": {"classes": 10}})
    return pd.DataFrame(
        {
            "spec_id": [ModelSpec.from_mapping(spec).spec_id for spec in specs],
            "space": np.where(index % 2, "plain", "inverted"),
            "index": index,
            "study": "demo",
            "status": np.where(index == FAILED, "diverged", "ok"),
            "failed": index == FAILED,
            "message": np.where(index == FAILED, "loss is nan\ntraceback", ""),
            "error_percent": 30.0 - index,
            "macs": (1e6 * 100 ** (index / (N - 1))).astype(int),
            "depth": 2 * (1 + index % 3),
            "w_a": np.sqrt(2 + index),
            "spec": specs,
            "block_widths": [tuple(s["width"] for s in spec["stages"] for _ in range(s["depth"])) for spec in specs],
            "epoch_validation_error_percent": [(60.0, 45.5, 30.0 - i) for i in index],
        }
    )


@pytest.fixture(scope="module")
def models() -> pd.DataFrame:
    return make_models()


Open = Callable[..., Locator]


@pytest.fixture
def open_explorer(page: Page, tmp_path: Path) -> Open:
    """Write a page with the explorer, open it, and return the explorer when it is ready."""

    def write_and_open(models: pd.DataFrame, **options: Any) -> Locator:
        path = tmp_path / "explore.html"
        head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        options = {"parameters": ("depth", "w_a"), "colors": COLORS, "folders": {"demo": "runs/demo"}} | options
        path.write_text(f"<!doctype html><html>{head}<body>{explore_html(models, **options)}</body></html>")
        page.goto(path.as_uri())
        explorer = page.locator("#explore[data-ready]")
        explorer.wait_for()
        return explorer

    return write_and_open


@pytest.fixture
def explorer(open_explorer: Open, models: pd.DataFrame) -> Locator:
    return open_explorer(models)


def part(explorer: Locator, name: str) -> Locator:
    return explorer.locator(f'[data-part="{name}"]')


def points(explorer: Locator, visible: str = "") -> list[tuple[float, float]]:
    """Centers of the points of the scatter plot from left to right, in pixels of the window."""
    scatter = part(explorer, "scatter")
    scatter.scroll_into_view_if_needed()
    centers: list[tuple[float, float]] = scatter.evaluate(
        """element => [...element.querySelectorAll('.scatterlayer .point')].map(point => point.getBoundingClientRect())
           .map(box => [box.x + box.width / 2, box.y + box.height / 2])"""
    )
    return sorted((x, y) for x, y in centers)


def drag(page: Page, *corners: tuple[float, float]) -> None:
    """Press the mouse at the first corner, move it along the others, release it at the last."""
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=5)
    page.mouse.up()


def drag_axis(page: Page, explorer: Locator, name: str, low: float, high: float) -> None:
    """Drag along the axis of this title, between two positions: 0 is its lower end, 1 its upper end."""
    parallel = part(explorer, "parallel")
    parallel.scroll_into_view_if_needed()
    titles = parallel.locator(".annotation-text b, .annotation-text tspan").all_text_contents()
    axes = [title for title in titles if not title[0].isdigit()]
    line = parallel.locator(".shapelayer path").nth(axes.index(name)).bounding_box()
    assert line is not None
    x, bottom = line["x"] + line["width"] / 2, line["y"] + line["height"]
    drag(page, (x, bottom - low * line["height"]), (x + 1, bottom - high * line["height"]))


def test_status_counts_all_models_and_averages_the_finished(explorer: Locator, models: pd.DataFrame) -> None:
    mean = models["error_percent"][~models["failed"]].mean()
    expect(part(explorer, "status")).to_have_text(f"All 24 models, 1 failed, mean error {mean:.2f} %")


def test_log_axis_spaces_points_by_their_logarithms(explorer: Locator, models: pd.DataFrame) -> None:
    def correlation(values: pd.Series) -> float:
        return float(np.corrcoef([x for x, _ in points(explorer)], values)[0, 1])

    assert part(explorer, "x-log").is_checked()  # two decades
    assert correlation(np.log(models["macs"])) == pytest.approx(1, abs=1e-4)
    part(explorer, "x-log").uncheck()
    assert correlation(models["macs"]) == pytest.approx(1, abs=1e-4)


def test_failed_models_are_crosses_above_all_others(explorer: Locator, page: Page) -> None:
    top = min(points(explorer), key=lambda point: point[1])
    assert points(explorer).index(top) == FAILED
    page.mouse.click(*top)
    expect(part(explorer, "card")).to_contain_text("Failed: diverged: loss is nan")
    expect(part(explorer, "missing")).to_contain_text("Crosses at the margin are failed models.")


def test_drag_zooms_and_a_button_resets(explorer: Locator, page: Page) -> None:
    before = points(explorer)
    (left, top), (right, bottom) = before[10], before[14]
    drag(page, (left - 5, top - 30), (right + 5, bottom + 30))
    after = points(explorer)
    assert after[14][0] - after[10][0] > 2 * (right - left)
    part(explorer, "scatter").get_by_label("Reset axes").click()
    assert np.allclose(points(explorer), before, atol=0.5)


def test_lasso_selects_models_to_copy(explorer: Locator, page: Page, models: pd.DataFrame) -> None:
    part(explorer, "scatter").get_by_label("Lasso Select").click()
    (left, top), (right, bottom) = points(explorer)[10], points(explorer)[14]
    around = [(left - 8, top - 15), (right + 8, top - 15), (right + 8, bottom + 15), (left - 8, bottom + 15)]
    drag(page, *around, around[0])
    mean = models["error_percent"][10:15].mean()
    expect(part(explorer, "status")).to_have_text(f"5 of 24 models selected, mean error {mean:.2f} %")
    faded = part(explorer, "parallel").locator(".scatterlayer .trace").first.locator("path")
    expect(faded).to_have_count(24 - 5)
    part(explorer, "ids").click()
    expect(part(explorer, "copied")).to_have_text("Copied 5 spec_ids.")
    assert page.evaluate("navigator.clipboard.readText()").split() == list(models["spec_id"][10:15])
    part(explorer, "clear").click()
    expect(part(explorer, "status")).to_contain_text("All 24 models")


def test_box_selection_survives_a_change_of_axes(explorer: Locator, page: Page) -> None:
    part(explorer, "scatter").get_by_label("Box Select").click()
    (left, top), (right, bottom) = points(explorer)[-3], points(explorer)[-1]
    drag(page, (left - 8, top - 8), (right + 8, bottom + 8))
    expect(part(explorer, "status")).to_contain_text("3 of 24 models")
    part(explorer, "x").select_option("w_a")
    expect(part(explorer, "status")).to_contain_text("3 of 24 models")
    drag(page, (left - 8, top - 8), (right + 8, bottom + 8))  # still a box
    expect(part(explorer, "status")).not_to_contain_text("All 24 models")


def test_brush_on_a_parallel_axis_filters_both_plots(explorer: Locator, page: Page, models: pd.DataFrame) -> None:
    finished = models[~models["failed"]]
    middle = finished["error_percent"].agg(["min", "max"]).mean()
    count = int((finished["error_percent"] < middle).sum())
    drag_axis(page, explorer, "error_percent", -0.03, 0.5)
    expect(part(explorer, "status")).to_contain_text(f"{count} of 24 models selected")
    faded = part(explorer, "scatter").locator(".scatterlayer .trace").first.locator(".point")
    expect(faded).to_have_count(24 - count)
    explorer.get_by_label("Remove the filter on error_percent").click()
    expect(part(explorer, "status")).to_contain_text("All 24 models")


def test_typed_ranges_and_categories_filter(explorer: Locator, models: pd.DataFrame) -> None:
    explorer.get_by_label("Add filter").select_option("depth")
    explorer.get_by_label("Minimum of depth").fill("4")
    explorer.get_by_label("Minimum of depth").press("Enter")
    deep = models["depth"] >= 4
    expect(part(explorer, "status")).to_contain_text(f"{deep.sum()} of 24 models")
    explorer.get_by_label("inverted").uncheck()
    both = deep & (models["space"] == "plain")
    expect(part(explorer, "status")).to_contain_text(f"{both.sum()} of 24 models")
    explorer.get_by_label("Maximum of depth").fill("many")
    explorer.get_by_label("Maximum of depth").press("Enter")
    expect(explorer.get_by_label("Maximum of depth")).to_have_attribute("aria-invalid", "true")
    expect(part(explorer, "status")).to_contain_text(f"{both.sum()} of 24 models")


def test_spaces_have_the_given_colors(explorer: Locator) -> None:
    fills = part(explorer, "scatter").evaluate(
        "element => [...element.querySelectorAll('.point')].map(point => getComputedStyle(point).fill)"
    )
    assert set(fills) == {"rgb(0, 158, 115)", "rgb(18, 52, 86)"}


def test_color_by_a_number_shows_a_color_bar(explorer: Locator) -> None:
    part(explorer, "color").select_option("w_a")
    expect(part(explorer, "scatter").locator(".colorbar")).to_contain_text("w_a")
    part(explorer, "color").select_option("status")
    expect(part(explorer, "scatter").locator(".colorbar")).to_have_count(0)
    expect(explorer.get_by_label("diverged")).to_be_visible()


def test_click_opens_a_card_with_everything_about_the_model(
    explorer: Locator, page: Page, models: pd.DataFrame
) -> None:
    page.mouse.click(*points(explorer)[7])
    card = part(explorer, "card")
    model = models.loc[7]
    expect(card.get_by_role("heading", level=3)).to_have_text(f"#7 {model['spec_id'][:8]}")
    stages = [row.split("\t") for row in card.locator("tbody tr").all_inner_texts()]
    assert [row[:4] for row in stages] == [["1", "bottleneck", "2", "16"], ["2", "bottleneck", "2", "72"]]
    expect(card.locator(".explore-small .point")).to_have_count(len(model["block_widths"]) + 3)  # and three epochs


def test_copied_yaml_describes_the_same_network(explorer: Locator, page: Page, models: pd.DataFrame) -> None:
    page.mouse.click(*points(explorer)[8])
    explorer.get_by_role("button", name="Copy YAML").click()
    expect(part(explorer, "copied")).to_have_text("Copied YAML.")
    spec = ModelSpec.from_mapping(yaml.safe_load(page.evaluate("navigator.clipboard.readText()")))
    assert spec.spec_id == models["spec_id"][8]
    explorer.get_by_role("button", name="Copy export command").click()
    expect(part(explorer, "copied")).to_have_text("Copied export command.")
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith(f"designspace export runs/demo --where spec_id={spec.spec_id} ")


def test_selection_downloads_as_csv_and_the_figure_as_svg(explorer: Locator, page: Page, models: pd.DataFrame) -> None:
    explorer.get_by_label("inverted").uncheck()
    with page.expect_download() as download:
        part(explorer, "csv").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    chosen = models[models["space"] == "plain"]
    assert [row["spec_id"] for row in rows] == list(chosen["spec_id"])
    assert [float(row["macs"]) for row in rows] == list(chosen["macs"])
    with page.expect_download() as download:
        part(explorer, "scatter").get_by_label("Download plot").click()
    assert Path(download.value.path()).read_text().startswith("<svg")


def test_keyboard_moves_between_models_and_opens_cards(explorer: Locator, page: Page, models: pd.DataFrame) -> None:
    heading = part(explorer, "card").get_by_role("heading", level=3)
    expect(heading).to_have_text(f"#23 {models['spec_id'][23][:8]}")  # the best
    part(explorer, "scatter").focus()
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text(f"#22 {models['spec_id'][22][:8]}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(heading).to_have_text(f"#0 {models['spec_id'][0][:8]}")  # from the last to the first
    part(explorer, "best").get_by_role("button").nth(2).focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_text(f"#21 {models['spec_id'][21][:8]}")
    expect(part(explorer, "card")).to_be_focused()


def test_phone_shows_all_controls_without_horizontal_scrolling(
    page: Page, open_explorer: Open, models: pd.DataFrame
) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    explorer = open_explorer(models)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for name in ("x", "y", "color", "filters", "status", "scatter", "card"):
        box = part(explorer, name).bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390


def test_plots_follow_the_color_scheme(explorer: Locator, page: Page) -> None:
    title = part(explorer, "scatter").locator(".xtitle")
    dark_text, light_text = re.compile(r"rgb\(\d{1,2}, "), re.compile(r"rgb\(2\d\d, ")
    expect(title).to_have_css("fill", dark_text)
    page.emulate_media(color_scheme="dark")
    expect(title).to_have_css("fill", light_text)


def test_thinned_models_are_labeled(open_explorer: Open, models: pd.DataFrame) -> None:
    many = pd.concat([models] * 200, ignore_index=True)
    explorer = open_explorer(many)
    expect(explorer).to_contain_text("3,000 of 4,800 models shown")
    expect(part(explorer, "status")).to_contain_text("All 4,800 models")


def test_tables_without_specs_have_cards(open_explorer: Open, models: pd.DataFrame) -> None:
    explorer = open_explorer(models[["spec_id", "error_percent", "macs", "depth"]])
    expect(part(explorer, "card")).to_contain_text("The table has no spec of this model.")
    expect(part(explorer, "status")).to_contain_text("All 24 models, mean error")


def test_strings_of_a_table_are_shown_as_they_are(page: Page, open_explorer: Open, models: pd.DataFrame) -> None:
    hostile = "</script><img src=x onerror='window.hacked = true'><b>\"&lt;%{x}$"
    models = models.assign(
        space=np.where(models["space"] == "plain", hostile, "inverted"),
        spec_id=hostile,
        message=hostile,
        spec=pd.Series([{"stages": [{hostile: hostile}]}] * N),
        **{hostile: models["depth"]},
    )
    labels = dict.fromkeys(("macs", "error_percent", hostile), hostile)
    explorer = open_explorer(models, parameters=(hostile,), labels=labels, colors={hostile: hostile})
    page.mouse.move(*points(explorer)[4])
    texts = [part(explorer, "scatter").locator(".xtitle"), part(explorer, "filters").locator("label").nth(1)]
    texts += [part(explorer, "card"), part(explorer, "best"), part(explorer, "scatter").locator(".hovertext")]
    for text in texts:
        expect(text).to_contain_text(hostile[:30])
    page.mouse.click(*points(explorer)[FAILED])
    expect(part(explorer, "card")).to_contain_text(f"Failed: diverged: {hostile}")
    explorer.get_by_role("button", name="Copy YAML").click()
    expect(part(explorer, "copied")).to_have_text("Copied YAML.")
    assert yaml.safe_load(page.evaluate("navigator.clipboard.readText()")) == {"stages": [{hostile: hostile}]}
    assert page.evaluate("window.hacked") is None


def test_all_models_failed(open_explorer: Open, models: pd.DataFrame) -> None:
    explorer = open_explorer(models.assign(failed=True, status="crashed"))
    expect(part(explorer, "status")).to_have_text("All 24 models, 24 failed")

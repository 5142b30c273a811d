"""The explorer's fragment: its size, its data, and what it escapes."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.explore import explore_html


def make_models(n: int, **columns: Any) -> pd.DataFrame:
    """Models with random macs and errors."""
    rng = np.random.default_rng(0)
    macs = np.exp(rng.normal(15, 0.5, n)).astype(int)
    error = 10 + 5 * rng.random(n) - np.log(macs / macs.mean())
    spec_ids = [f"{number:016x}" for number in rng.integers(0, 2**62, n)]
    frame = {"spec_id": spec_ids, "error_percent": error, "macs": macs, "width": rng.integers(1, 9, n) * 8}
    return pd.DataFrame(frame | columns)


def data_of(html: str) -> dict[str, Any]:
    """The data inside a fragment."""
    match = re.search(r'id="explore-data">([\w+/=]*)<', html)
    assert match is not None
    data: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(match[1])))
    return data


def rich_models(n: int) -> pd.DataFrame:
    """Models with a spec of four stages, a learning curve of 20 epochs, and block widths."""
    rng = np.random.default_rng(1)
    widths, depths = rng.integers(1, 64, (n, 4)) * 8, rng.integers(1, 9, (n, 4))
    block = {"block": "bottleneck", "stride": 2, "kernel_size": 3, "bottleneck_ratio": 1.0, "group_width": 8}
    specs = [
        {"resolution": 28, "stages": [{**block, "depth": int(d), "width": int(w)} for w, d in zip(*pair, strict=True)]}
        for pair in zip(widths, depths, strict=True)
    ]
    blocks = [tuple(np.repeat(*pair).tolist()) for pair in zip(widths, depths, strict=True)]
    curves = [tuple(curve) for curve in np.round(100 * rng.random((n, 20)), 4)]
    return make_models(n, spec=specs, block_widths=blocks, epoch_validation_error_percent=curves, index=range(n))


@pytest.mark.parametrize(("n", "megabytes"), [(1_000, 6), (100_000, 12)])
def test_fragment_is_small_enough_to_mail(n: int, megabytes: float) -> None:
    assert len(explore_html(rich_models(n), parameters=("width",)).encode()) < megabytes * 1e6


def test_fragment_references_no_other_file() -> None:
    html = explore_html(make_models(3))
    assert not re.search(r"\b(src|href)\s*=\s*[\"']|url\(|@import|\bimport\s*\(", html)


def test_integers_are_exact_other_values_have_seven_digits_and_missing_values_are_null() -> None:
    columns = data_of(explore_html(make_models(3, w_a=[1.23456789, np.nan, 1e9 + 1]), parameters=("w_a",)))["columns"]
    assert columns["w_a"]["values"] == [1.234568, None, 1000000001]


def test_a_failed_model_has_no_error() -> None:
    data = data_of(explore_html(make_models(2, failed=[False, True], status=["ok", "diverged"])))
    assert [value is None for value in data["columns"]["error_percent"]["values"]] == [False, True]
    assert data["failed"] == [0, 1]


def test_columns_without_information_are_left_out() -> None:
    models = make_models(30, acts=np.nan, space="regnetx", name=[f"model {k}" for k in range(30)])
    columns = data_of(explore_html(models, parameters=("width", "name", "unknown")))["columns"]
    assert list(columns) == ["error_percent", "width", "macs"]


def test_weights_of_thinned_models_estimate_counts_and_means() -> None:
    models = make_models(100_000)
    data = data_of(explore_html(models))
    errors, weights = data["columns"]["error_percent"]["values"], data["weights"]
    assert len(errors) == 3_000
    assert sum(weights) == pytest.approx(100_000, rel=1e-4)
    assert np.average(errors, weights=weights) == pytest.approx(models["error_percent"].mean(), abs=0.1)
    assert min(errors) == pytest.approx(models["error_percent"].min(), abs=1e-5)


def test_export_command_names_the_study_folder_quoted() -> None:
    models = make_models(1, spec_id="0123abcd", spec=[{"stages": []}], study="demo")
    command = data_of(explore_html(models, folders={"demo": "my runs/demo; rm x"}))["models"][0]["export"]
    assert command.startswith("designspace export 'my runs/demo; rm x' --where spec_id=0123abcd ")


def test_names_do_not_appear_in_the_markup() -> None:
    name = "</script><script>alert(1)</script>"
    models = make_models(2, space=[name, "b"], status="crashed", failed=True, message=name, **{name: ["a", name]})
    html = explore_html(models, parameters=(name,), labels={name: name}, colors={name: name})
    assert name in json.dumps(data_of(html))
    assert "alert(1)" not in html


def test_text_that_is_not_unicode_is_kept() -> None:
    names = pd.Series(["a\udcff", "b"], dtype=object)
    assert data_of(explore_html(make_models(2, spec_id=names)))["models"][0]["id"] == "a\udcff"


def test_a_model_without_an_error_counts_as_failed() -> None:
    assert data_of(explore_html(make_models(2, error_percent=[10.0, np.nan])))["failed"] == [0, 1]


def test_no_models_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^models = 0 rows: must have at least 1$"):
        explore_html(make_models(2)[:0])

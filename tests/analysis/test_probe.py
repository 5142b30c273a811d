"""The probe's fields in the table: means per network, and their relation to the error."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from analysis import average_seeds, load
from analysis.rows import PROBE_MEANS
from designspace.study import Record


def add_probe(folder: Path) -> None:
    """Add a probe to the finished models, with a rank that decreases with the error."""
    for path in sorted((folder / "records").glob("*.json")):
        record = Record.from_json(path.read_bytes())
        if record.status == "ok":
            assert record.error_percent is not None
            rank = 30 - record.error_percent
            probe = dataclasses.replace(
                record,
                probe_images=512,
                block_channels=(32, 32, 32),
                block_rank_before=(rank, rank + 2, rank + 4),
                block_rank_after=(rank, rank + 2, None),
                block_dead_fraction=(0.25, 0.5, None),
                part_gradient_norm_first=(4.0, 2.0),
            )
            path.write_text(probe.to_json())


def test_a_study_with_a_probe_has_means_over_the_blocks(study: Path) -> None:
    add_probe(study)
    table = load(study)
    finished = table.frame[table.frame["status"] == "ok"]
    assert finished["mean_block_rank_before"].tolist() == pytest.approx(32 - finished["error_percent"])
    assert finished["mean_block_rank_after"].tolist() == pytest.approx(31 - finished["error_percent"])
    assert set(finished["mean_block_dead_fraction"]) == {0.375}
    assert set(finished["mean_part_gradient_norm_first"]) == {3.0}
    assert "mean_part_gradient_norm_last" not in table.frame
    assert table.frame.loc[table.frame["status"] != "ok", "mean_block_rank_before"].isna().all()
    assert not set(table.parameters) & set(PROBE_MEANS)  # measured, not drawn


def test_the_error_is_related_to_the_means(study: Path) -> None:
    add_probe(study)
    table = load(study)
    trends = table.trends("mean_block_rank_before", failures="drop")
    assert "mean_block_rank_before" in str(trends)
    assert "mean_block_rank_before" in set(table.trends().frame["parameter"])
    kept = table.trends("mean_block_rank_after/mean_block_rank_before").frame
    assert (kept["high"] < 1).all()
    groups = table.by("mean_block_rank_before:2")
    low, high = (groups.where(f"space={name}").frame["error_percent"] for name in sorted(groups.spaces, key=len)[:2])
    assert max(low.min(), high.min()) >= min(low.max(), high.max())


def test_a_study_without_a_probe_has_no_such_columns(study: Path) -> None:
    assert not set(load(study).frame) & set(PROBE_MEANS)


def test_means_are_averaged_over_training_seeds() -> None:
    frame = pd.DataFrame(
        {
            "space": "a",
            "spec_id": ["x", "x", "y"],
            "seed": [0, 1, 0],
            "status": "ok",
            "failed": False,
            "error_percent": [10.0, 12.0, 20.0],
            "mean_block_rank_before": [4.0, 6.0, 7.0],
        }
    )
    assert average_seeds(frame)["mean_block_rank_before"].tolist() == [5.0, 7.0]

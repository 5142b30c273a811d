"""Rank agreement of zero-cost scores: signs, comparison with complexity, and studies without scores."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.commands import scores
from analysis.scores import score_agreement
from designspace.study import SCORES


def models(n: int, seed: int, **columns: float) -> pd.DataFrame:
    """Networks whose scores correlate with the accuracy by the given weights."""
    rng = np.random.default_rng(seed)
    accuracy = rng.normal(size=n)
    frame = pd.DataFrame({"space": "a", "spec_id": [f"{i}" for i in range(n)], "error_percent": 20 - accuracy})
    for name in ("macs", "params", "acts"):
        frame[name] = rng.integers(1_000_000, 4_000_000, n)
    for name, weight in columns.items():
        frame[name] = weight * accuracy + np.sqrt(1 - weight**2) * rng.normal(size=n)
    return frame


def test_agreement_is_positive_if_a_larger_score_has_a_smaller_error() -> None:
    frame = score_agreement(models(60, 0, score_nwot=0.95, score_snip=-0.95)).set_index("measure")
    assert frame.loc["score_nwot", "agreement"] > 0.8
    assert frame.loc["score_nwot", "kendall"] > 0.6
    assert frame.loc["score_snip", "agreement"] < -0.8
    assert (frame["lower"] <= frame["agreement"]).all()
    assert (frame["agreement"] <= frame["upper"]).all()


def test_a_score_is_better_only_if_it_beats_every_complexity() -> None:
    frame = models(60, 1, score_nwot=0.95, score_snip=-0.95)
    verdicts = score_agreement(frame).set_index("measure")["verdict"]
    assert verdicts[["score_nwot", "score_snip", "macs"]].tolist() == ["better", "worse", ""]
    frame["params"] = frame["score_nwot"].rank()
    verdicts = score_agreement(frame).set_index("measure")["verdict"]
    assert verdicts["score_nwot"] == "not distinguishable"


def test_scores_without_a_relation_are_not_distinguishable_from_complexity() -> None:
    verdicts = [score_agreement(models(30, seed, score_nwot=0.0))["verdict"].iloc[0] for seed in range(20)]
    assert verdicts.count("not distinguishable") >= 18


def test_intervals_are_wider_for_more_spaces() -> None:
    one = models(40, 2, score_nwot=0.5)
    two = pd.concat([one, one.assign(space="b")])
    widths = [frame["upper"].iloc[0] - frame["lower"].iloc[0] for frame in map(score_agreement, (one, two))]
    assert widths[0] < widths[1]


def with_scores(folder):
    for path in (folder / "records").iterdir():
        record = json.loads(path.read_text())
        if record["error_percent"] is not None:
            nearly = round(100.0 - record["error_percent"])
            record |= dict.fromkeys(SCORES, None) | {"score_nwot": nearly + record["depth"] / 100, "score_snip": 1.0}
        path.write_text(json.dumps(record))
    return folder


def test_a_study_with_scores(make_study, tmp_path, capsys) -> None:
    folder = with_scores(make_study(tmp_path / "scored", failures={3: "diverged"}))
    table = load(folder)
    assert "score_nwot" in table.frame
    assert "score_synflow" not in table.frame
    frame = table.scores(failures="drop").frame
    assert set(frame["measure"]) == {"score_nwot", "macs", "params", "acts"}  # SNIP is constant
    assert (frame.loc[frame["measure"] == "score_nwot", "agreement"] > 0.9).all()
    assert scores([str(folder), "--out", str(tmp_path / "scores.svg")]) == 0
    assert "NASWOT" in capsys.readouterr().out


def test_scores_are_no_parameters_of_other_statistics(make_study, tmp_path) -> None:
    table = load(with_scores(make_study(tmp_path / "scored")))
    assert not set(SCORES) & {*table.parameters, *table.trends().frame["parameter"]}


def test_a_study_without_scores(study) -> None:
    with pytest.raises(ValueError, match=r"^scores: required and missing; record them with"):
        load(study).scores()

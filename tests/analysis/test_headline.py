"""The first screen of a report: one rule decides its wording, and badges name what limits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.findings import Findings, find
from analysis.headline import badges, cards, headline, leading_spaces
from analysis.loading import load

MakeStudy = Callable[..., Path]


def table_findings(means: dict[str, float], n: int = 60, *, macs: bool = True, match: str = "macs") -> Findings:
    """Findings of a table of spaces with these mean errors and a standard deviation of 0.5 points."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame({"space": space, "error_percent": rng.normal(mean, 0.5, n), "macs": rng.uniform(1e6, 2e6, n)})
        for space, mean in means.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    return find(load(frame if macs else frame.drop(columns="macs")), match=match)


def badge_names(findings: Findings) -> list[str]:
    return [badge.name for badge in badges(findings)]


def card(findings: Findings, name: str) -> tuple[str, str]:
    (found,) = (card for card in cards(findings) if card.name == name)
    return found.value, found.note


def test_better_space_is_named_with_the_difference_and_its_interval() -> None:
    findings = table_findings({"a": 12.0, "b": 10.0})
    row = findings.spaces.comparison.iloc[0]
    assert headline(findings) == (
        "a vs. b at equal multiply-adds",
        f"b is {row['difference']:.2f} points better",
        f"Its mean error is {row['difference_lower']:.2f} to {row['difference_upper']:.2f} points below that of a "
        "(95 % confidence interval).",
    )
    assert card(findings, "Difference")[0] == f"+{row['difference']:.2f} points"


def test_no_difference_states_the_detectable_difference() -> None:
    findings = table_findings({"a": 10.0, "b": 10.05})
    row = findings.spaces.comparison.iloc[0]
    assert row["difference_lower"] < 0 < row["difference_upper"]
    assert headline(findings)[1:] == (
        "No difference detected",
        f"A difference of {row['detectable']:.2f} points would have been detected with 80 % power.",
    )


def test_one_space_has_its_median_and_no_difference() -> None:
    findings = table_findings({"a": 10.0})
    row = findings.spaces.summary.iloc[0]
    assert headline(findings)[:2] == ("a", f"Median error {row['median']:.2f} %, best {row['min']:.2f} %")
    assert [card.name for card in cards(findings)] == ["Models trained", "Best model"]


def test_space_that_beats_all_others_is_best() -> None:
    findings = table_findings({"a": 12.0, "b": 9.0, "c": 11.0, "d": 11.0})
    assert headline(findings)[:2] == ("4 spaces at equal multiply-adds", "b is best")
    assert card(findings, "Differences detected")[0] == "5 of 6"


def test_spaces_that_none_beats_lead_together() -> None:
    findings = table_findings({"a": 12.0, "b": 9.0, "c": 9.02, "d": 11.0})
    question, answer, detail = headline(findings)
    assert question == "4 spaces at equal multiply-adds"
    assert answer in ("b and c lead", "c and b lead")
    assert detail.startswith(
        "No difference is detected among them. Every other space is worse than at least one other."
    )


def test_only_space_that_does_not_lead_is_named() -> None:
    detail = headline(table_findings({"a": 12.0, "b": 9.0, "c": 9.02}))[2]
    assert detail.startswith("No difference is detected among them. a is worse than at least one of them. ")


def test_many_equal_spaces_have_no_differences() -> None:
    findings = table_findings(dict.fromkeys("abcde", 10.0))
    pairs = findings.spaces.comparison
    largest = pairs.loc[pairs["matched_by"] == "macs", "detectable"].max()
    assert headline(findings) == (
        "5 spaces at equal multiply-adds",
        "No differences detected",
        f"In every pair, a difference of {largest:.2f} points would have been detected with 80 % power.",
    )


def test_space_without_a_common_range_is_not_counted_as_beaten() -> None:
    findings = table_findings({"a": 12.0, "b": 10.0, "c": 11.0})
    frame = findings.table.frame
    apart = frame.assign(macs=frame["macs"].where(frame["space"] != "c", frame["macs"] + 1e9))
    findings = find(replace(findings.table, frame=apart))
    assert headline(findings)[1:] == ("b leads", "It beats 1 of the 2 other spaces. None beats it.")
    assert "Not comparable" in badge_names(findings)


@pytest.mark.parametrize(
    ("beats", "leading"),
    [
        ({("a", "b"), ("b", "c"), ("c", "a")}, ""),
        ({}, "abc"),
        ({("a", "b")}, "ac"),
        ({("a", "b"), ("b", "c")}, "a"),
        ({("c", "a"), ("c", "b")}, "c"),
    ],
)
def test_leading_spaces_are_those_that_no_space_beats(beats: set[tuple[str, str]], leading: str) -> None:
    rows = []
    for a, b in (("a", "b"), ("a", "c"), ("b", "c")):
        low, high = (-2, -1) if (a, b) in beats else (1, 2) if (b, a) in beats else (-1, 1)
        rows.append({"a": a, "b": b, "mean_a": 1, "mean_b": 1, "difference_lower": low, "difference_upper": high})
    assert leading_spaces(pd.DataFrame(rows)) == list(leading)


def test_badges_of_an_unfinished_study_with_few_models_and_one_seed(tmp_path: Path, make_study: MakeStudy) -> None:
    findings = find(load(make_study(tmp_path / "study", n=10, untrained=6, failures={0: "diverged"})))
    named = dict(badges(findings))
    assert list(named) == ["Unfinished", "Failed models", "Few models", "Short training", "One seed"]
    assert named["Unfinished"] == "6 of 20 trainings have no result yet."
    assert named["Few models"].startswith("bottleneck has only 7 models. At least 100 are recommended")
    assert named["Failed models"].startswith("14% of the models of bottleneck failed. ")
    assert card(findings, "Models trained") == ("14", "7 in each of 2 spaces, 1 failed")


def test_large_finished_comparison_with_several_seeds_has_no_badge() -> None:
    findings = table_findings({"a": 10.0, "b": 11.0}, n=100)
    again = findings.table.frame.assign(seed=1)
    frame = pd.concat([findings.table.frame.assign(seed=0), again], ignore_index=True)
    assert badges(find(replace(findings.table, frame=frame))) == []


def test_different_recipes_have_a_badge(tmp_path: Path, make_study: MakeStudy) -> None:
    studies = [make_study(tmp_path / name, n=8, recipe_id=name * 16) for name in "ab"]
    findings = find(load(*studies), across=("recipe",))
    named = dict(badges(findings))
    assert named["Different training"].startswith("The models were trained with different recipes (")


@pytest.mark.parametrize(("macs", "match"), [(False, "macs"), (True, "")])
def test_comparison_without_complexity_is_unmatched(macs: bool, match: str) -> None:
    findings = table_findings({"a": 12.0, "b": 10.0}, macs=macs, match=match)
    assert headline(findings).question == "a vs. b"
    assert headline(findings).answer.startswith("b is ")
    assert "Unmatched" in badge_names(findings)


def test_too_few_models_are_not_compared() -> None:
    assert headline(table_findings({"a": 12.0, "b": 10.0}, n=1)).answer == "Too few models to compare"


def test_device_time_counts_trainings_by_their_share_of_the_device(tmp_path: Path, make_study: MakeStudy) -> None:
    table = load(make_study(tmp_path / "study", n=4))
    shared = replace(table, frame=table.frame.assign(train_seconds=3600.0, device_share=0.25, device_name="H100"))
    assert card(find(shared), "Device time") == ("2.0 h", "H100")

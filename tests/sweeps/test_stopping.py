"""Rules of early stopping, on examples computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.early_stopping import outcome, replay
from sweeps.compose import compose
from sweeps.stopping import AshaRule, MedianRule, stopping_rule


@pytest.mark.parametrize(
    ("errors", "stops"),
    [
        ([30.0, 26.0], False),  # the mean errors of the others are 20, 26, 40, of which 26 is the median
        ([30.0, 26.1], True),
        ([26.0, 90.0], False),  # the lowest error so far counts
        ([27.0, 90.0], True),
    ],
)
def test_the_median_rule_compares_the_lowest_error_with_the_mean_errors_of_the_others(errors, stops):
    others = [[24.0, 16.0, 1.0], [30.0, 22.0], [50.0, 30.0, 20.0], [5.0]]  # the last has not finished two epochs
    assert MedianRule(min_models=3).stops(errors, others) is stops
    assert not MedianRule(min_models=4).stops(errors, others)


@pytest.mark.parametrize(
    ("others", "stops"),
    [
        ([], False),
        ([10.0], False),  # fewer models than the reduction factor
        ([10.0, 12.0], True),  # 1 of 3 continues
        ([30.0, 31.0], False),
        ([20.0, 31.0], False),  # a tie
        ([10.0, 12.0, 13.0, 14.0], True),  # 1 of 5
        ([10.0, 31.0, 32.0, 33.0, 34.0], False),  # 2 of 6
        ([10.0, 11.0, 31.0, 32.0, 33.0], True),
    ],
)
def test_asha_keeps_the_best_third_of_a_rung(others, stops):
    assert AshaRule().stops([50.0, 20.0], [[0.0, error] for error in others] + [[0.0]]) is stops


@pytest.mark.parametrize(
    ("rule", "epochs", "decisions"),
    [
        (AshaRule(min_epochs=1), 40, [1, 3, 9, 27]),
        (AshaRule(min_epochs=2, reduction=4), 32, [2, 8]),  # never after the last epoch
        (AshaRule(reduction=2), 5, [3]),
        (MedianRule(), 6, [3, 4, 5]),
        (MedianRule(min_epochs=2), 4, [2, 3]),
    ],
)
def test_a_rule_decides_from_half_of_the_training_on_or_as_set(rule, epochs, decisions):
    assert [epoch for epoch in range(1, epochs + 2) if rule.decides_after(epoch, epochs)] == decisions


def test_asha_stops_about_two_thirds_at_a_rung_and_never_the_best_so_far():
    errors = np.random.default_rng(0).uniform(0, 100, 300)
    stopped = [AshaRule().stops([error], [[other] for other in errors[:at]]) for at, error in enumerate(errors)]
    assert 0.63 < np.mean(stopped) < 0.72
    assert not any(stop for at, stop in enumerate(stopped) if errors[at] == errors[: at + 1].min())


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        ([], None),
        (["stopping=none"], None),
        (["stopping=median"], MedianRule()),  # conf/ has the defaults of the classes
        (["stopping=asha"], AshaRule()),
        (["stopping=asha", "stopping.reduction=4", "stopping.min_epochs=2"], AshaRule(reduction=4, min_epochs=2)),
    ],
)
def test_the_config_selects_a_rule(overrides, rule):
    composed = compose(["experiment=smoke", "recipe.epochs=4", *overrides])
    assert composed.config.stopping == rule
    assert stopping_rule(composed.values) == rule


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stopping=best"], "^stopping = best: unknown; must be one of asha, median, none$"),
        (["stopping.reduction=3"], "^stopping.rule: required$"),
        (["stopping=asha", "stopping.reducton=3"], r"^stopping.reducton = 3: unknown; did you mean reduction\?$"),
        (["stopping=asha", "stopping.reduction=1"], "^stopping.reduction = 1: must be at least 2$"),
        (
            ["stopping=median", "stopping.reduction=3"],
            "^stopping.reduction = 3: unknown; must be one of min_epochs, rule, ",
        ),
        (["stopping=asha", "recipe.epochs=1"], "^stopping.min_epochs = 1: must be less than recipe.epochs = 1$"),
        (["stopping=asha", "stopping.min_epochs=4"], "^stopping.min_epochs = 4: must be less than recipe.epochs = 4$"),
    ],
)
def test_invalid_settings_are_one_line(overrides, message):
    with pytest.raises(ValueError, match=message):
        compose(["experiment=smoke", "recipe.epochs=4", *overrides])


def test_the_simulation_replays_curves_in_order_with_several_models_at_once():
    curves = np.array([[9.0, 8.0, 3.0], [7.0, 6.0, 4.0], [8.0, 7.0, 1.0]])
    rule = AshaRule(min_epochs=1)
    assert replay(curves, rule, workers=1).tolist() == [3, 3, 1]  # the last is the second best after one epoch
    assert replay(curves, rule, workers=3).tolist() == [1, 3, 1]
    stopped, saved, missed, lost, shift, baseline_missed, baseline_lost = outcome(curves, np.array([3, 3, 1]))
    assert (stopped, saved, missed, lost, shift) == (pytest.approx(1 / 3), pytest.approx(2 / 9), 1.0, 2.0, 0.5)
    # Two of the three models, at random: the best is among them in two of three cases, else 3 is the lowest error.
    assert (baseline_missed, baseline_lost) == (pytest.approx(1 / 3), pytest.approx(2 / 3))

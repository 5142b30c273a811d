"""False positives and coverage of comparisons between spaces, and the models they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.compare import compare_spaces
from analysis.matching import equal_bins

Array = NDArray[np.float64]

SIZES = (16, 30, 100, 300)
RANGES = ((1.1, "straight"), (2.0, "straight"), (32.0, "straight"), (32.0, "curved"))
"""Factors that macs span, and the trend of the mean error over log macs."""
OVERLAPS = {
    "same": ((0.0, 1.0), (0.0, 1.0)),
    "shifted": ((0.0, 0.75), (0.25, 1.0)),
    "poor": ((0.0, 0.6), (0.4, 1.0)),
    "lower": ((0.0, 1.0), (0.0, 1.0)),
}
"""Shares of the range of log macs that the two spaces cover, uniformly; in "lower" the densities slope oppositely."""
NOISES = ("normal", "skewed")
"""Standard deviation 1; "skewed" is exponential, skewness 2, as in the residuals of NAS-Bench-Macro (1.5 to 3.2)."""
FEW_PERMUTATIONS = 400
"""Enough for a test at 5 %; with the 2,000 of the analysis the table would take three times as long."""
TESTS = ("difference", "area", "ks", "a_better")
EFFECT = 1.0
MACRO = Path(__file__).parents[2].parent / "shared" / "data" / "nas-bench-macro.csv"


class Setting(NamedTuple):
    """A situation to simulate: two spaces of n models, macs over a factor, their overlap, noise and trend."""

    n: int
    factor: float
    overlap: str
    noise: str
    trend: str


def settings(sizes: Sequence[int] = SIZES) -> Iterator[Setting]:
    """All settings of the table."""
    yield from (
        Setting(n, factor, overlap, noise, trend)
        for n, (factor, trend), overlap, noise in product(sizes, RANGES, OVERLAPS, NOISES)
    )


def run_setting(setting: Setting, repetitions: int, seed: int = 0) -> dict[str, Any]:
    """The fields of `Setting`, then percentages.

    `false …` is how often a test at 5 % sees a difference where there is none (outside its 95 % interval), `covered …`
    how often the 95 % interval holds the truth when the errors of one space are one standard deviation of the noise
    higher. Such a shift moves the estimated difference by itself, so `covered difference` is 100 - `false difference`.
    """
    rng = np.random.default_rng([seed, *np.frombuffer(repr(setting).encode(), np.uint8)])
    rejected = np.mean([_rejected(setting, rng) for _ in range(repetitions)], axis=0)
    covered = np.mean([_covered(setting, rng) for _ in range(max(1, repetitions // 8))], axis=0)
    return (
        setting._asdict()
        | {f"false {name}": 100 * share for name, share in zip(TESTS, rejected, strict=True)}
        | {f"covered {name}": 100 * share for name, share in zip(("area", "a_better"), covered, strict=True)}
    )


def trend(setting: Setting, log_macs: Array) -> Array:
    """Mean error: 2 points per unit of log macs, or a power law that falls by 8 points."""
    return 30 - 2 * log_macs if setting.trend == "straight" else 20 + 8 * np.exp(-0.7 * log_macs)


def _noise(setting: Setting, shape: int, rng: np.random.Generator) -> Array:
    return rng.normal(size=shape) if setting.noise == "normal" else rng.exponential(size=shape) - 1


def simulate(setting: Setting, rng: np.random.Generator, effect: float = 0.0) -> pd.DataFrame:
    """Models of two spaces; those of b have `effect` more points of error."""
    parts = []
    for name, (low, high), slope in zip("ab", OVERLAPS[setting.overlap], ((1, 2), (2, 1)), strict=True):
        share = rng.beta(*slope, setting.n) if setting.overlap == "lower" else rng.uniform(low, high, setting.n)
        position = share * np.log(setting.factor)
        errors = trend(setting, position) + _noise(setting, setting.n, rng) + effect * (name == "b")
        parts.append(pd.DataFrame({"space": name, "macs": np.exp(position), "error_percent": errors}))
    return pd.concat(parts, ignore_index=True)


def _compare(frame: pd.DataFrame) -> pd.Series | None:
    """The comparison, or None where the models drawn do not overlap enough to compare them at all."""
    try:
        return compare_spaces(frame, permutations=FEW_PERMUTATIONS).iloc[0]
    except ValueError:
        return None


def _rejected(setting: Setting, rng: np.random.Generator) -> list[bool]:
    while (row := _compare(simulate(setting, rng))) is None:
        pass
    return [
        not row["difference_lower"] <= 0 <= row["difference_upper"],
        not row["area_lower"] <= 0 <= row["area_upper"],
        row["ks_p"] < 0.05,
        not row["a_better_lower"] <= 0.5 <= row["a_better_upper"],
    ]


def _covered(setting: Setting, rng: np.random.Generator) -> list[bool]:
    row = None
    while row is None:
        frame = simulate(setting, rng, EFFECT)
        row = _compare(frame)
    shares = (np.arange(400) + 0.5) / 400
    noise = stats.norm.ppf(shares) if setting.noise == "normal" else stats.expon.ppf(shares) - 1
    errors = np.mean(trend(setting, np.log(frame["macs"].to_numpy()))) + noise
    below_a, below_b = (np.mean(1 - np.minimum(1, e / row["area_limit"])) for e in (errors, errors + EFFECT))
    better = stats.norm.cdf(EFFECT / np.sqrt(2)) if setting.noise == "normal" else 1 - np.exp(-EFFECT) / 2
    return [
        row["area_lower"] <= below_a - below_b <= row["area_upper"],
        row["a_better_lower"] <= better <= row["a_better_upper"],
    ]


def many_spaces(repetitions: int, seed: int = 0) -> pd.DataFrame:
    """Percentage of reports on identical spaces in which any pair shows a difference, by number of spaces and n."""
    rows = []
    for number, (spaces, n) in enumerate(product((2, 5, 12), (16, 30))):
        rng = np.random.default_rng([seed, number])
        found = []
        for _ in range(repetitions):
            position = rng.uniform(0, np.log(2), spaces * n)
            errors = 30 - 2 * position + rng.exponential(size=spaces * n)
            labels = np.repeat([f"space {i}" for i in range(spaces)], n)
            pairs = compare_spaces(
                pd.DataFrame({"space": labels, "macs": np.exp(position), "error_percent": errors}), seed=number
            )
            outside = {
                name: ~((pairs[f"{name}_lower"] <= null) & (null <= pairs[f"{name}_upper"]))
                for name, null in (("difference", 0.0), ("area", 0.0), ("a_better", 0.5))
            }
            found.append(
                [
                    outside["difference"].any(),
                    outside["area"].any(),
                    (pairs["ks_p_holm"] < 0.05).any(),
                    outside["a_better"].any(),
                    (pairs["order"] != "not decided").any(),
                ]
            )
        shares = 100 * np.mean(found, axis=0)
        rows.append({"spaces": spaces, "n": n} | dict(zip((*TESTS, "order"), shares, strict=True)))
    return pd.DataFrame(rows)


def power_on_macro(repetitions: int, seed: int = 0, n: int = 100) -> pd.DataFrame:
    """Precision of the difference on NAS-Bench-Macro: networks with layer type 1 against 2 at one position.

    Returns:
        Per position: the true difference at equal multiply-adds (all networks), the standard deviation of the estimate
        over repetitions with n networks per space, by regression adjustment and by stratification into up to 10 bins of
        equal width in macs (the earlier estimator), and the squared ratio: how many times more models the latter needs.
    """
    table = pd.read_csv(MACRO, dtype={"arch": str}).rename(columns={"flops": "macs", "err": "error_percent"})
    rows = []
    for position in (0, 3, 6):
        layer = table["arch"].str[position]
        everything = table[layer.isin(["1", "2"])].assign(space=layer)
        rng = np.random.default_rng([seed, position])
        adjusted, binned, covered = [], [], []
        truth = compare_spaces(everything, permutations=FEW_PERMUTATIONS)["difference"][0]
        for _ in range(repetitions):
            sample = everything.groupby("space").sample(n, random_state=rng)
            row = compare_spaces(sample, permutations=FEW_PERMUTATIONS).iloc[0]
            adjusted.append(row["difference"])
            covered.append(row["difference_lower"] <= truth <= row["difference_upper"])
            binned.append(_difference_in_bins(sample))
        ratio = (np.std(binned) / np.std(adjusted)) ** 2
        rows.append(
            {
                "position": position,
                "difference": truth,
                "mean estimate": np.mean(adjusted),
                "sd adjusted": np.std(adjusted),
                "sd binned": np.std(binned),
                "times fewer models": ratio,
                "covered": 100 * np.mean(covered),
            }
        )
    return pd.DataFrame(rows)


def _difference_in_bins(frame: pd.DataFrame) -> float:
    first = (frame["space"] == "1").to_numpy()
    macs, errors = (frame[name].to_numpy(dtype=float) for name in ("macs", "error_percent"))
    low, high = max(macs[first].min(), macs[~first].min()), min(macs[first].max(), macs[~first].max())
    _, strata = equal_bins(macs, first, low, high)
    means = pd.Series(errors[strata >= 0]).groupby([first[strata >= 0], strata[strata >= 0]]).mean()
    return float(means[True].mean() - means[False].mean())

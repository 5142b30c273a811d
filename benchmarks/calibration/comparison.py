"""False positive rates and coverage of comparisons, and the number of models needed."""

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
"""Range of macs as a factor, and the trend of the mean error over log macs."""
OVERLAPS = {
    "same": ((0.0, 1.0), (0.0, 1.0)),
    "shifted": ((0.0, 0.75), (0.25, 1.0)),
    "poor": ((0.0, 0.6), (0.4, 1.0)),
    "lower": ((0.0, 1.0), (0.0, 1.0)),
}
"""Part of the range of log macs of each space. Densities are uniform, but have opposite slopes in "lower"."""
NOISES = ("normal", "skewed")
"""Standard deviation 1. "skewed" is exponential with skewness 2 (residuals of NAS-Bench-Macro: 1.5 to 3.2)."""
FEW_PERMUTATIONS = 400
"""Sufficient for a test at 5 %. The default of 2,000 would triple the run time."""
TESTS = ("difference", "area", "ks", "a_better")
EFFECT = 1.0
MACRO = Path(__file__).parents[2].parent / "shared" / "data" / "nas-bench-macro.csv"


class Setting(NamedTuple):
    """Simulation setting: two spaces of n models, range of macs as a factor, overlap, noise and trend."""

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
    """Simulate one setting.

    Returns:
        The fields of `Setting` and percentages. `false NAME`: how often the 95 % interval excludes zero difference, or
        a 5 % test rejects, for identical spaces. `covered NAME`: how often the 95 % interval contains the truth if the
        errors of one space are one standard deviation of the noise larger. The estimated difference is equivariant
        under such shifts, so its coverage is 100 - `false difference`.
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
    """Mean error: 2 points per unit of log macs, or a power law that decreases by 8 points."""
    return 30 - 2 * log_macs if setting.trend == "straight" else 20 + 8 * np.exp(-0.7 * log_macs)


def _noise(setting: Setting, shape: int, rng: np.random.Generator) -> Array:
    return rng.normal(size=shape) if setting.noise == "normal" else rng.exponential(size=shape) - 1


def simulate(setting: Setting, rng: np.random.Generator, effect: float = 0.0) -> pd.DataFrame:
    """Models of two spaces. The errors of b are `effect` points larger."""
    parts = []
    for name, (low, high), slope in zip("ab", OVERLAPS[setting.overlap], ((1, 2), (2, 1)), strict=True):
        share = rng.beta(*slope, setting.n) if setting.overlap == "lower" else rng.uniform(low, high, setting.n)
        position = share * np.log(setting.factor)
        errors = trend(setting, position) + _noise(setting, setting.n, rng) + effect * (name == "b")
        parts.append(pd.DataFrame({"space": name, "macs": np.exp(position), "error_percent": errors}))
    return pd.concat(parts, ignore_index=True)


def _compare(frame: pd.DataFrame) -> pd.Series | None:
    """The comparison; None if the spaces overlap too little."""
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
    """Percentage of reports on identical spaces with any significant pair, by number of spaces and n."""
    rows = []
    for number, (spaces, n) in enumerate(product((2, 5, 12), (16, 30))):
        rng = np.random.default_rng([seed, number])
        significant = []
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
            significant.append(
                [
                    outside["difference"].any(),
                    outside["area"].any(),
                    (pairs["ks_p_holm"] < 0.05).any(),
                    outside["a_better"].any(),
                    (pairs["order"] != "not decided").any(),
                ]
            )
        shares = 100 * np.mean(significant, axis=0)
        rows.append({"spaces": spaces, "n": n} | dict(zip((*TESTS, "order"), shares, strict=True)))
    return pd.DataFrame(rows)


def power_on_macro(repetitions: int, seed: int = 0, n: int = 100) -> pd.DataFrame:
    """Precision of the difference on NAS-Bench-Macro: networks with layer type 1 vs. 2 at one position.

    Args:
        repetitions: number of samples.
        seed: random seed.
        n: networks per space.

    Returns:
        One row per position: the true difference at equal multiply-adds (all networks); the standard deviation of the
        estimate by regression adjustment and by stratification into up to 10 bins of equal width in macs (the earlier
        estimator); and the squared ratio, by which the number of models is reduced.
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

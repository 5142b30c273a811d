"""Which cheap training recipe ranks networks like an expensive one, and separates spaces, per second of training.

The same networks are trained with several recipes, one study each. A recipe is good for a sweep if it agrees with the
ranking by a long training, and if it separates the spaces with few models, at low cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.adjustment import Contrast, ErrorCurve
from analysis.compare import detection_quantile
from analysis.matching import central_range, log_complexity
from analysis.rows import COMPLEXITIES
from analysis.training import CURVE
from designspace.validated import unknown

Array = NDArray[np.float64]

MIN_NETWORKS = 8
MOST_BLOCKS = 100
"""Groups of networks in the jackknife; with fewer networks, each is a group."""

MARGIN = 0.05
"""Loss of Spearman's rho that still counts as the same agreement."""

RECIPE_COLUMNS = {
    "recipe": "name of the study, of a stopped training of the reference, or of a baseline",
    "seeds": "trainings per network whose mean is the error",
    "cost": "seconds per network, over all its seeds: CPU time if every study recorded it, else wall-clock time",
    "relative_cost": "cost relative to the base",
    "between_evaluations": "fraction of the cost that is evaluation before the last epoch",
    "spearman, spearman_lower, spearman_upper": "rank correlation with one training of the reference with another "
    "seed; mean over the pairs of seeds",
    "kendall": "Kendall's tau-b, likewise",
    "gain, gain_lower, gain_upper": "spearman minus that of the base, with a paired interval",
    "difference": "mean error of the first space minus that of the second at equal macs, points; with more spaces, of "
    "the pair with the largest difference in the reference",
    "separation, separation_lower, separation_upper": "difference over its standard error, for this number of networks",
    "separation_gain, separation_gain_lower, separation_gain_upper": "separation minus that of the base, with a paired "
    "interval",
    "models_needed": "models per space to detect that difference with 80 % power at level 0.05",
    "hours_needed": "their training time, hours",
}


@dataclass(frozen=True)
class _Candidate:
    """Errors of N networks by one recipe, `trainings` (T, N), and those each is compared with, `targets` (T, R, N)."""

    name: str
    seeds: int
    cost: float
    between: float
    trainings: Array
    targets: Array

    def pairs(self) -> Iterator[tuple[Array, Array]]:
        """A training of the recipe and one of the reference, (N,) each."""
        for errors, targets in zip(self.trainings, self.targets, strict=True):
            for target in targets:
                yield errors, target


@dataclass(frozen=True)
class _Networks:
    """The networks of all studies: space and log macs, both of shape (N,), and the pair of spaces to separate."""

    space: NDArray[np.str_]
    position: Array
    pair: tuple[str, str] | None

    def separation(self, errors: Array, kept: NDArray[np.bool_]) -> tuple[float, float]:
        """Difference of the pair at equal macs and its standard error; NaN if it cannot be estimated."""
        if self.pair is None:
            return np.nan, np.nan
        known = kept & np.isfinite(self.position)
        sides = {name: known & (self.space == name) for name in self.pair}
        try:
            low, high = central_range({name: self.position[side] for name, side in sides.items()}, "macs")
        except ValueError:  # no common range
            return np.nan, np.nan
        first, second = (ErrorCurve(errors[side], self.position[side]) for side in sides.values())
        contrast = Contrast(first, second, low, high)
        return contrast.difference, contrast.standard_error


def compare_recipes(frame: pd.DataFrame, reference: str, base: str | None = None) -> pd.DataFrame:
    """Agreement with a reference recipe, separation of two spaces, and cost of each recipe.

    Intervals have 95 % confidence for new networks of the same spaces: jackknife over networks, of Spearman's rho on
    Fisher's scale. They are not simultaneous over recipes.

    Args:
        frame: one row per training: `study`, `space`, `spec_id`, `seed`, `error_percent` (finite), and optionally
            `epoch_cpu_seconds`, `epoch_seconds`, `train_seconds`, `epoch_validation_error_percent`, macs, params.
            Each study is one recipe. Networks that some study lacks are excluded.
        reference: study of the expensive recipe.
        base: study to compare with, by default the reference.

    Returns:
        One row per recipe, for a single training and for all seeds; per epoch 1, 2, 4, … of the reference, as if it
        had been stopped there; and for the baselines "most macs first" and "most params first". Columns of
        RECIPE_COLUMNS.

    Raises:
        ValueError: an unknown study, fewer than two studies, or fewer than eight common networks.

    Source: the jackknife, Efron & Stein, Annals of Statistics 9 (1981) 586-596.
    """
    studies = list(dict.fromkeys(frame["study"].astype(str)))
    base = base or reference
    for name, value in (("reference", reference), ("base", base)):
        if value not in studies:
            raise ValueError(unknown(name, value, studies))
    if len(studies) < 2:
        raise ValueError(f"tables = {', '.join(studies)}: must be at least two studies, one for each recipe")
    errors = {study: _by_seed(frame[frame["study"] == study]) for study in studies}
    common = sorted(set.intersection(*(set(table.index) for table in errors.values())))
    if len(common) < MIN_NETWORKS:
        raise ValueError(
            f"tables = {', '.join(studies)}: must have at least {MIN_NETWORKS} networks trained in all studies, not "
            f"{len(common)}"
        )
    errors = {study: table.loc[common] for study, table in errors.items()}
    first = frame[frame["study"] == reference].drop_duplicates("spec_id").set_index("spec_id").loc[common]
    networks = _networks(first, reference, errors[reference].mean(axis=1).to_numpy())
    candidates = list(_candidates(frame, errors, reference, first))
    position = next(at for at, one in enumerate(candidates) if one.name == base and one.seeds == 1)
    return pd.DataFrame(
        _rows(networks, candidates, position), columns=[name for names in RECIPE_COLUMNS for name in names.split(", ")]
    )


def _by_seed(part: pd.DataFrame) -> pd.DataFrame:
    """Errors of the networks (rows) by seed (columns), without networks that lack a seed."""
    return part.pivot_table(index="spec_id", columns="seed", values="error_percent").dropna()


def _networks(first: pd.DataFrame, reference: str, errors: Array) -> _Networks:
    space = first["space"].astype(str).str.removeprefix(f"{reference}/").to_numpy(dtype=str)
    position = log_complexity(first, "macs")
    names = list(dict.fromkeys(space))
    networks = _Networks(space, position, None)
    everywhere = np.isfinite(position)
    sizes = {name: int(np.sum(everywhere & (space == name))) for name in names}
    pairs = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :] if min(sizes[a], sizes[b]) >= 4]
    if not pairs:
        return networks
    apart = {pair: _Networks(space, position, pair).separation(errors, everywhere)[0] for pair in pairs}
    return _Networks(space, position, max(pairs, key=lambda pair: np.nan_to_num(abs(apart[pair]), nan=-1)))


def _candidates(
    frame: pd.DataFrame, errors: dict[str, pd.DataFrame], reference: str, first: pd.DataFrame
) -> Iterator[_Candidate]:
    by_seed = errors[reference]
    clock = "epoch_cpu_seconds" if _recorded(frame, "epoch_cpu_seconds") else "epoch_seconds"
    for study, table in errors.items():
        part = frame[(frame["study"] == study) & frame["spec_id"].isin(table.index)]
        cost, between = _cost(part, clock)
        trainings = table.to_numpy().T
        seeds = len(trainings)
        yield _Candidate(study, 1, cost, between, trainings, _targets(by_seed, table.columns))
        new = by_seed.columns.difference(table.columns)
        if seeds > 1 and len(new):
            mean = trainings.mean(axis=0, keepdims=True)
            yield _Candidate(study, seeds, cost * seeds, between, mean, by_seed[new].to_numpy().T[None])
    yield from _stopped(frame[frame["study"] == reference], errors[reference], reference, clock)
    for name in COMPLEXITIES[:2]:
        if first[name].notna().all():
            baseline = -first[name].to_numpy(dtype=float)[None]
            yield _Candidate(f"most {name} first", 0, 0.0, np.nan, baseline, by_seed.to_numpy().T[None])


def _stopped(part: pd.DataFrame, table: pd.DataFrame, reference: str, clock: str) -> Iterator[_Candidate]:
    """The reference stopped after 1, 2, 4, … epochs: its errors and its cost until then."""
    if CURVE not in part or clock not in part:
        return
    part = part[part["spec_id"].isin(table.index)].drop_duplicates(["spec_id", "seed"])
    lengths = part[CURVE].map(len)
    if lengths.min() != lengths.max() or lengths.max() < 2:
        return
    curves = {
        column: np.stack(
            [
                np.stack(rows.set_index("spec_id").loc[table.index, column].map(np.asarray)).astype(float)
                for _, rows in part.groupby("seed")
            ]
        )
        for column in (CURVE, clock)
    }  # (seeds, networks, epochs)
    others = _targets(table, table.columns)
    for epoch in 2 ** np.arange(int(np.log2(lengths.max() - 1)) + 1):
        cost = float(curves[clock][:, :, :epoch].sum(axis=2).mean())
        name = f"{reference}, stopped after {epoch} epoch{'s' if epoch > 1 else ''}"
        yield _Candidate(name, 1, cost, np.nan, curves[CURVE][:, :, epoch - 1], others)


def _targets(reference: pd.DataFrame, seeds: pd.Index) -> Array:
    """The trainings of the reference that trainings with these seeds are compared with, (seeds, R, networks).

    Equal seeds share their initial weights and the order of the images, so their errors are correlated. The targets are
    the trainings with seeds that are not among `seeds`, else those that differ from each; NaN without.
    """
    new = reference.columns.difference(seeds)
    if not len(new) and len(reference.columns) == 1:
        return np.full((len(seeds), 1, len(reference)), np.nan)
    return np.stack([reference[new if len(new) else reference.columns.drop(seed)].to_numpy().T for seed in seeds])


def _recorded(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool(frame[column].map(lambda curve: isinstance(curve, tuple) and len(curve) > 0).all())


def _cost(part: pd.DataFrame, clock: str) -> tuple[float, float]:
    """Mean seconds of a training, and the fraction of them spent on evaluations before the last epoch."""
    if not _recorded(part, clock):
        seconds = part["train_seconds"].astype(float).mean() if "train_seconds" in part else np.nan
        return float(seconds), np.nan
    totals = part[clock].map(sum)
    if not _recorded(part, "epoch_seconds") or part["train_seconds"].isna().any():
        return float(totals.mean()), np.nan
    wall, epochs = part["epoch_seconds"].map(sum), part["epoch_seconds"].map(len)
    evaluation = 1 - part["train_seconds"].astype(float) / wall
    return float(totals.mean()), float((evaluation * (epochs - 1) / epochs).mean())


def _measure(
    networks: _Networks, candidates: Sequence[_Candidate], kept: NDArray[np.bool_]
) -> tuple[Array, Array, Array]:
    """Spearman's rho, difference and separation of each candidate, means over its trainings; each (candidates,)."""
    rows = []
    for one in candidates:
        rho = np.mean([_spearman(errors[kept], target[kept]) for errors, target in one.pairs()])
        apart = np.array([networks.separation(errors, kept) for errors in one.trainings])
        with np.errstate(divide="ignore", invalid="ignore"):
            rows.append((rho, apart[:, 0].mean(), np.mean(apart[:, 0] / apart[:, 1])))
    rho, difference, separation = np.array(rows).T
    return rho, difference, separation


def _spearman(a: Array, b: Array) -> float:
    first, second = (stats.rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    with np.errstate(invalid="ignore"):
        return float(first @ second / np.sqrt(first @ first * (second @ second)))


def _rows(networks: _Networks, candidates: Sequence[_Candidate], base: int) -> Iterator[dict[str, object]]:
    n = len(networks.space)
    block = np.random.default_rng(0).permutation(n) % min(n, MOST_BLOCKS)
    rho, difference, apart = _measure(networks, candidates, np.ones(n, bool))
    blocks = int(block.max()) + 1
    left_out = [_measure(networks, candidates, block != one) for one in range(blocks)]
    rho_without = np.stack([rho for rho, _, _ in left_out])
    apart_without = np.stack([separation for _, _, separation in left_out])
    quantile = float(stats.t.ppf(0.975, blocks - 1))

    def half_width(values: Array) -> Array:
        half: Array = quantile * np.sqrt((blocks - 1) * np.var(values, axis=0))
        return half

    with np.errstate(divide="ignore", invalid="ignore"):
        fisher = np.arctanh(np.clip(rho, -1, 1))
        half = half_width(np.arctanh(np.clip(rho_without, -1, 1)))
        low, high = np.tanh(fisher - half), np.tanh(fisher + half)
    gain_half, apart_half = half_width(rho_without - rho_without[:, base, None]), half_width(apart_without)
    apart_gain_half = half_width(apart_without - apart_without[:, base, None])
    power = detection_quantile()
    per_space = (
        0.0 if networks.pair is None else float(np.mean([np.sum(networks.space == name) for name in networks.pair]))
    )
    for at, one in enumerate(candidates):
        row: dict[str, object] = {
            "recipe": one.name,
            "seeds": one.seeds,
            "cost": one.cost,
            "relative_cost": one.cost / candidates[base].cost,
            "between_evaluations": one.between,
            "spearman": rho[at],
            "spearman_lower": low[at],
            "spearman_upper": high[at],
            "kendall": np.mean([stats.kendalltau(errors, target).statistic for errors, target in one.pairs()]),
        } | _with_ends("gain", rho[at] - rho[base], gain_half[at])
        if one.seeds:  # a baseline is not an error
            needed = per_space * (power / apart[at]) ** 2 if apart[at] else np.inf
            row |= {
                "difference": difference[at],
                "models_needed": np.ceil(needed),
                "hours_needed": 2 * needed * one.cost / 3600,
                **_with_ends("separation", apart[at], apart_half[at]),
                **_with_ends("separation_gain", apart[at] - apart[base], apart_gain_half[at]),
            }
        yield row


def _with_ends(name: str, value: float, half: float) -> dict[str, object]:
    return {name: value, f"{name}_lower": value - half, f"{name}_upper": value + half}

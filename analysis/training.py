"""Training noise, rank agreement between epochs, recipes and seeds, and learning curves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.parameters import rank_trend
from analysis.rows import distinct_trainings, model_columns

Array = NDArray[np.float64]

CURVE = "epoch_validation_error_percent"
RELIABLE = 0.9
"""Rank correlation with the last epoch above which a ranking counts as reliable."""
MIN_GROUP = 4
PERMUTATIONS = 4999


@dataclass(frozen=True)
class RankAgreement:
    """Agreement of two rankings of the same models.

    Attributes:
        spearman, spearman_lower, spearman_upper: rank correlation with its confidence interval.
        kendall: Kendall's tau-b.
        top_overlap: overlap of the best fraction (`top`) by `top_by` with the best fraction by the other measurement.
        top_spearman: rank correlation within the best fraction by `top_by`; NaN for fewer than four models.
        n: number of models.
        n_top: number of models in the best fraction.
        top_by: measurement that selects the best fraction: "the reference", or "a third seed" different from both.
            Selection by the reference restricts its range and lowers the correlation, so compare only values with the
            same `top_by`.
    """

    spearman: float
    spearman_lower: float
    spearman_upper: float
    kendall: float
    top_overlap: float
    top_spearman: float
    n: int
    n_top: int
    top_by: str = "the reference"


def rank_agreement(
    cheap: ArrayLike, reference: ArrayLike, *, top: float = 0.1, third: ArrayLike | None = None
) -> RankAgreement:
    """Compare two rankings of the same models.

    Args:
        cheap, reference: shape (N,), errors of the same models. Pairs with a nonfinite value are excluded.
        top: best fraction of the models, in (0, 1]; at least one model.
        third: shape (N,), errors from a third seed, which then select the best fraction instead of the reference.

    Raises:
        ValueError: different shapes, or `top` outside (0, 1].
    """
    a, b = np.asarray(cheap, dtype=float), np.asarray(reference, dtype=float)
    selecting = b if third is None else np.asarray(third, dtype=float)
    if not a.shape == b.shape == selecting.shape or a.ndim != 1:
        raise ValueError(
            f"cheap = array of shape {a.shape}: must be one-dimensional with the shape of reference, {b.shape}"
        )
    if not 0 < top <= 1:
        raise ValueError(f"top = {top}: must be in (0, 1], for example 0.1")
    finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(selecting)
    a, b, selecting = a[finite], b[finite], selecting[finite]
    n = len(a)
    k = max(1, round(top * n)) if n else 0
    overall = rank_trend(a, b)
    best = np.argsort(selecting, kind="stable")[:k]
    cheap_best = np.argsort(a, kind="stable")[:k]
    kendall = float(stats.kendalltau(a, b).statistic) if n >= 4 and np.ptp(a) > 0 and np.ptp(b) > 0 else np.nan
    overlap = len(np.intersect1d(best, cheap_best)) / k if k else np.nan
    within = rank_trend(a[best], b[best]).rho
    top_by = "the reference" if third is None else "a third seed"
    return RankAgreement(overall.rho, overall.lower, overall.upper, kendall, overlap, within, n, k, top_by)


def order_agreement(cheap: ArrayLike, reference: ArrayLike, spaces: ArrayLike) -> float:
    """Fraction of pairs of spaces with the same order by both measurements; NaN for a single space.

    The order of two spaces follows from the probability that a random model of one beats a random model of the other.
    """
    a, b, labels = np.asarray(cheap, dtype=float), np.asarray(reference, dtype=float), np.asarray(spaces).astype(str)
    finite = np.isfinite(a) & np.isfinite(b)
    a, b, labels = a[finite], b[finite], labels[finite]
    same = []
    for one, other in combinations(dict.fromkeys(labels), 2):
        first, second = labels == one, labels == other
        signs = [np.sign(_advantage(values[first], values[second])) for values in (a, b)]
        same.append(signs[0] == signs[1])
    return float(np.mean(same)) if same else np.nan


def _advantage(a: Array, b: Array) -> float:
    """P(a < b) + P(a = b) / 2 - 1/2: in [-1/2, 1/2], positive if a has smaller errors."""
    u = stats.mannwhitneyu(a, b, method="asymptotic").statistic
    return float(0.5 - u / (len(a) * len(b)))


def epoch_fidelity(frame: pd.DataFrame, *, space: str = "space", top: float = 0.1) -> pd.DataFrame:
    """Agreement of the ranking after each epoch with the ranking after the last.

    With a schedule that ends at a small learning rate, a short training ranks the models at least about as well as the
    same epoch of a longer one.

    Args:
        frame: columns `space` and `epoch_validation_error_percent` (one sequence per row). Models that stopped before
            the last epoch of the longest training are excluded.
        space: column that defines the spaces.
        top: as in `rank_agreement`.

    Returns:
        One row per epoch: epoch (from 1), the fields of `RankAgreement`, `order` (`order_agreement`). Empty with fewer
        than four models or two epochs.
    """
    curves, kept = curve_matrix(frame)
    if curves.shape[0] < 4 or curves.shape[1] < 2:
        return pd.DataFrame(columns=["epoch", *RankAgreement.__dataclass_fields__, "order"])
    labels = frame[space].to_numpy()[kept]
    last = curves[:, -1]
    rows = [
        {
            "epoch": epoch + 1,
            **asdict(rank_agreement(curves[:, epoch], last, top=top)),
            "order": order_agreement(curves[:, epoch], last, labels),
        }
        for epoch in range(curves.shape[1])
    ]
    return pd.DataFrame(rows)


def curve_matrix(frame: pd.DataFrame) -> tuple[Array, NDArray[np.int64]]:
    """Validation errors, shape (models, epochs), and the row numbers of these models in the frame."""
    if CURVE not in frame:
        return np.empty((0, 0)), np.empty(0, dtype=np.int64)
    curves = [tuple(curve) if isinstance(curve, tuple | list | np.ndarray) else () for curve in frame[CURVE]]
    longest = max(map(len, curves), default=0)
    kept = np.array([row for row, curve in enumerate(curves) if len(curve) == longest > 0], dtype=np.int64)
    return np.array([curves[row] for row in kept], dtype=float).reshape(len(kept), longest), kept


def cheapest_epoch(fidelity: pd.DataFrame, threshold: float = RELIABLE) -> int | None:
    """First epoch from which the ranking is reliable; None if only the last epoch is.

    Reliable: the lower bound of Spearman's rho stays at or above the threshold, and the spaces keep their order.

    Args:
        fidelity: from `epoch_fidelity`.
        threshold: in (0, 1).
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold = {threshold}: must be between 0 and 1, for example {RELIABLE}")
    good = (fidelity["spearman_lower"] >= threshold) & ~(fidelity["order"] < 1)
    stays = good[::-1].cummin()[::-1]
    epochs = fidelity.loc[stays.astype(bool), "epoch"]
    first = int(epochs.iloc[0]) if len(epochs) else None
    return None if first is None or first == int(fidelity["epoch"].iloc[-1]) else first


def recipe_fidelity(frame: pd.DataFrame, *, top: float = 0.1) -> pd.DataFrame:
    """Agreement between trainings of the same networks with different recipes or data.

    Recipes differ if their known recipe_id or data_id differ. A study with unknown recipe counts as a different one
    only if it has another result for the same network and seed; otherwise it may contain other seeds of the same
    recipe.

    Args:
        frame: columns `study`, `space`, `spec_id`, `error_percent` (finite), and optionally `recipe_id`, `data_id`,
            `seed`. Networks are matched by spec_id and averaged over seeds.
        top: as in `rank_agreement`.

    Returns:
        One row per pair of recipes with at least four common networks: cheap, reference (names of their studies),
        fields of `RankAgreement`, `order`.
    """
    absent = {name: None for name in ("recipe_id", "data_id", "seed") if name not in frame}
    frame = frame.assign(**absent)
    stated = frame["recipe_id"].notna() | frame["data_id"].notna()
    frame["unstated"] = frame["study"].where(~stated)
    recipes = [part for _, part in frame.groupby(["recipe_id", "data_id", "unstated"], sort=False, dropna=False)]
    names = [", ".join(map(str, part["study"].unique())) for part in recipes]
    names = [
        f"{name} ({part['recipe_id'].iloc[0]})" if names.count(name) > 1 else name
        for name, part in zip(names, recipes, strict=True)
    ]
    rows = []
    for (cheap, a), (reference, b) in combinations(zip(names, recipes, strict=True), 2):
        means = [part.groupby("spec_id", sort=False)["error_percent"].mean() for part in (a, b)]
        both = pd.concat(means, axis=1, join="inner", keys=["cheap", "reference"])
        if len(both) < 4 or not _recipes_differ(a, b):
            continue
        agreement = asdict(rank_agreement(both["cheap"], both["reference"], top=top))
        labels = b.drop_duplicates("spec_id").set_index("spec_id")["space"][both.index]
        order = order_agreement(both["cheap"], both["reference"], labels)
        rows.append({"cheap": cheap, "reference": reference, **agreement, "order": order})
    return pd.DataFrame(rows, columns=["cheap", "reference", *RankAgreement.__dataclass_fields__, "order"])


def _recipes_differ(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    for name in ("recipe_id", "data_id"):
        one, other = a[name].iloc[0], b[name].iloc[0]
        if pd.notna(one) and pd.notna(other) and one != other:
            return True
    common = a.merge(b, on=["spec_id", "seed"])
    return bool((common["error_percent_x"] != common["error_percent_y"]).any())


def seed_agreement(frame: pd.DataFrame, *, top: float = 0.1) -> RankAgreement | None:
    """Agreement of two trainings that differ only in the seed, averaged over pairs of seeds.

    A third seed selects the best fraction, so the selection biases neither of the two: the rank correlation is that of
    two new trainings of models selected by one training. With only two seeds, the reference selects (in both
    directions), which restricts its range and lowers the correlation. Within the truly best fraction, whose expected
    errors differ less, the correlation is lower than both (`benchmarks.calibration.agreement`).

    Args:
        frame: columns that identify a model (`analysis.seeds`), `seed`, `error_percent` (finite).
        top: as in `rank_agreement`.

    Returns:
        Means of `RankAgreement` over the pairs, for the models with at least the median number of seeds of the repeated
        models; None if fewer than four models have several seeds.
    """
    seeds = frame.groupby([*model_columns(frame), "seed"], dropna=False)["error_percent"].mean().reset_index()
    model = seeds.groupby(model_columns(frame), sort=False, dropna=False)
    wide = seeds.assign(model=model.ngroup(), seed=model.cumcount()).pivot_table(
        index="model", columns="seed", values="error_percent"
    )
    counts = wide.notna().sum(axis=1)
    repeated = counts[counts >= 2]
    if len(repeated) < 4:
        return None
    number = int(np.quantile(repeated, 0.5, method="lower"))
    columns = wide.loc[counts >= number, range(number)].to_numpy().T
    if number == 2:
        pairs = [rank_agreement(a, b, top=top) for a, b in permutations(columns)]
    else:
        triples = zip(columns, np.roll(columns, -1, axis=0), np.roll(columns, -2, axis=0), strict=True)
        pairs = [rank_agreement(a, b, top=top, third=third) for a, b, third in triples]
    means = pd.DataFrame(pairs).drop(columns="top_by").mean()
    return replace(pairs[0], **means.drop(["n", "n_top"]))


CURVE_COLUMNS = {
    "epoch": "epoch, from 1",
    "lowest": "smallest validation error over the models, percent",
    "lower, median, upper": "quartiles over the models, percent",
    "best": "curve of the model that is best after the last epoch, percent",
    "n": "number of models that reached the last epoch",
}


def learning_curves(frame: pd.DataFrame, by: str = "space") -> pd.DataFrame:
    """Quartiles of the validation error after every epoch in each space.

    Args:
        frame: columns `by` and `epoch_validation_error_percent` (one sequence per row). Models that stopped early are
            excluded.
        by: column that defines the spaces.

    Returns:
        One row per space and epoch, columns `by` and those of CURVE_COLUMNS; empty with fewer than two epochs.
    """
    parts = []
    for label, part in frame.groupby(by, sort=False):
        curves, _ = curve_matrix(part)
        if curves.shape[0] < 1 or curves.shape[1] < 2:
            continue
        lower, median, upper = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
        columns = {"lowest": curves.min(axis=0), "lower": lower, "median": median, "upper": upper}
        columns["best"] = curves[np.argmin(curves[:, -1])]
        epochs = np.arange(1, curves.shape[1] + 1)
        parts.append(pd.DataFrame({by: label, "epoch": epochs, **columns, "n": len(curves)}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[by, "epoch"])


@dataclass(frozen=True)
class NoiseFloor:
    """Variance between architectures and between seeds (one-way random-effects analysis of variance).

    Attributes:
        seed_sd, seed_sd_lower, seed_sd_upper: standard deviation of a model's error over seeds, points, with its
            confidence interval.
        architecture_sd: standard deviation of the models' expected errors, points; 0 if seeds explain all of the
            variance.
        reliability: fraction of the variance of a single training due to the architecture (intraclass correlation).
        smallest_difference: difference of two models trained once that noise exceeds with 5 % probability.
        models: models with at least two seeds.
        trainings: trainings of these models.
    """

    seed_sd: float
    seed_sd_lower: float
    seed_sd_upper: float
    architecture_sd: float
    reliability: float
    smallest_difference: float
    models: int
    trainings: int

    def difference(self, seeds: int = 1) -> float:
        """Difference of two models, each averaged over `seeds` trainings, that noise exceeds with 5 % probability."""
        return self.smallest_difference / float(np.sqrt(seeds))


def noise_floor(frame: pd.DataFrame, *, confidence: float = 0.95) -> NoiseFloor | None:
    """Separate the variance between architectures from the variance between seeds.

    The models must not be selected by these errors: the best models by mean error have a smaller apparent variance
    between architectures.

    Args:
        frame: columns `error_percent` (finite) and those that identify a model (`analysis.seeds`); one row per
            training.
        confidence: confidence of the interval of `seed_sd`.

    Returns:
        None if fewer than two models have several seeds.

    Source: one-way analysis of variance with groups of unequal size, e.g. Searle, Casella & McCulloch, "Variance
    Components" (1992), Sec. 3.6; chi-square interval for the seed variance.
    """
    frame = distinct_trainings(frame)
    grouped = frame.groupby(model_columns(frame), sort=False, dropna=False)["error_percent"]
    groups = grouped.agg(["size", "mean", "var"])
    groups = groups[groups["size"] >= 2]
    if len(groups) < 2:
        return None
    size, mean = groups["size"].to_numpy(dtype=float), groups["mean"].to_numpy(dtype=float)
    total, k = size.sum(), len(size)
    within = float(np.sum((size - 1) * groups["var"].to_numpy(dtype=float)) / (total - k))
    grand = float(np.sum(size * mean) / total)
    between = float(np.sum(size * (mean - grand) ** 2) / (k - 1))
    typical = (total - np.sum(size**2) / total) / (k - 1)
    architecture = max(0.0, (between - within) / typical)
    degrees = total - k
    ends = np.sqrt(within * degrees / stats.chi2(degrees).ppf([0.5 + confidence / 2, 0.5 - confidence / 2]))
    sd = float(np.sqrt(within))
    share = architecture / (architecture + within) if architecture + within > 0 else np.nan
    smallest = float(stats.norm.ppf(0.975) * np.sqrt(2) * sd)
    return NoiseFloor(sd, float(ends[0]), float(ends[1]), float(np.sqrt(architecture)), share, smallest, k, int(total))


@dataclass(frozen=True)
class DepthNoise:
    """Training noise of deep models and of the others.

    Attributes:
        depth: smallest number of blocks of a deep model.
        deep_sd, other_sd: standard deviation of a model's error over seeds, points.
        p_value: one-sided permutation p-value of equal noise.
        deep, others: models with at least two seeds.
    """

    depth: int
    deep_sd: float
    other_sd: float
    p_value: float
    deep: int
    others: int

    @property
    def is_larger(self) -> bool:
        """Whether deep models are noisier at level 0.01, by at least a half."""
        return self.p_value < 0.01 and self.deep_sd >= 1.5 * self.other_sd


def noise_by_depth(frame: pd.DataFrame, *, seed: int = 0) -> DepthNoise | None:
    """Compare the training noise of the deepest third of the models with that of the others.

    Args:
        frame: columns of `noise_floor` and `depth`.
        seed: seed of the permutations.

    Returns:
        None if fewer than four models in either group have several seeds.
    """
    if "depth" not in frame:
        return None
    frame = distinct_trainings(frame[frame["depth"].notna()])
    grouped = frame.groupby(model_columns(frame), sort=False, dropna=False)
    models = grouped["error_percent"].agg(["size", "var"]).assign(depth=grouped["depth"].first())
    models = models[models["size"] >= 2]
    if models.empty:
        return None
    degrees, squares = models["size"].to_numpy(dtype=float) - 1, models["var"].to_numpy(dtype=float)
    depth = models["depth"].to_numpy(dtype=float)
    deep = depth >= np.quantile(depth, 2 / 3)
    if min(deep.sum(), (~deep).sum()) < MIN_GROUP:
        return None
    rng = np.random.default_rng(seed)
    masks = np.stack([deep, *(rng.permutation(deep) for _ in range(PERMUTATIONS))])
    sums = (masks @ (degrees * squares), masks @ degrees)
    within = sums[0] / sums[1]
    others = (degrees @ squares - sums[0]) / (degrees.sum() - sums[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(within / others, nan=1.0)
    p_value = float(np.mean(ratios >= ratios[0]))
    smallest = int(depth[deep].min())
    sds = (float(np.sqrt(within[0])), float(np.sqrt(others[0])))
    return DepthNoise(smallest, *sds, p_value, int(deep.sum()), int((~deep).sum()))

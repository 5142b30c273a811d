"""Training noise, rank agreement between trainings, and learning curves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.parameters import rank_trend
from analysis.seeds import distinct_trainings, model_columns

Array = NDArray[np.float64]

CURVE = "epoch_validation_error_percent"
RELIABLE = 0.9


@dataclass(frozen=True)
class RankAgreement:
    """How well one measurement of the same models ranks them like another.

    Attributes:
        spearman, spearman_lower, spearman_upper: rank correlation with interval.
        kendall: Kendall's tau-b.
        top_overlap: share of the best tenth (`top`) by `top_by` that is also in the best tenth by the other.
        top_spearman: rank correlation within the best tenth by `top_by`; NaN for fewer than four models.
        n: models.
        n_top: models in the best tenth.
        top_by: the measurement that selects the best tenth: "the reference", or "a third seed" that is neither of the
            two. Selection by the reference restricts its range only, which lowers the correlation differently: compare
            only values with the same `top_by`.
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
        cheap, reference: shape (N,), errors of the same models; pairs with a value that is not finite are left out.
        top: share of the models that are the best ones, in (0, 1]; at least one model.
        third: shape (N,), errors from a third seed, which then select the best models instead of the reference.

    Raises:
        ValueError: shapes that differ, `top` outside (0, 1].
    """
    a, b = np.asarray(cheap, dtype=float), np.asarray(reference, dtype=float)
    selecting = b if third is None else np.asarray(third, dtype=float)
    if not a.shape == b.shape == selecting.shape or a.ndim != 1:
        raise ValueError(
            f"cheap has shape {a.shape} and reference {b.shape}; both must be one-dimensional and the same"
        )
    if not 0 < top <= 1:
        raise ValueError(f"top = {top}: must be a share in (0, 1], e.g. 0.1")
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
    """Share of the pairs of spaces whose error distributions are in the same order by both measurements.

    The order of two spaces is that of the probability that a random model of one beats one of the other; NaN for a
    single space.
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
    """P(a < b) + P(a = b) / 2 - 1/2, from ranks: in [-1/2, 1/2], positive where a has the smaller errors."""
    u = stats.mannwhitneyu(a, b, method="asymptotic").statistic
    return float(0.5 - u / (len(a) * len(b)))


def epoch_fidelity(frame: pd.DataFrame, *, space: str = "space", top: float = 0.1) -> pd.DataFrame:
    """Agreement of every epoch with the last one.

    Args:
        frame: columns `space` and `epoch_validation_error_percent` (a sequence a row); models that did not reach the
            last epoch of the longest training are left out.
        top: as in `rank_agreement`.

    Returns:
        One row an epoch: epoch (from 1), the fields of `RankAgreement`, `order` (`order_agreement`). Empty when fewer
        than four models have curves of at least two epochs. Under a schedule that ends at a small learning rate an
        early epoch is not what a training of that many epochs would give, only a lower bound of its worth.
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
    """Validation errors by model and epoch, shape (models, epochs), and the positions of those models in the frame."""
    if CURVE not in frame:
        return np.empty((0, 0)), np.empty(0, dtype=np.int64)
    curves = [tuple(curve) if isinstance(curve, tuple | list | np.ndarray) else () for curve in frame[CURVE]]
    longest = max(map(len, curves), default=0)
    kept = np.array([place for place, curve in enumerate(curves) if len(curve) == longest > 0], dtype=np.int64)
    return np.array([curves[place] for place in kept], dtype=float).reshape(len(kept), longest), kept


def cheapest_epoch(fidelity: pd.DataFrame, threshold: float = RELIABLE) -> int | None:
    """The first epoch from which on the interval of Spearman's rho stays above a threshold and the spaces keep their
    order; None if only the last epoch itself does (or there are no curves).

    Args:
        fidelity: from `epoch_fidelity`.
        threshold: in (0, 1).
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold = {threshold}: must be between 0 and 1, e.g. {RELIABLE}")
    good = (fidelity["spearman_lower"] >= threshold) & ~(fidelity["order"] < 1)
    stays = good[::-1].cummin()[::-1]
    epochs = fidelity.loc[stays.astype(bool), "epoch"]
    first = int(epochs.iloc[0]) if len(epochs) else None
    return None if first is None or first == int(fidelity["epoch"].iloc[-1]) else first


def recipe_fidelity(frame: pd.DataFrame, *, top: float = 0.1) -> pd.DataFrame:
    """Agreement between trainings of the same networks under different recipes or on different data.

    Recipes differ if their known recipe_id or data_id differ. A study that does not state its recipe counts as another
    one only if it has another result for the same network and seed; otherwise it may hold seeds of the same recipe.

    Args:
        frame: columns `study`, `space`, `spec_id`, `error_percent` (finite), and `recipe_id`, `data_id`, `seed` as far
            as known. Networks are matched by spec_id, seeds averaged.
        top: as in `rank_agreement`.

    Returns:
        One row per pair of recipes that share at least four networks: cheap, reference (names of their studies), fields
        of `RankAgreement`, `order`.
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
    """Agreement of two trainings that differ in the seed only, averaged over pairs of seeds.

    The best tenth is selected by a third seed, so that neither of the two is biased by the selection: its rank
    correlation is that of two new trainings of the models that one training selects. With two seeds only, the reference
    selects, in both directions, which restricts the range of one of the two and gives a lower correlation. Within the
    truly best tenth, whose expected errors differ less, the correlation is lower than both
    (`benchmarks.calibration.agreement`).

    Args:
        frame: columns that name a model (`analysis.seeds`), `seed`, `error_percent` (finite).
        top: as in `rank_agreement`.

    Returns:
        Means of `RankAgreement` over the pairs, of the models that have as many seeds as at least half of the repeated
        ones have; None where fewer than four models were trained with several seeds.
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
        found = [rank_agreement(a, b, top=top) for a, b in permutations(columns)]
    else:
        triples = zip(columns, np.roll(columns, -1, axis=0), np.roll(columns, -2, axis=0), strict=True)
        found = [rank_agreement(a, b, top=top, third=third) for a, b, third in triples]
    means = pd.DataFrame(found).drop(columns="top_by").mean()
    return replace(found[0], **means.drop(["n", "n_top"]))


CURVE_COLUMNS = {
    "epoch": "epoch, from 1",
    "lowest": "smallest validation error of any model, percent",
    "lower, median, upper": "quartiles over the models, percent",
    "best": "curve of the model that is best in the end, percent",
    "n": "models that reached the last epoch",
}


def learning_curves(frame: pd.DataFrame, by: str = "space") -> pd.DataFrame:
    """Quartiles of the validation error after every epoch, for each space.

    Args:
        frame: columns `by` and `epoch_validation_error_percent` (a sequence a row); models that stopped early are left
            out.

    Returns:
        One row per space and epoch, columns `by` and those of CURVE_COLUMNS; empty without curves of two epochs.
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
    """Variance between architectures and between seeds (a one-way random-effects analysis of variance).

    Attributes:
        seed_sd, seed_sd_lower, seed_sd_upper: standard deviation of one model's error over seeds, points, with
            interval.
        architecture_sd: standard deviation of the models' true errors, points; 0 if the seeds explain all.
        reliability: share of the variance of a single training that is the architecture's (intraclass correlation).
        smallest_difference: difference of two models, each trained once, that chance exceeds with 5 % probability only.
        models: models with at least two seeds; trainings: their trainings.
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
        """Difference of two models, each the mean of `seeds` trainings, that chance exceeds in one of 20 cases."""
        return self.smallest_difference / float(np.sqrt(seeds))


def noise_floor(frame: pd.DataFrame, *, confidence: float = 0.95) -> NoiseFloor | None:
    """Separate the variance between architectures from that between seeds.

    The models must not be selected by the errors given: among the best by their mean, the architectures seem more alike
    than they are.

    Args:
        frame: columns `error_percent` (finite) and those that name a model (`analysis.seeds`); one row a training.
        confidence: of the interval of `seed_sd`.

    Returns:
        None if fewer than two models have several seeds.

    Source: the usual one-way analysis of variance with groups of unequal size, e.g. Searle, Casella & McCulloch,
    "Variance Components" (1992), Sec. 3.6; a chi-square interval for the seeds.
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

"""Whether a cheaper training tells the same story: rank agreement between epochs, recipes or seeds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.seeds import model_columns
from analysis.trends import rank_trend

Array = NDArray[np.float64]

CURVE = "epoch_validation_error_percent"
TRUSTWORTHY = 0.9


@dataclass(frozen=True)
class RankAgreement:
    """How well one measurement of the same models ranks them like another.

    Attributes:
        spearman, spearman_lower, spearman_upper: rank correlation with interval.
        kendall: Kendall's tau-b.
        top_overlap: of the best tenth (`top`) by the reference, the part that the other also has in its best tenth.
        top_spearman: rank correlation within the best tenth by the reference; far lower than over all models.
        n: models.
        n_top: models in the best tenth.
    """

    spearman: float
    spearman_lower: float
    spearman_upper: float
    kendall: float
    top_overlap: float
    top_spearman: float
    n: int
    n_top: int


def rank_agreement(
    cheap: ArrayLike, reference: ArrayLike, *, top: float = 0.1, top_by: ArrayLike | None = None
) -> RankAgreement:
    """Compare two rankings of the same models.

    Args:
        cheap, reference: shape (N,), errors of the same models; pairs with a value that is not finite are left out.
        top: share of the models that are the best ones, in (0, 1]; at least one model.
        top_by: shape (N,), the errors that say which are the best; the reference by default. For two seeds of equal
            standing take their mean.

    Raises:
        ValueError: shapes that differ, `top` outside (0, 1].
    """
    a, b = np.asarray(cheap, dtype=float), np.asarray(reference, dtype=float)
    judge = b if top_by is None else np.asarray(top_by, dtype=float)
    if not a.shape == b.shape == judge.shape or a.ndim != 1:
        raise ValueError(
            f"cheap has shape {a.shape} and reference {b.shape}; both must be one-dimensional and the same"
        )
    if not 0 < top <= 1:
        raise ValueError(f"top is {top}; it must be a share in (0, 1], e.g. 0.1")
    known = np.isfinite(a) & np.isfinite(b) & np.isfinite(judge)
    a, b, judge = a[known], b[known], judge[known]
    n = len(a)
    k = max(1, round(top * n)) if n else 0
    found = rank_trend(a, b)
    best = np.argsort(judge, kind="stable")[:k]
    mine = np.argsort(a, kind="stable")[:k]
    kendall = float(stats.kendalltau(a, b).statistic) if n >= 4 and np.ptp(a) > 0 and np.ptp(b) > 0 else np.nan
    overlap = len(np.intersect1d(best, mine)) / k if k else np.nan
    within = rank_trend(a[best], b[best]).rho
    return RankAgreement(found.rho, found.lower, found.upper, kendall, overlap, within, n, k)


def order_agreement(cheap: ArrayLike, reference: ArrayLike, spaces: ArrayLike) -> float:
    """Share of the pairs of spaces whose error distributions are in the same order by both measurements.

    The order of two spaces is that of the probability that a random model of one beats one of the other; NaN for a
    single space.
    """
    a, b, labels = np.asarray(cheap, dtype=float), np.asarray(reference, dtype=float), np.asarray(spaces).astype(str)
    known = np.isfinite(a) & np.isfinite(b)
    a, b, labels = a[known], b[known], labels[known]
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


def cheapest_epoch(fidelity: pd.DataFrame, threshold: float = TRUSTWORTHY) -> int | None:
    """The first epoch from which on the interval of Spearman's rho stays above a threshold and the spaces keep their
    order; None if only the last epoch itself does (or there are no curves).

    Args:
        fidelity: from `epoch_fidelity`.
        threshold: in (0, 1).
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}; it must be between 0 and 1, e.g. {TRUSTWORTHY}")
    good = (fidelity["spearman_lower"] >= threshold) & ~(fidelity["order"] < 1)
    stays = good[::-1].cummin()[::-1]
    epochs = fidelity.loc[stays.astype(bool), "epoch"]
    first = int(epochs.iloc[0]) if len(epochs) else None
    return None if first is None or first == int(fidelity["epoch"].iloc[-1]) else first


def recipe_fidelity(frame: pd.DataFrame, *, by: str = "study", space: str = "space", top: float = 0.1) -> pd.DataFrame:
    """Agreement between trainings of the same networks under different recipes (or on different data).

    Args:
        frame: columns `by`, `space`, `spec_id`, `error_percent` (finite). Networks are matched by spec_id, seeds
            averaged.
        by: the column that names the training, e.g. "study" or "recipe_id".

    Returns:
        One row per pair of its values that share at least four networks: cheap, reference, fields of `RankAgreement`,
        `order`.
    """
    wide = frame.pivot_table(index="spec_id", columns=by, values="error_percent", aggfunc="mean", observed=True)
    labels = frame.drop_duplicates("spec_id").set_index("spec_id")[space].reindex(wide.index)
    rows = []
    order = [name for name in dict.fromkeys(frame[by]) if name in wide]
    for cheap, reference in combinations(order, 2):
        both = wide[[cheap, reference]].notna().all(axis=1)
        if both.sum() < 4:
            continue
        a, b = wide.loc[both, cheap], wide.loc[both, reference]
        agreement = asdict(rank_agreement(a, b, top=top))
        rows.append({"cheap": cheap, "reference": reference, **agreement, "order": order_agreement(a, b, labels[both])})
    return pd.DataFrame(rows, columns=["cheap", "reference", *RankAgreement.__dataclass_fields__, "order"])


def seed_agreement(frame: pd.DataFrame, *, top: float = 0.1) -> RankAgreement | None:
    """Agreement of two seeds of the same training, averaged over the pairs of seeds: the ceiling for any cheaper one.

    The best tenth is that by the mean of all seeds. None where fewer than two seeds share at least four networks.

    Args:
        frame: columns that name a model (`analysis.seeds`), `seed`, `error_percent` (finite).
    """
    model = frame.groupby(model_columns(frame), sort=False, dropna=False).ngroup()
    wide = frame.assign(model=model).pivot_table(index="model", columns="seed", values="error_percent").dropna()
    if wide.shape[1] < 2 or len(wide) < 4:
        return None
    judge = wide.mean(axis=1)
    pairs = [rank_agreement(wide[a], wide[b], top=top, top_by=judge) for a, b in combinations(wide.columns, 2)]
    means = {
        name: float(np.mean([getattr(pair, name) for pair in pairs])) for name in RankAgreement.__dataclass_fields__
    }
    return RankAgreement(**(means | {"n": len(wide), "n_top": pairs[0].n_top}))  # type: ignore[arg-type]

"""Effects of restrictions of a design space, estimated from a population of the unrestricted space.

The models that satisfy a restriction are a sample of the restricted space. A restriction is a column of a mask, shape
(n, K): n models, K restrictions. All statistics are computed for all restrictions at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from analysis.adjustment import FULL_LEVERAGE, trend_basis

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_MODELS = 10
"""Fewest models inside and outside of a restriction for an estimate."""
PERMUTATIONS = 1000
MIN_PERMUTATIONS = 200
BUDGET = 4e8
"""Models times restrictions times permutations. Beyond it there are fewer permutations."""
SPLITS = 10
MULTIPLIERS = 2000
SUBSETS = 4
"""Fewest disjoint subsets of m models inside and outside for the expected best of m."""
CHOICE = 3.0
"""Standard errors in the bound by which restrictions are ranked, near the critical value of a hundred of them."""


class MeanEffects:
    """Difference of mean error between each restricted space and the full space, at equal complexity.

    The effect of a restriction is the mean, over the models inside, of the error minus the mean error of the full space
    at the same complexity. Every complexity inside also occurs in the full space, so the estimate needs no common range
    and only one curve, that of the full space, even with few models inside.

    The estimate is linear in the errors: c'e with c = (I - H) m / k, where m is the membership of k models and H the
    hat matrix of the curve. The errors enter its variance through their residuals from the curve and a constant
    difference between inside and outside, scaled as in HC2. Membership is random, too, and contributes because the full
    space is p inside + (1 - p) outside with an estimated p.

    Args:
        errors: shape (n,), percent.
        position: shape (n,), log complexity; None to compare the models as drawn.
        kept: shape (n, K), True for models inside; at least one model is inside and one outside.

    Attributes:
        effect: shape (K,), points; negative values favor the restriction.
        standard_error: shape (K,), points.
        influence: shape (n, K), contribution of each model to the error of the estimate.
        adjusted: shape (n,), errors with their trend over complexity removed and their mean kept.

    Source: regression adjustment as in `analysis.adjustment`; permutation of residuals, Freedman & Lane, J. Business &
    Economic Statistics 1 (1983) 292-298; simultaneous intervals from permutations, Westfall & Young (1993).
    """

    def __init__(self, errors: Array, position: Array | None, kept: Mask) -> None:
        self._basis = trend_basis(len(errors), position)
        member = kept.astype(float)
        self._count = member.sum(axis=0)
        self._residuals = errors - self._basis @ (self._basis.T @ errors)
        self.adjusted = self._residuals + errors.mean()
        # The part of membership that complexity does not explain.
        self._part = member - self._basis @ (self._basis.T @ member)
        self._square = np.sum(self._part**2, axis=0)
        self._leverage = np.sum(self._basis**2, axis=1)
        spare = np.clip(1 - self._leverage[:, None] - self._part**2 / self._square, FULL_LEVERAGE, None)
        self._scaled = (self._part / self._count) ** 2 / spare
        self._share = self._square / self._count
        difference = self._part.T @ self._residuals / self._square  # inside minus outside
        self.effect = difference * self._share
        residuals = self._residuals[:, None] - self._part * difference
        chance = (self._part**2 - member * self._share) / self._count  # influence of membership, per difference
        self._chance = np.sum(chance**2, axis=0)
        self.influence = self._part / self._count * residuals / np.sqrt(spare) + chance * difference
        self.standard_error = np.sqrt(np.sum(self._scaled * residuals**2, axis=0) + difference**2 * self._chance)

    @cached_property
    def degrees(self) -> Array:
        """Satterthwaite degrees of freedom of the variances, shape (K,), as in `ErrorCurve.average`."""
        n, p = self._basis.shape
        unit = self._part / np.sqrt(self._square)
        pairs = (self._basis[:, :, None] * self._basis[:, None, :]).reshape(n, p**2)
        second = (
            np.sum(self._scaled**2 * (1 - 2 * (self._leverage[:, None] + unit**2)), axis=0)
            + np.sum((pairs.T @ self._scaled) ** 2, axis=0)
            + 2 * np.sum((self._basis.T @ (self._scaled * unit)) ** 2, axis=0)
            + np.sum(self._scaled * unit**2, axis=0) ** 2
        )
        return np.asarray((self._square / self._count**2) ** 2 / second)

    def upper_bound(self, scale: float = 1.0) -> Array:
        """Upper bound of each effect at CHOICE standard errors, times `scale`, by which restrictions are ranked."""
        return self.effect + CHOICE * scale * self.standard_error

    def statistic(self) -> Array:
        """Effects in standard errors, shape (K,); 0 where the standard error is 0."""
        return _ratio(self.effect, self.standard_error)

    def null_tails(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Smallest lower and upper tail probability of the statistics over all restrictions, under permutations.

        Permuting the residuals gives the joint distribution of the statistics without any effect. It accounts for their
        correlation and, unlike t-distributions, for skewed errors with few models inside.

        Returns:
            Two arrays of shape (permutations,).
        """
        n, restrictions = self._part.shape
        permutations = int(np.clip(BUDGET / (n * restrictions), MIN_PERMUTATIONS, PERMUTATIONS))
        scaled = self._residuals / np.sqrt(np.clip(1 - self._leverage, FULL_LEVERAGE, None))
        errors = rng.permuted(np.broadcast_to(scaled, (permutations, n)), axis=1).T
        residuals = errors - self._basis @ (self._basis.T @ errors)
        difference = self._part.T @ residuals / self._square[:, None]
        cross = self._scaled * self._part
        variance = (
            self._scaled.T @ residuals**2
            - 2 * difference * (cross.T @ residuals)
            + difference**2 * (np.sum(cross * self._part, axis=0) + self._chance)[:, None]
        )
        statistic = _ratio(difference * self._share[:, None], np.sqrt(np.clip(variance, 0, None)))
        # The tail probability is monotone in the statistic but differs between restrictions by the degrees of freedom.
        tails = np.asarray(stats.t.cdf(statistic, self.degrees[:, None]))
        return tails.min(axis=0), 1 - tails.max(axis=0)


def _ratio(value: Array, error: Array) -> Array:
    return np.divide(value, error, out=np.zeros_like(value), where=error > 0)


class BestEffects:
    """Difference of the expected best of m models between each restricted space and the full space.

    The expected best is the mean over all subsets of m models, an unbiased estimate at any number of models: the model
    of rank r of k is the best of C(k - r, m - 1) of the C(k, m) subsets. `analysis.random_search.expected_best` draws
    with replacement, which is biased toward worse errors for the smaller of two samples. The standard error is that of
    the jackknife, or that without any effect if it is larger: the jackknife is too small if none of the few best models
    is inside, or none outside.

    Args:
        errors: shape (n,), adjusted for complexity (`MeanEffects.adjusted`).
        kept: shape (n, K).
        draws: m.

    Attributes:
        effect, standard_error: shape (K,), points; NaN with fewer than SUBSETS m models inside or outside.
        influence: shape (n, K).
        degrees: shape (K,), number of disjoint subsets of m models inside or outside less one.
    """

    def __init__(self, errors: Array, kept: Mask, draws: int) -> None:
        order = np.argsort(errors, kind="stable")
        sorted_errors = errors[order][:, None]
        full, from_full = _expected_best(sorted_errors, np.ones((len(errors), 1), dtype=bool), draws)
        best, influence = _expected_best(sorted_errors, kept[order], draws)
        count, n = kept.sum(axis=0), len(errors)
        self.effect = np.where(n - count >= SUBSETS * draws, best - full, np.nan)
        self.influence = np.empty(kept.shape)
        self.influence[order] = influence - from_full
        pooled = np.sum(from_full**2) * (n / np.maximum(count, 1) - 1)
        self.standard_error = np.sqrt(np.maximum(np.sum(self.influence**2, axis=0), pooled))
        self.degrees = np.maximum(np.minimum(count, n - count) / draws - 1, 1)

    def half_widths(self, confidence: float, rng: np.random.Generator) -> Array:
        """Half widths of simultaneous intervals, shape (K,), from the joint normal distribution of the influences.

        Source: multiplier bootstrap, Chernozhukov, Chetverikov & Kato, Annals of Statistics 41 (2013) 2786-2819.
        """
        known = np.isfinite(self.effect) & (np.linalg.norm(self.influence, axis=0) > 0)
        half = np.where(np.isfinite(self.effect), 0.0, np.nan)
        if not known.any():
            return half
        influence = self.influence[:, known]
        normal = rng.standard_normal((MULTIPLIERS, len(influence))) @ (influence / np.linalg.norm(influence, axis=0))
        degrees = self.degrees[known]
        spread = rng.chisquare(degrees, normal.shape) / degrees
        smallest = stats.t.sf(np.abs(normal) / np.sqrt(spread), degrees).min(axis=1)
        half[known] = stats.t.isf(np.quantile(smallest, 1 - confidence), degrees) * self.standard_error[known]
        return half


def _expected_best(errors: Array, kept: Mask, draws: int) -> tuple[Array, Array]:
    """Expected best of m of the models in each column, shape (K,), and the influence of each model, shape (n, K).

    Args:
        errors: shape (n, 1), ascending.
        kept: shape (n, K), in the same order.
        draws: m.
    """
    rank = np.cumsum(kept, axis=0, dtype=np.int64)
    count = rank[-1]
    log_factorial = gammaln(np.arange(len(kept) + 2) + 1.0)

    def log_choose(n: NDArray[np.int64], k: int) -> Array:
        n = np.maximum(n, 0)
        return np.where(n >= k, log_factorial[n] - log_factorial[k] - log_factorial[np.maximum(n - k, 0)], -np.inf)

    def terms(rank: NDArray[np.int64], count: NDArray[np.int64]) -> Array:
        """Errors weighted by the probability to be the best of m."""
        with np.errstate(invalid="ignore"):
            return np.asarray(errors * kept * np.exp(log_choose(count - rank, draws - 1) - log_choose(count, draws)))

    best = terms(rank, count).sum(axis=0)
    # Without a model, the ranks of the models above it are smaller by 1.
    below, above = terms(rank, count - 1), terms(rank - 1, count - 1)
    without = np.cumsum(below, axis=0) - below + above.sum(axis=0) - np.cumsum(above, axis=0)
    influence = np.where(kept, np.sqrt((count - 1) / np.maximum(count, 1)) * (best - without), 0.0)
    enough = count >= SUBSETS * draws
    return np.where(enough, best, np.nan), np.where(enough, influence, np.nan)


@dataclass(frozen=True)
class CrossFit:
    """Cross-fitted effect of the best restriction.

    Attributes:
        effect, lower, upper: mean effect over the splits, points, and its confidence interval.
        chosen: restriction chosen in each half, shape (2 splits,).
    """

    effect: float
    lower: float
    upper: float
    chosen: NDArray[np.int64]


def most_certain(effects: MeanEffects, scale: float = 1.0) -> int:
    """Position of the best restriction: that with the smallest upper bound of its effect at CHOICE standard errors.

    Args:
        effects: of all restrictions.
        scale: factor of the standard errors.
    """
    return int(np.argmin(effects.upper_bound(scale)))


def cross_fit(
    errors: Array,
    position: Array | None,
    kept: Mask,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    splits: int = SPLITS,
) -> CrossFit | None:
    """Estimate the effect of the best restriction without the optimism of having chosen it.

    Each split chooses the best restriction on a random half of the models, with the standard errors of all models, and
    estimates its effect on the other half, in both directions. Restrictions with fewer than MIN_MODELS / 2 models
    inside or outside in a half are not chosen. The interval covers the mean effect of the chosen restrictions. The
    variance of a mean is at most the mean of the variances, however the splits depend on each other.

    Returns:
        None if a half has no restriction with enough models.

    Source: cross-fitting, Chernozhukov et al. 2018 (arXiv 1608.00060).
    """
    n, least = len(errors), MIN_MODELS // 2
    effects, variances, degrees, chosen = [], [], [], []
    for _ in range(splits):
        first = np.isin(np.arange(n), rng.permutation(n)[: n // 2])
        halves = (first, ~first)
        counts = [kept[half].sum(axis=0) for half in halves]
        enough = np.flatnonzero(
            np.all([(k >= least) & (half.sum() - k >= least) for k, half in zip(counts, halves, strict=True)], axis=0)
        )
        if not len(enough):
            return None

        def estimate(half: NDArray[np.bool_], columns: NDArray[np.int64]) -> MeanEffects:
            return MeanEffects(errors[half], None if position is None else position[half], kept[np.ix_(half, columns)])

        for half in halves:
            best = enough[most_certain(estimate(half, enough), np.sqrt(0.5))]
            other = estimate(~half, np.array([best]))
            effects.append(other.effect[0])
            variances.append(other.standard_error[0] ** 2)
            degrees.append(other.degrees[0])
            chosen.append(best)
    effect = float(np.mean(effects))
    # The two halves of a split are independent, so the variance of their mean is half of the mean variance.
    half_width = float(stats.t.ppf(0.5 + confidence / 2, np.mean(degrees)) * np.sqrt(np.mean(variances) / 2))
    return CrossFit(effect, effect - half_width, effect + half_width, np.array(chosen))

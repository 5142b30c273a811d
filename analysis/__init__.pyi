"""Names of `analysis` and their modules; `__init__.py` imports them on first use."""

from . import plots as plots
from .compare import compare_spaces
from .error_distributions import describe_spaces, edf, edf_by, simultaneous_band
from .grouping import group_by, in_families, keep_where, space_families
from .latency import fit_latency, latency_correlations
from .loading import load, load_table
from .manifold import expected_collapsed, manifold_experiment
from .matching import complexity_weights
from .parameters import best_range, permutation_importance, rank_trend, trend
from .random_search import expected_best, models_needed, random_search_by, random_search_curve
from .recipes import compare_recipes
from .regimes import assign_regimes, best_by_regime, power_law, regime_trends, scaling_exponents
from .results import Result
from .rows import FailurePolicy, apply_failure_policy, average_seeds
from .search import search_efficiency, search_runs
from .select import pareto_front, select_best
from .shrinkage import shrink
from .table import Table
from .trackers import track
from .training import (
    cheapest_epoch,
    epoch_fidelity,
    learning_curves,
    noise_by_depth,
    noise_floor,
    order_agreement,
    rank_agreement,
    recipe_fidelity,
    seed_agreement,
)
from .widths import fit_population, fit_quantized_linear, linear_structure, width_profiles

__all__ = [
    "FailurePolicy",
    "Result",
    "Table",
    "apply_failure_policy",
    "assign_regimes",
    "average_seeds",
    "best_by_regime",
    "best_range",
    "cheapest_epoch",
    "compare_recipes",
    "compare_spaces",
    "complexity_weights",
    "describe_spaces",
    "edf",
    "edf_by",
    "epoch_fidelity",
    "expected_best",
    "expected_collapsed",
    "fit_latency",
    "fit_population",
    "fit_quantized_linear",
    "group_by",
    "in_families",
    "keep_where",
    "latency_correlations",
    "learning_curves",
    "linear_structure",
    "load",
    "load_table",
    "manifold_experiment",
    "models_needed",
    "noise_by_depth",
    "noise_floor",
    "order_agreement",
    "pareto_front",
    "permutation_importance",
    "plots",
    "power_law",
    "random_search_by",
    "random_search_curve",
    "rank_agreement",
    "rank_trend",
    "recipe_fidelity",
    "regime_trends",
    "scaling_exponents",
    "search_efficiency",
    "search_runs",
    "seed_agreement",
    "select_best",
    "shrink",
    "simultaneous_band",
    "space_families",
    "track",
    "trend",
    "width_profiles",
]

"""Statistics and pictures over a table of trained models: arrays or frames in, tidy frames or frozen dataclasses out.

Nothing here trains or imports torch. Names are re-exported lazily, so that importing `analysis` costs nothing
until a statistic is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "table": ["load", "load_table", "Table"],
    "grouping": ["keep_where", "group_by"],
    "failures": ["apply_failure_policy", "FailurePolicy"],
    "seeds": ["average_seeds"],
    "error_distributions": ["describe_spaces", "edf", "edf_by", "simultaneous_band"],
    "matching": ["complexity_weights"],
    "compare": ["compare_spaces"],
    "random_search": ["random_search_curve", "random_search_by", "expected_best", "models_needed"],
    "widths": ["fit_quantized_linear", "fit_population", "width_profiles", "linear_structure"],
    "parameters": ["best_range", "trend", "rank_trend", "permutation_importance"],
    "families": ["space_families", "in_families"],
    "regimes": ["assign_regimes", "best_by_regime", "regime_trends", "power_law", "scaling_exponents"],
    "training": [
        "noise_floor",
        "rank_agreement",
        "order_agreement",
        "epoch_fidelity",
        "cheapest_epoch",
        "recipe_fidelity",
        "seed_agreement",
        "learning_curves",
    ],
    "select": ["select_best", "pareto_front"],
    "shrinkage": ["shrink"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(f"analysis.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__

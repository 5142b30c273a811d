"""Plots of statistics. Each function draws a frame onto Axes, computes nothing, and returns the Axes."""

from analysis.plots.distributions import plot_differences, plot_edf, plot_random_search, plot_search
from analysis.plots.manifold import plot_embedding, plot_manifold
from analysis.plots.parameters import (
    plot_dependence,
    plot_importance,
    plot_parameter,
    plot_pareto,
    plot_predictions,
    plot_regimes,
    plot_scores,
)
from analysis.plots.restrictions import plot_kept, plot_restrictions
from analysis.plots.training import plot_learning_curves, plot_rank_agreement, plot_recipes
from analysis.plots.widths import plot_linear_structure, plot_width_profiles

__all__ = [
    "plot_dependence",
    "plot_differences",
    "plot_edf",
    "plot_embedding",
    "plot_importance",
    "plot_kept",
    "plot_learning_curves",
    "plot_linear_structure",
    "plot_manifold",
    "plot_parameter",
    "plot_pareto",
    "plot_predictions",
    "plot_random_search",
    "plot_rank_agreement",
    "plot_recipes",
    "plot_regimes",
    "plot_restrictions",
    "plot_scores",
    "plot_search",
    "plot_width_profiles",
]

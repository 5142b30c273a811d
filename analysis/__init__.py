"""Statistics and pictures over a table of trained models: arrays or frames in, tidy frames or frozen dataclasses out.

Nothing here trains or imports torch. Names are re-exported lazily, so that importing `analysis` costs nothing
until a statistic is used. `edf` has the name of its module and is imported from there: `from analysis.edf import edf`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "load": "table",
    "Table": "table",
    "apply_failure_policy": "failures",
    "FailurePolicy": "failures",
    "simultaneous_band": "bands",
    "edf_by": "edf",
    "edf_area": "edf",
    "complexity_weights": "matching",
    "compare_spaces": "compare",
    "describe_spaces": "compare",
    "fit_quantized_linear": "quantized_linear_fit",
    "fit_population": "quantized_linear_fit",
    "best_range": "ranges",
    "trend": "trends",
    "rank_trend": "trends",
    "select_best": "select",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(f"analysis.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__

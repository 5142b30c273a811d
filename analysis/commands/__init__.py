"""Commands of analysis. Each function takes its arguments and returns an exit code."""

from analysis.commands.latency import latency
from analysis.commands.pages import export, report
from analysis.commands.predict import predict
from analysis.commands.refine import refine
from analysis.commands.statistics import compare, edf, fit, recipes, scores, search, select, trends
from analysis.commands.track import track

__all__ = [
    "compare",
    "edf",
    "export",
    "fit",
    "latency",
    "predict",
    "recipes",
    "refine",
    "report",
    "scores",
    "search",
    "select",
    "track",
    "trends",
]

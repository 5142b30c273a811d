"""The commands of analysis, each a function of its arguments that returns an exit code."""

from analysis.commands.distributions import compare, edf
from analysis.commands.pages import export, report
from analysis.commands.parameters import fit, trends
from analysis.commands.selection import select

__all__ = ["compare", "edf", "export", "fit", "report", "select", "trends"]

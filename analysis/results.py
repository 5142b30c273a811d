"""Results of statistics: numbers, sentences, tables for display and a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis.display import columns, spaces_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.findings import Findings


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A statistic of a table. `print` and a notebook show its tables and sentences.

    Attributes:
        name: the statistic.
        frame: the numbers, one tidy frame.
        sentences: conclusions, failure policy and notes.
        tables: frames for display, each with a title or "".
        draw: draws the figure on the given axes, or on new ones for None.
    """

    name: str
    frame: pd.DataFrame
    sentences: tuple[str, ...]
    tables: tuple[tuple[str, pd.DataFrame], ...]
    draw: Callable[[Axes | None], Axes]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the figure.

        Args:
            ax: axes to draw on; a new pyplot figure by default.
        """
        return self.draw(ax)

    def __repr__(self) -> str:
        rows = len(self.frame)
        return f"{self.name}: {rows:,} row{'s' if rows != 1 else ''} in .frame"

    def __str__(self) -> str:
        tables = ["\n".join(filter(None, (title, text_table(frame)))) for title, frame in self.tables if len(frame)]
        return "\n\n".join([*tables, "\n".join(self.sentences)])

    def _repr_html_(self) -> str:
        shown = "".join(f"<p><b>{escape(title)}</b></p>{html_table(frame)}" for title, frame in self.tables)
        return f"{shown}{html_list(self.sentences)}"


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """A report that was written.

    Attributes:
        page: the HTML file.
        findings: the statistics on the page.
        sentences: warnings, main conclusions and notes.
    """

    page: Path
    findings: Findings
    sentences: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Report({str(self.page)!r})"

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def spaces_summary(described: pd.DataFrame) -> pd.DataFrame:
    """The main columns of `describe_spaces`, for display."""
    shown = spaces_table(described).drop(columns=["25 %", "75 %", "max"])
    return shown.rename(columns={name: f"{name} %" for name in ("min", "median", "mean")})


def text_table(frame: pd.DataFrame) -> str:
    """A frame as aligned text, formatted like all tables."""
    return pd.DataFrame({column.name: column.texts for column in columns(frame)}).to_string(index=False)


def html_table(frame: pd.DataFrame) -> str:
    """A frame as an HTML table, formatted like all tables."""
    return pd.DataFrame({column.name: column.texts for column in columns(frame)}).to_html(index=False, border=0)


def html_list(sentences: Sequence[str]) -> str:
    """Sentences as an HTML list; "" without any."""
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>" if sentences else ""

"""The page's building blocks: tabs of panels, each with figures, a caption, a computed sentence and the numbers."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from analysis.html import Cell, none

# Panels are plain values, which go to the page as JSON and to files as figures alike.
Rows = tuple[tuple[Cell, ...], ...]


class Choice(NamedTuple):
    """One figure of a panel; a panel with several offers a choice."""

    label: str
    figure: dict[str, Any]
    x: str | None = None
    """Column on the x axis by which the panel is linked to others; None for a panel on its own."""
    y: str = "value"
    """Column on the y axis, likewise."""
    points: bool = True
    """Whether single trials are drawn into it."""


class Panel(NamedTuple):
    """One card of the page."""

    id: str
    title: str
    caption: str
    summary: str = ""
    width: str = "third"
    """`third`, `half`, `wide` or `full`."""
    choices: tuple[Choice, ...] = ()
    columns: tuple[str, ...] = ()
    rows: Rows = ()
    keyed: bool = False
    """Whether the rows begin with budget and k_c, by which the page filters them."""


class Tab(NamedTuple):
    """One view of the page."""

    id: str
    title: str
    panels: tuple[Panel, ...]


def rows_of(records: Iterable[Iterable[Any]]) -> Rows:
    """Rows of a panel's table."""
    # Numbers of numpy and missing values of pandas become Python's own, which JSON can write.
    return tuple(tuple(none(value) for value in record) for record in records)


CONFIGURATION_COLUMNS = ("P", "k_c", "N", "d_m", "k_e", "mean", "95 % ±", "runs")


def configuration_rows(table: pd.DataFrame) -> Rows:
    """The configuration table as rows of a panel (columns: `CONFIGURATION_COLUMNS`)."""
    columns = ["budget", "k_c", "n_rec", "d_m", "k_e", "mean", "half", "n"]
    return rows_of(table[columns].itertuples(index=False, name=None))

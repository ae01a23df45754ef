"""Everything known about one group of rows, computed once and shown by the page, the report and the summary."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from analysis.laws.overlay import Overlay, overlay
from analysis.laws.theory_fit import LawFit
from analysis.rows.alarms import Alarm, find_alarms
from analysis.rows.axes import AxesCheck, check_axes
from analysis.rows.means import Frontier, Optimum, configurations, frontier, optima
from analysis.rows.sweep import Dataset, Sweep


class View(NamedTuple):
    """One group: its rows, what they say alone, and what the law adds."""

    sweep: Sweep
    data: Dataset
    table: pd.DataFrame
    """One row per configuration (`analysis.rows.means.configurations`)."""
    optima: list[Optimum]
    frontier: Frontier
    law: LawFit
    overlay: Overlay | None
    alarms: list[Alarm]
    axes: AxesCheck
    intervals: Mapping[str, tuple[float | None, float | None]] | None = None
    """95 % intervals of the parameters from a stored report of these very rows; None without one."""


def make_view(sweep: Sweep, law: LawFit) -> View:
    """Compute everything about one group.

    Args:
        sweep: all rows and curves.
        law: the group's rows with their fitted law.
    """
    data = law.data
    table = configurations(data)
    return View(
        sweep=sweep,
        data=data,
        table=table,
        optima=optima(data, table),
        frontier=frontier(data, table),
        law=law,
        overlay=overlay(law, table),
        alarms=find_alarms(sweep, data, table),
        axes=check_axes(table),
    )

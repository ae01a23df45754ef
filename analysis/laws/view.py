"""Everything known about one group of rows, computed once and shown by the page, the report and the summary."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from analysis.laws.findings import StoredEvidence
from analysis.laws.overlay import Overlay, overlay
from analysis.laws.theory_fit import TIE, LawFit
from analysis.rows.alarms import Alarm, find_alarms
from analysis.rows.axes import AxesCheck, check_axes
from analysis.rows.effects import Effect, setting_effects
from analysis.rows.means import Baseline, Frontier, Optimum, baseline, configurations, frontier, optima
from analysis.rows.sweep import IDENTITY, Dataset, Sweep

FAR = 10.0
"""AICc units beyond which a rival is far better (Burnham and Anderson 2002: essentially no support)."""


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
    stored: StoredEvidence | None = None
    """Intervals and held-out errors from a stored report of these very rows; None without one."""
    baselines: tuple[Baseline, ...] = ()
    """Other architectures on the same task and metric, for the frontier."""
    effects: tuple[Effect, ...] = ()
    """What changed settings do at equal P, where other groups differ from this one in a single setting."""

    @property
    def has_d_m(self) -> bool:
        """Whether these networks have memory units, and so a complexity to choose."""
        return bool(self.table["d_m"].notna().any())

    @property
    def drawn_optima(self) -> list[Optimum]:
        """Optima of the connectivity that pictures show first: sentences under them speak of no other."""
        k_c = self.frontier.k_c
        return [optimum for optimum in self.optima if k_c in (None, optimum.k_c)]

    @property
    def drawn(self) -> str:
        """That connectivity in words; empty where the group has one only."""
        return "" if self.frontier.k_c is None else f"k_c = {self.frontier.k_c:g}"

    @property
    def rival_note(self) -> str | None:
        """How far the drawn law is behind the best of all laws fitted to the same rows; None within a tie."""
        comparison, fit = self.law.comparison, self.law.fit
        if comparison is None or fit is None:
            return None
        # By identity, since two names may stand for equal laws. A robust fit is not among the rows, for it has no AICc.
        drawn = [row for row in comparison.rows if self.law.fits[row.name] is fit and row.delta is not None]
        if not drawn or drawn[0].delta is None or drawn[0].delta <= TIE:
            return None
        better = "far better" if drawn[0].delta > FAR else "better"
        rival = comparison.rows[0].label
        return f"The law drawn is {drawn[0].delta:,.0f} AICc units behind {rival}, which describes these rows {better}."


def make_view(sweep: Sweep, law: LawFit) -> View:
    """Compute everything about one group.

    Args:
        sweep: all rows and curves.
        law: the group's rows with their fitted law.
    """
    # The law brings its rows with it, so that rows and law of a view cannot be of different groups.
    data = law.data
    # The table is made once: positions in it stand in optima, frontier and figures.
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


def baselines(groups: Iterable[Dataset]) -> list[tuple[Dataset, Baseline]]:
    """The groups of rows that have no d_m to choose, each with its best networks by size.

    Args:
        groups: all groups of a sweep; no law is needed.
    """
    return [
        (data, baseline(data))
        for data in groups
        # A baseline is compared at equal budgets, so without one it has no place beside the frontier.
        if len(data.rows) and data.rows["budget"].notna().any() and data.rows["d_m"].isna().all()
    ]


def with_effects(views: Sequence[View], groups: Sequence[Dataset] | None = None) -> list[View]:
    """Put beside each view what the settings do in which other groups differ from it.

    Args:
        views: groups of a sweep.
        groups: all its groups; default: those of these views.
    """
    every = [view.data for view in views] if groups is None else groups
    return [view._replace(effects=setting_effects(view.data, every)) for view in views]


def with_baselines(views: Sequence[View], lines: Sequence[tuple[Dataset, Baseline]] | None = None) -> list[View]:
    """Put the other architectures of the same task, data set and metric beside each view of ELM Networks.

    Args:
        views: groups of a sweep.
        lines: `baselines` of all its groups; default: of these.
    """
    # Everything but the architecture must be the same, or the difference could be the task's.
    same = [name for name in IDENTITY if name != "architecture"]
    if lines is None:
        lines = baselines(view.data for view in views)
    return [
        view._replace(
            baselines=tuple(
                line
                for data, line in lines
                # Levels of different tasks or metrics share no axis.
                if data is not view.data and all(data.keys[name] == view.data.keys[name] for name in same)
            )
            if view.has_d_m
            else ()
        )
        for view in views
    ]

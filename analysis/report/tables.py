"""The tables that terminal, report and dashboard all show, made once from typed values; writers only lay them out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from analysis.html import Cell, none
from analysis.laws.findings import ComputeSplits, Estimate, OptimumIntervals
from analysis.report.model import AxesPart, LawPart, OptimumPart, Rival
from analysis.rows.alarms import Alarm
from analysis.rows.means import span
from theory.optimum.allocation import Allocation

Ends = Mapping[str, tuple[float | None, float | None]]
"""95 % interval of each parameter that has one; its ends are None where it could not be computed."""


class Table(NamedTuple):
    """Columns and rows, unrounded; None is a missing value."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    keys: int = 1
    """Leading columns that say what a row is about; a narrow writer repeats them when it breaks the table."""

    def without_empty(self) -> "Table":
        """The table without the columns that no row fills, such as d_m of networks that have none.

        >>> Table(("P", "d_m", "metric"), [(1000, None, 2.5), (2000, None, 2.25)]).without_empty().columns
        ('P', 'metric')
        """
        # A table that is filled later, such as that of running trials, needs every column.
        if not self.rows:
            return self
        kept = [
            place
            for place in range(len(self.columns))
            if place < self.keys or any(row[place] not in (None, "") for row in self.rows)
        ]
        rows = [[row[place] for place in kept] for row in self.rows]
        return Table(tuple(self.columns[place] for place in kept), rows, self.keys)


def number(value: float | int | None, figures: int = 4) -> str:
    """Write a number for reading.

    >>> number(None), number(30000.0), number(0.0662634)
    ('–', '30,000', '0.06626')
    """
    if value is None or value != value:
        return "–"
    if np.isfinite(value) and float(value).is_integer() and abs(value) < 1e12:
        return f"{int(value):,}"
    return f"{value:.{figures}g}"


def parameter_table(law: LawPart, ends: Ends, reasons: Mapping[str, str] | None = None) -> Table:
    """Parameters and coefficients with their intervals and meanings.

    Args:
        law: the fitted law.
        ends: intervals by parameter.
        reasons: why an interval is missing or what it depends on, by parameter.
    """
    rows: list[tuple[Cell, ...]] = []
    for name, value in law.fit.values.items():
        low, high = ends.get(name, (None, None))
        rows.append((name, none(value), low, high, (reasons or {}).get(name, ""), law.meanings.get(name, "")))
    # As the written formula has them where there is one, and not over the references that the search uses.
    for group, coefficients in (law.fit.constants or law.fit.coefficients).items():
        for name, value in coefficients.items():
            # With one set of coefficients the name of the group would say nothing.
            label = name if group == "all" else f"{name} ({group})"
            low, high = ends.get(label, (None, None))
            note = (reasons or {}).get(label, "") if label in ends else "solved exactly for the others"
            rows.append((label, none(value), low, high, note, law.meanings.get(name, "")))
    if not law.fit.constants:
        rows += [
            (name, none(value), None, None, "follows from the others", "") for name, value in law.fit.derived.items()
        ]
    return Table(("parameter", "value", "95 % from", "to", "note", "meaning"), rows)


def optimum_table(optima: Iterable[OptimumPart], intervals: Iterable[OptimumIntervals] = ()) -> Table:
    """Measured and predicted optimum of each budget.

    Args:
        optima: one per budget and connectivity.
        intervals: of the law's optimum; without any, the column is left out.
    """
    intervals_of = {(row.budget, row.k_c): row.d_m for row in intervals}
    columns = ["P", "k_c", "N*", "d_m*", "k_e*", "metric", "95 % ±", "runs", "N as good", "d_m as good"]
    columns += ["law N*", "law d_m*", *(["law d_m* 95 %"] if intervals_of else []), "law d_m as good", "bracketed"]
    rows = []
    for part in optima:
        best, good = part.measured, part.as_good
        # Words instead of an empty cell, so that nobody takes the missing interval for a narrow one.
        half = "1 run, no interval" if best.half_width is None else none(best.half_width)
        split = part.bracketed is not None  # else there is no d_m to choose, and nothing that could be as good
        rows.append(
            (
                *(none(v) for v in (part.budget, part.k_c, best.n_rec, best.d_m, best.k_e, best.metric)),
                *(half, best.runs, *((span(good.n_rec), span(good.d_m)) if split else (None, None))),
                *_predicted(part.theory, intervals_of.get((part.budget, part.k_c)), with_interval=bool(intervals_of)),
                part.bracket if split else None,
            )
        )
    return Table(tuple(columns), rows, keys=2).without_empty()


def band_rule(optima: Sequence[OptimumPart]) -> str:
    """How it was decided which configurations are as good as the best of their budget.

    Args:
        optima: one per budget and connectivity, at least one.
    """
    # A budget with a single configuration has nothing to compare, which is no rule for the others.
    compared = [part for part in optima if part.as_good.tolerance is not None]
    return (compared or optima)[0].as_good.rule


def _predicted(theory: Allocation | None, d_m: Estimate | None, *, with_interval: bool) -> tuple[Cell, ...]:
    """The law's columns of one budget."""
    if theory is None:
        return (None,) * (4 if with_interval else 3)
    # An optimum at the edge of the range has no number, only a side on which to go on.
    if not theory.bracketed:
        return (None, None, *(["not bracketed"] if with_interval else []), f"extend towards {theory.extend}")
    interval = [interval_text(d_m)] if with_interval else []
    return (theory.n_rec, theory.d_m, *interval, None if theory.band is None else span(theory.band))


def interval_text(estimate: Estimate | None) -> str | None:
    """An interval for reading, or the reason why there is none."""
    if estimate is None:
        return None
    if estimate.low is None or estimate.high is None:
        return estimate.reason or "none"
    return f"{estimate.low:.3g} to {estimate.high:.3g}"


def compute_table(splits: ComputeSplits) -> Table:
    """Best split of training compute, decade by decade."""
    columns = ("C, FLOP", "N*", "95 %", "D*", "95 %", "D* / N*", "95 %", "metric", "data reach it")
    rows = []
    for row in splits.splits:
        sizes = [cell for size in (row.n, row.tokens, row.ratio) for cell in (size.estimate, interval_text(size))]
        rows.append((f"{row.compute:.0e}", *sizes, row.metric.estimate, "yes" if row.within else "no"))
    return Table(columns, rows)


def compute_sentences(splits: ComputeSplits) -> list[str]:
    """What the best splits of training compute say in words."""
    n, tokens = splits.n, splits.tokens
    return [
        f"N* ~ C^{n.estimate:.3f} ({interval_text(n)}), D* ~ C^{tokens.estimate:.3f} ({interval_text(tokens)}), with "
        f"C = {splits.flop:g} N D (Kaplan et al. 2020)."
    ]


def rival_table(rivals: Iterable[Rival]) -> Table:
    """Laws by AICc, the reported one starred."""
    columns = ("law (★ = reported)", "parameters", "AICc", "Δ", "r", "RMSE", "warnings")
    rows = [
        (
            *(("★ " if row.chosen else "") + row.label, row.p, none(row.aicc), none(row.delta)),
            *(none(row.pearson_r), none(row.rmse), ", ".join(row.warnings)),
        )
        for row in rivals
    ]
    return Table(columns, rows)


def alarm_table(alarms: Iterable[Alarm]) -> Table:
    """Design points whose metric may say something else than what the law is about."""
    rows = [
        (alarm.kind, *(none(v) for v in (alarm.budget, alarm.d_m, alarm.n_rec)), alarm.why, len(alarm.trial_ids))
        for alarm in alarms
    ]
    return Table(("alarm", "P", "d_m", "N", "why", "runs"), rows)


def axes_tables(axes: AxesPart) -> list[Table]:
    """Variance inflation, and correlations and interactions where two axes vary."""
    inflation = [
        (row.axis, row.levels, "did not vary" if row.vif is None else _finite(row.vif)) for row in axes.inflation
    ]
    tables = [Table(("axis", "values", "variance inflation of ln axis"), inflation)]
    if axes.correlations:
        pairs = [(pair.first, pair.second, none(pair.correlation)) for pair in axes.correlations]
        tables.append(Table(("axis", "other axis", "correlation of the logarithms"), pairs, keys=2))
    if axes.interactions:
        terms = [
            (f"{row.first} × {row.second}", none(row.coefficient), none(row.half_width), none(row.delta_aicc))
            for row in axes.interactions
        ]
        tables.append(Table(("interaction", "coefficient", "± 95 %", "AICc gain"), terms))
    return tables


def _finite(value: float) -> Cell:
    return none(value) if np.isfinite(value) else "infinite"


class Section(NamedTuple):
    """One part of the report: a heading, sentences and tables."""

    id: str
    title: str
    sentences: list[str]
    tables: list[Table]

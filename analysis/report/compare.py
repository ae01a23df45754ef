"""Several sweeps, tasks or architectures on one axis: where the optimum lies, and how good it is, per budget."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.figures.isobudget import FloatArray
from analysis.html import Cell, none
from analysis.laws.view import View
from analysis.rows.means import configuration
from analysis.rows.sweep import Sweep, no_curves
from sweeper.store.schema import SCHEMAS


class Line(NamedTuple):
    """One group of one sweep at one connectivity, by growing budget."""

    name: str
    metric: str
    direction: str
    k_c: float
    budget: FloatArray
    params: FloatArray
    n_rec: FloatArray
    d_m: FloatArray
    k_e: FloatArray
    value: FloatArray
    half: FloatArray
    runs: FloatArray
    good: tuple[tuple[float, float], ...]
    """Range of d_m that is as good, for each budget."""
    bracketed: tuple[bool | None, ...]
    """Whether each lies inside the sampled range; None where there is no budget to sample at."""
    law: str
    """The fitted law with its exponents, as text; empty without one."""


def comparison(views: list[View]) -> list[Line]:
    """Collect the optima of several groups.

    Args:
        views: groups, of one or several sweeps.

    Raises:
        AnalysisError: no group has a budget, so there is nothing to compare.
    """
    lines = []
    for view in views:
        # Synapses per unit of a gated network follow from its size; one line per connectivity would hold one point
        # each.
        if view.optima and not view.has_d_m:
            lines.append(_baseline_line(view))
            continue
        for k_c in sorted({optimum.k_c for optimum in view.optima}):
            lines.append(_line(view, k_c))
    lines += [_frontier_line(view) for view in views if not view.optima and len(view.frontier.position)]
    if not lines:
        raise AnalysisError("nothing to compare: no finished trial in any of these sweeps")
    return lines


def _line(view: View, k_c: float) -> Line:
    optima = [optimum for optimum in view.optima if optimum.k_c == k_c]
    points = [configuration(view.table, optimum.best) for optimum in optima]
    # The name need not say the one connectivity that a group has.
    several = view.table["k_c"].nunique() > 1
    return Line(
        name=view.data.label + (f", k_c {k_c:g}" if several else ""),
        metric=view.data.title,
        direction=view.data.direction,
        k_c=k_c,
        budget=np.array([optimum.budget for optimum in optima]),
        **_columns(points),
        good=tuple((optimum.good or {}).get("d_m", (np.nan, np.nan)) for optimum in optima),
        bracketed=tuple(optimum.bracketed for optimum in optima),
        # The law is that of the whole group, of which this is one connectivity.
        law=_law(view),
    )


def _baseline_line(view: View) -> Line:
    """An architecture sized by n_rec alone, such as an LSTM: synapses per unit follow n_rec, so they share a line."""
    optima = sorted(view.optima, key=lambda optimum: optimum.budget)
    points = [configuration(view.table, optimum.best) for optimum in optima]
    return Line(
        name=view.data.label,
        metric=view.data.title,
        direction=view.data.direction,
        k_c=points[0]["k_c"],
        budget=np.array([optimum.budget for optimum in optima]),
        **_columns(points),
        good=((np.nan, np.nan),) * len(points),
        bracketed=(None,) * len(points),
        law=_law(view),
    )


def _frontier_line(view: View) -> Line:
    """A group without budgets, such as single neurons: its frontier."""
    points = [configuration(view.table, int(position)) for position in view.frontier.position]
    return Line(
        name=view.data.label,
        metric=view.data.title,
        direction=view.data.direction,
        k_c=points[0]["k_c"],
        budget=np.array([point["trainable_params"] for point in points]),
        **_columns(points),
        good=tuple((point["d_m"], point["d_m"]) for point in points),
        bracketed=(None,) * len(points),
        law=_law(view),
    )


def _columns(points: list[dict[str, float]]) -> dict[str, FloatArray]:
    names = {"params": "trainable_params", "value": "mean", "half": "half", "runs": "n"}
    names |= {name: name for name in ("n_rec", "d_m", "k_e")}
    return {target: np.array([point[column] for point in points]) for target, column in names.items()}


def _law(view: View) -> str:
    fit = view.law.fit
    if fit is None:
        return ""
    parameters = ", ".join(
        f"{name} {fit.values[name]:.3g}" for name in ("alpha", "beta", "a", "b") if name in fit.values
    )
    return f"{fit.law.label}: {parameters}" if parameters else fit.law.label


COLUMNS = (
    *("group", "metric", "P", "N*", "d_m*", "k_e*", "value", "95 % ±", "runs", "d_m as good", "d_m*/√N*", "bracketed"),
)


def comparison_rows(lines: list[Line]) -> list[tuple[Cell, ...]]:
    """The comparison as rows (columns: `COLUMNS`)."""
    rows: list[tuple[Cell, ...]] = []
    for line in lines:
        for i, budget in enumerate(line.budget):
            half = "1 run, no interval" if line.runs[i] == 1 else none(line.half[i])
            # At the edge of the sampled range d_m* is only a bound, and its ratio to the square root of N* would say
            # nothing.
            ratio = float(line.d_m[i] / np.sqrt(line.n_rec[i])) if line.bracketed[i] else None
            sizes = [none(v) for v in (line.n_rec[i], line.d_m[i], line.k_e[i])]
            good = None if np.isnan(line.good[i][0]) else f"{line.good[i][0]:.2g}–{line.good[i][1]:.2g}"
            verdict = {True: "yes", False: "no", None: None}[line.bracketed[i]]
            value = none(line.value[i])
            rows.append(
                (line.name, line.metric, none(budget), *sizes, value, half, int(line.runs[i]), good, ratio, verdict)
            )
    return rows


def with_distinct_ids(sweeps: list[Sweep]) -> list[Sweep]:
    """Put the sweep's name before trial ids that occur in an earlier sweep as well."""
    earlier_ids: set[str] = set()
    distinct = []
    for sweep in sweeps:
        # The id of a trial is the hash of its spec, so the same trial in two directories has one id, which the page
        # could not tell apart.
        clash = bool(earlier_ids & set(sweep.trials["trial_id"]))
        distinct.append(_prefixed(sweep) if clash else sweep)
        earlier_ids |= set(distinct[-1].trials["trial_id"])
    return distinct


def _prefixed(sweep: Sweep) -> Sweep:
    def prefixed(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(trial_id=f"{sweep.label}/" + frame["trial_id"])

    return replace(sweep, trials=prefixed(sweep.trials), read_curves=lambda: prefixed(sweep.curves))


def merged(sweeps: list[Sweep]) -> Sweep:
    """All rows of several sweeps (with distinct ids) as one."""
    columns = list(SCHEMAS["trials"].names)
    # Through records, so that a column that is empty in one sweep takes the type that it has in another.
    records = [record for sweep in sweeps for record in sweep.trials[columns].to_dict("records")]
    return Sweep(
        label=" · ".join(sweep.label for sweep in sweeps),
        uri=" ".join(sweep.uri for sweep in sweeps),
        trials=pd.DataFrame(records, columns=columns),
        # Grids of two sweeps may have the same name.
        grids={f"{sweep.label}/{name}": text for sweep in sweeps for name, text in sweep.grids.items()},
        read_curves=lambda: pd.concat([sweep.curves for sweep in sweeps if len(sweep.curves)] or [no_curves()]),
    )

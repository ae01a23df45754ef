"""Several sweeps, tasks or architectures on one axis: where the optimum lies, and how good it is, per budget."""

from dataclasses import replace
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.figures import Figure, FloatArray, scatter
from analysis.load import Sweep, no_curves
from analysis.means import configuration
from analysis.panels import Cell, Choice, Panel, Tab, none
from analysis.theme import PLAIN_SYMBOL, SYMBOL_OF, SYMBOLS, axis, layout
from analysis.view import View
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
    found = []
    for view in views:
        if view.optima and view.table["d_m"].isna().all():
            found.append(_baseline_line(view))
            continue
        for k_c in sorted({optimum.k_c for optimum in view.optima}):
            found.append(_line(view, k_c))
    found += [_frontier_line(view) for view in views if not view.optima and len(view.frontier.position)]
    if not found:
        raise AnalysisError("nothing to compare: no finished trial in any of these sweeps")
    return found


def _line(view: View, k_c: float) -> Line:
    own = [optimum for optimum in view.optima if optimum.k_c == k_c]
    points = [configuration(view.table, optimum.best) for optimum in own]
    band = [view.table["d_m"].to_numpy(float)[list(optimum.band)] for optimum in own]
    several = view.table["k_c"].nunique() > 1
    return Line(
        name=view.data.label + (f", k_c {k_c:g}" if several else ""),
        metric=view.data.title,
        direction=view.data.direction,
        k_c=k_c,
        budget=np.array([optimum.budget for optimum in own]),
        **_columns(points),
        good=tuple((float(values.min()), float(values.max())) for values in band),
        bracketed=tuple(optimum.extend is None for optimum in own),
        law=_law(view),
    )


def _baseline_line(view: View) -> Line:
    """An architecture sized by n_rec alone, such as an LSTM: synapses per unit follow n_rec, so they share a line."""
    own = sorted(view.optima, key=lambda optimum: optimum.budget)
    points = [configuration(view.table, optimum.best) for optimum in own]
    return Line(
        name=view.data.label,
        metric=view.data.title,
        direction=view.data.direction,
        k_c=points[0]["k_c"],
        budget=np.array([optimum.budget for optimum in own]),
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
    told = ", ".join(f"{name} {fit.values[name]:.3g}" for name in ("alpha", "beta", "a", "b") if name in fit.values)
    return f"{fit.law.label}: {told}" if told else fit.law.label


COLUMNS = (
    *("group", "metric", "P", "N*", "d_m*", "k_e*", "value", "95 % ±", "runs", "d_m as good", "d_m*/√N*", "bracketed"),
)


def comparison_rows(lines: list[Line]) -> list[tuple[Cell, ...]]:
    """The comparison as rows (columns: `COLUMNS`)."""
    rows: list[tuple[Cell, ...]] = []
    for line in lines:
        for i, budget in enumerate(line.budget):
            half = "1 run, no interval" if line.runs[i] == 1 else none(line.half[i])
            ratio = float(line.d_m[i] / np.sqrt(line.n_rec[i])) if line.bracketed[i] else None
            sizes = [none(v) for v in (line.n_rec[i], line.d_m[i], line.k_e[i])]
            good = None if np.isnan(line.good[i][0]) else f"{line.good[i][0]:g}–{line.good[i][1]:g}"
            verdict = {True: "yes", False: "no", None: None}[line.bracketed[i]]
            value = none(line.value[i])
            rows.append(
                (line.name, line.metric, none(budget), *sizes, value, half, int(line.runs[i]), good, ratio, verdict)
            )
    return rows


def compare_tab(lines: list[Line]) -> Tab:
    """Optimum and best metric of every group against the budget."""
    metrics = sorted({line.metric for line in lines})
    panels = [_optimum_panel(lines, name) for name in ("n_rec", "d_m", "k_e")]
    panels += [_metric_panel([line for line in lines if line.metric == metric], i) for i, metric in enumerate(metrics)]
    table = Panel(
        id="comparison",
        title="Comparison",
        caption="best measured configuration of each budget; d_m ~ √N is the published rule of thumb",
        width="full",
        columns=COLUMNS,
        rows=tuple(comparison_rows(lines)),
    )
    return Tab("compare", "Compare", (*panels, table))


def _optimum_panel(lines: list[Line], name: str) -> Panel:
    symbol = PLAIN_SYMBOL[name]
    return Panel(
        id=f"compare-{name}",
        title=f"Optimal {symbol} vs budget",
        caption="filled = inside the sampled range, open = at its edge",
        choices=(Choice(symbol, plot_comparison([line for line in lines if None not in line.bracketed], name)),),
    )


def _metric_panel(lines: list[Line], number: int) -> Panel:
    return Panel(
        id=f"compare-metric-{number}",
        title=f"Best {lines[0].metric}",
        caption="best configuration of each budget, bar = 95 % interval of its mean",
        choices=(Choice("metric", plot_comparison(lines, "value")),),
    )


def plot_comparison(lines: list[Line], name: str) -> Figure:
    """Draw one column of the comparison against trainable parameters, one colour and symbol per group."""
    traces = []
    for rank, line in enumerate(lines):
        y, colour = getattr(line, name), f"@task:{rank}"
        symbol = SYMBOLS[rank % len(SYMBOLS)]
        marks = [symbol if ok or name == "value" else f"{symbol}-open" for ok in line.bracketed]
        trace = scatter(
            "lines+markers",
            line.params,
            y,
            name=escape(line.name),
            line={"color": colour, "width": 2},
            marker={"symbol": marks, "size": 9, "color": colour},
            hovertemplate=f"{escape(line.name)}<br>P = %{{x:.4~s}}: %{{y:.5g}}<extra></extra>",
            showlegend=True,
        )
        if name == "value" and np.isfinite(line.half).any():
            half = np.nan_to_num(line.half)
            trace["error_y"] = {"type": "data", "array": half, "color": colour, "thickness": 1.3, "width": 0}
        traces.append(trace)
    every = np.concatenate([line.params for line in lines]) if lines else np.ones(1)
    values = np.concatenate([getattr(line, name) for line in lines]) if lines else np.ones(1)
    y_axis = axis(escape(lines[0].metric) if lines else "") if name == "value" else axis(SYMBOL_OF[name], values)
    legend = {
        "orientation": "h",
        "x": 0,
        "y": -0.28,
        "yanchor": "top",
        "bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12},
    }
    x = axis(SYMBOL_OF["trainable_params"], every)
    return {"data": traces, "layout": layout(x, y_axis, showlegend=len(lines) > 1, legend=legend)}


def with_distinct_ids(sweeps: list[Sweep]) -> list[Sweep]:
    """Put the sweep's name before trial ids that occur in an earlier sweep as well."""
    seen: set[str] = set()
    found = []
    for sweep in sweeps:
        clash = bool(seen & set(sweep.trials["trial_id"]))
        found.append(_prefixed(sweep) if clash else sweep)
        seen |= set(found[-1].trials["trial_id"])
    return found


def _prefixed(sweep: Sweep) -> Sweep:
    def prefixed(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(trial_id=f"{sweep.label}/" + frame["trial_id"])

    return replace(sweep, trials=prefixed(sweep.trials), read_curves=lambda: prefixed(sweep.curves))


def merged(sweeps: list[Sweep]) -> Sweep:
    """All rows of several sweeps (with distinct ids) as one."""
    columns = list(SCHEMAS["trials"].names)
    records = [record for sweep in sweeps for record in sweep.trials[columns].to_dict("records")]
    return Sweep(
        label=" · ".join(sweep.label for sweep in sweeps),
        uri=" ".join(sweep.uri for sweep in sweeps),
        trials=pd.DataFrame(records, columns=columns),
        grids={f"{sweep.label}/{name}": text for sweep in sweeps for name, text in sweep.grids.items()},
        read_curves=lambda: pd.concat([sweep.curves for sweep in sweeps if len(sweep.curves)] or [no_curves()]),
    )

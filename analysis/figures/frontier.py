"""The frontier: the best metric of each budget, the law's, and a power law through it."""

from html import escape
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.figures.isobudget import Figure, FloatArray, band_trace, budget_ranks, scatter, single_runs, trial_traces
from analysis.figures.theme import SYMBOL_OF, SYMBOLS, axis, layout
from analysis.laws.overlay import Overlay
from analysis.rows.means import Baseline, Frontier
from analysis.rows.published import PublishedPoints
from analysis.rows.sweep import Dataset
from sweeper.words import counted
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.result import Direction
from theory.optimum.frontier import power_law


class FrontierData(NamedTuple):
    """Best metric per size of one connectivity, and beside it those of others."""

    metric: str
    direction: str
    trials: pd.DataFrame
    position: npt.NDArray[np.int64]
    x: FloatArray
    y: FloatArray
    half: FloatArray
    membership: FloatArray | None
    theory_x: FloatArray
    theory_y: FloatArray
    theory_joined: bool
    """Whether the law says anything between these sizes; one fitted to each budget by itself does not."""
    power: "PowerLawCurve | None"
    """Saturating power law through the frontier; None with fewer than 4 budgets or an untrustworthy fit."""
    k_c: float | None = None
    """Connectivity; None where the group has one only."""
    others: tuple["FrontierData", ...] = ()
    """The same for the group's other connectivities."""
    baselines: tuple[Baseline, ...] = ()
    """Other architectures on the same task."""


class PowerLawCurve(NamedTuple):
    """metric = floor + A (P / p_ref)^-exponent through the frontier."""

    floor: float
    exponent: float
    x: FloatArray
    y: FloatArray


def frontier_data(
    data: Dataset,
    table: pd.DataFrame,
    front: Frontier,
    overlay: Overlay | None,
    baselines: tuple[Baseline, ...] = (),
) -> FrontierData:
    """Collect the numbers of the best metric against trainable parameters.

    Args:
        data: the rows.
        table: `configurations(data)`.
        front: `analysis.rows.means.frontier`.
        overlay: the fitted law, if there is one; its frontier runs through the law's optima of the same connectivity.
        baselines: other architectures (`analysis.laws.view.with_baselines`).
    """
    # The configuration table is numbered from 0, so that places are labels as well.
    members = table.loc[front.position]
    # one optimum per budget: those of another connectivity were found at other sizes, and would make the line turn
    best = {o.budget: o.metric for o in (overlay.optima if overlay else ()) if front.k_c in (None, o.k_c)}
    sizes = sorted(best)
    return FrontierData(
        metric=data.title,
        direction=data.direction,
        trials=single_runs(data, budget_ranks(table["budget"]), "trainable_params"),
        position=front.position,
        x=members["trainable_params"].to_numpy(float),
        y=members["mean"].to_numpy(float),
        half=members["half"].to_numpy(float),
        membership=None if front.membership is None else front.membership[front.position],
        theory_x=np.array(sizes, dtype=float),
        theory_y=np.array([best[size] for size in sizes], dtype=float),
        theory_joined=overlay is None or not overlay.per_budget,
        power=_power_law(data, members),
        k_c=front.k_c,
        others=tuple(frontier_data(data, table, other, overlay) for other in front.others),
        baselines=baselines,
    )


def _power_law(data: Dataset, members: pd.DataFrame) -> PowerLawCurve | None:
    size, value = members["trainable_params"].to_numpy(float), members["mean"].to_numpy(float)
    direction: Direction = "min" if data.direction == "min" else "max"
    try:
        fit = power_law(size, value, weights=members["n"].to_numpy(float), direction=direction)
    except TheoryError:  # too few budgets, or all equal: the panel says so by showing none
        return None
    # A curve whose floor is a guess would be read as a limit of what is possible, so none is drawn.
    resting = any(fit.at_bound(name) for name in fit.free)
    if not fit.usable or resting or fit.has("floor_implausible") or fit.has("no_effect"):
        return None
    # A little beyond the largest budget: where the curve is heading is what it is looked at for.
    x = np.geomspace(size.min(), size.max() * 3, 40)
    # The power law looks at the number of parameters alone; the design wants other sizes too, which do not matter here.
    y = fit.predict(Design(n_rec=np.ones_like(x), k_e=x, trainable_params=x))
    return PowerLawCurve(fit.coefficients["all"]["E"], fit.values["exponent"], x, y)


def plot_frontier(
    data: FrontierData,
    *,
    trials: bool = True,
    published: PublishedPoints | None = None,
    connectivities: bool = False,
) -> Figure:
    """Draw the best metric against trainable parameters, with the law's frontier.

    Args:
        data: `frontier_data(...)`.
        trials: whether to draw the single runs.
        published: runs of the task's publication to draw beside them.
        connectivities: whether to draw the other connectivities too, as for a page that shows one at a time.
    """
    runs = data.trials if data.k_c is None else data.trials[data.trials["k_c"] == data.k_c]
    traces = trial_traces(data.trials if connectivities else runs) if trials else []
    for line in (data, *(data.others if connectivities else ())):
        traces += _line_traces(line)
    traces += [_baseline_trace(line, rank) for rank, line in enumerate(data.baselines)]
    # All that is drawn must be on the axis, and so must what stands beside the frontier.
    sizes = np.concatenate([runs["x"].to_numpy(float), *(line.x for line in data.baselines)])
    if published is not None:
        traces.append(_published_trace(published))
        sizes = np.concatenate([sizes, published.x])
    marks = [(data.x, data.y), *((line.x, line.y) for line in data.baselines)]
    marks += [] if published is None else [(published.x, published.y)]
    # Single runs are weighed after the marks: they are faint, and there are many of them everywhere.
    place = emptiest_corner(
        (np.concatenate([x for x, _ in marks]), np.concatenate([y for _, y in marks])),
        (runs["x"].to_numpy(float), runs["y"].to_numpy(float)),
    )
    # These lines are few enough for a legend. Budgets are not: they are named at the ends of their curves.
    legend = place | {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 12.5}}
    x_axis = axis(SYMBOL_OF["trainable_params"], sizes)
    return {"data": traces, "layout": layout(x_axis, axis(escape(data.metric)), showlegend=True, legend=legend)}


LEGEND_SHARE = (0.65, 0.45)
"""Width and height of the legend as shares of the axes: six entries on a third of the page."""


def emptiest_corner(marks: tuple[FloatArray, FloatArray], runs: tuple[FloatArray, FloatArray]) -> dict[str, Any]:
    """Place a legend in the corner where it covers the fewest marks, and of those the fewest single runs.

    No corner is empty for every sweep: other architectures may lie far above the frontier or far below it.

    Args:
        marks: trainable parameters and metric of the frontier and of what stands beside it.
        runs: the same of the single runs, which are faint.
    """
    every = [np.concatenate([marks[i], runs[i]]) for i in range(2)]
    # The x axis is logarithmic, so shares of it are shares of the logarithm.
    ends = [(float(np.log10(every[0].min())), float(np.log10(every[0].max()))), (every[1].min(), every[1].max())]
    wide, high = LEGEND_SHARE

    def covered(points: tuple[FloatArray, FloatArray], corner: tuple[str, str]) -> int:
        x, y = (
            # All values may be equal, as with one single network.
            (values - low) / max(top - low, 1e-12)
            for values, (low, top) in zip((np.log10(points[0]), points[1]), ends, strict=True)
        )
        across = x < wide if corner[0] == "left" else x > 1 - wide
        return int((across & (y < high if corner[1] == "bottom" else y > 1 - high)).sum())

    corners = [(side, end) for side in ("left", "right") for end in ("bottom", "top")]
    side, end = min(corners, key=lambda corner: (covered(marks, corner), covered(runs, corner)))
    return {
        "x": 0.02 if side == "left" else 0.98,
        "xanchor": side,
        "y": 0.03 if end == "bottom" else 0.98,
        "yanchor": end,
    }


def _line_traces(data: FrontierData) -> list[Figure]:
    """Interval, law and means of one connectivity; `meta` lets a page show one connectivity at a time."""
    traces, meta = [], {} if data.k_c is None else {"k_c": data.k_c}
    named = "" if data.k_c is None else f", k<sub>c</sub> = {data.k_c:g}"
    known = np.isfinite(data.half)
    # A band between fewer than two intervals has no area.
    if known.sum() > 1:
        x, low, high = data.x[known], (data.y - data.half)[known], (data.y + data.half)[known]
        traces.append(band_trace(x, low, high, "95 % interval", meta={"kind": "band", **meta}))
    if len(data.theory_x) > 1:
        line = {"color": "@theory", "dash": "dash", "width": 2}
        more = {"hoverinfo": "skip", "name": "theory", "showlegend": True, "line": line}
        if not data.theory_joined:
            # Steps between curves that know nothing of each other would be read as a bend of one law.
            more |= {"marker": {"symbol": "line-ew", "size": 14, "line": {"color": "@theory", "width": 2}}}
        mode = "lines" if data.theory_joined else "markers"
        traces.append(scatter(mode, data.theory_x, data.theory_y, **more, meta={"kind": "theory", **meta}))
    chance = (
        [] if data.membership is None else [f"{share:.0%} likely the best of its budget" for share in data.membership]
    )
    traces.append(
        scatter(
            "lines+markers",
            data.x,
            data.y,
            customdata=data.position,
            # Under seed noise another configuration of the same budget may be the best; the label says how likely this
            # one is.
            text=chance,
            line={"color": "@accent", "width": 2.5},
            marker={"color": "@accent", "size": 8},
            name=f"measured frontier{named}",
            hovertemplate=f"P = %{{x:.4~s}}{named}<br>%{{y:.5g}}<br>%{{text}}<extra></extra>",
            showlegend=True,
            meta={"kind": "frontier", **meta},
        )
    )
    return traces


def _baseline_trace(line: Baseline, rank: int) -> Figure:
    colour = f"@task:{rank + 1}"  # the first colour of the set is close to the frontier's own
    return scatter(
        "lines+markers",
        line.x,
        line.y,
        text=[f"N = {n:.0f}, {counted(int(runs), 'run')}" for n, runs in zip(line.n_rec, line.runs, strict=True)],
        line={"color": colour, "width": 1.2, "dash": "dot"},
        marker={"symbol": SYMBOLS[1 + rank % (len(SYMBOLS) - 1)], "size": 8, "color": colour},
        name=escape(line.name),
        hovertemplate=f"{escape(line.name)}<br>P = %{{x:.4~s}}: %{{y:.5g}}<br>%{{text}}<extra></extra>",
        showlegend=True,
        meta={"kind": "baseline"},
    )


def _published_trace(points: PublishedPoints) -> Figure:
    name = f"published {points.name}" + ("" if points.same_data else " (other data)")
    return scatter(
        "markers",
        points.x,
        points.y,
        text=[f"N = {n:.0f}, d_m = {d:.0f}, 1 run" for n, d in zip(points.n_rec, points.d_m, strict=True)],
        marker={"symbol": "diamond-open", "size": 8, "color": "@published", "line": {"width": 1.6}},
        name=name,
        hovertemplate=f"{name}<br>P = %{{x:.4~s}} → %{{y:.5g}}<br>%{{text}}<extra></extra>",
        showlegend=True,
        meta={"kind": "published"},
    )


def plot_reducible(data: FrontierData) -> Figure:
    """Draw the frontier's distance from its fitted floor on logarithmic axes, where a power law is a straight line."""
    assert data.power is not None, "only a fitted frontier has a floor"
    # An accuracy lies below its ceiling and an error above its floor; the distance is positive either way, as a
    # logarithm needs.
    measured, law = np.abs(data.y - data.power.floor), np.abs(data.power.y - data.power.floor)
    hover = "P = %{x:.4~s}: %{y:.4g} from the floor<extra></extra>"
    line, marker = {"color": "@accent", "width": 2}, {"color": "@accent", "size": 8}
    dotted = {"color": "@accent", "dash": "dot", "width": 1.6}
    traces = [
        scatter("lines", data.power.x, law, line=dotted, hoverinfo="skip", meta={"kind": "theory"}),
        scatter("markers", data.x, measured, line=line, marker=marker, hovertemplate=hover, meta={"kind": "frontier"}),
    ]
    title = f"distance from the fitted floor {data.power.floor:.4g}"
    y = axis(title, np.concatenate([measured, law]))
    return {"data": traces, "layout": layout(axis(SYMBOL_OF["trainable_params"], data.power.x), y)}

"""The main figures, each in two halves: `*_data` makes the numbers, `plot_*` only draws them.

A figure is a plain Plotly dictionary with colour tokens: ``go.Figure(resolve(figure, theme("light", budgets)))`` shows
it in a notebook. The page and the report draw the very same dictionaries. Traces carry `meta` (kind, budget, k_c), by
which the page filters them.
"""

from html import escape
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.figures.theme import AT_X, PLAIN_SYMBOL, SYMBOL_OF, axis, layout, short, subscripts
from analysis.laws.overlay import Overlay
from analysis.rows.means import Optimum, budget_lines, configuration
from analysis.rows.sweep import Dataset

FloatArray = npt.NDArray[np.float64]
Figure = dict[str, Any]

LABEL_GAP = 0.055
"""Least distance between two labels at curve ends, as a share of the data's height (14 px of a 290 px panel)."""

WIDE_ENDS = 0.3
"""Curve ends spread over more than this share of the data's width get their labels above them."""

LABEL_WIDTH = 0.12
"""Labels whose places differ by more than this share of the data's width do not overlap."""


class Curve(NamedTuple):
    """Means along one budget and connectivity, by growing x."""

    budget: float
    k_c: float
    colour: int
    """Rank of the budget."""
    position: npt.NDArray[np.int64]
    """Rows of the configuration table."""
    x: FloatArray
    mean: FloatArray
    half: FloatArray
    runs: FloatArray


class Star(NamedTuple):
    """The best measured mean of one budget, and the range of x that is as good within the noise."""

    budget: float
    k_c: float
    colour: int
    position: int
    x: float
    y: float
    low: float
    high: float
    note: str


class Dashed(NamedTuple):
    """The law along one budget."""

    budget: float
    k_c: float
    colour: int
    x: FloatArray
    y: FloatArray
    best_x: float | None
    best_y: float | None


class Isobudget(NamedTuple):
    """Metric against one axis at fixed budgets."""

    axis: str
    metric: str
    trials: pd.DataFrame
    """Single runs: budget, k_c, colour, x, y."""
    curves: tuple[Curve, ...]
    stars: tuple[Star, ...]
    theory: tuple[Dashed, ...]


def isobudget_data(
    data: Dataset, table: pd.DataFrame, optima: list[Optimum], overlay: Overlay | None, *, x: str
) -> Isobudget:
    """Collect the numbers of metric against `x` at fixed budgets.

    Args:
        data: the rows.
        table: `configurations(data)`.
        optima: `analysis.rows.means.optima`.
        overlay: the fitted law, if there is one.
        x: `n_rec`, `d_m` or `k_e`.
    """
    rank = budget_ranks(table["budget"])
    curves = []
    for k_c, budget, part in budget_lines(table):
        # Networks of one budget may share a size; a stable sort keeps them in the table's order, so that the same rows
        # give the same bytes.
        ordered = part.sort_values(x, kind="stable")
        numbers = [ordered[name].to_numpy(float) for name in (x, "mean", "half", "n")]
        curves.append(Curve(budget, k_c, rank[budget], ordered.index.to_numpy(np.int64), *numbers))
    stars = tuple(_star(optimum, table, rank, x) for optimum in optima)
    return Isobudget(x, data.title, single_runs(data, rank, x), tuple(curves), stars, _dashed(overlay, rank, x))


def budget_ranks(budgets: pd.Series) -> dict[float, int]:
    """Rank of each budget, which is its colour."""
    return {float(budget): index for index, budget in enumerate(sorted(budgets.dropna().unique()))}


def single_runs(data: Dataset, rank: dict[float, int], x: str) -> pd.DataFrame:
    """Single runs of a figure: budget, k_c, colour, x, y."""
    rows = data.rows
    # Rows without a budget get a rank only so that the column is one of integers; they are drawn grey.
    colour = rows["budget"].astype("float64").map(rank).fillna(0).astype(int)
    place = {"x": rows[x].astype("float64"), "y": rows["value"]}
    return pd.DataFrame({"budget": rows["budget"], "k_c": rows["k_c"], "colour": colour, **place})


def _star(optimum: Optimum, table: pd.DataFrame, rank: dict[float, int], x: str) -> Star:
    best = configuration(table, optimum.best)
    note = f"as good: {PLAIN_SYMBOL[x]} {optimum.good_text(x)} ({optimum.tolerance_kind})"
    if optimum.bracketed is False:
        note = f"bracketed: {optimum.verdict}"
    # Without seed noise nobody knows what is as good; the bar then has no length and is not drawn.
    low, high = (optimum.good or {}).get(x, (best[x], best[x]))
    return Star(optimum.budget, optimum.k_c, rank[optimum.budget], optimum.best, best[x], best["mean"], low, high, note)


def _dashed(overlay: Overlay | None, rank: dict[float, int], x: str) -> tuple[Dashed, ...]:
    if overlay is None:
        return ()
    best = {(o.budget, o.k_c): (float(getattr(o, x)), o.metric) for o in overlay.optima}
    lines = []
    for line in overlay.lines:
        at = best.get((line.budget, line.k_c), (None, None))
        lines.append(Dashed(line.budget, line.k_c, rank[line.budget], getattr(line, x), line.metric, *at))
    return tuple(lines)


def plot_isobudget(data: Isobudget, *, trials: bool = True) -> Figure:
    """Draw metric against one axis at fixed budgets.

    Args:
        data: `isobudget_data(...)`.
        trials: whether to draw the single runs (the page draws them itself).
    """
    # The order is that of painting: single runs below, then the law, the means, and the stars on top.
    traces = trial_traces(data.trials) if trials else []
    traces += [_theory_trace(line) for line in data.theory]
    symbol = subscripts(PLAIN_SYMBOL[data.axis])
    traces += [_mean_trace(curve, symbol) for curve in data.curves]
    traces += [trace for star in data.stars for trace in _star_traces(star, symbol)]
    every = np.concatenate([curve.x for curve in data.curves]) if data.curves else np.ones(1)
    x = axis(SYMBOL_OF[data.axis], every)
    return {"data": traces, "layout": layout(x, axis(escape(data.metric)), annotations=_end_labels(data.curves))}


def scatter(mode: str, x: Any, y: Any, **more: Any) -> Figure:
    """One SVG scatter trace (WebGL points would be painted over curves and stars)."""
    return {"type": "scatter", "mode": mode, "x": x, "y": y, **more}


def band_trace(x: FloatArray, low: FloatArray, high: FloatArray, name: str, **more: Any) -> Figure:
    """A shaded band between two curves."""
    return scatter(
        "lines",
        # Out along the upper curve and back along the lower one: one closed outline. Plotly's fill to the next trace
        # would depend on which traces the page shows.
        np.concatenate([x, x[::-1]]),
        np.concatenate([high, low[::-1]]),
        fill="toself",
        fillcolor="@accent_soft",
        # The band is an area; a line along its edge would look like a third curve.
        line={"width": 0},
        opacity=0.75,
        hoverinfo="skip",
        name=name,
        showlegend=True,
        meta={"kind": "band"},
    ) | dict(more)


def trial_traces(trials: pd.DataFrame) -> list[Figure]:
    """Draw single runs faintly, one trace per budget and connectivity; grey where no budget was asked for."""
    traces = []
    for (budget, k_c, colour), part in trials.groupby(["budget", "k_c", "colour"], dropna=False, sort=True):
        token = "@muted" if _number(budget) is None else f"@budget:{colour}"
        marker = {"color": token, "size": 4.5, "opacity": 0.45}
        meta = {"kind": "trials", "budget": _number(budget), "k_c": _number(k_c)}
        x, y = part["x"].to_numpy(float), part["y"].to_numpy(float)
        traces.append(scatter("markers", x, y, hoverinfo="skip", marker=marker, showlegend=False, meta=meta))
    return traces


def _number(value: Any) -> float | None:
    # Only NaN differs from itself; it stands for a missing budget or connectivity, and JSON has no such number.
    return None if value is None or value != value else float(value)


def _mean_trace(curve: Curve, symbol: str) -> Figure:
    known = np.isfinite(curve.half)
    text = [
        f"{runs:.0f} runs, 95 % ± {half:.2g}" if ok else "1 run, no interval"
        for runs, half, ok in zip(curve.runs, curve.half, known, strict=True)
    ]
    colour = f"@budget:{curve.colour}"
    trace = scatter(
        "lines+markers",
        curve.x,
        curve.mean,
        # The page finds the configuration of a clicked point by its place in the table.
        customdata=curve.position,
        text=text,
        line={"color": colour, "width": 2},
        marker={"size": 5.5, "color": colour},
        name=f"P = {short(curve.budget)}",
        meta=_meta("mean", curve),
        hovertemplate=f"P = {short(curve.budget)}, {symbol} = {AT_X}<br>%{{y:.5g}}<br>%{{text}}<extra></extra>",
    )
    if known.any():
        # An unknown interval gets a bar of no length; the label says that it is unknown.
        half = np.where(known, curve.half, 0.0)
        trace["error_y"] = {"type": "data", "array": half, "thickness": 1.2, "width": 0, "color": colour}
    return trace


def _meta(kind: str, line: Curve | Star | Dashed) -> dict[str, Any]:
    return {"kind": kind, "budget": line.budget, "k_c": line.k_c}


def _theory_trace(line: Dashed) -> Figure:
    # The law has the colour of its budget and is told from the means by its dashes, so it needs no entry in a legend.
    style = {"color": f"@budget:{line.colour}", "width": 1.6, "dash": "6px,4px"}
    name = f"theory, P = {short(line.budget)}"
    return scatter("lines", line.x, line.y, hoverinfo="skip", meta=_meta("theory", line), line=style, name=name)


def _star_traces(star: Star, symbol: str) -> list[Figure]:
    bar = {"color": "@star", "width": 7}
    where = f"best at P = {short(star.budget)}: {symbol} = {AT_X}"
    ends = {"hoverinfo": "skip", "line": bar, "opacity": 0.45, "meta": _meta("band", star)}
    point = scatter(
        "markers",
        [star.x],
        [star.y],
        customdata=[star.position],
        # An optimum at the edge of the axes would otherwise be cut in half.
        cliponaxis=False,
        marker={"symbol": "star", "size": 16, "color": "@star", "line": {"color": "@star_edge", "width": 1.3}},
        hovertemplate=f"{where}<br>%{{y:.5g}}<br>{star.note}<extra></extra>",
        meta=_meta("optimum", star),
    )
    # The star of a budget about which no range is known stands alone.
    if star.high <= star.low:
        return [point]
    return [scatter("lines", [star.low, star.high], [star.y, star.y], **ends), point]


def _end_labels(curves: tuple[Curve, ...]) -> list[Figure]:
    """Name each budget at the right end of its curve: above it where the ends lie apart, else beside it."""
    labels = []
    # The page shows one connectivity at a time, so labels of different ones need not make room for each other.
    for k_c in sorted({curve.k_c for curve in curves}):
        lines = [curve for curve in curves if curve.k_c == k_c]
        x = np.array([np.log10(curve.x[-1]) for curve in lines])  # on log axes annotations take the logarithm
        y = np.array([curve.mean[-1] for curve in lines])
        # A single point has no width, and shares of nothing do not exist.
        width = max(float(np.ptp(np.log10(np.concatenate([curve.x for curve in lines])))), 1e-9)
        height = max(float(np.ptp(np.concatenate([curve.mean for curve in lines]))), 1e-12)
        above = len(lines) > 1 and float(np.ptp(x)) > WIDE_ENDS * width
        # Labels that stand above ends at different x are lifted by whole lines; those in one column are pushed apart by
        # what is missing.
        heights = y if above else spread_labels(x / width, y / height) * height
        lifts = _lifts(x / width, y / height) if above else np.zeros(len(lines))
        for curve, left, top, lift in zip(lines, x, heights, lifts, strict=True):
            place = {"xanchor": "center", "yshift": 15 + 14 * lift} if above else {"xanchor": "left", "xshift": 11}
            # Annotations have no `meta`, so their name carries what the page filters them by.
            name = f"label|{curve.budget!r}|{curve.k_c!r}"
            font = {"color": f"@budget:{curve.colour}", "size": 12.5}
            text = {"text": short(curve.budget), "showarrow": False, "font": font, "name": name}
            labels.append({"x": float(left), "y": float(top), **text, **place})
    return labels


def _lifts(x: FloatArray, y: FloatArray) -> FloatArray:
    """Raise every other one of labels that would touch their left neighbour: 0 or 1 lines."""
    lifts, before = np.zeros(len(x)), -1
    for place in np.argsort(x, kind="stable"):
        if before >= 0 and x[place] - x[before] < LABEL_WIDTH and abs(y[place] - y[before]) < LABEL_GAP:
            lifts[place] = 1 - lifts[before]
        before = int(place)
    return lifts


def spread_labels(x: FloatArray, y: FloatArray) -> FloatArray:
    """Push labels apart vertically where they would overlap.

    Args:
        x: places as shares of the axis.
        y: heights as shares of the axis.

    Returns:
        New heights; neighbours closer than a label's width differ by at least `LABEL_GAP`.
    """
    heights = y.astype(float).copy()
    # Each push may close another gap, so it is repeated, a bounded number of times.
    for _ in range(60):
        order = np.argsort(heights, kind="stable")
        moved = False
        for i, first in enumerate(order):
            for second in order[i + 1 :]:
                short_of = LABEL_GAP - (heights[second] - heights[first])
                if abs(x[first] - x[second]) < LABEL_WIDTH and short_of > 1e-9:
                    # Both give way by half, so that a group of labels keeps its middle.
                    heights[first] -= short_of / 2
                    heights[second] += short_of / 2
                    moved = True
        if not moved:
            break
    return heights

"""Scaling along each axis alone, the trade-off surface, and how the optimum moves with the budget."""

from html import escape
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from analysis.figures.isobudget import LABEL_GAP, LABEL_WIDTH, Figure, FloatArray, scatter
from analysis.figures.theme import AT_X, PLAIN_SYMBOL, SYMBOL_OF, axis, layout, short, subscripts
from analysis.laws.overlay import Overlay, TheoryPath, TheorySurface
from analysis.rows.means import Optimum, configuration
from analysis.rows.sweep import Dataset

LEVELS = 8
"""Most lines of a scaling panel; more levels of the fixed axis are thinned out evenly."""

Item = TypeVar("Item")

LABEL_ROOM = 0.15
"""Share of the data's width that is kept free for the names of the budgets: four letters on a figure of 85 mm."""

LINE_POINTS = 3
"""Fewest configurations that make a line."""


class Level(NamedTuple):
    """Metric against one axis while another is fixed."""

    fixed: float
    """Value of the fixed axis."""
    k_c: float
    rank: int
    """Rank of the fixed value among those shown."""
    position: FloatArray
    """Rows of the configuration table; NaN where a value was interpolated."""
    x: FloatArray
    mean: FloatArray
    theory_x: FloatArray
    theory_y: FloatArray


class Scaling(NamedTuple):
    """Metric against `axis`, one line per value of `fixed`."""

    axis: str
    fixed: str
    metric: str
    interpolated: bool
    lines: tuple[Level, ...]


class PathData(NamedTuple):
    """The optimum's place against the budget."""

    axis: str
    budget: FloatArray
    best: FloatArray
    low: FloatArray
    high: FloatArray
    k_c: FloatArray
    bracketed: FloatArray
    """1 where the measured optimum lies inside the sampled range, else 0."""
    paths: tuple[TheoryPath, ...]


class SurfaceData(NamedTuple):
    """Metric over (n_rec, k_e): measured means and the law's surface."""

    metric: str
    table: pd.DataFrame
    residual: FloatArray | None
    surfaces: tuple[TheorySurface, ...]
    optima: tuple[Optimum, ...]


def along_n_rec(data: Dataset, table: pd.DataFrame, overlay: Overlay | None) -> Scaling:
    """Metric against n_rec at fixed complexity: configurations of equal d_m from all budgets."""
    lines = []
    for k_c, part in _by_k_c(table):
        # Equal d_m means equal k_e only at one connectivity and one shape of the MLP, which rows of one group share.
        groups = [(d_m, group.sort_values("n_rec")) for d_m, group in _levels(part, "d_m")]
        for rank, (d_m, group) in enumerate(_thin(groups)):
            x, theory = group["n_rec"].to_numpy(float), (np.empty(0), np.empty(0))
            if overlay is not None:
                grid = np.geomspace(x.min(), x.max(), 40)
                # The law is drawn between the measured ends and not beyond: this panel shows how well it describes what
                # was run.
                theory = (grid, overlay.predict(grid, float(group["k_e"].iloc[0]), k_c))
            lines.append(Level(d_m, k_c, rank, group.index.to_numpy(float), x, group["mean"].to_numpy(float), *theory))
    return Scaling("n_rec", "d_m", data.title, False, tuple(lines))


def along_k_e(data: Dataset, table: pd.DataFrame, overlay: Overlay | None) -> Scaling:
    """Metric against k_e at fixed n_rec: lines of equal n_rec, else interpolated in ln n_rec along each d_m."""
    lines, interpolated = [], False
    for k_c, part in _by_k_c(table):
        levels = [
            (n_rec, group["k_e"].to_numpy(float), group["mean"].to_numpy(float), group.index.to_numpy(float))
            for n_rec, group in ((n, g.sort_values("k_e")) for n, g in _levels(part, "n_rec"))
        ]
        # In an isobudget design no two budgets share n_rec, so that lines of equal n_rec need values in between.
        if not levels:
            interpolated = True
            levels = _interpolated(part)
        for rank, (n_rec, x, mean, position) in enumerate(_thin(levels)):
            theory = (np.empty(0), np.empty(0))
            if overlay is not None:
                grid = np.geomspace(x.min(), x.max(), 40)
                theory = (grid, overlay.predict(n_rec, grid, k_c))
            lines.append(Level(n_rec, k_c, rank, position, x, mean, *theory))
    return Scaling("k_e", "n_rec", data.title, interpolated and bool(lines), tuple(lines))


def along_k_c(data: Dataset, table: pd.DataFrame, optima: list[Optimum]) -> Scaling:
    """Metric against k_c: the best mean of each budget at each connectivity."""
    rows = [(optimum, configuration(table, optimum.best)) for optimum in optima]
    lines = []
    # At every connectivity its own best split: comparing equal splits would confound connectivity with a worse split.
    for rank, budget in enumerate(sorted({optimum.budget for optimum, _ in rows})):
        points = sorted(((o.k_c, point["mean"], o.best) for o, point in rows if o.budget == budget))
        if len(points) > 1:
            x, mean, position = (np.array(column, dtype=float) for column in zip(*points, strict=True))
            # These lines run over connectivities, so they belong to none.
            lines.append(Level(budget, float("nan"), rank, position, x, mean, np.empty(0), np.empty(0)))
    return Scaling("k_c", "budget", data.title, False, tuple(lines))


def _by_k_c(table: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    return [(float(k_c), table[table["k_c"] == k_c]) for k_c in sorted(table["k_c"].unique())]


def _levels(part: pd.DataFrame, name: str) -> list[tuple[float, pd.DataFrame]]:
    """Values of one column that enough configurations share."""
    return [
        (float(value), part[part[name] == value])
        for value in sorted(part[name].dropna().unique())
        if (part[name] == value).sum() >= LINE_POINTS
    ]


def _thin(items: list[Item]) -> list[Item]:
    if len(items) <= LEVELS:
        return items
    # The first and the last level are always kept: they show the whole range.
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, LEVELS)]


def _interpolated(part: pd.DataFrame) -> list[tuple[float, FloatArray, FloatArray, FloatArray]]:
    """Metric at common n_rec, linearly in ln n_rec between configurations of equal d_m."""
    groups = [
        (float(group["k_e"].iloc[0]), np.log(group["n_rec"].to_numpy(float)), group["mean"].to_numpy(float))
        for _, group in ((d, g.sort_values("n_rec")) for d, g in part.groupby("d_m"))
        if len(group) > 1
    ]
    if len(groups) < LINE_POINTS:
        return []
    low, high = min(g[1][0] for g in groups), max(g[1][-1] for g in groups)
    levels = []
    # Without the ends, which a single d_m reaches.
    for level in np.linspace(low, high, LEVELS + 2)[1:-1]:
        # Only between sizes that were run at that d_m; a line is never drawn through extrapolated values.
        inside = [(k_e, float(np.interp(level, x, y))) for k_e, x, y in groups if x[0] <= level <= x[-1]]
        if len(inside) >= LINE_POINTS:
            k_e, mean = (np.array(column) for column in zip(*sorted(inside), strict=True))
            levels.append((float(np.exp(level)), k_e, mean, np.full(len(k_e), np.nan)))
    return levels


def plot_scaling(data: Scaling) -> Figure:
    """Draw metric against one axis with the other fixed."""
    traces, labels = [], []
    count = max((line.rank for line in data.lines), default=0) + 1
    every = np.concatenate([line.x for line in data.lines]) if data.lines else np.ones(1)
    name = {"d_m": "d_m", "n_rec": "N", "budget": "P"}[data.fixed]
    for line in data.lines:
        # Spread over the eight colours of the ramp, so that few lines differ as much as they can.
        colour = f"@level:{round(line.rank * 7 / max(count - 1, 1))}"
        meta: dict[str, Any] = {"kind": "mean", "k_c": None if np.isnan(line.k_c) else line.k_c}
        # Only these lines are hidden with their budget; lines of equal size run through all budgets.
        if data.fixed == "budget":
            meta["budget"] = line.fixed
        symbol_x = subscripts(PLAIN_SYMBOL[data.axis])
        hover = f"{subscripts(name)} = {short(line.fixed)}, {symbol_x} = {AT_X}<br>%{{y:.5g}}<extra></extra>"
        # Open: no configuration was measured there, and there is none to show when it is clicked.
        symbol = "circle-open" if np.isnan(line.position).any() else "circle"
        marker = {"size": 6, "color": colour, "symbol": symbol}
        line_style = {"color": colour, "width": 1.8}
        trace = scatter(
            "lines+markers", line.x, line.mean, line=line_style, marker=marker, meta=meta, hovertemplate=hover
        )
        if not np.isnan(line.position).any():
            trace["customdata"] = line.position.astype(np.int64)
        traces.append(trace)
        if len(line.theory_x):
            dash = {"color": colour, "width": 1.4, "dash": "6px,4px"}
            more = {"line": dash, "hoverinfo": "skip", "meta": meta | {"kind": "theory"}}
            traces.append(scatter("lines", line.theory_x, line.theory_y, **more))
        labels.append(_label(line, name, colour))
    x = axis(SYMBOL_OF[data.axis], every)
    shown = [labels[i] for i in _legible(data.lines)]
    return {"data": traces, "layout": layout(x, axis(escape(data.metric)), annotations=shown)}


def _legible(lines: tuple[Level, ...]) -> list[int]:
    """Lines whose names do not cover each other: the outer ones of each connectivity first."""
    if not lines:
        return []
    width = float(np.ptp(np.log10(np.concatenate([line.x for line in lines])))) or 1.0
    height = float(np.ptp(np.concatenate([line.mean for line in lines]))) or 1.0
    places = [(float(np.log10(line.x[-1])) / width, float(line.mean[-1]) / height, line.k_c) for line in lines]
    # The lowest and highest level name the range, so their labels win against those between.
    ends = {min(g, key=lambda i: lines[i].rank) for g in _families(lines)}
    ends |= {max(g, key=lambda i: lines[i].rank) for g in _families(lines)}
    legible: list[int] = []
    for i in sorted(range(len(lines)), key=lambda i: (i not in ends, i)):
        x, y, k_c = places[i]
        # Lines of other connectivities are never shown together with this one; lines of no connectivity stand beside
        # all.
        neighbours = [places[j] for j in legible if places[j][2] == k_c or k_c != k_c]
        if all(abs(x - left) >= LABEL_WIDTH or abs(y - top) >= LABEL_GAP for left, top, _ in neighbours):
            legible.append(i)
    return sorted(legible)


def _families(lines: tuple[Level, ...]) -> list[list[int]]:
    """Places of the lines of each connectivity."""
    names = [f"{line.k_c!r}" for line in lines]
    return [[i for i, other in enumerate(names) if other == name] for name in dict.fromkeys(names)]


def _label(line: Level, name: str, colour: str) -> Figure:
    return {
        # On logarithmic axes annotations take the logarithm.
        "x": float(np.log10(line.x[-1])),
        "y": float(line.mean[-1]),
        # Three digits: an interpolated n_rec is no whole number.
        "text": subscripts(f"{name} {short(float(f'{line.fixed:.3g}'))}"),
        # A label may lie on a curve, and stays legible on a ground of its own.
        "bgcolor": "@card",
        "borderpad": 0,
        "showarrow": False,
        "xanchor": "left",
        "xshift": 7,
        "font": {"color": colour, "size": 12},
        "name": f"label|{line.fixed if name == 'P' else None!r}|{line.k_c!r}",
    }


def path_data(table: pd.DataFrame, optima: list[Optimum], overlay: Overlay | None, *, x: str) -> PathData:
    """Collect the optimum's n_rec, d_m or k_e against the budget."""
    # Networks without d_m have no split whose optimum could move.
    splits = [(o, configuration(table, o.best)[x]) for o in optima if o.bracketed is not None]
    points = [(o, best, (o.good or {}).get(x, (best, best))) for o, best in splits]
    return PathData(
        axis=x,
        budget=np.array([o.budget for o, _, _ in points]),
        best=np.array([best for _, best, _ in points]),
        low=np.array([good[0] for _, _, good in points]),
        high=np.array([good[1] for _, _, good in points]),
        k_c=np.array([o.k_c for o, _, _ in points]),
        bracketed=np.array([float(o.bracketed or False) for o, _, _ in points]),
        paths=overlay.paths if overlay else (),
    )


def plot_path(data: PathData) -> Figure:
    """Draw the optimum's place against the budget: stars with the range that is as good, the law dashed."""
    traces = []
    for path in data.paths:
        dash = {"color": "@theory", "width": 1.8, "dash": "6px,4px"}
        more = {"line": dash, "hoverinfo": "skip", "meta": {"kind": "theory", "k_c": path.k_c}}
        traces.append(scatter("lines", path.budget, getattr(path, data.axis), **more))
    for k_c in sorted(set(data.k_c.tolist())):
        members = data.k_c == k_c
        best = data.best[members]
        traces.append(
            scatter(
                "markers",
                data.budget[members],
                best,
                meta={"kind": "optimum", "k_c": k_c},
                error_y={
                    "type": "data",
                    "array": data.high[members] - best,
                    "arrayminus": best - data.low[members],
                    "color": "@star",
                    "thickness": 5,
                    "width": 0,
                },
                marker={
                    "symbol": "star",
                    "size": 14,
                    # Open where the optimum lies at the edge of the sampled range: its place there is only a bound.
                    "color": ["@star" if ok else "@card" for ok in data.bracketed[members]],
                    "line": {"color": "@star_edge", "width": 1.2},
                },
                hovertemplate="P = %{x:.4~s}: %{y:.4~s}<extra></extra>",
            )
        )
    values = np.concatenate([data.low, data.high, *(getattr(p, data.axis) for p in data.paths)])
    x = axis(SYMBOL_OF["budget"], data.budget if len(data.budget) else np.ones(1))
    return {"data": traces, "layout": layout(x, axis(SYMBOL_OF[data.axis], values))}


def plot_surface(data: SurfaceData, *, difference: bool = False) -> Figure:
    """Draw measured means over the law's surface; or, with `difference`, measured minus law."""
    table = data.table
    values = data.residual if difference and data.residual is not None else table["mean"].to_numpy(float)
    low, high = float(np.min(values)), float(np.max(values))
    if difference:
        # Symmetric, so that the neutral middle of the diverging colours is where measurement and law agree.
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    # Surface and circles share scale and ends, so that a circle that stands out differs from the law.
    shared = {"colorscale": "@diverging" if difference else "@continuous"}
    traces: list[Figure] = []
    for surface in data.surfaces:
        # Where the colour is the difference from the law, the law itself would be one flat ground.
        if not difference:
            traces.append(_contours(surface, low, high, shared))
        traces += [_iso_line(surface.k_c, budget, n_rec, k_e) for budget, n_rec, k_e in surface.budgets]
    for k_c in sorted(table["k_c"].unique()):
        members = (table["k_c"] == k_c).to_numpy()
        marker = {
            "size": 11,
            "color": values[members],
            "cmin": low,
            "cmax": high,
            "line": {"color": "@card", "width": 1},
            **shared,
            "colorbar": {"thickness": 10, "len": 0.85, "outlinewidth": 0, "tickfont": {"size": 12}},
            "showscale": True,
        }
        x, y = table["n_rec"].to_numpy(float)[members], table["k_e"].to_numpy(float)[members]
        text = [
            f"P = {short(p)}: {value:.5g}"
            for p, value in zip(table["trainable_params"][members], values[members], strict=True)
        ]
        hover = "N = %{x:.4~s}, k_e = %{y:.4~s}<br>%{text}<extra></extra>"
        meta = {"kind": "mean", "k_c": float(k_c)}
        custom = np.flatnonzero(members)
        traces.append(
            scatter("markers", x, y, marker=marker, text=text, hovertemplate=hover, customdata=custom, meta=meta)
        )
    traces += [_surface_star(table, optimum) for optimum in data.optima]
    x_axis, y_axis = (axis(SYMBOL_OF[name], table[name].to_numpy(float)) for name in ("n_rec", "k_e"))
    for settings, name in ((x_axis, "n_rec"), (y_axis, "k_e")):
        # The range is set by hand because the surface reaches far beyond the points, which would shrink into the
        # middle.
        sizes = np.log10(table[name].to_numpy(float))
        room = LABEL_ROOM * float(np.ptp(sizes)) if name == "n_rec" else 0.0
        if np.ptp(sizes) > 0:
            settings["range"] = [float(sizes.min()) - 0.12, float(sizes.max()) + 0.12 + room]
    return {"data": traces, "layout": layout(x_axis, y_axis)}


def _contours(surface: TheorySurface, low: float, high: float, shared: dict[str, Any]) -> Figure:
    return {
        "type": "contour",
        "x": surface.n_rec,
        "y": surface.k_e,
        "z": surface.metric,
        # Over the measured range alone: the surface reaches beyond it and would spend its contours there.
        "contours": {"coloring": "fill", "start": low, "end": high, "size": max((high - low) / 14, 1e-12)},
        "line": {"width": 0.6, "color": "@card"},
        "zmin": low,
        "zmax": high,
        "opacity": 0.55,
        "showscale": False,
        "hoverinfo": "skip",
        "meta": {"kind": "theory", "k_c": surface.k_c},
        **shared,
    }


def _iso_line(k_c: float, budget: float, n_rec: FloatArray, k_e: FloatArray) -> Figure:
    meta = {"kind": "iso", "budget": budget, "k_c": k_c}
    style = {"color": "@ink", "width": 1, "dash": "dot"}
    # The name stands at the line's first point, that of the smallest d_m and most neurons, where the axis has room on
    # the right (`LABEL_ROOM`).
    text = [f"  {short(budget)}"] + [""] * (len(n_rec) - 1)
    more = {
        "text": text,
        "textposition": "middle right",
        "textfont": {"size": 12, "color": "@ink"},
        "hoverinfo": "skip",
    }
    return scatter("lines+text", n_rec, k_e, line=style, meta=meta, **more)


def _surface_star(table: pd.DataFrame, optimum: Optimum) -> Figure:
    point = configuration(table, optimum.best)
    marker = {"symbol": "star", "size": 15, "color": "@star", "line": {"color": "@star_edge", "width": 1.3}}
    meta = {"kind": "optimum", "budget": optimum.budget, "k_c": optimum.k_c}
    hover = f"best at P = {short(optimum.budget)}<extra></extra>"
    return scatter("markers", [point["n_rec"]], [point["k_e"]], marker=marker, meta=meta, hovertemplate=hover)

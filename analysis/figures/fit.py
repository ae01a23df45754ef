"""How well the law describes the rows: predicted against measured, residuals, parameter intervals."""

from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.figures.isobudget import Figure, FloatArray, band_trace, scatter
from analysis.figures.theme import SYMBOL_OF, axis, layout, short
from analysis.laws.overlay import Overlay
from analysis.rows.sweep import Dataset


class Agreement(NamedTuple):
    """Measured means and what the law says about them, one entry per configuration."""

    metric: str
    budget: FloatArray
    k_c: FloatArray
    rank: FloatArray
    position: FloatArray
    predicted: FloatArray
    measured: FloatArray
    half: FloatArray
    correlation: float | None
    """Pearson's r over configurations; None where it is undefined."""
    noise: float | None
    """Seed noise of one run."""


class Residuals(NamedTuple):
    """Measured mean minus law against one axis."""

    axis: str
    x: FloatArray
    y: FloatArray
    half: FloatArray
    budget: FloatArray
    k_c: FloatArray
    rank: FloatArray
    position: FloatArray
    noise: float | None


def agreement_data(data: Dataset, table: pd.DataFrame, overlay: Overlay) -> Agreement:
    """Compare the law with the means.

    Args:
        data: the rows.
        table: `analysis.rows.means.configurations(data)`.
        overlay: the fitted law.
    """
    predicted, measured = overlay.predicted, table["mean"].to_numpy(float)
    noise = table["noise"].astype(float)
    # Two points lie on a line whatever they are, and a constant correlates with nothing.
    varied = len(measured) > 2 and np.ptp(predicted) > 0 and np.ptp(measured) > 0
    return Agreement(
        metric=data.title,
        budget=table["budget"].to_numpy(float),
        k_c=table["k_c"].to_numpy(float),
        rank=_ranks(table["budget"]),
        position=np.arange(len(table), dtype=float),
        predicted=predicted,
        measured=measured,
        half=table["half"].to_numpy(float),
        correlation=float(np.corrcoef(predicted, measured)[0, 1]) if varied else None,
        noise=None if noise.isna().all() else float(np.sqrt((noise**2 * table["n"]).sum() / table["n"].sum())),
    )


def _ranks(budgets: pd.Series) -> FloatArray:
    known = {value: rank for rank, value in enumerate(sorted(budgets.dropna().unique()))}
    # A missing budget has no rank; it is drawn in the first colour.
    return np.array([known.get(value, 0) for value in budgets], dtype=float)


def residual_data(agreement: Agreement, table: pd.DataFrame, *, x: str) -> Residuals:
    """Residuals against `n_rec`, `k_e`, `d_m` or `trainable_params`."""
    gap = agreement.measured - agreement.predicted
    sizes = table[x].to_numpy(float)
    return Residuals(
        x,
        sizes,
        gap,
        agreement.half,
        agreement.budget,
        agreement.k_c,
        agreement.rank,
        agreement.position,
        agreement.noise,
    )


def plot_agreement(data: Agreement) -> Figure:
    """Draw measured against predicted, with the line of equality."""
    # Both axes share the ends, so that distance from the dotted line is distance from the law.
    ends = np.array([min(data.predicted.min(), data.measured.min()), max(data.predicted.max(), data.measured.max())])
    equal = scatter("lines", ends, ends, line={"color": "@muted", "width": 1.3, "dash": "dot"}, hoverinfo="skip")
    title = escape(data.metric)
    figure_layout = layout(axis(f"law: {title}"), axis(f"measured: {title}"))
    points = _points(data, data.predicted, data.measured, "law %{x:.5g}, measured %{y:.5g}")
    return {"data": [equal, *points], "layout": figure_layout}


def plot_residuals(data: Residuals) -> Figure:
    """Draw residuals against one axis, with the noise of one run as a band."""
    low, high = float(np.nanmin(data.x)), float(np.nanmax(data.x))
    traces = []
    if data.noise is not None:
        # A little beyond the points, on the logarithmic axis by a factor.
        x = np.array([low / 1.2, high * 1.2])
        width = np.full(2, data.noise)
        traces.append(band_trace(x, -width, width, "noise of one run (root mean square)"))
    zero = {"color": "@muted", "width": 1.3, "dash": "dot"}
    traces.append(scatter("lines", np.array([low / 1.2, high * 1.2]), np.zeros(2), line=zero, hoverinfo="skip"))
    traces += _points(data, data.x, data.y, "%{x:.4~s}: %{y:+.3g}")
    return {"data": traces, "layout": layout(axis(SYMBOL_OF[data.axis], data.x), axis("measured minus law"))}


def _points(data: Agreement | Residuals, x: FloatArray, y: FloatArray, hover: str) -> list[Figure]:
    traces = []
    # NaN stands for a missing budget and equals nothing, itself included; a groupby takes all of them for one key.
    lines = pd.DataFrame({"budget": data.budget, "k_c": data.k_c}).groupby(["budget", "k_c"], dropna=False)
    for _, members in lines:
        rows = members.index.to_numpy()
        budget, k_c = float(data.budget[rows[0]]), float(data.k_c[rows[0]])
        colour = f"@budget:{int(data.rank[rows[0]])}"
        # One run has no interval and gets a bar of no length.
        half = np.nan_to_num(data.half[rows])
        traces.append(
            scatter(
                "markers",
                x[rows],
                y[rows],
                customdata=data.position[rows].astype(np.int64),
                marker={"color": colour, "size": 7, "opacity": 0.85},
                error_y={"type": "data", "array": half, "thickness": 1, "width": 0, "color": colour},
                hovertemplate=f"{'' if np.isnan(budget) else f'P = {short(budget)}: '}{hover}<extra></extra>",
                meta={"kind": "mean", "budget": None if np.isnan(budget) else budget, "k_c": k_c},
            )
        )
    return traces


class Whisker(NamedTuple):
    """A value with an interval, to be drawn in one row."""

    label: str
    value: float
    low: float | None
    high: float | None


def plot_whiskers(rows: list[Whisker]) -> Figure:
    """Draw values with intervals, one below the other, each relative to its value."""
    # Relative to the value, so that parameters of very different magnitudes share one axis; one that is zero has no
    # such length.
    known = [row for row in rows if row.low is not None and row.high is not None and row.value]
    points = scatter(
        "markers",
        np.ones(len(known)),
        [row.label for row in known],
        error_x={
            "type": "data",
            "array": np.array([(row.high or 0.0) / row.value - 1 for row in known]),
            "arrayminus": np.array([1 - (row.low or 0.0) / row.value for row in known]),
            "color": "@accent",
            "thickness": 2,
            "width": 6,
        },
        marker={"color": "@accent", "size": 9},
        hovertemplate="%{y}<extra></extra>",
    )
    # Plotly counts categories from the bottom; reversed, they stand in the order of the table.
    x = axis("interval relative to the value")
    return {"data": [points], "layout": layout(x, axis("", type="category", autorange="reversed"))}

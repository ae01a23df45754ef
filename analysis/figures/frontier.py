"""The frontier: the best metric of each budget, the law's, and a power law through it."""

from html import escape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.figures.isobudget import Figure, FloatArray, band_trace, budget_ranks, scatter, single_runs, trial_traces
from analysis.figures.theme import SYMBOL_OF, axis, layout
from analysis.laws.overlay import Overlay
from analysis.rows.means import Frontier
from analysis.rows.published import PublishedPoints
from analysis.rows.sweep import Dataset
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.result import Direction
from theory.optimum.frontier import power_law


class FrontierData(NamedTuple):
    """Best metric per size."""

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
    power: "PowerLawCurve | None"
    """Saturating power law through the frontier; None with fewer than 4 budgets or an untrustworthy fit."""


class PowerLawCurve(NamedTuple):
    """metric = floor + A (P / p_ref)^-exponent through the frontier."""

    floor: float
    exponent: float
    x: FloatArray
    y: FloatArray


def frontier_data(data: Dataset, table: pd.DataFrame, found: Frontier, overlay: Overlay | None) -> FrontierData:
    """Collect the numbers of the best metric against trainable parameters.

    Args:
        data: the rows.
        table: `configurations(data)`.
        found: `analysis.rows.means.frontier`.
        overlay: the fitted law, if there is one; its frontier runs through the law's optima.
    """
    members = table.loc[found.position]
    best: dict[float, float] = {}
    for optimum in overlay.optima if overlay else ():
        pick = min if data.direction == "min" else max
        best[optimum.budget] = pick(best.get(optimum.budget, optimum.metric), optimum.metric)
    sizes = sorted(best)
    return FrontierData(
        metric=data.title,
        direction=data.direction,
        trials=single_runs(data, budget_ranks(table["budget"]), "trainable_params"),
        position=found.position,
        x=members["trainable_params"].to_numpy(float),
        y=members["mean"].to_numpy(float),
        half=members["half"].to_numpy(float),
        membership=None if found.membership is None else found.membership[found.position],
        theory_x=np.array(sizes, dtype=float),
        theory_y=np.array([best[size] for size in sizes], dtype=float),
        power=_power_law(data, members),
    )


def _power_law(data: Dataset, members: pd.DataFrame) -> PowerLawCurve | None:
    size, value = members["trainable_params"].to_numpy(float), members["mean"].to_numpy(float)
    direction: Direction = "min" if data.direction == "min" else "max"
    try:
        fit = power_law(size, value, weights=members["n"].to_numpy(float), direction=direction)
    except TheoryError:  # too few budgets, or all equal: the panel says so by showing none
        return None
    if not fit.usable or fit.has("at_bound") or fit.has("floor_implausible") or fit.has("no_effect"):
        return None
    x = np.geomspace(size.min(), size.max() * 3, 40)
    y = fit.predict(Design(n_rec=np.ones_like(x), k_e=x, trainable_params=x))
    return PowerLawCurve(fit.coefficients["all"]["E"], fit.values["exponent"], x, y)


def plot_frontier(data: FrontierData, *, trials: bool = True, published: PublishedPoints | None = None) -> Figure:
    """Draw the best metric against trainable parameters, with the law's frontier.

    Args:
        data: `frontier_data(...)`.
        trials: whether to draw the single runs.
        published: runs of the task's publication to draw beside them.
    """
    traces = trial_traces(data.trials) if trials else []
    known = np.isfinite(data.half)
    if known.sum() > 1:
        x, low, high = data.x[known], (data.y - data.half)[known], (data.y + data.half)[known]
        traces.append(band_trace(x, low, high, "95 % interval"))
    if len(data.theory_x) > 1:
        line = {"color": "@theory", "dash": "dash", "width": 2}
        more = {"hoverinfo": "skip", "name": "theory", "showlegend": True, "line": line, "meta": {"kind": "theory"}}
        traces.append(scatter("lines", data.theory_x, data.theory_y, **more))
    chance = (
        [] if data.membership is None else [f"{share:.0%} likely the best of its budget" for share in data.membership]
    )
    traces.append(
        scatter(
            "lines+markers",
            data.x,
            data.y,
            customdata=data.position,
            text=chance,
            line={"color": "@accent", "width": 2.5},
            marker={"color": "@accent", "size": 8},
            name="measured frontier",
            hovertemplate="P = %{x:.4~s}<br>%{y:.5g}<br>%{text}<extra></extra>",
            showlegend=True,
            meta={"kind": "frontier"},
        )
    )
    sizes = data.trials["x"].to_numpy(float)
    if published is not None:
        traces.append(_published_trace(published))
        sizes = np.concatenate([sizes, published.x])
    low_is_best = data.direction == "min"
    place = {
        "x": 0.02,
        "xanchor": "left",
        "y": 0.03 if low_is_best else 0.98,
        "yanchor": "bottom" if low_is_best else "top",
    }
    legend = place | {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 12.5}}
    x_axis = axis(SYMBOL_OF["trainable_params"], sizes)
    return {"data": traces, "layout": layout(x_axis, axis(escape(data.metric)), showlegend=True, legend=legend)}


def _published_trace(found: PublishedPoints) -> Figure:
    name = f"published {found.name}" + ("" if found.same_data else " (other data)")
    return scatter(
        "markers",
        found.x,
        found.y,
        text=[f"N = {n:.0f}, d_m = {d:.0f}, 1 run" for n, d in zip(found.n_rec, found.d_m, strict=True)],
        marker={"symbol": "diamond-open", "size": 8, "color": "@published", "line": {"width": 1.6}},
        name=name,
        hovertemplate=f"{name}<br>P = %{{x:.4~s}} → %{{y:.5g}}<br>%{{text}}<extra></extra>",
        showlegend=True,
        meta={"kind": "published"},
    )


def plot_reducible(data: FrontierData) -> Figure:
    """Draw the frontier's distance from its fitted floor on logarithmic axes, where a power law is a straight line."""
    assert data.power is not None, "only a fitted frontier has a floor"
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

"""The health of a sweep: what is done, failed and how long it took."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.figures.isobudget import Figure, FloatArray, scatter
from analysis.figures.theme import SYMBOL_OF, axis, layout, short
from sweeper.store.schema import FINISHED, STATUSES

STATUS_COLOUR = {
    "finished": "@accent",
    "diverged": "@warn",
    "failed": "@bad",
    "out_of_memory": "@theory",
    "timed_out": "@muted",
}

PACE_POINTS = 400
"""Most points of the curve of finished trials."""


class Progress(NamedTuple):
    """Trials by budget and status."""

    budgets: tuple[str, ...]
    """Labels of the bars, by growing budget."""
    counts: dict[str, list[int]]
    """Trials of each status, one number per bar; statuses that do not occur are left out."""


class Pace(NamedTuple):
    """Trials that had ended by a time."""

    hours: FloatArray
    """Since the first trial began."""
    ended: FloatArray
    """Number of trials."""
    core_hours: float
    """Wall time of all attempts that left a row, hours."""


class Cost(NamedTuple):
    """Wall time of finished trials against their size."""

    x: FloatArray
    seconds: FloatArray
    low: FloatArray
    high: FloatArray


def progress_data(trials: pd.DataFrame) -> Progress:
    """Count trials by budget and status."""
    labels = trials["budget"].astype("float64")
    order = sorted(labels.dropna().unique())
    groups = [labels == budget for budget in order]
    names = [short(float(budget)) for budget in order]
    if labels.isna().any():
        # NaN equals nothing, so rows without a budget need a test of their own.
        groups.append(labels.isna())
        names.append("no budget")
    counts = {status: [int(((trials["status"] == status) & rows).sum()) for rows in groups] for status in STATUSES}
    return Progress(tuple(names), {status: numbers for status, numbers in counts.items() if any(numbers)})


def pace_data(trials: pd.DataFrame) -> Pace:
    """How many trials had ended when."""
    begin, end = (pd.to_datetime(trials[name], utc=True) for name in ("started_at", "ended_at"))
    # Counted from the first start, pauses between launches included: it is what somebody waited.
    hours = np.sort(((end - begin.min()).dropna().dt.total_seconds() / 3600).to_numpy(float))
    ended = np.arange(1, len(hours) + 1, dtype=float)
    # Evenly through the trials and not through time, so that a pause takes no points.
    keep = np.unique(np.linspace(0, len(hours) - 1, min(len(hours), PACE_POINTS)).round().astype(int))
    return Pace(hours[keep], ended[keep], float(trials["wall_s"].astype("float64").sum()) / 3600)


def cost_data(trials: pd.DataFrame) -> Cost:
    """Median wall time of finished trials per size, with the range of the middle 90 %."""
    done = trials[(trials["status"] == FINISHED) & trials["wall_s"].notna()]
    size = done["budget"].astype("float64").fillna(done["trainable_params"])
    grouped = done["wall_s"].astype("float64").groupby(size)
    # Quantiles, because a few slow trials would pull a mean and its deviation.
    middle, low, high = (np.asarray(grouped.quantile(share), dtype=np.float64) for share in (0.5, 0.05, 0.95))
    return Cost(x=np.sort(size.unique()).astype(np.float64), seconds=middle, low=low, high=high)


def plot_progress(data: Progress) -> Figure:
    """Draw trials by budget as stacked bars."""
    traces = [
        {
            "type": "bar",
            "name": status.replace("_", " "),
            "x": list(data.budgets),
            "y": numbers,
            "marker": {"color": STATUS_COLOUR[status]},
            "hovertemplate": f"P = %{{x}}: %{{y}} {status.replace('_', ' ')}<extra></extra>",
        }
        for status, numbers in data.counts.items()
    ]
    legend = {"orientation": "h", "x": 0, "y": 1.12, "bgcolor": "rgba(0,0,0,0)"}
    x = axis(SYMBOL_OF["budget"], type="category", showgrid=False)
    return {"data": traces, "layout": layout(x, axis("trials"), barmode="stack", showlegend=True, legend=legend)}


def plot_pace(data: Pace) -> Figure:
    """Draw the number of ended trials against time."""
    # A count stays as it is until the next trial ends, so it is drawn in steps.
    line = {"color": "@accent", "width": 2, "shape": "hv"}
    hover = "%{x:.2f} h: %{y} trials<extra></extra>"
    trace = scatter("lines", data.hours, data.ended, line=line, hovertemplate=hover)
    return {"data": [trace], "layout": layout(axis("hours since the start"), axis("trials ended", rangemode="tozero"))}


def plot_cost(data: Cost) -> Figure:
    """Draw the wall time of finished trials against their size."""
    spread = {"array": data.high - data.seconds, "arrayminus": data.seconds - data.low}
    trace = scatter(
        "lines+markers",
        data.x,
        data.seconds,
        error_y={"type": "data", "color": "@accent", "thickness": 1.4, "width": 4, **spread},
        line={"color": "@accent", "width": 2},
        marker={"size": 7, "color": "@accent"},
        hovertemplate="P = %{x:.4~s}: %{y:.3~s} s<extra></extra>",
    )
    return {"data": [trace], "layout": layout(axis(SYMBOL_OF["budget"], data.x), axis("seconds per trial", data.high))}

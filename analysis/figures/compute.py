"""The best split of training compute between parameters and tokens, drawn over the runs that were made."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.figures.isobudget import Figure, FloatArray, band_trace, scatter
from analysis.figures.theme import axis, layout
from analysis.laws.findings import ComputeSplits

TITLES = {"n": "trainable parameters N", "tokens": "tokens D"}
"""What may be drawn against the compute, with its axis title."""


class ComputeData(NamedTuple):
    """One of the two sizes against the compute."""

    axis: str
    """`n` or `tokens`."""
    compute: FloatArray
    """Of the runs, one entry per configuration."""
    size: FloatArray
    metric: FloatArray
    line_compute: FloatArray
    """Of the law's best splits."""
    line: FloatArray
    low: FloatArray
    """Ends of its 95 % intervals; NaN where one is open."""
    high: FloatArray


def compute_data(table: pd.DataFrame, splits: ComputeSplits, *, x: str) -> ComputeData:
    """Collect runs and best splits.

    Args:
        table: `analysis.rows.means.configurations`, with tokens.
        splits: what the law says.
        x: `n` or `tokens`.
    """
    params, tokens = table["trainable_params"].to_numpy(float), table["tokens"].to_numpy(float)
    rows = [getattr(split, x) for split in splits.splits]
    return ComputeData(
        axis=x,
        compute=splits.flop * params * tokens,
        size=params if x == "n" else tokens,
        metric=table["mean"].to_numpy(float),
        line_compute=np.array([split.compute for split in splits.splits]),
        line=np.array([row.estimate for row in rows]),
        low=np.array([np.nan if row.low is None else row.low for row in rows]),
        high=np.array([np.nan if row.high is None else row.high for row in rows]),
    )


def plot_compute(data: ComputeData) -> Figure:
    """Draw the runs, coloured by their metric, and the law's best split with its band."""
    traces = []
    closed = np.isfinite(data.low) & np.isfinite(data.high)
    # A band between fewer than two intervals has no area.
    if closed.sum() > 1:
        x, low, high = data.line_compute[closed], data.low[closed], data.high[closed]
        traces.append(band_trace(x, low, high, "95 % interval"))
    marker = {
        "size": 8,
        "color": data.metric,
        "colorscale": "@continuous",
        "line": {"color": "@card", "width": 0.8},
        "colorbar": {"thickness": 10, "len": 0.85, "outlinewidth": 0, "tickfont": {"size": 12}},
        "showscale": True,
    }
    text = [f"{value:.5g}" for value in data.metric]
    hover = "C = %{x:.3e}, %{y:.4~s}<br>%{text}<extra></extra>"
    more = {"marker": marker, "text": text, "hovertemplate": hover, "name": "runs", "meta": {"kind": "mean"}}
    traces.append(scatter("markers", data.compute, data.size, showlegend=True, **more))
    # Over the runs, which would hide it.
    dash = {"color": "@theory", "dash": "dash", "width": 2}
    hover = "C = %{x:.3e}: best %{y:.4~s}<extra></extra>"
    named = {"name": "best by the law", "hovertemplate": hover, "meta": {"kind": "theory"}}
    traces.append(scatter("lines", data.line_compute, data.line, line=dash, showlegend=True, **named))
    ends = [np.concatenate([data.compute, data.line_compute]), np.concatenate([data.size, data.line])]
    legend = {"x": 0.02, "y": 0.98, "xanchor": "left", "yanchor": "top", "bgcolor": "rgba(0,0,0,0)"}
    x_axis, y_axis = axis("training compute C, FLOP", ends[0]), axis(TITLES[data.axis], ends[1])
    # Prefixes of units end where training compute begins.
    powers = range(int(np.floor(np.log10(ends[0].min()))), int(np.ceil(np.log10(ends[0].max()))) + 1)
    x_axis |= {"tickvals": [10.0**power for power in powers], "ticktext": [f"10<sup>{power}</sup>" for power in powers]}
    return {"data": traces, "layout": layout(x_axis, y_axis, showlegend=True, legend=legend)}

"""The tab that lays several sweeps side by side."""

from html import escape

import numpy as np

from analysis.dashboard.panels import Choice, Panel, Tab
from analysis.figures.isobudget import Figure, scatter
from analysis.figures.theme import PLAIN_SYMBOL, SYMBOL_OF, SYMBOLS, UNORDERED_LIGHT, axis, layout
from analysis.report.compare import COLUMNS, Line, comparison_rows


def compare_tab(lines: list[Line]) -> Tab:
    """Optimum and best metric of every group against the budget."""
    metrics = sorted({line.metric for line in lines})
    # Metrics of different tasks share no axis, so each has a panel; sizes do.
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
        # Lines without a verdict on bracketing are of architectures without a split, which have no optimum to show
        # here.
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
        # A symbol beside the colour: groups stay apart in print and for readers who do not tell the colours apart.
        # They move on by one with each round of colours: colours and symbols are equally many.
        symbol = SYMBOLS[(rank + rank // len(UNORDERED_LIGHT)) % len(SYMBOLS)]
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
            # Means of a single run have no interval, and get a bar of no length.
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

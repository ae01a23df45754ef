"""What each changed setting does to the metric at equal P."""

from collections.abc import Sequence

import numpy as np

from analysis.figures.isobudget import Figure, scatter
from analysis.figures.theme import axis, layout
from analysis.rows.effects import Effect


def plot_effects(effects: Sequence[Effect], metric: str) -> Figure:
    """Draw the gain of each changed setting with its interval, a line for each; those without an interval are left out.

    Args:
        effects: `analysis.rows.effects.setting_effects`.
        metric: what was measured, for the axis.
    """
    shown = [effect for effect in effects if effect.low is not None and effect.high is not None]
    value, low, high = (np.array([getattr(e, name) for e in shown], dtype=float) for name in ("gain", "low", "high"))
    points = scatter(
        "markers",
        value,
        [f"{effect.setting} = {effect.value}" for effect in shown],
        error_x={
            "type": "data",
            "array": high - value,
            "arrayminus": value - low,
            "symmetric": False,
            "color": "@accent",
            "thickness": 2,
            "width": 6,
        },
        marker={"color": "@accent", "size": 9},
    )
    zero = {
        "type": "line",
        "x0": 0,
        "x1": 0,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": "@muted", "dash": "dot"},
    }
    x = axis(f"gain (right is better), {metric}")
    settings = layout(x, axis("", type="category", autorange="reversed"), shapes=[zero])
    return {"data": [points], "layout": settings}

"""Figures of the second study: both estimators of d_m* with their intervals against P, at each k_c."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.dashboard.export import Picture
from analysis.figures.isobudget import Figure, scatter
from analysis.figures.theme import SYMBOL_OF, axis, layout, resolve, subscripts, theme, titled
from studies.answers import Answer
from studies.interior_optimum.hypotheses import ESTIMATORS

APART = 1.06
"""Factor in P between the two estimators of one budget, so that their bars stand beside each other."""


def pictures(answers: Sequence[Answer], mode: str = "light") -> list[Picture]:
    """Pictures of the optima that the answers hold: d_m* and n_rec* for each k_c; none where nothing was estimated.

    Args:
        answers: what the study answered.
        mode: `light` or `dark`.
    """
    tokens = theme(mode, 6)
    drawn: dict[str, Figure] = {}
    for answer in answers:
        optima = answer.numbers.get("optima")
        # The same hypothesis comes again with other rows where points were trained longer; the first is the study's.
        if optima and (name := f"{answer.numbers['quantity']}-at-k_c-{optima[0]['k_c']:.0f}") not in drawn:
            drawn[name] = plot_optima(optima, answer.numbers["quantity"])
    return [Picture(name, resolve(figure, tokens)) for name, figure in drawn.items()]


def plot_optima(optima: Sequence[Mapping[str, Any]], quantity: str) -> Figure:
    """Draw the optimum by both estimators against the budget, both axes logarithmic.

    Args:
        optima: `budget`, `k_c` and one interval by each estimator's name.
        quantity: `d_m` or `n_rec`.
    """
    budgets = np.array([row["budget"] for row in optima])
    traces = []
    for i, name in enumerate(ESTIMATORS):
        value, low, high = np.array([row[name] for row in optima]).T
        bars = {"array": high - value, "arrayminus": value - low, "symmetric": False, "thickness": 2, "width": 5}
        traces.append(
            scatter(
                "lines+markers",
                budgets * APART ** (i - 0.5),
                value,
                name=name,
                line={"color": f"@task:{i}", "width": 1.5, "dash": "dot"},
                marker={"color": f"@task:{i}", "size": 9, "symbol": ("circle", "square")[i]},
                error_y={"type": "data", "color": f"@task:{i}"} | bars,
            )
        )
    shown = np.concatenate([np.array(row[name]) for row in optima for name in ESTIMATORS])
    settings = layout(axis(SYMBOL_OF["budget"], budgets), axis(SYMBOL_OF[quantity], shown), showlegend=True)
    note = "95 % intervals under seed noise, pooled over the points of each P"
    title = f"Best {quantity} at k_c = {optima[0]['k_c']:.0f}"
    return titled({"data": traces, "layout": settings}, subscripts(title), note)

"""The page's tabs: which figures and tables each holds, with a caption, a computed sentence and the numbers."""

from typing import Any, NamedTuple

import pandas as pd

from analysis.figures import FrontierData, frontier_data, isobudget_data, plot_frontier, plot_isobudget
from analysis.load import Dataset
from analysis.means import Frontier, Optimum, configuration
from analysis.overlay import Overlay, TheoryOptimum
from analysis.theme import short

Cell = str | float | int | None


OPTIMA_COLUMNS = (
    *("P", "k_c", "N*", "d_m*", "k_e*", "metric", "95 % ±", "runs", "N as good", "d_m as good"),
    *("theory N*", "theory d_m*", "theory metric", "bracketed"),
)


class Choice(NamedTuple):
    """One figure of a panel; a panel with several offers a choice of axis."""

    label: str
    figure: dict[str, Any]
    x: str | None
    """Column on the x axis by which the panel is linked to others; None for a panel on its own."""


class Panel(NamedTuple):
    """One card of the page."""

    id: str
    title: str
    caption: str
    summary: str
    width: str
    """`third`, `half`, `wide` or `full`."""
    choices: tuple[Choice, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


class Tab(NamedTuple):
    """One view of the page."""

    id: str
    title: str
    panels: tuple[Panel, ...]


class View(NamedTuple):
    """Everything known about one group of rows, from which its tabs are made."""

    data: Dataset
    table: pd.DataFrame
    optima: list[Optimum]
    frontier: Frontier
    overlay: Overlay | None


def tradeoff_tab(view: View) -> Tab:
    """Isobudget curves against n_rec and d_m (or k_e), the frontier, and the optimum of each budget."""
    found = frontier_data(view.data, view.table, view.frontier, view.overlay)
    return Tab(
        "tradeoff",
        "Trade-off",
        (_isobudget(view, "n_rec"), _isobudget(view, "d_m", "k_e"), _frontier(found), _optima(view)),
    )


def _isobudget(view: View, *axes: str) -> Panel:
    choices = []
    for name in axes:
        data = isobudget_data(view.data, view.table, view.optima, view.overlay, x=name)
        choices.append(Choice(name, plot_isobudget(data, trials=False), name))
    what = {"n_rec": "number of neurons", "d_m": "complexity of a neuron"}[axes[0]]
    dashed = ", dashed = theory" if view.overlay else ""
    return Panel(
        id=f"isobudget-{axes[0]}",
        title=f"Isobudget: metric against {what}",
        caption=f"line = mean over seeds{dashed}, ★ = best measured mean, bar = as good within noise",
        summary=_isobudget_summary(view, axes[0]),
        width="third",
        choices=tuple(choices),
        columns=("P", "k_c", "N", "d_m", "k_e", "mean", "95 % ±", "runs"),
        rows=_configuration_rows(view.table),
    )


def _configuration_rows(table: pd.DataFrame) -> tuple[tuple[Cell, ...], ...]:
    columns = ["budget", "k_c", "n_rec", "d_m", "k_e", "mean", "half", "n"]
    return tuple(tuple(none(value) for value in row) for row in table[columns].itertuples(index=False, name=None))


def none(value: Any) -> Cell:
    """Missing numbers as None, whole numbers as int."""
    if isinstance(value, str) or value is None:
        return value
    number = float(value)
    if number != number:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _isobudget_summary(view: View, x: str) -> str:
    if not view.optima:
        return "No rows have a budget, so nothing can be compared at equal size."
    parts = []
    for optimum in view.optima[-3:]:
        best = configuration(view.table, optimum.best)
        where = f"N = {best['n_rec']:.0f}" if x == "n_rec" else f"d_m = {best['d_m']:.0f}"
        if optimum.extend:
            parts.append(f"P = {short(optimum.budget)}: best at the edge ({where}), extend towards {optimum.extend}")
        else:
            parts.append(f"P = {short(optimum.budget)}: best mean {best['mean']:.5g} at {where}")
    return ("… " if len(view.optima) > 3 else "") + "; ".join(parts) + "."


def _frontier(data: FrontierData) -> Panel:
    rows = [
        (none(x), none(y), none(half), None if data.membership is None else float(data.membership[i]))
        for i, (x, y, half) in enumerate(zip(data.x, data.y, data.half, strict=True))
    ]
    if len(data.x):
        summary = f"Best mean: {data.y[-1]:.5g} with P = {short(data.x[-1])}; {len(data.x)} sizes on the frontier."
    else:
        summary = "No finished trial."
    return Panel(
        id="frontier",
        title="Frontier",
        caption="best configuration of each budget that no smaller budget beats; band = 95 % interval of its mean",
        summary=summary,
        width="third",
        choices=(Choice("P", plot_frontier(data, trials=False), "trainable_params"),),
        columns=("P", "mean", "95 % ±", "chance to be the best of its budget"),
        rows=tuple(rows),
    )


def _optima(view: View) -> Panel:
    theory = {(o.budget, o.k_c): o for o in view.overlay.optima} if view.overlay else {}
    return Panel(
        id="optima",
        title="Optimum per budget",
        caption="measured: best mean, and which configurations are as good; theory: best allocation of the fitted law",
        summary="" if not view.optima else f"As good: {view.optima[0].tolerance_kind}.",
        width="full",
        columns=OPTIMA_COLUMNS,
        rows=tuple(_optimum_row(o, view.table, theory.get((o.budget, o.k_c))) for o in view.optima),
    )


def _optimum_row(optimum: Optimum, table: pd.DataFrame, theory: TheoryOptimum | None) -> tuple[Cell, ...]:
    best, band = configuration(table, optimum.best), table.iloc[list(optimum.band)]
    measured = [none(v) for v in (optimum.budget, optimum.k_c, best["n_rec"], best["d_m"], best["k_e"], best["mean"])]
    half = "1 run, no interval" if best["n"] == 1 else none(best["half"])
    ranges = [f"{band[name].min():.0f}–{band[name].max():.0f}" for name in ("n_rec", "d_m")]
    predicted: list[Cell] = [None, None, None]
    if theory is not None:
        predicted = [none(theory.n_rec), none(theory.d_m), theory.metric]
    verdict = "yes" if optimum.extend is None else f"no: extend towards {optimum.extend}"
    return (*measured, half, int(best["n"]), *ranges, *predicted, verdict)

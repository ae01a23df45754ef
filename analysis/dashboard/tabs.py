"""The tabs about the measurement: trade-off, frontier, runs."""

from collections import Counter
from typing import Any

import numpy as np

from analysis.dashboard.panels import CONFIGURATION_COLUMNS, Choice, Panel, Tab, configuration_rows, rows_of
from analysis.dashboard.running import running_panel
from analysis.figures.compute import compute_data, plot_compute
from analysis.figures.frontier import FrontierData, frontier_data, plot_frontier, plot_reducible
from analysis.figures.isobudget import isobudget_data, plot_isobudget
from analysis.figures.runs import cost_data, pace_data, plot_cost, plot_pace, plot_progress, progress_data
from analysis.figures.scaling import path_data, plot_path
from analysis.figures.theme import PLAIN_SYMBOL, short
from analysis.laws.compute import compute_splits
from analysis.laws.findings import Refusal
from analysis.laws.view import View
from analysis.report.report import optimum_parts
from analysis.report.tables import band_rule, compute_sentences, compute_table, optimum_table
from analysis.rows.means import configuration
from analysis.rows.published import published_points
from analysis.rows.sweep import Sweep
from sweeper.store.schema import FINISHED
from sweeper.words import counted

REASONS = 12
"""Most reasons of failure that are listed."""

SPLIT_AXES = {"n": "N", "tokens": "D"}
"""Sizes that training compute is split between, and their names on the page."""


def tradeoff_tab(view: View) -> Tab:
    """Isobudget curves against n_rec and d_m (or k_e), the frontier, and the optimum of each budget."""
    frontier = frontier_data(view.data, view.table, view.frontier, view.overlay, view.baselines)
    # networks that are sized by n_rec alone have nothing to split, so that a panel against d_m would be empty
    split = (_isobudget(view, "d_m", "k_e"),) if view.has_d_m else ()
    panels = (_isobudget(view, "n_rec"), *split, _frontier(view, frontier, "third"), _optima(view))
    return Tab("tradeoff", "Trade-off", panels)


def _isobudget(view: View, *axes: str) -> Panel:
    choices = []
    for name in axes:
        data = isobudget_data(view.data, view.table, view.optima, view.overlay, x=name)
        choices.append(Choice(PLAIN_SYMBOL[name], plot_isobudget(data, trials=False), name))
    what = {"n_rec": "neurons", "d_m": "complexity"}[axes[0]]
    dashed = ", dashed = law" if view.overlay else ""
    return Panel(
        id=f"isobudget-{axes[0]}",
        keyed=True,
        title=f"Metric vs {what}, fixed budget",
        caption=f"line = mean over seeds{dashed}, ★ = best mean, gold bar = as good within noise",
        summary=_isobudget_summary(view, axes[0]),
        choices=tuple(choices),
        columns=CONFIGURATION_COLUMNS,
        rows=configuration_rows(view.table),
    )


def _isobudget_summary(view: View, x: str) -> str:
    if not view.optima:
        return "No rows have a budget, so nothing can be compared at equal size."
    parts = []
    optima = view.drawn_optima  # the page shows one connectivity at first: the sentence speaks of that one
    # The largest budgets: the sentence has room for three, and these are what the sweep was for.
    for optimum in optima[-3:]:
        best = configuration(view.table, optimum.best)
        where = f"N = {best['n_rec']:.0f}" if x == "n_rec" else f"d_m = {best['d_m']:.0f}"
        # At the edge the place is only a bound, so the sentence says where to go on instead of a number.
        if optimum.extend:
            parts.append(f"P = {short(optimum.budget)}: best at the edge ({where}), extend towards {optimum.extend}")
        else:
            parts.append(f"P = {short(optimum.budget)}: best mean {best['mean']:.5g} at {where}")
    places = ("… " if len(optima) > 3 else "") + "; ".join(parts) + "."
    return " ".join(filter(None, [f"{view.drawn}:" if view.drawn else "", places, view.rival_note]))


def _frontier(view: View, data: FrontierData, width: str) -> Panel:
    chances = [None] * len(data.x) if data.membership is None else data.membership.tolist()
    if len(data.x):
        prefix = f"{view.drawn}: best" if view.drawn else "Best"
        sizes = counted(len(data.x), "size")
        summary = f"{prefix} mean: {data.y[-1]:.4g} with P = {short(data.x[-1])}; {sizes} on the frontier."
    else:
        summary = "No finished trial."
    if view.overlay is not None and view.overlay.per_budget:
        summary += " The law has coefficients of its own in every budget, so it is marked there and not drawn between."
        if view.table["k_c"].nunique() > 1:
            summary += " It does not know k_c: where several connectivities were run, it is their average."
    choices = [Choice("metric", plot_frontier(data, trials=False, connectivities=True), "trainable_params")]
    if data.power is not None:
        # what no size can beat lies below an error and above an accuracy
        limit = "floor" if view.data.direction == "min" else "ceiling"
        summary += f" Power law: {limit} {data.power.floor:.4g}, exponent {data.power.exponent:.3g}."
        choices.append(Choice(f"minus {limit}", plot_reducible(data)))
    published = published_points(view.data)
    if published is not None:
        figure = plot_frontier(data, trials=False, published=published, connectivities=True)
        # Only when asked for: levels on other data must not be compared by default.
        choices.append(Choice("with published", figure, "trainable_params"))
        # The narrow panel of the first tab has no room for it; the wide one stands on a tab of its own.
        summary += f" {published.sentence}" if width == "half" else ""
    band = "; band = 95 % interval of its mean" if np.isfinite(data.half).sum() > 1 else ""
    return Panel(
        id=f"frontier-{width}",
        title="Frontier: best metric per budget",
        caption=f"best configuration of each budget that no smaller budget beats{band}",
        summary=summary,
        width=width,
        choices=tuple(choices),
        columns=("P", "mean", "95 % ±", "chance to be the best of its budget"),
        rows=rows_of(zip(data.x, data.y, data.half, chances, strict=True)),
    )


def _optima(view: View) -> Panel:
    parts = optimum_parts(view)
    table = optimum_table(parts)
    split = "measured: best mean, and which configurations are as good; law: best allocation of the fitted law"
    return Panel(
        id="optima",
        keyed=True,
        title="Optimum per budget",
        caption=split if view.has_d_m else "best mean of each budget; n_rec is the only size",
        summary=f"As good: {band_rule(parts)}." if parts and view.has_d_m else "",
        width="full",
        columns=table.columns,
        rows=rows_of(table.rows),
    )


def frontier_tab(view: View) -> Tab:
    """The frontier, and where the optimum goes as the budget grows."""
    frontier = frontier_data(view.data, view.table, view.frontier, view.overlay, view.baselines)
    axes = ("n_rec", "d_m", "k_e") if view.has_d_m else ()
    return Tab(
        "frontier",
        "Frontier",
        (_frontier(view, frontier, "half"), *(_path(view, name) for name in axes), *_compute(view)),
    )


def _compute(view: View) -> list[Panel]:
    """The best split of training compute, where the law knows the tokens."""
    splits = compute_splits(view.law)
    if splits is None:
        return []
    title = "Best split of training compute"
    if isinstance(splits, Refusal):
        return [Panel("compute", title, "none", summary=f"{splits.reason}.", width="half")]
    figures = {name: plot_compute(compute_data(view.table, splits, x=key)) for key, name in SPLIT_AXES.items()}
    table = compute_table(splits)
    return [
        Panel(
            id="compute",
            title=title,
            caption="points = means, colour = metric, dashed = best by the law, band = 95 % interval (delta method)",
            summary=" ".join(compute_sentences(splits)),
            width="half",
            choices=tuple(Choice(name, figure, points=False) for name, figure in figures.items()),
            columns=table.columns,
            rows=rows_of(table.rows),
        )
    ]


def _path(view: View, name: str) -> Panel:
    data = path_data(view.table, view.optima, view.overlay, x=name)
    symbol = PLAIN_SYMBOL[name]
    slopes = {path.k_c: _slope(path.budget, getattr(path, name)) for path in data.paths}
    # Slopes of other connectivities would be read as those of the curves that are shown.
    slopes_shown = {k: slope for k, slope in slopes.items() if np.isfinite(slope) and view.frontier.k_c in (None, k)}
    exponents = ", ".join(
        f"{slope:.2f}" + (f" (k_c {k_c:g})" if len(slopes) > 1 else "") for k_c, slope in slopes_shown.items()
    )
    summary = f"Law: {symbol}* grows as P to the power {exponents}, on average over this range." if exponents else ""
    columns = (data.budget, data.k_c, data.best, data.low, data.high)
    rows = rows_of((*row, "yes" if ok else "no") for *row, ok in zip(*columns, data.bracketed, strict=True))
    return Panel(
        id=f"path-{name}",
        keyed=True,
        title=f"Optimal {symbol} vs budget",
        caption="★ = best mean (open: at the edge of the sampled range), gold bar = as good within noise, dashed = law",
        summary=summary,
        width="half",
        choices=(Choice(symbol, plot_path(data)),),
        columns=("P", "k_c", f"{symbol}*", "as good from", "to", "bracketed"),
        rows=rows,
    )


def _slope(budget: Any, value: Any) -> float:
    """Mean slope in logarithms."""
    # One budget has no slope.
    if len(budget) < 2:
        return float("nan")
    return float(np.polyfit(np.log(budget), np.log(value), 1)[0])


def runs_tab(sweep: Sweep, *, live: bool = False) -> Tab:
    """The health of the whole sweep, whatever the group.

    Args:
        sweep: all rows.
        live: whether the page follows the sweep, and shows what runs.
    """
    trials = sweep.trials
    pace = pace_data(trials)
    unfinished = trials[trials["status"] != FINISHED]
    reasons = zip(unfinished["status"], unfinished["reason"].fillna("no reason given"), strict=True)
    # By status and reason: the same words may come with another status.
    top = Counter(reasons).most_common(REASONS)
    panels = (
        Panel(
            id="progress",
            title="Trials by budget",
            caption="last attempt of every trial that has a row",
            summary=f"{counted(len(trials), 'trial')}, {pace.core_hours:.3g} hours of trial time.",
            choices=(Choice("budget", plot_progress(progress_data(trials))),),
        ),
        Panel(
            id="pace",
            title="Trials over time",
            caption="trials that had ended by then",
            choices=(Choice("time", plot_pace(pace)),),
        ),
        Panel(
            id="cost",
            title="Time per trial",
            caption="median wall time of finished trials, bar = middle 90 %",
            choices=(Choice("size", plot_cost(cost_data(trials))),),
        ),
        Panel(
            id="failures",
            title="What went wrong",
            caption="trials that did not finish, by reason",
            summary="" if len(unfinished) else "Every trial with a row finished.",
            width="full",
            columns=("status", "reason", "trials"),
            rows=tuple((status, reason, count) for (status, reason), count in top),
        ),
    )
    # On a live page, what runs now is what its reader came for.
    return Tab("runs", "Runs", (running_panel(), *panels) if live else panels)

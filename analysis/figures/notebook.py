"""Every figure of a results directory in a notebook, in two lines.

    from analysis.figures.notebook import figures
    figures("results/demo")["frontier"]

Each is a `plotly.graph_objects.Figure` with title, caption and colours in place; change it as any other.
"""

import os
from collections.abc import Iterator
from html import escape
from textwrap import wrap

import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.figures.compute import compute_data, plot_compute
from analysis.figures.effects import plot_effects
from analysis.figures.fit import agreement_data, plot_agreement, plot_residuals, residual_data
from analysis.figures.frontier import frontier_data, plot_frontier
from analysis.figures.isobudget import Figure, isobudget_data, plot_isobudget
from analysis.figures.scaling import (
    SurfaceData,
    along_k_c,
    along_k_e,
    along_n_rec,
    path_data,
    plot_path,
    plot_scaling,
    plot_surface,
)
from analysis.figures.theme import PLAIN_SYMBOL, resolve, subscripts, theme, titled
from analysis.laws.compute import compute_splits
from analysis.laws.findings import ComputeSplits
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import View, baselines, make_view, with_baselines, with_effects
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Measure, Selection

CAPTION = 100
"""Characters of one caption line on a figure of 700 pixels."""

Drawn = tuple[str, Figure, str]
"""Name, figure and title."""


def figures(
    uri: str | os.PathLike[str],
    *,
    where: str | None = None,
    group: str | None = None,
    measure: Measure | None = None,
    mode: str = "light",
) -> dict[str, go.Figure]:
    """Draw every figure of one group of rows.

    Args:
        uri: results directory, or a published table such as ``published:enwik8``.
        where: condition that rows must fulfil (see `sweeper.store.where`).
        group: label of the group; the largest one by default.
        measure: the column to analyse; the test metric at the end of training by default.
        mode: `light` or `dark`.

    Returns:
        Figures by name: `isobudget-n_rec`, `isobudget-d_m`, `frontier`, `scaling-n_rec`, `surface`, `optimum-d_m`,
        `effects`, `agreement`, `residuals-n_rec` and so on, as far as the rows have something to show.

    Raises:
        AnalysisError: no row enters, or there is no such group.
    """
    sweep = read_sweep(uri)
    selection = Selection(measure=measure or Measure(), where=where)
    # Groups without a row would be an empty figure each.
    groups = [data for data in datasets(sweep, selection) if len(data.rows)]
    if not groups:
        raise AnalysisError(f"{uri}: no finished trial with a value, so there is nothing to draw")
    labels = [data.label for data in groups]
    if group is not None and group not in labels:
        raise AnalysisError(f"group: {group!r} is not among the groups: {'; '.join(labels)}")
    place = 0 if group is None else labels.index(group)
    # laws of other architectures are not drawn, so that their rows alone are needed
    (view,) = with_baselines([make_view(sweep, fit_dataset(groups[place], FitSettings()))], baselines(groups))
    (view,) = with_effects([view], groups)
    return view_figures(view, mode=mode)


def view_figures(view: View, *, mode: str = "light") -> dict[str, go.Figure]:
    """Draw every figure of a view that is already there.

    Args:
        view: the group.
        mode: `light` or `dark`.
    """
    # Colours are put in here: a notebook shows a figure as it is and has no script that could switch modes.
    tokens = theme(mode, view.table["budget"].nunique())
    # A figure that leaves the page must itself say which rows it shows and whether a rival describes them better.
    caption = "; ".join(filter(None, [view.data.label, view.drawn, view.rival_note]))
    note = subscripts("<br>".join(wrap(escape(caption), CAPTION)))
    return {
        name: go.Figure(resolve(titled(_one_connectivity(figure, view), title, note), tokens))
        for name, figure, title in _drawn(view)
    }


def _drawn(view: View) -> Iterator[Drawn]:
    data, table, law = view.data, view.table, view.overlay
    # Networks that are sized by n_rec alone have no other axis.
    sized = ("n_rec", "k_e", "d_m") if table["d_m"].notna().all() else ("n_rec",)
    # Without a budget there is no line along which a metric could be drawn.
    for x in sized if view.optima else ():
        iso = isobudget_data(data, table, view.optima, law, x=x)
        yield f"isobudget-{x}", plot_isobudget(iso), f"Metric against {_symbol(x)} at fixed budgets"
    best = frontier_data(data, table, view.frontier, law, view.baselines)
    yield "frontier", plot_frontier(best), "Frontier: best metric per size"
    scalings = (along_n_rec(data, table, law), along_k_e(data, table, law), along_k_c(data, table, view.optima))
    for scaling in scalings:
        if scaling.lines:
            title = f"Metric against {_symbol(scaling.axis)} at fixed {_symbol(scaling.fixed)}"
            yield f"scaling-{scaling.axis}", plot_scaling(scaling), title
    # Where the size is the only choice, the optimum against P would be the sizes that were run.
    for x in sized if len(sized) > 1 and view.optima else ():
        yield f"optimum-{x}", plot_path(path_data(table, view.optima, law, x=x)), f"Optimal {_symbol(x)} against P"
    gap = None if law is None else table["mean"].to_numpy(float) - law.predicted
    if any(effect.low is not None for effect in view.effects):
        yield "effects", plot_effects(view.effects, data.title), "What settings do at equal P"
    surface = SurfaceData(data.title, table, gap, () if law is None else law.surfaces, tuple(view.optima))
    yield "surface", plot_surface(surface), "Metric over neurons and complexity"
    splits = compute_splits(view.law)
    if isinstance(splits, ComputeSplits):
        for x in ("n", "tokens"):
            yield f"compute-{x}", plot_compute(compute_data(table, splits, x=x)), "Best split of training compute"
    if law is not None:
        agreement = agreement_data(data, table, law)
        yield "agreement", plot_agreement(agreement), "Measured means against the law"
        for x in sized:
            residual = residual_data(agreement, table, x=x)
            yield f"residuals-{x}", plot_residuals(residual), f"Measured minus law against {_symbol(x)}"


def _symbol(name: str) -> str:
    return subscripts(PLAIN_SYMBOL[name])


def _one_connectivity(figure: Figure, view: View) -> Figure:
    """Lines of several connectivities would cover each other: keep those of the first."""
    k_c = view.frontier.k_c
    if k_c is None:
        return figure
    traces = [trace for trace in figure["data"] if trace.get("meta", {}).get("k_c") in (None, k_c)]
    labels = [
        label
        for label in figure["layout"].get("annotations", [])
        # The names of labels end with the connectivity, or with a word for none.
        if label.get("name", "").split("|")[-1] in ("", "nan", "None", f"{k_c!r}")
    ]
    return {"data": traces, "layout": figure["layout"] | {"annotations": labels}}

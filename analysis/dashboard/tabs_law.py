"""The tabs about the law: scaling along each axis, the surface, the fit."""

import numpy as np

from analysis.dashboard.panels import CONFIGURATION_COLUMNS, Choice, Panel, Tab, configuration_rows, rows_of
from analysis.dashboard.tabs import frontier_tab, tradeoff_tab
from analysis.figures.effects import plot_effects
from analysis.figures.fit import Whisker, agreement_data, plot_agreement, plot_residuals, plot_whiskers, residual_data
from analysis.figures.scaling import Scaling, SurfaceData, along_k_c, along_k_e, along_n_rec, plot_scaling, plot_surface
from analysis.figures.theme import PLAIN_SYMBOL
from analysis.laws.view import View
from analysis.report.report import axes_part, law_part, rivals
from analysis.report.tables import alarm_table, axes_tables, parameter_table, rival_table
from analysis.rows.effects import LEAST_PAIRS


def group_tabs(view: View) -> list[Tab]:
    """All tabs of one group, in the order of the page."""
    return [tradeoff_tab(view), scaling_tab(view), surface_tab(view), frontier_tab(view), fit_tab(view)]


def scaling_tab(view: View) -> Tab:
    """The metric along each axis alone."""
    scalings = (
        along_n_rec(view.data, view.table, view.overlay),
        along_k_e(view.data, view.table, view.overlay),
        along_k_c(view.data, view.table, view.optima),
    )
    panels = [_scaling(data) for data in scalings]
    drawn = [panel for panel in panels if panel.choices]
    if len(drawn) < len(panels):  # a panel that says why it is empty needs no room for a figure
        width = {1: "full", 2: "half"}.get(len(drawn), "full")
        empty = [panel._replace(width="full") for panel in panels if not panel.choices]
        panels = [panel._replace(width=width) for panel in drawn] + empty
    return Tab("scaling", "Scaling", (*panels, *_effects(view)))


def _effects(view: View) -> list[Panel]:
    """What settings do at equal P; no panel where no group differs from this one in a single setting."""
    if not view.effects:
        return []
    drawn = any(effect.low is not None for effect in view.effects)
    own = ", ".join(f"{name} = {base}" for name, base in {e.setting: e.base for e in view.effects}.items())
    figure = (Choice("gain", plot_effects(view.effects, view.data.title), points=False),) if drawn else ()
    return [
        Panel(
            id="effects",
            title="What settings do at equal P",
            caption=f"gain over {own}, paired by P, d_m and seed; bar = 95 % interval, from {LEAST_PAIRS} pairs on",
            summary="" if drawn else f"No setting has {LEAST_PAIRS} pairs of runs: run more seeds, budgets or d_m.",
            width="full",
            choices=figure,
            columns=("setting", "value", "base", "pairs", "gain", "95 % from", "to"),
            rows=rows_of(view.effects),
        )
    ]


def _scaling(data: Scaling) -> Panel:
    axis, fixed = PLAIN_SYMBOL[data.axis], PLAIN_SYMBOL[data.fixed]
    how = "open circles: interpolated in ln N between configurations of equal d_m" if data.interpolated else "means"
    caption = f"one line per {fixed}; {how}; dashed = law"
    if data.axis == "k_c":
        caption = "best mean of each budget at each connectivity"
    summary = (
        ""
        if data.lines
        else f"This design has no three configurations that differ in {axis} alone: vary it with {fixed} fixed."
    )
    if data.axis == "k_c" and not data.lines:
        summary = "One connectivity only: nothing can be said about k_c. Add a second (d_tree, d_branch)."
    rows = rows_of((line.fixed, x, y) for line in data.lines for x, y in zip(line.x, line.mean, strict=True))
    return Panel(
        id=f"scaling-{data.axis}",
        title=f"Metric vs {axis} at fixed {fixed}" if data.axis != "k_c" else "Metric vs k_c at fixed P",
        caption=caption,
        summary=summary,
        choices=(Choice(axis, plot_scaling(data), data.axis, points=False),) if data.lines else (),
        columns=(fixed, axis, "metric"),
        rows=rows,
    )


def surface_tab(view: View) -> Tab:
    """The metric over both axes."""
    gap = None if view.overlay is None else view.table["mean"].to_numpy(float) - view.overlay.predicted
    surfaces = () if view.overlay is None else view.overlay.surfaces
    data = SurfaceData(view.data.title, view.table, gap, surfaces, tuple(view.optima))
    # The points of the surface are means already, so single trials are not drawn into it.
    choices = [Choice("metric", plot_surface(data), "n_rec", "k_e", points=False)]
    if gap is not None:
        choices.append(Choice("minus law", plot_surface(data, difference=True), "n_rec", "k_e", points=False))
    rows = len(view.table)
    panel = Panel(
        id="surface",
        keyed=True,
        title="Trade-off surface: metric over neurons and complexity",
        caption="circles = means, colour = metric, shaded = law, dotted = equal budget, ★ = best mean of a budget",
        summary=f"{rows} configurations." if rows else "No finished trial.",
        width="full",
        choices=tuple(choices) if rows else (),
        columns=CONFIGURATION_COLUMNS,
        rows=configuration_rows(view.table),
    )
    return Tab("surface", "Surface", (panel,))


def fit_tab(view: View) -> Tab:
    """How good the law is, and which others there are."""
    panels = [*_diagnostics(view), _parameters(view), _rivals(view), _alarms(view), _axes(view)]
    return Tab("fit", "Fit", tuple(panels))


def _diagnostics(view: View) -> list[Panel]:
    if view.overlay is None or not len(view.table):
        why = "; ".join(refused.sentence for refused in view.law.refused) or "no law"
        return [Panel("agreement", "No law was fitted", "the reason", summary=why, width="full")]
    agreement = agreement_data(view.data, view.table, view.overlay)
    r = "undefined" if agreement.correlation is None else f"{agreement.correlation:.4f}"
    off = agreement.measured - agreement.predicted
    # An axis with gaps would show the residuals of some configurations alone.
    axes = [name for name in ("n_rec", "k_e", "d_m", "trainable_params") if view.table[name].notna().all()]
    residuals = [
        Choice(PLAIN_SYMBOL[n], plot_residuals(residual_data(agreement, view.table, x=n)), n, "residual", False)
        for n in axes
    ]
    rows = rows_of(
        zip(view.table["n_rec"], view.table["d_m"], agreement.measured, agreement.predicted, off, strict=True)
    )
    names = ("N", "d_m", "measured", "law", "difference")
    agreement_panel = Panel(
        id="agreement",
        title="Measured vs law",
        caption="one point per configuration, dotted = equality",
        # On the published Enwik8 table every form of the law reaches r = 0.98.
        summary=f"r = {r} over configurations: high r alone is no evidence for a law; compare the rivals below.",
        width="half",
        choices=(Choice("all", plot_agreement(agreement), "predicted", "mean", points=False),),
        columns=names,
        rows=rows,
    )
    residual = Panel(
        id="residuals",
        title="Residuals",
        caption="measured mean minus law; band = noise of one run, bars = 95 % interval of the mean",
        summary=f"Root mean square {np.sqrt(np.mean(off**2)):.3g}; largest {off[np.argmax(np.abs(off))]:+.3g}.",
        width="half",
        choices=tuple(residuals),
        columns=names,
        rows=rows,
    )
    return [agreement_panel, residual]


def _parameters(view: View) -> Panel:
    fit = view.law.fit
    if fit is None:
        return Panel("parameters", "Parameters", "none: no law was fitted", width="half")
    intervals = () if view.stored is None else view.stored.parameters
    ends = {row.quantity: (row.low, row.high) for row in intervals}
    table = parameter_table(law_part(fit), ends)
    # The page computes no intervals: they come from a stored report of the same rows and law, or there are none.
    whiskers = [Whisker(name, value, *ends[name]) for name, value in fit.values.items() if name in ends]
    return Panel(
        id="parameters",
        title="Parameters",
        caption=f"{fit.law.label}; {view.law.scale.sentence}; {_interval_source(view)}",
        # What is fine needs no sentence on the page; the report lists all.
        summary=" ".join(status.sentence for status in fit.statuses if status.level in ("warning", "error")),
        width="half",
        choices=(Choice("intervals", plot_whiskers(whiskers)),) if whiskers else (),
        columns=table.columns,
        rows=rows_of(table.rows),
    )


def _interval_source(view: View) -> str:
    if view.stored is None:
        return "no intervals: no report of these very rows and this law (make one with `analysis fit-theory`)"
    source = view.stored.source
    if view.stored.of_quick_report:
        return f"no intervals: {source} is of a quick report"
    reason = view.stored.intervals_reason
    return f"95 % intervals from {source}" if reason is None else f"no intervals in {source}: {reason}"


def _rivals(view: View) -> Panel:
    comparison = view.law.comparison
    if comparison is None:
        return Panel("rivals", "Rival laws", "none could be fitted", width="half")
    table = rival_table(rivals(view.law))
    return Panel(
        id="rivals",
        title="Rival laws",
        caption="by AICc on the same rows; smaller is better, within 2 is a tie; ★ = drawn",
        summary=comparison.verdict,
        width="half",
        columns=table.columns,
        rows=rows_of(table.rows),
    )


def _alarms(view: View) -> Panel:
    table = alarm_table(view.alarms)
    return Panel(
        id="alarms",
        title="Confound alarms",
        caption="design points whose metric may say something else than what the law is about; nothing was removed",
        summary="" if view.alarms else "No alarm.",
        width="full",
        columns=table.columns,
        rows=rows_of(table.rows),
    )


def _axes(view: View) -> Panel:
    axes = axes_part(view)
    # The report shows correlations and interactions too; the card has room for the first table.
    table = axes_tables(axes)[0]
    return Panel(
        id="axes",
        title="Axes check",
        caption="can this design tell the axes apart? variance inflation of the logarithms (above 10: no)",
        summary=" ".join(axes.sentences),
        width="full",
        columns=table.columns,
        rows=rows_of(table.rows),
    )

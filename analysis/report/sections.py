"""The report for people: a group as headed sections of sentences and tables, in reading order."""

from collections.abc import Sequence

from analysis.html import Cell, none
from analysis.laws.findings import ChosenRuns, Refusal
from analysis.report.answer import why_no_law
from analysis.report.limits import unidentified
from analysis.report.model import Group, Joint, Provenance
from analysis.report.sections_law import (
    calibration,
    compute,
    exponents,
    fixed_values,
    frontier,
    held_out,
    neuron,
    residuals,
    sensitivity,
)
from analysis.report.tables import (
    Section,
    Table,
    alarm_table,
    axes_tables,
    band_rule,
    optimum_table,
    parameter_table,
    rival_table,
)
from sweeper.words import counted
from theory.uncertainty.intervals import Interval


def group_sections(group: Group) -> list[Section]:
    """All sections of one group of rows.

    Args:
        group: an entry of the report's `groups`.
    """
    return [
        # The order is that of reading: answer, data, law, what it is worth, what is left open, what to do next.
        Section("answer", "The answer", list(group.answer), []),
        _question(group),
        _data(group),
        _parameters(group),
        *neuron(group),
        _optima(group),
        frontier(group),
        *compute(group),
        *([exponents(group), held_out(group)] if group.law is not None else []),
        *fixed_values(group),
        _rivals(group),
        *([calibration(group), residuals(group)] if group.law is not None else []),
        _alarms(group),
        *_learning_rates(group),
        Section("axes", "Are the axes told apart?", list(group.axes.sentences), axes_tables(group.axes)),
        *([sensitivity(group)] if group.law is not None else []),
        _next(group),
    ]


def _question(group: Group) -> Section:
    sentences = [group.question]
    if group.law is None:
        sentences.append("No law was fitted.")
    else:
        label = group.law.fit.law.label
        sentences.append(f"Law: {label}. {group.law.formula} It was {group.scale}. {group.weights.sentence}")
    # Limits come before any number, so that no number is quoted without them.
    sentences += [f"Cannot be concluded: {sentence}" for sentence in group.cannot_conclude]
    return Section("question", "Question and law", sentences, [])


def _data(group: Group) -> Section:
    data = group.data
    noise = data.seed_noise or "unknown: one run each"
    sentences = [
        f"{counted(data.rows, 'run')} of {counted(data.configurations, 'configuration')} enter; column "
        f"{group.metric.column}, {group.metric.direction} is best. Seed noise: {noise}.",
        f"Budgets: {_listed(data.budgets)}; d_m: {_listed(data.d_m)}; k_c: {_listed(data.k_c)}; "
        f"seeds: {_listed(data.seeds)}.",
    ]
    rows = [(entry.rule, entry.why, entry.rows) for entry in data.excluded]
    if not rows:
        sentences.append("No row was left out.")
    return Section("data", "Data", sentences, [Table(("left out by", "why", "rows"), rows)] if rows else [])


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:,.10g}" for value in values) if values else "none"


def _parameters(group: Group) -> Section:
    law, evidence = group.law, group.evidence
    if law is None:
        return Section("parameters", "Parameters", [f"{why_no_law(group.refused)}."], [])
    parameters = () if evidence is None else evidence.parameters or ()
    ends = {row.quantity: (row.low, row.high) for row in parameters}
    reasons = {row.quantity: row.reason or "" for row in parameters}
    return Section("parameters", "Parameters", _fit_sentences(group), [parameter_table(law, ends, reasons)])


def _fit_sentences(group: Group) -> list[str]:
    """How well the law fits, its findings, and where the intervals come from."""
    assert group.law is not None, "asked for fitted laws only"
    fit, evidence = group.law.fit, group.evidence
    r = "r is undefined" if fit.pearson_r is None else f"r = {fit.pearson_r:.4f}"
    aicc = "" if fit.aicc is None else f", AICc {fit.aicc:.5g}"
    sentences = [f"{r}, RMSE {fit.rmse:.4g}{aicc}, {counted(fit.n, 'run')}, {counted(fit.p, 'parameter')}."]
    sentences += [f"{status.level}: {status.sentence}" for status in fit.statuses]
    if evidence is None:
        return sentences
    if evidence.identifiability is not None:
        sentences.append(evidence.identifiability)
    sentences += unidentified(evidence)
    if evidence.draws is not None:
        sentences.append(
            "Intervals: 95 %, of the mean, the widest of delta method, profile and "
            f"{evidence.draws.asked} residual bootstrap draws ({evidence.draws.failed} failed)."
        )
    # Where AICc chose the law its choice is part of the uncertainty; the reader must know which kind of interval this
    # is.
    places = [row.d_m for row in evidence.optimum_intervals or ()]
    if any(isinstance(place, Interval) and place.method == "averaged" for place in places):
        sentences.append("Intervals of optima carry the choice of the law: averaged over the laws compared by AICc.")
    return sentences


def _optima(group: Group) -> Section:
    if not group.optima:
        return Section("optima", "Best split of each budget", ["No rows have a budget: no optimum at equal size."], [])
    intervals = () if group.evidence is None else group.evidence.optimum_intervals or ()
    rule = band_rule(group.optima)
    sentences = [f"Measured optimum: the best mean; as good: {rule}.", "Law: whole numbers that fit the budget."]
    return Section("optima", "Best split of each budget", sentences, [optimum_table(group.optima, intervals)])


def _rivals(group: Group) -> Section:
    sentences = [group.verdict] if group.verdict else []
    if group.law is not None:  # without a law the reasons stand under its parameters
        sentences += [f"Not fitted: {refused.sentence}" for refused in group.refused]
    return Section("rivals", "Rival laws", sentences, [rival_table(group.rivals)] if group.rivals else [])


def _alarms(group: Group) -> Section:
    tables = [alarm_table(group.alarms)] if group.alarms else []
    effects = []
    # An alarm removes nothing, so here stands what removing the rows would change.
    for row in group.evidence.flagged if group.evidence else ():
        change = ", ".join(f"{name} {100 * value:+.1f} %" for name, value in (row.change or {}).items())
        effects.append((row.reason, row.rows, change or row.note or ""))
    if effects:
        tables.append(Table(("without rows flagged as", "rows", "parameters move by"), effects))
    return Section("alarms", "Confound alarms", [] if group.alarms else ["No alarm."], tables)


def _learning_rates(group: Group) -> list[Section]:
    """The section on learning rates; none where every design point was run with one."""
    rates = group.learning_rates
    if rates is None:
        return []
    rows: list[tuple[Cell, ...]] = []
    for row in rates.points:
        others = ", ".join(f"{other.rate:g}: {other.metric:.5g}" for other in row.others)
        lost = ", ".join(f"{rate:g}" for rate in row.diverged)
        rows.append((none(row.size), none(row.d_m), row.n_rec, row.best, row.metric, others, lost))
    columns = ("P", "d_m", "N", "chosen rate", "metric", "metric at other rates", "diverged at")
    return [Section("learning-rates", "Learning rates", list(rates.sentences), [Table(columns, rows, keys=3)])]


def _next(group: Group) -> Section:
    rows = [(step.what, step.why, step.trials, step.hours) for step in group.next]
    tables = [Table(("what", "why", "trials", "hours of trial time"), rows)]
    design = group.evidence.design if group.evidence else None
    sentences = []
    if isinstance(design, Refusal):
        sentences = [f"The law chooses no runs: {design.reason}."]
    elif isinstance(design, ChosenRuns):
        sentences = [f"The law's choice narrows {design.target} (sd now {design.sd_now:.2g}).", *design.sentences]
        picks = [(none(p.budget), none(p.d_m), none(p.n_rec), p.why, p.sd_after, p.hours) for p in design.picks]
        tables.append(Table(("P", "d_m", "N", "chosen for", "sd afterwards", "hours"), picks, keys=3))
    return Section("next", "Next experiments", sentences, tables)


def joint_section(entry: Joint) -> Section:
    """One joint fit over the levels of a setting.

    Args:
        entry: an entry of the report's `joint`.
    """
    levels = ", ".join(f"{row.level} ({counted(row.rows, 'run')} of {row.configurations})" for row in entry.levels)
    sentences = [
        f"Groups like {entry.family}, fitted together with {entry.law or 'no law'}; levels: {levels or 'none'}."
    ]
    if entry.left_out:
        names = ", ".join(f"{row.level} ({counted(row.configurations, 'configuration')})" for row in entry.left_out)
        sentences.append(f"Left out for want of configurations: {names}.")
    sentences += entry.sentences
    sentences += [entry.weights] if entry.weights is not None else []
    columns = ("parameter", "level", "value", "95 % from", "to", "note", "fit in which it varies")
    rows: list[tuple[Cell, ...]] = [
        (row.parameter, f"{row.setting} {row.level}", row.value, row.low, row.high, row.reason or "", row.model)
        for row in entry.parameters
    ]
    models: list[tuple[Cell, ...]] = [
        (row.model, row.p, row.aicc, row.delta, row.rmse, row.f, row.p_value, row.p_holm, ", ".join(row.warnings))
        for row in entry.models
    ]
    titles = ("what varies", "parameters", "AICc", "Δ", "RMSE", "F", "p", "p (Holm)", "warnings")
    tables = [Table(columns, rows, keys=2)] if rows else []
    tables += [Table(titles, models)] if models else []
    if models:
        sentences.append(
            "F and p: against the fit in which everything is shared (or, for parts of a fit, against the whole)."
        )
    return Section("joint", f"Joint fit over {entry.setting}", sentences, tables)


def provenance_section(provenance: Provenance) -> Section:
    """Where the numbers come from and how to make them again."""
    rows: list[tuple[Cell, ...]] = [(f"rows: {name}", value) for name, value in provenance.rows_sha256.items()]
    rows += [(f"grid: {name}", value) for name, value in provenance.grids_sha256.items()]
    # As text, or it would be shown with a separator of thousands.
    rows.append(("schema version", str(provenance.schema_version)))
    rows.append(("code versions of the trials", ", ".join(provenance.code_versions)))
    rows += [(f"metric {name}", value) for name, value in _settings(provenance.measure)]
    rows.append(("rows where", provenance.where or "all"))
    rows.append(("joint fits over", ", ".join(provenance.vary) or "every setting that differs"))
    rows += [(f"fixed {row.parameter}", f"{row.value:.6g}: {row.source}") for row in provenance.fixed or ()]
    rows += [(f"fit {name}", value) for name, value in _settings(provenance.fit)]
    rows += [(f"evidence {name}", value) for name, value in _settings(provenance.evidence)]
    rows += [
        (f"version of {name}", value or "not installed as a distribution")
        for name, value in provenance.versions.items()
    ]
    sentences = ["`analysis verify` on this file recomputes every number from the rows and compares."]
    return Section("provenance", "Provenance", sentences, [Table(("what", "value"), rows)])


def _settings(settings: object) -> list[tuple[str, str]]:
    return [] if settings is None else [(name, str(value)) for name, value in vars(settings).items()]

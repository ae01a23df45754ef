"""From groups of rows with their fitted laws to the typed report (`analysis.report.model`)."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import pandas as pd

from analysis.laws.evidence import EvidenceSettings, gather
from analysis.laws.findings import MeasuredValue
from analysis.laws.joint import joint_fits
from analysis.laws.measured import fixed_exponents
from analysis.laws.next_steps import next_steps
from analysis.laws.theory_fit import LawFit
from analysis.laws.view import View
from analysis.report.answer import answer_lines, why_no_law
from analysis.report.limits import unidentified
from analysis.report.model import (
    AsGood,
    AxesPart,
    DataPart,
    Group,
    Joint,
    JointLevel,
    JointModel,
    JointParameter,
    LawPart,
    LearningRates,
    LeftOut,
    Measured,
    MetricPart,
    OptimumPart,
    OtherRate,
    Provenance,
    RateOptimum,
    RatePoint,
    Report,
    ReportSettings,
    Rival,
    SweepPart,
    WeightsPart,
)
from analysis.rows.learning_rates import rate_section
from analysis.rows.load import rate_trials
from analysis.rows.means import Optimum, configuration, noise_text
from analysis.rows.summary import what_first
from analysis.rows.sweep import DESIGN_POINT, Dataset, Sweep
from sweeper.store.schema import SCHEMA_VERSION
from sweeper.words import counted
from theory.fit.result import FitResult
from theory.optimum.allocation import Allocation

NO_COMPLEXITY = "The law is about neurons with memory units (d_m), which this architecture has not."
"""Why no number of runs of a gated or spiking network makes a law possible."""

DISTRIBUTIONS = ("elm-sweeper", "numpy", "scipy", "pandas", "pyarrow", "plotly")


class Done(NamedTuple):
    """A group of rows with its fitted law, and its part of the report."""

    view: View
    group: Group


def assemble(sweep: Sweep, finished: Sequence[Done], settings: ReportSettings, *, joint: bool = True) -> Report:
    """Put the groups that are done so far into one report.

    Args:
        sweep: all rows.
        finished: the groups, largest first.
        settings: what the report was asked for.
        joint: whether to fit the groups jointly, which takes all of them.
    """
    views = [done.view for done in finished]
    # A report that is written while further groups are being fitted leaves joint fits out: they need all groups.
    with_joint = joint and views and (settings.vary or settings.evidence is not None)
    entries = joint_fits(views, settings.vary, settings.fit) if with_joint else []
    counts = sweep.trials["status"].value_counts()
    return Report(
        sweep=SweepPart(
            label=sweep.label,
            uri=sweep.uri,
            trials=len(sweep.trials),
            by_status={str(status): int(count) for status, count in sorted(counts.items())},
            first="" if finished else what_first(sweep),
        ),
        groups=tuple(done.group for done in finished),
        joint=tuple(_joint(entry) for entry in entries),
        provenance=provenance(sweep, views, settings),
    )


def _joint(entry: dict[str, Any]) -> Joint:
    typed: dict[str, Any] = {name: tuple(JointLevel(**row) for row in entry[name]) for name in ("levels", "left_out")}
    typed["models"] = tuple(JointModel(**row) for row in entry["models"])
    typed["parameters"] = tuple(JointParameter(**row) for row in entry["parameters"])
    return Joint(**entry | typed)


def group_report(view: View, evidence: EvidenceSettings | None, fixed: Sequence[MeasuredValue] = ()) -> Group:
    """Everything found out about one group of rows, in the order in which it is read."""
    data, law = view.data, view.law
    # By far the costly part; everything else here is read off what is there.
    gathered = None if evidence is None else gather(view, evidence)
    # Computed once, since card, report and next steps must speak of the same limits.
    limits, steps = (*limits_of(view), *unidentified(gathered)), tuple(next_steps(view))
    return Group(
        label=data.label,
        keys=data.keys,
        metric=MetricPart(column=data.measure.column, title=data.title, direction=data.direction, chance=data.chance),
        answer=answer_lines(view, evidence=gathered, cannot_conclude=limits, steps=steps),
        question=question(data),
        data=data_part(view),
        law=None if law.fit is None else law_part(law.fit),
        scale=law.scale.sentence,
        weights=WeightsPart(
            kind=law.weighting.kind,
            p_value=law.weighting.p_value,
            by_budget=law.weighting.levels,
            sentence=law.weighting.sentence,
        ),
        optima=optimum_parts(view),
        rivals=rivals(law),
        verdict=None if law.comparison is None else law.comparison.verdict,
        refused=law.refused,
        evidence=gathered,
        alarms=tuple(view.alarms),
        axes=axes_part(view),
        next=steps,
        # The card has a line of its own about the law, so its limits leave out that there is none.
        cannot_conclude=(*no_law(view), *limits),
        learning_rates=learning_rates(view),
        fixed=fixed_exponents(law, fixed),
    )


def card(view: View, *, fitted: bool = True) -> tuple[str, ...]:
    """The answer of one group of rows, with the evidence of a stored report where the view has one.

    Args:
        view: the group, with the other architectures beside it.
        fitted: whether a law was looked for.
    """
    # A quick report holds no intervals, so the card would promise evidence that is not there.
    stored = None if view.stored is None or view.stored.of_quick_report else view.stored
    limits = (*limits_of(view), *unidentified(stored))
    return answer_lines(view, evidence=stored, cannot_conclude=limits, steps=next_steps(view), fitted=fitted)


def axes_part(view: View) -> AxesPart:
    """What the design says about its axes."""
    axes = view.axes
    return AxesPart(
        correlations=axes.pairs, inflation=axes.inflation, interactions=axes.interactions, sentences=axes.sentences
    )


def learning_rates(view: View) -> LearningRates | None:
    """What other learning rates would have said; None where every design point was run with one."""
    data = view.data
    section = rate_section(
        rate_trials(view.sweep, data), data.rows, data.measure.column, data.direction, list(DESIGN_POINT)
    )
    if not section:
        return None
    points = tuple(
        RatePoint(**row | {"others": tuple(OtherRate(**other) for other in row["others"])}) for row in section["points"]
    )
    optima = tuple(RateOptimum(**row) for row in section["optima"])
    return LearningRates(points=points, optima=optima, sentences=tuple(section["sentences"]))


def question(data: Dataset) -> str:
    """The question that these rows answer."""
    return (
        f"How should a budget of trainable parameters P be split between neurons (N) and complexity per neuron (k_e) "
        f"on {data.label}, measured by {data.title} ({'lower' if data.direction == 'min' else 'higher'} is better)?"
    )


def data_part(view: View) -> DataPart:
    """Which rows of a group entered the fit, and which were left out and why."""
    data, law, table = view.data, view.law, view.table
    return DataPart(
        # The scale of the fit may leave out rows that the group has, such as perfect runs on the logit.
        rows=len(data.rows) - sum(len(entry.trial_ids) for entry in law.excluded),
        configurations=len(table),
        budgets=tuple(sorted(float(b) for b in table["budget"].dropna().unique())),
        d_m=tuple(sorted(float(d) for d in table["d_m"].dropna().unique())),
        k_c=tuple(sorted(float(k) for k in table["k_c"].unique())),
        seeds=tuple(sorted(int(seed) for seed in data.rows["seed"].dropna().unique())),
        seed_noise=noise_text(table),
        # Both ledgers, that of the rows and that of the fit: a reader need not know who left a row out.
        excluded=tuple(
            LeftOut(rule=entry.rule, why=entry.why, rows=len(entry.trial_ids), trial_ids=entry.trial_ids)
            for entry in (*data.excluded, *law.excluded)
        ),
    )


DERIVED = {
    "snr_ref": "first channel's snr at k_ref, S",
    "phi": "noise floor, in units of the noise at k_ref",
    "n_ref": "neurons at which u_ref is taken",
    "k_ref": "k_e at which u_ref is taken",
    "k_c_ref": "k_c at which beta is taken",
    "tokens_ref": "tokens at which D is taken",
}
"""What the numbers mean that follow from a law's parameters."""


def law_part(fit: FitResult) -> LawPart:
    """The fitted law in words and numbers."""
    # Meanings come from the law itself: a law of the user's explains its own parameters.
    meanings = {p.name: p.meaning for p in fit.law.parameters} | {c.name: c.meaning for c in fit.law.coefficients}
    meanings |= DERIVED
    return LawPart(fit=fit, formula=formula(fit), meanings=meanings)


def formula(fit: FitResult) -> str:
    """The law in words, and where it comes from."""
    if fit.law.name != "effective_information":
        written = "" if fit.law.formula is None else f" {fit.law.formula}."
        return f"{fit.law.label}: a rival law, fitted to the same rows.{written}"
    # Rivals have other parameters; this sentence holds for the reconstruction alone.
    options = fit.law.options
    decay = {"power": "k_e^-alpha", "exponential": "exp(-k_e/k_decay)", "stretched": "exp(-(k_e/k_decay)^stretch)"}
    floor = {"none": "without a floor", "max": "down to a floor at k_floor", "additive": "plus a floor set by k_floor"}
    link = {"affine": "g(I) = I", "log": "g(I) = ln I", "boxcox": "g(I) the Box-Cox power of I with exponent lam"}
    trained = " + D (tokens/tokens_ref)^-d" if options["tokens"] else ""
    moved = ", alpha = alpha (N/n_ref)^delta" if options["alpha_of_n"] else ""
    return (
        f"metric = a - b g(I){trained}, {link[options['link']]}; I = N H(u; beta) / (2 ln 2) bits, "
        f"u = u_ref (n_ref/N)^beta/nu; "
        f"noise nu ~ {decay[options['decay']]} {floor[options['floor']]}{moved}. "
        "A reconstruction from the abstract, captions and tables of arXiv 2605.12049, not the authors' own formula."
    )


def optimum_parts(view: View) -> tuple[OptimumPart, ...]:
    """Measured and predicted optimum of every budget and connectivity."""
    return tuple(_optimum(optimum, view.table, view.law.allocations) for optimum in view.optima)


def _optimum(optimum: Optimum, table: pd.DataFrame, allocations: tuple[Allocation, ...]) -> OptimumPart:
    best, good = configuration(table, optimum.best), optimum.good or {}
    # Budgets and connectivities are compared as they were stored: both sides come from the same columns.
    theory = [a for a in allocations if a.budget == optimum.budget and a.k_c == optimum.k_c]
    names = ("n_rec", "d_m", "k_e", "trainable_params")
    return OptimumPart(
        budget=optimum.budget,
        k_c=optimum.k_c,
        measured=Measured(
            **{name: best[name] for name in names},
            metric=best["mean"],
            half_width=None if best["n"] == 1 else best["half"],
            runs=int(best["n"]),
        ),
        as_good=AsGood(
            **{name: good.get(name) for name in names},
            configurations=len(optimum.band),
            tolerance=optimum.tolerance,
            rule=optimum.tolerance_kind,
        ),
        bracketed=optimum.bracketed,
        bracket=optimum.verdict,
        extend=optimum.extend,
        theory=theory[0] if theory else None,
    )


def rivals(law: LawFit) -> tuple[Rival, ...]:
    """All fitted laws by AICc."""
    if law.comparison is None:
        return ()
    # By identity: two laws may have equal numbers, yet only one is drawn.
    return tuple(Rival(**vars(rank), chosen=law.fits[rank.name] is law.fit) for rank in law.comparison.rows)


def no_law(view: View) -> list[str]:
    """Say that no law could be fitted to the rows, and what to run for it; the answer card has a line of its own."""
    if view.law.fit is not None or not len(view.table):
        return []
    why = why_no_law(view.law.refused)
    # Networks that are sized by n_rec alone have no complexity to vary, so that more runs of them change nothing.
    remedy = "Run at least 3 budgets with 7 values of d_m each." if view.has_d_m else NO_COMPLEXITY
    return [f"No law could be fitted: {why}. {remedy}"]


def limits_of(view: View) -> list[str]:
    """Say what these rows cannot show whatever law is fitted, and what to run for it."""
    limits, table = [], view.table
    budgets = table["budget"].nunique()
    if not len(table):
        return ["No finished trial with a value: nothing can be concluded. See `sweeper status`, then launch again."]
    if budgets == 0:
        limits.append("No trial has a budget: no optimum at equal size. Launch a grid with `budget`.")
    elif budgets < 3:
        limits.append(
            f"{counted(budgets, 'budget')} only: exponents and extrapolation are not determined. "
            "Run 3 budgets over a decade or more."
        )
    if table["noise"].isna().all():
        limits.append(
            "One run per configuration: no interval, and no telling noise from lack of fit. Run 2 more seeds."
        )
    return limits


def provenance(sweep: Sweep, views: Sequence[View], settings: ReportSettings) -> Provenance:
    """What the numbers were made from and with."""
    return Provenance(
        rows_sha256={view.data.label: view.data.rows_sha256 for view in views},
        grids_sha256={name: sha256(text) for name, text in sweep.grids.items()},
        schema_version=SCHEMA_VERSION,
        # More than one is worth knowing: a change of the code may have changed what was measured.
        code_versions=tuple(sorted(sweep.trials["code_version"].dropna().unique().tolist())),
        # a results directory without a trial has no group: there is nothing that these two could be said of
        measure=settings.selection.measure if views else None,
        where=settings.selection.where,
        group=settings.selection.group,
        tokens=settings.selection.tokens or None,
        fit=settings.fit if views else None,
        evidence=settings.evidence,
        versions={name: _version(name) for name in DISTRIBUTIONS},
        vary=settings.vary,
        fixed=settings.fixed or None,
    )


def sha256(text: str) -> str:
    """Hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    # Run from a checkout, our own package need not be installed.
    except PackageNotFoundError:
        return None

"""The answer in a few lines, the same on page, report and terminal: split, level, exponents, law, limits, next step."""

import re
import shlex
from collections import Counter
from collections.abc import Sequence

import numpy as np

from analysis.laws.compute import compute_splits
from analysis.laws.findings import ComputeSplits, Estimate, Evidence, RefusedLaw, StoredEvidence
from analysis.laws.next_steps import BUDGETS, NextStep
from analysis.laws.view import View
from analysis.report.level import level_line
from analysis.report.tables import compute_sentences, interval_text
from analysis.rows.alarms import alarm_summary
from analysis.rows.means import Optimum, configuration, span
from analysis.rows.sweep import Measure
from sweeper.words import counted

EQUAL_SIZE = 1.25
"""Ratio of realised sizes up to which architectures count as of one budget, which buys whole neurons. Assumption."""

LIMITS = 2
"""Most limits that the card names; the report lists all."""


def answer_lines(
    view: View,
    *,
    evidence: Evidence | StoredEvidence | None = None,
    cannot_conclude: Sequence[str] = (),
    steps: Sequence[NextStep] = (),
    fitted: bool = True,
) -> tuple[str, ...]:
    """Answer how a budget should be split, how sure that is, and what to do next.

    Args:
        view: one group of rows, with the other architectures beside it.
        evidence: intervals and held-out errors, of this fit or a stored one; None where they were not computed.
        cannot_conclude: what the rows cannot show whatever law is fitted, most important first.
        steps: what to run next, most useful first.
        fitted: whether a law was looked for; a summary fits none.

    Returns:
        At most seven lines, each a topic, a colon and sentences.
    """
    # Without a row nothing else can be said, so the card has two lines: why, and how to find out.
    if not len(view.table):
        return (
            f"Answer: {cannot_conclude[0] if cannot_conclude else 'no finished trial.'}",
            _next(view, steps, (0, 0)),
        )
    unrun = _missing(view)
    lines = [_compute(view, evidence) or _splits(view), level_line(view)]
    # The law is about neurons with memory units; other architectures have a best size per budget and nothing to split.
    if view.has_d_m:
        lines.append(_exponents(view, evidence, fitted=fitted))
        lines.append(_law(view, evidence, fitted=fitted))
        lines.append(_other_architectures(view))
        lines.append(_limits(view, cannot_conclude, unrun))
    return tuple(line for line in (*lines, _next(view, steps, unrun)) if line)


def why_no_law(refused: Sequence[RefusedLaw]) -> str:
    """The two most common reasons of many refusals, in one sentence.

    >>> reasons = ["A: 9 rows cannot support 6 parameters; add", "B: 9 rows cannot support 7 parameters; add"]
    >>> why_no_law([RefusedLaw("a", reasons[0]), RefusedLaw("b", reasons[1])])
    '2 laws were refused; most often: 9 rows cannot support 6 parameters'
    """
    if not refused:
        return "No law was fitted"
    # the advice after a reason is cut off; reasons that differ in their numbers alone are one, the first stands for all
    reasons = [law.reason.rsplit(": ", 1)[-1].partition(";")[0].partition(" (")[0].strip() for law in refused]
    kinds = [re.sub(r"\d+", "#", reason) for reason in reasons]
    # A dict keeps the last of equal keys; reversed, the first reason stands for its kind.
    first = dict(reversed(list(zip(kinds, reasons, strict=True))))
    commonest = " and ".join(first[kind] for kind, _ in Counter(kinds).most_common(2))
    if len(refused) == 1:
        return f"1 law was refused: {commonest}"
    return f"{len(refused)} laws were refused; most often: {commonest}"


def _splits(view: View) -> str:
    """The best measured split of the smallest, the middle and the largest budget."""
    best: dict[float, Optimum] = {}
    # As a loss, smaller is better whichever way the metric points.
    sign = 1.0 if view.data.direction == "min" else -1.0
    for optimum in view.optima:
        # Each connectivity has an optimum of its own; at one budget the best of them is the answer.
        leader = best.get(optimum.budget)
        if leader is None or sign * (view.table["mean"][optimum.best] - view.table["mean"][leader.best]) < 0:
            best[optimum.budget] = optimum
    if not best:
        return "Split: no trial has a budget, so nothing can be compared at equal size."
    budgets = sorted(best)
    # The card has room for three; smallest, middle and largest show the trend.
    if len(budgets) > 3:
        budgets = [budgets[0], budgets[len(budgets) // 2], budgets[-1]]
    return f"Best split: {'; '.join(_split(view, best[budget]) for budget in budgets)}."


def _compute(view: View, evidence: Evidence | StoredEvidence | None) -> str | None:
    """The best split of training compute where the law knows tokens; None elsewhere, or where budgets were split."""
    if view.optima:
        return None
    stored = evidence.compute if isinstance(evidence, Evidence) else None
    splits = stored or compute_splits(view.law)
    if not isinstance(splits, ComputeSplits):
        return None
    # The largest that the data reach: beyond it the law extrapolates.
    within = [split for split in splits.splits if split.within] or [splits.splits[0]]
    row = within[-1]
    return (
        f"Best split of compute: {compute_sentences(splits)[0]} At C = {row.compute:.0e}: N = {row.n.estimate:.3g} "
        f"({interval_text(row.n)}), D = {row.tokens.estimate:.3g} tokens ({interval_text(row.tokens)})."
    )


def _split(view: View, optimum: Optimum) -> str:
    point = configuration(view.table, optimum.best)
    where = f"P = {optimum.budget:,.0f}: N = {point['n_rec']:,.0f}"
    runs = counted(int(point["n"]), "run")
    if optimum.bracketed is None:  # sized by n_rec alone: the budget leaves no choice, only a result
        return f"{where}, {view.data.metric} {point['mean']:.4g} ({runs})"
    k_cs = view.table.loc[view.table["budget"] == optimum.budget, "k_c"].nunique()
    choice = f"best of {k_cs}" if k_cs > 1 else "the only one run"
    if optimum.bracketed:
        edge = "bracketed"
    else:
        edge = f"at the edge, extend towards {optimum.extend}" if optimum.extend else "at the edge, d_m cannot be less"
    good = optimum.good or {}
    n_rec, d_m = (f" ({span(good[name])} as good)" if name in good else "" for name in ("n_rec", "d_m"))
    unknown = "" if good else "; band unknown"
    return f"{where}{n_rec}, d_m = {point['d_m']:.0f}{d_m}, k_c = {point['k_c']:g} ({choice}) [{edge}, {runs}{unknown}]"


def _exponents(view: View, evidence: Evidence | StoredEvidence | None, *, fitted: bool) -> str:
    """How the optimum moves with the budget, with intervals where they were computed."""
    if not fitted:
        return f"Exponents: {_whole_fit(view)} computes them; this command fits no law."
    budgets = view.table["budget"].nunique()
    if budgets < BUDGETS:
        return f"Exponents: not determined by {counted(budgets, 'budget')}."
    if evidence is not None:
        # Exponents differ between connectivities, and the figures show the main one first, so the card speaks of that
        # one.
        rows = [row for row in evidence.exponents if view.frontier.k_c in (None, row.k_c)]
        if rows:
            # Exponents are local; those at the largest budget say most about what lies beyond it.
            row = max(rows, key=lambda row: row.budget)
            return (
                f"Exponents: N* ~ P^{_exponent(row.n_rec)}, d_m* ~ P^{_exponent(row.d_m)} by the law at "
                f"P = {row.budget:,.0f}, k_c = {row.k_c:g}{_source(evidence)}.{_not_measured(view, row.d_m)}"
            )
        return f"Exponents: none. {evidence.intervals_reason or 'The optimum of the law is not bracketed'}."
    paths = [] if view.overlay is None else [p for p in view.overlay.paths if view.frontier.k_c in (None, p.k_c)]
    if not paths or len(paths[0].budget) < 2:
        return f"Exponents: not computed here; {_whole_fit(view)} computes them."
    path = paths[0]
    n_rec, d_m = (np.polyfit(np.log(path.budget), np.log(size), 1)[0] for size in (path.n_rec, path.d_m))
    return (
        f"Exponents: N* ~ P^{n_rec:.2f}, d_m* ~ P^{d_m:.2f} by the law at k_c = {path.k_c:g}, on average over these "
        f"budgets; {_whole_fit(view)} computes their intervals."
    )


def _not_measured(view: View, slope: Estimate) -> str:
    """That the growth of d_m* is the law's word alone, where the measurement does not show it."""
    best = {float(view.table["d_m"].iloc[optimum.best]) for optimum in view.drawn_optima}
    if len(best) == 1:
        return f" Measured, d_m = {best.pop():g} is best at every budget: that it moves is the law's word alone."
    if slope.low is not None and slope.high is not None and slope.low <= 0 <= slope.high:
        return " Whether d_m* moves at all is not shown: its interval holds 0."
    return ""


def _whole_fit(view: View) -> str:
    """The command that computes what a page or a quick report leaves out."""
    return f"`analysis fit-theory {shlex.quote(view.sweep.uri)}`"


def _source(evidence: Evidence | StoredEvidence) -> str:
    return f" (from {evidence.source})" if isinstance(evidence, StoredEvidence) else ""


def _exponent(estimate: Estimate) -> str:
    if estimate.estimate is None:
        return "? (unknown)"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.estimate:.2f} (no interval)"
    return f"{estimate.estimate:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _law(view: View, evidence: Evidence | StoredEvidence | None, *, fitted: bool) -> str:
    """What the law adds, or that another one describes the rows far better."""
    fit = view.law.fit
    if not fitted:
        return ""
    if fit is None:
        return f"Law: none. {why_no_law(view.law.refused)}."
    correlation = "r is undefined" if fit.pearson_r is None else f"r = {fit.pearson_r:.3f}"
    # A good r and a small error mean little for a law that a rival describes far better, so that is said in their
    # place.
    if view.rival_note is not None:
        return f"Law: {view.rival_note} Its own {correlation}."
    held_out = None if evidence is None else evidence.held_out
    errors = [row for row in (held_out.budget or ()) if row.label == fit.law.label] if held_out is not None else []
    if errors and errors[0].rmse is not None:
        sds = "" if errors[0].seed_sds is None else f", {errors[0].seed_sds:.2g} times the seed noise"
        error = f"it predicts the largest budget, held out, within {errors[0].rmse:.3g}{sds}"
    else:
        reason = None if held_out is None else held_out.budget_reason
        error = f"held-out error {f'unknown: {reason}' if reason else 'not computed here'}"
    return f"Law: {fit.law.label}, {correlation}; {error}."


def _other_architectures(view: View) -> str:
    """Other architectures at equal size, and how often this one is better."""
    sign = 1.0 if view.data.direction == "min" else -1.0
    best = {
        float(str(budget)): float(sign * (sign * part["mean"]).min())
        for budget, part in view.table[view.table["budget"].notna()].groupby("budget")
    }
    pairs: dict[float, list[tuple[str, float]]] = {}
    for line in view.baselines:
        for budget in best:
            # Two architectures never realise a budget to the parameter, so sizes are matched within a factor.
            near = [i for i, x in enumerate(line.x) if max(x / budget, budget / x) <= EQUAL_SIZE]
            if near:
                # The other architecture gets the benefit of its best network there, as ours does.
                value = min((float(line.y[i]) for i in near), key=lambda y: sign * y)
                pairs.setdefault(budget, []).append((line.name, value))
    if not pairs:
        return ""
    name = view.data.keys["architecture"]
    top = max(pairs)
    count = sum(len(values) for values in pairs.values())
    better = sum(sign * best[budget] < sign * value for budget, values in pairs.items() for _, value in values)
    others = ", ".join(f"{other} {value:.3g}" for other, value in pairs[top])
    return (
        f"Beside it: {others} against {name} {best[top]:.3g} at P = {top:,.0f} ({view.data.metric}, best of each); "
        f"{name} is better in {better} of {count} comparisons at equal P."
    )


def _limits(view: View, cannot_conclude: Sequence[str], unrun: tuple[int, int]) -> str:
    """The most important things that these rows cannot show."""
    limits = list(cannot_conclude)
    missing, planned = unrun
    if missing:
        # Before all else: numbers of half a sweep move with every trial that ends.
        limits.insert(0, f"The sweep is not finished: {missing:,} of {planned:,} planned trials have no row yet.")
    edge = [optimum for optimum in view.optima if optimum.extend is not None]
    if edge:
        one = edge[0]
        example = "" if len(edge) == 1 else ", such as"
        limits.append(
            f"{len(edge)} of {len(view.optima)} optima {'lie' if len(edge) > 1 else 'lies'} at the edge of what was "
            f"run{example if example else ':'} P = {one.budget:,.0f}, k_c = {one.k_c:g}: the best d_m there may lie "
            "beyond."
        )
    limits += alarm_summary(view.alarms)
    if not limits:
        return "Cannot be concluded: anything beyond the sizes that were run."
    return f"Cannot be concluded: {' '.join(limits[:LIMITS])}"


def _missing(view: View) -> tuple[int, int]:
    """Trials that the grids of these rows ask for and that have no row, and how many they ask for."""
    if not view.sweep.plans.grid_of:  # published tables and imported rows were planned by nobody
        return 0, 0
    names = set(view.data.rows["sweep"])
    planned = {trial_id for trial_id, name in view.sweep.plans.grid_of.items() if name in names}
    return len(planned - set(view.sweep.trials["trial_id"])), len(planned)


def _next(view: View, steps: Sequence[NextStep], unrun: tuple[int, int]) -> str:
    """The next command, ready to be pasted into a shell."""
    sweep = view.sweep
    # Published tables, imported rows and merged sweeps have no directory that a launch could add rows to.
    if sweep.store is None:
        return "Next: these rows cannot be added to from here; `sweeper launch GRID.yaml` runs a sweep of your own."
    where = shlex.quote(sweep.uri)
    if not len(view.table):
        return f"Next: `sweeper status {where}` gives the reasons."
    missing, planned = unrun
    if missing:
        return (
            f"Next: the {missing:,} of {planned:,} planned trials that have no row yet. The same `sweeper launch` "
            f"goes on with them; `sweeper status {where}` lists them."
        )
    # "Nothing urgent" is a step without trials.
    urgent = [step for step in steps if step.trials]
    if not urgent:
        return f"Next: nothing urgent; `analysis dashboard {where}` shows all of it."
    first = urgent[0]
    if not first.points:
        return f"Next: {first.what}, because {first.why}: `sweeper launch GRID.yaml -r {where}`."
    hours = "" if first.hours is None else f", about {first.hours:.2g} h of trial time"
    cost = f"{counted(first.trials, 'trial')}{hours}"
    # Labels and conditions hold spaces and quotes; the command must survive being pasted.
    options = " ".join(shlex.quote(option) for option in (*_options(view), "--step", str(steps.index(first) + 1)))
    return f"Next: {first.what}, because {first.why} ({cost}): `analysis suggest {where} {options} -o next.yaml`."


def _options(view: View) -> list[str]:
    """Options of `analysis suggest` that take this very group."""
    selection, options = view.data.selection, []
    if view.data.family is not None:
        options += ["--group", view.data.family]
    if selection.where is not None:
        options += ["--where", selection.where]
    # Only options that differ from their defaults are written, so that the command stays short.
    usual = Measure()
    if selection.measure.kind != usual.kind:
        options += ["--metric", selection.measure.kind]
    if selection.measure.split != usual.split:
        options += ["--split", selection.measure.split]
    return options

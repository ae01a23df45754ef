"""The report as one JSON document: every number unrounded, every section in the order in which it is read."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd

from analysis.laws.evidence import EvidenceSettings, gather
from analysis.laws.joint import joint_fits
from analysis.laws.next_steps import next_steps
from analysis.laws.theory_fit import LawFit
from analysis.laws.view import View
from analysis.rows.learning_rates import rate_section
from analysis.rows.load import rate_trials
from analysis.rows.means import Optimum, configuration, seed_noise
from analysis.rows.sweep import DESIGN_POINT, Dataset, Exclusion, Sweep
from analysis.rows.weights import as_json as weights_json
from sweeper.store.schema import SCHEMA_VERSION
from theory.fit.result import FitResult
from theory.optimum.allocation import Allocation

FORMAT = 2
"""Version of this document's layout."""

WIDE = 10.0
"""Ratio of an interval's ends beyond which a parameter counts as not identified. Assumption."""

DISTRIBUTIONS = ("elm-sweeper", "numpy", "scipy", "pandas", "pyarrow", "plotly")


def build_report(
    sweep: Sweep,
    views: list[View],
    *,
    where: str | None,
    evidence: EvidenceSettings | None = None,
    vary: Sequence[str] = (),
) -> dict[str, Any]:
    """Write down everything that was found.

    Args:
        sweep: all rows.
        views: one per group.
        where: the condition that rows had to fulfil.
        evidence: how much computing goes into intervals, held-out fits and calibration; None leaves all of it out.
        vary: what may vary in joint fits over ablations (see `analysis.laws.joint.joint_fits`); empty for every
            setting that differs, unless `evidence` is left out.
    """
    joint = joint_fits(views, vary, views[0].law.settings) if views and (vary or evidence is not None) else []
    counts = sweep.trials["status"].value_counts()
    return {
        "format": FORMAT,
        "sweep": {
            "label": sweep.label,
            "uri": sweep.uri,
            "trials": len(sweep.trials),
            "by_status": {str(status): int(count) for status, count in sorted(counts.items())},
        },
        "groups": [group_report(view, evidence) for view in views],
        "joint": joint,
        "provenance": provenance(sweep, views, where=where, evidence=evidence) | {"vary": list(vary)},
    }


def group_report(view: View, evidence: EvidenceSettings | None) -> dict[str, Any]:
    """Everything found about one group of rows, in the order in which it is read."""
    data, law = view.data, view.law
    found = {} if evidence is None else gather(view, evidence)
    return {
        "label": data.label,
        "keys": data.keys,
        "metric": {
            "column": data.measure.column,
            "title": data.title,
            "direction": data.direction,
            "chance": data.chance,
        },
        "question": question(data),
        "data": data_section(view),
        "law": None if law.fit is None else law_section(law.fit),
        "scale": law.scale.sentence,
        "weights": weights_json(law.weighting),
        "optima": [optimum_row(optimum, view.table, law.allocations) for optimum in view.optima],
        "rivals": rival_rows(law),
        "verdict": None if law.comparison is None else law.comparison.verdict,
        "refused": list(law.refused),
        "evidence": found,
        "alarms": [alarm._asdict() | {"trial_ids": list(alarm.trial_ids)} for alarm in view.alarms],
        "axes": {
            "correlations": [pair._asdict() for pair in view.axes.pairs],
            "inflation": [_finite(row._asdict()) for row in view.axes.inflation],
            "interactions": [row._asdict() for row in view.axes.interactions],
            "sentences": list(view.axes.sentences),
        },
        "next": [step._asdict() for step in next_steps(view)],
        "cannot_conclude": [*cannot_conclude(view), *unidentified(found)],
        **learning_rates(view),
    }


def learning_rates(view: View) -> dict[str, Any]:
    """What other learning rates would have said; {} where every design point was run with one."""
    data = view.data
    found = rate_section(
        rate_trials(view.sweep, data), data.rows, data.measure.column, data.direction, list(DESIGN_POINT)
    )
    return {"learning_rates": found} if found else {}


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in row.items()}


def question(data: Dataset) -> str:
    """The question that these rows answer."""
    return (
        f"How should a budget of trainable parameters P be split between neurons (N) and complexity per neuron (k_e) "
        f"on {data.label}, measured by {data.title} ({'lower' if data.direction == 'min' else 'higher'} is better)?"
    )


def data_section(view: View) -> dict[str, Any]:
    """Rows in, rows out, and why."""
    data, law, table, noise = view.data, view.law, view.table, seed_noise(view.data)
    out = [*data.excluded, *law.excluded]
    return {
        "rows": len(data.rows) - sum(len(entry.trial_ids) for entry in law.excluded),
        "configurations": len(table),
        "budgets": sorted(float(b) for b in table["budget"].dropna().unique()),
        "d_m": sorted(float(d) for d in table["d_m"].dropna().unique()),
        "k_c": sorted(float(k) for k in table["k_c"].unique()),
        "seeds": sorted(int(seed) for seed in data.rows["seed"].unique()),
        "seed_noise": noise.sd,
        "seed_noise_freedom": noise.freedom,
        "excluded": [exclusion_row(entry) for entry in out],
    }


def exclusion_row(entry: Exclusion) -> dict[str, Any]:
    """One entry of the ledger."""
    return {"rule": entry.rule, "why": entry.why, "rows": len(entry.trial_ids), "trial_ids": list(entry.trial_ids)}


def law_section(fit: FitResult) -> dict[str, Any]:
    """The fitted law with its numbers and what they do not mean; the rows themselves stay in the store."""
    found = fit.to_dict()
    found["formula"] = formula(fit)
    found["meanings"] = {p.name: p.meaning for p in fit.law.parameters} | {
        c.name: c.meaning for c in fit.law.coefficients
    }
    return found


def formula(fit: FitResult) -> str:
    """The law in words, and where it comes from."""
    if fit.law.name != "effective_information":
        return f"{fit.law.label}: a rival law, fitted to the same rows."
    options = fit.law.options
    decay = {"power": "k_e^-alpha", "exponential": "exp(-k_e/k_decay)", "stretched": "exp(-(k_e/k_decay)^stretch)"}
    floor = {"none": "without a floor", "max": "down to a floor at k_floor", "additive": "plus a floor set by k_floor"}
    link = {"affine": "g(I) = I", "log": "g(I) = ln I", "boxcox": "g(I) the Box-Cox power of I with exponent lam"}
    return (
        f"metric = a - b g(I), {link[options['link']]}; I = N H(u; beta) / (2 ln 2) bits, u = u_ref (n_ref/N)^beta/nu; "
        f"noise nu ~ {decay[options['decay']]} {floor[options['floor']]}. "
        "A reconstruction from the abstract, captions and tables of arXiv 2605.12049, not the authors' own formula."
    )


def optimum_row(optimum: Optimum, table: pd.DataFrame, allocations: tuple[Allocation, ...]) -> dict[str, Any]:
    """Measured and predicted optimum of one budget."""
    best = configuration(table, optimum.best)
    theory = [a for a in allocations if a.budget == optimum.budget and a.k_c == optimum.k_c]
    names = ("n_rec", "d_m", "k_e", "trainable_params")
    return {
        "budget": optimum.budget,
        "k_c": optimum.k_c,
        "measured": {name: best[name] for name in names}
        | {
            "metric": best["mean"],
            "half_width": None if best["n"] == 1 else best["half"],
            "runs": int(best["n"]),
        },
        "as_good": {name: None if optimum.good is None else optimum.good.get(name) for name in names}
        | {"configurations": len(optimum.band), "tolerance": optimum.tolerance, "rule": optimum.tolerance_kind},
        "bracketed": optimum.bracketed,
        "bracket": optimum.verdict,
        "extend": optimum.extend,
        "theory": asdict(theory[0]) if theory else None,
    }


def rival_rows(law: LawFit) -> list[dict[str, Any]]:
    """All fitted laws by AICc."""
    if law.comparison is None:
        return []
    return [asdict(rank) | {"chosen": law.fits[rank.name] is law.fit} for rank in law.comparison.rows]


def cannot_conclude(view: View) -> list[str]:
    """Say what these rows cannot show, and what to run for it."""
    found, law, table = [], view.law, view.table
    budgets, noise = table["budget"].nunique(), seed_noise(law.data)
    if not len(table):
        return ["No finished trial with a value: nothing can be concluded. See `sweeper status`, then launch again."]
    if law.fit is None:
        found.append(
            f"No law could be fitted ({'; '.join(law.refused[:2])}). Run at least 3 budgets with 7 values of d_m each."
        )
    if budgets == 0:
        found.append("No trial has a budget: no optimum at equal size. Launch a grid with `budget`.")
    elif budgets < 3:
        found.append(
            f"{budgets} budget{'s' * (budgets > 1)} only: exponents and extrapolation are not determined. "
            "Run 3 budgets over a decade or more."
        )
    if noise.sd is None:
        found.append("One run per configuration: no interval, and no telling noise from lack of fit. Run 2 more seeds.")
    return found


def unidentified(evidence: Mapping[str, Any]) -> list[str]:
    """Name the parameters whose interval is too wide to mean anything."""
    wide = [
        row["quantity"]
        for row in evidence.get("parameters", [])
        if row["low"] is not None and row["low"] > 0 and row["high"] / row["low"] > WIDE
    ]
    if not wide:
        return []
    return [
        f"{', '.join(wide)}: not identified by these rows (95 % intervals wider than a factor of {WIDE:g}); the "
        "place of the optimum may still be. Run a sweep of n_rec at fixed d_m, more budgets or more seeds."
    ]


def provenance(
    sweep: Sweep, views: list[View], *, where: str | None, evidence: EvidenceSettings | None
) -> dict[str, Any]:
    """What the numbers were made from and with: enough to make them again."""
    settings = asdict(views[0].law.settings) if views else {}
    measure = asdict(views[0].data.measure) if views else {}
    return {
        "rows_sha256": {view.data.label: view.data.rows_sha256 for view in views},
        "grids_sha256": {name: sha256(text) for name, text in sweep.grids.items()},
        "schema_version": SCHEMA_VERSION,
        "code_versions": sorted(sweep.trials["code_version"].dropna().unique().tolist()),
        "measure": measure,
        "where": where,
        "fit": settings,
        "evidence": None if evidence is None else asdict(evidence),
        "versions": {name: _version(name) for name in DISTRIBUTIONS},
    }


def sha256(text: str) -> str:
    """Hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def report_json(report: Mapping[str, Any]) -> str:
    """The report as JSON text, numbers unrounded."""
    return json.dumps(report, indent=1, allow_nan=False) + "\n"

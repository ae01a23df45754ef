"""How far a fitted law can be trusted: intervals, held-out budgets, calibration, rivals and choices of the analyst.

Everything is computed by `theory`; this module decides what is asked, and turns refusals into sentences. Each function
returns plain JSON values.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.laws.next_steps import chosen_runs
from analysis.laws.theory_fit import LawFit, design_of
from analysis.laws.view import View
from analysis.rows.means import seed_noise
from analysis.rows.sweep import Measure
from analysis.rows.weights import weigh
from sweeper.store.schema import SPLITS
from theory.data.cost import Cost
from theory.errors import TheoryError
from theory.fit.fit import fit_given, refit
from theory.fit.result import Direction, FitResult
from theory.optimum.frontier import power_law
from theory.uncertainty.calibration import calibrate
from theory.uncertainty.f_tests import lack_of_fit
from theory.uncertainty.heldout import exclusion_effects, leave_budget_out, leave_one_k_e_out, regime_check
from theory.uncertainty.identifiability import identifiability
from theory.uncertainty.intervals import Interval, bootstrap, delta, envelope
from theory.uncertainty.neuron import fit_neuron
from theory.uncertainty.quantities import Draws, all_parameters, best_d_m, optimum_quantities
from theory.uncertainty.restore import estimate

LAWS_HELD_OUT = 3
"""Laws that are tried without each k_e in turn: the chosen one and the best of other families."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class EvidenceSettings:
    """How much computing the intervals may take."""

    draws: int = 600
    """Bootstrap draws behind each interval; 0 leaves intervals, profiles and calibration out."""
    simulations: int = 200
    """Simulated sweeps of the calibration."""
    seed: int = 0
    """Seed of draws and simulations."""


def gather(view: View, settings: EvidenceSettings) -> Json:
    """Collect all evidence about one group's law; {} without a law.

    Args:
        view: the group.
        settings: how much to compute.
    """
    law = view.law
    if law.fit is None:
        return {}
    found: Json = {
        "exponents": [],
        "held_out": held_out(law),
        "frontier": frontier_section(view),
        "residuals": residual_section(view),
        "sensitivity": sensitivity(view),
        "flagged": without_flagged(view),
        "neuron": neuron_section(view),
    }
    if not law.fit.free:
        found["intervals_reason"] = (
            f"{law.fit.law.label} has no searched parameter: no interval beyond that of the means"
        )
    elif settings.draws and law.fit.usable:
        found |= intervals(law, settings)
        found["identifiability"] = _or_reason(lambda fit: list(identifiability(fit).sentences), law.fit)
        found["calibration"] = calibration_section(law, settings)
        found["design"] = chosen_runs(view)
    return found


def _or_reason(compute: Callable[[FitResult], Any], fit: FitResult) -> Any:
    try:
        return compute(fit)
    except TheoryError as error:
        return {"reason": str(error)}


def intervals(law: LawFit, settings: EvidenceSettings) -> Json:
    """Intervals of parameters, optima and exponents, all from the same draws.

    The interval is the wider, on each side, of the delta method and a percentile bootstrap of the residuals.
    """
    fit = law.fit
    assert fit is not None, "intervals are asked for fitted laws only"
    try:
        draws = bootstrap(fit, settings.draws, kind="residual", seed=settings.seed)
        parameters = [_plain(row) for row in envelope(fit, all_parameters(fit), draws=draws)]
    except TheoryError as error:
        return {"intervals_reason": str(error)}
    optima, exponents = [], []
    for k_c, cost in law.costs.items():
        budgets = sorted(a.budget for a in law.allocations if a.k_c == k_c)
        told = {budgets[0], budgets[len(budgets) // 2], budgets[-1]} if budgets else set()
        for budget in budgets:
            found = _place_intervals(law, fit, budget, cost, draws, slopes=budget in told)
            place = {"budget": budget, "k_c": k_c}
            optima.append(place | {name: found[name] for name in ("d_m", "n_rec", "metric")})
            if budget in told:
                exponents.append(place | {name: found[f"slope {name}"] for name in ("n_rec", "k_e", "d_m")})
    return {
        "parameters": parameters,
        "optimum_intervals": optima,
        "exponents": exponents,
        "draws": {"asked": settings.draws, "failed": draws.failed, "kind": "residual", "seed": settings.seed},
    }


def _place_intervals(
    law: LawFit, fit: FitResult, budget: float, cost: Cost, draws: Draws, *, slopes: bool
) -> dict[str, Json]:
    quantities = optimum_quantities(budget, cost, slopes=slopes)
    try:
        rows = envelope(fit, list(quantities.values()), draws=draws)
    except (TheoryError, np.linalg.LinAlgError) as error:
        return {name: {"reason": str(error), "estimate": None, "low": None, "high": None} for name in quantities}
    found = {name: _plain(row) for name, row in zip(quantities, rows, strict=True)}
    metric = found["metric"]
    if metric["low"] is not None:
        ends = law.scale.back(np.array([metric["low"], metric["estimate"], metric["high"]]))
        metric["low"], metric["estimate"], metric["high"] = (float(value) for value in ends)
    return found


def _plain(row: Interval) -> Json:
    values = asdict(row)
    return {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in values.items()}


def neuron_section(view: View) -> Json:
    """Noise laws of single neurons, ranked; {} where the rows are networks."""
    if (view.table["n_rec"] != 1).any():
        return {}
    value = view.table["mean"].to_numpy(float)
    error, named = (value, view.data.title) if view.data.direction == "min" else (1 - value, f"1 - {view.data.title}")
    try:
        rows = fit_neuron(view.table["k_e"].to_numpy(float), error)
    except TheoryError as error_found:
        return {"reason": str(error_found)}
    names = ("form", "alpha", "alpha_se", "floor", "aicc", "delta")
    return {"error": named, "forms": [{name: getattr(row, name) for name in names} for row in rows]}


def held_out(law: LawFit) -> Json:
    """Errors on the largest budget, and on each k_e in turn, of laws that have not seen them."""
    fits = {name: fit for name, fit in law.fits.items() if fit.given.loss == "least_squares"}
    found: Json = {}
    try:
        found["budget"] = [asdict(row) for row in leave_budget_out(fits)]
    except TheoryError as error:
        found["budget_reason"] = str(error)
    try:
        found["k_e"] = [asdict(row) for row in leave_one_k_e_out(_few(law, fits))]
    except TheoryError as error:
        found["k_e_reason"] = str(error)
    return found


def _few(law: LawFit, fits: Mapping[str, FitResult]) -> dict[str, FitResult]:
    ranked = [row.name for row in law.comparison.rows] if law.comparison else []
    chosen = [name for name, fit in fits.items() if fit is law.fit]
    first_of_family = {name.split(":")[0]: name for name in reversed(ranked)}
    others = sorted(set(first_of_family.values()) - set(chosen), key=ranked.index)
    names = [*chosen, *others][:LAWS_HELD_OUT]
    return {name: fits[name] for name in names if name in fits}


def calibration_section(law: LawFit, settings: EvidenceSettings) -> Json:
    """Coverage and bias measured on this design: simulate from the law, refit, count."""
    fit = law.fit
    assert fit is not None, "calibration is asked for fitted laws only"
    quantities = all_parameters(fit)
    quantities += [best_d_m(a.budget, law.costs[a.k_c]) for a in law.allocations[-1:]]
    try:
        found = calibrate(fit, quantities, n=settings.simulations, seed=settings.seed)
    except TheoryError as error:
        return {"reason": str(error)}
    return asdict(found)


def frontier_section(view: View) -> Json:
    """A saturating power law through the frontier, with intervals, and the check for a break."""
    members = view.table.iloc[view.frontier.position]
    size, value = members["trainable_params"].to_numpy(float), members["mean"].to_numpy(float)
    found: Json = {"sizes": size.tolist(), "metric": value.tolist()}
    direction: Direction = "min" if view.data.direction == "min" else "max"
    try:
        fit = power_law(size, value, weights=members["n"].to_numpy(float), direction=direction)
        found["power_law"] = {
            "E": fit.coefficients["all"]["E"],
            "A": fit.coefficients["all"]["A"],
            "p_ref": fit.derived["p_ref"],
            "exponent": fit.values["exponent"],
            "rmse": fit.rmse,
            "interval": _or_reason(lambda fitted: [_plain(row) for row in delta(fitted)], fit),
            "statuses": [asdict(status) for status in fit.statuses],
        }
    except TheoryError as error:
        found["power_law_reason"] = str(error)
    found["regime"] = asdict(regime_check(size, value, direction=direction))
    return found


def residual_section(view: View) -> Json:
    """Size of the residuals, and lack of fit against the noise between seeds (F test)."""
    fit, noise = view.law.fit, seed_noise(view.data)
    assert fit is not None, "residuals are asked for fitted laws only"
    assert view.overlay is not None, "a fitted law has an overlay"
    gap = view.table["mean"].to_numpy(float) - view.overlay.predicted
    largest = int(np.argmax(np.abs(gap)))
    found: Json = {
        "rms": float(np.sqrt(np.mean(gap**2))),
        "largest": float(gap[largest]),
        "largest_at": {name: float(view.table[name].iloc[largest]) for name in ("n_rec", "k_e", "trainable_params")},
        "seed_noise": noise.sd,
        "lack_of_fit": None,
    }
    runs = view.table["n"].to_numpy(float)
    test = lack_of_fit(float(np.sum(runs * gap**2)), len(gap) - fit.p, noise)
    if test is not None:
        sure = test.p_value < 0.01
        verdict = "the law misses more than seed noise explains" if sure else "seed noise explains the misses"
        found["lack_of_fit"] = {
            "ratio": test.f,
            "p": test.p_value,
            "sentence": f"F = {test.f:.3g}, p = {test.p_value:.2g}: {verdict}.",
        }
    return found


def sensitivity(view: View) -> list[Json]:
    """How optimum and exponents move with the analyst's choices: split, loss, window, law."""
    law, fit = view.law, view.law.fit
    assert fit is not None, "sensitivity is asked for fitted laws only"
    rows = [_moved("as reported", fit, law)]
    rows += [_other_split(view, split) for split in SPLITS if split != view.data.measure.split]
    for loss in ("least_squares", "tukey", "huber"):
        if loss != fit.given.loss:
            rows.append(_try(f"loss {loss}", law, partial(fit_given, fit.law, replace(fit.given, loss=loss))))
    rows += _other_weights(law)
    for name, keep in _windows(fit).items():
        weights = None if fit.given.weights is None else fit.given.weights[keep]
        rows.append(_try(name, law, partial(refit, fit, fit.given.design.take(keep), fit.given.metric[keep], weights)))
    for name, other in law.fits.items():
        if other is not fit and other.usable and name.split(":")[0] in ("effective_information", "separable_power_law"):
            rows.append(_moved(f"law {other.law.label}", other, law))
    return rows


def _other_weights(law: LawFit) -> list[Json]:
    """The same fit with the weights that were not taken, where there are such."""
    fit = law.fit
    assert fit is not None, "sensitivity is asked for fitted laws only"
    other = "equal" if law.weighting.kind == "replicates" else "replicates"
    found = weigh(fitted_rows(law), fit.given.metric, other)
    if found.kind != other:
        return []
    named = "equal weights" if other == "equal" else "weights from replicates"
    return [_try(named, law, partial(fit_given, fit.law, replace(fit.given, weights=found.values)))]


def _windows(fit: FitResult) -> dict[str, npt.NDArray[np.bool_]]:
    design, found = fit.given.design, {}
    budgets = np.unique(design.budgets)
    if len(budgets) > 2:
        found["without the smallest budget"] = design.budgets > budgets[0]
    if design.d_m is not None and len(np.unique(design.d_m)) > 4:
        found["without the smallest d_m"] = design.d_m > design.d_m.min()
        found["without the largest d_m"] = design.d_m < design.d_m.max()
    return found


def _other_split(view: View, split: str) -> Json:
    column, law = Measure(kind=view.data.measure.kind, split=split).column, view.law
    fit = law.fit
    rows = view.data.rows[np.isfinite(view.data.rows[column].astype("float64"))]
    assert fit is not None, "sensitivity is asked for fitted laws only"
    if not len(rows):
        return {"choice": f"{split} split", "reason": f"{column} was not recorded"}

    def fitted() -> FitResult:
        values = law.scale.to(np.asarray(rows[column], dtype=np.float64))  # a perfect run has no place on the logit
        return refit(fit, design_of(rows), values, weigh(rows, values, law.weighting.kind).values)

    return _try(f"{split} split", law, fitted)


def without_flagged(view: View) -> list[Json]:
    """The fit without the rows of each kind of alarm, and without all flagged rows."""
    fit, law = view.law.fit, view.law
    assert fit is not None, "effects are asked for fitted laws only"
    kinds = {alarm.kind for alarm in view.alarms}
    by_kind = {kind: {t for a in view.alarms if a.kind == kind for t in a.trial_ids} for kind in sorted(kinds)}
    if len(by_kind) > 1:
        by_kind["any alarm"] = set().union(*by_kind.values())
    fitted = fitted_rows(law)
    masks = {kind: fitted["trial_id"].isin(ids).to_numpy() for kind, ids in by_kind.items()}
    return [asdict(effect) for effect in exclusion_effects(fit, {k: m for k, m in masks.items() if m.any()})]


def fitted_rows(law: LawFit) -> pd.DataFrame:
    """Rows that entered the fit."""
    left_out = {trial_id for entry in law.excluded for trial_id in entry.trial_ids}
    return law.data.rows[~law.data.rows["trial_id"].isin(left_out)]


def _try(choice: str, law: LawFit, compute: Callable[[], FitResult]) -> Json:
    try:
        return _moved(choice, compute(), law)
    except TheoryError as error:
        return {"choice": choice, "reason": str(error)}


def _moved(choice: str, fit: FitResult, law: LawFit) -> Json:
    """Parameters and optimal d_m of one variant."""
    found: Json = {"choice": choice, "rmse": fit.rmse, "parameters": {n: fit.values[n] for n in fit.free}, "d_m": []}
    ends = {
        (a.k_c, pick(b.budget for b in law.allocations if b.k_c == a.k_c))
        for a in law.allocations
        for pick in (min, max)
    }
    for k_c, budget in sorted(ends):
        sampled = law.data.rows.loc[(law.data.rows["k_c"] == k_c) & (law.data.rows["budget"] == budget), "d_m"]
        span = (float(sampled.min()), float(sampled.max()))
        row: Json = {"budget": budget, "k_c": k_c, "d_m": None, "reason": None}
        try:
            value = estimate(fit, best_d_m(budget, law.costs[k_c], d_m_range=span))
            inside = span[0] * 1.001 < value < span[1] / 1.001
            row |= {"d_m": value} if inside else {"reason": "not bracketed"}
        except TheoryError as error:
            row["reason"] = str(error)
        found["d_m"].append(row)
    return found

"""How optimum and parameters move with the analyst's choices: split, loss, weights, window, law, flagged rows."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.laws.findings import RefusedVariant, Variant, VariantPlace
from analysis.laws.theory_fit import LawFit, design_of
from analysis.laws.view import View
from analysis.rows.sweep import Measure
from analysis.rows.weights import weigh
from sweeper.store.schema import SPLITS
from theory.errors import TheoryError
from theory.fit.fit import refit, refit_part
from theory.fit.result import FitResult
from theory.optimum.locate import locate
from theory.uncertainty.heldout import Exclusion, exclusion_effects


def sensitivity(view: View) -> list[Variant | RefusedVariant]:
    """How optimum and parameters move with the analyst's choices: split, loss, weights, window, law."""
    law, fit = view.law, view.law.fit
    assert fit is not None, "sensitivity is asked for fitted laws only"
    rows: list[Variant | RefusedVariant] = [_moved("as reported", fit, law)]
    rows += [_other_split(view, split) for split in SPLITS if split != view.data.measure.split]
    for loss in ("least_squares", "tukey", "huber"):
        if loss != fit.inputs.loss:
            rows.append(_try(f"loss {loss}", law, partial(refit, fit, loss=loss)))
    rows += _other_weights(law)
    for name, keep in _windows(fit).items():
        rows.append(_try(name, law, partial(refit_part, fit, keep)))
    for other in law.fits.values():
        if other is not fit and other.usable and other.law.name in ("effective_information", "separable_power_law"):
            rows.append(_moved(f"law {other.law.label}", other, law))
    return rows


def _other_weights(law: LawFit) -> list[Variant | RefusedVariant]:
    """The same fit with the weights that were not taken, where there are such."""
    fit = law.fit
    assert fit is not None, "sensitivity is asked for fitted laws only"
    other = "equal" if law.weighting.kind == "replicates" else "replicates"
    weighting = weigh(fitted_rows(law), fit.inputs.metric, other)
    # Without replicates there are no other weights to try.
    if weighting.kind != other:
        return []
    named = "equal weights" if other == "equal" else "weights from replicates"
    return [_try(named, law, partial(refit, fit, weights=weighting.values))]


def _windows(fit: FitResult) -> dict[str, npt.NDArray[np.bool_]]:
    design, windows = fit.inputs.design, {}
    budgets = np.unique(design.budgets)
    # Two budgets must be left for the exponents.
    if len(budgets) > 2:
        windows["without the smallest budget"] = design.budgets > budgets[0]
    # With fewer values little would be left to bracket an optimum.
    if design.d_m is not None and len(np.unique(design.d_m)) > 4:
        windows["without the smallest d_m"] = design.d_m > design.d_m.min()
        windows["without the largest d_m"] = design.d_m < design.d_m.max()
    return windows


def _other_split(view: View, split: str) -> Variant | RefusedVariant:
    column, law = Measure(kind=view.data.measure.kind, split=split).column, view.law
    fit = law.fit
    rows = view.data.rows[np.isfinite(view.data.rows[column].astype("float64"))]
    assert fit is not None, "sensitivity is asked for fitted laws only"
    if not len(rows):
        return RefusedVariant(choice=f"{split} split", reason=f"{column} was not recorded")

    def fitted() -> FitResult:
        values = law.scale.to(np.asarray(rows[column], dtype=np.float64))  # a perfect run has no place on the logit
        weights = weigh(rows, values, law.weighting.kind).values
        return refit(fit, design=design_of(rows), metric=values, weights=weights)

    return _try(f"{split} split", law, fitted)


def without_flagged(view: View) -> tuple[Exclusion, ...]:
    """The fit without the rows of each kind of alarm, and without all flagged rows."""
    fit, law = view.law.fit, view.law
    assert fit is not None, "effects are asked for fitted laws only"
    kinds = {alarm.kind for alarm in view.alarms}
    by_kind = {kind: {t for a in view.alarms if a.kind == kind for t in a.trial_ids} for kind in sorted(kinds)}
    if len(by_kind) > 1:
        by_kind["any alarm"] = set().union(*by_kind.values())
    fitted = fitted_rows(law)
    masks = {kind: fitted["trial_id"].isin(ids).to_numpy() for kind, ids in by_kind.items()}
    return tuple(exclusion_effects(fit, {k: m for k, m in masks.items() if m.any()}))


def fitted_rows(law: LawFit) -> pd.DataFrame:
    """Rows that entered the fit."""
    left_out = {trial_id for entry in law.excluded for trial_id in entry.trial_ids}
    return law.data.rows[~law.data.rows["trial_id"].isin(left_out)]


def _try(choice: str, law: LawFit, compute: Callable[[], FitResult]) -> Variant | RefusedVariant:
    try:
        return _moved(choice, compute(), law)
    except TheoryError as error:
        return RefusedVariant(choice=choice, reason=str(error))


def _moved(choice: str, fit: FitResult, law: LawFit) -> Variant:
    """Parameters and optimal d_m of one variant, at the smallest and the largest budget of each connectivity."""
    ends = {
        (a.k_c, pick(b.budget for b in law.allocations if b.k_c == a.k_c))
        for a in law.allocations
        # The ends show how the optimum moves with the budget; each budget between costs a search in every variant.
        for pick in (min, max)
    }
    places = tuple(_best_place(fit, law, k_c, budget) for k_c, budget in sorted(ends))
    return Variant(choice=choice, rmse=fit.rmse, parameters={n: fit.values[n] for n in fit.free}, d_m=places)


def _best_place(fit: FitResult, law: LawFit, k_c: float, budget: float) -> VariantPlace:
    # The same range as in the report, so that "not bracketed" means the same there and here.
    sampled = law.data.rows.loc[(law.data.rows["k_c"] == k_c) & (law.data.rows["budget"] == budget), "d_m"]
    span = (float(sampled.min()), float(sampled.max()))
    place = VariantPlace(budget=budget, k_c=k_c, d_m=None, reason=None)
    try:
        value = float(locate(fit.curve(budget=budget, k_c=k_c), budget, law.costs[k_c], span).d_m[0])
    except TheoryError as error:
        return replace(place, reason=str(error))
    # A search that ends within a thousandth of an end of the range stopped there because it had to.
    inside = span[0] * 1.001 < value < span[1] / 1.001
    return replace(place, d_m=value) if inside else replace(place, reason="not bracketed")

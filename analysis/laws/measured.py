"""A law with exponents fixed that were measured before any law was fitted, beside the free one.

The only strong test of a law of two exponents is to measure them elsewhere: a law that is right then fits about as well
with fewer parameters, and predicts the held-out budget no worse; a law that only bends enough does not.
"""

from collections.abc import Sequence

import numpy as np

from analysis.laws.findings import FixedExponents, FixedLaw, MeasuredValue, Refusal
from analysis.laws.theory_fit import TIE, LawFit
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.result import FitResult
from theory.uncertainty.heldout import HeldOut, leave_budget_out

FREE, FIXED = "free", "fixed as measured"


def fixed_exponents(law: LawFit, values: Sequence[MeasuredValue]) -> FixedExponents | Refusal | None:
    """Fit the reported law once more with measured values fixed, and hold both against each other.

    Args:
        law: the group with its fitted law.
        values: what was measured; empty for None.
    """
    if not values:
        return None
    free = law.fit
    if free is None:
        return Refusal(reason="no law was fitted to these rows")
    names = [parameter.name for parameter in free.law.parameters]
    lacking = [row.parameter for row in values if row.parameter not in names]
    if lacking:
        return Refusal(
            reason=f"{free.law.label} has no parameter {' or '.join(lacking)}; name a law that has, with --law"
        )
    inputs = free.inputs
    try:
        fixed = fit_law(
            free.law,
            inputs.design,
            inputs.metric,
            weights=inputs.weights,
            fixed={row.parameter: row.value for row in values},
            direction=inputs.direction,
            loss=inputs.loss,
            huber_threshold=inputs.huber_threshold,
            starts=inputs.starts,
            seed=inputs.seed,
        )
    except TheoryError as error:
        return Refusal(reason=str(error))
    fits = {FREE: free, FIXED: fixed}
    try:
        held, reason = {row.name: row for row in leave_budget_out(fits)}, None
    except TheoryError as error:
        held, reason = {}, str(error)
    rows = tuple(_row(name, fit, held.get(name)) for name, fit in fits.items())
    return FixedExponents(values=tuple(values), laws=rows, held_out_reason=reason, sentence=_verdict(*rows))


def _row(name: str, fit: FitResult, held: HeldOut | None) -> FixedLaw:
    return FixedLaw(
        name=name,
        values={parameter.name: fit.values[parameter.name] for parameter in fit.law.parameters},
        p=fit.p,
        aicc=fit.aicc,
        rmse=fit.rmse,
        held_out=None if held is None else held.rmse,
        held_out_sds=None if held is None else held.seed_sds,
        held_out_reason=None if held is None else held.reason,
        usable=fit.usable,
    )


def _verdict(free: FixedLaw, fixed: FixedLaw) -> str:
    """Say whether the law is worse off without its freedom."""
    if not (free.usable and fixed.usable):
        which = " and ".join(row.name for row in (free, fixed) if not row.usable)
        return f"No verdict: the fit ({which}) is not usable; its statuses say why."
    parts = []
    if free.aicc is not None and fixed.aicc is not None:
        behind = fixed.aicc - free.aicc
        way = f"{'worse' if behind > 0 else 'better'} by {abs(behind):.1f}"
        parts.append(f"describes these rows {'as well' if abs(behind) <= TIE else way} (AICc)")
    if free.held_out is not None and fixed.held_out is not None:
        times = fixed.held_out / free.held_out if free.held_out > 0 else np.inf
        parts.append(
            f"predicts the held-out largest budget within {fixed.held_out:.3g} instead of {free.held_out:.3g} "
            f"({times:.2g} times the error)"
        )
    return f"With the measured values fixed the law {' and '.join(parts)}." if parts else "Nothing to compare them by."
